// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/filestore"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqtttest"
)

var durableRounds = flag.Int("durable.rounds", 20, "processes that TestDurable kills")

// durableWriters is the number of goroutines that publish, each a series of its
// own: those with even numbers at QoS 1, the others at QoS 2.
const durableWriters = 6

// TestMain is also the process that TestDurable kills.
func TestMain(m *testing.M) {
	if address := os.Getenv("DURABLE_ADDRESS"); address != "" {
		if err := publishDurably(address, os.Getenv("DURABLE_DIR"), os.Getenv("DURABLE_FIRST")); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

func durableClient(address, dir string) (*mqtt5.Client, *filestore.Store, error) {
	store, err := filestore.Open(dir, filestore.Options{SegmentBytes: 64 << 10})
	if err != nil {
		return nil, nil, err
	}
	c, err := mqtt5.NewClient(mqtt5.ClientOptions{
		Address: address,
		Connect: mqtt5.ConnectPacket{ClientID: "device", SessionExpiryIntervalSeconds: mqtt5.Ptr[uint32](3600)},
		Durable: mqtt5.StoreOptions{Store: store, ReturnWhenStored: true},

		SessionBehavior:   mqtt5.SessionRejoinAlways,
		MinReconnectDelay: time.Millisecond,
		MaxReconnectDelay: 5 * time.Millisecond,
		OnUndelivered:     func(u *mqtt5.Undelivered) { fmt.Println("error", u.Err) },
		OnStoreFailed:     func(f *mqtt5.StoreFailed) { fmt.Println("error", f.Err) },
	})
	return c, store, err
}

// publishDurably publishes until it is killed, and prints what was accepted.
func publishDurably(address, dir, first string) error {
	c, _, err := durableClient(address, dir)
	if err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return err
	}
	var number int
	fmt.Sscan(first, &number)
	failed := make(chan error)
	for w := range durableWriters {
		go func() {
			for n := number; ; n++ {
				p := &mqtt5.PublishPacket{Topic: fmt.Sprint("series/", w), QoS: mqtt5.QoS(1 + w%2), Payload: fmt.Append(nil, n)}
				if _, err := c.Publish(context.Background(), p); err != nil {
					failed <- err
					return
				}
				fmt.Println("accepted", w, n)
			}
		}()
	}
	return <-failed
}

// series is what arrived of the publishes of one writer.
type series struct {
	mu    sync.Mutex
	count [durableWriters]map[int]int
	last  [durableWriters]int
	order []string // what is out of order
}

func (s *series) add(_ context.Context, m mqtt5.Message) {
	var w, n int
	fmt.Sscanf(m.Topic, "series/%d", &w)
	fmt.Sscan(string(m.Payload), &n)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count[w] == nil {
		s.count[w] = map[int]int{}
	}
	s.count[w][n]++
	if s.count[w][n] > 1 {
		return
	}
	if n < s.last[w] {
		s.order = append(s.order, fmt.Sprintf("writer %d: %d after %d", w, n, s.last[w]))
	}
	s.last[w] = n
}

// TestDurable kills processes that publish, and disturbs the broker meanwhile. What
// a process had accepted arrives: in order, at QoS 1 once or more often, at QoS 2
// exactly once.
func TestDurable(t *testing.T) {
	// A client that was killed right after a QoS 1 PUBLISH does not know its packet
	// identifier any more, and may use it for another one.
	srv := mqtttest.NewServer(t, mqtttest.AllowRules("MQTT-3.3.1-1"), mqtttest.JournalLimit(50))
	address, err := srv.Listen()
	if err != nil {
		t.Fatal(err)
	}
	runDurable(t, address, *durableRounds, func() {
		for _, con := range srv.Conns() {
			con.Reset()
		}
	})
}

// runDurable kills processes that publish to a broker, with a disturbance in each
// round, and compares what they had accepted with what arrives.
func runDurable(t *testing.T, address string, rounds int, disturb func()) {
	t.Helper()
	arrived := new(series)
	var forgotten atomic.Bool
	watcher, err := mqtt5.NewClient(mqtt5.ClientOptions{
		Address: address,
		Connect: mqtt5.ConnectPacket{ClientID: "watcher", SessionExpiryIntervalSeconds: mqtt5.Ptr[uint32](3600)},
		// mosquitto 2.0.11 does not save a session whose last CONNECT had Clean Start 1.
		SessionBehavior:   mqtt5.SessionRejoinAlways,
		MinReconnectDelay: time.Millisecond,
		MaxReconnectDelay: 5 * time.Millisecond,
		OnMessage:         arrived.add,
		OnConnectionSuccess: func(e *mqtt5.ConnectionSuccess) {
			if e.LostSubscriptions > 0 {
				forgotten.Store(true)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer watcher.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	watcher.Start()
	if _, err := watcher.Subscribe(ctx, &mqtt5.SubscribePacket{Subscriptions: []mqtt5.Subscription{
		{TopicFilter: "series/#", QoS: mqtt5.ExactlyOnce}}}); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	accepted := map[[2]int]bool{}
	next := 1
	for range rounds {
		next = killDurable(t, disturb, address, dir, accepted, next)
	}
	c, store, err := durableClient(address, dir)
	if err != nil {
		t.Fatal(err)
	}
	c.Start()
	// Removals are committed at the latest after a while.
	for store.Count(mqtt5.RecordPublish).Records > 0 || arrived.missing(accepted) > 0 {
		if forgotten.Load() {
			t.Fatal("the broker lost the session of the watcher")
		}
		if ctx.Err() != nil {
			t.Fatalf("%d publishes are still in the store, %d are missing", store.Count(mqtt5.RecordPublish).Records, arrived.missing(accepted))
		}
		time.Sleep(10 * time.Millisecond)
	}
	c.Close()
	store.Close()
	watcher.Stop(context.Background(), nil)
	arrived.check(t, accepted, rounds)
}

// killDurable runs one process until it is killed. It returns the number from
// which the next one goes on.
func killDurable(t *testing.T, disturb func(), address, dir string, accepted map[[2]int]bool, next int) int {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), "DURABLE_ADDRESS="+address, "DURABLE_DIR="+dir, fmt.Sprint("DURABLE_FIRST=", next))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	highest := next
	life := rand.IntN(150) // lines until it is killed
	cut := rand.IntN(200)
	lines := bufio.NewScanner(out)
	for n := 0; lines.Scan(); n++ {
		var w, number int
		if strings.HasPrefix(lines.Text(), "error") {
			t.Error(lines.Text())
		}
		if _, err := fmt.Sscanf(lines.Text(), "accepted %d %d", &w, &number); err == nil {
			accepted[[2]int{w, number}] = true
			highest = max(highest, number)
		}
		if n == cut {
			disturb()
		}
		if n == life {
			time.AfterFunc(time.Duration(rand.IntN(5000))*time.Microsecond, func() { cmd.Process.Kill() })
		}
	}
	cmd.Wait()
	return highest + 2 // one may have been stored and not reported
}

// missing returns how many of the accepted publishes did not arrive yet.
func (s *series) missing(accepted map[[2]int]bool) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range accepted {
		if s.count[key[0]][key[1]] == 0 {
			n++
		}
	}
	return n
}

func (s *series) check(t *testing.T, accepted map[[2]int]bool, rounds int) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, text := range s.order {
		t.Error(text)
	}
	again := 0
	for w := range durableWriters {
		for n, times := range s.count[w] {
			if times == 1 {
				continue
			}
			again++
			if w%2 == 1 {
				t.Errorf("writer %d: message %d came %d times at QoS 2", w, n, times)
			}
		}
	}
	if len(accepted) < 10*rounds {
		t.Errorf("%d messages only", len(accepted))
	}
	t.Logf("%d messages in %d rounds, %d came again", len(accepted), rounds, again)
}
