module github.com/gocrt/aws-iot-device-sdk-go/auth

go 1.25.0

require github.com/aws/aws-sdk-go-v2 v1.47.7

require (
	github.com/aws/smithy-go v1.28.8 // indirect
	github.com/google/go-cmp v0.7.0
)
