// SPDX-License-Identifier: Apache-2.0

package credentials_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/credentials"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/gocrt/aws-iot-device-sdk-go/auth/authtest"
	"github.com/gocrt/aws-iot-device-sdk-go/auth/credentials"
	"github.com/gocrt/aws-iot-device-sdk-go/auth/sigv4"
)

// print formats and logs v in every way that a program may, also as part of
// something else, even in an unexported field, where no method of v is called.
func print(out *bytes.Buffer, log *zap.Logger, v any) {
	printPart(out, log, v, struct{ unexported any }{v})
}

func printPart(out *bytes.Buffer, log *zap.Logger, v any, more ...any) {
	h := struct{ Exported any }{v}
	for _, v := range append([]any{v, h, &h, []any{v}, map[string]any{"v": v}}, more...) {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			fmt.Fprintf(out, verb+"\n", v)
		}
		if b, err := json.Marshal(v); err == nil {
			out.Write(b)
		}
	}
	log.Info("value", zap.Any("any", v), zap.Reflect("reflect", v))
	log.Sugar().Infow("value", "v", v)
	slog.New(slog.NewTextHandler(out, nil)).Info("value", "v", v)
	slog.New(slog.NewJSONHandler(out, nil)).Info("value", "v", v)
	if err, ok := v.(error); ok {
		for ; err != nil; err = errors.Unwrap(err) {
			fmt.Fprintf(out, "%v %+v %#v\n", err, err, err)
			log.Error("error", zap.Error(err))
		}
	}
}

func checkSecrets(t *testing.T, out *bytes.Buffer) {
	t.Helper()
	for _, s := range secrets {
		for _, form := range []string{s, fmt.Sprintf("%x", s), fmt.Sprintf("%X", s), strings.ReplaceAll(s, "/", `\/`), strings.ReplaceAll(s, "/", "%2F")} {
			if i := strings.Index(out.String(), form); i >= 0 {
				t.Errorf("secret printed: …%s…", out.String()[max(0, i-200):min(out.Len(), i+40)])
			}
		}
	}
}

func logger(out *bytes.Buffer) *zap.Logger {
	return zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(out), zap.DebugLevel))
}

func TestSecrets_remote(t *testing.T) {
	for _, r := range remotes {
		t.Run(r.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var out bytes.Buffer
				w := newWorld(t)
				defer settle(w)
				log := logger(&out)
				w.cache.Logger = log
				p, _ := r.build(t, w)
				print(&out, log, p)
				c := mustRetrieve(t, p)
				print(&out, log, p)
				signer, err := sigv4.New(sigv4.Options{Credentials: p, Region: region})
				if err != nil {
					t.Fatal(err)
				}
				url, err := signer.Presign(t.Context(), "a-ats.iot.eu-west-1.amazonaws.com")
				if err != nil || !strings.Contains(url, c.AccessKeyID) {
					t.Fatal("not signed", err)
				}
				print(&out, log, signer)
				time.Sleep(57 * time.Minute)
				for _, f := range []*authtest.Failure{
					{Status: 403, Code: "Denied", Message: "no"},
					{Status: 200, Body: []byte(`{"Credentials":{"SecretKey":"secret/key","Expiration":"secret/key"},"credentials":{"expiration":"secret/key"},"roleCredentials":"secret/key","Expiration":"secret/key"}`)},
					{Status: 200, Body: []byte("secret/key session/token")},
					{Drop: true},
					{Hang: true},
				} {
					w.fail.Store(f)
					p.Invalidate()
					_, err := p.Retrieve(t.Context())
					print(&out, log, err)
				}
				checkSecrets(t, &out)
				if !strings.Contains(out.String(), "no credentials") {
					t.Error("nothing was logged")
				}
			})
		})
	}
}

func TestSecrets_optionsAndOthers(t *testing.T) {
	var out bytes.Buffer
	log := logger(&out)
	so := credentials.StaticOptions{AccessKeyID: "AKID", SecretAccessKey: "SECRET-KEY", SessionToken: "SECRET-TOKEN"}
	st := must(t)(credentials.NewStatic(so))
	foreign := sdk.NewStaticCredentialsProvider("AKID", "SECRET-KEY", "SECRET-TOKEN") // prints itself
	cfg := aws.Config{Credentials: foreign}
	chain := must(t)(credentials.NewChain(st, foreign))
	process := credentials.ProcessOptions{Command: "login --password SECRET-PASSWORD"}
	// Options are plain structs, which cannot hide from reflection.
	for _, v := range []any{
		so, &so, process, &process,
		credentials.CognitoOptions{IdentityID: identity, Logins: map[string]string{"a": "SECRET-LOGIN"}, Config: &cfg},
		credentials.AssumeRoleOptions{RoleARN: role, Source: foreign, Config: &cfg},
		credentials.WebIdentityOptions{Config: &cfg},
		credentials.SSOOptions{Config: &cfg},
		credentials.X509Options{}, credentials.IMDSOptions{}, credentials.ContainerOptions{}, credentials.ProfileOptions{}, credentials.DefaultOptions{},
	} {
		printPart(&out, log, v)
	}
	for _, v := range []any{
		st, chain,
		must(t)(credentials.NewProcess(process)),
		must(t)(credentials.NewCached(foreign, credentials.CacheOptions{})),
		must(t)(credentials.FromConfig(cfg)),
		must(t)(credentials.NewDelegate(foreign.Retrieve)),
		must(t)(credentials.NewDefault(credentials.DefaultOptions{})),
		must(t)(credentials.NewProfile(credentials.ProfileOptions{})),
		credentials.NewAnonymous(), credentials.NewEnvironment(), (*credentials.Provider)(nil),
	} {
		print(&out, log, v)
	}
	boom := must(t)(credentials.NewDelegate(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{SecretAccessKey: "SECRET-KEY"}, nil
	}))
	_, err := must(t)(credentials.NewChain(boom)).Retrieve(t.Context())
	print(&out, log, err)
	checkSecrets(t, &out)
}
