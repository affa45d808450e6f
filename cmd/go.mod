module github.com/gocrt/aws-iot-device-sdk-go/cmd

go 1.25.0

require (
	github.com/aws/aws-sdk-go-v2 v1.47.7
	github.com/gocrt/aws-iot-device-sdk-go/auth v0.1.0
	github.com/gocrt/aws-iot-device-sdk-go/http v0.1.0
	github.com/gocrt/aws-iot-device-sdk-go/io v0.1.0
	github.com/gocrt/aws-iot-device-sdk-go/io/pkcs11 v0.1.0
	github.com/gocrt/aws-iot-device-sdk-go/iot v0.1.0
	github.com/gocrt/aws-iot-device-sdk-go/iot/iottest v0.1.0
	github.com/gocrt/aws-iot-device-sdk-go/mqtt5 v0.1.0
	github.com/gocrt/aws-iot-device-sdk-go/mqtt5/filestore v0.1.0
	github.com/google/go-cmp v0.7.0
	go.uber.org/zap v1.28.0
	golang.org/x/sys v0.47.0
	software.sslmate.com/src/go-pkcs12 v0.7.4
)

require (
	github.com/aws/aws-sdk-go-v2/config v1.33.15 // indirect
	github.com/aws/aws-sdk-go-v2/credentials v1.20.15 // indirect
	github.com/aws/aws-sdk-go-v2/feature/ec2/imds v1.20.7 // indirect
	github.com/aws/aws-sdk-go-v2/internal/configsources v1.5.10 // indirect
	github.com/aws/aws-sdk-go-v2/internal/endpoints/v2 v2.8.10 // indirect
	github.com/aws/aws-sdk-go-v2/internal/v4a v1.5.10 // indirect
	github.com/aws/aws-sdk-go-v2/service/cognitoidentity v1.34.0 // indirect
	github.com/aws/aws-sdk-go-v2/service/internal/accept-encoding v1.13.24 // indirect
	github.com/aws/aws-sdk-go-v2/service/internal/presigned-url v1.14.10 // indirect
	github.com/aws/aws-sdk-go-v2/service/signin v1.12.3 // indirect
	github.com/aws/aws-sdk-go-v2/service/sso v1.39.3 // indirect
	github.com/aws/aws-sdk-go-v2/service/ssooidc v1.44.3 // indirect
	github.com/aws/aws-sdk-go-v2/service/sts v1.51.8 // indirect
	github.com/aws/smithy-go v1.28.8 // indirect
	github.com/fxamacker/cbor/v2 v2.10.0 // indirect
	github.com/miekg/pkcs11 v1.1.2 // indirect
	github.com/mochi-mqtt/server/v2 v2.7.9 // indirect
	github.com/x448/float16 v0.8.4 // indirect
	go.etcd.io/bbolt v1.5.0 // indirect
	go.uber.org/multierr v1.10.0 // indirect
	golang.org/x/crypto v0.54.0 // indirect
)

