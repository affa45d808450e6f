module github.com/gocrt/aws-iot-device-sdk-go/samples

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
	github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqttotel v0.1.0
	github.com/google/go-cmp v0.7.0
	github.com/prometheus/client_golang v1.24.1
	go.opentelemetry.io/otel/exporters/prometheus v0.68.0
	go.opentelemetry.io/otel/sdk/metric v1.46.0
	go.uber.org/zap v1.28.0
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
	github.com/beorn7/perks v1.0.1 // indirect
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/fxamacker/cbor/v2 v2.10.0 // indirect
	github.com/go-logr/logr v1.4.4 // indirect
	github.com/go-logr/stdr v1.2.2 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/miekg/pkcs11 v1.1.2 // indirect
	github.com/mochi-mqtt/server/v2 v2.7.9 // indirect
	github.com/munnerz/goautoneg v0.0.0-20191010083416-a7dc8b61c822 // indirect
	github.com/prometheus/client_model v0.6.2 // indirect
	github.com/prometheus/common v0.70.1 // indirect
	github.com/prometheus/otlptranslator v1.0.0 // indirect
	github.com/prometheus/procfs v0.21.1 // indirect
	github.com/x448/float16 v0.8.4 // indirect
	go.etcd.io/bbolt v1.5.0 // indirect
	go.opentelemetry.io/auto/sdk v1.2.1 // indirect
	go.opentelemetry.io/otel v1.46.0 // indirect
	go.opentelemetry.io/otel/metric v1.46.0 // indirect
	go.opentelemetry.io/otel/sdk v1.46.0 // indirect
	go.opentelemetry.io/otel/trace v1.46.0 // indirect
	go.uber.org/multierr v1.10.0 // indirect
	golang.org/x/crypto v0.54.0 // indirect
	golang.org/x/sys v0.47.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)

replace (
	github.com/gocrt/aws-iot-device-sdk-go/auth => ../auth
	github.com/gocrt/aws-iot-device-sdk-go/http => ../http
	github.com/gocrt/aws-iot-device-sdk-go/io => ../io
	github.com/gocrt/aws-iot-device-sdk-go/io/pkcs11 => ../io/pkcs11
	github.com/gocrt/aws-iot-device-sdk-go/iot => ../iot
	github.com/gocrt/aws-iot-device-sdk-go/iot/iottest => ../iot/iottest
	github.com/gocrt/aws-iot-device-sdk-go/mqtt5 => ../mqtt5
	github.com/gocrt/aws-iot-device-sdk-go/mqtt5/filestore => ../mqtt5/filestore
	github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqttotel => ../mqtt5/mqttotel
)
