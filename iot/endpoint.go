// SPDX-License-Identifier: Apache-2.0

package iot

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
)

// describeEndpoint is how a user finds the endpoint.
const describeEndpoint = "`aws iot describe-endpoint --endpoint-type iot:Data-ATS` prints it"

// awsSuffixes are the DNS suffixes under which AWS serves its endpoints, one or
// two for each partition.
var awsSuffixes = [...]string{
	".amazonaws.com",
	".amazonaws.com.cn",
	".amazonaws.eu",
	".api.aws",
	".api.amazonwebservices.com.cn",
	".c2s.ic.gov",
	".sc2s.sgov.gov",
	".cloud.adc-e.uk",
	".csp.hci.ic.gov",
}

// isAWSHost reports whether a host name belongs to AWS.
func isAWSHost(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return slices.ContainsFunc(awsSuffixes[:], func(suffix string) bool { return strings.HasSuffix(host, suffix) })
}

// parseEndpoint checks an endpoint, which is a host name or address and nothing
// else, and returns it as it goes into an address.
func parseEndpoint(endpoint string) (string, error) {
	problem := func(format string, args ...any) (string, error) {
		return "", &EndpointError{Endpoint: shownEndpoint(endpoint), Problem: fmt.Sprintf(format, args...)}
	}
	if endpoint == "" {
		return problem("it is empty; %s", describeEndpoint)
	}
	bare := endpoint
	if i := strings.IndexAny(endpoint, "?#"); i >= 0 {
		bare = endpoint[:i]
	}
	_, rest, isURL := strings.Cut(bare, "://")
	switch {
	case strings.Contains(endpoint, "@") && isURL:
		return problem("it is a URL; give the host name alone")
	case strings.Contains(endpoint, "@"):
		return problem("it has a user name; give the host name alone, and a user name with WithUsername")
	case isURL:
		return problem("it is a URL; give the host name alone: %q", hostOf(rest))
	case bare != endpoint:
		return problem("it has a query; give the host name alone: %q", hostOf(bare))
	}
	address := endpoint
	if strings.HasPrefix(endpoint, "[") && strings.HasSuffix(endpoint, "]") {
		address = endpoint[1 : len(endpoint)-1]
	}
	if net.ParseIP(address) != nil {
		return address, nil
	}
	if strings.ContainsAny(endpoint, " \t\r\n\"'") {
		return problem("it contains blanks or quotes; give the host name alone")
	}
	if strings.Contains(endpoint, "/") {
		return problem("it has a path; give the host name alone: %q", hostOf(endpoint))
	}
	if host, port, err := net.SplitHostPort(endpoint); err == nil {
		return problem("it has a port; give the host name alone, %q, and the port with WithPort(%s)", host, port)
	}
	if i := strings.IndexFunc(endpoint, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-._", r)
	}); i >= 0 || len(endpoint) > 254 || strings.Contains(endpoint, "..") || strings.HasPrefix(endpoint, ".") {
		return problem("it is no host name; %s", describeEndpoint)
	}
	if !isAWSHost(endpoint) {
		return endpoint, nil
	}
	labels := strings.Split(strings.ToLower(endpoint), ".")
	for _, other := range [...]struct{ label, name string }{
		{"credentials", "the endpoint for credentials"},
		{"jobs", "the endpoint for the HTTPS interface of Jobs"},
		{"tunneling", "an endpoint of secure tunneling"},
		{"greengrass-ats", "the endpoint for Greengrass discovery"},
	} {
		if slices.Contains(labels, other.label) {
			return problem("it is %s, which does not speak MQTT; %s", other.name, describeEndpoint)
		}
	}
	// The control plane is iot.<region>; an account's prefix may be any word.
	if first := labels[0]; (first == "iot" || first == "iot-fips") && !strings.HasPrefix(labels[1], "iot") {
		return problem("it is the endpoint of the control plane, which does not speak MQTT and lacks the prefix of your account; %s", describeEndpoint)
	}
	return endpoint, nil
}

// hostOf returns the host of a URL that has lost its scheme and its query.
func hostOf(rest string) string {
	host, _, _ := strings.Cut(rest, "/")
	if h, _, err := net.SplitHostPort(host); err == nil {
		return h
	}
	return host
}

// shownEndpoint is an endpoint as it stands in an error: without what in a URL
// may be a password or a signature.
func shownEndpoint(endpoint string) string {
	if strings.Contains(endpoint, "@") {
		if scheme, _, ok := strings.Cut(endpoint, "://"); ok && !strings.ContainsAny(scheme, "@?#/") {
			return scheme + "://..."
		}
		return "..."
	}
	if i := strings.IndexAny(endpoint, "?#"); i >= 0 {
		return endpoint[:i] + "..."
	}
	return endpoint
}

// ErrInvalidEndpoint matches every [*EndpointError].
var ErrInvalidEndpoint = errors.New("iot: invalid endpoint")

// EndpointError says that an endpoint cannot be one, before anything was sent
// to it.
type EndpointError struct {
	// Endpoint is what was given, without what in a URL may be a secret: user,
	// password and query.
	Endpoint string
	// Problem is the fault of the endpoint, and what to give instead.
	Problem string
}

// Error names the endpoint, the problem and what to give instead.
func (e *EndpointError) Error() string {
	return fmt.Sprintf("iot: invalid endpoint %q: %s", e.Endpoint, e.Problem)
}

// Is matches [ErrInvalidEndpoint].
func (e *EndpointError) Is(target error) bool { return target == ErrInvalidEndpoint }
