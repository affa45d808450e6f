// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/gocrt/aws-iot-device-sdk-go/http/internal/exchange"
)

// Whatever a proxy answers: no panic, the same result in any pieces, bounds
// kept, nothing unprintable in the reason, and the bytes after the header left alone.
func FuzzConnectResponse(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.0 200 OK\n\nrest", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200\r\n\r\n\x20\x02\x00\x00",
		"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=\"a, b\", Digest qop=\"auth\"\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.1 407 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: x\r\n\r\n", "HTTP/1.1 200 OK\r\nA: b\r\n\tc\r\n\r\n",
		"HTTP/2 200\r\n\r\n", "HTTP/1.1 403 \x1b[31m\r\n\r\n", "\x05\x00", "",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		br := bufio.NewReader(bytes.NewReader(in))
		resp, err := readResponse(br)
		slow := bufio.NewReader(iotest.OneByteReader(bytes.NewReader(in)))
		resp2, err2 := readResponse(slow)
		if (err == nil) != (err2 == nil) {
			t.Fatalf("%v and %v", err, err2)
		}
		if err != nil {
			return
		}
		if d := cmp.Diff(resp, resp2, cmp.AllowUnexported(response{})); d != "" {
			t.Fatal(d)
		}
		if resp.status < 100 || resp.status > 999 || len(resp.reason) > exchange.MaxPrintable+4 || strings.ContainsAny(resp.reason, "\r\n\x00\x1b") {
			t.Fatalf("status %d, reason %q", resp.status, resp.reason)
		}
		_ = resp.offers("basic")
		_ = resp.diagnostics()
		if resp.status == 407 {
			_, _ = resp.keepAlive(), resp.discardBody(br)
			return
		}
		rest, _ := io.ReadAll(br)
		rest2, _ := io.ReadAll(slow)
		if !bytes.Equal(rest, rest2) || !bytes.HasSuffix(in, rest) {
			t.Fatalf("bytes after the header: %q and %q", rest, rest2)
		}
	})
}
