// SPDX-License-Identifier: Apache-2.0

package credentials_test

import (
	"context"
	"errors"
	"testing"
	"time"
	"unsafe"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/gocrt/aws-iot-device-sdk-go/auth/credentials"
)

// asleep returns the time that [time.Now] gives after a machine has slept: the
// wall clock has moved, and the monotonic one has not. Package time has no way
// to make one; the layout is that of its documentation: seconds above 30 bits
// of nanoseconds.
func asleep(t time.Time, d time.Duration) time.Time {
	wall := (*uint64)(unsafe.Pointer(&t))
	*wall += uint64(d/time.Second) << 30
	return t
}

func TestCache_afterSleep(t *testing.T) {
	t.Parallel()
	awake := time.Now()
	now := asleep(awake, 8*time.Hour)
	if now.Sub(awake) != 0 || now.Round(0).Sub(awake.Round(0)) != 8*time.Hour {
		t.Fatal("package time has another layout")
	}
	for name, expires := range map[string]time.Duration{"expired": time.Hour, "to be renewed": 8*time.Hour + time.Minute, "no expiry": 0} {
		clock, asked := awake, 0
		var fail error
		p, err := credentials.NewCached(aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			asked++
			return aws.Credentials{AccessKeyID: "A", SecretAccessKey: "S", CanExpire: expires > 0, Expires: clock.Round(0).Add(expires)}, fail
		}), credentials.CacheOptions{Jitter: -1, Now: func() time.Time { return clock }})
		if err != nil {
			t.Fatal(err)
		}
		get := func() error {
			_, err := p.Retrieve(context.Background())
			return err
		}
		if err := errors.Join(get(), get()); err != nil || asked != 1 {
			t.Fatalf("%s: asked %d times, %v", name, asked, err)
		}
		clock = now
		if err := get(); err != nil || asked != 2 {
			t.Errorf("%s: asked %d times after sleep, %v", name, asked, err)
		}
		// A clock that is set back behind them says nothing of the credentials.
		clock = awake
		if err := get(); err != nil || asked != 3 {
			t.Errorf("%s: asked %d times after the clock was set back, %v", name, asked, err)
		}
		// Expired credentials are never returned, even if the source fails.
		clock, fail = now, errors.New("no network")
		if err := get(); name == "expired" && !errors.Is(err, fail) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
