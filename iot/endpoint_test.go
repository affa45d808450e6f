// SPDX-License-Identifier: Apache-2.0

package iot

import (
	"errors"
	"strings"
	"testing"
)

func TestParseEndpoint(t *testing.T) {
	for _, tt := range []struct{ endpoint, want string }{
		{"abc-ats.iot.eu-west-1.amazonaws.com", "abc-ats.iot.eu-west-1.amazonaws.com"},
		{"ABC-ats.iot.eu-west-1.amazonaws.com.", "ABC-ats.iot.eu-west-1.amazonaws.com."},
		{"abc.ats.iot.cn-north-1.amazonaws.com.cn", "abc.ats.iot.cn-north-1.amazonaws.com.cn"},
		{"iot.example.com", "iot.example.com"},
		{"localhost", "localhost"},
		{"broker_1", "broker_1"},
		{"127.0.0.1", "127.0.0.1"},
		{"::1", "::1"},
		{"[::1]", "::1"},
	} {
		if got, err := parseEndpoint(tt.endpoint); got != tt.want || err != nil {
			t.Errorf("%q gives %q, %v", tt.endpoint, got, err)
		}
	}
	for _, tt := range []struct{ endpoint, want string }{
		{"", "it is empty; `aws iot describe-endpoint"},
		{"https://abc-ats.iot.eu-west-1.amazonaws.com", `give the host name alone: "abc-ats.iot.eu-west-1.amazonaws.com"`},
		{"wss://abc-ats.iot.eu-west-1.amazonaws.com:443/mqtt?X-Amz-Signature=hush", `give the host name alone: "abc-ats.iot.eu-west-1.amazonaws.com"`},
		{"mqtts://user:hush@broker.example", "give the host name alone"},
		{"broker.example:8883", `give the host name alone, "broker.example", and the port with WithPort(8883)`},
		{"[::1]:8883", `give the host name alone, "::1", and the port with WithPort(8883)`},
		{"broker.example/mqtt", `give the host name alone: "broker.example"`},
		{" broker.example", "blanks or quotes"},
		{`"broker.example"`, "blanks or quotes"},
		{"broker.example\n", "blanks or quotes"},
		{"bröker.example", "no host name"},
		{"a..b", "no host name"},
		{"[]", "no host name"},
		{"[broker.example]", "no host name"},
		{".example", "no host name"},
		{strings.Repeat("a", 255), "no host name"},
		{"c123.credentials.iot.eu-west-1.amazonaws.com", "endpoint for credentials"},
		{"abc.jobs.iot.eu-west-1.amazonaws.com", "HTTPS interface of Jobs"},
		{"iot.eu-west-1.amazonaws.com", "lacks the prefix of your account"},
	} {
		got, err := parseEndpoint(tt.endpoint)
		if got != "" || !errors.Is(err, ErrInvalidEndpoint) || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%q gives %q, %v, want an error with %q", tt.endpoint, got, err, tt.want)
		}
		if e := Explain(err); e.Stage != StageOptions {
			t.Errorf("%q: the stage is %q", tt.endpoint, e.Stage)
		}
	}
}

func TestIsAWSHost(t *testing.T) {
	for host, want := range map[string]bool{
		"abc-ats.iot.eu-west-1.amazonaws.com":                   true,
		"ABC-ATS.IOT.EU-WEST-1.AMAZONAWS.COM":                   true,
		"abc-ats.iot.eu-west-1.amazonaws.com.":                  true,
		"abc.ats.iot.cn-north-1.amazonaws.com.cn":               true,
		"vpce-1-abc.data.iot.eu-west-1.vpce.amazonaws.com":      true,
		"abc-ats.iot.eusc-de-east-1.amazonaws.eu":               true,
		"amazonaws.com.evil.example":                            false,
		"abc-ats.iot.eu-west-1.amazonaws.com.proxy.example":     false,
		"notamazonaws.com":                                      false,
		"iot.example.com":                                       false,
		"127.0.0.1":                                             false,
		"localhost":                                             false,
		"abc-ats.iot.eu-west-1.amazonaws.com@attacker.example":  false,
		"abc-ats.iot.eu-west-1.amazonaws-com.something.example": false,
	} {
		if got := isAWSHost(host); got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
}
