// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// qosMix is the QoS of a hundred messages, or of one if all are alike.
type qosMix []mqtt5.QoS

func (m *qosMix) String() string {
	if len(*m) == 0 {
		return ""
	}
	var count [3]int
	for _, q := range *m {
		count[q]++
	}
	var parts []string
	for q, n := range count {
		switch {
		case n == len(*m):
			return strconv.Itoa(q)
		case n > 0:
			parts = append(parts, fmt.Sprintf("%d:%d", q, n))
		}
	}
	return strings.Join(parts, ",")
}

// Set parses "1" and "0:80,1:20". The weights are interleaved, so that each
// part of the run has the mix.
func (m *qosMix) Set(text string) error {
	var weight, credit [3]int
	sum := 0
	for part := range strings.SplitSeq(text, ",") {
		q, share, weighted := strings.Cut(part, ":")
		qos, err := strconv.Atoi(q)
		if err != nil || qos < 0 || qos > 2 {
			return fmt.Errorf("QoS %q is not 0, 1 or 2", q)
		}
		w := 1
		if weighted {
			if w, err = strconv.Atoi(share); err != nil || w < 0 || w > 1000 {
				return fmt.Errorf("share %q is not between 0 and 1000", share)
			}
		}
		weight[qos] += w
		sum += w
	}
	if sum == 0 {
		return fmt.Errorf("all shares are 0")
	}
	*m = nil
	for range sum {
		next := 0
		for q := range weight {
			credit[q] += weight[q]
			if credit[q] > credit[next] {
				next = q
			}
		}
		credit[next] -= sum
		*m = append(*m, mqtt5.QoS(next))
		if weight[next] == sum {
			break // all alike
		}
	}
	return nil
}

// highest is the highest QoS of the mix.
func (m qosMix) highest() (q mqtt5.QoS) {
	for _, v := range m {
		q = max(q, v)
	}
	return q
}

// sizeMix are the payload sizes, as ranges, that follow each other.
type sizeMix []struct{ low, high int }

func (m *sizeMix) String() string {
	var parts []string
	for _, r := range *m {
		if r.low == r.high {
			parts = append(parts, strconv.Itoa(r.low))
		} else {
			parts = append(parts, fmt.Sprintf("%d-%d", r.low, r.high))
		}
	}
	return strings.Join(parts, ",")
}

func (m *sizeMix) Set(text string) error {
	const most = 256 << 20
	*m = nil
	for part := range strings.SplitSeq(text, ",") {
		from, to, ok := strings.Cut(part, "-")
		low, err := strconv.Atoi(from)
		high := low
		if err == nil && ok {
			high, err = strconv.Atoi(to)
		}
		if err != nil || low < 0 || high < low || high > most {
			return fmt.Errorf("%q is not a size or a range of sizes up to %d", part, most)
		}
		*m = append(*m, struct{ low, high int }{low, high})
	}
	return nil
}

// steps is in how many sizes a range is cut.
const steps = 8

// list are the sizes one by one.
func (m sizeMix) list() (sizes []int) {
	for _, r := range m {
		if r.low == r.high {
			sizes = append(sizes, r.low)
			continue
		}
		for i := range steps {
			sizes = append(sizes, r.low+(r.high-r.low)*i/(steps-1))
		}
	}
	return sizes
}

// packets are messages in the mix of QoS and sizes, without a topic: as many as
// it takes until the mix repeats.
func (c *config) packets() []mqtt5.PublishPacket {
	sizes := c.sizes.list()
	payload := c.payload(sizes)
	packets := make([]mqtt5.PublishPacket, 0, len(c.qos)*len(sizes))
	for _, size := range sizes {
		for _, qos := range c.qos {
			packets = append(packets, mqtt5.PublishPacket{QoS: qos, Payload: payload[:size]})
		}
	}
	return packets
}

// payload is the text of the messages, as long as the longest of them.
func (c *config) payload(sizes []int) []byte {
	most := 0
	for _, s := range sizes {
		most = max(most, s)
	}
	text := c.message
	if text == "" {
		text = "."
	}
	return []byte(strings.Repeat(text, most/len(text)+1)[:most])
}
