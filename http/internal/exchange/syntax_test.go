// SPDX-License-Identifier: Apache-2.0

package exchange_test

import (
	"strings"
	"testing"

	"github.com/gocrt/aws-iot-device-sdk-go/http/internal/exchange"
)

func TestASCIIHost(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{
		"":                                   "",
		"Broker.Example":                     "Broker.Example",
		"bücher.example":                     "xn--bcher-kva.example",
		"BÜCHER.Example":                     "xn--bcher-kva.example",
		"ü":                                  "xn--tda",
		"例え.テスト":                             "xn--r8jz45g.xn--zckzah",
		"مثال.إختبار":                        "xn--mgbh0fb.xn--kgbechtv",
		"параметр.испытание":                 "xn--80aap1amhdp.xn--80akhbyknj4f",
		"παράδειγμα.δοκιμή":                  "xn--hxajbheg2az3al.xn--jxalpdlp",
		"他们为什么不说中文":                          "xn--ihqwcrb4cv8a8dqg056pqjye",
		"Pročprostěnemluvíčesky":             "xn--proprostnemluvesky-uyb24dma41a",
		"a.\xff":                             "a.\xff",
		"fe80::1":                            "fe80::1",
		strings.Repeat("ü", 60) + ".example": strings.Repeat("ü", 60) + ".example",
	} {
		if got := exchange.ASCIIHost(host); got != want {
			t.Errorf("%q: got %q, want %q", host, got, want)
		}
	}
}

func TestCharacters(t *testing.T) {
	t.Parallel()
	for c := range 256 {
		s := string([]byte{'a', byte(c)})
		control := c < ' ' || c == 0x7f
		separator := strings.IndexByte("\"(),/:;<=>?@[\\]{} \t", byte(c)) >= 0
		if got, want := exchange.IsToken(s), !control && !separator && c < 0x80; got != want {
			t.Errorf("IsToken(%q) = %v", s, got)
		}
		if got, want := exchange.IsFieldValue(s), !control || c == '\t'; got != want {
			t.Errorf("IsFieldValue(%q) = %v", s, got)
		}
		notHost := strings.IndexByte("\"#/<>?@\\^`{|} ", byte(c)) >= 0
		if got, want := exchange.IsHost(s), !control && c < 0x80 && !notHost; got != want {
			t.Errorf("IsHost(%q) = %v", s, got)
		}
	}
	if exchange.IsToken("") {
		t.Error("an empty token")
	}
	for list, want := range map[string]bool{"close": true, "a, Close\t,b": true, "closed": false, "": false, "a close": false} {
		if got := exchange.HasToken([]string{"x", list}, "close"); got != want {
			t.Errorf("HasToken(%q) = %v", list, got)
		}
	}
}

func TestPrintable(t *testing.T) {
	long := strings.Repeat("é", exchange.MaxPrintable)
	for text, want := range map[string]string{
		"Not Found":                 "Not Found",
		"a\r\nSet-Cookie: b\x1b[2J": "aSet-Cookie: b[2J",
		"caf\xe9 au lait":           "caf au lait",
		long:                        long[:exchange.MaxPrintable],
		"x" + long:                  "x" + long[:exchange.MaxPrintable],
	} {
		if got := exchange.Printable(text); got != want {
			t.Errorf("Printable(%q) = %q, want %q", text, got, want)
		}
	}
}
