// SPDX-License-Identifier: Apache-2.0

package sigv4_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/gocrt/aws-iot-device-sdk-go/auth/sigv4"
)

func TestRegionFromEndpoint(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ host, want string }{
		{"a1b2c3-ats.iot.us-east-1.amazonaws.com", "us-east-1"},
		{"a1b2c3-ats.iot.us-east-1.amazonaws.com:443", "us-east-1"},
		{"A1B2C3-ATS.IOT.US-EAST-1.AMAZONAWS.COM.", "us-east-1"},
		{"a1b2c3.iot.eu-central-1.amazonaws.com", "eu-central-1"},
		{"a1b2c3-ats.iot.us-gov-west-1.amazonaws.com", "us-gov-west-1"},
		{"a1b2c3.ats.iot.cn-north-1.amazonaws.com.cn", "cn-north-1"},
		{"a1b2c3-ats.iot.cn-northwest-1.amazonaws.com.cn", "cn-northwest-1"},
		{"data.iot-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1"},
		{"a1b2c3.credentials.iot.ap-southeast-2.amazonaws.com", "ap-southeast-2"},
		{"a1b2c3.jobs.iot.sa-east-1.amazonaws.com", "sa-east-1"},
		{"t1.deviceadvisor.iot.us-west-2.amazonaws.com", "us-west-2"},
		{"a1b2c3-ats.iot.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1"},
		{"iot.iot.eu-west-1.amazonaws.com", "eu-west-1"},
		{"vpce-0123-abcd.iot.us-east-1.vpce.amazonaws.com", "us-east-1"},
		{"vpce-0123-abcd.data.iot.us-east-1.vpce.amazonaws.com:443", "us-east-1"},
		{"vpce-0123-abcd.data.iot.cn-north-1.vpce.amazonaws.com.cn", "cn-north-1"},
		{"data.iot.us-east-1.amazonaws.com", "us-east-1"},
		{"data-ats.iot.us-east-1.amazonaws.com", "us-east-1"},
		{"data.iot-fips.us-east-1.api.aws", "us-east-1"},
		{"a1b2c3-ats.iot.eu-west-1.api.aws", "eu-west-1"},
		{"data.iot.cn-north-1.api.amazonwebservices.com.cn", "cn-north-1"},
	} {
		got, err := sigv4.RegionFromEndpoint(c.host)
		if err != nil || got != c.want {
			t.Errorf("%s: got %q, %v; want %q", c.host, got, err, c.want)
		}
	}
	for _, c := range []struct{ host, contains string }{
		{"", "empty"},
		{"mqtt.example.com", "custom domain"},
		{"iot.us-east-1.amazonaws.com.example.com", "custom domain"},
		{"a.iot.us-east-1.example.com", "custom domain"},
		{"a.iot..amazonaws.com", "custom domain"},
		{"a.iot.amazonaws.com", "custom domain"},
		{"localhost:8443", "custom domain"},
		{"127.0.0.1:443", "IP address"},
		{"[::1]:443", "IP address"},
		{"::1", "IP address"},
	} {
		got, err := sigv4.RegionFromEndpoint(c.host)
		if got != "" || !errors.Is(err, sigv4.ErrRegion) || !strings.Contains(err.Error(), c.contains) {
			t.Errorf("%s: got %q, %v; want %q in the error", c.host, got, err, c.contains)
		}
	}
}
