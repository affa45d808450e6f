// SPDX-License-Identifier: Apache-2.0

package mqttotel

import (
	"maps"
	"slices"
	"sync"
)

// series has what belongs to each time series of a metric. It is made when it is
// needed first: most errors never happen, and the garbage collector of a program
// that does little else would look at the memory for all of them many times a
// second. Keys are words of fixed lists, so that their number has a bound.
type series[K comparable, V any] struct {
	make func(K) V

	mu   sync.Mutex // guards made
	made map[K]V
}

func (s *series[K, V]) of(key K) V {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.made[key]
	if !ok {
		if s.made == nil {
			s.made = map[K]V{}
		}
		v = s.make(key)
		s.made[key] = v
	}
	return v
}

// all returns those that were made.
func (s *series[K, V]) all() []V {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.made))
}
