// SPDX-License-Identifier: Apache-2.0

package iot

import (
	"crypto/tls"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gocrt/aws-iot-device-sdk-go/http/proxy"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

func TestMetrics_username(t *testing.T) {
	sdk := "SDK=GoCRT/IoTDeviceSDK-Go"
	platform := "Platform=" + runtime.GOOS + "/" + runtime.GOARCH
	inner := "IoTSDKVersion=" + Version + ";GoVersion=" + goVersion() + ";IoTSDKFeature=F/5,G/A;IoTSDKMetricsVersion=1"
	metadata := "Metadata=(" + inner + ")"
	long := strings.Repeat("u", maxUsername-20)
	for _, tt := range []struct{ test, name, want string }{
		{"no user name", "", "?" + sdk + "&" + platform + "&" + metadata},
		{"user name", "user", "user?" + sdk + "&" + platform + "&" + metadata},
		{"existing query", "user?a=1", "user?a=1&" + sdk + "&" + platform + "&" + metadata},
		{"only the last question mark counts", "what?ever?a=1", "what?ever?a=1&" + sdk + "&" + platform + "&" + metadata},
		{"own SDK is kept", "user?SDK=Mine", "user?SDK=Mine&" + platform + "&" + metadata},
		{"own platform is kept", "user?Platform=Mine", "user?Platform=Mine&" + sdk + "&" + metadata},
		{"a parameter with a similar name", "user?SDKs=1", "user?SDKs=1&" + sdk + "&" + platform + "&" + metadata},
		{"metadata is merged", "user?Metadata=(App=x)", "user?Metadata=(App=x;" + inner + ")&" + sdk + "&" + platform},
		{"metadata key is kept", "user?Metadata=(GoVersion=mine)", "user?Metadata=(GoVersion=mine;" + strings.Replace(inner, "GoVersion="+goVersion()+";", "", 1) + ")&" + sdk + "&" + platform},
		{"empty metadata", "user?Metadata=()", "user?Metadata=(" + inner + ")&" + sdk + "&" + platform},
		{"metadata without parentheses is left alone", "user?Metadata=mine", "user?Metadata=mine&" + sdk + "&" + platform},
		{"too long", long, long},
		{"not UTF-8", "\xff", "\xff"},
	} {
		t.Run(tt.test, func(t *testing.T) {
			m := Metrics{Features: "F/5,G/A"}
			if diff := cmp.Diff(tt.want, m.Username(tt.name)); diff != "" {
				t.Errorf("user name (-want +got):\n%s", diff)
			}
			if again := m.Username(m.Username(tt.name)); again != tt.want {
				t.Errorf("twice gives %q", again)
			}
		})
	}
}

func TestMetrics_features(t *testing.T) {
	socket := "G/A"
	if runtime.GOOS == "windows" {
		socket = "G/B"
	}
	for _, tt := range []struct {
		test    string
		options []Option
		method  method
		want    string
	}{
		{"defaults", nil, method{}, "F/5," + socket},
		{"certificate in files", nil, method{source: sourceFiles}, "F/5," + socket + ",I/A"},
		{"TLS 1.3", []Option{WithMinTLSVersion(tls.VersionTLS13)}, method{}, "F/5," + socket + ",K/E"},
		{"proxy", []Option{WithProxyURL("http://proxy.example")}, method{}, "F/5," + socket + ",H/A"},
		{"TLS to the proxy", []Option{WithProxy(proxy.Options{URL: "https://proxy.example"})}, method{}, "F/5," + socket + ",H/B"},
		{"everything of MQTT", []Option{WithClientOptions(func(o *mqtt5.ClientOptions) {
			o.RetryJitter = mqtt5.JitterDecorrelated
			o.SessionBehavior = mqtt5.SessionRejoinAlways
			o.Connect.SessionExpiryIntervalSeconds = mqtt5.Ptr[uint32](60)
			o.OfflineQueuePolicy = mqtt5.FailAllOnDisconnect
			o.TopicAliasing = mqtt5.TopicAliasOptions{Outbound: mqtt5.TopicAliasLRU, Inbound: true}
		})}, method{}, "A/C,B/C,C/C,D/B,E/A,F/5," + socket},
	} {
		t.Run(tt.test, func(t *testing.T) {
			s := apply(tt.options)
			c, err := s.connector(testEndpoint, tt.method)
			if err != nil {
				t.Fatal(err)
			}
			if got := s.metrics(&c.options, c, tt.method).Features; got != tt.want {
				t.Errorf("features are %q, want %q", got, tt.want)
			}
			if got := username(t, c); !strings.Contains(got, "IoTSDKFeature="+tt.want+";") {
				t.Errorf("the user name is %q", got)
			}
		})
	}
}

// Metrics go to AWS and to nobody else, wherever the address comes from.
func TestMetrics_destination(t *testing.T) {
	to := func(address string) Option {
		return WithClientOptions(func(o *mqtt5.ClientOptions) { o.Address = address })
	}
	for _, tt := range []struct {
		test, endpoint string
		options        []Option
		want           bool
	}{
		{"AWS", testEndpoint, nil, true},
		{"switched off", testEndpoint, []Option{WithoutMetrics()}, false},
		{"other host", "broker.example", nil, false},
		{"address", "127.0.0.1", nil, false},
		{"custom domain with the rules of AWS", "iot.example", []Option{WithAWSProfile(true)}, false},
		{"AWS without its rules", testEndpoint, []Option{WithAWSProfile(false)}, true},
		{"name that only begins like AWS", testEndpoint + ".example", nil, false},
		{"redirected to another host", testEndpoint, []Option{to("broker.example:8883")}, false},
		{"redirected to an address", testEndpoint, []Option{to("[::1]:8883")}, false},
		{"redirected to AWS", "broker.example", []Option{to(testEndpoint + ":443")}, true},
	} {
		t.Run(tt.test, func(t *testing.T) {
			c, err := apply(tt.options).connector(tt.endpoint, method{})
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Contains(username(t, c), "SDK="); got != tt.want {
				t.Errorf("metrics are sent: %v", got)
			}
		})
	}
}
