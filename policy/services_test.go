// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"path"
	"slices"
	"strings"
	"testing"
)

// services are the packages of module iot for device services, and whether their
// payloads may be CBOR.
var services = map[string]bool{
	"shadow": false, "jobs": false, "provisioning": true, "commands": true, "defender": true, "events": false, "ingest": false, "direct": false,
}

// TestServices protects the size of programs. It wants the device services to
// need nothing but the client: whoever uses one of them compiles nothing of
// AWS, TLS or HTTP proxies with it.
func TestServices(t *testing.T) {
	tree := repository(t)
	found := map[string]bool{}
	for _, name := range tree.goFiles() {
		service, ok := strings.CutPrefix(path.Dir(name), "iot/")
		mayCBOR, known := services[service]
		if !ok || !known || strings.HasSuffix(name, "_test.go") {
			continue
		}
		found[service] = true
		for _, imported := range imports(tree.parse(t, name)) {
			standard := !strings.Contains(strings.Split(imported, "/")[0], ".")
			allowed := slices.Contains([]string{importRoot + "/mqtt5", importRoot + "/mqtt5/request"}, imported) ||
				strings.HasPrefix(imported, importRoot+"/iot/internal/") || mayCBOR && imported == "github.com/fxamacker/cbor/v2"
			if !standard && !allowed {
				t.Errorf("%s imports %s", name, imported)
			}
		}
	}
	if len(found) != len(services) {
		t.Errorf("found the services %v only", found)
	}
}
