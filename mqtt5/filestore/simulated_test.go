// SPDX-License-Identifier: Apache-2.0

package filestore

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"syscall"
)

// disk is a fileSystem in memory that a crash treats as badly as a real one may
// be treated: of what was not synced, each write is kept, lost or torn by
// sectors, each truncation and each name is kept or lost, in any combination.
type disk struct {
	random  *rand.Rand
	names   map[string]*inode // what programs see
	durable map[string]*inode // what is on the disk
	dirOps  []dirOp           // not synced
	locked  bool

	crashIn   int // operations until the machine stops; 0: never
	crashed   bool
	failWrite error // the next write fails, after a part of it
	failSync  error // the next sync fails
	failSpace error // allocations fail
}

type dirOp struct {
	name string
	node *inode // nil: removed
}

type inode struct {
	now     []byte
	durable []byte
	ops     []fileOp // not synced
}

// fileOp is a write, or a truncation if data is nil.
type fileOp struct {
	at   int64
	data []byte
}

const sector = 512

var errCrashed = errors.New("the machine has stopped")

func newDisk(random *rand.Rand) *disk {
	return &disk{random: random, names: map[string]*inode{}, durable: map[string]*inode{}}
}

// step counts an operation that may be the last one.
func (d *disk) step() error {
	if d.crashed {
		return errCrashed
	}
	if d.crashIn > 0 {
		d.crashIn--
		d.crashed = d.crashIn == 0
	}
	return nil
}

// crash restarts the machine with what was on the disk.
func (d *disk) crash() {
	for _, op := range d.dirOps {
		if d.random.IntN(2) == 0 {
			continue
		}
		if op.node == nil {
			delete(d.durable, op.name)
		} else {
			d.durable[op.name] = op.node
		}
	}
	for _, n := range d.durable {
		for _, op := range n.ops {
			d.settle(n, op)
		}
		n.ops = nil
		n.now = slices.Clone(n.durable)
	}
	d.dirOps = nil
	d.names = map[string]*inode{}
	for name, n := range d.durable {
		d.names[name] = n
	}
	d.locked, d.crashed, d.crashIn = false, false, 0
	d.failWrite, d.failSync, d.failSpace = nil, nil, nil
}

// settle decides the outcome of an operation that was not synced.
func (d *disk) settle(n *inode, op fileOp) {
	fate := d.random.IntN(3)
	switch {
	case fate == 0: // lost
	case op.data == nil || fate == 1:
		n.durable = applyOp(n.durable, op)
	default: // torn
		for at := op.at; at < op.at+int64(len(op.data)); {
			end := min((at/sector+1)*sector, op.at+int64(len(op.data)))
			part := slices.Clone(op.data[at-op.at : end-op.at])
			switch d.random.IntN(8) {
			case 0, 1, 2, 3:
				n.durable = applyOp(n.durable, fileOp{at, part})
			case 4: // a sector that was being written
				for i := range part {
					part[i] = byte(d.random.Uint32())
				}
				n.durable = applyOp(n.durable, fileOp{at, part})
			}
			at = end
		}
	}
}

func applyOp(b []byte, op fileOp) []byte {
	if op.data == nil {
		return resize(b, op.at)
	}
	if end := op.at + int64(len(op.data)); end > int64(len(b)) {
		b = resize(b, end)
	}
	copy(b[op.at:], op.data)
	return b
}

func resize(b []byte, size int64) []byte {
	if size <= int64(len(b)) {
		return b[:size:size]
	}
	return append(b, make([]byte, size-int64(len(b)))...)
}

type unlock struct{ d *disk }

func (u unlock) Close() error { u.d.locked = false; return nil }

func (d *disk) Lock() (io.Closer, error) {
	if d.locked {
		return nil, errLocked
	}
	d.locked = true
	return unlock{d}, nil
}

func (d *disk) List() ([]string, error) {
	if err := d.step(); err != nil {
		return nil, err
	}
	var names []string
	for name := range d.names {
		names = append(names, name)
	}
	return names, nil
}

func (d *disk) Create(name string) (file, error) {
	if err := d.step(); err != nil {
		return nil, err
	}
	if d.names[name] != nil {
		return nil, os.ErrExist
	}
	n := new(inode)
	d.names[name] = n
	d.dirOps = append(d.dirOps, dirOp{name, n})
	return &simFile{d, n}, nil
}

func (d *disk) Open(name string) (file, error) {
	if d.crashed {
		return nil, errCrashed
	}
	n := d.names[name]
	if n == nil {
		return nil, os.ErrNotExist
	}
	return &simFile{d, n}, nil
}

func (d *disk) Remove(name string) error {
	if err := d.step(); err != nil {
		return err
	}
	if d.names[name] == nil {
		return os.ErrNotExist
	}
	delete(d.names, name)
	d.dirOps = append(d.dirOps, dirOp{name, nil})
	return nil
}

func (d *disk) SyncDirectory() error {
	if err := d.step(); err != nil {
		return err
	}
	for _, op := range d.dirOps {
		if op.node == nil {
			delete(d.durable, op.name)
		} else {
			d.durable[op.name] = op.node
		}
	}
	d.dirOps = nil
	return nil
}

type simFile struct {
	d *disk
	n *inode
}

func (f *simFile) ReadAt(p []byte, at int64) (int, error) {
	if f.d.crashed {
		return 0, errCrashed
	}
	if at >= int64(len(f.n.now)) {
		return 0, io.EOF
	}
	n := copy(p, f.n.now[at:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *simFile) do(op fileOp) {
	f.n.now = applyOp(f.n.now, op)
	f.n.ops = append(f.n.ops, op)
}

func (f *simFile) WriteAt(p []byte, at int64) (int, error) {
	if err := f.d.step(); err != nil {
		return 0, err
	}
	p = slices.Clone(p)
	if err := f.d.failWrite; err != nil {
		f.d.failWrite = nil
		n := f.d.random.IntN(len(p) + 1)
		f.do(fileOp{at, p[:n:n]})
		return n, err
	}
	f.do(fileOp{at, p})
	return len(p), nil
}

func (f *simFile) Close() error { return nil }

func (f *simFile) Size() (int64, error) { return int64(len(f.n.now)), nil }

func (f *simFile) Truncate(size int64) error {
	if err := f.d.step(); err != nil {
		return err
	}
	f.do(fileOp{at: size})
	return nil
}

func (f *simFile) Allocate(size int64) error {
	if err := f.d.step(); err != nil {
		return err
	}
	if err := f.d.failSpace; err != nil {
		return err
	}
	if size > int64(len(f.n.now)) {
		f.do(fileOp{at: size})
	}
	return nil
}

func (f *simFile) Sync() error {
	if err := f.d.step(); err != nil {
		return err
	}
	if err := f.d.failSync; err != nil {
		f.d.failSync = nil
		return err
	}
	for _, op := range f.n.ops {
		f.n.durable = applyOp(f.n.durable, op)
	}
	f.n.ops = nil
	return nil
}

var errNoSpace = &os.PathError{Op: "write", Path: "file", Err: syscall.ENOSPC}
