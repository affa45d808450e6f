// SPDX-License-Identifier: Apache-2.0

package desk

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
)

// Default addresses of [Config]. A fixed address can be in scripts and in
// configurations of devices.
const (
	DefaultAddr      = "127.0.0.1:8443"
	DefaultMTLSAddr  = "127.0.0.1:8883"
	DefaultHTTPAddr  = "127.0.0.1:8080"
	DefaultProxyAddr = "127.0.0.1:8888"
)

// Config says what [Run] runs. The zero value is a core on the default
// addresses that forgets everything.
type Config struct {
	// Dir is a folder for certificates, credentials and the state of the core,
	// which then survives a restart. Empty is a temporary folder, removed at
	// the end.
	Dir string
	// Addr is the address of the port that stands for 443, [DefaultAddr] when empty.
	Addr string
	// MTLSAddr is the address of the port that stands for 8883,
	// [DefaultMTLSAddr] when empty.
	MTLSAddr string
	// TCPAddr is the address of a port for MQTT without TLS that lets everybody
	// in. Empty is none.
	TCPAddr string
	// HTTPAddr is the address of the console and the control API, on the
	// loopback interface, [DefaultHTTPAddr] when empty. "off" is none.
	HTTPAddr string
	// ProxyAddr is the address of an HTTP proxy that takes the names of AWS to
	// the core, on the loopback interface, [DefaultProxyAddr] when empty. "off"
	// is none.
	ProxyAddr string
	// Names are further names and addresses that the server's certificate is valid for.
	Names []string
	// Things are the names of things to make, "desk-device" when empty.
	Things []string
	// Policy is the AWS IoT policy of the things, as a JSON document. Without
	// one they may do everything.
	Policy string
	// Authorizers are custom authorizers, "NAME=URL" or "NAME=USER:PASSWORD". A
	// URL gets what the Lambda function of an authorizer would, by POST, and
	// answers as it does.
	Authorizers []string
	// ServiceQuotas enforces the rates of the service, see [iottest.ServiceQuotas].
	ServiceQuotas bool
	// ShowPayloads prints the beginning of payloads.
	ShowPayloads bool
	// ShowCommands prints a command for each way to connect.
	ShowCommands bool
}

// list is a flag that may be repeated.
type list struct{ values *[]string }

func (l list) String() string {
	if l.values == nil {
		return ""
	}
	return strings.Join(*l.values, ",")
}

func (l list) Set(s string) error {
	*l.values = append(*l.values, s)
	return nil
}

// Flags defines a flag for each field.
func (c *Config) Flags(fs *flag.FlagSet) {
	fs.StringVar(&c.Dir, "dir", c.Dir, "`folder` for certificates, credentials and state, which survive a restart (default: a temporary one, removed at the end)")
	fs.StringVar(&c.Addr, "addr", DefaultAddr, "`address` of the port that stands for 443")
	fs.StringVar(&c.MTLSAddr, "mtls-addr", DefaultMTLSAddr, "`address` of the port that stands for 8883")
	fs.StringVar(&c.TCPAddr, "tcp-addr", c.TCPAddr, "`address` of a port for MQTT without TLS, which lets everybody in (default: none)")
	fs.StringVar(&c.HTTPAddr, "http", DefaultHTTPAddr, "loopback `address` of the console and the control API, or off")
	fs.StringVar(&c.ProxyAddr, "proxy-addr", DefaultProxyAddr, "loopback `address` of an HTTP proxy that takes the names of AWS to the core, or off")
	fs.Var(list{&c.Names}, "name", "further `name` or address that the server's certificate is valid for; may be repeated")
	fs.Var(list{&c.Things}, "thing", "`name` of a thing to make; may be repeated (default: desk-device)")
	fs.Func("policy", "`file` with the AWS IoT policy of the things (default: everything is allowed)", func(path string) error {
		b, err := os.ReadFile(path)
		if err == nil {
			_, err = iottest.ParsePolicy(string(b))
		}
		c.Policy = string(b)
		return err
	})
	fs.Var(list{&c.Authorizers}, "authorizer", "custom authorizer, `NAME=URL` of its function or NAME=USER:PASSWORD; may be repeated")
	fs.BoolVar(&c.ServiceQuotas, "quotas", c.ServiceQuotas, "enforce the service's rates: 100 publishes a second, one CONNECT a second for a client id, ...")
	fs.BoolVar(&c.ShowPayloads, "show-payloads", c.ShowPayloads, "print the beginning of payloads")
	fs.BoolVar(&c.ShowCommands, "commands", c.ShowCommands, "print a command for each way to connect")
}

// options are those of the core.
func (c *Config) options() iottest.Options {
	o := iottest.Options{Dir: c.Dir, Addr: or(c.Addr, DefaultAddr), MTLSAddr: or(c.MTLSAddr, DefaultMTLSAddr),
		PlainTCP: c.TCPAddr != "", TCPAddr: c.TCPAddr, ServerNames: c.Names}
	if c.ServiceQuotas {
		o.Quotas = iottest.ServiceQuotas()
	}
	return o
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// thingNames are the names that the service accepts.
var thingNames = regexp.MustCompile(`^[a-zA-Z0-9:_-]{1,128}$`)

// check finds what would be wrong later.
func (c *Config) check() error {
	for flag, addr := range map[string]string{"-http": or(c.HTTPAddr, DefaultHTTPAddr), "-proxy-addr": or(c.ProxyAddr, DefaultProxyAddr)} {
		if addr != "off" && !loopback(addr) {
			return fmt.Errorf("desk: %s %s is not an address of the loopback interface, such as 127.0.0.1:8080", flag, addr)
		}
	}
	for _, t := range c.Things {
		if !thingNames.MatchString(t) {
			return fmt.Errorf("desk: -thing %q: 1 to 128 letters, digits, ':', '_' or '-'", t)
		}
	}
	for _, a := range c.Authorizers {
		if _, err := authorizerOf(a); err != nil {
			return err
		}
	}
	return nil
}
