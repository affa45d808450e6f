module github.com/gocrt/aws-iot-device-sdk-go/interop

go 1.25.0
