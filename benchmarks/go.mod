module github.com/gocrt/aws-iot-device-sdk-go/benchmarks

go 1.25.0

require (
	github.com/eclipse/paho.golang v0.23.0
	github.com/gocrt/aws-iot-device-sdk-go/io v0.1.0
	github.com/gocrt/aws-iot-device-sdk-go/mqtt5 v0.1.0
	github.com/gocrt/aws-iot-device-sdk-go/mqtt5/filestore v0.1.0
)

require (
	go.uber.org/multierr v1.10.0 // indirect
	go.uber.org/zap v1.28.0 // indirect
)

replace (
	github.com/gocrt/aws-iot-device-sdk-go/io => ../io
	github.com/gocrt/aws-iot-device-sdk-go/mqtt5 => ../mqtt5
	github.com/gocrt/aws-iot-device-sdk-go/mqtt5/filestore => ../mqtt5/filestore
)
