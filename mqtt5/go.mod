module github.com/gocrt/aws-iot-device-sdk-go/mqtt5

go 1.25.0

require github.com/google/go-cmp v0.7.0
