module github.com/gocrt/aws-iot-device-sdk-go/iot/iottest

go 1.25.0
