// SPDX-License-Identifier: Apache-2.0

package defender

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Linux reads the metrics of a Linux system from /proc. It sees the network
// namespace of the process. The zero value is ready to use.
type Linux struct {
	// Proc is the file system of /proc. Nil: /proc.
	Proc fs.FS
	// Interfaces are the network interfaces whose traffic counts. Nil: all but the
	// loopback interface.
	Interfaces []string
	// MaxEntries is how many ports of a kind and connections are listed; all are
	// counted. 0: 50. Negative: none. A report has to fit into one message.
	MaxEntries int
}

const defaultMaxEntries = 50

// maxTable bounds the bytes read of one file of /proc.
const maxTable = 16 << 20

// The states in /proc/net/tcp and udp.
const (
	tcpEstablished = 0x01
	tcpListen      = 0x0a
	udpUnconnected = 0x07
)

// Read returns the present metrics. It fails with [ErrMetrics].
func (l Linux) Read() (*Metrics, error) {
	if l.Proc == nil {
		l.Proc = os.DirFS("/proc")
	}
	if l.MaxEntries == 0 {
		l.MaxEntries = defaultMaxEntries
	}
	l.MaxEntries = max(0, l.MaxEntries)
	tcp, err := l.sockets("net/tcp", "net/tcp6")
	if err != nil {
		return nil, err
	}
	udp, err := l.sockets("net/udp", "net/udp6")
	if err != nil {
		return nil, err
	}
	traffic, err := l.traffic()
	if err != nil {
		return nil, err
	}
	return &Metrics{
		TCPPorts: l.ports(tcp, tcpListen), UDPPorts: l.ports(udp, udpUnconnected),
		Traffic: traffic, Connections: l.connections(tcp),
	}, nil
}

// socket is one line of a table of sockets.
type socket struct {
	local, remote netip.AddrPort
	state         uint64
}

// sockets reads tables of sockets. A system without IPv6 has no tables for it.
func (l Linux) sockets(names ...string) ([]socket, error) {
	var all []socket
	for i, name := range names {
		f, err := l.Proc.Open(name)
		if i > 0 && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrMetrics, err)
		}
		lines := bufio.NewScanner(io.LimitReader(f, maxTable))
		lines.Scan() // names of the columns
		for lines.Scan() {
			s, err := parseSocket(lines.Text())
			if err != nil {
				_ = f.Close()
				return nil, fmt.Errorf("%w: %s: %w", ErrMetrics, name, err)
			}
			all = append(all, s)
		}
		if err := errors.Join(lines.Err(), f.Close()); err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrMetrics, name, err)
		}
	}
	return all, nil
}

// parseSocket reads a line such as
// "0: 0100007F:1F90 00000000:0000 0A ...".
func parseSocket(line string) (s socket, err error) {
	fields := strings.Fields(line)
	if len(fields) < 4 {
		return s, fmt.Errorf("unexpected line %.100q", line)
	}
	if s.local, err = parseAddress(fields[1]); err != nil {
		return s, err
	}
	if s.remote, err = parseAddress(fields[2]); err != nil {
		return s, err
	}
	s.state, err = strconv.ParseUint(fields[3], 16, 8)
	return s, err
}

// parseAddress reads an address, which is in 32-bit words of the byte order of
// the machine, and a port.
func parseAddress(text string) (netip.AddrPort, error) {
	address, port, _ := strings.Cut(text, ":")
	words, err := hex.DecodeString(address)
	if err != nil || len(words) != 4 && len(words) != 16 {
		return netip.AddrPort{}, fmt.Errorf("unexpected address %.100q", text)
	}
	for i := 0; i < len(words); i += 4 {
		binary.NativeEndian.PutUint32(words[i:], binary.BigEndian.Uint32(words[i:]))
	}
	ip, _ := netip.AddrFromSlice(words)
	n, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("unexpected port %.100q", text)
	}
	return netip.AddrPortFrom(ip.Unmap(), uint16(n)), nil
}

// ports lists the local ports of the sockets in a state, each once.
func (l Linux) ports(sockets []socket, state uint64) *Ports {
	var numbers []int
	for _, s := range sockets {
		if s.state == state {
			numbers = append(numbers, int(s.local.Port()))
		}
	}
	slices.Sort(numbers)
	numbers = slices.Compact(numbers)
	p := &Ports{Total: len(numbers)}
	for _, n := range numbers[:min(len(numbers), l.MaxEntries)] {
		p.Ports = append(p.Ports, Port{Number: n})
	}
	return p
}

func (l Linux) connections(sockets []socket) *Connections {
	c := &Connections{}
	for _, s := range sockets {
		if s.state != tcpEstablished {
			continue
		}
		c.Total++
		if len(c.Connections) < l.MaxEntries {
			c.Connections = append(c.Connections, Connection{Remote: s.remote, LocalPort: int(s.local.Port())})
		}
	}
	return c
}

// traffic sums the counters of the interfaces in /proc/net/dev.
func (l Linux) traffic() (*Traffic, error) {
	data, err := fs.ReadFile(l.Proc, "net/dev")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMetrics, err)
	}
	t := &Traffic{}
	for line := range strings.Lines(string(data)) {
		name, counters, ok := strings.Cut(line, ":")
		if !ok {
			continue // the head
		}
		name = strings.TrimSpace(name)
		if l.Interfaces == nil && name == "lo" || l.Interfaces != nil && !slices.Contains(l.Interfaces, name) {
			continue
		}
		fields := strings.Fields(counters)
		if len(fields) < 10 {
			return nil, fmt.Errorf("%w: net/dev: unexpected line %.100q", ErrMetrics, line)
		}
		for i, to := range map[int]*uint64{0: &t.BytesIn, 1: &t.PacketsIn, 8: &t.BytesOut, 9: &t.PacketsOut} {
			n, err := strconv.ParseUint(fields[i], 10, 64)
			if err != nil {
				return nil, fmt.Errorf("%w: net/dev: %w", ErrMetrics, err)
			}
			*to += n
		}
	}
	return t, nil
}
