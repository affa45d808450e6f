// SPDX-License-Identifier: Apache-2.0

package sigv4

import (
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode"
)

// maxSkew is how far the clock of a device may be off before the service
// refuses its signatures.
const maxSkew = 5 * time.Minute

// Refusal is the state of a refused WebSocket upgrade. Fields that are not
// known stay zero; each one that is known makes the hint more precise.
type Refusal struct {
	// Status is the HTTP status code of the answer.
	Status int

	// Date is the Date header of the answer, by which the clock is checked.
	Date string

	// Body is the body of the answer, or its beginning.
	Body []byte

	// Now is the time on the clock that signed, when the answer came.
	Now time.Time

	// Host is the endpoint; Region is the one it was signed for.
	Host, Region string

	// Identity describes the credentials that signed.
	Identity Identity
}

// Identity describes credentials without containing any part of them.
type Identity struct {
	// Anonymous means that the request was not signed.
	Anonymous bool
	// Temporary means that the access key belongs to temporary credentials.
	Temporary bool
	// LongTerm means that the access key is that of a user, which has no session
	// token and does not expire.
	LongTerm bool
	// SessionToken reports that a session token was sent.
	SessionToken bool
	// Damaged names the parts that have white space or quotes in or around them, as
	// copying and env files leave them: "access key id", "secret key", "session token".
	// Parts are joined by " and ".
	Damaged string
	// Expires is when the credentials expire; zero if never or not known.
	Expires time.Time
}

// IdentityOf describes credentials for a [Refusal].
func IdentityOf(c Credentials) Identity {
	return Identity{
		Anonymous: c.Anonymous,
		// The prefix of an access key id is its kind.
		Temporary:    strings.HasPrefix(c.AccessKeyID, "ASIA"),
		LongTerm:     strings.HasPrefix(c.AccessKeyID, "AKIA"),
		SessionToken: c.SessionToken != "",
		Damaged:      damagedParts(c),
		Expires:      c.Expires,
	}
}

// damagedParts names the parts of credentials that hold what no key holds.
func damagedParts(c Credentials) string {
	var parts []string
	for _, p := range []struct{ name, value string }{
		{"access key id", c.AccessKeyID}, {"secret key", c.SecretAccessKey}, {"session token", c.SessionToken},
	} {
		if strings.ContainsFunc(p.value, func(r rune) bool {
			return unicode.IsSpace(r) || strings.ContainsRune("\"'`\u201c\u201d\ufeff\u200b", r)
		}) {
			parts = append(parts, p.name)
		}
	}
	return strings.Join(parts, " and ")
}

// Hint is the function [Hint] with the clock, host, region and identity of the
// signer's latest signature filled in where r does not have them. A signer
// that serves several endpoints at once should be given Host and Region.
func (s *Signer) Hint(r Refusal) string {
	if r.Now.IsZero() {
		r.Now = s.now()
	}
	if last := s.last.Load(); last != nil {
		if r.Host == "" {
			r.Host = last.host
		}
		if r.Region == "" {
			r.Region = last.region
		}
		if r.Identity == (Identity{}) {
			r.Identity = last.identity
		}
	}
	return Hint(r)
}

// Hint says in a sentence or two what most likely made AWS IoT refuse a signed
// WebSocket upgrade and what to do about it. It is empty if the status is not
// one with which signatures are refused. It repeats nothing from the body.
func Hint(r Refusal) string {
	switch r.Status {
	case http.StatusUnauthorized, http.StatusForbidden:
	case http.StatusUpgradeRequired:
		if h := skewHint(r); h != "" {
			return h
		}
		return "the service did not take the request for a fresh WebSocket upgrade: the signature may be stale " +
			"(sign anew for each attempt), or a proxy removed the Upgrade header"
	case http.StatusNotFound:
		return "the path or the endpoint is wrong: AWS IoT serves WebSockets at " + Path +
			" of the endpoint that `aws iot describe-endpoint --endpoint-type iot:Data-ATS` prints"
	case http.StatusBadRequest:
		return skewHint(r)
	default:
		return ""
	}
	for _, cause := range [...]func(Refusal) string{skewHint, anonymousHint, damageHint, tokenHint, regionHint, bodyHint} {
		if h := cause(r); h != "" {
			return h
		}
	}
	return "the usual causes: the identity of these credentials has no policy that allows iot:Connect " +
		"(for Cognito identities both the IAM role and an attached AWS IoT policy are needed); " +
		"the endpoint belongs to another account or region; the secret key does not belong to the access key" +
		tokenReminder(r)
}

func skewHint(r Refusal) string {
	server, err := http.ParseTime(r.Date)
	if err != nil || r.Now.IsZero() {
		return ""
	}
	skew := r.Now.Sub(server).Round(time.Second)
	if skew.Abs() <= maxSkew {
		return ""
	}
	direction := "ahead of"
	if skew < 0 {
		direction = "behind"
	}
	return fmt.Sprintf("the clock of this device is %v %s the service's clock (%s): signatures are refused beyond %v; set the clock, for example by NTP",
		skew.Abs(), direction, server.UTC().Format(time.RFC3339), maxSkew)
}

func anonymousHint(r Refusal) string {
	if !r.Identity.Anonymous {
		return ""
	}
	return "the request was not signed because the credentials are anonymous: use credentials that can sign"
}

func damageHint(r Refusal) string {
	if r.Identity.Damaged == "" {
		return ""
	}
	return "white space or quotes are in the " + r.Identity.Damaged + ": remove them where the credentials come from (a file, an environment variable)"
}

func tokenHint(r Refusal) string {
	body := strings.ToLower(string(r.Body))
	id := r.Identity
	switch {
	case id.Temporary && !id.SessionToken:
		return "the access key is a temporary one but no session token was sent: give the session token that came with it"
	case !id.Expires.IsZero() && !r.Now.IsZero() && !r.Now.Before(id.Expires):
		return fmt.Sprintf("the credentials expired at %s, %v ago: fetch new ones for each attempt (a cached provider does)",
			id.Expires.UTC().Format(time.RFC3339), r.Now.Sub(id.Expires).Round(time.Second))
	case strings.Contains(body, "token") && strings.Contains(body, "expired"):
		return "the session token has expired: fetch new credentials"
	case strings.Contains(body, "security token") || strings.Contains(body, "session token"):
		if id.LongTerm {
			return "the service does not know the access key: it was deleted or made inactive, or belongs to another partition"
		}
		if !id.SessionToken {
			return "the service does not know the access key: it was deleted or made inactive, belongs to another partition, " +
				"or is temporary and lacks the session token that came with it"
		}
		return "the session token is not valid: it must be the one that came with this access key, unsigned and percent-encoded once"
	}
	return ""
}

func regionHint(r Refusal) string {
	if r.Region != "" && r.Host != "" {
		if want, err := RegionFromEndpoint(r.Host); err == nil && want != r.Region {
			return fmt.Sprintf("the request was signed for region %s but the endpoint is in %s: set the region to %s", r.Region, want, want)
		}
	}
	body := strings.ToLower(string(r.Body))
	if strings.Contains(body, "scoped to") || strings.Contains(body, "valid region") {
		return fmt.Sprintf("the region or service in the signature is wrong: it was signed for region %q and must be that of the endpoint", r.Region)
	}
	return ""
}

func bodyHint(r Refusal) string {
	body := strings.ToLower(string(r.Body))
	switch {
	case strings.Contains(body, "signature") && strings.Contains(body, "expired"):
		return "the signature was too old when it arrived: sign anew for each attempt and check the clock of this device"
	case strings.Contains(body, "signature") && strings.Contains(body, "match"):
		return "the signature does not match: the secret key does not belong to the access key, or something between here and the service changed the host, path or query"
	case strings.Contains(body, "not authorized") || strings.Contains(body, "accessdenied") || strings.Contains(body, "iot:connect"):
		return "the identity of these credentials lacks iot:Connect: allow it for arn:aws:iot:<region>:<account>:client/<client id> " +
			"(for Cognito identities in the IAM role and in an attached AWS IoT policy)"
	}
	return ""
}

func tokenReminder(r Refusal) string {
	if r.Identity.SessionToken {
		return "; the session token may have expired or belong to another access key"
	}
	if r.Identity.LongTerm {
		return ""
	}
	return "; temporary credentials were used without their session token"
}
