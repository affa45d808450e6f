// SPDX-License-Identifier: Apache-2.0

package jobs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/internal/atomicfile"
)

// Download describes a file to fetch, usually by a presigned URL of a job
// document.
type Download struct {
	// URL is the address, with the scheme https. Required. It never appears in
	// errors.
	URL string
	// Path is the name of the file. Required. It appears when all of its content
	// is there and its hash is right; until then the content is in Path.part,
	// from where an interrupted download goes on.
	Path string
	// SHA256 is the hash of the content in hexadecimal digits. Required.
	SHA256 string
	// Refresh returns a new URL when the server refuses the old one, whose
	// signature may have expired, for instance with [Job.Refresh]. Nil: such a
	// refusal is final.
	Refresh func(ctx context.Context) (string, error)
	// MaxBytes is the largest size that is accepted. 0: 1 GiB.
	MaxBytes int64
	// Attempts is after how many attempts in a row that brought no further byte
	// the download fails. 0: 5.
	Attempts int
	// Mode is the mode of the file. 0: 0600.
	Mode os.FileMode
	// Client sends the requests. Nil: [http.DefaultClient].
	Client *http.Client
	// AllowHTTP accepts the scheme http, too: the hash protects the content.
	AllowHTTP bool
}

const (
	defaultMaxBytes = 1 << 30
	defaultAttempts = 5
	defaultMode     = 0o600
)

// Fetch downloads a file and verifies its hash. Lost connections are resumed
// where they broke. It fails with [ErrInvalidArgument], [ErrHash], [ErrDownload],
// and errors of the file system. If ctx ends, the error matches [ErrDownload] and
// the cause of the context, and Path.part keeps what was received.
func Fetch(ctx context.Context, d Download) error {
	want, err := d.check()
	if err != nil {
		return err
	}
	part := d.Path + ".part"
	f, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	t := &transfer{Download: d, file: f, hash: sha256.New()}
	err = t.fetch(ctx, want)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if errors.Is(err, ErrHash) {
		err = errors.Join(err, os.Remove(part))
	}
	if err != nil {
		return err
	}
	if err := os.Chmod(part, d.Mode); err != nil {
		return err
	}
	if err := os.Rename(part, d.Path); err != nil {
		return err
	}
	return atomicfile.SyncDir(filepath.Dir(d.Path))
}

func (d *Download) check() (want []byte, err error) {
	if d.MaxBytes == 0 {
		d.MaxBytes = defaultMaxBytes
	}
	d.MaxBytes = min(d.MaxBytes, math.MaxInt64-1) // one more byte is read
	if d.Attempts == 0 {
		d.Attempts = defaultAttempts
	}
	if d.Mode == 0 {
		d.Mode = defaultMode
	}
	if d.Client == nil {
		d.Client = http.DefaultClient
	}
	want, err = hex.DecodeString(d.SHA256)
	switch {
	case err != nil || len(want) != sha256.Size:
		return nil, fmt.Errorf("%w: Download.SHA256 is not 64 hexadecimal digits", ErrInvalidArgument)
	case d.Path == "":
		return nil, fmt.Errorf("%w: Download.Path is empty", ErrInvalidArgument)
	case d.MaxBytes < 0 || d.Attempts < 0:
		return nil, fmt.Errorf("%w: negative limit of a download", ErrInvalidArgument)
	}
	return want, d.checkURL(d.URL)
}

func (d *Download) checkURL(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "https" && !(d.AllowHTTP && u.Scheme == "http") {
		return fmt.Errorf("%w: Download.URL is not an https URL", ErrInvalidArgument) // without the URL
	}
	return nil
}

// transfer is a download under way.
type transfer struct {
	Download
	file *os.File
	hash hash.Hash
	have int64
}

// errRefused is a status that a new URL may change.
var errRefused = errors.New("refused")

// finalError ends the attempts.
type finalError struct{ error }

// fetch gets the content and verifies it.
func (t *transfer) fetch(ctx context.Context, want []byte) error {
	old, err := io.Copy(t.hash, t.file) // what an earlier process fetched
	if err != nil {
		return err
	}
	t.have = old
	err = t.run(ctx)
	if err == nil && old > 0 && !bytes.Equal(t.hash.Sum(nil), want) {
		// It was part of something else.
		if err = t.restart(); err == nil {
			err = t.run(ctx)
		}
	}
	if sum := t.hash.Sum(nil); err == nil && !bytes.Equal(sum, want) {
		err = fmt.Errorf("%w: SHA-256 %x, want %x", ErrHash, sum, want)
	}
	return err
}

// run makes attempts until all of the content is there.
func (t *transfer) run(ctx context.Context) error {
	refreshed := false
	most := t.have
	for failures := 0; ; {
		err := t.attempt(ctx)
		progress := t.have > most
		most = max(most, t.have)
		var final finalError
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("%w: %w", ErrDownload, context.Cause(ctx))
		case err == nil:
			return nil
		case errors.As(err, &final):
			return fmt.Errorf("%w: %w", ErrDownload, final.error)
		case errors.Is(err, errRefused):
			if t.Refresh == nil || refreshed && !progress {
				return fmt.Errorf("%w: %w", ErrDownload, err)
			}
			if t.URL, err = t.Refresh(ctx); err != nil {
				if ctx.Err() != nil {
					err = context.Cause(ctx)
				}
				return fmt.Errorf("%w: new URL: %w", ErrDownload, err)
			}
			if err := t.checkURL(t.URL); err != nil {
				return err
			}
			refreshed = true
			continue
		}
		failures++
		if progress {
			failures, refreshed = 0, false
		}
		if failures >= t.Attempts {
			return fmt.Errorf("%w: %w", ErrDownload, err)
		}
		wait := time.NewTimer(backoff(max(1, failures)))
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
		}
	}
}

// attempt fetches the rest of the file.
func (t *transfer) attempt(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.URL, nil)
	if err != nil {
		return finalError{errors.New("the URL is not valid")}
	}
	// A transport that asks for gzip by itself would decompress the content.
	req.Header.Set("Accept-Encoding", "identity")
	if t.have > 0 {
		req.Header.Set("Range", "bytes="+strconv.FormatInt(t.have, 10)+"-")
	}
	res, err := t.Client.Do(req)
	if err != nil {
		var with *url.Error // quotes the URL
		if errors.As(err, &with) {
			err = with.Err
		}
		return err
	}
	defer res.Body.Close()
	if err := ctx.Err(); err != nil {
		// A server that notices the cancellation may end its response early,
		// and net/http may return that response.
		return err
	}
	switch code := res.StatusCode; {
	case code == http.StatusOK:
		if err := t.restart(); err != nil {
			return finalError{err}
		}
	case code == http.StatusPartialContent && strings.HasPrefix(res.Header.Get("Content-Range"), "bytes "+strconv.FormatInt(t.have, 10)+"-"):
	case code == http.StatusRequestedRangeNotSatisfiable && t.have > 0:
		return nil // there is no more
	case code == http.StatusForbidden || code == http.StatusUnauthorized || code == http.StatusBadRequest:
		return fmt.Errorf("%w: %s", errRefused, res.Status)
	case code >= 500 || code == http.StatusTooManyRequests || code == http.StatusRequestTimeout:
		return errors.New(res.Status)
	default:
		return finalError{errors.New(res.Status)}
	}
	n, err := io.Copy(io.MultiWriter(t.file, t.hash), io.LimitReader(res.Body, t.MaxBytes-t.have+1))
	t.have += n
	if t.have > t.MaxBytes {
		return finalError{errors.Join(fmt.Errorf("larger than %d bytes", t.MaxBytes), t.restart())}
	}
	var path *os.PathError
	if errors.As(err, &path) {
		return finalError{err}
	}
	return err
}

// restart drops the contents.
func (t *transfer) restart() error {
	t.hash.Reset()
	t.have = 0
	_, err := t.file.Seek(0, io.SeekStart)
	return errors.Join(t.file.Truncate(0), err)
}
