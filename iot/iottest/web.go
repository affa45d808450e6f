// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"errors"
	"net/http"
	"strings"
	"time"
)

// httpIdle is how long an HTTPS connection may stay open between requests.
const httpIdle = 60 * time.Second

// emptyHash is the SHA-256 of nothing.
const emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// serveHTTP is the HTTPS side of the port that stands for 443. It serves
// several hosts; a request that came to localhost is known by its form.
func (c *Core) serveHTTP(w http.ResponseWriter, r *http.Request) {
	tr, ok := r.Context().Value(transportKey{}).(*transport)
	if !ok {
		http.Error(w, "no transport", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Date", c.now().UTC().Format(http.TimeFormat))
	w.Header().Set("x-amzn-RequestId", uuid())
	host := strings.ToLower(r.Host)
	switch {
	case strings.Contains(host, ".credentials.iot."), strings.HasPrefix(r.URL.Path, "/role-aliases/"):
		c.serveRoleAlias(w, r, tr)
		return
	case strings.HasPrefix(host, "cognito-identity."), strings.HasPrefix(r.Header.Get("X-Amz-Target"), "AWSCognitoIdentityService."):
		c.serveCognito(w, r, tr)
		return
	case strings.HasPrefix(host, "sts."), r.Method == http.MethodPost && r.URL.Path == "/":
		c.serveSTS(w, r, tr)
		return
	case strings.HasPrefix(host, "portal.sso."), strings.HasPrefix(r.URL.Path, "/federation/"):
		c.serveSSO(w, r, tr)
		return
	}
	if c.serveData(w, r, tr) {
		return
	}
	if r.URL.Path == "/mqtt" && headerHas(r.Header, "Upgrade", "websocket") {
		c.upgrade(w, r, tr)
		return
	}
	c.refuseHTTP(w, tr, http.StatusForbidden, errors.New("iottest: no such path: WebSockets are on /mqtt, topics on /topics/"))
}

// refuseHTTP answers as the service's gateway, and records why.
func (c *Core) refuseHTTP(w http.ResponseWriter, tr *transport, status int, err error) {
	c.refuseData(w, tr, &dataError{status: status, message: strings.TrimPrefix(err.Error(), "iottest: "), cause: err})
}

func (c *Core) refuseData(w http.ResponseWriter, tr *transport, e *dataError) {
	cause := e.cause
	if cause == nil {
		cause = e
	}
	c.emit(Event{Type: RequestRefused, Conn: tr.raw.id, Status: e.status, Err: cause})
	setDefault(&e.kind, errorKinds[e.status])
	if e.kind != "" {
		w.Header().Set("x-amzn-ErrorType", e.kind)
	}
	body := e.body
	if body == nil {
		body = map[string]string{"message": e.message, "traceId": uuid()}
	}
	writeJSON(w, "application/json", e.status, body)
}

// upgrade turns a request into a WebSocket and hands it to the MQTT side.
func (c *Core) upgrade(w http.ResponseWriter, r *http.Request, tr *transport) {
	if f, struck := c.faults.strike(func(f *Faults) bool { return f.UpgradeStatus != 0 }); struck {
		c.refuseHTTP(w, tr, f.UpgradeStatus, errors.New("iottest: upgrade refused by a fault"))
		return
	}
	protocol, wrong := checkUpgrade(r)
	if wrong != "" {
		c.refuseHTTP(w, tr, http.StatusBadRequest, errors.New("iottest: "+wrong))
		return
	}
	up := *tr
	up.webSocket, up.header = true, r.Header.Clone()
	up.header.Set("Host", r.Host)
	switch {
	case r.URL.Query().Has("X-Amz-Algorithm") || strings.HasPrefix(r.Header.Get("Authorization"), signingAlgorithm):
		key, err := c.verifySignature(r, "iotdevicegateway", emptyHash)
		if err != nil {
			c.refuseHTTP(w, tr, http.StatusForbidden, err)
			return
		}
		up.auth = authSigV4
		up.principal = &principal{kind: "sigv4", policies: key.policies, accessKeyID: key.AccessKeyID, lifetime: 24 * time.Hour}
	case c.hasAuthorizers():
		up.auth = authCustom
		up.upgrade = upgradeFields(r)
		// Fields in the upgrade request are judged now, fields in CONNECT when it comes.
		if up.upgrade.name != "" || up.upgrade.signature != "" || c.tokenIn(up.upgrade) {
			p, err := c.invoke(&up, up.upgrade, nil)
			if err != nil {
				c.refuseHTTP(w, tr, http.StatusForbidden, err)
				return
			}
			up.principal = p
		}
	default:
		c.refuseHTTP(w, tr, http.StatusForbidden, ErrUnsigned)
		return
	}
	hijacker, ok := w.(http.Hijacker)
	if !ok {
		http.Error(w, "cannot upgrade", http.StatusInternalServerError)
		return
	}
	nc, rw, err := hijacker.Hijack()
	if err != nil {
		return
	}
	answer := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nDate: " +
		w.Header().Get("Date") + "\r\nSec-WebSocket-Accept: " + acceptKey(r.Header.Get("Sec-WebSocket-Key")) +
		"\r\nSec-WebSocket-Protocol: " + protocol + "\r\n\r\n"
	if _, err := nc.Write([]byte(answer)); err != nil {
		_ = nc.Close()
		return
	}
	tr.handOff <- &upgraded{tr: &up, conn: &wsConn{Conn: nc, br: rw.Reader, maxFrame: c.opts.MaxFrameBytes}}
}

// upgraded is a WebSocket on its way from the web server to the goroutine that
// owns the connection.
type upgraded struct {
	tr   *transport
	conn *wsConn
}
