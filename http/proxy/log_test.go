// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"
	"testing/synctest"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/gocrt/aws-iot-device-sdk-go/http/proxy"
)

func TestLog_noSecrets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		logger := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewDevelopmentEncoderConfig()), zapcore.AddSync(&out), zapcore.DebugLevel))
		s := &scripted{t: t, scripts: []script{
			answer("HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n", ok200),
			answer("HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 407 No\r\n\r\n"),
		}}
		d := newDialer(t, proxy.Options{URL: "http://user:p%40ss%3Aw%C3%B6rd-ZEBRA@proxy.test", Dial: s.dial, Logger: logger})
		conn, err := d.DialContext(t.Context(), "tcp", "broker.test:443")
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
		if _, err := d.DialContext(t.Context(), "tcp", "broker.test:443"); err == nil {
			t.Fatal("connected")
		}
		text := out.String()
		if strings.Count(text, "\n") != 2 || strings.Contains(text, "ZEBRA") || strings.Contains(text, base64.StdEncoding.EncodeToString([]byte("user:"+secret))) {
			t.Errorf("log:\n%s", text)
		}
	})
}
