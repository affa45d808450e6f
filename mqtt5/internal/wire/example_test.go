// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"fmt"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/internal/wire"
)

// A stream arrives in pieces. Parse says how many bytes it is waiting for.
func ExampleFrame_Parse() {
	stream := wire.AppendPublish(nil, &wire.Publish{Topic: "plant/boiler", Payload: []byte("81.5"), QoS: 1, PacketID: 9})
	stream = wire.AppendAck(stream, wire.TypePuback, &wire.Ack{PacketID: 7})

	var frame wire.Frame
	need, _ := frame.Parse(stream[:5], 1<<16)
	fmt.Println("need", need, "bytes")

	for len(stream) > 0 {
		if _, err := frame.Parse(stream, 1<<16); err != nil {
			fmt.Println(err)
			return
		}
		switch frame.Type {
		case wire.TypePublish:
			var v wire.PublishView
			if err := wire.ParsePublish(&frame, &v); err != nil {
				fmt.Println(err)
				return
			}
			fmt.Printf("%v %s %s\n", frame.Type, v.Topic, v.Payload)
		default:
			fmt.Println(frame.Type)
		}
		stream = stream[frame.Size:]
	}
	// Output:
	// need 23 bytes
	// PUBLISH plant/boiler 81.5
	// PUBACK
}

func ExampleError() {
	var frame wire.Frame
	frame.Parse([]byte{0x30, 0x06, 0, 3, 'a', '/', '#', 0}, 0)
	var v wire.PublishView
	if err := wire.ParsePublish(&frame, &v); err != nil {
		fmt.Println(err)
		fmt.Printf("DISCONNECT 0x%02x\n", uint8(err.Reason))
	}
	// Output:
	// wire: protocol error in PUBLISH: topic name contains a wildcard character [MQTT-3.3.2-2]
	// DISCONNECT 0x82
}

func ExampleCheckPublish() {
	for _, v := range wire.CheckPublish(&wire.Publish{Topic: "a/#", QoS: 3}) {
		fmt.Println(v)
	}
	// Output:
	// wire: QoS: QoS is above 2 [MQTT-3.3.1-4]
	// wire: Topic: topic name contains a wildcard character [MQTT-3.3.2-2]
}
