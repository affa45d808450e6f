// SPDX-License-Identifier: Apache-2.0

package main

import (
	"regexp"
	"strings"
)

// flagWords are the names of the API in errors and hints, and the flags of this
// program that stand for them. Longer ones come before what they contain.
var flagWords = strings.NewReplacer(
	"use NewForBroker with WithIdentity", "use -method broker with -cert and -key",
	"Connect.KeepAliveSeconds", "-keep-alive",
	"Connect.ClientID", "-client-id",
	"WithPort", "-port",
	"WithProxyFromEnvironment", "-proxy env",
	"WithProxyURL", "-proxy",
	"WithProxy", "-proxy",
	"WithRegion", "-region",
	"WithIdentity", "-cert and -key",
	"WithServerName", "-server-name",
	"WithCAFile", "-ca",
	"WithKeepAlive", "-keep-alive",
	"WithClientID", "-client-id",
	"WithPlaintext", "-plaintext",
	"WithUsername", "-username",
	"WithPassword", "-password",
	"WithAWSProfile(false)", "-no-aws-rules",
	"raise it in Limits with WithClientOptions", "give -no-aws-rules",
	"Label, Serial or SlotID", "-token-label or -slot",
	"Label, Serial and SlotID", "-token-label and -slot",
	"CertificateFile or CertificatePEM", "-cert",
	"set Options.ServerName", "set -server-name",
	"set ServerName", "set -server-name",
	"CAFile or CAPEM", "-ca",
	"CAFile", "-ca",
	" or CAPEM", "",
	"CAPEM", "-ca",
	" or into Username and Password", "",
	"or give the constructor another provider", "or choose another -method",
	"with the callback ConnectHeader", "in a program, with the callback ConnectHeader of package proxy",
	"AddSystemCAs", "leaving -ca out",
	"IdentityPoolID", "-identity-pool-id",
	"IdentityID", "-identity-id",
	"CustomAuthorizer.TokenKeyName", "-token-key-name",
	"CustomAuthorizer.TokenValue", "-token",
	"CustomAuthorizer.Signature", "-signature",
	"CustomAuthorizer.Name", "-authorizer",
	"TokenKeyName", "-token-key-name",
	"TokenValue", "-token",
	"MTLSFromPath:", "-cert and -key:",
	"certFile", "-cert",
	"keyFile", "-key",
)

var withValue = regexp.MustCompile(`With(Port|KeepAlive)\(([^)]*)\)`)

// inFlags words a text for those who type flags.
func inFlags(text string) string {
	return flagWords.Replace(withValue.ReplaceAllString(text, "With$1 $2"))
}
