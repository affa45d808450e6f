// SPDX-License-Identifier: Apache-2.0

package provisioning_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/provisioning"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request/requesttest"
)

// answering returns a client whose service answers each request with a payload
// on the topic of the request and a suffix.
func answering(t *testing.T, format provisioning.Format, suffix string, payload []byte) (*provisioning.Client, *requesttest.Conn, *[]mqtt5.PublishPacket) {
	t.Helper()
	conn := requesttest.New()
	t.Cleanup(func() { _ = conn.Close() })
	sent := new([]mqtt5.PublishPacket)
	conn.OnPublish(func(p *mqtt5.PublishPacket) error {
		*sent = append(*sent, *p)
		conn.Deliver(p.Topic+suffix, payload)
		return nil
	})
	requests, err := request.New(conn, request.Options{Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	c, err := provisioning.NewClient(requests, provisioning.ClientOptions{Format: format})
	if err != nil {
		t.Fatal(err)
	}
	return c, conn, sent
}

const created = `{"certificateId":"id","certificatePem":"pem","privateKey":"key","certificateOwnershipToken":"token","new":[1]}`

func TestClient(t *testing.T) {
	ctx := context.Background()
	for name, tt := range map[string]struct {
		call   func(c *provisioning.Client) (any, error)
		answer string
		want   any
		topic  string
		sent   string
	}{
		"CSR": {
			func(c *provisioning.Client) (any, error) { return c.CreateCertificateFromCSR(ctx, "the CSR") }, created,
			&provisioning.Certificate{CertificateID: "id", CertificatePEM: "pem", OwnershipToken: "token"},
			"$aws/certificates/create-from-csr/json", `{"certificateSigningRequest":"the CSR"}`,
		},
		"keys": {
			func(c *provisioning.Client) (any, error) { return c.CreateKeysAndCertificate(ctx) }, created,
			&provisioning.KeysAndCertificate{CertificateID: "id", CertificatePEM: "pem", PrivateKeyPEM: "key", OwnershipToken: "token"},
			"$aws/certificates/create/json", `{}`,
		},
		"register": {
			func(c *provisioning.Client) (any, error) {
				return c.RegisterThing(ctx, "fleet", "token", map[string]string{"SerialNumber": "7"})
			},
			`{"thingName":"thing","deviceConfiguration":{"a":"b"}}`,
			&provisioning.Registration{ThingName: "thing", DeviceConfiguration: map[string]string{"a": "b"}},
			"$aws/provisioning-templates/fleet/provision/json", `{"certificateOwnershipToken":"token","parameters":{"SerialNumber":"7"}}`,
		},
		"register without more": {
			func(c *provisioning.Client) (any, error) { return c.RegisterThing(ctx, "fleet", "token", nil) },
			`{"deviceConfiguration":{}}`, &provisioning.Registration{DeviceConfiguration: map[string]string{}},
			"$aws/provisioning-templates/fleet/provision/json", `{"certificateOwnershipToken":"token"}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, conn, sent := answering(t, provisioning.JSON, "/accepted", []byte(tt.answer))
			got, err := tt.call(c)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
			if len(*sent) != 1 || (*sent)[0].Topic != tt.topic || string((*sent)[0].Payload) != tt.sent {
				t.Errorf("sent %s %s", (*sent)[0].Topic, (*sent)[0].Payload)
			}
			if want := []string{tt.topic + "/accepted", tt.topic + "/rejected"}; !slices.Equal(conn.Filters(), want) {
				t.Errorf("filters %v", conn.Filters())
			}
		})
	}
}

// TestClient_cbor compares bytes: maps of text strings, as in JSON.
func TestClient_cbor(t *testing.T) {
	answer, err := hex.DecodeString("a1" + "697468696e674e616d65" + "657468696e67") // {"thingName": "thing"}
	if err != nil {
		t.Fatal(err)
	}
	c, _, sent := answering(t, provisioning.CBOR, "/accepted", answer)
	r, err := c.RegisterThing(context.Background(), "fleet", "token", nil)
	if err != nil || r.ThingName != "thing" {
		t.Errorf("%+v, %v", r, err)
	}
	const want = "a1" + "7819" + "63657274696669636174654f776e657273686970546f6b656e" + "65746f6b656e" // {"certificateOwnershipToken": "token"}
	if got := hex.EncodeToString((*sent)[0].Payload); got != want || (*sent)[0].Topic != "$aws/provisioning-templates/fleet/provision/cbor" {
		t.Errorf("sent %s %s", (*sent)[0].Topic, got)
	}
}

func TestClient_errors(t *testing.T) {
	ctx := context.Background()
	c, _, _ := answering(t, provisioning.JSON, "/rejected", []byte(`{"statusCode":400,"errorCode":"InvalidCertificateOwnershipToken","errorMessage":"Certificate ownership token cannot be empty"}`))
	_, err := c.RegisterThing(ctx, "fleet", "x", nil)
	var rejected *provisioning.RejectedError
	if !errors.As(err, &rejected) || rejected.StatusCode != 400 || rejected.Temporary() ||
		err.Error() != "provisioning: RegisterThing was rejected: 400 InvalidCertificateOwnershipToken: Certificate ownership token cannot be empty" {
		t.Error(err)
	}
	for name, payload := range map[string]string{"not JSON": `x`, "fields are missing": `{"certificateId":"id"}`, "wrong type": `{"certificateId":1}`} {
		c, _, _ := answering(t, provisioning.JSON, "/accepted", []byte(payload))
		if _, err := c.CreateKeysAndCertificate(ctx); !errors.Is(err, provisioning.ErrInvalidPayload) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := c.CreateCertificateFromCSR(ctx, "csr"); !errors.Is(err, provisioning.ErrInvalidPayload) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, field := range []string{"certificateId", "certificatePem", "privateKey", "certificateOwnershipToken"} {
		payload := []byte(strings.Replace(created, field, "other", 1))
		c, _, _ := answering(t, provisioning.JSON, "/accepted", payload)
		if _, err := c.CreateKeysAndCertificate(ctx); !errors.Is(err, provisioning.ErrInvalidPayload) {
			t.Errorf("without %s: %v", field, err)
		}
		if _, err := c.CreateCertificateFromCSR(ctx, "csr"); (err == nil) != (field == "privateKey") {
			t.Errorf("without %s: %v", field, err)
		}
	}
	// An answer without anything is not a thing that is registered.
	for format, payloads := range map[provisioning.Format][]string{provisioning.JSON: {"null", "", "[]", "{} {}"}, provisioning.CBOR: {"\xf6", "\xf7", "", "\x80", "\xc1\xf6"}} {
		for _, payload := range payloads {
			for _, suffix := range []string{"/accepted", "/rejected"} {
				c, _, _ := answering(t, format, suffix, []byte(payload))
				if r, err := c.RegisterThing(ctx, "fleet", "x", nil); !errors.Is(err, provisioning.ErrInvalidPayload) {
					t.Errorf("%v %q: %+v, %v", format, payload, r, err)
				}
			}
		}
	}
	if _, err := provisioning.NewClient(nil, provisioning.ClientOptions{}); !errors.Is(err, provisioning.ErrInvalidArgument) {
		t.Error(err)
	}
	for _, err := range []error{
		func() error { _, err := c.CreateCertificateFromCSR(ctx, ""); return err }(),
		func() error { _, err := c.CreateCertificateFromCSR(ctx, strings.Repeat("x", 4097)); return err }(),
		func() error { _, err := c.RegisterThing(ctx, "a/b", "x", nil); return err }(),
		func() error { _, err := c.RegisterThing(ctx, "a", "", nil); return err }(),
	} {
		if !errors.Is(err, provisioning.ErrInvalidArgument) {
			t.Error(err)
		}
	}
}

// FuzzAnswer gives any payload as any answer.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(created), false, false)
	f.Add([]byte{0xa1, 0x61, 'a', 0x9f, 0xff}, true, true)
	f.Add([]byte{0xbf, 0xbf, 0xbf}, true, false)
	f.Add([]byte(`{"statusCode":400,"errorCode":"x"}`), false, true)
	if data, err := json.Marshal(map[string]any{"deviceConfiguration": map[string]int{"a": 1}}); err == nil {
		f.Add(data, false, false)
	}
	f.Fuzz(func(t *testing.T, payload []byte, cbor, rejected bool) {
		format, suffix := provisioning.JSON, "/accepted"
		if cbor {
			format = provisioning.CBOR
		}
		if rejected {
			suffix = "/rejected"
		}
		c, _, _ := answering(t, format, suffix, payload)
		_, err := c.RegisterThing(context.Background(), "fleet", "token", nil)
		var refusal *provisioning.RejectedError
		if err != nil && !errors.Is(err, provisioning.ErrInvalidPayload) && !errors.As(err, &refusal) {
			t.Error(err)
		}
		if rejected && err == nil {
			t.Error("a rejection is no error")
		}
		_, _ = c.CreateKeysAndCertificate(context.Background())
	})
}
