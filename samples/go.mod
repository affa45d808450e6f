module github.com/gocrt/aws-iot-device-sdk-go/samples

go 1.25.0
