// SPDX-License-Identifier: Apache-2.0

// Command custom-handshake connects over WebSocket and changes each upgrade
// itself. Here it signs it with package sigv4, in place of a signing service.
package main

import (
	"context"
	"net/http"

	"github.com/gocrt/aws-iot-device-sdk-go/auth/credentials"
	"github.com/gocrt/aws-iot-device-sdk-go/auth/sigv4"
	"github.com/gocrt/aws-iot-device-sdk-go/iot"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/samples/internal/sample"
)

func main() {
	app := sample.New("custom-handshake", "Connects over WebSocket and signs each upgrade itself, subscribes, publishes and receives.")

	app.Main(func(_ context.Context, options []iot.Option) (*mqtt5.Client, error) {
		var provider *credentials.Provider
		var err error
		o := sigv4.Options{}
		if app.Local() {
			provider, err = app.LocalCredentials()
			o.Region = app.Core.Region()
		} else {
			provider, err = credentials.NewDefault(credentials.DefaultOptions{})
		}
		if err != nil {
			return nil, err
		}
		o.Credentials = provider
		signer, err := sigv4.New(o)
		if err != nil {
			return nil, err
		}
		sign := signer.Transform()
		return iot.NewWebsocketWithCustomHandshake(app.Endpoint, func(ctx context.Context, r *http.Request) error {
			app.Printf("Signing the upgrade to %s.", r.URL.Host)
			return sign(ctx, r)
		}, options...)
	})
}
