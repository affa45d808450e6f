// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	queue "github.com/eclipse/paho.golang/autopaho/queue/file"
	session "github.com/eclipse/paho.golang/paho/store/file"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/filestore"
)

func subjects(publishers int) []subject {
	return []subject{
		{"limit: append and fsync alone", func(dir string) (func([]byte) error, func() error, error) { return appendAndSync(dir, 1) }},
		{"limit: append and fsync in groups", func(dir string) (func([]byte) error, func() error, error) { return appendAndSync(dir, publishers) }},
		{"filestore, always", func(dir string) (func([]byte) error, func() error, error) {
			return fileStore(dir, filestore.Options{})
		}},
		{"filestore, interval 1 s", func(dir string) (func([]byte) error, func() error, error) {
			return fileStore(dir, filestore.Options{Sync: filestore.SyncInterval, Interval: time.Second})
		}},
		{"client with filestore, always", func(dir string) (func([]byte) error, func() error, error) {
			return client(dir, filestore.Options{})
		}},
		{"client with filestore, interval 1 s", func(dir string) (func([]byte) error, func() error, error) {
			return client(dir, filestore.Options{Sync: filestore.SyncInterval, Interval: time.Second})
		}},
		{"paho.golang file queue and session", paho},
	}
}

// appendAndSync writes to one file as a program does that knows nothing better:
// whoever comes first appends and syncs for all that wait, up to group.
func appendAndSync(dir string, group int) (func([]byte) error, func() error, error) {
	f, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, nil, err
	}
	var mu sync.Mutex
	var waiting []chan error
	var data []byte
	turn := make(chan struct{}, 1)
	put := func(packet []byte) error {
		if group == 1 {
			mu.Lock()
			defer mu.Unlock()
			if _, err := f.Write(packet); err != nil {
				return err
			}
			return f.Sync()
		}
		done := make(chan error, 1)
		mu.Lock()
		waiting = append(waiting, done)
		data = append(data, packet...)
		mu.Unlock()
		select {
		case err := <-done:
			return err
		case turn <- struct{}{}:
		}
		mu.Lock()
		list, b := waiting, data
		waiting, data = nil, nil
		mu.Unlock()
		var err error
		if len(b) > 0 {
			if _, err = f.Write(b); err == nil {
				err = f.Sync()
			}
		}
		for _, ch := range list {
			ch <- err
		}
		<-turn
		return <-done
	}
	return put, f.Close, nil
}

// fileStore commits the publish, and with it the removal of one that is done.
func fileStore(dir string, o filestore.Options) (func([]byte) error, func() error, error) {
	s, err := filestore.Open(dir, o)
	if err != nil {
		return nil, nil, err
	}
	var last atomic.Uint64
	return func(packet []byte) error {
		id := last.Add(1)
		changes := []mqtt5.StoreChange{
			{Action: mqtt5.StoreAppend, Record: mqtt5.StoreRecord{Kind: mqtt5.RecordPublish, ID: id, Body: packet}},
			{Action: mqtt5.StoreRemove, Record: mqtt5.StoreRecord{Kind: mqtt5.RecordPublish, ID: id - 1000}},
		}
		_, err := s.Commit(changes[:1+min(1, id/1001)])
		return err
	}, s.Close, nil
}

// paho puts the publish into the queue, which does not sync, and moves it to the
// session, which does, as autopaho does when it sends it. Before that, nothing
// of it need be on the disk.
func paho(dir string) (func([]byte) error, func() error, error) {
	q, err := queue.New(dir, "queue", ".msg")
	if err != nil {
		return nil, nil, err
	}
	s, err := session.New(dir, "session", ".msg")
	if err != nil {
		return nil, nil, err
	}
	const publishType = 3
	var id atomic.Uint32
	var one sync.Mutex // autopaho has one goroutine that takes from the queue
	return func(packet []byte) error {
		if err := q.Enqueue(bytes.NewReader(packet)); err != nil {
			return err
		}
		one.Lock()
		defer one.Unlock()
		entry, err := q.Peek()
		if err != nil {
			return err
		}
		r, err := entry.Reader()
		if err != nil {
			return err
		}
		var b bytes.Buffer
		if _, err := b.ReadFrom(r); err != nil {
			return err
		}
		n := uint16(id.Add(1)%60000 + 1)
		if err := s.Put(n, publishType, &b); err != nil {
			return err
		}
		if err := entry.Remove(); err != nil {
			return err
		}
		return s.Delete(n) // the acknowledgement
	}, func() error { return nil }, nil
}
