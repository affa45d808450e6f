// SPDX-License-Identifier: Apache-2.0

package scram

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// Method is the name of the authentication method.
const Method = "SCRAM-SHA-256"

// What an exchange fails with. Test for them with [errors.Is].
var (
	// ErrServerSignature: the server does not know the password.
	ErrServerSignature = errors.New("scram: the server's signature is wrong")
	// ErrMessage: a message of the server is not as RFC 5802 wants it.
	ErrMessage = errors.New("scram: malformed message from the server")
	// ErrCredentials: the name or the password cannot be used.
	ErrCredentials = errors.New("scram: name and password have to be printable ASCII or other valid UTF-8 without control characters")
	// ErrRefused: the server says that the exchange failed.
	ErrRefused = errors.New("scram: the server refused")
)

const (
	// minIterations is what RFC 7677 asks for at least. A server that asks for
	// less would make guessing the password cheap for who listens.
	minIterations = 4096
	// maxIterations bounds the work that a server can make a client do.
	maxIterations = 10_000_000
)

// Authenticator is an [mqtt5.Authenticator] for one user. Use one for each
// client; exchanges may follow each other, but not overlap.
type Authenticator struct {
	name, password string

	mu    sync.Mutex
	step  step
	nonce string
	first string // client-first-message-bare
	// serverSignature is what the server has to prove.
	serverSignature []byte

	// The salted password of the last exchange: it takes long to compute.
	salt       string
	iterations int
	salted     []byte
}

type step uint8

const (
	stepNone  step = iota
	stepFirst      // the first message is out
	stepFinal      // the proof is out
	stepDone       // the server's signature was right
)

var _ mqtt5.Authenticator = (*Authenticator)(nil)

// New returns an authenticator for the user. It fails with [ErrCredentials] if
// the name is empty, or if name or password have characters that the
// preparation of strings in RFC 5802 forbids. Strings beyond ASCII are used as
// they are: give them in normal form KC.
func New(name, password string) (*Authenticator, error) {
	if name == "" || !printable(name) || !printable(password) {
		return nil, ErrCredentials
	}
	return &Authenticator{name: name, password: password}, nil
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r >= 0x7F && r < 0xA0 })
}

// String names the method only, so that no log has the password.
func (a *Authenticator) String() string { return Method }

// GoString is like String.
func (a *Authenticator) GoString() string { return Method }

// Format is like String, whatever the verb.
func (a *Authenticator) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, Method) }

// Method returns [Method].
func (a *Authenticator) Method() string { return Method }

// Begin returns the first message, with a new nonce. What was under way is
// forgotten.
func (a *Authenticator) Begin(context.Context) ([]byte, error) {
	return a.begin(rand.Text())
}

func (a *Authenticator) begin(nonce string) ([]byte, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.nonce = nonce
	a.first = "n=" + strings.NewReplacer("=", "=3D", ",", "=2C").Replace(a.name) + ",r=" + nonce
	a.step = stepFirst
	a.serverSignature = nil
	return []byte("n,," + a.first), nil
}

// Continue answers the server's first message with the proof. Some servers send
// their last message by a further AUTH instead of CONNACK; it is verified and
// answered with nothing.
func (a *Authenticator) Continue(data []byte) ([]byte, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch a.step {
	case stepFirst:
		return a.prove(string(data))
	case stepFinal:
		return nil, a.verify(string(data))
	}
	return nil, fmt.Errorf("%w: it comes out of turn", ErrMessage)
}

// Finish verifies that the server knows the password.
func (a *Authenticator) Finish(data []byte) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.step == stepFinal:
		if err := a.verify(string(data)); err != nil {
			return err
		}
	case a.step != stepDone || len(data) > 0:
		return fmt.Errorf("%w: success came before the exchange was over", ErrMessage)
	}
	a.step = stepNone
	return nil
}

// attributes splits a message into its attributes, which have to be those of
// names in that order; more may follow.
func attributes(message, names string) ([]string, error) {
	parts := strings.Split(message, ",")
	if strings.HasPrefix(message, "e=") {
		return nil, ErrRefused // its text is the server's to choose, and adds nothing that can be relied on
	}
	if len(parts) < len(names) {
		return nil, fmt.Errorf("%w: an attribute is missing", ErrMessage)
	}
	values := make([]string, len(names))
	for i := range len(names) {
		value, ok := strings.CutPrefix(parts[i], names[i:i+1]+"=")
		if !ok {
			return nil, fmt.Errorf("%w: no attribute %q", ErrMessage, names[i:i+1])
		}
		values[i] = value
	}
	return values, nil
}

func (a *Authenticator) prove(message string) ([]byte, error) {
	v, err := attributes(message, "rsi")
	if err != nil {
		return nil, err
	}
	nonce := v[0]
	if len(nonce) <= len(a.nonce) || !strings.HasPrefix(nonce, a.nonce) {
		return nil, fmt.Errorf("%w: its nonce does not extend ours", ErrMessage)
	}
	salt, err := base64.StdEncoding.DecodeString(v[1])
	if err != nil || len(salt) == 0 {
		return nil, fmt.Errorf("%w: the salt is not base64", ErrMessage)
	}
	iterations, err := strconv.Atoi(v[2])
	if err != nil || iterations < minIterations || iterations > maxIterations {
		return nil, fmt.Errorf("%w: iteration count is not within %d and %d", ErrMessage, minIterations, maxIterations)
	}
	if a.salted == nil || a.salt != string(salt) || a.iterations != iterations {
		a.salted, err = pbkdf2.Key(sha256.New, a.password, salt, iterations, sha256.Size)
		if err != nil {
			return nil, fmt.Errorf("scram: %w", err)
		}
		a.salt, a.iterations = string(salt), iterations
	}
	clientKey := mac(a.salted, "Client Key")
	storedKey := sha256.Sum256(clientKey)
	final := "c=biws,r=" + nonce // biws is "n,,": no channel binding
	text := a.first + "," + message + "," + final
	signature := mac(storedKey[:], text)
	subtle.XORBytes(clientKey, clientKey, signature)
	a.serverSignature = mac(mac(a.salted, "Server Key"), text)
	a.step = stepFinal
	return []byte(final + ",p=" + base64.StdEncoding.EncodeToString(clientKey)), nil
}

func (a *Authenticator) verify(message string) error {
	v, err := attributes(message, "v")
	if err != nil {
		return err
	}
	signature, err := base64.StdEncoding.DecodeString(v[0])
	if err != nil {
		return fmt.Errorf("%w: the signature is not base64", ErrMessage)
	}
	if !hmac.Equal(signature, a.serverSignature) {
		return ErrServerSignature
	}
	a.step = stepDone
	return nil
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
