// SPDX-License-Identifier: Apache-2.0

package credentials

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

// The command line reaches cmd.exe as it was written, quotes included.
func TestProcess_quotedProgram(t *testing.T) {
	// Not TempDir: Wine 8 cannot remove it in the way of package testing, and
	// the test runs there too.
	temp, err := os.MkdirTemp("", "credentials")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(temp) })
	dir := filepath.Join(temp, "Program Files (x86)")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "get credentials.cmd")
	text := "@echo off\r\necho {\"Version\":1,\"AccessKeyId\":\"AKID%~1\",\"SecretAccessKey\":\"secret\"}\r\n"
	if err := os.WriteFile(program, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ command, want string }{
		"quoted program":                  {`"` + program + `"`, "AKID"},
		"quoted program, argument":        {`"` + program + `" one`, "AKIDone"},
		"quoted program, quoted argument": {`"` + program + `" "one two"`, "AKIDone two"},
		"no quotes":                       {`echo {"Version":1,"AccessKeyId":"AKID","SecretAccessKey":"secret"}`, "AKID"},
		"two commands":                    {`cd . && "` + program + `" x`, "AKIDx"},
	} {
		p, err := NewProcess(ProcessOptions{Command: tt.command})
		if err != nil {
			t.Fatal(err)
		}
		c, err := p.Retrieve(context.Background())
		if err != nil || c.AccessKeyID != tt.want {
			t.Errorf("%s: %q, %v", name, c.AccessKeyID, err)
		}
	}
}
