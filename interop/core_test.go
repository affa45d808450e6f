// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"strings"
	"testing"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

func TestCore(t *testing.T) {
	core := iottest.Start(t, func(o *iottest.Options) {
		o.PlainTCP = true
		o.Quotas.MinKeepAlive = 1 // so that the suite need not wait for half a minute
	})
	device := core.Device(t, "device")
	id := &identity{device.CertPEM(), device.KeyPEM()}
	b := &broker{
		name:              "core",
		shared:            true,
		aliasesToClient:   true,
		willOnRequest:     true,
		saysTakenOver:     true,
		obeysReceiveLimit: true,
		refuse: func(o *mqtt5.ClientOptions) {
			o.Connect.ClientID = strings.Repeat("x", 129)
		},
		refusedWith: []mqtt5.ConnectReasonCode{mqtt5.ConnectClientIdentifierNotValid},
	}
	runSuite(t, b, []*route{
		{name: "tcp", address: core.TCPAddr()},
		{name: "mtls", address: core.MTLSAddr(), layers: tlsLayer(core.CAPEM(), id, core.Endpoint())},
		{name: "mtls alpn", address: core.Addr(), layers: tlsLayer(core.CAPEM(), id, core.Endpoint(), iottest.ALPNMQTTCA)},
	})
}
