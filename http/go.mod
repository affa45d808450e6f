module github.com/gocrt/aws-iot-device-sdk-go/http

go 1.25.0
