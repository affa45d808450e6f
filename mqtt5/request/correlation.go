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

// Token returns the field, if the payload is a JSON object that has it. It does
// not check the rest of the payload.
func (f JSONField) Token(m *mqtt5.Message) (token string, found bool) {
	data, path := m.Payload, string(f)
	for more := true; more; {
		var name string
		name, path, more = strings.Cut(path, ".")
		if data, found = member(data, name); !found {
			return "", false
		}
	}
	return text(data)
}

// Uncorrelated is for services whose answers have no token: an answer belongs
// to the one request that waits on its topic, and other requests for that topic
// wait for their turn. It ignores [Request.Token].
type Uncorrelated struct{}

// Token returns the empty token.
func (Uncorrelated) Token(*mqtt5.Message) (token string, found bool) { return "", true }

// member returns the value of a member of a JSON object without decoding the
// others, which are most of an answer. Of several with one name it returns the
// last, as package json does.
func member(data []byte, name string) (value []byte, found bool) {
	data, ok := after(data, '{')
	for ok {
		key, rest := element(data)
		if data, ok = after(rest, ':'); !ok {
			break
		}
		var v []byte
		v, rest = element(data)
		if len(v) > 0 && spells(key, name) {
			value, found = v, true
		}
		data, ok = after(rest, ',')
	}
	return value, found
}

// trim drops leading white space.
func trim(data []byte) []byte {
	for len(data) > 0 && (data[0] == ' ' || data[0] == '\t' || data[0] == '\r' || data[0] == '\n') {
		data = data[1:]
	}
	return data
}

// after returns what follows a delimiter, and false if data does not begin with
// that.
func after(data []byte, delimiter byte) (rest []byte, ok bool) {
	data = trim(data)
	if len(data) == 0 || data[0] != delimiter {
		return nil, false
	}
	return data[1:], true
}

// element cuts the first value off. It finds the end of every valid one.
func element(data []byte) (value, rest []byte) {
	data = trim(data)
	depth := 0
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '"':
			for i++; i < len(data) && data[i] != '"'; i++ {
				if data[i] == '\\' {
					i++
				}
			}
			if depth == 0 {
				end := min(i+1, len(data))
				return data[:end], data[end:]
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return data[:i], data[i:]
			}
			if depth--; depth == 0 {
				return data[:i+1], data[i+1:]
			}
		case ',', ':', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return data[:i], data[i:]
			}
		}
	}
	return data, nil
}

// text decodes a JSON string.
func text(value []byte) (string, bool) {
	if content, isPlain := plain(value); isPlain {
		return string(content), true
	}
	if len(value) == 0 || value[0] != '"' {
		return "", false
	}
	var decoded string
	if json.Unmarshal(value, &decoded) != nil {
		return "", false
	}
	return decoded, true
}

// spells reports whether value is a JSON string that stands for name. It is asked
// for every key of an answer, so it decodes only those with escapes or other
// letters than ASCII has.
func spells(value []byte, name string) bool {
	if content, isPlain := plain(value); isPlain {
		return string(content) == name
	}
	s, ok := text(value)
	return ok && s == name
}

// plain returns the content of a JSON string that stands for itself.
func plain(value []byte) (content []byte, ok bool) {
	last := len(value) - 1
	if last < 1 || value[0] != '"' || value[last] != '"' {
		return nil, false
	}
	for _, b := range value[1:last] {
		if b < ' ' || b >= 0x80 || b == '\\' || b == '"' {
			return nil, false
		}
	}
	return value[1:last], true
}
