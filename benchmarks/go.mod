module github.com/gocrt/aws-iot-device-sdk-go/benchmarks

go 1.25.0
