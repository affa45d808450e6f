// SPDX-License-Identifier: Apache-2.0

package wire

// A packet with diagnostics must not outgrow the receiver's maximum packet
// size (MQTT-3.4.2-2 and its likes): the diagnostics are dropped instead, user
// properties first, since the reason string says more about the failure.

// Fit drops the user properties, then the reason string, as far as needed to
// make the packet at most limit bytes; limit 0 stands for no limit. It reports
// whether the packet fits.
func (a *Ack) Fit(limit uint32) bool {
	return fit(limit, func() int { return AckSize(a) }, &a.UserProperties, &a.ReasonString)
}

// Fit does for DISCONNECT what [Ack.Fit] does for acknowledgements.
func (p *Disconnect) Fit(limit uint32) bool {
	return fit(limit, func() int { return DisconnectSize(p) }, &p.UserProperties, &p.ReasonString)
}

// Fit does for AUTH what [Ack.Fit] does for acknowledgements.
func (p *Auth) Fit(limit uint32) bool {
	return fit(limit, func() int { return AuthSize(p) }, &p.UserProperties, &p.ReasonString)
}

func fit(limit uint32, size func() int, user *[]UserProperty, reason **string) bool {
	if limit == 0 || limit > MaxPacketSize {
		limit = MaxPacketSize
	}
	if size() > int(limit) {
		*user = nil
	}
	if size() > int(limit) {
		*reason = nil
	}
	return size() <= int(limit)
}
