// SPDX-License-Identifier: Apache-2.0

package defender

import (
	"fmt"
	"math"
	"net/netip"
	"regexp"
	"unicode/utf8"
)

// Metrics are the metrics of a system at one time. A nil field is not reported.
type Metrics struct {
	TCPPorts *Ports
	UDPPorts *Ports
	// Traffic counts since the start of the system. The reporter sends differences.
	Traffic     *Traffic
	Connections *Connections
}

// Ports are those on which something listens.
type Ports struct {
	Ports []Port
	// Total is how many there are, if Ports does not list all. 0: len(Ports).
	Total int
}

// Port is one listening port.
type Port struct {
	Number    int
	Interface string // empty: not known
}

// Traffic counts bytes and packets.
type Traffic struct {
	BytesIn, BytesOut, PacketsIn, PacketsOut uint64
}

// Connections are the established TCP connections.
type Connections struct {
	Connections []Connection
	// Total is how many there are, if Connections does not list all. 0:
	// len(Connections).
	Total int
}

// Connection is one established TCP connection.
type Connection struct {
	Remote         netip.AddrPort
	LocalPort      int    // 0: not known
	LocalInterface string // empty: not known
}

// Custom is the value of a custom metric. Exactly one field is set. The metric
// has to be defined in the account, with the type that the field has here.
type Custom struct {
	Number  *float64
	Numbers []float64
	Strings []string
	IPs     []netip.Addr
}

// Number returns the value of a metric of type number.
func Number(v float64) Custom { return Custom{Number: &v} }

var metricNames = regexp.MustCompile(`^[a-zA-Z0-9:_-]{1,128}$`)

func (c Custom) check(name string) error {
	n := 0
	for _, set := range []bool{c.Number != nil, c.Numbers != nil, c.Strings != nil, c.IPs != nil} {
		if set {
			n++
		}
	}
	if n != 1 {
		return fmt.Errorf("%w: the custom metric %q needs exactly one value", ErrInvalidArgument, name)
	}
	if !metricNames.MatchString(name) {
		return fmt.Errorf("%w: custom metric %q: 1 to 128 letters, digits, ':', '_' or '-'", ErrInvalidArgument, name)
	}
	numbers := c.Numbers
	if c.Number != nil {
		numbers = []float64{*c.Number}
	}
	for _, v := range numbers {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("%w: custom metric %q: %v", ErrInvalidArgument, name, v)
		}
	}
	for _, s := range c.Strings {
		if !utf8.ValidString(s) {
			return fmt.Errorf("%w: custom metric %q: a text is not UTF-8", ErrInvalidArgument, name)
		}
	}
	for _, ip := range c.IPs {
		if !ip.IsValid() {
			return fmt.Errorf("%w: custom metric %q: an address is not valid", ErrInvalidArgument, name)
		}
	}
	return nil
}
