module github.com/gocrt/aws-iot-device-sdk-go/io/pkcs11

go 1.25.0

require (
	github.com/gocrt/aws-iot-device-sdk-go/io v0.1.0
	github.com/google/go-cmp v0.7.0
	github.com/miekg/pkcs11 v1.1.2
	go.uber.org/zap v1.28.0
)

require (
	go.uber.org/multierr v1.10.0 // indirect
	golang.org/x/crypto v0.54.0 // indirect
	software.sslmate.com/src/go-pkcs12 v0.7.4 // indirect
)

replace github.com/gocrt/aws-iot-device-sdk-go/io => ..
