// SPDX-License-Identifier: Apache-2.0

package request_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request/requesttest"
)

// echo stands in for a connected client and a service behind it.
func echo() *requesttest.Conn {
	conn := requesttest.New()
	conn.OnPublish(func(p *mqtt5.PublishPacket) error {
		if p.ResponseTopic != nil {
			answer := mqtt5.PublishPacket{Topic: *p.ResponseTopic, CorrelationData: p.CorrelationData, Payload: []byte("21.5")}
			conn.DeliverPacket(answer)
		} else {
			conn.Deliver(p.Topic+"/accepted", p.Payload)
		}
		return nil
	})
	return conn
}

func ExampleClient_Call() {
	conn := echo() // usually a *mqtt5.Client
	defer conn.Close()
	client, err := request.New(conn, request.Options{ReplyTopic: "clients/display/replies"})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	defer client.Close(ctx)

	answer, err := client.Call(ctx, "rooms/kitchen/temperature/get", nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", answer.Payload)
	// Output: 21.5
}

func ExampleClient_Do() {
	conn := echo()
	defer conn.Close()
	client, err := request.New(conn, request.Options{})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	defer client.Close(ctx)

	const topic = "$aws/things/lamp/jobs/get"
	token := request.NewToken()
	answer, err := client.Do(ctx, &request.Request{
		Topic:   topic,
		Payload: fmt.Appendf(nil, `{"clientToken":%q}`, token),
		Replies: []request.Reply{
			{Topic: topic + "/accepted", Filter: topic + "/+"},
			{Topic: topic + "/rejected", Filter: topic + "/+"},
		},
		Correlation: request.JSONField("clientToken"),
		Token:       token,
		Timeout:     10 * time.Second,
		Quota:       request.Quota{Name: "jobs lamp", InFlight: 10},
		Idempotent:  true,
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(answer.Topic)
	// Output: $aws/things/lamp/jobs/get/accepted
}

func ExampleClient_Stream() {
	conn := requesttest.New()
	defer conn.Close()
	client, err := request.New(conn, request.Options{})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	defer client.Close(ctx)

	done := make(chan struct{})
	stream, err := client.Stream(request.StreamOptions{
		Filter: "$aws/things/lamp/jobs/notify",
		OnMessage: func(_ context.Context, m mqtt5.Message) {
			fmt.Printf("%s\n", m.Payload)
			close(done)
		},
		OnEvent: func(_ context.Context, e request.StreamEvent) { fmt.Println(e.Kind) },
	})
	if err != nil {
		log.Fatal(err)
	}
	defer stream.Close()
	if err := stream.WaitEstablished(ctx); err != nil {
		log.Fatal(err)
	}
	conn.Deliver("$aws/things/lamp/jobs/notify", []byte(`{"jobs":{}}`))
	<-done
	// Output:
	// established
	// {"jobs":{}}
}
