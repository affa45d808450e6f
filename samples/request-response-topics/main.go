// SPDX-License-Identifier: Apache-2.0

// Command request-response-topics asks and answers over MQTT: requests name the
// topic for the answer and carry correlation data that the answer repeats.
package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/samples/internal/sample"
)

func main() {
	app := sample.New("request-response-topics", "Asks and answers over MQTT, with response topic and correlation data.")
	files := app.CertFlags()

	app.Run(func(ctx context.Context) (err error) {
		base := app.ClientID
		requests, answers := app.Topic+"/requests", app.Topic+"/answers/"+base

		// The responder answers each request on the topic that it names.
		app.ClientID = base + "-responder"
		session := app.NewSession()
		responder, err := files.Client(append(app.Options(), session.Options()...)...)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, session.Stop(responder)) }()
		if _, err := responder.Handle(requests, func(_ context.Context, m mqtt5.Message) {
			if m.ResponseTopic == nil {
				return
			}
			_, err := responder.Publish(ctx, &mqtt5.PublishPacket{
				Topic: *m.ResponseTopic, CorrelationData: m.CorrelationData,
				Payload: []byte(strings.ToUpper(string(m.Payload))), QoS: mqtt5.AtLeastOnce,
			})
			if err != nil {
				app.Printf("The answer failed: %v", err)
			}
		}); err != nil {
			return err
		}
		if err := session.Connect(ctx, responder); err != nil {
			return err
		}
		if err := session.Subscribe(ctx, responder, requests); err != nil {
			return err
		}

		// The requester waits for the answer with the right correlation data.
		app.ClientID = base + "-requester"
		asking := app.NewSession()
		requester, err := files.Client(append(app.Options(), asking.Options()...)...)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, asking.Stop(requester)) }()
		if err := asking.Connect(ctx, requester); err != nil {
			return err
		}
		if err := asking.Subscribe(ctx, requester, answers); err != nil {
			return err
		}
		for i := 1; i <= app.Count; i++ {
			text := fmt.Sprintf("%s [%d]", app.Message, i)
			answer, err := ask(ctx, asking, requester, requests, answers, uint64(i), text)
			if err != nil {
				return err
			}
			app.Printf("Request %d of %d: %q was answered with %q", i, app.Count, text, answer)
		}
		return nil
	})
}

// ask sends a request and waits for its answer.
func ask(ctx context.Context, s *sample.Session, client *mqtt5.Client, topic, answers string, id uint64, text string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, sample.Timeout)
	defer cancel()
	correlation := binary.BigEndian.AppendUint64(nil, id)
	if _, err := client.Publish(ctx, &mqtt5.PublishPacket{
		Topic: topic, ResponseTopic: &answers, CorrelationData: correlation, Payload: []byte(text), QoS: mqtt5.AtLeastOnce,
	}); err != nil {
		return "", err
	}
	for {
		m, err := s.Next(ctx)
		if err != nil {
			return "", fmt.Errorf("no answer: %w", err)
		}
		if string(m.CorrelationData) == string(correlation) {
			return string(m.Payload), nil
		}
	}
}
