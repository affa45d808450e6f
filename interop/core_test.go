// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"context"
	"strings"
	"testing"

	"github.com/gocrt/aws-iot-device-sdk-go/auth/sigv4"
	"github.com/gocrt/aws-iot-device-sdk-go/http/websocket"
	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// core is the embedded AWS IoT Core with a device.
type core struct {
	broker
	*iottest.Core
	id     *identity
	signer *sigv4.Signer
}

func startCore(t *testing.T) *core {
	t.Helper()
	c := &core{
		broker: broker{
			name:            "core",
			shared:          true,
			aliasesToClient: true,
			willOnRequest:   true,
			refuse: func(o *mqtt5.ClientOptions) {
				o.Connect.ClientID = strings.Repeat("x", 129)
			},
			refusedWith:       []mqtt5.ConnectReasonCode{mqtt5.ConnectClientIdentifierNotValid},
			saysTakenOver:     true,
			obeysReceiveLimit: true,
		},
		Core: iottest.Start(t, func(o *iottest.Options) {
			o.PlainTCP = true
			o.Quotas.MinKeepAlive = 1 // so that nobody has to wait for half a minute
		}),
	}
	device := c.Device(t, "device")
	c.id = &identity{device.CertPEM(), device.KeyPEM()}
	key, err := c.CreateAccessKey(iottest.AccessKeyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c.signer, err = sigv4.New(sigv4.Options{
		Credentials: sigv4.CredentialsFunc(func(context.Context) (sigv4.Credentials, error) {
			return sigv4.Credentials{AccessKeyID: key.AccessKeyID, SecretAccessKey: key.SecretAccessKey, SessionToken: key.SessionToken}, nil
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.AddAuthorizer(iottest.Authorizer{
		Name:            "open",
		SigningDisabled: true,
		Handler: func(_ context.Context, r *iottest.AuthorizerRequest) (*iottest.AuthorizerResponse, error) {
			return &iottest.AuthorizerResponse{
				IsAuthenticated: string(r.Password) == "sesame",
				PrincipalID:     "device",
				Policies:        []string{iottest.AllowAllPolicy},
			}, nil
		},
	}); err != nil {
		t.Fatal(err)
	}
	return c
}

// The routes go by the name of the endpoint, through the layers below.

func (c *core) mtls(name string, below layer) *route {
	return &route{name: name, address: c.Endpoint() + ":8883",
		layers: stack(below, goTo(c.MTLSAddr()), tlsLayer(c.CAPEM(), c.id))}
}

func (c *core) alpn(name string, below layer) *route {
	return &route{name: name, address: c.Endpoint() + ":443",
		layers: stack(below, goTo(c.Addr()), tlsLayer(c.CAPEM(), c.id, iottest.ALPNMQTTCA))}
}

func (c *core) websocket(name string, below layer) *route {
	return &route{name: name, address: c.Endpoint() + ":443",
		layers: stack(below, goTo(c.Addr()), wssLayer(c.CAPEM(), websocket.Options{Transform: c.signer.Transform()}))}
}

// customAuth is the password of the custom authorizer.
func customAuth(o *mqtt5.ClientOptions) {
	o.Connect.Username = mqtt5.Ptr("device?x-amz-customauthorizer-name=open")
	o.Connect.Password = []byte("sesame")
}

func TestCore(t *testing.T) {
	c := startCore(t)
	runSuite(t, &c.broker, []*route{
		{name: "tcp", address: c.TCPAddr()},
		c.mtls("mtls", nil),
		c.alpn("mtls alpn", nil),
		c.websocket("wss sigv4", nil),
		{name: "tls custom auth", address: c.Endpoint() + ":443", options: customAuth,
			layers: stack(goTo(c.Addr()), tlsLayer(c.CAPEM(), nil, iottest.ALPNMQTT))},
		{name: "wss custom auth", address: c.Endpoint() + ":443", options: customAuth,
			layers: stack(goTo(c.Addr()), wssLayer(c.CAPEM(), websocket.Options{}))},
	})
}
