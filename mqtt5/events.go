// SPDX-License-Identifier: Apache-2.0

package mqtt5

import "time"

// AttemptingConnect: an attempt to connect begins. It is followed by exactly
// one [ConnectionSuccess] or [ConnectionFailure].
type AttemptingConnect struct {
	// Attempt counts the attempts since the last connection or start, from 1.
	Attempt int
}

// ConnectionSuccess: the server accepted the connection. It is followed by
// exactly one [Disconnection].
type ConnectionSuccess struct {
	Connack  *ConnackPacket
	Settings NegotiatedSettings
	// Attempt is how many attempts it took.
	Attempt int
	// LostSubscriptions is how many subscriptions are gone, because the server
	// has no session and [ClientOptions.Resubscribe] is not set.
	LostSubscriptions int
}

// ConnectionFailure: an attempt to connect failed.
type ConnectionFailure struct {
	// Err is why. [errors.As] finds [*DialError], [*ConnackError],
	// [*ProtocolError] and the errors of the transport's layers in it.
	Err error
	// Connack is the server's refusal, if it was one.
	Connack *ConnackPacket
	// Attempt counts the attempts since the last connection or start.
	Attempt int
	// WillRetry reports that another attempt follows, after Delay.
	WillRetry bool
	Delay     time.Duration
}

// Disconnection: an established connection ended.
type Disconnection struct {
	// Err is why: the first cause, if there were several.
	Err error
	// Disconnect is the server's DISCONNECT, if it sent one.
	Disconnect *DisconnectPacket
	// WillRetry reports that another attempt follows, after Delay.
	WillRetry bool
	Delay     time.Duration
}

// Stopped: the client has stopped after [Client.Stop], [Client.Close], or the
// refusal of [ClientOptions.ShouldRetry].
type Stopped struct {
	// Err is nil after Stop and Close; otherwise why the client stopped by
	// itself, matching [ErrGaveUp].
	Err error
}

// Closed: [Client.Close] has ended the client for good, whether it had stopped
// before or not. It is the last event, and only the handlers of
// [Client.HandleEvents] get it: it is for code that depends on a client which
// others close.
type Closed struct{}

// Resubscription is the outcome for the filters that
// [ClientOptions.Resubscribe] subscribed to again.
type Resubscription struct {
	// Restored are the filters that the server granted.
	Restored []string
	// Refused are the filters that the server refused, with its reason. The
	// client forgets them; the others stay.
	Refused map[string]error
	// Err is why the attempt as a whole failed; nil if the server answered.
	// The filters are kept for the next connection then.
	Err error
}

// State is where a client is.
type State uint8

// The states of a client.
const (
	StateStopped       State = iota
	StateConnecting          // an attempt is under way
	StateConnected           // the server accepted the connection
	StateDisconnecting       // the connection is being ended
	StateWaiting             // for the delay before the next attempt
	StateClosed              // for good
)

var stateNames = [...]string{"stopped", "connecting", "connected", "disconnecting", "waiting", "closed"}

// String returns the state in lower case.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "unknown"
}
