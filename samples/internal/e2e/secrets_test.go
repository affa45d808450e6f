// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"strings"
	"sync"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/gocrt/aws-iot-device-sdk-go/iot"
	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
)

// log collects what all layers log.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) Sync() error { return nil }

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// What the credentials of the tests have as their secrets.
const secretKey, sessionToken = "hush-hush-secret-key", "hush-hush-session-token"

// No layer logs a secret, whether the connection works or not.
func TestLogs_haveNoSecrets(t *testing.T) {
	for _, m := range methods {
		for _, kind := range []string{"http", "socks5"} {
			t.Run(m.name+"/"+kind, func(t *testing.T) {
				if m.need != nil {
					m.need(t)
				}
				var l log
				logger := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewDevelopmentEncoderConfig()), &l, zapcore.DebugLevel))
				core := iottest.Start(t, func(o *iottest.Options) { o.PlainTCP = true })
				o, _ := startProxy(t, core, kind)
				e, options := watch("logging")
				options = append(options, iot.WithProxy(o), iot.WithLogger(logger))
				if !m.plain {
					options = append(options, iot.WithCABytes(core.CAPEM()))
				}
				client, err := made(m.make(t, core, options))
				if err != nil {
					t.Fatal(err)
				}
				defer client.Close()
				if err := client.Start(); err != nil {
					t.Fatal(err)
				}
				receive(t, e.connected, e.failed, "the connection")
				core.SetFaults(iottest.Faults{CutConnects: true, UpgradeStatus: 403, Times: 1})
				core.Cut("logging")
				receive(t, e.failed, nil, "the failed attempt")
				receive(t, e.connected, nil, "the reconnect")
				client.Close()

				text := l.String()
				if text == "" {
					t.Error("nothing was logged")
				}
				for _, secret := range []string{proxyPassword, "pass\\u0000word", "to/ken", "to%2Fken", "X-Amz-Signature", "X-Amz-Security-Token", "PRIVATE KEY", "Basic ", secretKey, sessionToken} {
					if strings.Contains(text, secret) {
						t.Errorf("the log has %q:\n%s", secret, text)
					}
				}
			})
		}
	}
}
