// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// session is an open session of the library.
type session struct {
	handle uint
	// epoch is that of the module in which the session was opened.
	epoch uint64
	// generation is that of the pool.
	generation uint64
	// info and shared are those of the token that it was opened on.
	info   *TokenInfo
	shared *tokenState
}

// pool keeps a bounded number of sessions. Who waits for one is served in the
// order of arrival.
type pool struct {
	open  func(ctx context.Context, generation uint64) (session, error)
	shut  func(session)
	limit int

	// mu guards what follows. It is never held during a call into the library.
	mu sync.Mutex
	// count is the number of sessions that are open or being opened, and equals
	// inUse + len(idle).
	count, inUse int
	// idle is used from its end, so that sessions that are not needed stay at rest.
	idle    []session
	waiters []chan grant
	// generation counts how often everything was dropped; sessions of another
	// one are not used again.
	generation uint64
	closed     bool
	// drained is called once when the pool is closed and its last session gone.
	drained func()
}

// grant is what a waiter gets.
type grant struct {
	// session is the session to use, if ok.
	session session
	ok      bool
	// closed says that the pool was closed. Without ok and closed, the waiter
	// may open a session, which is counted already.
	closed bool
	// generation is that of the pool at the time.
	generation uint64
}

func (p *pool) init(limit int, open func(context.Context, uint64) (session, error), shut func(session)) {
	p.limit, p.open, p.shut, p.generation = limit, open, shut, 1
}

func (p *pool) currentGeneration() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.generation
}

func (p *pool) stats() SessionStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return SessionStats{Open: p.count, InUse: p.inUse, Waiting: len(p.waiters), Limit: p.limit}
}

// errOthers reports that the token has no session left, and that this pool has others.
var errOthers = errors.New("the token has no session left but those that are open")

// acquire returns a session to be given back with release. When the context
// ends, acquire returns; a session that is being opened then serves the next
// caller.
func (p *pool) acquire(ctx context.Context) (session, error) {
	mayOpen := true
	for {
		g, err := p.request(ctx, mayOpen)
		if err != nil {
			return session{}, err
		}
		if g.ok {
			return g.session, nil
		}
		s, err := await(ctx, func() (session, error) { return p.openOne(ctx, g.generation) }, func(s session, err error) {
			if err == nil {
				p.release(s, true)
			}
		})
		if !errors.Is(err, errOthers) {
			return s, err
		}
		// The token has fewer sessions than the limit: wait for one of those in use.
		mayOpen = false
	}
}

// openOne opens a session with the right to do so, and gives the right back if
// that fails.
func (p *pool) openOne(ctx context.Context, generation uint64) (session, error) {
	s, err := p.open(ctx, generation)
	switch {
	case err == nil:
		return s, nil
	case !hasCode(err, rvSessionCount):
		p.failedToOpen()
	case p.noneLeft():
		err = errOthers
	}
	return session{}, err
}

// request returns a session, or the right to open one unless mayOpen is false
// and others are in use.
func (p *pool) request(ctx context.Context, mayOpen bool) (grant, error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return grant{}, ErrClosed
	}
	if n := len(p.idle); n > 0 {
		s := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.inUse++
		p.mu.Unlock()
		return grant{session: s, ok: true}, nil
	}
	if p.count < p.limit && (mayOpen || p.count == 0) {
		p.count++
		p.inUse++
		g := grant{generation: p.generation}
		p.mu.Unlock()
		return g, nil
	}
	w := make(chan grant, 1)
	p.waiters = append(p.waiters, w)
	p.mu.Unlock()

	select {
	case g := <-w:
		if g.closed {
			return grant{}, ErrClosed
		}
		return g, nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	if i := slices.Index(p.waiters, w); i >= 0 {
		p.waiters = slices.Delete(p.waiters, i, i+1)
		p.mu.Unlock()
		return grant{}, context.Cause(ctx)
	}
	p.mu.Unlock()
	// It was granted at the same moment: pass it on.
	switch g := <-w; {
	case g.ok:
		p.release(g.session, true)
	case !g.closed:
		p.failedToOpen()
	}
	return grant{}, context.Cause(ctx)
}

// failedToOpen returns the right to open a session, so that the first waiter may try.
func (p *pool) failedToOpen() {
	p.mu.Lock()
	done := p.drop()
	p.mu.Unlock()
	done()
}

// noneLeft returns the right to open a session when the token has none left,
// and reports whether others are in use or at rest. While there are, no waiter
// may try, because it would fail in the same way and so on in a circle.
func (p *pool) noneLeft() (others bool) {
	p.mu.Lock()
	if p.count > 1 {
		p.inUse--
		p.count--
		p.mu.Unlock()
		return true
	}
	done := p.drop()
	p.mu.Unlock()
	done()
	return false
}

// release gives a session back. One that is not healthy is closed.
func (p *pool) release(s session, healthy bool) {
	p.mu.Lock()
	// A closed pool has another generation, too.
	if healthy && s.generation == p.generation {
		if len(p.waiters) > 0 {
			p.next() <- grant{session: s, ok: true}
		} else {
			p.inUse--
			p.idle = append(p.idle, s)
		}
		p.mu.Unlock()
		return
	}
	p.mu.Unlock()
	p.shut(s)
	p.failedToOpen()
}

// drop uncounts a session in use and lets the first waiter open another. The
// result is to be called without the lock.
func (p *pool) drop() (done func()) {
	p.inUse--
	p.count--
	if len(p.waiters) > 0 {
		p.inUse++
		p.count++
		p.next() <- grant{generation: p.generation}
	}
	return p.finished()
}

// finished returns the function to call when the last session of a closed pool is gone.
func (p *pool) finished() func() {
	if p.closed && p.count == 0 && p.drained != nil {
		f := p.drained
		p.drained = nil
		return f
	}
	return func() {}
}

// next takes the first waiter.
func (p *pool) next() chan grant {
	w := p.waiters[0]
	p.waiters = slices.Delete(p.waiters, 0, 1)
	return w
}

// reset drops all sessions of a generation, unless somebody else has done so.
func (p *pool) reset(generation uint64) {
	p.mu.Lock()
	if p.generation != generation {
		p.mu.Unlock()
		return
	}
	p.generation++
	idle := p.takeIdle()
	p.mu.Unlock()
	for _, s := range idle {
		p.shut(s)
	}
}

// takeIdle uncounts the sessions at rest. There are no waiters while there are any.
func (p *pool) takeIdle() []session {
	idle := p.idle
	p.idle = nil
	p.count -= len(idle)
	return idle
}

// close closes the sessions at rest, and lets the others be closed when they
// are given back. It calls drained after the last one.
func (p *pool) close(drained func()) {
	p.mu.Lock()
	p.closed = true
	p.generation++
	for len(p.waiters) > 0 {
		p.next() <- grant{closed: true}
	}
	idle := p.takeIdle()
	p.drained = drained
	// Sessions at rest are closed before drained is called, also if one in use
	// is given back meanwhile.
	p.count++
	p.mu.Unlock()
	for _, s := range idle {
		p.shut(s)
	}
	p.mu.Lock()
	p.count--
	done := p.finished()
	p.mu.Unlock()
	done()
}
