// SPDX-License-Identifier: Apache-2.0

package mqtttest

type BrokerOptions struct{}
type broker struct{}
type attachment struct{}

func newBroker(s *Server, o BrokerOptions) *broker { return &broker{} }
func (b *broker) close()                           {}
func (c *Conn) Serve()                             { c.Drain() }
