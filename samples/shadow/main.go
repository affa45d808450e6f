// SPDX-License-Identifier: Apache-2.0

// Command shadow is a lamp that keeps itself in step with its shadow: it applies
// what applications want and reports what it has.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/shadow"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/request"
	"github.com/gocrt/aws-iot-device-sdk-go/samples/internal/sample"
)

// lamp is the state of the shadow. Fields that are absent in a change stay as
// they are.
type lamp struct {
	On    shadow.Field[bool] `json:"on,omitzero"`
	Level shadow.Field[int]  `json:"level,omitzero"`
}

func main() {
	app := sample.New("shadow", "Keeps a lamp in step with its shadow.")
	files := app.CertFlags()
	thing := flag.String("thing", "", "`name` of the thing (default: the client identifier)")
	name := flag.String("shadow", "", "`name` of a named shadow (default: the classic shadow)")
	state := flag.String("state", "", "`file` in which the state survives a restart (default: memory)")
	app.Allow("shadow", "state")

	app.Run(func(ctx context.Context) (err error) {
		if *thing == "" {
			*thing = app.ClientID
		}
		session := app.NewSession()
		client, err := files.Client(append(app.Options(), session.Options()...)...)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, session.Stop(client)) }()
		if err := session.Connect(ctx, client); err != nil {
			return err
		}

		requests, err := request.New(client, request.Options{})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, requests.Close(context.WithoutCancel(ctx))) }()
		s, err := open(requests, *thing, *name)
		if err != nil {
			return err
		}
		options := shadow.MirrorOptions[lamp]{
			OnDesired: func(_ context.Context, change *shadow.Desired[lamp]) error { return apply(app, change) },
			OnError:   func(err error) { app.Printf("Error: %v", err) },
		}
		if *state != "" {
			options.Store = shadow.FileStore(*state)
		}
		mirror, err := shadow.OpenMirror(s, options)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, mirror.Close()) }()
		if err := mirror.Report(lamp{On: shadow.Value(false), Level: shadow.Value(50)}); err != nil {
			return err
		}
		if !app.Local() {
			app.Printf("In step with the shadow of %s; change its desired state. Ctrl-C ends it.", *thing)
			<-ctx.Done()
			return nil
		}
		return local(ctx, app, s, mirror)
	})
}

func open(requests *request.Client, thing, name string) (*shadow.Shadow[lamp], error) {
	if name == "" {
		return shadow.Classic[lamp](requests, thing)
	}
	return shadow.Named[lamp](requests, thing, name)
}

// apply drives the lamp. Its level ends at 100: it reports what it has then.
func apply(app *sample.App, change *shadow.Desired[lamp]) error {
	if on, ok := change.State.On.Get(); ok {
		app.Printf("The lamp is switched on: %v", on)
	}
	level, ok := change.State.Level.Get()
	switch {
	case !ok:
		return nil
	case level < 0:
		return fmt.Errorf("level %d: %w", level, shadow.ErrRefused)
	}
	app.Printf("The lamp has level %d", min(level, 100))
	reported := change.State
	reported.Level = shadow.Value(min(level, 100))
	return change.Report(reported)
}

// local changes the desired state as an application would.
func local(ctx context.Context, app *sample.App, s *shadow.Shadow[lamp], mirror *shadow.Mirror[lamp]) error {
	ctx, cancel := context.WithTimeout(ctx, sample.Timeout)
	defer cancel()
	if err := mirror.WaitSynced(ctx); err != nil {
		return err
	}
	for _, desired := range []string{`{"on":true,"level":80}`, `{"level":500}`, `{"level":-1}`} {
		app.Printf("An application wants %s", desired)
		if _, err := app.Core.UpdateShadow(s.Thing(), s.Name(), []byte(`{"state":{"desired":`+desired+`}}`)); err != nil {
			return err
		}
		if err := settle(ctx, s); err != nil {
			return err
		}
	}
	app.Printf("Somebody presses the button of the lamp")
	if err := mirror.Override(lamp{On: shadow.Value(false), Level: shadow.Value(30)}); err != nil {
		return err
	}
	if err := mirror.WaitSynced(ctx); err != nil {
		return err
	}
	document, err := s.Get(ctx)
	if err != nil {
		return err
	}
	var text struct{ State json.RawMessage }
	if err := json.Unmarshal(document.Raw, &text); err != nil {
		return err
	}
	app.Printf("Version %d of the shadow is %s", document.Version, text.State)
	return nil
}

// settle waits until nothing has changed for a moment.
func settle(ctx context.Context, s *shadow.Shadow[lamp]) error {
	last := int64(-1)
	for {
		document, err := s.Get(ctx)
		if err != nil {
			return err
		}
		if document.Version == last {
			return nil
		}
		last = document.Version
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
