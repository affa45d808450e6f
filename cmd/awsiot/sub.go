// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gocrt/aws-iot-device-sdk-go/cmd/internal/cli"
	"github.com/gocrt/aws-iot-device-sdk-go/iot"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// sub is what the flags of "awsiot sub" ask for.
type sub struct {
	*session
	qos    int
	n      int
	wait   time.Duration
	format string
	topics bool

	out  *bufio.Writer
	mu   sync.Mutex
	seen int
	done chan error
}

// formats are the forms in which messages are printed.
var formats = []string{"text", "hex", "json"}

func subCommand() *cli.Command {
	return &cli.Command{
		Name: "sub", Summary: "subscribe and print messages", Args: "FILTER...",
		Details: `Prints a line for each message, until Ctrl-C or -n. A lost connection is opened again, with its subscriptions. Lines of json have topic, QoS, properties and payload; a payload that is no text is there in base64.`,
		Define: func(set *cli.Flags) func(context.Context, []string) error {
			s := &sub{out: bufio.NewWriter(os.Stdout), done: make(chan error, 1)}
			set.Group("Messages", func() {
				set.StringVar(&s.format, "format", "text", "`form` of a line: "+strings.Join(formats, ", "))
				set.BoolVar(&s.topics, "topics", cli.IsTerminal(os.Stdout), "print the topic before a message (default: on a terminal)")
				set.IntVar(&s.qos, "qos", 1, "highest `quality` of service")
				set.IntVar(&s.n, "n", 0, "end after so `many` messages (default: Ctrl-C)")
				set.DurationVar(&s.wait, "wait", 0, "longest `time` to wait for the messages (default: no limit)")
			})
			set.Values("format", formats...)
			set.Values("qos", "0", "1", "2")
			s.session = defineSession(set)
			return s.run
		},
	}
}

func (s *sub) run(ctx context.Context, filters []string) error {
	switch {
	case len(filters) == 0:
		return cli.Usagef("the topic FILTER is missing, such as 'rooms/#'")
	case s.qos < 0 || s.qos > 2:
		return cli.Usagef("-qos %d: it is 0, 1 or 2", s.qos)
	case s.n < 0 || s.wait < 0:
		return cli.Usagef("-n and -wait are not negative")
	case !strings.Contains(" "+strings.Join(formats, " ")+" ", " "+s.format+" "):
		return cli.Usagef("unknown -format %q: it is one of %s", s.format, strings.Join(formats, ", "))
	}
	defer s.close()
	if err := s.open(ctx, iot.WithOnMessage(s.message)); err != nil {
		return err
	}
	packet := &mqtt5.SubscribePacket{}
	for _, f := range filters {
		packet.Subscriptions = append(packet.Subscriptions, mqtt5.Subscription{TopicFilter: f, QoS: mqtt5.QoS(s.qos)})
	}
	limited, cancel := s.limit(ctx)
	defer cancel()
	done := s.progress("subscribing")
	_, err := s.client.Subscribe(limited, packet)
	if done(); err != nil {
		return err
	}
	s.sayf("subscribed to %s", strings.Join(filters, ", "))
	var timeout <-chan time.Time
	if s.wait > 0 {
		timer := time.NewTimer(s.wait)
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case err := <-s.done:
		return err
	case <-ctx.Done():
		return s.short(ctx.Err())
	case <-timeout:
		return s.short(nil)
	}
}

// short is the error if fewer messages came than -n asks for.
func (s *sub) short(cause error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.seen >= s.n:
		return nil
	case cause != nil:
		return fmt.Errorf("%d of %d messages came: %w", s.seen, s.n, cause)
	}
	return fmt.Errorf("%d of %d messages came within %v", s.seen, s.n, s.wait)
}

// message prints a message. It runs on the client's goroutine for handlers, so
// that a slow reader of standard output holds back the server.
func (s *sub) message(_ context.Context, m mqtt5.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n > 0 && s.seen == s.n {
		return
	}
	s.seen++
	err := s.print(s.out, m)
	if err == nil {
		err = s.out.Flush()
	}
	if err != nil || s.seen == s.n {
		select {
		case s.done <- err:
		default:
		}
	}
}

// line is a message as a line of JSON.
type line struct {
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

func (s *sub) print(w io.Writer, m mqtt5.Message) error {
	if s.format == "json" {
		return printJSON(w, m)
	}
	if s.topics {
		if _, err := fmt.Fprintf(w, "%s ", printable(m.Topic)); err != nil {
			return err
		}
	}
	text := string(m.Payload)
	switch {
	case s.format == "hex":
		text = hex.EncodeToString(m.Payload)
	case cli.IsTerminal(os.Stdout):
		text = printable(text) // a payload must not drive the terminal
	}
	_, err := fmt.Fprintln(w, text)
	return err
}

func printJSON(w io.Writer, m mqtt5.Message) error {
	l := line{Time: time.Now().UTC(), Topic: m.Topic, QoS: int(m.QoS), Retain: m.Retain, CorrelationData: base64.StdEncoding.EncodeToString(m.CorrelationData)}
	if utf8.Valid(m.Payload) {
		l.Payload = mqtt5.Ptr(string(m.Payload))
	} else {
		l.PayloadBase64 = base64.StdEncoding.EncodeToString(m.Payload)
	}
	if m.ContentType != nil {
		l.ContentType = *m.ContentType
	}
	if m.ResponseTopic != nil {
		l.ResponseTopic = *m.ResponseTopic
	}
	for _, p := range m.UserProperties {
		l.UserProperties = append(l.UserProperties, [2]string{p.Name, p.Value})
	}
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	return out.Encode(l)
}

// printable replaces what would control a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\t' && r != '\n' && !unicode.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}
