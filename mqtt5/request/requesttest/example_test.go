// SPDX-License-Identifier: Apache-2.0

package requesttest_test

import (
	"context"
	"fmt"
	"log"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request/requesttest"
)

func ExampleConn() {
	conn := requesttest.New()
	defer conn.Close()
	conn.OnPublish(func(p *mqtt5.PublishPacket) error {
		conn.DeliverPacket(mqtt5.PublishPacket{Topic: *p.ResponseTopic, CorrelationData: p.CorrelationData})
		return nil
	})
	client, err := request.New(conn, request.Options{ReplyTopic: "replies"})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := client.Call(context.Background(), "ask", nil); err != nil {
		log.Fatal(err)
	}
	for _, line := range conn.Log() {
		fmt.Println(line)
	}
	// Output:
	// SUBSCRIBE replies
	// PUBLISH ask
}
