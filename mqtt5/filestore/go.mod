module github.com/gocrt/aws-iot-device-sdk-go/mqtt5/filestore

go 1.25.0

require (
	github.com/gocrt/aws-iot-device-sdk-go/mqtt5 v0.1.0
	github.com/google/go-cmp v0.7.0
)

require (
	github.com/gocrt/aws-iot-device-sdk-go/io v0.1.0 // indirect
	go.uber.org/multierr v1.10.0 // indirect
	go.uber.org/zap v1.28.0 // indirect
)

replace (
	github.com/gocrt/aws-iot-device-sdk-go/io => ../../io
	github.com/gocrt/aws-iot-device-sdk-go/mqtt5 => ..
)
