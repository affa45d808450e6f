// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"net"
	"strconv"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/auth/sigv4"
	"github.com/gocrt/aws-iot-device-sdk-go/iot"
)

// dialWebsocket makes a client over WebSocket as package iot does it, with the
// TLS context of the fleet or with its own.
func dialWebsocket(o peerOptions, own bool) (peer, error) {
	if o.context == nil {
		return nil, errors.New("WebSocket clients need TLS: give the CA")
	}
	host, service, err := net.SplitHostPort(o.addr)
	if err != nil {
		return nil, err
	}
	port, err := strconv.Atoi(service)
	if err != nil {
		return nil, err
	}
	f := shared()
	options := []iot.Option{
		iot.WithPort(port), iot.WithRegion("us-east-1"), iot.WithEventLoops(f.loops), iot.WithSocket(&f.dialer),
		iot.WithClientID(o.clientID), iot.WithKeepAlive(keepAlive * time.Second),
	}
	if own {
		options = append(options, iot.WithCABytes(o.ca))
	} else {
		options = append(options, iot.WithTLSContext(o.context))
	}
	c, err := iot.NewWebsocketWithSigV4(host, sigv4.CredentialsFunc(credentials), options...)
	if err != nil {
		return nil, err
	}
	return startOurs(c)
}

// credentials are any: the server does not look at the signature.
func credentials(context.Context) (sigv4.Credentials, error) {
	return sigv4.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "example"}, nil
}
