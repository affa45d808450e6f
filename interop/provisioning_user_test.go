// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"context"
	"errors"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/provisioning"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// TestProvisioning_trustedUser provisions with a claim that somebody with an
// account fetches for the device, and that is valid for five minutes. One that
// has expired is refused, and the error says so.
func TestProvisioning_trustedUser(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	address := "localhost:" + strconv.Itoa(f.MTLSPort())
	fetched := 0
	options := func(wait time.Duration) provisioning.Options {
		store, err := provisioning.NewFileStore(filepath.Join(t.TempDir(), "device"))
		if err != nil {
			t.Fatal(err)
		}
		o := provisionOptions(address, f.claim, store, nil)
		o.NewClaim = func(context.Context) (*mqtt5.Client, error) {
			fetched++
			claim, err := f.CreateProvisioningClaim("fleet")
			if err != nil {
				return nil, err
			}
			files, err := claim.WriteFiles(t.TempDir())
			if err != nil {
				return nil, err
			}
			f.Advance(wait)
			return identityClient(address, f.claim.CA, files.Cert, files.Key, "trusted-user", nil)
		}
		return o
	}
	o := options(0)
	device, err := provisioning.Provision(within(t), o)
	if err != nil {
		t.Fatal(err)
	}
	_ = device.Client.Close()
	if device.Identity.ThingName != "thing-7" || fetched != 1 {
		t.Errorf("thing %q after %d claims", device.Identity.ThingName, fetched)
	}
	// A provisioned device needs no claim.
	if device, err = provisioning.Provision(within(t), o); err != nil || fetched != 1 {
		t.Fatalf("the second start: %v, %d claims", err, fetched)
	}
	_ = device.Client.Close()

	o = options(6 * time.Minute)
	o.ConnectTimeout = time.Second
	_, err = provisioning.Provision(within(t), o)
	if !errors.Is(err, provisioning.ErrClaim) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "the last attempt: ") {
		t.Errorf("with an expired claim: %v", err)
	}
}
