// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strconv"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iotdataplane"
	"github.com/aws/aws-sdk-go-v2/service/iotdataplane/types"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// dataPlane is a client of the AWS SDK for Go v2 for the HTTPS endpoint of a core.
func dataPlane(t *testing.T, c *iottest.Core, policies ...string) *iotdataplane.Client {
	t.Helper()
	key, err := c.CreateAccessKey(iottest.AccessKeyOptions{Policies: policies})
	if err != nil {
		t.Fatal(err)
	}
	return iotdataplane.New(iotdataplane.Options{
		Region:       c.Region(),
		BaseEndpoint: aws.String("https://localhost:" + strconv.Itoa(c.Port())),
		HTTPClient:   &http.Client{Transport: &http.Transport{TLSClientConfig: c.TLSConfig()}},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: key.AccessKeyID, SecretAccessKey: key.SecretAccessKey, SessionToken: key.SessionToken}, nil
		}),
		RetryMaxAttempts: 1,
	})
}

// The AWS SDK for Go v2 on the data plane: every operation, and how it sees errors.
func TestClients_awsSDKGo(t *testing.T) {
	t.Parallel()
	c := plainCore(t)
	sdk, ctx := dataPlane(t, c), within(t)
	got := make(chan *iottest.Message, 1)
	defer c.Subscribe("a/b", func(m *iottest.Message) { got <- m })()

	if _, err := sdk.Publish(ctx, &iotdataplane.PublishInput{Topic: aws.String("a/b"), Qos: 1, Retain: true, Payload: []byte("hello"),
		ContentType: aws.String("text/plain"), ResponseTopic: aws.String("r"), MessageExpiry: 60, CorrelationData: aws.String("Y29ycg=="),
		PayloadFormatIndicator: types.PayloadFormatIndicatorUtf8Data, UserProperties: aws.String(`[{"k":"v"}]`)}); err != nil {
		t.Fatal(err)
	}
	m := <-got
	if string(m.Payload) != "hello" || m.ContentType != "text/plain" || m.ResponseTopic != "r" || m.Expiry.Seconds() != 60 || !m.PayloadIsUTF8 ||
		string(m.CorrelationData) != "corr" || len(m.UserProperties) != 1 || m.UserProperties[0].Value != "v" {
		t.Errorf("published %+v", m)
	}
	retained, err := sdk.GetRetainedMessage(ctx, &iotdataplane.GetRetainedMessageInput{Topic: aws.String("a/b")})
	if err != nil || string(retained.Payload) != "hello" || retained.Qos != 1 || string(retained.UserProperties) != `[{"k":"v"}]` {
		t.Errorf("retained %+v, %v", retained, err)
	}
	list, err := sdk.ListRetainedMessages(ctx, &iotdataplane.ListRetainedMessagesInput{})
	if err != nil || len(list.RetainedTopics) != 1 || *list.RetainedTopics[0].Topic != "a/b" || list.RetainedTopics[0].PayloadSize != 5 {
		t.Errorf("list %+v, %v", list, err)
	}

	var absent *types.ResourceNotFoundException
	if _, err := sdk.GetThingShadow(ctx, &iotdataplane.GetThingShadowInput{ThingName: aws.String("lamp")}); !errors.As(err, &absent) {
		t.Errorf("a shadow that does not exist: %v", err)
	}
	updated, err := sdk.UpdateThingShadow(ctx, &iotdataplane.UpdateThingShadowInput{ThingName: aws.String("lamp"), ShadowName: aws.String("s"),
		Payload: []byte(`{"state":{"desired":{"on":true}}}`)})
	if err != nil || !bytes.Contains(updated.Payload, []byte(`"version":1`)) {
		t.Errorf("updated %+v, %v", updated, err)
	}
	var conflict *types.ConflictException
	if _, err := sdk.UpdateThingShadow(ctx, &iotdataplane.UpdateThingShadowInput{ThingName: aws.String("lamp"), ShadowName: aws.String("s"),
		Payload: []byte(`{"state":{"desired":{"on":false}},"version":7}`)}); !errors.As(err, &conflict) {
		t.Errorf("another version: %v", err)
	}
	shadow, err := sdk.GetThingShadow(ctx, &iotdataplane.GetThingShadowInput{ThingName: aws.String("lamp"), ShadowName: aws.String("s")})
	if err != nil || !bytes.Contains(shadow.Payload, []byte(`"on":true`)) {
		t.Errorf("shadow %+v, %v", shadow, err)
	}
	names, err := sdk.ListNamedShadowsForThing(ctx, &iotdataplane.ListNamedShadowsForThingInput{ThingName: aws.String("lamp")})
	if err != nil || len(names.Results) != 1 || names.Results[0] != "s" {
		t.Errorf("names %+v, %v", names, err)
	}
	deleted, err := sdk.DeleteThingShadow(ctx, &iotdataplane.DeleteThingShadowInput{ThingName: aws.String("lamp"), ShadowName: aws.String("s")})
	if err != nil || !bytes.Contains(deleted.Payload, []byte(`"version"`)) {
		t.Errorf("deleted %+v, %v", deleted, err)
	}

	if _, err := sdk.DeleteConnection(ctx, &iotdataplane.DeleteConnectionInput{ClientId: aws.String("nobody")}); !errors.As(err, &absent) {
		t.Errorf("nobody's connection: %v", err)
	}
	device, _ := dialCore(t, c.TCPAddr(), "device")
	if _, err := sdk.DeleteConnection(ctx, &iotdataplane.DeleteConnectionInput{ClientId: aws.String("device")}); err != nil {
		t.Error(err)
	}
	eventually(t, "the device has lost its connection", func() bool {
		return device.Stats().Connections > 1 || device.State() != mqtt5.StateConnected
	})

	var invalid *types.InvalidRequestException
	if _, err := sdk.Publish(ctx, &iotdataplane.PublishInput{Topic: aws.String("a/#")}); !errors.As(err, &invalid) {
		t.Errorf("a wildcard: %v", err)
	}
	nothing := dataPlane(t, c, `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*","Resource":"*"}]}`)
	_, err = nothing.Publish(ctx, &iotdataplane.PublishInput{Topic: aws.String("a/b")})
	var refusal interface{ ErrorCode() string }
	if !errors.As(err, &refusal) || refusal.ErrorCode() != "ForbiddenException" {
		t.Errorf("without permission: %v", err)
	}
}
