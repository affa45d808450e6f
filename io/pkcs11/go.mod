module github.com/gocrt/aws-iot-device-sdk-go/io/pkcs11

go 1.25.0

require (
	github.com/google/go-cmp v0.7.0
	github.com/miekg/pkcs11 v1.1.2
	go.uber.org/zap v1.28.0
)

require go.uber.org/multierr v1.10.0 // indirect
