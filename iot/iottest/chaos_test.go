// SPDX-License-Identifier: Apache-2.0

package iottest_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
)

// Clients that take over each other's ids, while all disturbances there are
// strike at random: nothing may hang, and each connection that began must have
// ended when the core is closed. Errors of the clients are expected.
func TestChaos(t *testing.T) {
	c := iottest.Start(t, plain)
	ids := []string{"a", "b", "c"}
	bytesOf := func(parts ...[]byte) []byte { return cat(parts...) }
	packet := func(first byte, body ...[]byte) []byte {
		b := cat(body...)
		return bytesOf([]byte{first}, varint(len(b)), b)
	}
	var wg sync.WaitGroup
	for worker := range 6 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(worker)))
			for range 25 {
				nc, err := net.Dial("tcp", c.TCPAddr())
				if err != nil {
					continue
				}
				_ = nc.SetDeadline(time.Now().Add(60 * time.Second))
				var readers sync.WaitGroup
				readers.Go(func() { _, _ = io.Copy(io.Discard, nc) })
				id := ids[rng.IntN(len(ids))]
				props := prop(pSessionExpiry, u32(rng.IntN(2)*60))
				_, _ = nc.Write(packet(0x10, str("MQTT"), []byte{5, byte(rng.IntN(2) << 1)}, u16(0), varint(len(props)), props, str(id)))
				_, _ = nc.Write(packet(0x82, u16(1), []byte{0}, str("t/#"), []byte{1}))
				for range rng.IntN(20) {
					_, _ = nc.Write(packet(0x32, str(fmt.Sprint("t/", rng.IntN(3))), u16(1+rng.IntN(9)), []byte{0}, []byte("p")))
					_, _ = nc.Write(packet(0x40, u16(1+rng.IntN(20))))
				}
				switch id := ids[rng.IntN(len(ids))]; rng.IntN(12) {
				case 0:
					c.Cut(id)
				case 1:
					c.Reset(id)
				case 2:
					c.CutAfter(id, rng.IntN(50))
				case 3:
					c.Freeze(id)
				case 4:
					c.Thaw(id)
				case 5:
					c.HoldAcks(id, rng.IntN(2) == 0)
				case 6:
					c.Disconnect(id, iottest.AdministrativeAction)
				case 7:
					c.EndSession(id)
				case 8:
					c.Advance(time.Minute)
				case 9:
					c.Redeliver(id)
				case 10:
					c.SetFaults(iottest.Faults{CutConnects: true, Times: 1})
				case 11:
					c.Session(id)
					c.Clients()
				}
				if rng.IntN(2) == 0 {
					_, _ = nc.Write(packet(0xE0))
				}
				_ = nc.Close()
				readers.Wait()
			}
		})
	}
	wg.Wait()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	open := map[int64]bool{}
	for _, e := range c.Events() {
		switch e.Type {
		case iottest.Connected:
			open[e.Conn] = true
		case iottest.Disconnected:
			if !open[e.Conn] {
				t.Errorf("connection %d ended twice, or never began", e.Conn)
			}
			delete(open, e.Conn)
		}
	}
	if len(open) > 0 || len(c.Clients()) > 0 {
		t.Errorf("connections %v did not end", open)
	}
}
