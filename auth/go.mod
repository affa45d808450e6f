module github.com/gocrt/aws-iot-device-sdk-go/auth

go 1.25.0
