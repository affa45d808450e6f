// SPDX-License-Identifier: Apache-2.0

package iot

import (
	"errors"
	"slices"
	"strings"

	"github.com/gocrt/aws-iot-device-sdk-go/io/certstore"
	"github.com/gocrt/aws-iot-device-sdk-go/io/pkcs12"
	"github.com/gocrt/aws-iot-device-sdk-go/io/tlsctx"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// causeHint finds the hint that the error of a layer carries, or one that fits
// its kind.
func causeHint(err error) string {
	if hint := carriedHint(err); hint != "" {
		return hint
	}
	var option *optionError
	var endpoint *EndpointError
	var packet *mqtt5.ValidationError
	var foreign *mqtt5.ForeignProtocolError
	switch {
	case errors.As(err, &foreign):
		return foreignHint(foreign)
	case errors.As(err, new(*signingError)):
		return "the credentials provider failed: it is asked at every attempt to connect"
	case errors.As(err, &endpoint):
		return endpointHint(endpoint)
	case errors.As(err, &option):
		if errors.As(option, &packet) {
			return packetHint(packet)
		}
		return advice(option.Error())
	case errors.As(err, &packet):
		return packetHint(packet)
	case errors.Is(err, mqtt5.ErrOfflinePolicy):
		return "the client is not connected, and OfflineQueuePolicy keeps no such operation: wait for the connection, or choose another policy"
	case errors.Is(err, mqtt5.ErrQueueFull):
		return "operations are submitted faster than they leave: wait for their results, or raise MaxQueuedOperations and MaxQueuedBytes"
	case errors.Is(err, mqtt5.ErrPingTimeout):
		return "the server stopped answering: check the network; the client connects again by itself"
	case errors.Is(err, mqtt5.ErrAckTimeout):
		return "the server did not acknowledge in time, and may have done what was asked: check the network, or raise AckTimeout"
	}
	return ""
}

// adviser is an error of a package that this module does not import: the
// providers of credentials, keys in hardware.
type adviser interface {
	Stage() string
	Advice() string
}

// carriedHint finds the hint of an error, the innermost one first.
func carriedHint(err error) string {
	var foreign adviser
	if errors.As(err, &foreign) && foreign.Advice() != "" {
		return foreign.Advice()
	}
	if e := (*pkcs12.Error)(nil); errors.As(err, &e) && e.Hint != "" {
		return e.Hint
	}
	if e := (*certstore.Error)(nil); errors.As(err, &e) && e.Hint != "" {
		return e.Hint
	}
	if e := (*tlsctx.HandshakeError)(nil); errors.As(err, &e) {
		return e.Hint
	}
	if e := (*tlsctx.Error)(nil); errors.As(err, &e) {
		return e.Hint
	}
	if e := (*mqtt5.ConnackError)(nil); errors.As(err, &e) {
		return e.Hint
	}
	if e := (*mqtt5.DisconnectError)(nil); errors.As(err, &e) {
		return e.Hint
	}
	if e := (*mqtt5.AckError)(nil); errors.As(err, &e) {
		return e.Hint
	}
	return ""
}

func endpointHint(e *EndpointError) string {
	if hint := advice(e.Problem); hint != "" {
		return hint
	}
	return describeEndpoint
}

// packetHint distinguishes rules of the service, which may differ for an
// account, from those of MQTT.
func packetHint(e *mqtt5.ValidationError) string {
	if slices.ContainsFunc(e.Problems, func(p mqtt5.Problem) bool { return strings.Contains(p.ID, "AWS IoT Core") }) {
		return "it was not sent, because AWS IoT Core would refuse it; if the quota of your account is higher, raise it in Limits with WithClientOptions"
	}
	return "it was not sent; correct what the error names"
}
