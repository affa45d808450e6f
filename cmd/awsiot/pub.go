// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/cmd/internal/cli"
	"github.com/gocrt/aws-iot-device-sdk-go/iot"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/filestore"
)

// pub is what the flags of "awsiot pub" ask for.
type pub struct {
	*session
	qos           int
	retain        bool
	file          string
	lines, hex    bool
	contentType   string
	responseTopic string
	expiry        time.Duration
	properties    []mqtt5.UserProperty

	spool string
	store *filestore.Store
}

func pubCommand() *cli.Command {
	return &cli.Command{
		Name: "pub", Summary: "publish a message", Args: "TOPIC [MESSAGE]",
		Details: `Publishes exactly what it is given, once, and says what the server acknowledged. Without MESSAGE it is what standard input or -file holds, unchanged, to the last byte.`,
		Define: func(set *cli.Flags) func(context.Context, []string) error {
			p := &pub{}
			set.Group("Message", func() {
				set.IntVar(&p.qos, "qos", 1, "`quality` of service: 0, 1, or 2 where the server has it")
				set.BoolVar(&p.retain, "retain", false, "ask the server to keep the message for later subscribers")
				set.StringVar(&p.file, "file", "", "`file` that holds the message")
				set.BoolVar(&p.lines, "lines", false, "publish each line of standard input as a message")
				set.BoolVar(&p.hex, "hex", false, "the message is given in hexadecimal digits")
				set.StringVar(&p.contentType, "content-type", "", "`type` of the content, such as application/json")
				set.StringVar(&p.responseTopic, "response-topic", "", "`topic` for answers")
				set.DurationVar(&p.expiry, "expiry", 0, "`time` after which the message is worth nothing")
				set.StringVar(&p.spool, "spool", "", "`directory` where messages wait that cannot be sent now: the next run with it sends them")
				set.Func("property", "user property, `NAME=VALUE`; may be repeated", func(v string) error {
					name, value, ok := strings.Cut(v, "=")
					if !ok {
						return errors.New("it is not of the form NAME=VALUE")
					}
					p.properties = append(p.properties, mqtt5.UserProperty{Name: name, Value: value})
					return nil
				})
			})
			set.Values("qos", "0", "1", "2")
			set.Files("file")
			p.session = defineSession(set)
			return p.run
		},
	}
}

func (p *pub) run(ctx context.Context, args []string) (err error) {
	switch {
	case len(args) == 0:
		return cli.Usagef("the TOPIC is missing")
	case len(args) > 2:
		return cli.Usagef("unexpected argument %q; quote a message with blanks", args[2])
	case p.qos < 0 || p.qos > 2:
		return cli.Usagef("-qos %d: it is 0, 1 or 2", p.qos)
	case len(args) == 2 && (p.file != "" || p.lines), p.file != "" && p.lines:
		return cli.Usagef("MESSAGE, -file and -lines exclude each other")
	case p.spool != "" && p.qos == 0:
		return cli.Usagef("-spool keeps messages of QoS 1 and 2 only")
	case p.expiry < 0 || p.expiry > 0 && p.expiry < time.Second || p.expiry > math.MaxUint32*time.Second:
		return cli.Usagef("-expiry %v: it is a second or more", p.expiry)
	}
	defer func() {
		p.close()
		err = p.closeSpool(err)
	}()
	open := p.open
	if p.spool != "" {
		open = func(context.Context, ...iot.Option) error { return p.openSpool() }
	}
	if p.lines {
		if err := open(ctx); err != nil {
			return err
		}
		err = p.each(ctx, args[0])
	} else {
		payload, err := p.payload(ctx, args[1:])
		if err != nil {
			return err
		}
		if err := open(ctx); err != nil {
			return err
		}
		if err := p.publish(ctx, args[0], payload); err != nil {
			return err
		}
	}
	if err == nil && p.spool != "" {
		p.drain(ctx)
	}
	return err
}

// payload is the one message.
func (p *pub) payload(ctx context.Context, args []string) (payload []byte, err error) {
	switch {
	case len(args) == 1:
		payload = []byte(args[0])
	case p.file != "":
		payload, err = os.ReadFile(p.file)
	default:
		payload, err = p.stdin(ctx, "the message")
	}
	if err == nil && p.hex {
		payload, err = p.decode(payload)
	}
	return payload, err
}

func (p *pub) decode(text []byte) ([]byte, error) {
	decoded, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		return nil, cli.Usagef("-hex: %v", err)
	}
	return decoded, nil
}

// each publishes the lines of standard input as they come.
func (p *pub) each(ctx context.Context, topic string) error {
	type line struct {
		text []byte
		err  error
	}
	if cli.IsTerminal(os.Stdin) {
		p.sayf("type a message a line; %s ends it", endOfInput)
	}
	lines := make(chan line)
	go func() {
		defer close(lines)
		r := bufio.NewReader(os.Stdin)
		for {
			text, err := r.ReadBytes('\n')
			if len(text) > 0 {
				lines <- line{text: []byte(strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r"))}
			}
			if err != nil {
				if err != io.EOF {
					lines <- line{err: err}
				}
				return
			}
		}
	}()
	for {
		select {
		case l, ok := <-lines:
			if !ok {
				return nil
			}
			if l.err == nil && p.hex {
				l.text, l.err = p.decode(l.text)
			}
			if l.err != nil {
				return l.err
			}
			if err := p.publish(ctx, topic, l.text); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// publish publishes one message and reports the outcome.
func (p *pub) publish(ctx context.Context, topic string, payload []byte) error {
	packet := &mqtt5.PublishPacket{Topic: topic, Payload: payload, QoS: mqtt5.QoS(p.qos), Retain: p.retain, UserProperties: p.properties}
	if p.contentType != "" {
		packet.ContentType = &p.contentType
	}
	if p.responseTopic != "" {
		packet.ResponseTopic = &p.responseTopic
	}
	if p.expiry > 0 {
		packet.MessageExpirySeconds = mqtt5.Ptr(uint32(p.expiry / time.Second))
	}
	limited, cancel := p.limit(ctx)
	defer cancel()
	defer p.progress("waiting for the acknowledgement")()
	result, err := p.client.Publish(limited, packet)
	if err != nil {
		return err
	}
	p.sayf("%s to %s: %s", bytesOf(len(payload)), topic, outcome(result, p.qos))
	return nil
}

func bytesOf(n int) string {
	if n == 1 {
		return "1 byte"
	}
	return fmt.Sprintf("%d bytes", n)
}

// outcome says what the server acknowledged.
func outcome(r *mqtt5.PublishResult, qos int) string {
	switch {
	case r != nil && r.Stage == mqtt5.StageStored:
		return "stored"
	case qos == 0:
		return "sent with QoS 0, which the server does not acknowledge"
	case r != nil && r.Puback != nil && r.Puback.ReasonCode == mqtt5.PubackNoMatchingSubscribers:
		return "acknowledged; nobody is subscribed to it"
	}
	return fmt.Sprintf("acknowledged (QoS %d)", qos)
}
