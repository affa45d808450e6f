module github.com/gocrt/aws-iot-device-sdk-go/benchmarks

go 1.25.0

require (
	github.com/eclipse/paho.golang v0.23.0
	github.com/gocrt/aws-iot-device-sdk-go/auth v0.1.0
	github.com/gocrt/aws-iot-device-sdk-go/io v0.1.0
	github.com/gocrt/aws-iot-device-sdk-go/iot v0.1.0
	github.com/gocrt/aws-iot-device-sdk-go/mqtt5 v0.1.0
	github.com/gocrt/aws-iot-device-sdk-go/mqtt5/filestore v0.1.0
	github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqttotel v0.1.0
	go.opentelemetry.io/otel/sdk/metric v1.46.0
)

require (
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/go-logr/logr v1.4.4 // indirect
	github.com/go-logr/stdr v1.2.2 // indirect
	github.com/gocrt/aws-iot-device-sdk-go/http v0.1.0 // indirect
	github.com/google/uuid v1.6.0 // indirect
	go.opentelemetry.io/auto/sdk v1.2.1 // indirect
	go.opentelemetry.io/otel v1.46.0 // indirect
	go.opentelemetry.io/otel/metric v1.46.0 // indirect
	go.opentelemetry.io/otel/sdk v1.46.0 // indirect
	go.opentelemetry.io/otel/trace v1.46.0 // indirect
	go.uber.org/multierr v1.10.0 // indirect
	go.uber.org/zap v1.28.0 // indirect
	golang.org/x/crypto v0.54.0 // indirect
	golang.org/x/sys v0.47.0 // indirect
	software.sslmate.com/src/go-pkcs12 v0.7.4 // indirect
)

replace (
	github.com/gocrt/aws-iot-device-sdk-go/auth => ../auth
	github.com/gocrt/aws-iot-device-sdk-go/http => ../http
	github.com/gocrt/aws-iot-device-sdk-go/io => ../io
	github.com/gocrt/aws-iot-device-sdk-go/iot => ../iot
	github.com/gocrt/aws-iot-device-sdk-go/mqtt5 => ../mqtt5
	github.com/gocrt/aws-iot-device-sdk-go/mqtt5/filestore => ../mqtt5/filestore
	github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqttotel => ../mqtt5/mqttotel
)
