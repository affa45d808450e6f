// SPDX-License-Identifier: Apache-2.0

package mqtt5_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqtttest"
)

// Random sources.
func lowest(int64) int64    { return 0 }
func highest(n int64) int64 { return n - 1 }
func middle(n int64) int64  { return n / 2 }

// retries is what a client said about its attempts, and when it made them.
type retries struct {
	attempts []time.Time     // of each AttemptingConnect
	numbers  []int           // of each AttemptingConnect
	ends     []time.Time     // of each failure and loss
	delays   []time.Duration // as told by each of those
	asked    []mqtt5.RetryInfo
}

// retrying runs a client whose dials are refused, but for those that the server
// planned before, until n attempts have failed or a connection was lost.
func retrying(t *testing.T, srv *mqtttest.Server, n int, uniform func(int64) int64, change func(*mqtt5.ClientOptions)) *retries {
	t.Helper()
	for range n {
		srv.RefuseDial(nil)
	}
	srv.HangDial()
	r := new(retries)
	ended := func(retry bool, delay time.Duration) {
		if !retry {
			return // stopped
		}
		r.ends = append(r.ends, time.Now())
		r.delays = append(r.delays, delay)
	}
	d := newDevice(t, srv, func(o *mqtt5.ClientOptions) {
		o.RetryJitter = mqtt5.JitterFull
		o.OnAttemptingConnect = func(e *mqtt5.AttemptingConnect) {
			r.attempts = append(r.attempts, time.Now())
			r.numbers = append(r.numbers, e.Attempt)
		}
		o.OnConnectionFailure = func(e *mqtt5.ConnectionFailure) {
			if number := r.numbers[len(r.numbers)-1]; e.Attempt != number {
				t.Errorf("attempt %d fails as attempt %d", number, e.Attempt)
			}
			ended(e.WillRetry, e.Delay)
		}
		o.OnConnectionSuccess = func(e *mqtt5.ConnectionSuccess) {
			if number := r.numbers[len(r.numbers)-1]; e.Attempt != number {
				t.Errorf("attempt %d succeeds as attempt %d", number, e.Attempt)
			}
		}
		o.OnDisconnection = func(e *mqtt5.Disconnection) { ended(e.WillRetry, e.Delay) }
		o.ShouldRetry = func(i mqtt5.RetryInfo) bool {
			r.asked = append(r.asked, i)
			return true
		}
		change(o)
	})
	d.SetRandom(uniform)
	want(t, "start", d.Start(), nil)
	time.Sleep(time.Duration(n+1) * 10 * time.Minute)
	synctest.Wait()
	if len(r.delays) < n || len(r.attempts) != len(r.delays)+1 { // the dial that hangs fails, too
		t.Fatalf("%d attempts, %d delays, want %d", len(r.attempts), len(r.delays), n)
	}
	for i, told := range r.delays { // what was told is what happens
		if waited := r.attempts[i+1].Sub(r.ends[i]); waited != told {
			t.Errorf("the next attempt was announced in %v and began after %v", told, waited)
		}
	}
	for _, i := range r.asked {
		if !slices.Contains(r.delays, i.Delay) {
			t.Errorf("ShouldRetry was told of a delay of %v", i.Delay)
		}
	}
	return r
}

func seconds(list ...float64) (out []time.Duration) {
	for _, s := range list {
		out = append(out, time.Duration(s*float64(time.Second)))
	}
	return out
}

func bounded(low, high time.Duration, mode mqtt5.JitterMode) func(*mqtt5.ClientOptions) {
	return func(o *mqtt5.ClientOptions) {
		o.RetryJitter = mode
		o.MinReconnectDelay, o.MaxReconnectDelay = low, high
	}
}

// TestDefects_jitter gives each mode the smallest, the largest and a middle draw.
func TestDefects_jitter(t *testing.T) {
	for _, c := range []struct {
		name    string
		mode    mqtt5.JitterMode
		uniform func(int64) int64
		min     time.Duration
		max     time.Duration
		want    []time.Duration
	}{
		{"none", mqtt5.JitterNone, nil, time.Second, 20 * time.Second, seconds(1, 2, 4, 8, 16, 20, 20, 20)},
		{"none, defaults", mqtt5.JitterNone, nil, 0, 0, seconds(1, 2, 4, 8, 16, 32, 64, 120, 120)},
		{"native-4-no-floor full", mqtt5.JitterFull, lowest, time.Second, 20 * time.Second, seconds(1, 1, 1, 1, 1, 1, 1, 1)},
		{"native-4-cap-after-draw full, middle", mqtt5.JitterFull, middle, time.Second, 21 * time.Second, seconds(1.5, 2.5, 4.5, 8.5, 11, 11, 11, 11)},
		{"full, largest", mqtt5.JitterFull, highest, time.Second, 20 * time.Second, seconds(2, 4, 8, 16, 20, 20, 20, 20)},
		{"native-4-no-floor decorrelated", mqtt5.JitterDecorrelated, lowest, time.Second, 100 * time.Second, seconds(1, 1, 1, 1, 1, 1)},
		{"native-4-decorrelated-is-full middle", mqtt5.JitterDecorrelated, middle, time.Second, 10 * time.Second, seconds(2, 3.5, 5.5, 5.5, 5.5)},
		{"native-4-decorrelated-is-full largest", mqtt5.JitterDecorrelated, highest, time.Second, 100 * time.Second, seconds(3, 9, 27, 81, 100, 100)},
		{"no room between minimum and maximum", mqtt5.JitterFull, highest, 7 * time.Second, 7 * time.Second, seconds(7, 7, 7)},
		{"maximum that is no multiple of the minimum", mqtt5.JitterNone, nil, 3 * time.Second, 10 * time.Second, seconds(3, 6, 10, 10)},
	} {
		bubble(t, c.name, func(t *testing.T) {
			r := retrying(t, mqtttest.NewServer(t), len(c.want), c.uniform, bounded(c.min, c.max, c.mode))
			for i, delay := range r.delays {
				// A draw is made from whole nanoseconds, both ends included.
				if difference := delay - c.want[min(i, len(c.want)-1)]; difference < -time.Microsecond || difference > time.Microsecond {
					t.Errorf("delays %v, want %v", r.delays, c.want)
					break
				}
			}
			for i, n := range r.numbers {
				if n != i+1 {
					t.Errorf("attempts are numbered %v", r.numbers)
					break
				}
			}
		})
	}
	for _, mode := range []mqtt5.JitterMode{mqtt5.JitterFull, mqtt5.JitterDecorrelated} {
		bubble(t, fmt.Sprintf("native-4-cap-after-draw a fleet stays spread out, mode %d", mode), func(t *testing.T) {
			random := rand.New(rand.NewPCG(1, uint64(mode)))
			r := retrying(t, mqtttest.NewServer(t), 500, random.Int64N, bounded(time.Second, 2*time.Minute, mode))
			atMaximum, distinct := 0, map[time.Duration]bool{}
			for _, delay := range r.delays {
				if delay < time.Second || delay > 2*time.Minute {
					t.Fatalf("delay %v", delay)
				}
				distinct[delay.Truncate(time.Millisecond)] = true
				if delay > 119*time.Second {
					atMaximum++
				}
			}
			if atMaximum > 25 || len(distinct) < 400 {
				t.Errorf("%d of %d delays are the longest, %d are distinct", atMaximum, len(r.delays), len(distinct))
			}
		})
	}
}

// TestDefects_backoffReset checks what makes the delay start over: a connection
// that lasted, whatever was agreed on it, and not a CONNACK alone.
func TestDefects_backoffReset(t *testing.T) {
	for _, c := range []struct {
		lasts time.Duration
		set   time.Duration
		next  time.Duration // the delay after it, with three failures before
	}{
		{30*time.Second - 1, 0, 8 * time.Second},
		{30 * time.Second, 0, time.Second},
		{5*time.Second - 1, 5 * time.Second, 8 * time.Second},
		{5 * time.Second, 5 * time.Second, time.Second},
		{0, 0, 8 * time.Second},
	} {
		bubble(t, fmt.Sprintf("reset after %v of %v", c.lasts, c.set), func(t *testing.T) {
			srv := mqtttest.NewServer(t)
			for range 3 {
				srv.RefuseDial(nil)
			}
			srv.Script(func(con *mqtttest.Conn) {
				con.Accept()
				time.Sleep(c.lasts)
			})
			r := retrying(t, srv, 3, nil, func(o *mqtt5.ClientOptions) {
				o.RetryJitter = mqtt5.JitterNone
				o.MinConnectedTimeToResetReconnectDelay = c.set
			})
			if got, want := r.delays[:6], append(seconds(1, 2, 4), c.next, 2*c.next, 4*c.next); !slices.Equal(got, want) {
				t.Errorf("delays %v, want %v", got, want)
			}
			if got, want := r.numbers[:7], []int{1, 2, 3, 4, 1, 2, 3}; !slices.Equal(got, want) {
				t.Errorf("attempts are numbered %v, want %v", got, want)
			}
		})
	}
}

// TestDefects_backoffOptions checks that bounds which contradict each other are
// refused.
func TestDefects_backoffOptions(t *testing.T) {
	for _, c := range []struct {
		low, high time.Duration
		ok        bool
	}{
		{0, 0, true},
		{time.Minute, time.Minute, true},
		{time.Minute, time.Minute - 1, false},
		{3 * time.Minute, 0, false}, // above the default
		{0, time.Millisecond, false},
		{-1, 0, false},
	} {
		t.Run(fmt.Sprintf("native-4-bounds-unchecked %v to %v", c.low, c.high), func(t *testing.T) {
			o := mqtt5.ClientOptions{Address: "a:1", MinReconnectDelay: c.low, MaxReconnectDelay: c.high}
			if err := o.Validate(); (err == nil) != c.ok {
				t.Errorf("got %v", err)
			}
		})
	}
}
