// SPDX-License-Identifier: Apache-2.0

package desk

import (
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
)

// localAddr is an address as clients on this machine reach it, by a name that
// the server's certificate has.
func localAddr(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() || ip.IsLoopback() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}

// Command is a way to connect, and what to type for it.
type Command struct{ Method, Text string }

// Commands are ready to be typed into a shell: mosquitto's tools, curl, and
// what native clients need for the services whose names they do not let one
// change.
func (d *Desk) Commands() []Command {
	m := d.Material
	host, port, _ := net.SplitHostPort(localAddr(d.Core.Addr()))
	_, mtls, _ := net.SplitHostPort(localAddr(d.Core.MTLSAddr()))
	cert := fmt.Sprintf(" --cert %s --key %s", quote(m.Cert), quote(m.Files.Key))
	at := func(port, rest string) string {
		return fmt.Sprintf(" -h %s -p %s --cafile %s%s", host, port, quote(m.CA), rest)
	}
	user := quote(m.Username + "?x-amz-customauthorizer-name=" + m.Authorizer)
	token := quote("?x-amz-customauthorizer-name=" + m.SignedAuthorizer + "&" + m.TokenKeyName + "=" + m.Token +
		"&x-amz-customauthorizer-signature=" + url.QueryEscape(m.Signature))
	sub, pub := "mosquitto_sub -V mqttv5 -v -t 'a/#' -q 1", "mosquitto_pub -V mqttv5 -t a/b -m hello -q 1"
	curl := fmt.Sprintf("curl --cacert %s", quote(m.CA))
	web := "https://" + net.JoinHostPort(host, port)
	list := []Command{
		{"certificate, 8883", sub + at(mtls, cert)},
		{"", pub + at(mtls, cert)},
		{"certificate, 443", sub + at(port, cert) + " --tls-alpn x-amzn-mqtt-ca"},
		{"", pub + at(port, cert) + " --tls-alpn x-amzn-mqtt-ca"},
		{"custom authorizer", sub + at(port, "") + " --tls-alpn mqtt -u " + user + " -P " + m.Password},
		{"", pub + at(port, "") + " --tls-alpn mqtt -u " + user + " -P " + m.Password},
		{"... signed token", pub + at(port, "") + " --tls-alpn mqtt -u " + token + " -P ''"},
		{"HTTPS", curl + fmt.Sprintf(" --cert %s --key %s -d hello '%s/topics/a%%2Fb?qos=1'", quote(m.Cert), quote(m.Files.Key), web)},
		{"Cognito", curl + fmt.Sprintf(" -H 'X-Amz-Target: AWSCognitoIdentityService.GetId' -H 'Content-Type: application/x-amz-json-1.1' -d '{\"IdentityPoolId\":\"%s\"}' %s", m.IdentityPoolID, web)},
		{"role alias", curl + fmt.Sprintf(" --cert %s --key %s %s/role-aliases/%s/credentials", quote(m.Cert), quote(m.Files.Key), web, m.RoleAlias)},
	}
	if d.Core.TCPAddr() != "" {
		_, tcp, _ := net.SplitHostPort(d.Core.TCPAddr())
		list = append(list, Command{"no TLS", sub + " -h " + host + " -p " + tcp})
	}
	if d.ConsoleURL != "" {
		list = append(list,
			Command{"control API", "curl " + d.ConsoleURL + "/v1/clients"},
			Command{"", fmt.Sprintf("curl -H 'Content-Type: application/json' -d '{\"clientId\":\"%s\",\"action\":\"cut\"}' %s/v1/clients", m.Thing, d.ConsoleURL)})
	}
	return list
}

// print writes the short lines, and the commands if they are wanted.
func (d *Desk) print(out io.Writer) {
	m := d.Material
	fmt.Fprintf(out, "AWS IoT Core on this machine, as %s; Ctrl-C stops it\n", d.Core.Endpoint())
	fmt.Fprintf(out, "MQTT %s (certificate); %s (ALPN, WebSocket, HTTPS); proxy %s\n", localAddr(d.Core.MTLSAddr()), localAddr(d.Core.Addr()), or(d.ProxyURL, "off"))
	fmt.Fprintf(out, "console and control API %s\n", or(d.ConsoleURL, "off"))
	fmt.Fprintf(out, "source %s\n", quote(m.Env))
	if !d.config.ShowCommands {
		return
	}
	fmt.Fprintln(out)
	for _, c := range d.Commands() {
		fmt.Fprintf(out, "%-18s %s\n", c.Method, c.Text)
	}
	if d.ProxyURL != "" {
		fmt.Fprintf(out, `
Native clients take Cognito (cognito-identity.%s.amazonaws.com) and the endpoint for role aliases
(%s) by name: give them %s as HTTP proxy, and
%s as CA file. The proxy takes all names below amazonaws.com to this core.
`, d.Core.Region(), d.Core.CredentialsEndpoint(), strings.TrimPrefix(d.ProxyURL, "http://"), m.CA)
	}
	fmt.Fprintln(out)
}
