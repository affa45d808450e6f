// SPDX-License-Identifier: Apache-2.0

package iottest_test

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
)

// clientFrames is the client side of a WebSocket: what is written goes out in
// frames of at most size bytes, as fragments of one message.
type clientFrames struct {
	net.Conn
	r    *bufio.Reader
	size int
	left int
}

func (w *clientFrames) Write(b []byte) (int, error) {
	total, op := len(b), byte(2)
	for first := true; len(b) > 0 || first; first = false {
		n := min(len(b), w.size)
		head := []byte{op, 0x80 | byte(n)}
		if n == len(b) {
			head[0] |= 0x80
		}
		if n > 125 {
			head[1] = 0x80 | 126
			head = binary.BigEndian.AppendUint16(head, uint16(n))
		}
		mask := []byte{1, 2, 3, 4}
		out := append(head, mask...)
		for i, v := range b[:n] {
			out = append(out, v^mask[i&3])
		}
		if _, err := w.Conn.Write(out); err != nil {
			return 0, err
		}
		b, op = b[n:], 0
	}
	return total, nil
}

func (w *clientFrames) Read(b []byte) (int, error) {
	for w.left == 0 {
		var h [2]byte
		if _, err := io.ReadFull(w.r, h[:]); err != nil {
			return 0, err
		}
		n := int(h[1])
		switch n {
		case 126:
			var l [2]byte
			if _, err := io.ReadFull(w.r, l[:]); err != nil {
				return 0, err
			}
			n = int(binary.BigEndian.Uint16(l[:]))
		case 127:
			var l [8]byte
			if _, err := io.ReadFull(w.r, l[:]); err != nil {
				return 0, err
			}
			n = int(binary.BigEndian.Uint64(l[:]))
		}
		switch h[0] {
		case 0x82:
			w.left = n
		case 0x88:
			return 0, io.EOF
		default:
			return 0, errors.New("unexpected frame " + hex.EncodeToString(h[:]))
		}
	}
	n, err := w.r.Read(b[:min(len(b), w.left)])
	w.left -= n
	return n, err
}

type upgradeOptions struct {
	query    string
	header   map[string]string // replaces the usual ones; an empty value leaves one out
	path     string
	host     string
	alpn     []string
	fragment int
}

// upgrade asks for a WebSocket. The client is nil unless the status is 101.
func upgrade(t *testing.T, c *iottest.Core, o upgradeOptions) (*http.Response, *rawClient) {
	t.Helper()
	nc, err := tls.Dial("tcp", c.Addr(), c.TLSConfig(o.alpn...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(60 * time.Second))
	if o.path == "" {
		o.path = "/mqtt"
	}
	if o.host == "" {
		o.host = c.Endpoint()
	}
	header := map[string]string{"Host": o.host, "Upgrade": "websocket", "Connection": "Upgrade",
		"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Protocol": "mqtt"}
	for k, v := range o.header {
		header[k] = v
	}
	var req strings.Builder
	req.WriteString("GET " + o.path)
	if o.query != "" {
		req.WriteString("?" + o.query)
	}
	req.WriteString(" HTTP/1.1\r\n")
	for k, v := range header {
		if v != "" {
			req.WriteString(k + ": " + v + "\r\n")
		}
	}
	req.WriteString("\r\n")
	if _, err := io.WriteString(nc, req.String()); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(nc)
	resp, err := http.ReadResponse(r, &http.Request{Method: http.MethodGet})
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		body, _ := io.ReadAll(resp.Body)
		resp.Body = io.NopCloser(strings.NewReader(string(body)))
		return resp, nil
	}
	if o.fragment == 0 {
		o.fragment = 1 << 15
	}
	return resp, newRaw(t, &clientFrames{Conn: nc, r: r, size: o.fragment})
}

// sign makes the query of a signed upgrade.
type signing struct {
	id, secret, token string
	region, service   string
	host              string
	at                time.Time
	expires           string
	signToken         bool
	tamper            bool
}

func (s signing) query() string {
	date := s.at.UTC().Format("20060102T150405Z")
	scope := date[:8] + "/" + s.region + "/" + s.service + "/aws4_request"
	q := "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=" + url.QueryEscape(s.id+"/"+scope) + "&X-Amz-Date=" + date
	if s.expires != "" {
		q += "&X-Amz-Expires=" + s.expires
	}
	if s.signToken {
		q += "&X-Amz-Security-Token=" + url.QueryEscape(s.token)
	}
	q += "&X-Amz-SignedHeaders=host"
	h := func(b string) string { x := sha256.Sum256([]byte(b)); return hex.EncodeToString(x[:]) }
	canonical := "GET\n/mqtt\n" + q + "\nhost:" + s.host + "\n\nhost\n" + h("")
	toSign := "AWS4-HMAC-SHA256\n" + date + "\n" + scope + "\n" + h(canonical)
	key := []byte("AWS4" + s.secret)
	for _, part := range []string{date[:8], s.region, s.service, "aws4_request", toSign} {
		m := hmac.New(sha256.New, key)
		m.Write([]byte(part))
		key = m.Sum(nil)
	}
	signature := hex.EncodeToString(key)
	if s.tamper {
		signature = strings.Repeat("0", 64)
	}
	q += "&X-Amz-Signature=" + signature
	if s.token != "" && !s.signToken {
		q += "&X-Amz-Security-Token=" + url.QueryEscape(s.token)
	}
	return q
}

func signFor(c *iottest.Core, k *iottest.AccessKey) signing {
	return signing{id: k.AccessKeyID, secret: k.SecretAccessKey, token: k.SessionToken, region: c.Region(),
		service: "iotdevicegateway", host: c.Endpoint(), at: c.Now()}
}

func accessKey(t *testing.T, c *iottest.Core, o iottest.AccessKeyOptions) *iottest.AccessKey {
	t.Helper()
	k, err := c.CreateAccessKey(o)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestWebSocket(t *testing.T) {
	for _, frames := range []int{0, 3} {
		c := iottest.Start(t, func(o *iottest.Options) { o.MaxFrameBytes = frames })
		k := accessKey(t, c, iottest.AccessKeyOptions{Lifetime: time.Hour})
		for _, alpn := range [][]string{nil, {"http/1.1"}} {
			resp, cl := upgrade(t, c, upgradeOptions{query: signFor(c, k).query(), alpn: alpn, fragment: 2})
			if cl == nil {
				t.Fatalf("status %d", resp.StatusCode)
			}
			if resp.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" || resp.Header.Get("Sec-WebSocket-Protocol") != "mqtt" {
				t.Errorf("header %v", resp.Header)
			}
			cl.mustConnect(connectOptions{id: "ws"})
			cl.subscribe("t")
			big := strings.Repeat("x", 70000)
			cl.nc.(*clientFrames).size = 1 << 15
			cl.publish("t", big, 1, 1)
			cl.expect(tPuback)
			cl.expectMessage("t", big)
			info := c.Clients()["ws"]
			if !info.WebSocket || info.Auth != "sigv4" || info.AccessKeyID != k.AccessKeyID || info.Header.Get("Host") != c.Endpoint() {
				t.Errorf("info %+v", info)
			}
			c.Disconnect("ws", iottest.AdministrativeAction)
			cl.expectDisconnect(iottest.AdministrativeAction)
		}
	}
}

func TestWebSocket_pingAndBadFrames(t *testing.T) {
	c := iottest.Start(t)
	k := accessKey(t, c, iottest.AccessKeyOptions{})
	for _, tc := range []struct {
		name, send, want string
	}{
		{"ping", "\x89\x82\x00\x00\x00\x00hi", "\x8A\x02hi"},
		{"close", "\x88\x82\x00\x00\x00\x00\x03\xE8", "\x88\x02\x03\xE8"},
		{"unmasked", "\x82\x01a", "\x88\x02\x03\xEA"},
		{"text", "\x81\x80\x00\x00\x00\x00", "\x88\x02\x03\xEB"},
		{"reserved bit", "\xC2\x80\x00\x00\x00\x00", "\x88\x02\x03\xEA"},
		{"stray continuation", "\x80\x80\x00\x00\x00\x00", "\x88\x02\x03\xEA"},
	} {
		_, cl := upgrade(t, c, upgradeOptions{query: signFor(c, k).query()})
		nc := cl.nc.(*clientFrames)
		if _, err := io.WriteString(nc.Conn, tc.send); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(tc.want))
		if _, err := io.ReadFull(nc.r, got); err != nil || string(got) != tc.want {
			t.Errorf("%s: got %x, %v; want %x", tc.name, got, err, tc.want)
		}
	}
}

func TestUpgrade_refused(t *testing.T) {
	c := iottest.Start(t)
	k := accessKey(t, c, iottest.AccessKeyOptions{Lifetime: time.Hour})
	long := accessKey(t, c, iottest.AccessKeyOptions{})
	good := signFor(c, k)
	with := func(f func(*signing)) string {
		s := good
		f(&s)
		return s.query()
	}
	for _, tc := range []struct {
		name   string
		o      upgradeOptions
		status int
		body   string
	}{
		{"unsigned", upgradeOptions{}, 403, "not signed"},
		{"wrong path", upgradeOptions{path: "/MQTT", query: good.query()}, 403, "path"},
		{"wrong secret", upgradeOptions{query: with(func(s *signing) { s.secret = "no" })}, 403, "signature does not match"},
		{"tampered", upgradeOptions{query: with(func(s *signing) { s.tamper = true })}, 403, "signature does not match"},
		{"unknown key", upgradeOptions{query: with(func(s *signing) { s.id = "AKIANOBODY" })}, 403, "unknown access key"},
		{"wrong region", upgradeOptions{query: with(func(s *signing) { s.region = "eu-west-1" })}, 403, "scoped"},
		{"wrong service", upgradeOptions{query: with(func(s *signing) { s.service = "iotdata" })}, 403, "scoped"},
		{"wrong host", upgradeOptions{query: with(func(s *signing) { s.host = "other" })}, 403, "signature does not match"},
		{"missing token", upgradeOptions{query: with(func(s *signing) { s.token = "" })}, 403, "missing session token"},
		{"wrong token", upgradeOptions{query: with(func(s *signing) { s.token = "x" })}, 403, "session token"},
		{"token with long-term key", upgradeOptions{query: func() string {
			s := signFor(c, long)
			s.token = "x"
			return s.query()
		}()}, 403, "session token"},
		{"signed token", upgradeOptions{query: with(func(s *signing) { s.signToken = true })}, 403, "signature does not match"},
		{"clock slow", upgradeOptions{query: with(func(s *signing) { s.at = s.at.Add(-6 * time.Minute) })}, 403, "signing time"},
		{"clock fast", upgradeOptions{query: with(func(s *signing) { s.at = s.at.Add(6 * time.Minute) })}, 403, "signing time"},
		{"expired URL", upgradeOptions{query: with(func(s *signing) { s.at, s.expires = s.at.Add(-time.Minute), "30" })}, 403, "expired"},
		{"no subprotocol", upgradeOptions{query: good.query(), header: map[string]string{"Sec-WebSocket-Protocol": ""}}, 400, "Protocol"},
		{"no key", upgradeOptions{query: good.query(), header: map[string]string{"Sec-WebSocket-Key": "short"}}, 400, "Key"},
		{"wrong version", upgradeOptions{query: good.query(), header: map[string]string{"Sec-WebSocket-Version": "8"}}, 400, "Version"},
	} {
		resp, _ := upgrade(t, c, tc.o)
		body, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != tc.status || !strings.Contains(string(body), tc.body) {
			t.Errorf("%s: %d %s", tc.name, resp.StatusCode, body)
		}
		if _, err := http.ParseTime(resp.Header.Get("Date")); err != nil {
			t.Errorf("%s: Date: %v", tc.name, err)
		}
	}
	if resp, _ := upgrade(t, c, upgradeOptions{query: with(func(s *signing) { s.at = s.at.Add(-4 * time.Minute) })}); resp.StatusCode != 101 {
		t.Errorf("4 minutes of skew: %d", resp.StatusCode)
	}
	c.Advance(2 * time.Hour)
	s := good
	s.at = c.Now()
	resp, _ := upgrade(t, c, upgradeOptions{query: s.query()})
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != 403 || !strings.Contains(string(body), "expired") {
		t.Errorf("expired credentials: %d %s", resp.StatusCode, body)
	}
	if d, _ := http.ParseTime(resp.Header.Get("Date")); d.Sub(c.Now()).Abs() > time.Minute {
		t.Errorf("Date %v is not the core's time %v", d, c.Now())
	}
}

// The signature was computed outside this package.
func TestUpgrade_knownSignature(t *testing.T) {
	c := iottest.Start(t)
	c.Advance(time.Until(time.Date(2023, 1, 1, 0, 0, 0, 0, time.UTC)))
	query := "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20230101%2Fus-east-1%2Fiotdevicegateway%2Faws4_request" +
		"&X-Amz-Date=20230101T000000Z&X-Amz-SignedHeaders=host&X-Amz-Signature=7507fe4206defa0e821ff21c804aa2d78d859f70d6eb505254d54290b1176f9f"
	o := upgradeOptions{query: query, host: "example-ats.iot.us-east-1.amazonaws.com"}
	key := iottest.AccessKey{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}
	c.AddAccessKey(key)
	if resp, _ := upgrade(t, c, o); resp.StatusCode != 101 {
		t.Errorf("long-term key: %d", resp.StatusCode)
	}
	key.SessionToken = "token/with+chars=="
	c.AddAccessKey(key)
	o.query += "&X-Amz-Security-Token=token%2Fwith%2Bchars%3D%3D"
	if resp, _ := upgrade(t, c, o); resp.StatusCode != 101 {
		t.Errorf("temporary key: %d", resp.StatusCode)
	}
}

func TestWebSocket_endsAfterADay(t *testing.T) {
	c := iottest.Start(t)
	k := accessKey(t, c, iottest.AccessKeyOptions{})
	_, cl := upgrade(t, c, upgradeOptions{query: signFor(c, k).query()})
	cl.mustConnect(connectOptions{id: "ws", keepAlive: 1200})
	for range 73 { // 24 h and 20 minutes, in steps the keep alive allows
		c.Advance(20 * time.Minute)
		if len(c.Clients()) == 0 {
			break
		}
		cl.ping()
	}
	cl.expectDisconnect(iottest.AdministrativeAction)
}
