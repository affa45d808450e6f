// SPDX-License-Identifier: Apache-2.0

// Command websocket-custom-auth connects over WebSocket with what a custom
// authorizer wants: a password, or a signed token.
package main

import (
	"context"
	"flag"

	"github.com/gocrt/aws-iot-device-sdk-go/iot"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/samples/internal/sample"
)

func main() {
	app := sample.New("websocket-custom-auth", "Connects over WebSocket with a custom authorizer, subscribes, publishes and receives.")
	authorizer := flag.String("authorizer", "", "`name` of the custom authorizer (default: the default one of the endpoint)")
	username := flag.String("username", "", "user `name` for the authorizer")
	password := flag.String("password", "", "`password` for the authorizer")
	key := flag.String("token-key-name", "", "`name` of the token parameter of the authorizer")
	token := flag.String("token", "", "`token` for the authorizer")
	signature := flag.String("signature", "", "`signature` of the token, in base64")

	app.Main(func(_ context.Context, options []iot.Option) (client *mqtt5.Client, err error) {
		a := iot.CustomAuthorizer{Name: *authorizer, Username: *username, TokenKeyName: *key, TokenValue: *token, Signature: *signature}
		if *password != "" {
			a.Password = []byte(*password)
		}
		if app.Local() {
			if a, err = app.LocalAuthorizer(true); err != nil {
				return nil, err
			}
		}
		return iot.NewWebsocketWithCustomAuthorizer(app.Endpoint, a, options...)
	})
}
