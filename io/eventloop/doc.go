// SPDX-License-Identifier: Apache-2.0

// Package eventloop runs short tasks and timers of very many connections on
// very few goroutines.
//
// A [Group] owns a few loops. A [Loop] is one goroutine that runs tasks in the
// order in which they were posted and owns one heap of timers. Something that
// lives long, such as a client, is pinned to a loop and keeps a [Timer] by
// value; idle, it costs one heap entry and neither a goroutine nor a runtime
// timer. A [Gate], shared by the loops of a group, bounds how many connection
// attempts run at a time.
//
// Nothing that may block belongs on a loop: no dialling, no socket writes that
// may stall, no user code. A watchdog logs callbacks that run longer than
// [Options.SlowTask].
//
// # Order
//
// A loop works in turns. A turn first runs the tasks that were posted before it
// began, in order of posting, then the timers that are due, in order of their
// times. Timers with equal times run in the order in which they were armed;
// arming a timer again counts as arming. What callbacks post or arm during a
// turn runs in the next one at the earliest, so that neither tasks nor timers
// can starve the others. Callbacks of one loop never overlap, and each sees
// what the ones before it wrote. Nothing is promised about the order between
// loops.
//
// A timer never runs early. How late it runs depends on what else the loop has to do.
//
// # Panics
//
// A panic in a task or timer callback is recovered and logged with its stack;
// the loop goes on. A callback that ends its goroutine with [runtime.Goexit]
// ends only itself: the loop goes on in a new goroutine.
//
// # Shutdown
//
// After [Group.Shutdown] or [Group.Close] a loop accepts neither tasks nor
// timers, and armed timers are dropped. Shutdown runs the tasks that were
// queued and waits for them; Close drops those that have not begun, and does
// not wait for the one that runs.
//
// # Tests
//
// [Manual] is a group of one loop with a virtual clock and without a goroutine.
// Ordinary groups work in the bubbles of [testing/synctest].
package eventloop
