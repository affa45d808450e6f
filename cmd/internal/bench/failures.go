// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"strings"
	"sync"
)

// failures counts errors and remembers the first few texts.
type failures struct {
	mu    sync.Mutex
	n     int64
	cause error // the first one
	texts []string
	times map[string]int64
}

// mostTexts is how many texts are remembered.
const mostTexts = 5

// add returns how many there are now.
func (f *failures) add(err error) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.n == 0 {
		f.cause, f.times = err, map[string]int64{}
	}
	f.n++
	text := strings.ReplaceAll(err.Error(), "\n", "; ")
	if f.times[text] == 0 && len(f.texts) == mostTexts {
		return f.n
	}
	if f.times[text]++; f.times[text] == 1 {
		f.texts = append(f.texts, text)
	}
	return f.n
}

func (f *failures) count() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.n
}

func (f *failures) first() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cause
}

// each calls do with the texts, and how often each came.
func (f *failures) each(do func(text string, times int64)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, t := range f.texts {
		do(t, f.times[t])
	}
}
