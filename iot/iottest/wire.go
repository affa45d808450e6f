// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/mochi-mqtt/server/v2/packets"
)

// readPacket reads and decodes one packet. What the sender got wrong comes back
// as *refusal.
func readPacket(r *bufio.Reader, version byte, limit uint32) (pk packets.Packet, size int, err error) {
	first, err := r.ReadByte()
	if err != nil {
		return pk, 0, err
	}
	if err := pk.FixedHeader.Decode(first); err != nil {
		return pk, 0, asRefusal(err)
	}
	n, used, err := packets.DecodeLength(r)
	if err != nil {
		return pk, 0, asRefusal(err)
	}
	size = 1 + used + n
	if uint32(size) > limit {
		return pk, size, refuse(PacketTooLarge, "a packet has %d bytes, the maximum packet size is %d", size, limit)
	}
	pk.FixedHeader.Remaining = n
	pk.ProtocolVersion = version
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return pk, size, err
	}
	if err := decode(&pk, body); err != nil {
		return pk, size, asRefusal(err)
	}
	return pk, size, nil
}

func decode(pk *packets.Packet, body []byte) (err error) {
	// The codec indexes without a check in places where a packet is cut short.
	defer func() {
		if recover() != nil {
			err = packets.ErrMalformedPacket
		}
	}()
	switch pk.FixedHeader.Type {
	case packets.Connect:
		return pk.ConnectDecode(body)
	case packets.Publish:
		return pk.PublishDecode(body)
	case packets.Puback, packets.Pubrec, packets.Pubrel, packets.Pubcomp:
		return pk.PubackDecode(body)
	case packets.Subscribe:
		return pk.SubscribeDecode(body)
	case packets.Unsubscribe:
		return pk.UnsubscribeDecode(body)
	case packets.Pingreq:
		if len(body) > 0 {
			return packets.ErrMalformedPacket
		}
		return nil
	case packets.Disconnect:
		if pk.ProtocolVersion == 5 && len(body) == 1 { // the codec overlooks a reason code alone
			pk.ReasonCode = body[0]
			return nil
		}
		return pk.DisconnectDecode(body)
	case packets.Auth:
		return pk.AuthDecode(body)
	}
	return packets.ErrProtocolViolation
}

func asRefusal(err error) error {
	var code packets.Code
	if errors.As(err, &code) {
		return &refusal{code: ReasonCode(code.Code), text: err.Error()}
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	return &refusal{code: MalformedPacket, text: err.Error()}
}

// encode appends a packet to buf. On error buf is as before.
func encode(buf *bytes.Buffer, pk *packets.Packet) error {
	pk.Mods.AllowResponseInfo = true
	before := buf.Len()
	var err error
	switch pk.FixedHeader.Type {
	case packets.Connack:
		err = pk.ConnackEncode(buf)
	case packets.Publish:
		err = pk.PublishEncode(buf)
	case packets.Puback:
		err = pk.PubackEncode(buf)
	case packets.Suback:
		err = pk.SubackEncode(buf)
	case packets.Unsuback:
		err = pk.UnsubackEncode(buf)
	case packets.Pingresp:
		err = pk.PingrespEncode(buf)
	case packets.Disconnect:
		err = pk.DisconnectEncode(buf)
	default:
		err = fmt.Errorf("iottest: packet type %d is not for clients", pk.FixedHeader.Type)
	}
	if err != nil {
		buf.Truncate(before)
	}
	return err
}

func packet(kind byte) packets.Packet {
	return packets.Packet{FixedHeader: packets.FixedHeader{Type: kind}}
}
