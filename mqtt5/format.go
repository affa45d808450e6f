// SPDX-License-Identifier: Apache-2.0

package mqtt5

import (
	"fmt"
	"io"
	"strings"
)

// Format names the client without the password and what else it holds, whatever the verb.
func (c *Client) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "mqtt5.Client") }

// String returns the contents of the packet without user name, password and the payload
// of the will.
func (p ConnectPacket) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "mqtt5.ConnectPacket{ClientID:%q", p.ClientID)
	if p.KeepAliveSeconds != nil {
		fmt.Fprintf(&b, " KeepAliveSeconds:%d", *p.KeepAliveSeconds)
	}
	if p.SessionExpiryIntervalSeconds != nil {
		fmt.Fprintf(&b, " SessionExpiryIntervalSeconds:%d", *p.SessionExpiryIntervalSeconds)
	}
	if p.Username != nil {
		b.WriteString(" Username:[redacted]") // custom authorizers have their token in it
	}
	if p.Password != nil {
		b.WriteString(" Password:[redacted]")
	}
	if p.Will != nil {
		fmt.Fprintf(&b, " Will:%q", p.Will.Topic)
	}
	b.WriteString("}")
	return b.String()
}

// Format is String, whatever the verb.
func (p ConnectPacket) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, p.String()) }

// MarshalText is String, so that encoders such as encoding/json reveal no password.
func (p ConnectPacket) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// Format says where the client connects to and with what packet. A plain struct
// would reveal the password by verbs that do not apply to it: fmt then prints
// fields without asking them.
func (o ClientOptions) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "mqtt5.ClientOptions{Address:%q Connect:%s}", o.Address, o.Connect.String())
}

// MarshalText is what Format writes.
func (o ClientOptions) MarshalText() ([]byte, error) { return fmt.Append(nil, o), nil }
