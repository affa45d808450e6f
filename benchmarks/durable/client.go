// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/filestore"
)

// client publishes with a client and its store: a publish is stored, sent,
// acknowledged by a server on loopback, and removed.
func client(dir string, o filestore.Options) (put func([]byte) error, closed func() error, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go acknowledge(nc)
		}
	}()
	store, err := filestore.Open(dir, o)
	if err != nil {
		return nil, nil, err
	}
	c, err := mqtt5.NewClient(mqtt5.ClientOptions{
		Address:         l.Addr().String(),
		Connect:         mqtt5.ConnectPacket{ClientID: "device", SessionExpiryIntervalSeconds: mqtt5.Ptr[uint32](3600)},
		SessionBehavior: mqtt5.SessionRejoinAlways,
		Durable:         mqtt5.StoreOptions{Store: store},
	})
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := errors.Join(c.Start(), c.WaitConnected(ctx)); err != nil {
		return nil, nil, err
	}
	const topic = "devices/one/telemetry/temperature"
	return func(packet []byte) error {
			_, err := c.Publish(context.Background(), &mqtt5.PublishPacket{Topic: topic, QoS: mqtt5.AtLeastOnce, Payload: packet[:size-len(topic)-6]})
			return err
		}, func() error {
			return errors.Join(c.Close(), store.Close(), l.Close())
		}, nil
}

// acknowledge is a server that accepts everything.
func acknowledge(nc net.Conn) {
	defer nc.Close()
	r := bufio.NewReaderSize(nc, 64<<10)
	w := bufio.NewWriterSize(nc, 64<<10)
	body := make([]byte, 64<<10)
	for {
		first, err := r.ReadByte()
		if err != nil {
			return
		}
		n, err := binary.ReadUvarint(r)
		if err != nil || n > uint64(len(body)) {
			return
		}
		if _, err := io.ReadFull(r, body[:n]); err != nil {
			return
		}
		switch first >> 4 {
		case 1: // CONNECT
			w.Write([]byte{0x20, 3, 0, 0, 0})
		case 3: // PUBLISH of QoS 1
			id := 2 + binary.BigEndian.Uint16(body)
			w.Write([]byte{0x40, 2, body[id], body[id+1]})
		case 12: // PINGREQ
			w.Write([]byte{0xd0, 0})
		}
		if r.Buffered() == 0 {
			if w.Flush() != nil {
				return
			}
		}
	}
}
