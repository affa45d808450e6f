// SPDX-License-Identifier: Apache-2.0

package shadow_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"strings"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/shadow"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request/requesttest"
)

// Lamp is the state of a lamp. Absent fields stay absent.
type Lamp struct {
	On    shadow.Field[bool] `json:"on,omitzero"`
	Level shadow.Field[int]  `json:"level,omitzero"`
}

// connect stands in for a connected client and the service, where an application
// wants the lamp to be on.
func connect() *requesttest.Conn {
	conn := requesttest.New()
	conn.OnPublish(func(p *mqtt5.PublishPacket) error {
		var body struct {
			State json.RawMessage `json:"state"`
			Token string          `json:"clientToken"`
		}
		if err := json.Unmarshal(p.Payload, &body); err != nil {
			return err
		}
		answer := `{"state":%s,"version":8,"clientToken":%q}`
		switch {
		case strings.Contains(p.Topic, "/name/"):
			conn.Deliver(p.Topic+"/rejected", fmt.Appendf(nil, `{"code":404,"message":"No shadow exists with name: 'night'","clientToken":%q}`, body.Token))
		case strings.HasSuffix(p.Topic, "/get"):
			body.State = json.RawMessage(`{"desired":{"on":true},"reported":{"level":3},"delta":{"on":true}}`)
			answer = `{"state":%s,"version":7,"clientToken":%q}`
			fallthrough
		default:
			conn.Deliver(p.Topic+"/accepted", fmt.Appendf(nil, answer, body.State, body.Token))
		}
		return nil
	})
	return conn
}

func open() (*requesttest.Conn, *request.Client) {
	conn := connect() // usually a *mqtt5.Client
	requests, err := request.New(conn, request.Options{})
	if err != nil {
		log.Fatal(err)
	}
	return conn, requests
}

func ExampleClassic() {
	conn, requests := open()
	defer conn.Close()
	lamp, err := shadow.Classic[Lamp](requests, "lamp-1")
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	document, err := lamp.Get(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("version", document.Version, "wants on:", document.Delta.On.Or(false))

	accepted, err := lamp.Update(ctx, shadow.Update[Lamp]{
		Reported: shadow.Value(Lamp{On: shadow.Value(true), Level: shadow.Null[int]()}),
		Version:  document.Version,
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("version", accepted.Version)
	// Output:
	// version 7 wants on: true
	// version 8
}

func ExampleNamed() {
	conn, requests := open()
	defer conn.Close()
	night, err := shadow.Named[json.RawMessage](requests, "lamp-1", "night")
	if err != nil {
		log.Fatal(err)
	}
	_, err = night.Get(context.Background())
	var rejected *shadow.RejectedError
	if errors.As(err, &rejected) {
		fmt.Println(rejected.Code, rejected.Message, errors.Is(err, shadow.ErrNotFound))
	}
	// Output: 404 No shadow exists with name: 'night' true
}

func ExampleShadow_Deltas() {
	conn, requests := open()
	defer conn.Close()
	lamp, err := shadow.Classic[Lamp](requests, "lamp-1")
	if err != nil {
		log.Fatal(err)
	}
	go func() { // an application
		for !conn.Deliver("$aws/things/lamp-1/shadow/update/delta", []byte(`{"state":{"level":5},"version":9}`)) {
		}
	}()
	for delta, err := range lamp.Deltas(context.Background()) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("version", delta.Version, "level", delta.State.Level.Or(0))
		break
	}
	// Output: version 9 level 5
}

func ExampleOpenMirror() {
	conn, requests := open()
	defer conn.Close()
	lamp, err := shadow.Classic[Lamp](requests, "lamp-1")
	if err != nil {
		log.Fatal(err)
	}
	mirror, err := shadow.OpenMirror(lamp, shadow.MirrorOptions[Lamp]{
		OnDesired: func(ctx context.Context, change *shadow.Desired[Lamp]) error {
			if on, ok := change.State.On.Get(); ok {
				fmt.Println("switch on:", on) // drive the hardware
			}
			return nil // the mirror reports what changed
		},
		// Store: shadow.FileStore("/var/lib/lamp/shadow.json"),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer mirror.Close()
	if err := mirror.Report(Lamp{Level: shadow.Value(4)}); err != nil {
		log.Fatal(err)
	}
	if err := mirror.WaitSynced(context.Background()); err != nil {
		log.Fatal(err)
	}
	state, err := mirror.Reported()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("on", state.On.Or(false), "level", state.Level.Or(0))
	// Output:
	// switch on: true
	// on true level 4
}

func ExampleField() {
	var lamp Lamp
	if err := json.Unmarshal([]byte(`{"on":null}`), &lamp); err != nil {
		log.Fatal(err)
	}
	fmt.Println(lamp.On.IsNull(), lamp.Level.IsZero(), lamp.Level.Or(10))
	data, err := json.Marshal(Lamp{Level: shadow.Value(0)})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(data))
	// Output:
	// true true 10
	// {"level":0}
}
