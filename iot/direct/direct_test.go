// SPDX-License-Identifier: Apache-2.0

package direct_test

import (
	"context"
	"errors"
	"log"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/direct"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqtttest"
)

// TestHandle sends direct messages to a client that has subscribed to nothing.
func TestHandle(t *testing.T) {
	for name, tt := range map[string]struct {
		handler direct.Handler
		code    mqtttest.ReasonCode
		reason  string
		answer  string
		silent  bool // the message has no response topic
	}{
		"answered": {handler: func(_ context.Context, m mqtt5.Message) ([]byte, error) {
			return []byte("re: " + string(m.Payload)), nil
		}, answer: "re: hello"},
		"no response topic": {handler: func(context.Context, mqtt5.Message) ([]byte, error) { return []byte("unused"), nil }, silent: true},
		"rejected": {handler: func(context.Context, mqtt5.Message) ([]byte, error) {
			return nil, errors.New("not\nnow" + strings.Repeat("x", 300))
		}, code: 0x83, reason: "not now" + strings.Repeat("x", 249)},
		"panic": {handler: func(context.Context, mqtt5.Message) ([]byte, error) { panic("oh") }, code: 0x83, reason: "the handler panicked: oh"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := mqtttest.NewServer(t)
				srv.Script(func(c *mqtttest.Conn) {
					c.Accept()
					c.Sleep(time.Second)
					m := mqtttest.Publish{QoS: 1, PacketID: 7, Topic: "to/me", Payload: []byte("hello"), CorrelationData: []byte("id")}
					if !tt.silent {
						m.ResponseTopic = mqtttest.Ptr("from/me")
					}
					c.Send(m)
					c.ExpectPuback(func(p mqtttest.Puback) error {
						got := ""
						if p.ReasonString != nil {
							got = *p.ReasonString
						}
						if p.ReasonCode != tt.code || got != tt.reason {
							return errors.New("another acknowledgement")
						}
						return nil
					})
					if tt.answer != "" {
						p := c.ExpectPublish()
						if p.Topic != "from/me" || string(p.Payload) != tt.answer || string(p.CorrelationData) != "id" || *p.ContentType != "text/plain" {
							c.Errorf("answer %+v", p)
						}
						c.Send(mqtttest.Puback{PacketID: p.PacketID})
					}
					if rest := c.Drain(); len(rest) > 0 {
						c.Errorf("further packets %v", rest)
					}
				})
				client, err := mqtt5.NewClient(mqtt5.ClientOptions{Address: "server:1883", Dial: srv.DialContext, Connect: mqtt5.ConnectPacket{KeepAliveSeconds: mqtt5.Ptr[uint16](0)}})
				if err != nil {
					t.Fatal(err)
				}
				defer client.Close()
				remove, err := direct.Handle(client, "to/#", tt.handler, direct.Options{ContentType: "text/plain", OnError: func(_ mqtt5.Message, err error) { t.Error(err) }})
				if err != nil {
					t.Fatal(err)
				}
				defer remove()
				if err := client.Start(); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
			})
		})
	}
	if _, err := direct.Handle(nil, "a", nil, direct.Options{}); !errors.Is(err, direct.ErrInvalidArgument) {
		t.Error(err)
	}
}

// connection gives its handler to the test, and publishes nothing.
type connection struct{ handle mqtt5.MessageHandler }

func (c *connection) Handle(_ string, h mqtt5.MessageHandler) (func(), error) {
	c.handle = h
	return func() {}, nil
}

func (c *connection) Publish(context.Context, *mqtt5.PublishPacket) (*mqtt5.PublishResult, error) {
	return nil, errOffline
}

var errOffline = errors.New("offline")

// A message that another handler acknowledges is not handled.
func TestHandle_ackTakenBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			c.Accept()
			c.Sleep(time.Second)
			c.Send(mqtttest.Publish{QoS: 1, PacketID: 7, Topic: "to/me"})
			c.ExpectPuback()
			c.Drain()
		})
		client, err := mqtt5.NewClient(mqtt5.ClientOptions{Address: "server:1883", Dial: srv.DialContext, Connect: mqtt5.ConnectPacket{KeepAliveSeconds: mqtt5.Ptr[uint16](0)}})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		got := make(chan error, 1)
		if _, err := direct.Handle(client, "to/me", func(context.Context, mqtt5.Message) ([]byte, error) {
			t.Error("handled")
			return nil, nil
		}, direct.Options{OnError: func(_ mqtt5.Message, err error) { got <- err }}); err != nil {
			t.Fatal(err)
		}
		if _, err := client.Handle("to/#", func(_ context.Context, m mqtt5.Message) {
			ack, err := m.TakeAck()
			if err != nil {
				t.Error(err)
			}
			time.AfterFunc(time.Second, func() { _ = ack.Accept() })
		}); err != nil {
			t.Fatal(err)
		}
		if err := client.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if err := <-got; !errors.Is(err, mqtt5.ErrAckTwice) {
			t.Error(err)
		}
	})
}

// An answer that cannot be sent is an error.
func TestHandle_error(t *testing.T) {
	var c connection
	var got error
	_, err := direct.Handle(&c, "a", func(context.Context, mqtt5.Message) ([]byte, error) { return nil, nil }, direct.Options{OnError: func(_ mqtt5.Message, err error) { got = err }})
	if err != nil {
		t.Fatal(err)
	}
	c.handle(t.Context(), mqtt5.Message{PublishPacket: mqtt5.PublishPacket{Topic: "a", ResponseTopic: mqtt5.Ptr("b")}})
	if !errors.Is(got, errOffline) {
		t.Error(got)
	}
}

func ExampleHandle() {
	var client *mqtt5.Client // from package iot
	remove, err := direct.Handle(client, "thermostat-7/#", func(_ context.Context, m mqtt5.Message) ([]byte, error) {
		if m.Topic != "thermostat-7/status" {
			return nil, errors.New("no such request")
		}
		return []byte(`{"celsius": 21.5}`), nil
	}, direct.Options{ContentType: "application/json"})
	if err != nil {
		log.Fatal(err)
	}
	defer remove()
}
