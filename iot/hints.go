// SPDX-License-Identifier: Apache-2.0

package iot

import (
	"fmt"
	"strings"

	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
)

// Reason codes that mean the same in every packet.
const (
	unspecifiedError = 0x80
	malformedPacket  = 0x81
	protocolError    = 0x82
	packetIDInUse    = 0x91
)

// Hint says what usually makes AWS IoT Core refuse something, and what to do:
// the policy action and the resource that is probably missing, for instance.
// It is empty if there is nothing to say. The constructors use it for endpoints
// of AWS; others may set it as [mqtt5.ClientOptions.Hint].
func Hint(r mqtt5.Refusal) string {
	switch r.ReasonCode {
	case unspecifiedError:
		return "the service gives no reason: try again later; its log in CloudWatch, once turned on, says more"
	case malformedPacket, protocolError, packetIDInUse:
		return "the service found a packet wrong: if this happens again, report it with a log of the client"
	}
	switch r.Operation {
	case "connect":
		return connectHint(r)
	case "publish":
		return publishHint(r)
	case "subscribe":
		return subscribeHint(r)
	case "unsubscribe":
		switch mqtt5.UnsubackReasonCode(r.ReasonCode) {
		case mqtt5.UnsubackNotAuthorized:
			return fmt.Sprintf("check that a policy of this client allows iot:Subscribe on %s", filterResource(r.Subject))
		case mqtt5.UnsubackTopicFilterInvalid:
			return "a topic filter has at most 256 bytes and 7 slashes"
		}
	case "disconnect":
		return disconnectHint(r)
	}
	return ""
}

// hint is Hint for one way to connect.
func (s *settings) hint(m method) func(mqtt5.Refusal) string {
	judge := m.connectHint
	if a := s.authorizer; a != nil {
		judge = a.refusalHint
	}
	if judge == nil {
		return Hint
	}
	return func(r mqtt5.Refusal) string {
		if code := mqtt5.ConnectReasonCode(r.ReasonCode); r.Operation == "connect" &&
			(code == mqtt5.ConnectNotAuthorized || code == mqtt5.ConnectBadUsernameOrPassword) {
			return judge(r)
		}
		return Hint(r)
	}
}

// refusalHint explains a CONNECT that the authorizer did not let through.
func (a *CustomAuthorizer) refusalHint(r mqtt5.Refusal) string {
	which := "that the endpoint has a default authorizer, which is active"
	if a.Name != "" {
		which = fmt.Sprintf("that the authorizer %q exists and is active", a.Name)
	}
	return fmt.Sprintf("check %s; that it accepts this user name and password, or if it wants a signed token, token key name, token and signature; "+
		"and that the policies it returns allow iot:Connect on %s", which, clientResource(r.Subject))
}

func connectHint(r mqtt5.Refusal) string {
	switch mqtt5.ConnectReasonCode(r.ReasonCode) {
	case mqtt5.ConnectNotAuthorized:
		return fmt.Sprintf("check that a policy attached to the certificate, identity or authorizer result allows iot:Connect on %s, and that the policy's variables fit the client id; "+
			"sessions that outlive the connection and wills may need the connect attributes PersistentConnect and LastWill", clientResource(r.Subject))
	case mqtt5.ConnectClientIdentifierNotValid:
		return "a client id has 1 to 128 bytes, and does not begin with $"
	case mqtt5.ConnectBadUsernameOrPassword:
		return "the custom authorizer did not accept the user name or password"
	case mqtt5.ConnectQuotaExceeded, mqtt5.ConnectionRateExceeded:
		return "one client id may connect once a second, and an account 500 times: check that no other client uses this client id, and connect less often"
	case mqtt5.ConnectQoSNotSupported:
		return "AWS IoT Core has no QoS 2: use QoS 0 or 1 for the will"
	case mqtt5.ConnectRetainNotSupported:
		return "a retained will needs iot:RetainPublish on its topic"
	case mqtt5.ConnectPacketTooLarge:
		return "a packet may have 128 KiB: check the will"
	case mqtt5.ConnectTopicNameInvalid:
		return "the topic of the will has at most 256 bytes and 7 slashes, and does not begin with $"
	case mqtt5.ConnectServerUnavailable, mqtt5.ConnectServerBusy:
		return "the service cannot take connections now: the client tries again by itself, with growing delays"
	}
	return ""
}

func publishHint(r mqtt5.Refusal) string {
	switch mqtt5.PubackReasonCode(r.ReasonCode) {
	case mqtt5.PubackNotAuthorized:
		topic := arn("topic", r.Subject)
		if r.Retain {
			return fmt.Sprintf("check that a policy of this client allows iot:Publish and iot:RetainPublish on %s; topics that begin with $ cannot be retained", topic)
		}
		if strings.HasPrefix(r.Subject, "$") {
			return fmt.Sprintf("check that a policy of this client allows iot:Publish on %s, and that this topic of the service is one to publish to", topic)
		}
		return fmt.Sprintf("check that a policy of this client allows iot:Publish on %s", topic)
	case mqtt5.PubackTopicNameInvalid:
		return "a topic has at most 256 bytes and 7 slashes" + reserved(r.Subject)
	case mqtt5.PubackQuotaExceeded:
		return "a connection may publish 100 messages and 512 KiB a second: publish less often"
	}
	return ""
}

func subscribeHint(r mqtt5.Refusal) string {
	switch mqtt5.SubackReasonCode(r.ReasonCode) {
	case mqtt5.SubackNotAuthorized:
		return fmt.Sprintf("check that a policy of this client allows iot:Subscribe on %s, and iot:Receive on %s for the messages to come",
			filterResource(r.Subject), arn("topic", wildcard(withoutShare(r.Subject))))
	case mqtt5.SubackTopicFilterInvalid:
		return "a topic filter has at most 256 bytes and 7 slashes" + reserved(withoutShare(r.Subject))
	case mqtt5.SubackQuotaExceeded:
		return "a connection may have 50 subscriptions"
	}
	return ""
}

func disconnectHint(r mqtt5.Refusal) string {
	switch mqtt5.DisconnectReasonCode(r.ReasonCode) {
	case mqtt5.DisconnectSessionTakenOver:
		return fmt.Sprintf("another connection uses the client id %q: give each client its own", r.Subject)
	case mqtt5.DisconnectNotAuthorized:
		return "a policy does not allow what was sent last: check iot:Publish on topic/<topic>, iot:Subscribe on topicfilter/<filter> and iot:Receive on topic/<topic>; or the credentials of the connection have ended"
	case mqtt5.DisconnectKeepAliveTimeout:
		return "nothing came from this client for one and a half keep alive intervals: check the network"
	case mqtt5.DisconnectQuotaExceeded, mqtt5.DisconnectMessageRateTooHigh:
		return "a quota of AWS IoT Core was exceeded, such as 8 filters in one subscribe or 100 publishes a second"
	case mqtt5.DisconnectQoSNotSupported:
		return "AWS IoT Core has no QoS 2"
	case mqtt5.DisconnectSubscriptionIdentifiersNotSupported:
		return "AWS IoT Core has no subscription identifiers"
	case mqtt5.DisconnectPacketTooLarge:
		return "a packet may have 128 KiB"
	case mqtt5.DisconnectTopicNameInvalid, mqtt5.DisconnectTopicFilterInvalid:
		return "topics and filters have at most 256 bytes and 7 slashes"
	case mqtt5.DisconnectAdministrativeAction:
		return "an administrator ended the connection, or its time was over: the client connects again by itself"
	case mqtt5.DisconnectServerBusy, mqtt5.DisconnectServerShuttingDown:
		return "the service moves its connections elsewhere: the client connects again by itself"
	case mqtt5.DisconnectReceiveMaximumExceeded:
		return "more publishes were unacknowledged than the service allows: if this happens again, report it with a log of the client"
	case mqtt5.DisconnectTopicAliasInvalid:
		return "AWS IoT Core has 8 topic aliases: lower the number in TopicAliasing"
	}
	return ""
}

// reserved adds what is to be known of topics that begin with $.
func reserved(topic string) string {
	if !strings.HasPrefix(topic, "$") {
		return ""
	}
	return "; topics that begin with $ belong to the service: use those under $aws/ that it documents, and retain nothing there"
}

// arn is the resource of a policy for a topic or the like.
func arn(kind, name string) string {
	return fmt.Sprintf("arn:aws:iot:<region>:<account>:%s/%s", kind, name)
}

func clientResource(id string) string {
	if id == "" {
		id = "<client id>"
	}
	return arn("client", id)
}

// filterResource is the resource of iot:Subscribe, which has the prefix of a
// shared subscription, as the filter has it.
func filterResource(filter string) string { return arn("topicfilter", filter) }

// withoutShare removes the prefix of a shared subscription, which topics do not
// have.
func withoutShare(filter string) string {
	if rest, ok := strings.CutPrefix(filter, "$share/"); ok {
		if _, f, ok := strings.Cut(rest, "/"); ok {
			return f
		}
	}
	return filter
}

// wildcard turns the wildcards of a filter into those of a policy.
func wildcard(filter string) string {
	segments := strings.Split(filter, "/")
	for i, s := range segments {
		if s == "+" || s == "#" {
			segments[i] = "*"
		}
	}
	return strings.Join(segments, "/")
}
