// SPDX-License-Identifier: Apache-2.0

package socket

import (
	"net"
	"syscall"
	"time"
)

const (
	hasUserTimeout = false
	hasInterface   = true
)

func setUserTimeout(uintptr, time.Duration) error { return ErrUnsupported }

func bindToInterface(fd uintptr, network, name string) error {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return err
	}
	if network == "tcp6" {
		return setInt(fd, syscall.IPPROTO_IPV6, syscall.IPV6_BOUND_IF, i.Index)
	}
	return setInt(fd, syscall.IPPROTO_IP, syscall.IP_BOUND_IF, i.Index)
}
