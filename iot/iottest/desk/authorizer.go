// SPDX-License-Identifier: Apache-2.0

package desk

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
)

// authorizerOf makes the custom authorizer of "NAME=URL" or "NAME=USER:PASSWORD".
func authorizerOf(text string) (iottest.Authorizer, error) {
	name, what, ok := strings.Cut(text, "=")
	if !ok || name == "" {
		return iottest.Authorizer{}, fmt.Errorf("desk: authorizer %q: want NAME=URL or NAME=USER:PASSWORD", name)
	}
	a := iottest.Authorizer{Name: name, SigningDisabled: true}
	if u, err := url.Parse(what); err == nil && (u.Scheme == "http" || u.Scheme == "https") {
		a.Handler = (&function{url: what, client: &http.Client{Timeout: 5 * time.Second}}).call
		return a, nil
	}
	user, password, ok := strings.Cut(what, ":")
	if !ok {
		return a, fmt.Errorf("desk: authorizer %q: want NAME=URL or NAME=USER:PASSWORD", name)
	}
	a.Handler = passwordHandler(user, password)
	return a, nil
}

// passwordHandler lets a user in, who may then do everything.
func passwordHandler(user, password string) func(context.Context, *iottest.AuthorizerRequest) (*iottest.AuthorizerResponse, error) {
	return func(_ context.Context, r *iottest.AuthorizerRequest) (*iottest.AuthorizerResponse, error) {
		return &iottest.AuthorizerResponse{IsAuthenticated: userName(r.Username) == user && string(r.Password) == password,
			PrincipalID: "deskUser", Policies: []string{iottest.AllowAllPolicy}}, nil
	}
}

// function is the Lambda function of a custom authorizer, behind a URL.
type function struct {
	url    string
	client *http.Client
}

// lambdaEvent is what the service gives the function.
type lambdaEvent struct {
	Token              string       `json:"token,omitempty"`
	SignatureVerified  bool         `json:"signatureVerified"`
	Protocols          []string     `json:"protocols"`
	ProtocolData       protocolData `json:"protocolData"`
	ConnectionMetadata struct {
		ID string `json:"id"`
	} `json:"connectionMetadata"`
}

type protocolData struct {
	TLS  map[string]string `json:"tls"`
	HTTP *httpData         `json:"http,omitempty"`
	MQTT *mqttData         `json:"mqtt,omitempty"`
}

type httpData struct {
	Headers     map[string]string `json:"headers"`
	QueryString string            `json:"queryString"`
}

type mqttData struct {
	Username string `json:"username,omitempty"`
	Password []byte `json:"password,omitempty"`
	ClientID string `json:"clientId"`
}

func eventOf(r *iottest.AuthorizerRequest) lambdaEvent {
	e := lambdaEvent{Token: r.Token, SignatureVerified: r.SignatureVerified, Protocols: []string{"tls"}}
	e.ProtocolData.TLS = map[string]string{"serverName": r.ServerName}
	if r.Header != nil {
		e.Protocols = append(e.Protocols, "http")
		e.ProtocolData.HTTP = &httpData{Headers: map[string]string{}, QueryString: "?" + r.Query.Encode()}
		for name := range r.Header {
			e.ProtocolData.HTTP.Headers[name] = r.Header.Get(name)
		}
	}
	if r.ClientID != "" || r.Username != "" || r.Password != nil {
		e.Protocols = append(e.Protocols, "mqtt")
		e.ProtocolData.MQTT = &mqttData{r.Username, r.Password, r.ClientID}
	}
	return e
}

func (f *function) call(ctx context.Context, r *iottest.AuthorizerRequest) (*iottest.AuthorizerResponse, error) {
	body, err := json.Marshal(eventOf(r))
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := f.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the function answered %s", resp.Status)
	}
	var answer struct {
		IsAuthenticated          bool              `json:"isAuthenticated"`
		PrincipalID              string            `json:"principalId"`
		DisconnectAfterInSeconds int64             `json:"disconnectAfterInSeconds"`
		PolicyDocuments          []json.RawMessage `json:"policyDocuments"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&answer); err != nil {
		return nil, fmt.Errorf("the answer of the function: %w", err)
	}
	return &iottest.AuthorizerResponse{IsAuthenticated: answer.IsAuthenticated, PrincipalID: answer.PrincipalID,
		DisconnectAfter: time.Duration(answer.DisconnectAfterInSeconds) * time.Second, Policies: policyDocuments(answer.PolicyDocuments)}, nil
}
