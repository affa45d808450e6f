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
		return "", &EndpointError{Endpoint: endpoint, Problem: fmt.Sprintf(format, args...)}
	}
	if endpoint == "" {
		return problem("it is empty; %s", describeEndpoint)
	}
	if scheme, rest, ok := strings.Cut(endpoint, "://"); ok {
		host, _, _ := strings.Cut(rest, "/")
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		// What precedes an @ may be a password, which has no place in an error.
		if i := strings.LastIndexByte(host, '@'); i >= 0 {
			return "", &EndpointError{Endpoint: scheme + "://...", Problem: "it is a URL; give the host name alone"}
		}
		return "", &EndpointError{Endpoint: scheme + "://" + host, Problem: fmt.Sprintf("it is a URL; give the host name alone: %q", host)}
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
	if host, _, ok := strings.Cut(endpoint, "/"); ok {
		return problem("it has a path; give the host name alone: %q", host)
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

// ErrInvalidEndpoint matches every [*EndpointError].
var ErrInvalidEndpoint = errors.New("iot: invalid endpoint")

// EndpointError says that an endpoint cannot be one, before anything was sent
// to it.
type EndpointError struct {
	// Endpoint is what was given.
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
