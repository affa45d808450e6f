// SPDX-License-Identifier: Apache-2.0

package jobs_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/jobs"
)

// content is large enough for a connection to break in the middle.
var content = strings.Repeat("0123456789abcdef", 1<<14)

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// bucket serves content; each of the functions handles one request before that.
func bucket(t *testing.T, first ...http.HandlerFunc) *httptest.Server {
	t.Helper()
	n := 0
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n++; n <= len(first) {
			first[n-1](w, r)
			return
		}
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(content))
	}))
	t.Cleanup(s.Close)
	return s
}

// half sends half of the content and breaks the connection.
func half(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "262144")
	_, _ = w.Write([]byte(content[:len(content)/2]))
	panic(http.ErrAbortHandler)
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func TestFetch(t *testing.T) {
	const query = "/k?X-Amz-Signature=secret"
	for name, tt := range map[string]struct {
		first []http.HandlerFunc
		part  string // left by an earlier process
		edit  func(*jobs.Download)
		err   error
		text  string
	}{
		"whole":                   {},
		"resumed":                 {first: []http.HandlerFunc{half}},
		"ranges are ignored":      {first: []http.HandlerFunc{half, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(content)) }}},
		"earlier process":         {part: content[:1000]},
		"earlier process had all": {part: content},
		"part of something else":  {part: "something else"},
		"longer than the content": {part: content + "x"},
		"part beyond the limit":   {part: content + "something else", edit: func(d *jobs.Download) { d.MaxBytes = int64(len(content)) }},
		"no limit":                {edit: func(d *jobs.Download) { d.MaxBytes = math.MaxInt64 }},
		"server in trouble":       {first: []http.HandlerFunc{status(503)}},
		"expired":                 {first: []http.HandlerFunc{status(403)}, edit: func(d *jobs.Download) { d.Refresh = func(context.Context) (string, error) { return d.URL, nil } }},
		"token expired":           {first: []http.HandlerFunc{status(400)}, edit: func(d *jobs.Download) { d.Refresh = func(context.Context) (string, error) { return d.URL, nil } }},
		"expired, no new URL":     {first: []http.HandlerFunc{status(403)}, err: jobs.ErrDownload, text: "jobs: download failed: refused: 403 Forbidden"},
		"expired again":           {first: []http.HandlerFunc{status(403), status(403)}, edit: func(d *jobs.Download) { d.Refresh = func(context.Context) (string, error) { return d.URL, nil } }, err: jobs.ErrDownload},
		"no new URL to be had": {first: []http.HandlerFunc{status(403)}, edit: func(d *jobs.Download) {
			d.Refresh = func(context.Context) (string, error) { return "", errors.New("offline") }
		}, err: jobs.ErrDownload, text: "offline"},
		"new URL is none":           {first: []http.HandlerFunc{status(403)}, edit: func(d *jobs.Download) { d.Refresh = func(context.Context) (string, error) { return "ftp://x", nil } }, err: jobs.ErrInvalidArgument},
		"not found":                 {first: []http.HandlerFunc{status(404)}, err: jobs.ErrDownload, text: "404"},
		"other content":             {edit: func(d *jobs.Download) { d.SHA256 = hash("x") }, err: jobs.ErrHash},
		"other content, resumed":    {part: "x", edit: func(d *jobs.Download) { d.SHA256 = hash("x") }, err: jobs.ErrHash},
		"too large":                 {edit: func(d *jobs.Download) { d.MaxBytes = 1000 }, err: jobs.ErrDownload, text: "larger than 1000 bytes"},
		"gives up, further bytes":   {first: []http.HandlerFunc{half, status(500)}, edit: func(d *jobs.Download) { d.Attempts = 1 }, err: jobs.ErrDownload, text: "500"},
		"further bytes":             {first: []http.HandlerFunc{status(500), half, status(500)}, edit: func(d *jobs.Download) { d.Attempts = 2 }},
		"no further bytes":          {first: []http.HandlerFunc{half, bytes(10), bytes(20)}, edit: func(d *jobs.Download) { d.Attempts = 2 }, err: jobs.ErrDownload},
		"no range at the beginning": {first: []http.HandlerFunc{status(416)}, err: jobs.ErrDownload, text: "416"},
		"stored compressed":         {first: []http.HandlerFunc{storedCompressed}, edit: func(d *jobs.Download) { d.Attempts = 1 }},
		"gives up":                  {first: []http.HandlerFunc{status(500), status(500)}, edit: func(d *jobs.Download) { d.Attempts = 1 }, err: jobs.ErrDownload, text: "500"},
		"no hash":                   {edit: func(d *jobs.Download) { d.SHA256 = "" }, err: jobs.ErrInvalidArgument},
		"no path":                   {edit: func(d *jobs.Download) { d.Path = "" }, err: jobs.ErrInvalidArgument},
		"http":                      {edit: func(d *jobs.Download) { d.URL = strings.Replace(d.URL, "https:", "http:", 1) }, err: jobs.ErrInvalidArgument},
		"cannot be reached":         {edit: func(d *jobs.Download) { d.URL = "https://127.0.0.1:1" + query; d.Attempts = 1 }, err: jobs.ErrDownload, text: "refused"},
		"not writable, no such dir": {edit: func(d *jobs.Download) { d.Path += "/x/y" }, err: os.ErrNotExist},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := bucket(t, tt.first...)
			d := jobs.Download{URL: s.URL + query, Path: filepath.Join(t.TempDir(), "file"), SHA256: strings.ToUpper(hash(content)), Client: s.Client(), Mode: 0o640}
			if tt.part != "" {
				if err := os.WriteFile(d.Path+".part", []byte(tt.part), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			path := d.Path
			if tt.edit != nil {
				tt.edit(&d)
			}
			err := jobs.Fetch(context.Background(), d)
			if !errors.Is(err, tt.err) || err != nil && !strings.Contains(err.Error(), tt.text) {
				t.Fatal(err)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the error shows the URL: %v", err)
			}
			got, readErr := os.ReadFile(path)
			if tt.err != nil {
				if !errors.Is(readErr, os.ErrNotExist) {
					t.Errorf("the file is there: %v", readErr)
				}
				return
			}
			info, statErr := os.Stat(path)
			if readErr != nil || string(got) != content || statErr != nil || info.Mode().Perm() != 0o640 {
				t.Errorf("%d bytes, %v, %v", len(got), readErr, statErr)
			}
			if _, err := os.Stat(path + ".part"); !errors.Is(err, os.ErrNotExist) {
				t.Error(err)
			}
		})
	}
}

// bytes sends n bytes from the beginning and breaks the connection.
func bytes(n int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "262144")
		_, _ = w.Write([]byte(content[:n]))
		panic(http.ErrAbortHandler)
	}
}

// storedCompressed sends an object that was uploaded with a content encoding: its
// bytes, whatever the client accepts.
func storedCompressed(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Encoding", "gzip")
	_, _ = w.Write([]byte(content))
}

func TestFetch_defaults(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(content))
	}))
	t.Cleanup(s.Close)
	d := jobs.Download{URL: s.URL, Path: filepath.Join(t.TempDir(), "f"), SHA256: hash(content), AllowHTTP: true}
	if err := os.WriteFile(d.Path+".part", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := jobs.Fetch(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(d.Path); err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info.Mode(), err)
	}
	if err := os.MkdirAll(filepath.Join(d.Path+"2", "taken"), 0o700); err != nil {
		t.Fatal(err)
	}
	d.Path += "2"
	if err := jobs.Fetch(t.Context(), d); err == nil {
		t.Error("a directory was replaced")
	}
}

func TestFetch_canceledWhileRefreshing(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	stop := errors.New("stop")
	s := bucket(t, status(403))
	err := jobs.Fetch(ctx, jobs.Download{
		URL: s.URL, Path: filepath.Join(t.TempDir(), "f"), SHA256: hash(""), Client: s.Client(),
		Refresh: func(ctx context.Context) (string, error) { cancel(stop); return "", ctx.Err() },
	})
	if !errors.Is(err, stop) || !errors.Is(err, jobs.ErrDownload) {
		t.Error(err)
	}
}

func TestFetch_canceled(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	stop := errors.New("stop")
	s := bucket(t, func(w http.ResponseWriter, r *http.Request) { cancel(stop); <-r.Context().Done() })
	err := jobs.Fetch(ctx, jobs.Download{URL: s.URL, Path: filepath.Join(t.TempDir(), "f"), SHA256: hash(""), Client: s.Client()})
	if !errors.Is(err, stop) || !errors.Is(err, jobs.ErrDownload) {
		t.Error(err)
	}
}

// transport answers requests itself.
type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A server that notices the cancellation ends its response early, which looks
// complete if it has no length. What an earlier attempt received is kept, and
// the content is not called wrong.
func TestFetch_canceledServerEndsResponse(t *testing.T) {
	stop := errors.New("stop")
	for name, early := range map[string]bool{"before the header": true, "in the body": false} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(context.Background())
			defer cancel(nil)
			path := filepath.Join(t.TempDir(), "f")
			if err := os.WriteFile(path+".part", []byte(content[:100]), 0o600); err != nil {
				t.Fatal(err)
			}
			client := &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
				res := httptest.NewRecorder()
				if early {
					cancel(stop)
					return res.Result(), nil // 200, as for the whole content
				}
				res.Header().Set("Content-Range", "bytes 100-262143/262144")
				res.WriteHeader(http.StatusPartialContent)
				r2 := res.Result()
				r2.Body = io.NopCloser(io.MultiReader(strings.NewReader(content[100:200]), readerFunc(func([]byte) (int, error) {
					cancel(stop)
					return 0, io.EOF
				})))
				return r2, nil
			})}
			err := jobs.Fetch(ctx, jobs.Download{URL: "https://a.example/f", Path: path, SHA256: hash(content), Client: client})
			if !errors.Is(err, stop) || !errors.Is(err, jobs.ErrDownload) || errors.Is(err, jobs.ErrHash) {
				t.Error(err)
			}
			got, err := os.ReadFile(path + ".part")
			if err != nil || len(got) < 100 || !strings.HasPrefix(content, string(got)) {
				t.Errorf("the part has %d bytes: %v", len(got), err)
			}
		})
	}
}

// readerFunc is a reader that is a function.
type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
