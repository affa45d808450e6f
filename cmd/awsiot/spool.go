// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/cmd/internal/cli"
	"github.com/gocrt/aws-iot-device-sdk-go/iot"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/filestore"
)

// spoolSession is how long the server keeps the session between two runs.
const spoolSession = 24 * time.Hour

// openSpool makes the client of a spool directory. It does not wait for a
// connection: a message is safe when it is in the directory.
func (p *pub) openSpool() error {
	if p.flags.ClientID == "" {
		return cli.Usagef("-spool needs -client-id: spooled messages belong to it")
	}
	store, err := filestore.Open(p.spool, filestore.Options{})
	if err != nil {
		return err
	}
	p.store = store
	p.retry = true
	return p.start(iot.WithSession(mqtt5.SessionRejoinAlways, spoolSession),
		iot.WithClientOptions(func(o *mqtt5.ClientOptions) {
			o.Durable = mqtt5.StoreOptions{Store: store, ReturnWhenStored: true}
			o.MaxQueuedOperations, o.MaxQueuedBytes = -1, -1 // the disk is the bound
			o.OnUndelivered = func(u *mqtt5.Undelivered) { p.sayf("not delivered to %s: %s", u.Topic, explain(u.Err)) }
		}))
}

// drain waits until the spool is empty, and says how much is left in it.
func (p *pub) drain(ctx context.Context) {
	ctx, cancel := p.limit(ctx)
	defer cancel()
	defer p.progress("sending the spooled messages")()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		left := p.store.Count(mqtt5.RecordPublish).Records
		if left == 0 {
			p.sayf("everything in %s is acknowledged", p.spool)
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			p.sayf("%d messages stay in %s; the next run with it sends them", left, p.spool)
			return
		}
	}
}

// closeSpool closes the store, after the client.
func (p *pub) closeSpool(err error) error {
	if p.store == nil {
		return err
	}
	return errors.Join(err, p.store.Close())
}
