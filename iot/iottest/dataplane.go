// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
)

// The data plane over HTTPS: what AWS IoT Core serves beside MQTT on the
// endpoint of an account, to whoever has a client certificate, a signature or
// the token of a custom authorizer.

// dataRequest is an authenticated request.
type dataRequest struct {
	*http.Request
	body      []byte
	principal *principal
	tr        *transport
	args      []string // what stands for '*' in the path of the route
}

// dataError is the refusal of a request.
type dataError struct {
	status  int
	kind    string // header x-amzn-ErrorType; that of the status when empty
	message string
	body    any   // instead of the message, when not nil
	cause   error // for the event, when not nil
}

func (e *dataError) Error() string { return "iottest: " + e.message }

var errorKinds = map[int]string{
	http.StatusBadRequest: "InvalidRequestException", http.StatusUnauthorized: "UnauthorizedException",
	http.StatusForbidden: "ForbiddenException", http.StatusNotFound: "ResourceNotFoundException",
	http.StatusMethodNotAllowed: "MethodNotAllowedException", http.StatusConflict: "ConflictException",
	http.StatusRequestEntityTooLarge: "RequestEntityTooLargeException", http.StatusGone: "TerminalStateException",
	http.StatusUnsupportedMediaType: "UnsupportedDocumentEncodingException",
	http.StatusServiceUnavailable:   "ServiceUnavailableException",
	http.StatusTooManyRequests:      "ThrottlingException", http.StatusInternalServerError: "InternalFailureException",
}

func badRequest(format string, args ...any) *dataError {
	return &dataError{status: http.StatusBadRequest, message: fmt.Sprintf(format, args...)}
}

// dataHandler answers a request with a value for JSON; nil is an empty body.
type dataHandler func(c *Core, r *dataRequest) (any, *dataError)

// dataRoute is an operation of the data plane. In its path '*' stands for one
// segment, and for all that follow at the end of "/topics/*" and the like.
type dataRoute struct {
	method, path string
	service      string // in the scope of signatures
	handle       dataHandler
}

// match returns what stands for each '*'.
func (d *dataRoute) match(path string) (args []string, ok bool) {
	pattern := d.path
	for {
		before, after, more := strings.Cut(pattern, "*")
		rest, found := strings.CutPrefix(path, before)
		switch {
		case !found:
			return nil, false
		case !more:
			return args, rest == ""
		case after == "":
			return append(args, rest), len(args) == 0 || rest != "" && !strings.Contains(rest, "/")
		}
		segment, _, _ := strings.Cut(rest, "/")
		if segment == "" {
			return nil, false
		}
		args, pattern, path = append(args, segment), after, rest[len(segment):]
	}
}

// dataRoutes are looked through in order; of those with the path of a request
// the first with its method serves it.
var dataRoutes = []dataRoute{
	{http.MethodPost, "/topics/*", "iotdata", (*Core).dataPublish},
	{http.MethodGet, "/retainedMessage/*", "iotdata", (*Core).dataGetRetained},
	{http.MethodGet, "/retainedMessage", "iotdata", (*Core).dataListRetained},
	{http.MethodDelete, "/connections/*", "iotdata", (*Core).dataDeleteConnection},
	{http.MethodGet, "/things/*/shadow", "iotdata", (*Core).dataGetShadow},
	{http.MethodPost, "/things/*/shadow", "iotdata", (*Core).dataUpdateShadow},
	{http.MethodDelete, "/things/*/shadow", "iotdata", (*Core).dataDeleteShadow},
	{http.MethodGet, "/api/things/shadow/ListNamedShadowsForThing/*", "iotdata", (*Core).dataListShadows},
	{http.MethodGet, "/things/*/jobs", jobsScope, (*Core).dataPendingJobs},
	{http.MethodPut, "/things/*/jobs/$next", jobsScope, (*Core).dataStartNextJob},
	{http.MethodGet, "/things/*/jobs/*", jobsScope, (*Core).dataDescribeJob},
	{http.MethodPost, "/things/*/jobs/*", jobsScope, (*Core).dataUpdateJob},
}

// jobsScope is the name of the jobs data plane in the scope of signatures.
const jobsScope = "iot-jobs-data"

// serveData serves a request to the data plane; it reports false when the path
// is none of its.
func (c *Core) serveData(w http.ResponseWriter, r *http.Request, tr *transport) bool {
	known := false
	for _, route := range dataRoutes {
		args, ok := route.match(r.URL.Path)
		if !ok {
			continue
		}
		known = true
		if r.Method == route.method {
			c.serveRoute(w, r, tr, &route, args)
			return true
		}
	}
	if known {
		c.refuseHTTP(w, tr, http.StatusMethodNotAllowed, fmt.Errorf("iottest: %s is not a method of %s", r.Method, r.URL.Path))
	}
	return known
}

func (c *Core) serveRoute(w http.ResponseWriter, r *http.Request, tr *transport, route *dataRoute, args []string) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(c.quotas.MaxPacketBytes)))
	if err != nil {
		var large *http.MaxBytesError
		status := http.StatusBadRequest
		if errors.As(err, &large) {
			status = http.StatusRequestEntityTooLarge
		}
		c.refuseHTTP(w, tr, status, fmt.Errorf("iottest: body: %w", err))
		return
	}
	p, err := c.authenticateHTTP(r, tr, body, route.service)
	if err != nil {
		c.refuseHTTP(w, tr, http.StatusForbidden, err)
		return
	}
	answer, refused := route.handle(c, &dataRequest{Request: r, body: body, principal: p, tr: tr, args: args})
	if refused != nil {
		c.refuseData(w, tr, refused)
		return
	}
	if raw, ok := answer.([]byte); ok {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(raw)
		return
	}
	if answer == nil {
		answer = struct{}{}
	}
	writeJSON(w, "application/json", http.StatusOK, answer)
}

// authenticateHTTP finds the principal of a request: by signature, by client
// certificate, or by custom authorizer.
func (c *Core) authenticateHTTP(r *http.Request, tr *transport, body []byte, service string) (*principal, error) {
	ip, _, _ := net.SplitHostPort(r.RemoteAddr)
	var p *principal
	var err error
	fields := upgradeFields(r)
	custom := tr.alpn != ALPNHTTPCA && c.hasAuthorizers() &&
		(fields.name != "" || fields.signature != "" || c.tokenIn(fields) || tr.peer == nil)
	switch {
	case signed(r):
		hash := hexSHA256(body)
		if h := r.Header.Get("X-Amz-Content-Sha256"); h == "UNSIGNED-PAYLOAD" {
			hash = h
		}
		var key *AccessKey
		if key, err = c.verifySignature(r, service, hash); err == nil {
			p = &principal{kind: "sigv4", policies: key.policies, accessKeyID: key.AccessKeyID}
		}
	case custom:
		p, err = c.invoke(tr, fields, nil)
	case tr.peer != nil:
		p, err = c.authenticateX509(tr)
	default:
		err = ErrUnsigned
	}
	if err != nil {
		return nil, err
	}
	p.sourceIP = ip
	return p, nil
}

func signed(r *http.Request) bool {
	return r.URL.Query().Has("X-Amz-Algorithm") || strings.HasPrefix(r.Header.Get("Authorization"), signingAlgorithm)
}

// may checks a policy for a request.
func (c *Core) may(r *dataRequest, action, resource string) *dataError {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.principal.allowed(c, "", action, resource) {
		return nil
	}
	return &dataError{status: http.StatusForbidden, message: action + " is not allowed on " + resource}
}

// dataPublish is POST /topics/{topic}.
func (c *Core) dataPublish(r *dataRequest) (any, *dataError) {
	m, err := httpMessage(r)
	if err != nil {
		return nil, badRequest("%v", err)
	}
	cl := &client{core: c, id: r.tr.raw.id, raw: r.tr.raw, tr: r.tr, principal: r.principal, session: &session{core: c}}
	c.mu.Lock()
	defer c.mu.Unlock()
	refused, _ := cl.mayPublish(m)
	if refused == nil {
		c.emit(Event{Type: Published, Conn: cl.id, Message: m})
		c.route(m, nil)
		c.callService(m, nil)
		return map[string]string{"message": "OK", "traceId": uuid()}, nil
	}
	c.emit(Event{Type: PublishRefused, Conn: cl.id, Message: m, Reason: refused.code, Err: refused})
	status := http.StatusBadRequest
	switch refused.code {
	case NotAuthorized:
		status = http.StatusForbidden
	case QuotaExceeded:
		status = http.StatusRequestEntityTooLarge
	}
	return nil, &dataError{status: status, message: refused.Error()}
}

// httpMessage builds the message of a publish over HTTPS. The fields of MQTT 5
// are in the query or in headers.
func httpMessage(r *dataRequest) (*Message, error) {
	query := r.URL.Query()
	field := func(name, header string) string {
		if query.Has(name) {
			return query.Get(name)
		}
		return r.Header.Get("x-amz-mqtt5-" + header)
	}
	m := &Message{Topic: r.args[0], Payload: r.body,
		ContentType: field("contentType", "content-type"), ResponseTopic: field("responseTopic", "response-topic")}
	if m.Topic == "" || hasWildcard(m.Topic) {
		return nil, errors.New("invalid topic")
	}
	if m.ResponseTopic != "" && hasWildcard(m.ResponseTopic) {
		return nil, errors.New("responseTopic has a wildcard")
	}
	switch query.Get("qos") {
	case "", "0":
	case "1":
		m.QoS = 1
	default:
		return nil, errors.New("qos must be 0 or 1")
	}
	var err error
	if s := query.Get("retain"); s != "" {
		if m.Retain, err = strconv.ParseBool(s); err != nil {
			return nil, errors.New("retain must be true or false")
		}
	}
	if s := field("messageExpiry", "message-expiry"); s != "" {
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil {
			return nil, errors.New("messageExpiry must be a number of seconds")
		}
		m.Expiry = seconds(n)
	}
	switch s := field("payloadFormatIndicator", "payload-format-indicator"); s {
	case "", "UNSPECIFIED_BYTES":
	case "UTF8_DATA":
		m.PayloadIsUTF8 = true
	default:
		return nil, errors.New("payload format indicator must be UNSPECIFIED_BYTES or UTF8_DATA")
	}
	if s := field("correlationData", "correlation-data"); s != "" {
		if m.CorrelationData, err = base64.StdEncoding.DecodeString(s); err != nil {
			return nil, errors.New("correlation data is not base64")
		}
	}
	m.UserProperties, err = httpUserProperties(field("userProperties", "user-properties"))
	return m, err
}
