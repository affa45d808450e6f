// SPDX-License-Identifier: Apache-2.0

package iottest_test

import (
	"strings"
	"testing"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
)

const arn = "arn:aws:iot:us-east-1:123456789012:"

// statement is a policy with one statement; actions and resources are separated
// by spaces, resources without ARN.
func statement(effect, actions, resources string, condition ...string) string {
	r := strings.Fields(resources)
	for i := range r {
		r[i] = arn + r[i]
	}
	s := `{"Effect":"` + effect + `","Action":["` + strings.Join(strings.Fields(actions), `","`) + `"],"Resource":["` + strings.Join(r, `","`) + `"]`
	if len(condition) > 0 {
		s += `,"Condition":` + condition[0]
	}
	return `{"Version":"2012-10-17","Statement":[` + s + `}]}`
}

func TestPolicy(t *testing.T) {
	c := iottest.Start(t)
	d := c.Device(t, "thing",
		iottest.WithPolicy(statement("Allow", "iot:Connect", "client/${iot:Connection.Thing.ThingName}")),
		iottest.WithPolicy(statement("Allow", "iot:Publish iot:RetainPublish", "topic/${iot:ClientId}/* topic/plain?")),
		iottest.WithPolicy(statement("Deny", "iot:RetainPublish", "topic/thing/never")),
		iottest.WithPolicy(statement("Allow", "iot:Subscribe", "topicfilter/thing/# topicfilter/$share/g/thing/#")),
		iottest.WithPolicy(statement("Allow", "iot:Receive", "topic/thing/in*")))
	denied := byte(iottest.NotAuthorized)

	if f := dialDevice(t, c, d).connect(connectOptions{id: "other"}); f.codes[0] != denied {
		t.Errorf("CONNECT as other: %#x", f.codes[0])
	}
	cl := dialDevice(t, c, d)
	cl.mustConnect(connectOptions{id: "thing"})
	if got := cl.subscribe("thing/#", "#", "thing/+", "$share/g/thing/#"); string(got) != string([]byte{1, denied, denied, 1}) {
		t.Errorf("SUBACK %x", got)
	}
	for _, tc := range []struct {
		topic  string
		retain bool
		want   byte
	}{
		{"thing/a", false, 0}, {"thing/a/b", true, 0}, {"thing/never", false, 0}, {"thing/never", true, denied},
		{"thing", false, denied}, {"plain1", false, 0}, {"plain", false, denied}, {"plain12", false, denied}, {"other", false, denied},
	} {
		flags := byte(2)
		if tc.retain {
			flags = 3
		}
		cl.publishFlags(tc.topic, "p", flags, 9)
		if f := cl.expect(tPuback); f.codes[0] != tc.want {
			t.Errorf("publish on %s, retain %t: %#x, want %#x", tc.topic, tc.retain, f.codes[0], tc.want)
		}
	}
	for _, topic := range []string{"thing/out", "thing/in1"} {
		if err := c.Publish(iottest.Message{Topic: topic, Payload: []byte("p")}); err != nil {
			t.Fatal(err)
		}
	}
	cl.expectMessage("thing/in1", "p") // by the filter and by the share
	cl.expectMessage("thing/in1", "p")
	cl.publish("other", "QoS 0 has no answer", 0, 0)
	cl.expectDisconnect(iottest.NotAuthorized)
}

func TestPolicy_mqtt3(t *testing.T) {
	c := iottest.Start(t)
	d := c.Device(t, "thing", iottest.WithPolicy(statement("Allow", "iot:Connect", "client/thing")))
	for _, act := range []func(*rawClient){
		func(cl *rawClient) { cl.publish("t", "p", 1, 1) },
		func(cl *rawClient) { cl.publish("t", "p", 0, 0) },
		func(cl *rawClient) { cl.sendSubscribe(1, nil, "t") },
	} {
		cl := dialDevice(t, c, d)
		cl.version = 4
		cl.mustConnect(connectOptions{id: "thing"})
		act(cl)
		cl.expectEnd()
	}
	cl := dialDevice(t, c, d)
	cl.version = 4
	if f := cl.connect(connectOptions{id: "other"}); f.codes[0] != 5 {
		t.Errorf("CONNACK %d", f.codes[0])
	}
}

func TestPolicy_conditions(t *testing.T) {
	c := iottest.Start(t)
	d := c.Device(t, "thing")
	for _, tc := range []struct {
		name, condition string
		id              string
		resume          bool
		want            bool
	}{
		{"attached", `{"Bool":{"iot:Connection.Thing.IsAttached":["true"]}}`, "thing", false, true},
		{"not attached", `{"Bool":{"iot:Connection.Thing.IsAttached":true}}`, "other", false, false},
		{"no persistence", `{"ForAllValues:StringNotEquals":{"iot:ConnectAttributes":["PersistentConnect"]}}`, "a", false, true},
		{"persistence", `{"ForAllValues:StringNotEquals":{"iot:ConnectAttributes":["PersistentConnect"]}}`, "a", true, false},
		{"persistence allowed", `{"ForAllValues:StringEquals":{"iot:ConnectAttributes":["PersistentConnect","LastWill"]}}`, "a", true, true},
		{"like", `{"StringLike":{"iot:ClientId":["dev-*"]}}`, "dev-1", false, true},
		{"not like", `{"StringLike":{"iot:ClientId":["dev-*"]}}`, "1", false, false},
		{"unlike", `{"StringNotLike":{"iot:ClientId":["dev-*"]}}`, "1", false, true},
		{"not unlike", `{"StringNotLike":{"iot:ClientId":["dev-*"]}}`, "dev-1", false, false},
		{"any attribute", `{"ForAnyValue:StringEquals":{"iot:ConnectAttributes":["PersistentConnect"]}}`, "a", true, true},
		{"no attribute", `{"ForAnyValue:StringEquals":{"iot:ConnectAttributes":["PersistentConnect"]}}`, "a", false, false},
		{"address", `{"IpAddress":{"aws:SourceIp":["10.0.0.0/8","127.0.0.0/8"]}}`, "a", false, true},
		{"one address", `{"IpAddress":{"aws:SourceIp":"127.0.0.1"}}`, "a", false, true},
		{"other address", `{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}`, "a", false, false},
		{"not that address", `{"NotIpAddress":{"aws:SourceIp":"127.0.0.1/32"}}`, "a", false, false},
		{"address that is none", `{"IpAddress":{"aws:SourceIp":"everywhere"}}`, "a", false, false},
		{"common name", `{"StringEquals":{"iot:Certificate.Subject.CommonName":"thing"}}`, "a", false, true},
		{"issuer", `{"StringEquals":{"iot:Certificate.Issuer.Organization":"iottest"}}`, "a", false, true},
		{"part that the name lacks", `{"StringLike":{"iot:Certificate.Subject.Country":"*"}}`, "a", false, false},
	} {
		if err := d.SetPolicies(statement("Allow", "iot:*", "client/*", tc.condition)); err != nil {
			t.Fatal(err)
		}
		f := dialDevice(t, c, d).connect(connectOptions{id: tc.id, resume: tc.resume})
		if ok := f.codes[0] == 0; ok != tc.want {
			t.Errorf("%s: CONNACK %#x", tc.name, f.codes[0])
		}
	}
}

// Variables of the certificate stand in resources.
func TestPolicy_certificateVariables(t *testing.T) {
	c := iottest.Start(t)
	d := c.Device(t, "thing")
	topic := "${iot:CertificateId}/${iot:Certificate.SerialNumber}/${iot:Certificate.Subject.CommonName}"
	if err := d.SetPolicies(statement("Allow", "iot:Connect iot:Publish", "client/${iot:CertificateId} topic/"+topic+" topic/${*}/literal topic/a/${iot:Certificate.Subject.Country}")); err != nil {
		t.Fatal(err)
	}
	cl := dialDevice(t, c, d)
	cl.mustConnect(connectOptions{id: d.CertificateID()})
	expectPuback(t, cl, d.CertificateID()+"/"+d.X509().SerialNumber.String()+"/thing", iottest.Success)
	expectPuback(t, cl, "other/"+d.X509().SerialNumber.String()+"/thing", iottest.NotAuthorized)
	expectPuback(t, cl, "*/literal", iottest.Success)
	expectPuback(t, cl, "x/literal", iottest.NotAuthorized)
	expectPuback(t, cl, "a/${iot:Certificate.Subject.Country}", iottest.NotAuthorized) // it has none
}

// A wildcard in the value of a variable must not widen a policy.
func TestPolicy_wildcardInClientID(t *testing.T) {
	c := iottest.Start(t)
	d := c.Device(t, "thing", iottest.WithPolicy(statement("Allow", "iot:Connect iot:Publish", "client/* topic/${iot:ClientId}/x")))
	cl := dialDevice(t, c, d)
	cl.mustConnect(connectOptions{id: "*"})
	cl.publish("anybody/x", "p", 1, 1)
	if f := cl.expect(tPuback); f.codes[0] != byte(iottest.NotAuthorized) {
		t.Errorf("PUBACK %#x", f.codes[0])
	}
}

func TestParsePolicy_errors(t *testing.T) {
	for _, doc := range []string{"", "{}", `{"Statement":[{"Effect":"Maybe","Action":"*","Resource":"*"}]}`,
		`{"Statement":[{"Effect":"Allow","Action":"*"}]}`, `{"Statement":[{"Effect":"Allow","Action":5,"Resource":"*"}]}`,
		statement("Allow", "iot:*", "topic/${iot:NoSuchVariable}"), statement("Allow", "iot:*", "topic/${iot:ClientId"),
		statement("Allow", "iot:*", "*", `{"DateLessThan":{"aws:CurrentTime":"2100-01-01T00:00:00Z"}}`),
		statement("Allow", "iot:*", "*", `{"StringEquals":{"iot:NoSuchKey":"x"}}`),
		statement("Allow", "iot:*", "*", `{"StringLike":{"iot:ClientId":"${iot:NoSuchVariable}"}}`),
		`{"Statement":[{"Effect":"Allow","Action":"*","NotResource":"x","Resource":"*"}]}`} {
		if _, err := iottest.ParsePolicy(doc); err == nil {
			t.Errorf("%s: no error", doc)
		}
	}
}
