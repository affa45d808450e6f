// SPDX-License-Identifier: Apache-2.0

package eventloop_test

import (
	"context"
	"fmt"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/io/eventloop"
)

// pinger is what lives on a loop: it owns its timer.
type pinger struct {
	loop  *eventloop.Loop
	timer eventloop.Timer
	left  int
	done  chan struct{}
}

func (p *pinger) ping() {
	fmt.Println("ping")
	if p.left--; p.left == 0 {
		close(p.done)
		return
	}
	p.timer.Reset(p.loop.Now() + time.Millisecond)
}

func Example() {
	group := eventloop.NewGroup(eventloop.Options{})
	p := &pinger{loop: group.Next(), left: 3, done: make(chan struct{})}
	p.loop.Pin()
	p.timer.Init(p.loop, p.ping)
	p.timer.Reset(p.loop.Now())
	<-p.done
	p.loop.Unpin()
	fmt.Println(group.Shutdown(context.Background()))
	// Output:
	// ping
	// ping
	// ping
	// <nil>
}

func ExampleGroup_Shutdown() {
	group := eventloop.NewGroup(eventloop.Options{Loops: 2})
	loop := group.Next()
	for i := range 3 {
		loop.Post(func() { fmt.Println("task", i) })
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := group.Shutdown(ctx); err != nil {
		fmt.Println(err)
	}
	fmt.Println("accepted afterwards:", loop.Post(func() {}))
	// Output:
	// task 0
	// task 1
	// task 2
	// accepted afterwards: false
}

func ExampleGate() {
	gate := eventloop.NewGroup(eventloop.Options{DialLimit: 1}).Gate()
	var first, second eventloop.Waiter
	first.Init(func() { fmt.Println("the first may dial") })
	second.Init(func() { fmt.Println("the second may dial") })
	gate.Acquire(&first)
	gate.Acquire(&second)
	fmt.Println("the first is done")
	gate.Release()
	fmt.Println("taken out of the queue:", gate.Cancel(&second))
	gate.Release()
	// Output:
	// the first may dial
	// the first is done
	// the second may dial
	// taken out of the queue: false
}

func ExampleManual() {
	manual := eventloop.NewManual()
	loop := manual.Loop()
	var timeout eventloop.Timer
	timeout.Init(loop, func() { fmt.Println("timeout at", loop.Now()) })
	timeout.Reset(30 * time.Second)

	manual.Advance(29 * time.Second)
	fmt.Println("nothing yet at", loop.Now())
	manual.Advance(time.Minute)
	fmt.Println("now", loop.Now())
	// Output:
	// nothing yet at 29s
	// timeout at 30s
	// now 1m29s
}

func ExampleSuspendWatch() {
	m := eventloop.NewManual()
	var watch eventloop.SuspendWatch
	watch.Start(m.Loop(), func(asleep time.Duration) { fmt.Println("the machine was away for", asleep) })
	m.Suspend(8 * time.Hour)
	m.Advance(time.Minute)
	watch.Stop()
	// Output: the machine was away for 8h0m0s
}
