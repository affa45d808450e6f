// SPDX-License-Identifier: Apache-2.0

package wire

// ParseSubscribeAck reads a SUBACK or an UNSUBACK. That it has as many reason
// codes as the request had filters is for the caller to check.
func ParseSubscribeAck(f *Frame, p *SubscribeAck) *Error {
	*p = SubscribeAck{}
	r := newReader(f)
	p.PacketID = r.packetID()
	p.ReasonString, p.UserProperties = r.reasonProperties()
	if r.err != nil {
		return r.err
	}
	if len(r.rest) == 0 {
		rule := "MQTT-3.8.4-6"
		if r.t == TypeUnsuback {
			rule = "3.11.3"
		}
		return protocolError(r.t, rule, "there is no reason code")
	}
	p.ReasonCodes = make([]ReasonCode, len(r.rest))
	for i, c := range r.rest {
		p.ReasonCodes[i] = ReasonCode(c)
	}
	return nil
}
