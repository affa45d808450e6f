// SPDX-License-Identifier: Apache-2.0

package desk

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
)

//go:embed console.html
var consolePage []byte

// Control is the control API of a core and its console, an [http.Handler].
// Serve it on loopback addresses only.
type Control struct {
	core *iottest.Core
	feed *Feed
	mux  *http.ServeMux
}

// NewControl makes the control API of a core. feed has to be what the core's
// OnEvent calls.
func NewControl(core *iottest.Core, feed *Feed) *Control {
	c := &Control{core: core, feed: feed, mux: http.NewServeMux()}
	c.mux.HandleFunc("GET /{$}", c.console)
	c.mux.HandleFunc("GET /v1/events", c.events)
	c.routes()
	return c
}

// maxBody bounds the body of a request: a payload in base64, and room.
const maxBody = 1 << 20

// ServeHTTP implements [http.Handler].
func (c *Control) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	if status, err := checkRequest(r); err != nil {
		writeError(w, status, err)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	c.mux.ServeHTTP(w, r)
}

// checkRequest refuses what a page of another origin could make a browser send:
// names of other hosts that resolve to this machine, foreign origins, and
// changes that need no preflight request.
func checkRequest(r *http.Request) (status int, err error) {
	if !loopback(r.Host) {
		return http.StatusForbidden, fmt.Errorf("the host %q is not an address of the loopback interface", r.Host)
	}
	if origin := r.Header.Get("Origin"); origin != "" {
		u, err := url.Parse(origin)
		if err != nil || u.Scheme != "http" || u.Host != r.Host {
			return http.StatusForbidden, fmt.Errorf("requests of the origin %q are not allowed", origin)
		}
	}
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
		return http.StatusForbidden, errors.New("requests of other sites are not allowed")
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		return 0, nil
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return http.StatusUnsupportedMediaType, errors.New("requests that change something need the header Content-Type: application/json")
	}
	return 0, nil
}

// loopback reports whether a host, with or without a port, is on this machine.
func loopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (c *Control) console(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'")
	_, _ = w.Write(consolePage)
}

// problem is an error of the one who sent a request.
type problem struct {
	status int
	text   string
}

func (p *problem) Error() string { return p.text }

func bad(format string, args ...any) error {
	return &problem{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

func notFound(format string, args ...any) error {
	return &problem{http.StatusNotFound, fmt.Sprintf(format, args...)}
}

// handle registers a function that answers with a value for JSON.
func (c *Control) handle(pattern string, f func(r *http.Request) (any, error)) {
	c.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		v, err := f(r)
		if err != nil {
			status := http.StatusBadRequest
			var p *problem
			var s *iottest.ServiceError
			switch {
			case errors.As(err, &p):
				status = p.status
			case errors.As(err, &s) && s.Status >= 400:
				status = s.Status
			}
			writeError(w, status, err)
			return
		}
		if raw, ok := v.([]byte); ok {
			v = json.RawMessage(raw)
		}
		if v == nil {
			v = struct{}{}
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	})
}

func writeError(w http.ResponseWriter, status int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": strings.TrimPrefix(err.Error(), "iottest: ")})
}

// decode reads the body into v and refuses fields that are not known.
func decode(r *http.Request, v any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return bad("the body has another form: %v", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return bad("the body has more than one JSON value")
	}
	return nil
}
