// SPDX-License-Identifier: Apache-2.0

// Package connect reads how to connect from flags, the environment and profile
// files, and makes an endpoint, a method and options of package iot of it.
package connect

import (
	"os"
	"strings"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/gocrt/aws-iot-device-sdk-go/auth/credentials"
	"github.com/gocrt/aws-iot-device-sdk-go/cmd/internal/cli"
	"github.com/gocrt/aws-iot-device-sdk-go/iot"
)

// Methods are the ways to connect, as -method names them.
var Methods = []string{
	"certificate", "pkcs12", "pkcs11", "windows-store", "sigv4", "cognito", "role-alias", "custom-auth", "websocket-custom-auth", "broker",
}

// Flags say where to connect to, and how.
type Flags struct {
	set *cli.Flags

	Endpoint  string
	Port      int
	ClientID  string
	KeepAlive time.Duration
	Method    string
	Profile   string
	Verbose   bool

	ca, serverName, proxy string
	plaintext             bool

	cert, key          string
	bundle, password   string
	store              string
	library, token     string
	keyLabel, pinEnv   string
	slot               int
	region, awsProfile string
	cognito            credentials.CognitoOptions
	alias              credentials.X509Options
	authorizer         iot.CustomAuthorizer
	username           string
	noProfile          bool
	named              bool

	closers []func()
}

// EnvPrefix begins the names of the variables that stand for flags:
// AWS_IOT_ENDPOINT for -endpoint, AWS_IOT_CLIENT_ID for -client-id. The file that
// `awsiot core` writes for the shell sets them.
const EnvPrefix = "AWS_IOT_"

// Variable is the name of the variable that stands for a flag.
func Variable(flag string) string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// names are the flags that the environment and profiles may give.
func (f *Flags) names() []string {
	return []string{
		"endpoint", "port", "ca", "server-name", "proxy", "client-id", "keep-alive", "method", "plaintext", "cert", "key", "p12", "password", "store",
		"library", "token-label", "slot", "key-label", "pin-env", "region", "aws-profile", "identity-id", "identity-pool-id",
		"credentials-endpoint", "role-alias", "thing", "authorizer", "username", "token-key-name", "token", "signature", "no-aws-rules",
	}
}

// Define defines the flags.
func Define(set *cli.Flags) *Flags {
	f := &Flags{set: set, slot: -1}
	set.Group("Where to connect", func() {
		set.StringVar(&f.Endpoint, "endpoint", "", "host `name` of the data endpoint; `aws iot describe-endpoint --endpoint-type iot:Data-ATS` prints it")
		set.IntVar(&f.Port, "port", 0, "`port` (default 443; for -method broker 8883, with -plaintext 1883)")
		set.StringVar(&f.ca, "ca", "", "PEM `file` with the CA of the server (default: the CAs of the system)")
		set.StringVar(&f.serverName, "server-name", "", "`name` in the certificate of the server, if it is not the endpoint")
		set.StringVar(&f.proxy, "proxy", "", "`URL` of a proxy: http, https or socks5, with user:password@ if needed; \"env\" takes the one of the environment")
		set.StringVar(&f.Profile, "profile", "", "`name` of a profile: a file of lines \"flag = value\", by its path, or by its name in "+profileDir())
	})
	set.Group("Who connects", func() {
		set.StringVar(&f.ClientID, "client-id", "", "client `identifier` (default: a random one)")
		set.DurationVar(&f.KeepAlive, "keep-alive", 0, "keep alive `interval` (default 20m)")
		set.StringVar(&f.Method, "method", "", "`way` to authenticate (default: what the other flags say): "+strings.Join(Methods, ", "))
		set.BoolVar(&f.noProfile, "no-aws-rules", false, "do not check quotas and names of AWS IoT Core before sending")
	})
	set.Group("With a certificate (-method certificate, pkcs12, pkcs11, windows-store)", func() {
		set.StringVar(&f.cert, "cert", "", "PEM `file` with the certificate of the device")
		set.StringVar(&f.key, "key", "", "PEM `file` with its private key")
		set.StringVar(&f.bundle, "p12", "", "PKCS#12 `file` with certificate and key")
		set.StringVar(&f.library, "library", "", "PKCS#11 `library` of the maker of the token, a .so or .dll")
		set.StringVar(&f.token, "token-label", "", "`label` of the PKCS#11 token (default: the only one)")
		set.IntVar(&f.slot, "slot", -1, "`number` of the slot of the token")
		set.StringVar(&f.keyLabel, "key-label", "", "`label` of the private key in the token (default: the only one)")
		set.StringVar(&f.pinEnv, "pin-env", "PKCS11_PIN", "`variable` of the environment that holds the PIN")
		set.StringVar(&f.store, "store", "", "`path` of a certificate in a Windows store, CurrentUser\\MY\\<thumbprint>")
	})
	set.Group("With AWS credentials (-method sigv4, cognito, role-alias)", func() {
		set.StringVar(&f.region, "region", "", "AWS `region` (default: that of the endpoint, of AWS_REGION, or of the profile)")
		set.StringVar(&f.awsProfile, "aws-profile", "", "`name` of a profile in ~/.aws (default: the default chain)")
		set.StringVar(&f.cognito.IdentityID, "identity-id", "", "`id` of a Cognito identity")
		set.StringVar(&f.cognito.IdentityPoolID, "identity-pool-id", "", "`id` of a Cognito identity pool, of which this becomes a new guest")
		set.StringVar(&f.alias.Endpoint, "credentials-endpoint", "", "host `name` of the credentials endpoint, for a role alias")
		set.StringVar(&f.alias.RoleAlias, "role-alias", "", "`name` of the role alias, together with -cert and -key")
		set.StringVar(&f.alias.ThingName, "thing", "", "`name` of the thing, for a role alias, shadows and jobs")
	})
	set.Group("With a custom authorizer or a user name (-method custom-auth, websocket-custom-auth, broker)", func() {
		set.StringVar(&f.authorizer.Name, "authorizer", "", "`name` of the custom authorizer")
		set.StringVar(&f.username, "username", "", "user `name`")
		set.StringVar(&f.password, "password", "", "`password`, also of the PKCS#12 file; \"env:NAME\" takes it from a variable of the environment")
		set.StringVar(&f.authorizer.TokenKeyName, "token-key-name", "", "`name` of the token parameter of an authorizer with signing")
		set.StringVar(&f.authorizer.TokenValue, "token", "", "`token` for an authorizer with signing")
		set.StringVar(&f.authorizer.Signature, "signature", "", "`signature` of the token, in base64")
		set.BoolVar(&f.plaintext, "plaintext", false, "no TLS: for a broker on the same machine")
	})
	set.Values("method", Methods...)
	set.Files("ca", "cert", "key", "p12", "library", "profile")
	return f
}

// Named reports whether the client id was given, once Target has been called.
func (f *Flags) Named() bool { return f.named }

// HasEndpoint reports whether flags, environment or profile say where to connect
// to.
func (f *Flags) HasEndpoint() (bool, error) {
	err := f.complete()
	return f.Endpoint != "", err
}

// CA is the file with the CA of the server; "" for those of the system.
func (f *Flags) CA() string { return f.ca }

// Plaintext reports whether there is no TLS.
func (f *Flags) Plaintext() bool { return f.plaintext }

// Thing is the name of the thing: that of -thing, else that of -client-id, else
// "".
func (f *Flags) Thing() string {
	if f.alias.ThingName != "" || !f.named {
		return f.alias.ThingName
	}
	return f.ClientID
}

// Close releases what Target has opened.
func (f *Flags) Close() {
	for _, c := range f.closers {
		c()
	}
	f.closers = nil
}

// complete fills in what the environment and the profile say: a flag comes
// first, then the environment, then the profile.
func (f *Flags) complete() error {
	if f.Profile == "" {
		f.Profile = os.Getenv(Variable("profile"))
	}
	fromProfile, err := readProfile(f.Profile)
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, name := range f.names() {
		known[name] = true
	}
	for name := range fromProfile {
		if !known[name] {
			return cli.Usagef("profile %s: there is no flag %q for connecting", f.Profile, name)
		}
	}
	for _, name := range f.names() {
		if f.set.Lookup(name) == nil || f.set.Given(name) {
			continue
		}
		value, source := os.Getenv(Variable(name)), Variable(name)
		if value == "" {
			value, source = fromProfile[name], "profile "+f.Profile+": "+name
		}
		if value == "" {
			continue
		}
		if err := f.set.SetValue(name, value); err != nil {
			return cli.Usagef("%s: %v", source, err)
		}
	}
	if name, ok := strings.CutPrefix(f.password, "env:"); ok {
		if os.Getenv(name) == "" {
			return cli.Usagef("-password env:%s: the variable is not set", name)
		}
		f.password = os.Getenv(name)
	}
	return nil
}

// Options are the options that every method has.
func (f *Flags) options() []iot.Option {
	options := []iot.Option{iot.WithClientID(f.ClientID)}
	add := func(wanted bool, o iot.Option) {
		if wanted {
			options = append(options, o)
		}
	}
	add(f.Port != 0, iot.WithPort(f.Port))
	add(f.ca != "", iot.WithCAFile(f.ca))
	add(f.serverName != "", iot.WithServerName(f.serverName))
	add(f.KeepAlive != 0, iot.WithKeepAlive(f.KeepAlive))
	add(f.plaintext, iot.WithPlaintext())
	add(f.noProfile, iot.WithAWSProfile(false))
	switch f.proxy {
	case "":
	case "env":
		options = append(options, iot.WithProxyFromEnvironment())
	default:
		options = append(options, iot.WithProxyURL(f.proxy))
	}
	if f.Verbose {
		config := zap.NewDevelopmentConfig()
		config.DisableStacktrace = true
		config.EncoderConfig.EncodeLevel = zapcore.CapitalLevelEncoder
		if logger, err := config.Build(); err == nil {
			options = append(options, iot.WithLogger(logger))
		}
	}
	return options
}

// missing names the flags without a value that a method needs.
func (f *Flags) missing(names ...string) error {
	var list []string
	for _, name := range names {
		if fl := f.set.Lookup(name); fl != nil && fl.Value.String() == "" {
			list = append(list, "-"+name)
		}
	}
	if list == nil {
		return nil
	}
	return cli.Usagef("-method %s needs %s", f.Method, strings.Join(list, " and "))
}
