// SPDX-License-Identifier: Apache-2.0

package iottest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
)

const jobsA = "$aws/things/a/jobs/"

func createJob(t *testing.T, c *iottest.Core, j iottest.Job) {
	t.Helper()
	if j.Things == nil {
		j.Things = []string{"a"}
	}
	if j.Document == "" {
		j.Document = `{"operation":"x"}`
	}
	if _, err := c.CreateJob(j); err != nil {
		t.Fatal(err)
	}
}

// The whole life of a job, as the AWS IoT Device SDK for JavaScript walks through it.
func TestJobs_conversation(t *testing.T) {
	t.Parallel()
	c := iottest.Start(t, plain)
	cl := serviceClient(t, c, "device", jobsA+"notify", jobsA+"notify-next", jobsA+"get/+", jobsA+"start-next/+",
		jobsA+"j1/get/+", jobsA+"j1/update/+")
	cl.request(jobsA+"get", `{"clientToken":"t1"}`)
	cl.expectJSON(jobsA+"get/accepted", `{"inProgressJobs":[],"queuedJobs":[],"timestamp":1,"clientToken":"t1"}`)
	cl.request(jobsA+"start-next", `{"clientToken":"t2"}`)
	cl.expectJSON(jobsA+"start-next/accepted", `{"timestamp":1,"clientToken":"t2"}`)

	createJob(t, c, iottest.Job{ID: "j1", Document: `{"test":"do-something"}`})
	queued := `{"jobId":"j1","queuedAt":1,"lastUpdatedAt":1,"versionNumber":1,"executionNumber":1}`
	cl.expectJSON(jobsA+"notify", `{"jobs":{"QUEUED":[`+queued+`]},"timestamp":1}`)
	cl.expectJSON(jobsA+"notify-next", `{"execution":{"jobId":"j1","thingName":"a","status":"QUEUED","queuedAt":1,"lastUpdatedAt":1,
		"versionNumber":1,"executionNumber":1,"jobDocument":{"test":"do-something"}},"timestamp":1}`)
	cl.request(jobsA+"get", "{}")
	cl.expectJSON(jobsA+"get/accepted", `{"inProgressJobs":[],"queuedJobs":[`+queued+`],"timestamp":1}`)

	running := `"jobId":"j1","thingName":"a","status":"IN_PROGRESS","statusDetails":{"step":"1"},"queuedAt":1,"startedAt":1,
		"lastUpdatedAt":1,"versionNumber":2,"executionNumber":1,"approximateSecondsBeforeTimedOut":`
	cl.request(jobsA+"start-next", `{"statusDetails":{"step":"1"},"stepTimeoutInMinutes":1,"clientToken":"t3"}`)
	f := cl.expect(tPublish)
	cl.puback(f.id)
	if got, want := golden(t, f.payload), golden(t, []byte(`{"execution":{`+running+`60,"jobDocument":{"test":"do-something"}},"timestamp":1,"clientToken":"t3"}`)); strings.Replace(got, ":59", ":60", 1) != want {
		t.Errorf("start-next: %s, want %s", got, want)
	}
	cl.nothing() // to start the first job is no news
	cl.request(jobsA+"j1/get", `{"includeJobDocument":false,"executionNumber":1}`)
	f = cl.expect(tPublish)
	cl.puback(f.id)
	if got, want := golden(t, f.payload), golden(t, []byte(`{"execution":{`+running+`60},"timestamp":1}`)); strings.Replace(got, ":59", ":60", 1) != want {
		t.Errorf("describe: %s, want %s", got, want)
	}

	cl.request(jobsA+"j1/update", `{"status":"IN_PROGRESS","expectedVersion":"2","includeJobExecutionState":true,"includeJobDocument":true,"clientToken":"t4"}`)
	cl.expectJSON(jobsA+"j1/update/accepted", `{"executionState":{"status":"IN_PROGRESS","statusDetails":{"step":"1"},"versionNumber":3},
		"jobDocument":{"test":"do-something"},"timestamp":1,"clientToken":"t4"}`)
	cl.request(jobsA+"j1/update", `{"status":"SUCCEEDED","clientToken":"t5"}`)
	cl.expectJSON(jobsA+"j1/update/accepted", `{"timestamp":1,"clientToken":"t5"}`)
	cl.expectJSON(jobsA+"notify", `{"jobs":{},"timestamp":1}`)
	cl.expectJSON(jobsA+"notify-next", `{"timestamp":1}`)
	cl.nothing()
	if e, ok := c.JobExecution("j1", "a"); !ok || e.Status != iottest.JobSucceeded || e.Version != 4 {
		t.Errorf("execution %+v", e)
	}
}

// The head of the queue decides on notify-next, its members on notify.
func TestJobs_notifications(t *testing.T) {
	t.Parallel()
	c := iottest.Start(t, plain)
	cl := serviceClient(t, c, "device", jobsA+"notify", jobsA+"notify-next")
	expect := func(topics ...string) {
		t.Helper()
		for _, topic := range topics {
			f := cl.expect(tPublish)
			cl.puback(f.id)
			if f.topic != jobsA+topic {
				t.Fatalf("message on %s, want %s", f.topic, topic)
			}
		}
		cl.nothing()
	}
	update := func(id, status string) {
		t.Helper()
		if _, err := c.UpdateJobExecution("a", id, []byte(`{"status":"`+status+`"}`)); err != nil {
			t.Fatal(err)
		}
	}
	createJob(t, c, iottest.Job{ID: "j1"})
	expect("notify", "notify-next")
	createJob(t, c, iottest.Job{ID: "j2"})
	expect("notify")
	createJob(t, c, iottest.Job{ID: "j3"})
	expect("notify")
	update("j3", "IN_PROGRESS") // overtakes
	expect("notify-next")
	update("j1", "IN_PROGRESS")
	expect()
	if err := c.CancelJob("j2", false); err != nil {
		t.Fatal(err)
	}
	expect("notify")
	if err := c.CancelJob("j3", false); err != nil {
		t.Fatal(err)
	}
	expect()
	if err := c.CancelJob("j3", true); err != nil {
		t.Fatal(err)
	}
	expect("notify", "notify-next")
	if err := c.DeleteJob("j1", false); err == nil {
		t.Error("a job in progress was deleted without force")
	}
	if err := c.DeleteJob("j1", true); err != nil {
		t.Fatal(err)
	}
	expect("notify", "notify-next")
	_, err := c.UpdateJobExecution("a", "j1", []byte(`{"status":"SUCCEEDED"}`))
	var rejected *iottest.ServiceError
	if !errors.As(err, &rejected) || rejected.Code != "ResourceNotFound" {
		t.Errorf("update of a deleted job: %v", err)
	}
	if err := c.AddJobTarget("j2", "b"); err != nil {
		t.Error(err)
	}
	if e, ok := c.JobExecution("j2", "b"); !ok || e.Status != iottest.JobQueued {
		t.Errorf("execution of a target that was added: %+v", e)
	}
	for _, err := range []error{c.AddJobTarget("none", "b"), c.AddJobTarget("j2", "b"), c.CancelJob("none", true), c.DeleteJob("none", true), c.CancelJobExecution("none", "a", true),
		c.CancelJobExecution("j2", "a", true)} {
		if err == nil {
			t.Error("no error")
		}
	}
}

func TestJobs_rejections(t *testing.T) {
	t.Parallel()
	c := iottest.Start(t, plain)
	cl := serviceClient(t, c, "device") // answers come without a subscription
	createJob(t, c, iottest.Job{ID: "done"})
	if _, err := c.UpdateJobExecution("a", "done", []byte(`{"status":"FAILED","statusDetails":{"k":"v"}}`)); err != nil {
		t.Fatal(err)
	}
	createJob(t, c, iottest.Job{ID: "j"})
	for _, tc := range []struct{ topic, payload, code, more string }{
		{"get", `[]`, "InvalidJson", ""},
		{"get", `{`, "InvalidJson", ""},
		{"get", "\xff", "InvalidJson", ""},
		{"get", `{"clientToken":1}`, "InvalidRequest", ""},
		{"get", `{"clientToken":"` + strings.Repeat("x", 65) + `"}`, "InvalidRequest", ""},
		{"foo", `{}`, "InvalidTopic", ""},
		{"j/foo", `{}`, "InvalidTopic", ""},
		{"a b/get", `{}`, "InvalidRequest", ""},
		{"none/get", `{}`, "ResourceNotFound", ""},
		{"j/get", `{"executionNumber":2}`, "ResourceNotFound", ""},
		{"done/get", `{}`, "TerminalStateReached", ""},
		{"none/update", `{"status":"SUCCEEDED"}`, "ResourceNotFound", ""},
		{"$next/update", `{"status":"SUCCEEDED"}`, "InvalidRequest", ""},
		{"j/update", `{}`, "InvalidRequest", ""},
		{"j/update", `{"status":"CANCELED"}`, "InvalidRequest", ""},
		{"j/update", `{"status":"IN_PROGRESS","statusDetails":{"k":1}}`, "InvalidRequest", ""},
		{"j/update", `{"status":"IN_PROGRESS","statusDetails":{"k":""}}`, "InvalidRequest", ""},
		{"j/update", `{"status":"IN_PROGRESS","statusDetails":{"k k":"v"}}`, "InvalidRequest", ""},
		{"j/update", `{"status":"IN_PROGRESS","stepTimeoutInMinutes":0}`, "InvalidRequest", ""},
		{"j/update", `{"status":"IN_PROGRESS","expectedVersion":99}`, "VersionMismatch", `,"executionState":{"status":"QUEUED","versionNumber":1}`},
		{"done/update", `{"status":"SUCCEEDED"}`, "InvalidStateTransition", `,"executionState":{"status":"FAILED","versionNumber":2,"statusDetails":{"k":"v"}}`},
	} {
		cl.request(jobsA+tc.topic, tc.payload)
		f := cl.expect(tPublish)
		cl.puback(f.id)
		var body map[string]any
		if err := json.Unmarshal(f.payload, &body); err != nil {
			t.Fatal(err)
		}
		message, _ := body["message"].(string)
		want := golden(t, []byte(fmt.Sprintf(`{"code":%q,"message":%q,"timestamp":1%s}`, tc.code, message, tc.more)))
		if got := golden(t, f.payload); f.topic != jobsA+tc.topic+"/rejected" || message == "" || got != want {
			t.Errorf("%s %s: %s %s, want %s", tc.topic, tc.payload, f.topic, got, want)
		}
	}
	// Nobody else gets answers, and answers are no requests.
	other := serviceClient(t, c, "other", jobsA+"get/+")
	cl.request(jobsA+"get", "")
	cl.expect(tPublish)
	cl.request(jobsA+"get/accepted", "{}")
	if f := other.expect(tPublish); string(f.payload) != "{}" {
		t.Errorf("another client got %s", f.payload)
	}
	cl.nothing()
}

// By an option, answers go only to those who subscribed.
func TestJobs_answersNeedSubscription(t *testing.T) {
	t.Parallel()
	c := iottest.Start(t, plain, func(o *iottest.Options) { o.Services.JobAnswersNeedSubscription = true })
	cl := serviceClient(t, c, "device", jobsA+"get/+")
	cl.request(jobsA+"start-next", "")
	cl.nothing()
	cl.request(jobsA+"get", "")
	cl.expectJSON(jobsA+"get/accepted", `{"inProgressJobs":[],"queuedJobs":[],"timestamp":1}`)
}

func TestJobs_timeoutsAndRetries(t *testing.T) {
	t.Parallel()
	c := iottest.Start(t)
	createJob(t, c, iottest.Job{ID: "j", InProgressTimeout: 10 * time.Minute, Retries: 2})
	update := func(body string) {
		t.Helper()
		if _, err := c.UpdateJobExecution("a", "j", []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	status := func(want ...string) {
		t.Helper()
		var got []string
		for _, e := range c.JobExecutions("a") {
			got = append(got, fmt.Sprint(e.Number, e.Status))
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("executions %v, want %v", got, want)
		}
	}
	update(`{"status":"IN_PROGRESS","stepTimeoutInMinutes":2}`)
	c.Advance(time.Minute)
	update(`{"status":"IN_PROGRESS","stepTimeoutInMinutes":2}`) // renewed
	c.Advance(time.Minute + time.Second)
	update(`{"status":"IN_PROGRESS"}`) // leaves the timer
	status("1IN_PROGRESS")
	c.Advance(time.Minute)
	status("1TIMED_OUT", "2QUEUED")
	update(`{"status":"IN_PROGRESS","stepTimeoutInMinutes":100}`)
	update(`{"status":"IN_PROGRESS","stepTimeoutInMinutes":5}`)
	update(`{"status":"IN_PROGRESS","stepTimeoutInMinutes":-1}`) // ends the step timer, not the one of the job
	c.Advance(6 * time.Minute)
	status("1TIMED_OUT", "2IN_PROGRESS")
	c.Advance(5 * time.Minute)
	status("1TIMED_OUT", "2TIMED_OUT", "3QUEUED")
	update(`{"status":"FAILED"}`)
	status("1TIMED_OUT", "2TIMED_OUT", "3FAILED")
	c.Advance(24 * time.Hour)
	status("1TIMED_OUT", "2TIMED_OUT", "3FAILED")
}

func TestJobs_namespaces(t *testing.T) {
	t.Parallel()
	for _, shared := range []bool{false, true} {
		c := iottest.Start(t, plain, func(o *iottest.Options) { o.Services.JobNamespacesInDefault = shared })
		cl := serviceClient(t, c, "device", jobsA+"+", jobsA+"$next/namespace-gg/get/+")
		createJob(t, c, iottest.Job{ID: "j1", Namespace: "gg"})
		want := []string{"notify-namespace-gg", "notify-next-namespace-gg"}
		if shared {
			want = append([]string{"notify", "notify-next"}, want...)
		}
		for _, topic := range want {
			if f := cl.expect(tPublish); f.topic != jobsA+topic {
				t.Errorf("message on %s, want %s", f.topic, topic)
			}
		}
		cl.request(jobsA+"$next/namespace-gg/get", `{"includeJobDocument":false}`)
		cl.expectJSON(jobsA+"$next/namespace-gg/get/accepted", `{"execution":{"jobId":"j1","thingName":"a","status":"QUEUED",
			"queuedAt":1,"lastUpdatedAt":1,"versionNumber":1,"executionNumber":1},"timestamp":1}`)
		cl.request(jobsA+"$next/get", ``)
		if f := cl.expect(tPublish); strings.Contains(string(f.payload), "j1") != shared {
			t.Errorf("without namespace: %s", f.payload)
		}
		cl.request(jobsA+"j1/namespace-gg/update", `{"status":"REJECTED"}`)
		if f := cl.expect(tPublish); f.topic != jobsA+"j1/namespace-gg/update/accepted" {
			t.Errorf("message on %s", f.topic)
		}
	}
}

func TestJobs_documents(t *testing.T) {
	t.Parallel()
	c := iottest.Start(t)
	createJob(t, c, iottest.Job{ID: "j", Parameters: map[string]string{"P": `a"b`}, PresignedFor: time.Minute,
		Document: `{"p":"${aws:iot:parameter:P}","u":"${aws:iot:s3-presigned-url:http://127.0.0.1/f?x=1}"}`})
	describe := func() string {
		t.Helper()
		b, err := c.DescribeJobExecution("a", "$next", []byte(`{"includeJobDocument":true}`))
		if err != nil {
			t.Fatal(err)
		}
		var body struct{ Execution struct{ JobDocument string } } // over HTTPS it is a string
		var document struct{ P, U string }
		if err := errors.Join(json.Unmarshal(b, &body), json.Unmarshal([]byte(body.Execution.JobDocument), &document)); err != nil {
			t.Fatalf("%v: %s", err, b)
		}
		if document.P != `a"b` || !strings.HasPrefix(document.U, "http://127.0.0.1/f?x=1&X-Amz-Date=") || !strings.Contains(document.U, "X-Amz-Expires=60&") {
			t.Errorf("document %+v", document)
		}
		return document.U
	}
	if first, second := describe(), describe(); first == second {
		t.Error("the same URL twice")
	}
	if b, err := c.DescribeJobExecution("a", "j", nil); err != nil || strings.Contains(string(b), "jobDocument") {
		t.Errorf("%s, %v", b, err)
	}
	if b, err := c.GetPendingJobExecutions("a"); err != nil || !strings.Contains(string(b), `"queuedJobs":[{`) {
		t.Errorf("%s, %v", b, err)
	}
	if b, err := c.StartNextPendingJobExecution("a", nil); err != nil || !strings.Contains(string(b), `"jobDocument":"{`) {
		t.Errorf("%s, %v", b, err)
	}
	for _, j := range []iottest.Job{
		{Document: "{}"}, {Things: []string{"a b"}, Document: "{}"}, {Things: []string{"a", "a"}, Document: "{}"},
		{ID: "a b", Things: []string{"a"}, Document: "{}"}, {ID: "j", Things: []string{"a"}, Document: "{}"},
		{Things: []string{"a"}, Document: "[]"}, {Things: []string{"a"}, Document: "{}" + strings.Repeat(" ", 32768)},
		{Things: []string{"a"}, Document: `{"a":"${aws:iot:parameter:Q}"}`}, {Things: []string{"a"}, Document: "{}", Namespace: "/"},
	} {
		if _, err := c.CreateJob(j); err == nil {
			t.Errorf("created: %+v", j)
		}
	}
}

// Shadows and jobs survive a restart of the core, time-outs included.
func TestServices_survive(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	folder := func(o *iottest.Options) { o.Dir = dir }
	c, err := iottest.New(iottest.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	createJob(t, c, iottest.Job{ID: "j"})
	createJob(t, c, iottest.Job{ID: "k", Namespace: "n"})
	createJob(t, c, iottest.Job{ID: "gone"})
	_, err = c.StartNextPendingJobExecution("a", []byte(`{"stepTimeoutInMinutes":5}`))
	_, err2 := c.UpdateShadow("a", "", []byte(`{"state":{"desired":{"n":12345678901234567890}}}`))
	_, err3 := c.UpdateShadow("a", "x", []byte(`{"state":{"desired":{"n":1}}}`))
	_, err4 := c.DeleteShadow("a", "x")
	command := send(t, c, iottest.Command{Thing: "a", Payload: []byte("{}"), Timeout: time.Minute, Token: "t"})
	if err := errors.Join(err, err2, err3, err4, c.DeleteJob("gone", false), c.Close()); err != nil {
		t.Fatal(err)
	}
	c = iottest.Start(t, folder)
	if b, err := c.GetShadow("a", ""); err != nil || !strings.Contains(string(b), `"delta":{"n":12345678901234567890}`) {
		t.Errorf("shadow %s, %v", b, err)
	}
	if b, err := c.UpdateShadow("a", "x", []byte(`{"state":{}}`)); err != nil || !strings.Contains(string(b), `"version":2`) {
		t.Errorf("shadow %s, %v", b, err)
	}
	jobs := c.JobExecutions("a")
	if len(jobs) != 2 || jobs[0].JobID != "j" || jobs[0].Status != iottest.JobInProgress || jobs[1].JobID != "k" {
		t.Errorf("jobs %+v", jobs)
	}
	if again := send(t, c, iottest.Command{Thing: "a", Payload: []byte("{}"), Timeout: time.Minute, Token: "t"}); again != command {
		t.Error("the token of a command was forgotten")
	}
	c.Advance(6 * time.Minute)
	if x, _ := c.CommandExecution(command); x.Status != iottest.CommandTimedOut {
		t.Errorf("command after its time-out: %+v", x)
	}
	if e, _ := c.JobExecution("j", "a"); e.Status != iottest.JobTimedOut {
		t.Errorf("after the step time-out: %+v", e)
	}
}
