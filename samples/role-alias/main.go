// SPDX-License-Identifier: Apache-2.0

// Command role-alias exchanges the certificate of the device for AWS credentials
// through a role alias, and connects over WebSocket with these.
package main

import (
	"context"
	"flag"

	"github.com/gocrt/aws-iot-device-sdk-go/auth/credentials"
	"github.com/gocrt/aws-iot-device-sdk-go/io/tlsctx"
	"github.com/gocrt/aws-iot-device-sdk-go/iot"
	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/samples/internal/sample"
)

func main() {
	app := sample.New("role-alias", "Connects over WebSocket with credentials that the device certificate was exchanged for, subscribes, publishes and receives.")
	files := app.CertFlags()
	endpoint := flag.String("credentials-endpoint", "", "host `name` of the credentials endpoint: `aws iot describe-endpoint --endpoint-type iot:CredentialProvider`")
	alias := flag.String("role-alias", "", "`name` of the role alias")
	thing := flag.String("thing", "", "`name` of the thing that the certificate is attached to, for policies with thing variables")

	app.Main(func(_ context.Context, options []iot.Option) (*mqtt5.Client, error) {
		if app.Local() {
			*endpoint, *alias = app.Core.CredentialsEndpoint(), "sample-alias"
			if err := app.Core.AddRoleAlias(iottest.RoleAlias{Name: *alias}); err != nil {
				return nil, err
			}
		} else if err := app.Require("credentials-endpoint", "role-alias", "cert", "key"); err != nil {
			return nil, err
		}
		if err := files.Files(); err != nil {
			return nil, err
		}
		http, err := app.HTTP(tlsctx.FromPath(*files.Cert, *files.Key))
		if err != nil {
			return nil, err
		}
		provider, err := credentials.NewX509(credentials.X509Options{Endpoint: *endpoint, RoleAlias: *alias, ThingName: *thing, HTTP: http})
		if err != nil {
			return nil, err
		}
		return iot.NewWebsocketWithSigV4(app.Endpoint, provider, options...)
	})
}
