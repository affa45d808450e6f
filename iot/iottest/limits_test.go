// SPDX-License-Identifier: Apache-2.0

package iottest_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
)

func wantServiceError(t *testing.T, err error, status int, word string) {
	t.Helper()
	var e *iottest.ServiceError
	if !errors.As(err, &e) || e.Status != status || !strings.Contains(e.Message, word) {
		t.Errorf("got %v, want %d with %s", err, status, word)
	}
}

// A core never keeps more shadows than it may, and what it remembers of deleted
// ones makes room.
func TestLimits_shadows(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	few := func(o *iottest.Options) { o.Services.ShadowMaxCount, o.Dir = 3, dir }
	c := iottest.Start(t, few)
	update := func(name string) error {
		_, err := c.UpdateShadow("thing", name, []byte(`{"state":{"reported":{"n":"0123456789"}}}`))
		return err
	}
	for i := range 3 {
		if err := update(fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	wantServiceError(t, update("3"), 429, "ShadowMaxCount")
	if err := update("0"); err != nil {
		t.Errorf("an update of one that is there: %v", err)
	}
	for _, name := range []string{"0", "1"} {
		if _, err := c.DeleteShadow("thing", name); err != nil {
			t.Fatal(err)
		}
		c.Advance(time.Second)
	}
	for _, name := range []string{"3", "4"} {
		if err := update(name); err != nil {
			t.Error(err)
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = iottest.Start(t, few)
	wantServiceError(t, update("5"), 429, "ShadowMaxCount")

	c = iottest.Start(t, func(o *iottest.Options) { o.Services.ShadowMaxTotalBytes = 80 })
	if err := errors.Join(update("a"), update("b")); err != nil {
		t.Fatal(err)
	}
	wantServiceError(t, update("c"), 429, "ShadowMaxTotalBytes")
	if _, err := c.DeleteShadow("thing", "a"); err != nil {
		t.Fatal(err)
	}
	if err := update("c"); err != nil {
		t.Error(err)
	}
}

// A core forgets the jobs that were finished first, before and after a restart.
func TestLimits_jobs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	few := func(o *iottest.Options) { o.Services.JobMaxFinished, o.Services.JobMaxOpen, o.Dir = 2, 2, dir }
	c := iottest.Start(t, few)
	create := func(id string) error {
		_, err := c.CreateJob(iottest.Job{ID: id, Things: []string{"thing"}, Document: "{}"})
		return err
	}
	known := func() string {
		var ids []string
		for _, e := range c.JobExecutions("thing") {
			ids = append(ids, e.JobID)
		}
		return strings.Join(ids, " ")
	}
	for _, id := range []string{"a", "b", "c"} {
		if err := create(id); err != nil {
			t.Fatal(err)
		}
		if id == "a" {
			continue // stays open
		}
		if err := c.CancelJob(id, false); err != nil {
			t.Fatal(err)
		}
		c.Advance(time.Second)
	}
	if err := create("d"); err != nil {
		t.Fatal(err)
	}
	wantServiceError(t, create("e"), 409, "JobMaxOpen")
	if err := c.CancelJob("d", false); err != nil {
		t.Fatal(err)
	}
	if got := known(); got != "a c d" {
		t.Errorf("jobs %s", got)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = iottest.Start(t, few)
	if err := c.CancelJob("a", false); err != nil {
		t.Fatal(err)
	}
	if got := known(); got != "a d" {
		t.Errorf("jobs after the restart: %s", got)
	}
	if err := c.AddJobTarget("d", "other"); err != nil { // open again
		t.Fatal(err)
	}
	if err := errors.Join(create("f"), c.CancelJob("f", false)); err != nil {
		t.Fatal(err)
	}
	if got := known(); got != "a d f" {
		t.Errorf("jobs after one was opened again: %s", got)
	}
}

// Reports have a bound in bytes, and survive a restart.
func TestLimits_defenderReports(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	small := func(o *iottest.Options) { o.Services.DefenderMaxTotalBytes, o.Dir = 400, dir }
	c := iottest.Start(t, plain, small)
	for i := range 10 {
		payload := fmt.Sprintf(`{"header":{"report_id":%d,"version":"1.0"},"metrics":{"network_stats":{"bytes_in":1}}}`, i)
		if err := c.Publish(iottest.Message{Topic: fmt.Sprintf("$aws/things/t%d/defender/metrics/json", i%2), Payload: []byte(payload)}); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		var ids []int64
		for _, thing := range []string{"t0", "t1"} {
			for _, r := range c.DefenderReports(thing) {
				ids = append(ids, r.ID)
				if fmt.Sprint(r.Metrics["network_stats"]) != "map[bytes_in:1]" {
					t.Errorf("report %+v", r)
				}
			}
		}
		if fmt.Sprint(ids) != "[6 8 7 9]" {
			t.Errorf("reports %v", ids)
		}
		c = restart(t, c, dir)
	}
}

// Retained messages have a bound in bytes.
func TestLimits_retained(t *testing.T) {
	t.Parallel()
	c := iottest.Start(t, func(o *iottest.Options) { o.Quotas.MaxRetainedBytes = 1000 })
	retain := func(topic, payload string) {
		t.Helper()
		if err := c.Publish(iottest.Message{Topic: topic, Payload: []byte(payload), Retain: true}); err != nil {
			t.Fatal(err)
		}
	}
	for _, topic := range []string{"a", "b", "c", "d", "c"} {
		retain(topic, "x")
	}
	wait(t, c, iottest.Dropped, "")
	if n := len(c.RetainedMessages()); n != 3 || c.Retained("d") != nil {
		t.Errorf("%d retained messages", n)
	}
	retain("a", "")
	retain("d", "x")
	if c.Retained("d") == nil {
		t.Error("no room after one was deleted")
	}
}

// A template that refuses survives a restart: it needs no hook.
func TestProvisioningTemplate_refusesAfterRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := restart(t, nil, dir)
	if err := c.AddProvisioningTemplate(iottest.ProvisioningTemplate{Name: "closed", Refuses: true}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		const certificates, register = "$aws/certificates/create/", "$aws/provisioning-templates/closed/provision/"
		cl := serviceClient(t, c, "claim", certificates+"json/+", register+"json/+")
		format := wireFormats[0]
		made := format.call(cl, certificates, map[string]any{}, "accepted")
		got := format.call(cl, register, map[string]any{"certificateOwnershipToken": made["certificateOwnershipToken"],
			"parameters": map[string]any{"SerialNumber": "1"}}, "rejected")
		if got["errorCode"] != "ACCESS_DENIED" {
			t.Errorf("got %v", got)
		}
		c = restart(t, c, dir)
	}
}
