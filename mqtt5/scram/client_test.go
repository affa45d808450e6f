// SPDX-License-Identifier: Apache-2.0

package scram_test

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/mqtttest"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/scram"
)

// verifier is a server's side of one exchange, which knows no password but what
// RFC 5802 lets a server store.
type verifier struct {
	salt                 []byte
	storedKey, serverKey []byte
	clientFirst, first   string
	nonce                string
}

func newVerifier(password string) *verifier {
	v := &verifier{salt: []byte("a salt of the server")}
	salted, err := pbkdf2.Key(sha256.New, password, v.salt, 4096, 32)
	if err != nil {
		panic(err)
	}
	stored := sha256.Sum256(sign(salted, "Client Key"))
	v.storedKey, v.serverKey = stored[:], sign(salted, "Server Key")
	return v
}

func sign(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

func (v *verifier) begin(clientFirst []byte) []byte {
	v.clientFirst = strings.TrimPrefix(string(clientFirst), "n,,")
	_, nonce, _ := strings.Cut(v.clientFirst, ",r=")
	v.nonce = nonce + "server"
	v.first = "r=" + v.nonce + ",s=" + base64.StdEncoding.EncodeToString(v.salt) + ",i=4096"
	return []byte(v.first)
}

// finish checks the proof, and returns the server's own.
func (v *verifier) finish(clientFinal []byte) ([]byte, error) {
	bare, proof, _ := strings.Cut(string(clientFinal), ",p=")
	if bare != "c=biws,r="+v.nonce {
		return nil, fmt.Errorf("final message %q", clientFinal)
	}
	key, err := base64.StdEncoding.DecodeString(proof)
	if err != nil || len(key) != 32 {
		return nil, fmt.Errorf("proof %q: %v", proof, err)
	}
	text := v.clientFirst + "," + v.first + "," + bare
	for i, b := range sign(v.storedKey, text) {
		key[i] ^= b
	}
	if got := sha256.Sum256(key); !hmac.Equal(got[:], v.storedKey) {
		return nil, errors.New("wrong proof")
	}
	return []byte("v=" + base64.StdEncoding.EncodeToString(sign(v.serverKey, text))), nil
}

func auth(code mqtttest.ReasonCode, data []byte) mqtttest.Auth {
	return mqtttest.Auth{ReasonCode: code, AuthenticationMethod: mqtttest.Ptr(scram.Method), AuthenticationData: data}
}

// login is the server's side of connecting. It returns whether it believed the
// client.
func login(c *mqtttest.Conn, v *verifier, forge bool) bool {
	con := c.ExpectConnect()
	if con.AuthenticationMethod == nil || *con.AuthenticationMethod != scram.Method {
		c.Fatalf("got %v", mqtttest.Describe(con))
	}
	c.Send(auth(mqtttest.ContinueAuthentication, v.begin(con.AuthenticationData)))
	last, err := v.finish(c.ExpectAuth().AuthenticationData)
	if forge {
		last, err = []byte("v="+base64.StdEncoding.EncodeToString(make([]byte, 32))), nil
	}
	if err != nil {
		c.Send(mqtttest.Connack{ReasonCode: mqtttest.NotAuthorized})
		c.ExpectClosed()
		return false
	}
	c.Send(mqtttest.Connack{AuthenticationMethod: mqtttest.Ptr(scram.Method), AuthenticationData: last})
	return true
}

type events struct{ failure error }

func newClient(t *testing.T, srv *mqtttest.Server, password string) (*mqtt5.Client, *events) {
	t.Helper()
	a, err := scram.New("user", password)
	if err != nil {
		t.Fatal(err)
	}
	e := new(events)
	c, err := mqtt5.NewClient(mqtt5.ClientOptions{
		Address: "server:1883", Dial: srv.DialContext, Connect: mqtt5.ConnectPacket{ClientID: "device"}, Authenticator: a,
		OnConnectionFailure: func(f *mqtt5.ConnectionFailure) { e.failure = f.Err },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		synctest.Wait()
	})
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	return c, e
}

func TestClient(t *testing.T) {
	run := func(name string, f func(t *testing.T)) {
		t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
	}
	run("the server is convinced, twice", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			v := newVerifier("secret")
			if !login(c, v, false) {
				c.Fatalf("not convinced")
			}
			again := c.ExpectAuth()
			if again.ReasonCode != mqtttest.ReAuthenticate {
				c.Errorf("got %v", mqtttest.Describe(again))
			}
			before := v.nonce
			c.Send(auth(mqtttest.ContinueAuthentication, v.begin(again.AuthenticationData)))
			if v.nonce == before {
				c.Errorf("the client used its nonce again")
			}
			last, err := v.finish(c.ExpectAuth().AuthenticationData)
			if err != nil {
				c.Fatalf("%v", err)
			}
			c.Send(auth(mqtttest.Success, last))
			c.ExpectDisconnectWith(mqtttest.NormalDisconnection)
		})
		c, _ := newClient(t, srv, "secret")
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := c.WaitConnected(ctx); err != nil {
			t.Fatal(err)
		}
		if err := c.Reauthenticate(ctx); err != nil {
			t.Error(err)
		}
		if err := c.Stop(ctx, nil); err != nil {
			t.Error(err)
		}
	})
	run("the server is not convinced", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			if login(c, newVerifier("secret"), false) {
				c.Errorf("convinced by another password")
			}
		})
		srv.HangDial()
		_, e := newClient(t, srv, "guess")
		synctest.Wait()
		if !errors.Is(e.failure, mqtt5.ErrConnectionRefused) {
			t.Errorf("got %v", e.failure)
		}
		time.Sleep(3 * time.Second)
	})
	run("we are not convinced by a server that does not know the password", func(t *testing.T) {
		srv := mqtttest.NewServer(t)
		srv.Script(func(c *mqtttest.Conn) {
			login(c, newVerifier("secret"), true)
			c.ExpectDisconnectWith(mqtttest.UnspecifiedError)
		})
		srv.HangDial()
		_, e := newClient(t, srv, "secret")
		synctest.Wait()
		if !errors.Is(e.failure, scram.ErrServerSignature) || !errors.Is(e.failure, mqtt5.ErrAuthentication) {
			t.Errorf("got %v", e.failure)
		}
		time.Sleep(3 * time.Second)
	})
}

func Example() {
	a, err := scram.New("user", "password")
	if err != nil {
		fmt.Println(err)
		return
	}
	client, err := mqtt5.NewClient(mqtt5.ClientOptions{
		Address:       "broker.example:1883",
		Connect:       mqtt5.ConnectPacket{ClientID: "device"},
		Authenticator: a,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	fmt.Println(a.Method(), client.State())
	// Output: SCRAM-SHA-256 stopped
}

func ExampleNew() {
	_, err := scram.New("user", "line\nfeed")
	fmt.Println(errors.Is(err, scram.ErrCredentials))
	// Output: true
}
