// SPDX-License-Identifier: Apache-2.0

package iot_test

import (
	"context"
	"crypto"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/auth/credentials"
	"github.com/gocrt/aws-iot-device-sdk-go/http/proxy"
	"github.com/gocrt/aws-iot-device-sdk-go/io/tlsctx"
	"github.com/gocrt/aws-iot-device-sdk-go/iot"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

const endpoint = "abc123-ats.iot.eu-west-1.amazonaws.com"

func ExampleNewMTLSFromPath() {
	client, err := iot.NewMTLSFromPath(endpoint, "device.pem.crt", "private.pem.key",
		iot.WithClientID("thermostat-7"),
		iot.WithOnMessage(func(_ context.Context, m mqtt5.Message) { fmt.Println(m.Topic, string(m.Payload)) }),
		iot.WithOnConnectionFailure(func(f *mqtt5.ConnectionFailure) { log.Print(f.Err) }),
	)
	if err != nil {
		log.Print(err) // names the file and what to do
		return
	}
	defer client.Close()
	if err := client.Start(); err != nil {
		log.Print(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err = client.Publish(ctx, &mqtt5.PublishPacket{Topic: "rooms/7/temperature", Payload: []byte("21.5"), QoS: mqtt5.AtLeastOnce})
	if err != nil {
		log.Print(err)
	}
	if err := client.Stop(ctx, nil); err != nil {
		log.Print(err)
	}
}

func ExampleNewMTLSFromBytes() {
	var certPEM, keyPEM []byte // from a secrets manager, for instance
	client, err := iot.NewMTLSFromBytes(endpoint, certPEM, keyPEM, iot.WithPort(8883))
	if err != nil {
		log.Print(err)
		return
	}
	defer client.Close()
}

func ExampleNewMTLSWithPKCS12() {
	client, err := iot.NewMTLSWithPKCS12(endpoint, "device.p12", "password")
	if err != nil {
		log.Print(err)
		return
	}
	defer client.Close()
}

func ExampleNewMTLSWithSigner() {
	var certPEM []byte
	var key crypto.Signer // of a TPM, a signing service, an agent
	client, err := iot.NewMTLSWithSigner(endpoint, certPEM, key)
	if err != nil {
		log.Print(err)
		return
	}
	defer client.Close()
}

func ExampleNewMTLSWithIdentity() {
	identity := tlsctx.IdentityFunc(func(ctx context.Context) (*tls.Certificate, error) {
		return nil, errors.New("ask the agent for the certificate of this attempt")
	})
	client, err := iot.NewMTLSWithIdentity(endpoint, identity)
	if err != nil {
		log.Print(err)
		return
	}
	defer client.Close()
}

func ExampleNewMTLSWithWindowsCertStore() {
	client, err := iot.NewMTLSWithWindowsCertStore(endpoint, `CurrentUser\MY\A11F8A9B5DF5B98BA3508FBCA575D09570E0D2C6`)
	if err != nil {
		log.Print(err)
		return
	}
	defer client.Close()
}

func ExampleNewWebsocketWithSigV4() {
	// Credentials from the environment, a profile, a container or the instance.
	provider, err := credentials.NewDefault(credentials.DefaultOptions{})
	if err != nil {
		log.Print(err)
		return
	}
	client, err := iot.NewWebsocketWithSigV4(endpoint, provider)
	if err != nil {
		log.Print(err)
		return
	}
	defer client.Close()
}

func ExampleNewWebsocketWithCustomHandshake() {
	client, err := iot.NewWebsocketWithCustomHandshake(endpoint, func(ctx context.Context, r *http.Request) error {
		r.Header.Set("X-Token", "a fresh token")
		return nil
	})
	if err != nil {
		log.Print(err)
		return
	}
	defer client.Close()
}

func ExampleNewDirectWithCustomAuthorizer() {
	client, err := iot.NewDirectWithCustomAuthorizer(endpoint, iot.CustomAuthorizer{
		Name:     "my-authorizer",
		Username: "user",
		Password: []byte("password"),
	})
	if err != nil {
		log.Print(err)
		return
	}
	defer client.Close()
}

func ExampleNewWebsocketWithCustomAuthorizer() {
	client, err := iot.NewWebsocketWithCustomAuthorizer(endpoint, iot.CustomAuthorizer{
		Name:         "my-authorizer",
		TokenKeyName: "token",
		Refresh: func(ctx context.Context, a *iot.CustomAuthorizer) error {
			a.TokenValue, a.Signature = "a fresh token", "c2lnbmF0dXJl"
			return nil
		},
	})
	if err != nil {
		log.Print(err)
		return
	}
	defer client.Close()
}

func ExampleNewForBroker() {
	// A broker on the same machine.
	client, err := iot.NewForBroker("localhost", iot.WithPlaintext())
	if err != nil {
		log.Print(err)
		return
	}
	defer client.Close()
}

// A method is a value, for programs that let their user choose.
func ExampleNewClient() {
	methods := map[string]iot.Method{
		"certificate": iot.MTLSFromPath("device.pem.crt", "private.pem.key"),
		"authorizer":  iot.DirectWithCustomAuthorizer(iot.CustomAuthorizer{Name: "my-authorizer"}),
		"broker":      iot.ForBroker(),
	}
	client, err := iot.NewClient(endpoint, methods["certificate"], iot.WithClientID("thermostat-7"))
	if err != nil {
		log.Print(err)
		return
	}
	defer client.Close()
}

func ExampleWithProxy() {
	client, err := iot.NewMTLSFromPath(endpoint, "device.pem.crt", "private.pem.key",
		iot.WithProxy(proxy.Options{URL: "http://proxy.example:3128", Username: "user", Password: "password"}))
	if err != nil {
		log.Print(err)
		return
	}
	defer client.Close()
}

func ExampleWithClientOptions() {
	client, err := iot.NewMTLSFromPath(endpoint, "device.pem.crt", "private.pem.key", iot.WithClientOptions(func(o *mqtt5.ClientOptions) {
		o.SessionBehavior = mqtt5.SessionRejoinPostSuccess
		o.Limits.PublishesPerSecond = 500 // a raised quota
	}))
	if err != nil {
		log.Print(err)
		return
	}
	defer client.Close()
}

func ExampleCustomAuthorizer_UsernameFor() {
	a := iot.CustomAuthorizer{Name: "auth", TokenKeyName: "token", TokenValue: "a b", Signature: "ab+/cd=="}
	name, err := a.UsernameFor("user")
	fmt.Println(name, err)
	// Output: user?x-amz-customauthorizer-name=auth&x-amz-customauthorizer-signature=ab%2B%2Fcd%3D%3D&token=a%20b <nil>
}

// A certificate and a custom authorizer may be wanted together.
func ExampleWithIdentity() {
	client, err := iot.NewWebsocketWithCustomAuthorizer(endpoint,
		iot.CustomAuthorizer{Name: "MyAuthorizer", Username: "thermostat-7", Password: []byte("token")},
		iot.WithIdentity(tlsctx.FromPKCS12("device.p12", "password")))
	if err != nil {
		log.Print(err)
		return
	}
	defer client.Close()
}

func ExampleExplain() {
	_, err := iot.NewForBroker("https://abc123-ats.iot.eu-west-1.amazonaws.com")
	fmt.Println(iot.Explain(err).Stage)
	fmt.Println(err)
	// Output:
	// options
	// iot: invalid endpoint "https://abc123-ats.iot.eu-west-1.amazonaws.com": it is a URL; give the host name alone: "abc123-ats.iot.eu-west-1.amazonaws.com"
}

func ExampleHint() {
	fmt.Println(iot.Hint(mqtt5.Refusal{Operation: "publish", Subject: "rooms/7", ReasonCode: uint8(mqtt5.PubackNotAuthorized)}))
	// Output: check that a policy of this client allows iot:Publish on arn:aws:iot:<region>:<account>:topic/rooms/7
}

func ExampleDiagnose() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	report := iot.Diagnose(ctx, endpoint, iot.MTLSFromPath("device.pem.crt", "private.pem.key"), iot.DiagnoseOptions{})
	fmt.Print(report) // each step, with its result
	if err := report.Err(); err != nil {
		fmt.Println(iot.Explain(err).Stage, "is where it ends")
	}
}

func ExampleWithReconnectBeforeExpiry() {
	client, err := iot.NewMTLSFromPath("abc123-ats.iot.eu-west-1.amazonaws.com", "device.pem.crt", "private.pem.key",
		iot.WithReconnectBeforeExpiry(12*time.Hour)) // the files are replaced a day before
	if err != nil {
		fmt.Println("no such files here")
		return
	}
	defer client.Close()
	// Output: no such files here
}
