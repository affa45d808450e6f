// SPDX-License-Identifier: Apache-2.0

package sigv4

import (
	"fmt"
	"net"
	"slices"
	"strings"
)

// partitionSuffixes are the DNS suffixes of the AWS partitions.
var partitionSuffixes = [...]string{
	"amazonaws.com",
	"amazonaws.com.cn",
	"amazonaws.eu",
	"api.aws",
	"api.amazonwebservices.com.cn",
	"c2s.ic.gov",
	"sc2s.sgov.gov",
	"cloud.adc-e.uk",
	"csp.hci.ic.gov",
}

// RegionFromEndpoint reads the region from the host name of an AWS IoT
// endpoint, with or without a port: "prefix-ats.iot.<region>.amazonaws.com"
// and its relatives of AWS GovCloud, China ("prefix.ats.iot.cn-north-1.
// amazonaws.com.cn"), FIPS ("data.iot-fips.<region>.amazonaws.com"), dual stack
// (".api.aws"), VPC, Device Advisor, jobs and credentials endpoints.
//
// For other hosts the error is [ErrRegion] and says which kind of host this is
// and what to do: a custom domain names no region, an IP address even less.
func RegionFromEndpoint(host string) (string, error) {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if name == "" {
		return "", fmt.Errorf("%w: the endpoint is empty", ErrRegion)
	}
	if net.ParseIP(strings.Trim(name, "[]")) != nil {
		return "", fmt.Errorf("%w: %q is an IP address: set the region", ErrRegion, host)
	}
	labels := strings.Split(name, ".")
	for i, label := range labels {
		if i == 0 || i+2 >= len(labels) || label != "iot" && label != "iot-fips" {
			continue
		}
		suffix := strings.TrimPrefix(strings.Join(labels[i+2:], "."), "vpce.")
		if region := labels[i+1]; isScopeName(region) && slices.Contains(partitionSuffixes[:], suffix) {
			return region, nil
		}
	}
	return "", fmt.Errorf("%w: %q does not look like <prefix>-ats.iot.<region>.amazonaws.com: set the region (a custom domain does not tell it)", ErrRegion, host)
}
