// SPDX-License-Identifier: Apache-2.0

package iot

import (
	"errors"
	"strings"
	"testing"

	"github.com/gocrt/aws-iot-device-sdk-go/auth/sigv4"
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
		{"wss://abc-ats.iot.eu-west-1.amazonaws.com?X-Amz-Signature=hush", `give the host name alone: "abc-ats.iot.eu-west-1.amazonaws.com"`},
		{"wss://broker.example#hush", `give the host name alone: "broker.example"`},
		{"mqtts://broker.example/a?b=c@hush", "give the host name alone"},
		{"abc-ats.iot.eu-west-1.amazonaws.com/mqtt?X-Amz-Signature=hush", `give the host name alone: "abc-ats.iot.eu-west-1.amazonaws.com"`},
		{"broker.example?token=hush", `give the host name alone: "broker.example"`},
		{"broker.example:443/mqtt?token=hush", `give the host name alone: "broker.example"`},
		{"user:hush@broker.example", "give the host name alone"},
		{"user:hush@broker.example:8883", "give the host name alone"},
		{"user:hush @broker.example", "give the host name alone"},
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
		{"iot-fips.us-east-1.amazonaws.com", "control plane"},
		{"iot.eu-west-1.api.aws", "control plane"},
		{"data.tunneling.iot.eu-west-1.amazonaws.com", "secure tunneling"},
		{"greengrass-ats.iot.eu-west-1.amazonaws.com", "Greengrass discovery"},
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

// Each partition of AWS, each kind of data endpoint: accepted as it is, taken for
// AWS, and in this region.
func TestEndpoints_partitions(t *testing.T) {
	for endpoint, region := range map[string]string{
		"abc-ats.iot.eu-west-1.amazonaws.com":                      "eu-west-1",
		"abc.iot.eu-west-1.amazonaws.com":                          "eu-west-1",
		"data.iot.eu-west-1.amazonaws.com":                         "eu-west-1",
		"data-ats.iot.eu-west-1.amazonaws.com":                     "eu-west-1",
		"data.iot-fips.us-east-1.amazonaws.com":                    "us-east-1",
		"data.iot-fips.ca-central-1.amazonaws.com":                 "ca-central-1",
		"t1234.deviceadvisor.iot.us-west-2.amazonaws.com":          "us-west-2",
		"vpce-0123-abcd.data.iot.eu-west-1.vpce.amazonaws.com":     "eu-west-1",
		"abc-ats.iot.eu-west-1.api.aws":                            "eu-west-1",
		"data.iot.eu-west-1.api.aws":                               "eu-west-1",
		"data.iot-fips.us-west-2.api.aws":                          "us-west-2",
		"abc-ats.iot.us-gov-west-1.amazonaws.com":                  "us-gov-west-1",
		"data.iot-fips.us-gov-east-1.amazonaws.com":                "us-gov-east-1",
		"data.iot-fips.us-gov-east-1.api.aws":                      "us-gov-east-1",
		"abc.ats.iot.cn-north-1.amazonaws.com.cn":                  "cn-north-1",
		"abc-ats.iot.cn-northwest-1.amazonaws.com.cn":              "cn-northwest-1",
		"data.iot.cn-north-1.api.amazonwebservices.com.cn":         "cn-north-1",
		"vpce-0123-abcd.data.iot.cn-north-1.vpce.amazonaws.com.cn": "cn-north-1",
		"abc-ats.iot.eusc-de-east-1.amazonaws.eu":                  "eusc-de-east-1",
		"abc-ats.iot.us-iso-east-1.c2s.ic.gov":                     "us-iso-east-1",
		"abc-ats.iot.us-isob-east-1.sc2s.sgov.gov":                 "us-isob-east-1",
		"iot.iot.eu-west-1.amazonaws.com":                          "eu-west-1",
	} {
		host, err := parseEndpoint(endpoint)
		if err != nil || host != endpoint {
			t.Errorf("%s: got %q, %v", endpoint, host, err)
		}
		if !isAWSHost(endpoint) {
			t.Errorf("%s is not taken for AWS", endpoint)
		}
		if got, err := sigv4.RegionFromEndpoint(endpoint); got != region || err != nil {
			t.Errorf("%s: the region is %q, %v; want %q", endpoint, got, err, region)
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
