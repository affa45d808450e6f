// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"bufio"
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/gocrt/aws-iot-device-sdk-go/cmd/internal/cli"
)

// profileDir is where profiles are that are given by their names.
func profileDir() string {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "the configuration folder of the user"
	}
	return filepath.Join(dir, "awsiot")
}

// readProfile reads a profile: lines "flag = value", empty ones, and comments
// that begin with #. Relative paths in it are relative to its folder.
func readProfile(name string) (map[string]string, error) {
	if name == "" {
		return nil, nil
	}
	path := name
	if !strings.ContainsAny(name, `/\`) {
		path = filepath.Join(profileDir(), name)
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, cli.Usagef("there is no profile %s; it would be a file with lines such as \"endpoint = ...\"", path)
	}
	if err != nil {
		return nil, err
	}
	values := map[string]string{}
	scanner := bufio.NewScanner(bytes.NewReader(data))
	for n := 1; scanner.Scan(); n++ {
		line := strings.TrimSpace(scanner.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		key, value = strings.TrimLeft(strings.TrimSpace(key), "-"), strings.TrimSpace(value)
		if !ok || key == "" {
			return nil, cli.Usagef("profile %s, line %d: it is not of the form \"flag = value\"", path, n)
		}
		if isFile[key] && value != "" && !filepath.IsAbs(value) {
			value = filepath.Join(filepath.Dir(path), value)
		}
		values[key] = value
	}
	return values, scanner.Err()
}

// isFile are the flags that name files.
var isFile = map[string]bool{"ca": true, "cert": true, "key": true, "p12": true}
