// SPDX-License-Identifier: Apache-2.0

// Command websocket-sigv4 connects over WebSocket with AWS credentials: each
// attempt is signed anew (Signature Version 4).
package main

import (
	"context"
	"flag"

	"github.com/gocrt/aws-iot-device-sdk-go/auth/credentials"
	"github.com/gocrt/aws-iot-device-sdk-go/iot"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/samples/internal/sample"
)

func main() {
	app := sample.New("websocket-sigv4", "Connects over WebSocket, signed with AWS credentials (SigV4), subscribes, publishes and receives.")
	region := flag.String("region", "", "AWS `region` (default: the one in the name of the endpoint, then AWS_REGION)")
	profile := flag.String("profile", "", "`name` of a profile in ~/.aws (default: environment, default profile, container, instance)")

	app.Main(func(_ context.Context, options []iot.Option) (*mqtt5.Client, error) {
		var provider *credentials.Provider
		var err error
		switch {
		case app.Local():
			provider, err = app.LocalCredentials()
		case *profile != "":
			provider, err = credentials.NewProfile(credentials.ProfileOptions{Name: *profile})
		default:
			provider, err = credentials.NewDefault(credentials.DefaultOptions{})
		}
		if err != nil {
			return nil, err
		}
		if *region != "" {
			options = append(options, iot.WithRegion(*region))
		}
		return iot.NewWebsocketWithSigV4(app.Endpoint, provider, options...)
	})
}
