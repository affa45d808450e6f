// SPDX-License-Identifier: Apache-2.0

// Command custom-auth connects with a user name and a password that a custom
// authorizer judges.
package main

import (
	"context"
	"flag"

	"github.com/gocrt/aws-iot-device-sdk-go/iot"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/samples/internal/sample"
)

func main() {
	app := sample.New("custom-auth", "Connects with user name and password for a custom authorizer, subscribes, publishes and receives.")
	authorizer := flag.String("authorizer", "", "`name` of the custom authorizer (default: the default one of the endpoint)")
	username := flag.String("username", "", "user `name` for the authorizer")
	password := flag.String("password", "", "`password` for the authorizer")

	app.Main(func(_ context.Context, options []iot.Option) (client *mqtt5.Client, err error) {
		a := iot.CustomAuthorizer{Name: *authorizer, Username: *username, Password: []byte(*password)}
		if app.Local() {
			if a, err = app.LocalAuthorizer(false); err != nil {
				return nil, err
			}
		}
		return iot.NewDirectWithCustomAuthorizer(app.Endpoint, a, options...)
	})
}
