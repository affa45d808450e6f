// SPDX-License-Identifier: Apache-2.0

package iottest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// A policy that asks for what the core does not understand would allow or deny
// something else than in the service, so it is an error.

// strictJSON is json.Unmarshal without tolerance for fields that are not known.
func strictJSON(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("more than one JSON value")
	}
	return nil
}

// attributeVariable begins the variables for the attributes of a thing, which
// end with a name and ']'.
const attributeVariable = "iot:Connection.Thing.Attributes["

func knownVariable(name string) bool {
	switch name {
	case "iot:ClientId", "iot:CertificateId", "aws:SourceIp", "iot:Connection.Thing.ThingName",
		"iot:Connection.Thing.ThingTypeName", "iot:Connection.Thing.IsAttached", "iot:Certificate.SerialNumber":
		return true
	}
	if rest, ok := strings.CutPrefix(name, "iot:Certificate."); ok {
		of, part, _ := strings.Cut(rest, ".")
		parts := []string{"Country", "Organization", "OrganizationalUnit", "State", "CommonName", "SerialNumber"}
		return (of == "Subject" || of == "Issuer") && slices.Contains(parts, part)
	}
	return strings.HasPrefix(name, attributeVariable) && strings.HasSuffix(name, "]")
}

func knownOperator(op string) bool {
	op = strings.TrimPrefix(strings.TrimPrefix(op, "ForAllValues:"), "ForAnyValue:")
	switch op {
	case "StringEquals", "StringNotEquals", "StringLike", "StringNotLike", "Bool", "IpAddress", "NotIpAddress":
		return true
	}
	return false
}

// check returns the fault of a statement.
func (r *rawStatement) check() error {
	if r.Effect != "Allow" && r.Effect != "Deny" {
		return fmt.Errorf("the Effect must be Allow or Deny, is %q", r.Effect)
	}
	if len(r.Action) == 0 || len(r.Resource) == 0 {
		return errors.New("needs Action and Resource")
	}
	texts := slices.Concat(r.Action, r.Resource)
	for op, keys := range r.Condition {
		if !knownOperator(op) {
			return fmt.Errorf("condition operator %q is not supported", op)
		}
		for key, values := range keys {
			if key != "iot:ConnectAttributes" && !knownVariable(key) {
				return fmt.Errorf("condition key %q is not supported", key)
			}
			texts = append(texts, values...)
		}
	}
	for _, text := range texts {
		if err := checkVariables(text); err != nil {
			return err
		}
	}
	return nil
}

// checkVariables looks for policy variables that are not known.
func checkVariables(text string) error {
	for {
		_, after, found := strings.Cut(text, "${")
		if !found {
			return nil
		}
		name, rest, closed := strings.Cut(after, "}")
		if !closed {
			return fmt.Errorf("%q has no closing brace", "${"+after)
		}
		if name != "*" && name != "?" && name != "$" && !knownVariable(name) {
			return fmt.Errorf("policy variable %q is not supported", name)
		}
		text = rest
	}
}
