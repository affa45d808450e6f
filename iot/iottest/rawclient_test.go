// SPDX-License-Identifier: Apache-2.0

package iottest_test

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
)

// The tests speak MQTT with the few lines below, so that neither the codec
// under the core nor the one of the SDK judges itself.

const (
	tConnect, tConnack, tPublish, tPuback = 1, 2, 3, 4
	tSubscribe, tSuback, tUnsubscribe     = 8, 9, 10
	tUnsuback, tPingreq, tPingresp        = 11, 12, 13
	tDisconnect                           = 14
)

// Property identifiers.
const (
	pExpiry, pContentType, pResponseTopic, pCorrelation = 0x02, 0x03, 0x08, 0x09
	pSubID, pSessionExpiry, pAssignedID, pServerKA      = 0x0B, 0x11, 0x12, 0x13
	pReasonString, pReceiveMax, pAliasMax, pAlias       = 0x1F, 0x21, 0x22, 0x23
	pMaxQoS, pRetain, pUser, pMaxPacket                 = 0x24, 0x25, 0x26, 0x27
	pWildcard, pSubIDs, pShared, pFormat, pAuthMethod   = 0x28, 0x29, 0x2A, 0x01, 0x15
)

type frame struct {
	kind  byte
	flags byte
	body  []byte

	topic   string
	id      uint16
	payload []byte
	codes   []byte // reason codes
	present bool
	props   map[byte][]byte
}

func (f *frame) qos() byte { return f.flags >> 1 & 3 }

func (f *frame) num(p byte) int {
	n := 0
	for _, b := range f.props[p] {
		n = n<<8 | int(b)
	}
	return n
}

type rawClient struct {
	t       *testing.T
	nc      net.Conn
	r       *bufio.Reader
	version byte
	aliases map[uint16]string
}

func newRaw(t *testing.T, nc net.Conn) *rawClient {
	t.Helper()
	t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(60 * time.Second)) // against hanging tests only
	return &rawClient{t: t, nc: nc, r: bufio.NewReader(nc), version: 5, aliases: map[uint16]string{}}
}

// dialDevice connects on the port that stands for 443.
func dialDevice(t *testing.T, c *iottest.Core, d *iottest.Device) *rawClient {
	t.Helper()
	nc, err := tls.Dial("tcp", c.Addr(), d.TLSConfig(iottest.ALPNMQTTCA))
	if err != nil {
		t.Fatal(err)
	}
	return newRaw(t, nc)
}

func dialPlain(t *testing.T, c *iottest.Core) *rawClient {
	t.Helper()
	nc, err := net.Dial("tcp", c.TCPAddr())
	if err != nil {
		t.Fatal(err)
	}
	return newRaw(t, nc)
}

func str(s string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...)
}

func varint(n int) []byte {
	var b []byte
	for {
		c := byte(n & 0x7F)
		if n >>= 7; n > 0 {
			b = append(b, c|0x80)
			continue
		}
		return append(b, c)
	}
}

func u16(n int) []byte { return binary.BigEndian.AppendUint16(nil, uint16(n)) }
func u32(n int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(n)) }

func cat(parts ...[]byte) []byte {
	var b []byte
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

func prop(id byte, value []byte) []byte { return append([]byte{id}, value...) }

func (c *rawClient) write(first byte, body ...[]byte) {
	c.t.Helper()
	b := cat(body...)
	if _, err := c.nc.Write(cat([]byte{first}, varint(len(b)), b)); err != nil {
		c.t.Fatalf("write: %v", err)
	}
}

// properties gives the property section, nothing for MQTT 3.1.1.
func (c *rawClient) properties(props ...[]byte) []byte {
	if c.version < 5 {
		return nil
	}
	b := cat(props...)
	return cat(varint(len(b)), b)
}

type connectOptions struct {
	id              string
	resume          bool // not a clean start
	keepAlive       int
	props           [][]byte
	will            string // topic
	willPayload     string
	willFlags       byte
	user, password  string
	hasUser, hasPwd bool
}

func (c *rawClient) sendConnect(o connectOptions) {
	c.t.Helper()
	var flags byte
	if !o.resume {
		flags |= 2
	}
	payload := str(o.id)
	if o.will != "" {
		flags |= 4 | o.willFlags
		payload = cat(payload, c.properties(), str(o.will), str(o.willPayload))
	}
	if o.hasUser || o.user != "" {
		flags |= 0x80
		payload = cat(payload, str(o.user))
	}
	if o.hasPwd || o.password != "" {
		flags |= 0x40
		payload = cat(payload, str(o.password))
	}
	c.write(tConnect<<4, str("MQTT"), []byte{c.version, flags}, u16(o.keepAlive), c.properties(o.props...), payload)
}

func (c *rawClient) connect(o connectOptions) *frame {
	c.t.Helper()
	c.sendConnect(o)
	f := c.expect(tConnack)
	return f
}

func (c *rawClient) mustConnect(o connectOptions) *frame {
	c.t.Helper()
	f := c.connect(o)
	if f.codes[0] != 0 {
		c.t.Fatalf("CONNACK %#x %s", f.codes[0], f.props[pReasonString])
	}
	return f
}

func (c *rawClient) publish(topic, payload string, qos byte, id int, props ...[]byte) {
	c.t.Helper()
	c.publishFlags(topic, payload, qos<<1, id, props...)
}

func (c *rawClient) publishFlags(topic, payload string, flags byte, id int, props ...[]byte) {
	c.t.Helper()
	var pid []byte
	if flags&6 != 0 {
		pid = u16(id)
	}
	c.write(tPublish<<4|flags, str(topic), pid, c.properties(props...), []byte(payload))
}

func (c *rawClient) sendSubscribe(id int, props []byte, filters ...string) {
	c.t.Helper()
	var b []byte
	for _, f := range filters {
		b = cat(b, str(f), []byte{1})
	}
	c.write(tSubscribe<<4|2, u16(id), c.properties(props), b)
}

func (c *rawClient) subscribe(filters ...string) []byte {
	c.t.Helper()
	c.sendSubscribe(77, nil, filters...)
	return c.expect(tSuback).codes
}

func (c *rawClient) puback(id uint16) {
	c.t.Helper()
	c.write(tPuback<<4, u16(int(id)))
}

func (c *rawClient) ping() {
	c.t.Helper()
	c.write(tPingreq << 4)
	c.expect(tPingresp)
}

// read returns the next packet, or an error at the end of the connection.
func (c *rawClient) read() (*frame, error) {
	first, err := c.r.ReadByte()
	if err != nil {
		return nil, err
	}
	n, shift := 0, 0
	for {
		b, err := c.r.ReadByte()
		if err != nil {
			return nil, err
		}
		n |= int(b&0x7F) << shift
		shift += 7
		if b&0x80 == 0 {
			break
		}
	}
	f := &frame{kind: first >> 4, flags: first & 15, body: make([]byte, n), props: map[byte][]byte{}}
	if _, err := io.ReadFull(c.r, f.body); err != nil {
		return nil, err
	}
	c.parse(f)
	return f, nil
}

func (c *rawClient) parse(f *frame) {
	b := f.body
	take := func(n int) []byte {
		if n > len(b) {
			c.t.Fatalf("packet type %d is cut short: %x", f.kind, f.body)
		}
		v := b[:n]
		b = b[n:]
		return v
	}
	takeStr := func() []byte { return take(int(binary.BigEndian.Uint16(take(2)))) }
	takeVar := func() int {
		n, shift := 0, 0
		for {
			v := take(1)[0]
			n |= int(v&0x7F) << shift
			if shift += 7; v&0x80 == 0 {
				return n
			}
		}
	}
	takeProps := func() {
		if c.version < 5 || len(b) == 0 {
			return
		}
		n := takeVar()
		rest := b[n:]
		for len(b) > len(rest) {
			switch id := take(1)[0]; id {
			case pFormat, pMaxQoS, pRetain, pWildcard, pSubIDs, pShared:
				f.props[id] = take(1)
			case pServerKA, pReceiveMax, pAliasMax, pAlias:
				f.props[id] = take(2)
			case pExpiry, pSessionExpiry, pMaxPacket:
				f.props[id] = take(4)
			case pUser:
				f.props[id] = cat(f.props[id], takeStr(), []byte("="), takeStr(), []byte(";"))
			case pContentType, pResponseTopic, pCorrelation, pAssignedID, pReasonString:
				f.props[id] = takeStr()
			default:
				c.t.Fatalf("unexpected property %#x in packet type %d", id, f.kind)
			}
		}
	}
	switch f.kind {
	case tConnack:
		f.present = take(1)[0] == 1
		f.codes = take(1)
		takeProps()
	case tPublish:
		f.topic = string(takeStr())
		if f.qos() > 0 {
			f.id = binary.BigEndian.Uint16(take(2))
		}
		takeProps()
		f.payload = b
		if alias, ok := f.props[pAlias]; ok {
			a := binary.BigEndian.Uint16(alias)
			if f.topic == "" {
				f.topic = c.aliases[a]
			} else {
				c.aliases[a] = f.topic
			}
		}
	case tPuback:
		f.id = binary.BigEndian.Uint16(take(2))
		f.codes = []byte{0}
		if len(b) > 0 {
			f.codes = take(1)
			takeProps()
		}
	case tSuback, tUnsuback:
		f.id = binary.BigEndian.Uint16(take(2))
		takeProps()
		f.codes = b
	case tDisconnect:
		f.codes = []byte{0}
		if len(b) > 0 {
			f.codes = take(1)
			takeProps()
		}
	}
}

// expect returns the next packet, which must be of the given type.
func (c *rawClient) expect(kind byte) *frame {
	c.t.Helper()
	f, err := c.read()
	if err != nil {
		c.t.Fatalf("waiting for packet type %d: %v", kind, err)
	}
	if f.kind != kind {
		c.t.Fatalf("packet type %d (%x), want %d", f.kind, f.body, kind)
	}
	return f
}

// expectDisconnect wants a DISCONNECT with a code and then the end.
func (c *rawClient) expectDisconnect(code iottest.ReasonCode) *frame {
	c.t.Helper()
	f := c.expect(tDisconnect)
	if f.codes[0] != byte(code) {
		c.t.Fatalf("DISCONNECT %#x (%s), want %v", f.codes[0], f.props[pReasonString], code)
	}
	c.expectEnd()
	return f
}

func (c *rawClient) expectEnd() {
	c.t.Helper()
	if f, err := c.read(); err == nil {
		c.t.Fatalf("packet type %d (%x), want the end of the connection", f.kind, f.body)
	}
}

// expectMessage wants a PUBLISH and acknowledges it.
func (c *rawClient) expectMessage(topic, payload string) *frame {
	c.t.Helper()
	f := c.expect(tPublish)
	if f.topic != topic || string(f.payload) != payload {
		c.t.Fatalf("message %q on %q, want %q on %q", f.payload, f.topic, payload, topic)
	}
	if f.qos() == 1 {
		c.puback(f.id)
	}
	return f
}

// expiry is the session expiry interval for CONNECT.
func expiry(seconds int) [][]byte { return [][]byte{prop(pSessionExpiry, u32(seconds))} }
