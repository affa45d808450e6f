// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
)

// AllowAllPolicy allows every action on every resource.
const AllowAllPolicy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:*","Resource":"*"}]}`

// DenyAllPolicy has no statement that allows anything.
const DenyAllPolicy = `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"iot:*","Resource":"*"}]}`

// Policy is a parsed AWS IoT policy.
//
// Understood are Effect, Action and Resource with the wildcards '*' and '?',
// the policy variables of a connection (iot:ClientId, iot:CertificateId,
// aws:SourceIp; iot:Connection.Thing.ThingName, .ThingTypeName, .IsAttached and
// .Attributes[name] where the client id is the name of the thing, see
// [WithThing]; and of
// the certificate iot:Certificate.SerialNumber and Country, Organization,
// OrganizationalUnit, State, CommonName and SerialNumber of
// iot:Certificate.Subject and iot:Certificate.Issuer where they have one
// value), and the conditions StringEquals, StringNotEquals, StringLike,
// StringNotLike, Bool, IpAddress and NotIpAddress, with ForAnyValue: and
// ForAllValues: before them, on these variables and on iot:ConnectAttributes. A
// statement with a variable that has no value matches nothing. What is not
// understood is an error of [ParsePolicy].
//
// A shared subscription needs iot:Subscribe on the filter with its
// $share/<name>/, and iot:Receive on the topic, with or without that.
type Policy struct {
	document   string
	statements []statement
}

type statement struct {
	allow     bool
	actions   []string
	resources []string
	// conditions by operator, then by key
	conditions map[string]map[string][]string
}

// rawStatement is a statement as it is written.
type rawStatement struct {
	Sid       string
	Effect    string
	Action    oneOrMany
	Resource  oneOrMany
	Condition map[string]map[string]oneOrMany
}

// ParsePolicy reads a policy document.
func ParsePolicy(document string) (*Policy, error) {
	var doc struct {
		Version   string
		ID        string
		Statement json.RawMessage
	}
	if err := strictJSON([]byte(document), &doc); err != nil {
		return nil, fmt.Errorf("iottest: policy document: %w", err)
	}
	var raw []rawStatement
	if err := strictJSON(doc.Statement, &raw); err != nil {
		var one rawStatement
		if oneErr := strictJSON(doc.Statement, &one); oneErr != nil {
			if b := bytes.TrimSpace(doc.Statement); len(b) > 0 && b[0] == '{' {
				err = oneErr
			}
			return nil, fmt.Errorf("iottest: policy statements: %w", err)
		}
		raw = []rawStatement{one}
	}
	p := &Policy{document: document}
	for i, r := range raw {
		if err := r.check(); err != nil {
			return nil, fmt.Errorf("iottest: policy statement %d: %w", i, err)
		}
		s := statement{allow: r.Effect == "Allow", actions: r.Action, resources: r.Resource}
		for op, keys := range r.Condition {
			for key, values := range keys {
				if s.conditions == nil {
					s.conditions = map[string]map[string][]string{}
				}
				if s.conditions[op] == nil {
					s.conditions[op] = map[string][]string{}
				}
				s.conditions[op][key] = values
			}
		}
		p.statements = append(p.statements, s)
	}
	return p, nil
}

// oneOrMany reads a JSON string (or boolean) or an array of strings.
type oneOrMany []string

func (o *oneOrMany) UnmarshalJSON(b []byte) error {
	var many []string
	if json.Unmarshal(b, &many) == nil {
		*o = many
		return nil
	}
	var flag bool
	if json.Unmarshal(b, &flag) == nil {
		*o = oneOrMany{fmt.Sprint(flag)}
		return nil
	}
	var one string
	if err := json.Unmarshal(b, &one); err != nil {
		return err
	}
	*o = oneOrMany{one}
	return nil
}

// policyContext holds the values of policy variables and condition keys of one
// connection.
type policyContext map[string][]string

// allowed evaluates policies: a denial wins, and without an allowance nothing is allowed.
func allowed(policies []*Policy, action, resource string, vars policyContext) bool {
	ok := false
	for _, p := range policies {
		for i := range p.statements {
			s := &p.statements[i]
			if !s.matches(action, resource, vars) {
				continue
			}
			if !s.allow {
				return false
			}
			ok = true
		}
	}
	return ok
}

func (s *statement) matches(action, resource string, vars policyContext) bool {
	return anyMatch(s.actions, strings.ToLower(action), strings.ToLower, vars) &&
		anyMatch(s.resources, resource, nil, vars) && s.conditionsHold(vars)
}

func anyMatch(patterns []string, value string, fold func(string) string, vars policyContext) bool {
	for _, p := range patterns {
		if fold != nil {
			p = fold(p)
		} else {
			var ok bool
			if p, ok = expand(p, vars); !ok {
				continue
			}
		}
		if glob(p, value) {
			return true
		}
	}
	return false
}

// Wildcards in the value of a variable must not act as wildcards, so they are
// replaced by runes that glob compares literally.
var literal = strings.NewReplacer("*", "\uE000", "?", "\uE001")

// expand replaces ${variable}; ok is false when one has no value.
func expand(pattern string, vars policyContext) (string, bool) {
	var out strings.Builder
	for {
		before, after, found := strings.Cut(pattern, "${")
		out.WriteString(before)
		if !found {
			return out.String(), true
		}
		name, rest, closed := strings.Cut(after, "}")
		if !closed {
			return "", false
		}
		switch name {
		case "*", "?", "$": // escapes for the characters themselves
			out.WriteString(literal.Replace(name))
		default:
			v := vars[name]
			if len(v) != 1 || v[0] == "" {
				return "", false
			}
			out.WriteString(literal.Replace(v[0]))
		}
		pattern = rest
	}
}

// glob matches '*' to any run of characters and '?' to one character.
func glob(pattern, value string) bool {
	p, v := []rune(pattern), []rune(value)
	star, mark := -1, 0
	i, j := 0, 0
	for j < len(v) {
		switch {
		case i < len(p) && p[i] == '*':
			star, mark = i, j
			i++
		case i < len(p) && (p[i] == '?' || p[i] == v[j] || p[i] == '\uE000' && v[j] == '*' || p[i] == '\uE001' && v[j] == '?'):
			i++
			j++
		case star >= 0:
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}

func (s *statement) conditionsHold(vars policyContext) bool {
	for op, keys := range s.conditions {
		for key, wanted := range keys {
			if !conditionHolds(op, wanted, vars[key], vars) {
				return false
			}
		}
	}
	return true
}

// inPrefix reports whether an address is in a range such as 10.0.0.0/8, or is
// the one address.
func inPrefix(want, have string) bool {
	address, err := netip.ParseAddr(have)
	if err != nil {
		return false
	}
	if prefix, err := netip.ParsePrefix(want); err == nil {
		return prefix.Contains(address)
	}
	single, err := netip.ParseAddr(want)
	return err == nil && single == address
}

func conditionHolds(op string, wanted, actual []string, vars policyContext) bool {
	all := false
	switch {
	case strings.HasPrefix(op, "ForAllValues:"):
		op, all = strings.TrimPrefix(op, "ForAllValues:"), true
	case strings.HasPrefix(op, "ForAnyValue:"):
		op = strings.TrimPrefix(op, "ForAnyValue:")
	}
	var equal func(want, have string) bool
	negate := false
	switch op {
	case "StringEquals":
		equal = func(w, h string) bool { return w == h }
	case "StringNotEquals":
		equal, negate = func(w, h string) bool { return w == h }, true
	case "StringLike":
		equal = func(w, h string) bool { e, ok := expand(w, vars); return ok && glob(e, h) }
	case "StringNotLike":
		equal, negate = func(w, h string) bool { e, ok := expand(w, vars); return ok && glob(e, h) }, true
	case "Bool":
		equal = strings.EqualFold
	case "IpAddress":
		equal = inPrefix
	case "NotIpAddress":
		equal, negate = inPrefix, true
	default:
		return false
	}
	holds := func(have string) bool {
		for _, w := range wanted {
			if equal(w, have) {
				return !negate
			}
		}
		return negate
	}
	for _, have := range actual {
		if holds(have) != all {
			return !all
		}
	}
	return all || negate && len(actual) == 0
}
