// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
	"github.com/gocrt/aws-iot-device-sdk-go/samples/internal/softhsm"
)

// command is a way to connect, and what to type for it.
type command struct{ method, text string }

// commands are ready to be typed in the root of the repository.
func (m *material) commands(core *iottest.Core, proxy string) []command {
	host, _, _ := net.SplitHostPort(core.Addr())
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		host = "localhost"
	}
	at := func(port int) string { return fmt.Sprintf("-endpoint %s -port %d -ca %s", host, port, quote(m.CA)) }
	server := at(core.Port())
	cert := fmt.Sprintf("-cert %s -key %s", quote(m.Cert), quote(m.Key))
	web := "https://" + net.JoinHostPort(host, fmt.Sprint(core.Port()))
	user := fmt.Sprintf("-authorizer %s -username %s -password %s", m.unsigned.Name, m.unsigned.Username, m.unsigned.Password)
	token := fmt.Sprintf("-authorizer %s -token-key-name %s -token '%s' -signature '%s'", m.signed.Name, m.signed.TokenKeyName, m.signed.TokenValue, m.signed.Signature)

	pkcs11 := softhsm.ErrNotInstalled.Error()
	if m.library != "" {
		pkcs11 = fmt.Sprintf("SOFTHSM2_CONF=%s PKCS11_PIN=%s go run ./samples/pkcs11 %s -library %s -token-label %s -key-label %s -cert %s",
			quote(filepath.Join(m.softhsm, "softhsm2.conf")), softhsm.PIN, server, quote(m.library), softhsm.TokenLabel, softhsm.KeyLabel, quote(m.Cert))
	}
	return []command{
		{"certificate", "go run ./samples/x509 " + server + " " + cert},
		{"... on 8883", "go run ./samples/x509 " + at(core.MTLSPort()) + " " + cert},
		{"... through a proxy", "go run ./samples/proxy " + server + " " + cert + " -proxy " + proxy},
		{"PKCS#12", fmt.Sprintf("go run ./samples/pkcs12 %s -p12 %s -password %s", server, quote(m.bundle), m.password)},
		{"PKCS#11", pkcs11},
		{"signer", "go run ./samples/signer " + server + " " + cert},
		{"WebSocket, SigV4", fmt.Sprintf("AWS_SHARED_CREDENTIALS_FILE=%s go run ./samples/websocket-sigv4 %s -region %s -profile %s", quote(m.credentials), server, core.Region(), profileName)},
		{"... Cognito", fmt.Sprintf("AWS_ENDPOINT_URL_COGNITO_IDENTITY=%s AWS_REGION=%s go run ./samples/websocket-cognito %s -identity-pool-id %s", web, core.Region(), server, m.pool)},
		{"... role alias", fmt.Sprintf("AWS_REGION=%s go run ./samples/role-alias %s %s -credentials-endpoint %s -role-alias %s",
			core.Region(), server, cert, strings.TrimPrefix(web, "https://"), m.alias)},
		{"custom authorizer", "go run ./samples/custom-auth " + server + " " + user},
		{"... signed", "go run ./samples/custom-auth-signed " + server + " " + token},
		{"... over WebSocket", "go run ./samples/websocket-custom-auth " + server + " " + user},
		{"... both", "go run ./samples/pubsub -method websocket-custom-auth " + server + " " + token + " -sub 'a/#' -count 0"},
		{"no TLS", fmt.Sprintf("go run ./samples/pubsub -method plain -endpoint %s -port %d -sub 'a/#' -count 0", "127.0.0.1", core.TCPPort())},
		{"shell", "go run ./samples/pubsub " + server + " " + cert + " -sub 'a/#' -count 0"},
		{"doctor", "go run ./samples/doctor " + server + " " + cert},
	}
}

func (m *material) print(core *iottest.Core, proxy string) {
	fmt.Printf(`An AWS IoT Core runs on this machine. Ctrl-C stops it.

  It plays the endpoint %s.
  port %d plays 443:  MQTT with ALPN x-amzn-mqtt-ca or mqtt, WebSocket without ALPN
  port %d plays 8883: MQTT with a client certificate
  port %d has no TLS and lets everybody in, which AWS IoT Core has not
  %s has certificates, keys and credentials

Ways to connect to it:

`, core.Endpoint(), core.Port(), core.MTLSPort(), core.TCPPort(), m.dir)
	for _, c := range m.commands(core, proxy) {
		fmt.Printf("  %-20s  %s\n", c.method, c.text)
	}
	fmt.Print("\nWhat clients do:\n\n")
}

// quote protects a path from the shell.
func quote(path string) string {
	if !strings.ContainsAny(path, " \t'\"\\$`&;|<>()*?[]#~!") {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}
