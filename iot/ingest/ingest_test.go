// SPDX-License-Identifier: Apache-2.0

package ingest_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/ingest"
)

func TestTopic(t *testing.T) {
	for _, tt := range []struct{ rule, topic, want string }{
		{"telemetry", "rooms/7", "$aws/rules/telemetry/rooms/7"},
		{"a_1", "", "$aws/rules/a_1"},
		{"r", "1/2/3/4/5/6/7/8", "$aws/rules/r/1/2/3/4/5/6/7/8"},
		{"r", strings.Repeat("x", 256), "$aws/rules/r/" + strings.Repeat("x", 256)},
		{"", "x", ""},
		{"a-b", "x", ""},
		{"a/b", "x", ""},
		{"r", "a/+", ""},
		{"r", "#", ""},
		{"r", "/a", ""},
		{"r", "$aws/x", ""},
		{"r", "\xff", ""},
		{"r", "1/2/3/4/5/6/7/8/9", ""},
		{"r", strings.Repeat("x", 257), ""},
	} {
		got, err := ingest.Topic(tt.rule, tt.topic)
		if got != tt.want || (err != nil) != (tt.want == "") || err != nil && !errors.Is(err, ingest.ErrInvalidArgument) {
			t.Errorf("%q, %q: %q, %v", tt.rule, tt.topic, got, err)
		}
	}
}

func ExampleTopic() {
	topic, err := ingest.Topic("telemetry", "rooms/7/temperature")
	fmt.Println(topic, err)
	// Output: $aws/rules/telemetry/rooms/7/temperature <nil>
}
