// SPDX-License-Identifier: Apache-2.0

package desk

import (
	"net/http"
	"strconv"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
)

// routes registers the operations of the control API.
func (c *Control) routes() {
	c.handle("GET /v1/status", c.status)
	c.handle("GET /v1/clients", c.clients)
	c.handle("GET /v1/sessions", c.sessions)
	c.handle("GET /v1/retained", c.retained)
	c.handle("GET /v1/refusals", func(*http.Request) (any, error) { return c.feed.newestRefusals(), nil })
	c.handle("POST /v1/publish", c.publish)
	c.handle("POST /v1/clients", c.actOnClient)
	c.handle("PUT /v1/faults", c.faults)
	c.handle("PUT /v1/service-faults", c.serviceFaults)
	c.handle("PUT /v1/listening", c.listening)
	c.handle("POST /v1/clock", c.clock)
	c.deviceRoutes()
	c.serviceRoutes()
	c.provisioningRoutes()
}

func (c *Control) status(*http.Request) (any, error) {
	connected := 0
	sessions := c.core.Sessions()
	for _, s := range sessions {
		if s.Connected {
			connected++
		}
	}
	return map[string]any{
		"endpoint": c.core.Endpoint(), "credentialsEndpoint": c.core.CredentialsEndpoint(), "region": c.core.Region(),
		"ports": map[string]string{"443": c.core.Addr(), "8883": c.core.MTLSAddr(), "1883": c.core.TCPAddr()},
		"now":   c.core.Now().UTC(), "clients": connected, "sessions": len(sessions),
	}, nil
}

type clientView struct {
	ClientID       string    `json:"clientId"`
	Conn           int64     `json:"conn"`
	Version        int       `json:"version"`
	RemoteAddr     string    `json:"remoteAddr"`
	Port           string    `json:"port"`
	ALPN           string    `json:"alpn,omitempty"`
	WebSocket      bool      `json:"webSocket"`
	Auth           string    `json:"auth"`
	Thing          string    `json:"thing,omitempty"`
	AccessKeyID    string    `json:"accessKeyId,omitempty"`
	Authorizer     string    `json:"authorizer,omitempty"`
	Username       string    `json:"userName,omitempty"`
	CleanStart     bool      `json:"cleanStart"`
	SessionPresent bool      `json:"sessionPresent"`
	KeepAlive      uint16    `json:"keepAlive"`
	SessionExpiry  float64   `json:"sessionExpirySeconds"`
	Will           *willView `json:"will,omitempty"`
}

type willView struct {
	Topic string `json:"topic"`
	Bytes int    `json:"bytes"`
}

func (c *Control) clients(*http.Request) (any, error) {
	out := []clientView{}
	clients := c.core.Clients()
	for _, s := range c.core.Sessions() { // in order
		i, ok := clients[s.ClientID]
		if !ok {
			continue
		}
		v := clientView{ClientID: i.ClientID, Conn: i.Conn, Version: i.Version, RemoteAddr: i.RemoteAddr, Port: i.Port, ALPN: i.ALPN,
			WebSocket: i.WebSocket, Auth: i.Auth, Thing: i.Thing, AccessKeyID: i.AccessKeyID, Authorizer: i.Authorizer,
			Username: userName(i.Username), CleanStart: i.CleanStart, SessionPresent: i.SessionPresent, KeepAlive: i.ServerKeepAlive,
			SessionExpiry: s.Expiry.Seconds()}
		if i.Will != nil {
			v.Will = &willView{i.Will.Topic, len(i.Will.Payload)}
		}
		out = append(out, v)
	}
	return out, nil
}

type sessionView struct {
	ClientID      string     `json:"clientId"`
	Connected     bool       `json:"connected"`
	Version       int        `json:"version"`
	Expiry        float64    `json:"expirySeconds"`
	ExpiresAt     *time.Time `json:"expiresAt,omitempty"`
	Subscriptions []string   `json:"subscriptions"`
	Queued        int        `json:"queued"`
	Unacked       int        `json:"unacknowledged"`
	Bytes         int        `json:"bytes"`
}

func (c *Control) sessions(*http.Request) (any, error) {
	out := []sessionView{}
	for _, s := range c.core.Sessions() {
		v := sessionView{s.ClientID, s.Connected, s.Version, s.Expiry.Seconds(), nil, s.Subscriptions, s.Queued, s.Unacked, s.Bytes}
		if !s.ExpiresAt.IsZero() {
			v.ExpiresAt = &s.ExpiresAt
		}
		if v.Subscriptions == nil {
			v.Subscriptions = []string{}
		}
		out = append(out, v)
	}
	return out, nil
}

func (c *Control) retained(*http.Request) (any, error) {
	type view struct {
		Topic    string    `json:"topic"`
		QoS      byte      `json:"qos"`
		Bytes    int       `json:"bytes"`
		Payload  string    `json:"payload"`
		Modified time.Time `json:"modified"`
	}
	out := []view{}
	for _, m := range c.core.RetainedMessages() {
		out = append(out, view{m.Topic, m.QoS, len(m.Payload), preview(m.Payload), m.Modified.UTC()})
	}
	return out, nil
}

func (c *Control) publish(r *http.Request) (any, error) {
	var q struct {
		Topic           string              `json:"topic"`
		Payload         string              `json:"payload"`
		PayloadBase64   []byte              `json:"payloadBase64"`
		QoS             byte                `json:"qos"`
		Retain          bool                `json:"retain"`
		ContentType     string              `json:"contentType"`
		ResponseTopic   string              `json:"responseTopic"`
		CorrelationData []byte              `json:"correlationData"`
		Expiry          uint32              `json:"messageExpirySeconds"`
		UserProperties  []map[string]string `json:"userProperties"`
	}
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	if q.Payload != "" && q.PayloadBase64 != nil {
		return nil, bad("payload and payloadBase64 exclude each other")
	}
	m := iottest.Message{Topic: q.Topic, Payload: []byte(q.Payload), QoS: q.QoS, Retain: q.Retain, ContentType: q.ContentType,
		ResponseTopic: q.ResponseTopic, CorrelationData: q.CorrelationData, Expiry: time.Duration(q.Expiry) * time.Second}
	if q.PayloadBase64 != nil {
		m.Payload = q.PayloadBase64
	}
	for _, p := range q.UserProperties {
		for name, value := range p {
			m.UserProperties = append(m.UserProperties, iottest.UserProperty{Name: name, Value: value})
		}
	}
	return nil, c.core.Publish(m)
}

func (c *Control) actOnClient(r *http.Request) (any, error) {
	var q struct {
		ClientID     string              `json:"clientId"`
		Action       string              `json:"action"`
		On           bool                `json:"on"`
		Milliseconds int64               `json:"milliseconds"`
		ReasonCode   *iottest.ReasonCode `json:"reasonCode"`
	}
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	id, core := q.ClientID, c.core
	code := iottest.ServerShuttingDown
	if q.ReasonCode != nil {
		code = *q.ReasonCode
	}
	var done bool
	switch q.Action {
	case "cut":
		done = core.Cut(id)
	case "reset":
		done = core.Reset(id)
	case "freeze":
		done = core.Freeze(id)
	case "thaw":
		done = core.Thaw(id)
	case "delay":
		if q.Milliseconds < 0 || q.Milliseconds > time.Hour.Milliseconds() {
			return nil, bad("milliseconds must be 0 to 3600000")
		}
		done = core.Delay(id, time.Duration(q.Milliseconds)*time.Millisecond)
	case "drop":
		done = core.Drop(id, q.On)
	case "holdAcks":
		done = core.HoldAcks(id, q.On)
	case "refuse":
		if q.ReasonCode == nil {
			return nil, bad("refuse needs a reasonCode")
		}
		done = core.RefuseOperations(id, code)
	case "disconnect":
		done = core.Disconnect(id, code)
	case "redeliver":
		if info, ok := core.Session(id); ok && info.Connected {
			return map[string]int{"messages": core.Redeliver(id)}, nil
		}
	case "endSession":
		done = core.EndSession(id)
	default:
		return nil, bad("unknown action %q", q.Action)
	}
	if !done {
		return nil, notFound("no client %q", id)
	}
	return nil, nil
}

func (c *Control) faults(r *http.Request) (any, error) {
	var q struct {
		ResetConnections bool               `json:"resetConnections"`
		SilentTCP        bool               `json:"silentTcp"`
		HandshakeDelay   int64              `json:"handshakeDelayMilliseconds"`
		UpgradeStatus    int                `json:"upgradeStatus"`
		DropConnects     bool               `json:"dropConnects"`
		CutConnects      bool               `json:"cutConnects"`
		ConnackDelay     int64              `json:"connackDelayMilliseconds"`
		RefuseConnects   iottest.ReasonCode `json:"refuseConnects"`
		WriteDelay       int64              `json:"writeDelayMilliseconds"`
		Times            int                `json:"times"`
	}
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	if q.UpgradeStatus != 0 && (q.UpgradeStatus < 200 || q.UpgradeStatus > 599) || q.Times < 0 {
		return nil, bad("upgradeStatus must be 200 to 599, times not negative")
	}
	ms := func(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
	c.core.SetFaults(iottest.Faults{ResetConnections: q.ResetConnections, SilentTCP: q.SilentTCP, HandshakeDelay: ms(q.HandshakeDelay),
		UpgradeStatus: q.UpgradeStatus, DropConnects: q.DropConnects, CutConnects: q.CutConnects, ConnackDelay: ms(q.ConnackDelay),
		RefuseConnects: q.RefuseConnects, WriteDelay: ms(q.WriteDelay), Times: q.Times})
	return nil, nil
}

func (c *Control) serviceFaults(r *http.Request) (any, error) {
	var list []struct {
		Service   string `json:"service"`
		Operation string `json:"operation"`
		Thing     string `json:"thing"`
		Ignore    bool   `json:"ignore"`
		Reject    *struct {
			Status  int    `json:"status"`
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"reject"`
		Lose      bool  `json:"lose"`
		Duplicate bool  `json:"duplicate"`
		Delay     int64 `json:"delayMilliseconds"`
		Reorder   int   `json:"reorder"`
		Times     int   `json:"times"`
	}
	if err := decode(r, &list); err != nil {
		return nil, err
	}
	var faults []iottest.ServiceFault
	for _, q := range list {
		f := iottest.ServiceFault{Service: q.Service, Operation: q.Operation, Thing: q.Thing, Ignore: q.Ignore, Lose: q.Lose,
			Duplicate: q.Duplicate, Delay: time.Duration(q.Delay) * time.Millisecond, Reorder: q.Reorder, Times: q.Times}
		if q.Reject != nil {
			f.Reject = &iottest.ServiceError{Service: q.Service, Status: q.Reject.Status, Code: q.Reject.Code, Message: q.Reject.Message}
		}
		faults = append(faults, f)
	}
	c.core.SetServiceFaults(faults...)
	return nil, nil
}

func (c *Control) listening(r *http.Request) (any, error) {
	var q struct {
		On *bool `json:"on"`
	}
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	switch {
	case q.On == nil:
		return nil, bad("on is missing")
	case *q.On:
		return nil, c.core.Listen()
	}
	c.core.StopListening()
	c.core.CutAll()
	return nil, nil
}

func (c *Control) clock(r *http.Request) (any, error) {
	var q struct {
		Advance string `json:"advance"`
	}
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	d, err := time.ParseDuration(q.Advance)
	if err != nil {
		return nil, bad("advance must be a duration such as 90s or 1h30m")
	}
	c.core.Advance(d)
	return map[string]any{"now": c.core.Now().UTC()}, nil
}

// queryBool reads a flag of the query.
func queryBool(r *http.Request, name string) (bool, error) {
	s := r.URL.Query().Get(name)
	if s == "" {
		return false, nil
	}
	v, err := strconv.ParseBool(s)
	if err != nil {
		return false, bad("%s must be true or false", name)
	}
	return v, nil
}
