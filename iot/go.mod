module github.com/gocrt/aws-iot-device-sdk-go/iot

go 1.25.0
