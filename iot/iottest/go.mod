module github.com/gocrt/aws-iot-device-sdk-go/iot/iottest

go 1.25.0

require (
	github.com/mochi-mqtt/server/v2 v2.7.9
	go.etcd.io/bbolt v1.5.0
)

require golang.org/x/sys v0.45.0 // indirect
