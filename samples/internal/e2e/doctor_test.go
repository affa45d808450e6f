// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gocrt/aws-iot-device-sdk-go/iot"
	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
)

// diagnose runs the doctor on a client.
func diagnose(t *testing.T, core *iottest.Core, o iot.DiagnoseOptions, build func(*testing.T, *iottest.Core, []iot.Option) (*attempt, error), more ...iot.Option) *iot.Report {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	options := append([]iot.Option{iot.WithClientID("mistaken"), iot.WithDialer(core.DialContext), iot.WithCABytes(core.CAPEM())}, more...)
	a, err := build(t, core, options)
	if err != nil {
		t.Fatal(err)
	}
	return iot.Diagnose(ctx, a.endpoint, a.method, o, a.options...)
}

// steps are the steps of a report, those that did not succeed with their status.
func steps(r *iot.Report) (steps []string) {
	for _, c := range r.Checks {
		s := c.Step
		if c.Status != iot.CheckOK {
			s += ": " + string(c.Status)
		}
		steps = append(steps, s)
	}
	return steps
}

func TestDoctor_healthy(t *testing.T) {
	for _, m := range methods {
		for _, kind := range []string{"direct", "http"} {
			t.Run(m.name+"/"+kind, func(t *testing.T) {
				if m.need != nil {
					m.need(t)
				}
				if m.plain {
					t.Run("without TLS", func(t *testing.T) {
						core := iottest.Start(t, func(o *iottest.Options) { o.PlainTCP = true })
						if err := diagnose(t, core, iot.DiagnoseOptions{}, m.make, iot.WithTLS(nil)).Err(); err != nil {
							t.Error(err)
						}
					})
					return
				}
				core := iottest.Start(t)
				var more []iot.Option
				if kind == "http" {
					o, _ := startProxy(t, core, kind)
					more = append(more, iot.WithDialer(nil), iot.WithProxy(o))
				}
				r := diagnose(t, core, iot.DiagnoseOptions{}, m.make, more...)
				want := []string{"settings"}
				if m.auth == "x509" || strings.Contains(m.name, "and certificate") {
					want = append(want, "certificate")
				}
				if m.auth == "sigv4" {
					want = append(want, "credentials")
				}
				want = append(want, "DNS", "TCP")
				if kind == "http" {
					want = append(want, "proxy")
				}
				want = append(want, "TLS")
				if m.port == "443" {
					want = append(want, "clock")
				}
				if m.webSocket {
					want = append(want, "WebSocket upgrade")
				}
				want = append(want, "MQTT CONNECT", "subscribe", "publish", "round trip")
				if diff := cmp.Diff(want, steps(r)); diff != "" {
					t.Errorf("steps (-want +got):\n%s\n%s", diff, r)
				}
			})
		}
	}
}

func TestDoctor_failures(t *testing.T) {
	receiveDenied := policy(mayConnect, [2]string{"iot:Publish", "topic/*"}, [2]string{"iot:Subscribe", "topicfilter/*"})
	subscribeDenied := policy(mayConnect, [2]string{"iot:Publish", "topic/*"})
	publishDenied := policy(mayConnect, [2]string{"iot:Subscribe", "topicfilter/*"}, [2]string{"iot:Receive", "topic/*"})
	find := func(name string) func(*testing.T, *iottest.Core, []iot.Option) (*attempt, error) {
		for _, m := range mistakes {
			if m.name == name {
				return m.make
			}
		}
		panic("no mistake " + name)
	}
	for _, tt := range []struct {
		name, step, hint string
		build            func(*testing.T, *iottest.Core, []iot.Option) (*attempt, error)
	}{
		{"settings", iot.StepSettings, "", find("swapped certificate and key")},
		{"certificate", iot.StepCertificate, "CertificateFile or CertificatePEM", find("no certificate in the token")},
		{"key", iot.StepCertificate, "check Label and ID", find("unknown key")},
		{"endpoint", iot.StepSettings, "host name alone", find("endpoint with https://")},
		{"ALPN", iot.StageTLS, "ALPN", find("wrong ALPN")},
		{"server name", iot.StageTLS, "check the endpoint", find("wrong server name")},
		{"old endpoint", iot.StageTLS, "-ats", find("old endpoint")},
		{"no TLS on the port", iot.StageTLS, "port", find("TLS to a port without")},
		{"TLS to the proxy", iot.StageProxy, "speaks TLS", find("https to a proxy without TLS")},
		{"upgrade", iot.StageUpgrade, "WebSockets at /mqtt", find("upgrade that is not found")},
		{"no CONNACK", iot.StageConnect, "did not answer CONNECT", find("CONNECT without an answer")},
		{"hang-up", iot.StageConnect, "certificate is active", find("CONNECT cut")},
		{"credentials endpoint", iot.StageCredentials, "names and ids", find("unknown role alias")},
		{"DNS", iot.StageDNS, "check", find("endpoint that does not exist")},
		{"TCP", iot.StageTCP, "port", find("closed port")},
		{"proxy", iot.StageProxy, "password", find("wrong password of the proxy")},
		{"server certificate", iot.StageTLS, "", find("wrong CA")},
		{"client certificate", iot.StageTLS, "registered", find("unknown certificate")},
		{"inactive certificate", iot.StageConnect, "certificate is active", find("inactive certificate")},
		{"credentials", iot.StageCredentials, "", find("provider that fails")},
		{"signature", iot.StageUpgrade, "region", find("wrong region")},
		{"policy", iot.StageConnect, "iot:Connect", find("policy without iot:Connect")},
		{"authorizer", iot.StageConnect, "authorizer", find("wrong password")},
		{"subscribe", iot.StepSubscribe, "iot:Subscribe", device(iottest.WithPolicy(subscribeDenied))},
		{"publish", iot.StepPublish, "iot:Publish", device(iottest.WithPolicy(publishDenied))},
		{"receive", iot.StepRoundTrip, "iot:Receive", device(iottest.WithPolicy(receiveDenied))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.step == iot.StepCertificate {
				needSoftHSM(t)
			}
			core := iottest.Start(t, func(o *iottest.Options) { o.PlainTCP = true })
			r := diagnose(t, core, iot.DiagnoseOptions{RoundTripTimeout: 300 * time.Millisecond}, tt.build)
			failed := ""
			for i, c := range r.Checks {
				if c.Status != iot.CheckFailed {
					continue
				}
				failed = c.Step
				if !strings.Contains(c.Hint, tt.hint) {
					t.Errorf("the hint is %q, want %q", c.Hint, tt.hint)
				}
				for _, later := range r.Checks[i+1:] {
					if later.Status == iot.CheckFailed {
						t.Errorf("%s failed as well", later.Step)
					}
				}
				break
			}
			if failed != tt.step || r.Err() == nil {
				t.Errorf("%q failed, want %q:\n%s", failed, tt.step, r)
			}
			data, err := json.Marshal(r)
			if err != nil || !strings.Contains(string(data), `"ok":false`) || !strings.Contains(string(data), `"status":"failed"`) {
				t.Errorf("JSON: %s, %v", data, err)
			}
			if s := r.String() + string(data); strings.Contains(s, "hush") {
				t.Errorf("a secret is shown: %s", s)
			}
		})
	}
}

// A clock that is off is found, whether or not it is what breaks the connection.
func TestDoctor_clock(t *testing.T) {
	core := iottest.Start(t)
	r := diagnose(t, core, iot.DiagnoseOptions{}, func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
		client, err := with()(t, core, options)
		core.Advance(time.Hour)
		return client, err
	})
	for _, c := range r.Checks {
		if c.Step == iot.StepClock {
			if c.Status != iot.CheckWarning || !strings.Contains(c.Detail, "behind the server") || !strings.Contains(c.Hint, "NTP") {
				t.Errorf("got %+v", c)
			}
			return
		}
	}
	t.Errorf("no such step:\n%s", r)
}

// Settings that make no client are a step of their own.
func TestDoctor_settings(t *testing.T) {
	r := iot.Diagnose(context.Background(), "localhost", iot.Method{}, iot.DiagnoseOptions{})
	if err := r.Err(); err == nil || !strings.Contains(err.Error(), "zero value") || steps(r)[0] != "settings: failed" {
		t.Errorf("got %v", r)
	}
}

// Signatures depend on the clock: there it is what fails, before the upgrade.
func TestDoctor_clockOfSignatures(t *testing.T) {
	core := iottest.Start(t)
	r := diagnose(t, core, iot.DiagnoseOptions{}, func(t *testing.T, core *iottest.Core, options []iot.Option) (*attempt, error) {
		for _, m := range mistakes {
			if m.name == "wrong clock" {
				return m.make(t, core, options)
			}
		}
		panic("no such mistake")
	})
	for _, c := range r.Checks {
		if c.Status != iot.CheckFailed {
			continue
		}
		if c.Step != iot.StepClock || !strings.Contains(c.Detail, " behind the server") || !strings.Contains(c.Hint, "set the clock, for example by NTP") {
			t.Errorf("the first failure is %+v", c)
		}
		return
	}
	t.Errorf("nothing failed:\n%s", r)
}

// A certificate that ends soon is worth a warning.
func TestDoctor_certificateExpiresSoon(t *testing.T) {
	core := iottest.Start(t)
	r := diagnose(t, core, iot.DiagnoseOptions{}, device(iottest.WithValidity(time.Now().Add(-time.Hour), time.Now().Add(9*24*time.Hour+time.Hour))))
	if r.Err() != nil || r.Checks[1].Step != iot.StepCertificate || r.Checks[1].Status != iot.CheckWarning || r.Checks[1].Hint != "it expires in 9 days: replace it in time" {
		t.Errorf("got\n%s", r)
	}
}
