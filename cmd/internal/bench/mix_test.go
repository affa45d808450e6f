// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

func TestQoSMix(t *testing.T) {
	for _, tt := range []struct {
		text, want string
		mix        qosMix
	}{
		{"0", "0", qosMix{0}},
		{"2", "2", qosMix{2}},
		{"1:7", "1", qosMix{1}},
		{"0,1", "0:1,1:1", qosMix{0, 1}},
		{"0:3,1:1", "0:3,1:1", qosMix{0, 0, 1, 0}},
		{"1:2,0:0", "1", qosMix{1}},
	} {
		var m qosMix
		if err := m.Set(tt.text); err != nil {
			t.Errorf("%s: %v", tt.text, err)
		}
		if diff := cmp.Diff(tt.mix, m); diff != "" || m.String() != tt.want {
			t.Errorf("%s is %s (-want +got):\n%s", tt.text, m.String(), diff)
		}
	}
	for _, text := range []string{"", "3", "-1", "x", "0:", "0:x", "0:-1", "0:0", "0:1001", "1,"} {
		if err := new(qosMix).Set(text); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}

func TestSizeMix(t *testing.T) {
	for _, tt := range []struct {
		text string
		want []int
	}{
		{"256", []int{256}},
		{"0,64,1", []int{0, 64, 1}},
		{"1-8", []int{1, 2, 3, 4, 5, 6, 7, 8}},
		{"16,100-107,5-5", []int{16, 100, 101, 102, 103, 104, 105, 106, 107, 5}},
		{"0-70", []int{0, 10, 20, 30, 40, 50, 60, 70}},
	} {
		var m sizeMix
		if err := m.Set(tt.text); err != nil {
			t.Errorf("%s: %v", tt.text, err)
		}
		if diff := cmp.Diff(tt.want, m.list()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.text, diff)
		}
	}
	for _, text := range []string{"", "-1", "x", "8-1", "1-", "1,", "999999999999", "268435457"} {
		if err := new(sizeMix).Set(text); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}

func TestPackets(t *testing.T) {
	c := &config{message: "abc", qos: qosMix{0, 1}, sizes: sizeMix{{4, 4}, {0, 0}}}
	want := []mqtt5.PublishPacket{
		{QoS: 0, Payload: []byte("abca")}, {QoS: 1, Payload: []byte("abca")},
		{QoS: 0, Payload: []byte{}}, {QoS: 1, Payload: []byte{}},
	}
	if diff := cmp.Diff(want, c.packets()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
