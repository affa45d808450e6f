module github.com/gocrt/aws-iot-device-sdk-go/io/pkcs11

go 1.25.0
