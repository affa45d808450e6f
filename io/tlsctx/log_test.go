// SPDX-License-Identifier: Apache-2.0

package tlsctx_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/gocrt/aws-iot-device-sdk-go/io/tlsctx"
)

// A rotation is logged once, by the name of the new certificate, and nothing else of it.
func TestLogger(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zapcore.DebugLevel)
	ca := newAuthority(t, "CA")
	dir := t.TempDir()
	certFile, keyFile := ca.client(t, "first", "P-256").files(t, dir)
	c := newContext(t, tlsctx.Options{Identity: tlsctx.FromPath(certFile, keyFile), Logger: zap.New(core)})
	second := ca.client(t, "second", "P-256")
	for _, l := range []leaf{second, second} {
		if _, err := c.Config(t.Context(), "host"); err != nil {
			t.Fatal(err)
		}
		l.files(t, dir)
		if _, err := c.Config(t.Context(), "host"); err != nil {
			t.Fatal(err)
		}
	}
	entries := logs.TakeAll()
	if len(entries) != 1 || entries[0].ContextMap()["subject"] != "CN=second" || entries[0].ContextMap()["ca changed"] != false {
		t.Errorf("logged %v", entries)
	}
	if s := fmt.Sprint(entries); strings.Contains(s, "PRIVATE") || strings.Contains(s, filepath.Base(keyFile)) {
		t.Errorf("logged %s", s)
	}
	newContext(t, tlsctx.Options{DangerouslyDisableServerVerification: true, Logger: zap.New(core)})
	if entries := logs.TakeAll(); len(entries) != 1 || entries[0].Level != zapcore.WarnLevel {
		t.Errorf("logged %v", entries)
	}
}
