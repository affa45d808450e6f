// SPDX-License-Identifier: Apache-2.0

package iottest

import "github.com/mochi-mqtt/server/v2/packets"

type Authorizer struct{}
type AuthorizerRequest struct{}
type AccessKey struct{}

func (c *Core) authenticateCustom(tr *transport, pk *packets.Packet) (*principal, error) {
	return nil, errHangUp
}
