// SPDX-License-Identifier: Apache-2.0

// Command pubsub is a command-line client: it publishes and subscribes by every
// way to connect, and writes what it receives as JSON lines.
package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/samples/internal/sample"
)

// job is what the flags ask for.
type job struct {
	app           *sample.App
	filters       list
	topic         string
	lines         bool
	qos           int
	retain        bool
	contentType   string
	responseTopic string
	expiry        time.Duration
}

// list is a flag that may be repeated.
type list []string

func (l *list) String() string     { return strings.Join(*l, ",") }
func (l *list) Set(v string) error { *l = append(*l, v); return nil }

func main() {
	app := sample.New("pubsub", "Publishes and subscribes by every way to connect; what it receives is on standard output, as JSON lines.")
	app.Out = os.Stderr // standard output is for messages
	connect := app.ConnectFlags()
	j := &job{app: app}
	flag.Var(&j.filters, "sub", "topic `filter` to subscribe to; may be repeated")
	flag.StringVar(&j.topic, "pub", "", "`topic` to publish -message to, -count times")
	flag.BoolVar(&j.lines, "lines", false, "publish each line of standard input instead of -message")
	flag.IntVar(&j.qos, "qos", 1, "`quality` of service, 0 or 1")
	flag.BoolVar(&j.retain, "retain", false, "ask the server to keep the message")
	flag.StringVar(&j.contentType, "content-type", "", "`type` of the messages published")
	flag.StringVar(&j.responseTopic, "response-topic", "", "`topic` for answers to the messages published")
	flag.DurationVar(&j.expiry, "expiry", 0, "`time` after which the messages are worth nothing")
	app.Allow("sub", "pub", "lines", "qos", "retain", "content-type", "response-topic", "expiry")

	app.Run(func(ctx context.Context) (err error) {
		if j.qos != 0 && j.qos != 1 {
			return fmt.Errorf("-qos %d: it is 0 or 1", j.qos)
		}
		if j.topic == "" && len(j.filters) == 0 {
			// Without a word about it: both, to the same topic.
			j.topic, j.filters = app.Topic, list{app.Topic}
		}
		session := app.NewSession()
		client, err := connect.Client(append(app.Options(), session.Options()...)...)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, session.Stop(client)) }()
		if err := session.Connect(ctx, client); err != nil {
			return err
		}
		return j.run(ctx, session, client)
	})
}

func (j *job) run(ctx context.Context, session *sample.Session, client *mqtt5.Client) error {
	for _, f := range j.filters {
		if err := session.Subscribe(ctx, client, f); err != nil {
			return err
		}
	}
	printed := make(chan error, 1)
	listen, stopListening := context.WithCancel(ctx)
	defer stopListening()
	go func() { printed <- j.print(listen, session) }()
	if j.topic != "" {
		if err := j.publish(ctx, client); err != nil {
			return err
		}
	}
	if len(j.filters) == 0 {
		return nil
	}
	if j.lines {
		// Answers may still come.
		select {
		case err := <-printed:
			return err
		case <-time.After(time.Second):
			return nil
		}
	}
	return <-printed
}

// publish publishes the message, or the lines.
func (j *job) publish(ctx context.Context, client *mqtt5.Client) error {
	send := func(payload []byte) error {
		ctx, cancel := context.WithTimeout(ctx, sample.Timeout)
		defer cancel()
		p := &mqtt5.PublishPacket{Topic: j.topic, Payload: payload, QoS: mqtt5.QoS(j.qos), Retain: j.retain}
		if j.contentType != "" {
			p.ContentType = &j.contentType
		}
		if j.responseTopic != "" {
			p.ResponseTopic = &j.responseTopic
		}
		if j.expiry > 0 {
			p.MessageExpirySeconds = mqtt5.Ptr(uint32(max(1, j.expiry/time.Second)))
		}
		_, err := client.Publish(ctx, p)
		return err
	}
	if !j.lines {
		for i := 1; i <= j.app.Count; i++ {
			if err := send(fmt.Appendf(nil, "%s [%d]", j.app.Message, i)); err != nil {
				return err
			}
		}
		return nil
	}
	lines := make(chan []byte)
	ended := make(chan error, 1)
	go func() {
		scanner := bufio.NewScanner(os.Stdin)
		scanner.Buffer(nil, 128<<10) // the largest payload of AWS IoT Core
		for scanner.Scan() {
			select {
			case lines <- append([]byte(nil), scanner.Bytes()...):
			case <-ctx.Done():
				return
			}
		}
		ended <- scanner.Err()
	}()
	for {
		select {
		case line := <-lines:
			if err := send(line); err != nil {
				return err
			}
		case err := <-ended:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// message is a line of output.
type message struct {
	Time            time.Time   `json:"time"`
	Topic           string      `json:"topic"`
	QoS             int         `json:"qos"`
	Retain          bool        `json:"retain,omitempty"`
	Payload         *string     `json:"payload,omitempty"`
	PayloadBase64   string      `json:"payloadBase64,omitempty"` // if it is no text
	ContentType     string      `json:"contentType,omitempty"`
	ResponseTopic   string      `json:"responseTopic,omitempty"`
	CorrelationData string      `json:"correlationDataBase64,omitempty"`
	UserProperties  [][2]string `json:"userProperties,omitempty"`
}

// print writes what comes: -count messages, or with 0 until Ctrl-C.
func (j *job) print(ctx context.Context, session *sample.Session) error {
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	for i := 0; j.app.Count == 0 || j.lines || i < j.app.Count; i++ {
		m, err := session.Next(ctx)
		if err != nil {
			return err
		}
		line := message{Time: time.Now().UTC(), Topic: m.Topic, QoS: int(m.QoS), Retain: m.Retain}
		if utf8.Valid(m.Payload) {
			line.Payload = mqtt5.Ptr(string(m.Payload))
		} else {
			line.PayloadBase64 = base64.StdEncoding.EncodeToString(m.Payload)
		}
		if m.ContentType != nil {
			line.ContentType = *m.ContentType
		}
		if m.ResponseTopic != nil {
			line.ResponseTopic = *m.ResponseTopic
		}
		line.CorrelationData = base64.StdEncoding.EncodeToString(m.CorrelationData)
		for _, p := range m.UserProperties {
			line.UserProperties = append(line.UserProperties, [2]string{p.Name, p.Value})
		}
		if err := out.Encode(line); err != nil {
			return err
		}
	}
	return nil
}
