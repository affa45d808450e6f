module github.com/gocrt/aws-iot-device-sdk-go/io

go 1.25.0
