// SPDX-License-Identifier: Apache-2.0

package iot

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gocrt/aws-iot-device-sdk-go/auth/credentials"
	"github.com/gocrt/aws-iot-device-sdk-go/io/certstore"
	"github.com/gocrt/aws-iot-device-sdk-go/io/pkcs12"
	"github.com/gocrt/aws-iot-device-sdk-go/io/tlsctx"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

func TestHint(t *testing.T) {
	for _, tt := range []struct {
		refusal mqtt5.Refusal
		want    []string
	}{
		{mqtt5.Refusal{Operation: "connect", Subject: "dev1", ReasonCode: 0x87}, []string{"iot:Connect", "client/dev1"}},
		{mqtt5.Refusal{Operation: "connect", ReasonCode: 0x87}, []string{"client/<client id>"}},
		{mqtt5.Refusal{Operation: "connect", Subject: "$x", ReasonCode: 0x85}, []string{"128 bytes", "$"}},
		{mqtt5.Refusal{Operation: "connect", Subject: "dev1", ReasonCode: 0x86}, []string{"custom authorizer"}},
		{mqtt5.Refusal{Operation: "connect", Subject: "dev1", ReasonCode: 0x97}, []string{"once a second"}},
		{mqtt5.Refusal{Operation: "connect", Subject: "dev1", ReasonCode: 0x9B}, []string{"QoS 2"}},
		{mqtt5.Refusal{Operation: "publish", Subject: "a/b", ReasonCode: 0x87}, []string{"iot:Publish", "topic/a/b"}},
		{mqtt5.Refusal{Operation: "publish", Subject: "a/b", ReasonCode: 0x87, Retain: true}, []string{"iot:RetainPublish", "topic/a/b"}},
		{mqtt5.Refusal{Operation: "publish", Subject: "$aws/x", ReasonCode: 0x87}, []string{"topic/$aws/x", "one to publish to"}},
		{mqtt5.Refusal{Operation: "publish", Subject: "a/b", ReasonCode: 0x90}, []string{"7 slashes"}},
		{mqtt5.Refusal{Operation: "publish", Subject: "$x", ReasonCode: 0x90}, []string{"belong to the service"}},
		{mqtt5.Refusal{Operation: "subscribe", Subject: "$share/g/$SYS/#", ReasonCode: 0x8F}, []string{"belong to the service"}},
		{mqtt5.Refusal{Operation: "publish", Subject: "a/b", ReasonCode: 0x97}, []string{"100 messages"}},
		{mqtt5.Refusal{Operation: "subscribe", Subject: "a/+/#", ReasonCode: 0x87}, []string{"iot:Subscribe", "topicfilter/a/+/#", "iot:Receive", "topic/a/*/*"}},
		{mqtt5.Refusal{Operation: "subscribe", Subject: "$share/g/a/+", ReasonCode: 0x87}, []string{"topicfilter/$share/g/a/+,", ":topic/a/* "}},
		{mqtt5.Refusal{Operation: "subscribe", Subject: "a", ReasonCode: 0x97}, []string{"50"}},
		{mqtt5.Refusal{Operation: "subscribe", Subject: "a", ReasonCode: 0x8F}, []string{"7 slashes"}},
		{mqtt5.Refusal{Operation: "unsubscribe", Subject: "a", ReasonCode: 0x87}, []string{"topicfilter/a"}},
		{mqtt5.Refusal{Operation: "disconnect", Subject: "dev1", ReasonCode: 0x8E}, []string{`another connection uses the client id "dev1"`}},
		{mqtt5.Refusal{Operation: "disconnect", Subject: "dev1", ReasonCode: 0x87}, []string{"iot:Receive"}},
		{mqtt5.Refusal{Operation: "disconnect", Subject: "dev1", ReasonCode: 0x8D}, []string{"keep alive"}},
		{mqtt5.Refusal{Operation: "disconnect", Subject: "dev1", ReasonCode: 0xA1}, []string{"subscription identifiers"}},
		{mqtt5.Refusal{Operation: "disconnect", Subject: "dev1", ReasonCode: 0x00}, nil},
		{mqtt5.Refusal{Operation: "publish", Subject: "a", ReasonCode: 0x80}, []string{"CloudWatch"}},
		{mqtt5.Refusal{Operation: "publish", Subject: "a", ReasonCode: 0x91}, []string{"report it"}},
		{mqtt5.Refusal{Operation: "other", ReasonCode: 0x87}, nil},
	} {
		got := Hint(tt.refusal)
		if (got == "") != (tt.want == nil) {
			t.Errorf("%+v gives %q", tt.refusal, got)
		}
		for _, want := range tt.want {
			if !strings.Contains(got, want) {
				t.Errorf("%+v gives %q, which lacks %q", tt.refusal, got, want)
			}
		}
	}
}

// Whoever judged the client is named in the hint.
func TestHint_byMethod(t *testing.T) {
	named := WithCustomAuthorizer(CustomAuthorizer{Name: "auth", TokenKeyName: "k", TokenValue: "hush", Signature: "c2ln"})
	refused := mqtt5.Refusal{Operation: "connect", Subject: "dev1", ReasonCode: 0x87}
	for _, tt := range []struct {
		test    string
		options []Option
		method  method
		refusal mqtt5.Refusal
		want    string
	}{
		{"certificate", nil, method{}, refused, "policy attached to the certificate"},
		{"authorizer", []Option{named}, method{}, refused, `the authorizer "auth" exists and is active`},
		{"authorizer, bad password", []Option{named}, method{}, mqtt5.Refusal{Operation: "connect", ReasonCode: 0x86}, `the authorizer "auth"`},
		{"authorizer, quota", []Option{named}, method{}, mqtt5.Refusal{Operation: "connect", ReasonCode: 0x97}, "once a second"},
		{"authorizer, publish", []Option{named}, method{}, mqtt5.Refusal{Operation: "publish", Subject: "a", ReasonCode: 0x87}, "iot:Publish"},
		{"default authorizer", []Option{WithCustomAuthorizer(CustomAuthorizer{})}, method{}, refused, "has a default authorizer"},
		{"own", nil, method{connectHint: func(r mqtt5.Refusal) string { return "IAM of " + r.Subject }}, refused, "IAM of dev1"},
	} {
		c, err := apply(tt.options).connector(testEndpoint, tt.method)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.options.Hint(tt.refusal); !strings.Contains(got, tt.want) || strings.Contains(got, "hush") {
			t.Errorf("%s: %q, want %q", tt.test, got, tt.want)
		}
	}
}

// Every error that a user may see from a constructor or an operation says what to do.
func TestExplain_hints(t *testing.T) {
	invalid := func(p *mqtt5.PublishPacket) error {
		client, err := NewForBroker(testEndpoint)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		_, err = client.Publish(t.Context(), p)
		return err
	}
	_, endpoint := parseEndpoint("")
	_, url := parseEndpoint("https://broker.example")
	for _, tt := range []struct {
		err         error
		stage, hint string
	}{
		{nil, "", ""},
		{errors.New("of somebody else"), "", ""},
		{endpoint, StageOptions, describeEndpoint},
		{url, StageOptions, `give the host name alone: "broker.example"`},
		{fmt.Errorf("wrapped: %w", (&optionError{errors.New("wrong; do this")})), StageOptions, "do this"},
		{&optionError{errors.New("wrong")}, StageOptions, ""},
		{invalid(&mqtt5.PublishPacket{Topic: "a/#"}), StageOptions, "correct what the error names"},
		{invalid(&mqtt5.PublishPacket{Topic: strings.Repeat("a", 257)}), StageOptions, "raise it in Limits"},
		{&mqtt5.ConnackError{Hint: "carried"}, StageConnect, "carried"},
		{fmt.Errorf("wrapped: %w", foreignError{}), StageTLS, "carried"},
		{&certstore.Error{Err: errors.New("x"), Hint: "carried"}, StageTLS, "carried"},
		{&tlsctx.Error{Err: errors.New("x"), Hint: "carried"}, StageTLS, "carried"},
		{&optionError{&pkcs12.Error{Err: pkcs12.ErrPassword, Hint: "carried"}}, StageOptions, "carried"},
		{&credentials.Error{Err: credentials.ErrNoCredentials}, StageCredentials, "AWS_ACCESS_KEY_ID"},
		{&credentials.Error{Err: credentials.ErrIdentity, StatusCode: 400}, StageCredentials, "IdentityPoolID"},
		{&credentials.Error{Err: credentials.ErrExpired}, StageCredentials, "clock"},
		{&credentials.Error{Err: errors.New("x"), StatusCode: 404}, StageCredentials, "check the names and ids"},
		{&credentials.Error{Err: errors.New("x"), StatusCode: 403}, StageCredentials, "iot:AssumeRoleWithCertificate"},
		{&credentials.Error{Err: errors.New("x")}, StageCredentials, "provider failed"},
		{mqtt5.ErrAckTimeout, StageMQTT, "did not acknowledge"},
		{mqtt5.ErrPingTimeout, StageMQTT, "stopped answering"},
		{fmt.Errorf("x: %w", mqtt5.ErrOfflinePolicy), "", "OfflineQueuePolicy"},
		{fmt.Errorf("x: %w", mqtt5.ErrQueueFull), "", "MaxQueuedOperations"},
	} {
		got := Explain(tt.err)
		if got.Stage != tt.stage || !strings.Contains(got.Hint, tt.hint) || tt.hint == "" && got.Hint != "" {
			t.Errorf("%v: got %+v, want %q and %q", tt.err, got, tt.stage, tt.hint)
		}
	}
}

// foreignError is as the errors of module io/pkcs11, which iot does not import.
type foreignError struct{}

func (foreignError) Error() string  { return "foreign" }
func (foreignError) Stage() string  { return StageTLS }
func (foreignError) Advice() string { return "carried" }

// For every code that the service documents there is something to do.
func TestHint_documentedCodes(t *testing.T) {
	for operation, codes := range map[string][]byte{
		"connect":     {0x80, 0x85, 0x86, 0x87, 0x90, 0x97, 0x9B},
		"publish":     {0x80, 0x87, 0x90, 0x91, 0x97},
		"subscribe":   {0x80, 0x87, 0x8F, 0x91, 0x97},
		"unsubscribe": {0x80, 0x87, 0x8F, 0x91},
		"disconnect":  {0x81, 0x82, 0x87, 0x8B, 0x8D, 0x8E, 0x8F, 0x90, 0x93, 0x94, 0x97, 0x98, 0x9B, 0xA1},
	} {
		for _, code := range codes {
			if Hint(mqtt5.Refusal{Operation: operation, Subject: "a", ReasonCode: code}) == "" {
				t.Errorf("%s, 0x%02X: no hint", operation, code)
			}
		}
	}
}
