// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gocrt/aws-iot-device-sdk-go/http/websocket"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// ejabberd is a running ejabberd, whose MQTT broker is written in Erlang and
// has nothing in
// common with the other ones.
type ejabberd struct {
	broker
	authority          *authority
	client             identity
	tcp, mtls, ws, wss string // addresses
}

// startEjabberd runs ejabberd until the end of the test, without the shell
// script that Debian starts it with, which wants a user of its own.
func startEjabberd(t *testing.T) *ejabberd {
	t.Helper()
	erl := tool(t, "erl")
	found, err := filepath.Glob("/usr/lib/*/ejabberd-*/ebin/mod_mqtt.beam")
	if err != nil || len(found) == 0 {
		missing(t, "ejabberd")
	}
	libraries := filepath.Dir(filepath.Dir(filepath.Dir(found[0])))
	a := newAuthority(t)
	dir := t.TempDir()
	id := a.issue(t, "localhost")
	for name, text := range map[string][]byte{
		"ca.pem":     a.pem,
		"server.pem": append(append([]byte{}, id.cert...), id.key...),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	e := &ejabberd{authority: a, client: a.issue(t, "device"), broker: broker{
		name:            "ejabberd",
		qos2:            true,
		subscriptionIDs: true,
		retainedToWild:  true,
		willOnRequest:   true,
		oneByOne:        true,
		refuse: func(o *mqtt5.ClientOptions) {
			o.Connect.Username = mqtt5.Ptr("@")
		},
		refusedWith:       []mqtt5.ConnectReasonCode{mqtt5.ConnectBadUsernameOrPassword},
		saysTakenOver:     true,
		obeysReceiveLimit: true,
	}}
	startProgram(t, "ejabberd", func() (*program, error) {
		config := []string{
			"hosts: [localhost]",
			"loglevel: warning",
			"auth_method: [anonymous]",
			"anonymous_protocol: login_anon",
			"certfiles: [" + filepath.Join(dir, "server.pem") + "]",
			"ca_file: " + filepath.Join(dir, "ca.pem"),
			"modules: {mod_mqtt: {max_queue: infinity, max_topic_aliases: 100, session_expiry: 1 hour}}",
			"listen:",
		}
		var addresses []string
		for _, l := range []struct {
			address *string
			lines   string
		}{
			{&e.tcp, "module: mod_mqtt"},
			{&e.mtls, "module: mod_mqtt, tls: true, tls_verify: true"},
			{&e.ws, "module: ejabberd_http, request_handlers: {/mqtt: mod_mqtt}"},
			{&e.wss, "module: ejabberd_http, tls: true, request_handlers: {/mqtt: mod_mqtt}"},
		} {
			port, err := freePort()
			if err != nil {
				return nil, err
			}
			*l.address = fmt.Sprintf("127.0.0.1:%d", port)
			addresses = append(addresses, *l.address)
			config = append(config, fmt.Sprintf("  - {port: %d, ip: 127.0.0.1, %s}", port, l.lines))
		}
		file := filepath.Join(dir, "ejabberd.yml")
		if err := os.WriteFile(file, []byte(strings.Join(config, "\n")+"\n"), 0o600); err != nil {
			return nil, err
		}
		return &program{
			path:      erl,
			arguments: []string{"-noinput", "-mnesia", "dir", fmt.Sprintf("%q", filepath.Join(dir, "db")), "-s", "ejabberd"},
			environment: append(os.Environ(),
				"ERL_LIBS="+libraries,
				"EJABBERD_CONFIG_PATH="+file,
				"EJABBERD_LOG_PATH="+filepath.Join(dir, "ejabberd.log"),
				"ERL_CRASH_DUMP="+filepath.Join(dir, "crash"),
				"HOME="+dir,
			),
			addresses: addresses,
		}, nil
	})
	return e
}

// login is a user of the host that ejabberd serves.
func login(o *mqtt5.ClientOptions) {
	o.Connect.Username, o.Connect.Password = mqtt5.Ptr("device@localhost"), []byte("any")
}

func TestEjabberd(t *testing.T) {
	e := startEjabberd(t)
	runSuite(t, &e.broker, []*route{
		{name: "tcp", address: e.tcp, options: login},
		{name: "mtls", address: e.mtls, options: login, layers: tlsLayer(e.authority.pem, &e.client)},
		{name: "ws", address: e.ws, options: login, layers: wsLayer(websocket.Options{})},
		{name: "wss", address: e.wss, options: login, layers: wssLayer(e.authority.pem, websocket.Options{})},
	})
}
