// SPDX-License-Identifier: Apache-2.0

// Command websocket-cognito connects over WebSocket with the credentials of an
// Amazon Cognito identity.
package main

import (
	"context"
	"errors"
	"flag"

	"github.com/gocrt/aws-iot-device-sdk-go/auth/credentials"
	"github.com/gocrt/aws-iot-device-sdk-go/iot"
	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/samples/internal/sample"
)

func main() {
	app := sample.New("websocket-cognito", "Connects over WebSocket with credentials of a Cognito identity, subscribes, publishes and receives.")
	identity := flag.String("identity-id", "", "`id` of a Cognito identity")
	pool := flag.String("identity-pool-id", "", "`id` of a Cognito identity pool, to be a new guest of it")

	app.Main(func(_ context.Context, options []iot.Option) (*mqtt5.Client, error) {
		if app.Local() {
			*pool = app.Core.AddIdentityPool(iottest.IdentityPool{})
			app.Printf("Made the identity pool %s there.", *pool)
		} else if *identity == "" && *pool == "" {
			return nil, errors.New("with -endpoint this sample needs -identity-id or -identity-pool-id; see -help")
		}
		http, err := app.HTTP(nil)
		if err != nil {
			return nil, err
		}
		provider, err := credentials.NewCognito(credentials.CognitoOptions{IdentityID: *identity, IdentityPoolID: *pool, HTTP: http})
		if err != nil {
			return nil, err
		}
		return iot.NewWebsocketWithSigV4(app.Endpoint, provider, options...)
	})
}
