// SPDX-License-Identifier: Apache-2.0

package request

import (
	"encoding/json"
	"strings"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// Correlation finds the token in an answer. Its dynamic type must be
// comparable, and equal values must find the same tokens: requests that wait for
// answers on one topic at the same time need equal correlations.
//
// Token may be called from several goroutines. It returns false if the message
// has no token, and must not keep what the message refers to.
type Correlation interface {
	Token(m *mqtt5.Message) (token string, found bool)
}

// CorrelationData is the MQTT 5 property of that name. [Client.Do] also sets it
// in the request, to [Request.Token].
type CorrelationData struct{}

// Token returns the correlation data of the message.
func (CorrelationData) Token(m *mqtt5.Message) (token string, found bool) {
	return string(m.CorrelationData), m.CorrelationData != nil
}

// JSONField is a field of a JSON object in the payload, such as "clientToken".
// Dots separate the names of nested objects. Only a string counts as a token.
// The caller puts the token into the payload of the request.
type JSONField string

// Token returns the field, if the payload is a JSON document that has it.
func (f JSONField) Token(m *mqtt5.Message) (token string, found bool) {
	data := json.RawMessage(m.Payload)
	for name := range strings.SplitSeq(string(f), ".") {
		var object map[string]json.RawMessage
		if json.Unmarshal(data, &object) != nil {
			return "", false
		}
		if data, found = object[name]; !found {
			return "", false
		}
	}
	var text *string
	if json.Unmarshal(data, &text) != nil || text == nil {
		return "", false
	}
	return *text, true
}

// Uncorrelated is for services whose answers have no token: an answer belongs
// to the one request that waits on its topic, and other requests for that topic
// wait for their turn. It ignores [Request.Token].
type Uncorrelated struct{}

// Token returns the empty token.
func (Uncorrelated) Token(*mqtt5.Message) (token string, found bool) { return "", true }
