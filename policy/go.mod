module github.com/gocrt/aws-iot-device-sdk-go/policy

go 1.25.0
