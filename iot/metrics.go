// SPDX-License-Identifier: Apache-2.0

package iot

import (
	"crypto/tls"
	"runtime"
	"strings"
	"unicode/utf8"

	"github.com/gocrt/aws-iot-device-sdk-go/io/tlsctx"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// LibraryName is the name of this SDK in [Metrics].
const LibraryName = "GoCRT/IoTDeviceSDK-Go"

// Metrics inform AWS IoT Core which SDK connects, as the other device SDKs do:
// parameters at the end of the user name of the CONNECT, which the service cuts
// off. They are
//
//	SDK=GoCRT/IoTDeviceSDK-Go
//	Platform=<operating system>/<architecture>, such as linux/arm64
//	Metadata=(IoTSDKVersion=<version>;GoVersion=<version>;IoTSDKFeature=<features>;IoTSDKMetricsVersion=1)
//
// where features are a comma-separated list of letter/value, for settings that
// are not the default:
//
//	A  jitter of the reconnect delay: A none, C decorrelated
//	B  session: B rejoin after the first connection, C rejoin always
//	C  offline queue: A keep publishes of QoS 1 only, C keep nothing
//	D  outbound topic aliases: A manual, B least recently used
//	E  inbound topic aliases: A on
//	F  protocol: always 5
//	G  sockets: B on Windows, otherwise A
//	H  proxy: A HTTP or SOCKS5, B with TLS to the proxy
//	I  certificate: A file or memory, B PKCS#11, C Windows store, E PKCS#12
//	K  minimum TLS version: E 1.3
//
// Nothing in them distinguishes devices. They are sent to endpoints of AWS only,
// and [WithoutMetrics] turns them off. A parameter that the user name has
// already is kept, and Metadata in parentheses is merged key by key.
type Metrics struct {
	// Features is the list of features; see above.
	Features string
}

// Username returns the user name with the metrics appended. The name is
// returned as it is if the result would not be a valid one.
func (m Metrics) Username(name string) string {
	base, query := name, ""
	if i := strings.LastIndexByte(name, '?'); i >= 0 {
		base, query = name[:i], name[i+1:]
	}
	params := splitQuery(query)
	if _, ok := params.get("SDK"); !ok {
		params = append(params, "SDK="+LibraryName)
	}
	if _, ok := params.get("Platform"); !ok {
		params = append(params, "Platform="+runtime.GOOS+"/"+runtime.GOARCH)
	}
	ours := []string{"IoTSDKVersion=" + Version, "GoVersion=" + goVersion(), "IoTSDKFeature=" + m.Features, "IoTSDKMetricsVersion=1"}
	if i := params.index("Metadata"); i < 0 {
		params = append(params, "Metadata=("+strings.Join(ours, ";")+")")
	} else if _, v, _ := strings.Cut(params[i], "="); strings.HasPrefix(v, "(") && strings.HasSuffix(v, ")") {
		params[i] = "Metadata=(" + mergeMetadata(v[1:len(v)-1], ours) + ")"
	}
	result := base + "?" + strings.Join(params, "&")
	if len(result) > maxUsername || !utf8.ValidString(result) {
		return name
	}
	return result
}

// index returns the place of the first parameter of that name, or -1.
func (q queryParams) index(name string) int {
	for i, p := range q {
		if n, _, _ := strings.Cut(p, "="); n == name {
			return i
		}
	}
	return -1
}

// mergeMetadata adds the entries whose keys are not there yet.
func mergeMetadata(theirs string, ours []string) string {
	var entries queryParams
	if theirs != "" {
		entries = strings.Split(theirs, ";")
	}
	for _, e := range ours {
		key, _, _ := strings.Cut(e, "=")
		if entries.index(key) < 0 {
			entries = append(entries, e)
		}
	}
	return strings.Join(entries, ";")
}

// goVersion is the version of Go without what a development version adds.
func goVersion() string {
	v, _, _ := strings.Cut(strings.TrimPrefix(runtime.Version(), "go"), " ")
	return v
}

// keySource is the letter for where certificate and key come from.
func keySource(identity tlsctx.Identity, m method) string {
	if s, ok := identity.(interface{ KeySource() string }); ok && s.KeySource() == "PKCS#11" {
		return "B"
	}
	return m.source
}

// metrics describes the settings of a client.
func (s *settings) metrics(o *mqtt5.ClientOptions, c *connector, m method) Metrics {
	var features []string
	add := func(id, value string) {
		if value != "" {
			features = append(features, id+"/"+value)
		}
	}
	add("A", map[mqtt5.JitterMode]string{mqtt5.JitterNone: "A", mqtt5.JitterDecorrelated: "C"}[o.RetryJitter])
	add("B", map[mqtt5.SessionBehavior]string{mqtt5.SessionRejoinPostSuccess: "B", mqtt5.SessionRejoinAlways: "C"}[o.SessionBehavior])
	add("C", map[mqtt5.OfflineQueuePolicy]string{mqtt5.FailNonQoS1PublishOnDisconnect: "A", mqtt5.FailAllOnDisconnect: "C"}[o.OfflineQueuePolicy])
	add("D", map[mqtt5.TopicAliasMode]string{mqtt5.TopicAliasManual: "A", mqtt5.TopicAliasLRU: "B"}[o.TopicAliasing.Outbound])
	if o.TopicAliasing.Inbound {
		add("E", "A")
	}
	add("F", "5")
	if runtime.GOOS == "windows" {
		add("G", "B")
	} else {
		add("G", "A")
	}
	if s.proxy != nil {
		if s.proxy.TLS != nil || s.proxy.TLSConfig != nil || strings.HasPrefix(s.proxy.URL, "https:") {
			add("H", "B")
		} else {
			add("H", "A")
		}
	}
	add("I", keySource(c.tlsOpts.Identity, m))
	if c.tlsOpts.MinVersion == tls.VersionTLS13 {
		add("K", "E")
	}
	return Metrics{Features: strings.Join(features, ",")}
}
