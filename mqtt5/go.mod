module github.com/gocrt/aws-iot-device-sdk-go/mqtt5

go 1.25.0
