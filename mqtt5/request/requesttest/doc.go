// SPDX-License-Identifier: Apache-2.0

// Package requesttest is a connection in memory for tests of code that uses
// package request.
//
// A [Conn] stands in for a connected [*mqtt5.Client] and its server. It keeps
// the subscriptions, routes what [Conn.Deliver] sends to the handlers, and notes
// each packet in its [Conn.Log]. A test stands for the service with [Conn.OnPublish]:
//
//	conn := requesttest.New()
//	defer conn.Close()
//	conn.OnPublish(func(p *mqtt5.PublishPacket) error {
//		conn.Deliver(p.Topic+"/accepted", p.Payload)
//		return nil
//	})
//	client, err := request.New(conn, request.Options{})
//
// Everything waits for channels only, so that it can be used inside a bubble of
// testing/synctest.
package requesttest
