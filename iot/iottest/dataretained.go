// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"
)

func seconds(n uint64) time.Duration { return time.Duration(n) * time.Second }

// httpUserProperties decodes base64 of a JSON array of objects with one name each.
func httpUserProperties(s string) ([]UserProperty, error) {
	if s == "" {
		return nil, nil
	}
	raw, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return nil, errors.New("user properties are not base64")
	}
	var list []map[string]string
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, errors.New("user properties are not a JSON array of objects with a string each")
	}
	var out []UserProperty
	for _, o := range list {
		if len(o) != 1 {
			return nil, errors.New("each user property is an object with one name")
		}
		for name, value := range o {
			out = append(out, UserProperty{name, value})
		}
	}
	return out, nil
}

func encodeUserProperties(list []UserProperty) string {
	if len(list) == 0 {
		return ""
	}
	var out []map[string]string
	for _, p := range list {
		out = append(out, map[string]string{p.Name: p.Value})
	}
	b, err := json.Marshal(out)
	if err != nil {
		return ""
	}
	return base64.StdEncoding.EncodeToString(b)
}

// dataGetRetained is GET /retainedMessage/{topic}.
func (c *Core) dataGetRetained(r *dataRequest) (any, *dataError) {
	topic := r.args[0]
	if topic == "" || hasWildcard(topic) {
		return nil, badRequest("invalid topic")
	}
	if err := c.may(r, "iot:GetRetainedMessage", "topic/"+topic); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	kept := c.retained[topic]
	if kept == nil {
		return nil, &dataError{status: http.StatusNotFound, message: "no retained message on the topic"}
	}
	return struct {
		Topic            string `json:"topic"`
		Payload          []byte `json:"payload"`
		QoS              byte   `json:"qos"`
		LastModifiedTime int64  `json:"lastModifiedTime"`
		UserProperties   string `json:"userProperties,omitempty"`
	}{topic, kept.msg.Payload, kept.msg.QoS, kept.modified.UnixMilli(), encodeUserProperties(kept.msg.UserProperties)}, nil
}

// dataListRetained is GET /retainedMessage?maxResults&nextToken. The token is
// the last topic of the page before.
func (c *Core) dataListRetained(r *dataRequest) (any, *dataError) {
	if err := c.may(r, "iot:ListRetainedMessages", "topic/*"); err != nil {
		return nil, err
	}
	limit := 200
	if s := r.URL.Query().Get("maxResults"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > 200 {
			return nil, badRequest("maxResults must be 1 to 200")
		}
		limit = n
	}
	after, err := base64.RawURLEncoding.DecodeString(r.URL.Query().Get("nextToken"))
	if err != nil {
		return nil, badRequest("nextToken is not valid")
	}
	type summary struct {
		Topic            string `json:"topic"`
		PayloadSize      int    `json:"payloadSize"`
		QoS              byte   `json:"qos"`
		LastModifiedTime int64  `json:"lastModifiedTime"`
	}
	answer := struct {
		RetainedTopics []summary `json:"retainedTopics"`
		NextToken      string    `json:"nextToken,omitempty"`
	}{RetainedTopics: []summary{}}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, topic := range slices.Sorted(maps.Keys(c.retained)) {
		if len(after) > 0 && topic <= string(after) {
			continue
		}
		if n := len(answer.RetainedTopics); n == limit {
			answer.NextToken = base64.RawURLEncoding.EncodeToString([]byte(answer.RetainedTopics[n-1].Topic))
			break
		}
		kept := c.retained[topic]
		answer.RetainedTopics = append(answer.RetainedTopics, summary{topic, len(kept.msg.Payload), kept.msg.QoS, kept.modified.UnixMilli()})
	}
	return answer, nil
}

// dataDeleteConnection is DELETE /connections/{clientId}?cleanSession&preventWillMessage.
func (c *Core) dataDeleteConnection(r *dataRequest) (any, *dataError) {
	id := r.args[0]
	if err := c.may(r, "iot:DeleteConnection", "client/"+id); err != nil {
		return nil, err
	}
	query := r.URL.Query()
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.sessions[id]
	if s == nil || s.client == nil {
		return nil, &dataError{status: http.StatusNotFound, message: "no connection with the client id"}
	}
	if query.Get("preventWillMessage") == "true" {
		s.will = nil
	}
	s.client.endLocked(AdministrativeAction, "", ReasonAPIInitiated)
	if query.Get("cleanSession") == "true" {
		c.dropSession(s)
	}
	return nil, nil
}
