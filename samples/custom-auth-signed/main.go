// SPDX-License-Identifier: Apache-2.0

// Command custom-auth-signed connects with a token and its signature, which the
// service checks before it asks the custom authorizer.
package main

import (
	"context"
	"flag"

	"github.com/gocrt/aws-iot-device-sdk-go/iot"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/samples/internal/sample"
)

func main() {
	app := sample.New("custom-auth-signed", "Connects with a signed token for a custom authorizer, subscribes, publishes and receives.")
	authorizer := flag.String("authorizer", "", "`name` of the custom authorizer (default: the default one of the endpoint)")
	username := flag.String("username", "", "user `name` for the authorizer")
	key := flag.String("token-key-name", "", "`name` of the token parameter of the authorizer")
	token := flag.String("token", "", "`token` for the authorizer")
	signature := flag.String("signature", "", "`signature` of the token, in base64")

	app.Main(func(_ context.Context, options []iot.Option) (client *mqtt5.Client, err error) {
		a := iot.CustomAuthorizer{Name: *authorizer, Username: *username, TokenKeyName: *key, TokenValue: *token, Signature: *signature}
		if app.Local() {
			a, err = app.LocalAuthorizer(true)
		} else {
			err = app.Require("token-key-name", "token", "signature")
		}
		if err != nil {
			return nil, err
		}
		return iot.NewDirectWithCustomAuthorizer(app.Endpoint, a, options...)
	})
}
