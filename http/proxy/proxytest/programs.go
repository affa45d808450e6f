// SPDX-License-Identifier: Apache-2.0

//go:build unix

package proxytest

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// reject fails the test when c asks for something that a program cannot do.
func reject(t testing.TB, program string, unsupported map[string]bool) {
	t.Helper()
	for what, asked := range unsupported {
		if asked {
			t.Fatalf("proxytest: %s does not support %s", program, what)
		}
	}
}

// StartSquid runs squid as an HTTP proxy that tunnels to any port. It supports
// all of Config.
func StartSquid(t testing.TB, c Config) *Server {
	t.Helper()
	htpasswd := ""
	if c.Username != "" {
		htpasswd = tool(t, "htpasswd")
	}
	scheme := "http"
	if c.TLS {
		scheme = "https"
	}
	return start(t, program{name: "squid", scheme: scheme, write: func(s *Server, port int) ([]string, error) {
		listen := fmt.Sprintf("http_port 127.0.0.1:%d", port)
		if c.TLS {
			listen = fmt.Sprintf("https_port 127.0.0.1:%d tls-cert=%s/cert.pem tls-key=%s/key.pem", port, s.dir, s.dir)
		}
		hosts := []string{"127.0.0.1 localhost"}
		for name, addr := range c.Hosts {
			hosts = append(hosts, addr+" "+name)
		}
		hostsFile, err := s.file("hosts", hosts...)
		if err != nil {
			return nil, err
		}
		conf := []string{
			listen,
			"visible_hostname squid.test",
			"pid_filename none",
			"cache deny all",
			"cache_mem 1 MB",
			"cache_log " + filepath.Join(s.dir, "cache.log"),
			"access_log stdio:" + filepath.Join(s.dir, "access.log"),
			"logfile_rotate 0",
			"coredump_dir " + s.dir,
			"netdb_filename none",
			"pinger_enable off",
			"max_filedescriptors 1024",
			"shutdown_lifetime 0 seconds",
			"connect_timeout 5 seconds",
			"dns_nameservers 127.0.0.1",
			"dns_timeout 1 second",
			"hosts_file " + hostsFile,
		}
		allow := "all"
		if c.Username != "" {
			users, err := squidUsers(s, htpasswd, c)
			if err != nil {
				return nil, err
			}
			conf = append(conf, users...)
			allow = "users"
		}
		if len(c.Refuse) > 0 {
			conf = append(conf, "acl refused dstdomain -n "+strings.Join(c.Refuse, " "), "http_access deny refused")
		}
		conf = append(conf, "http_access allow "+allow, "http_access deny all")
		path, err := s.file("squid.conf", conf...)
		if err != nil {
			return nil, err
		}
		return []string{"-N", "-n", "proxytest" + strconv.Itoa(port), "-f", path}, nil
	}}, c)
}

// squidUsers writes the file of users, and returns the lines of squid.conf for it.
func squidUsers(s *Server, htpasswd string, c Config) ([]string, error) {
	passwd := filepath.Join(s.dir, "passwd")
	cmd := exec.Command(htpasswd, "-i", "-m", "-c", passwd, c.Username)
	cmd.Stdin = strings.NewReader(c.Password)
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("htpasswd: %w: %s", err, out)
	}
	if err := os.Chmod(passwd, 0o644); err != nil { //nolint:gosec // squid may run as another user
		return nil, err
	}
	helper := ""
	for _, dir := range []string{"/usr/lib/squid", "/usr/lib64/squid", "/usr/libexec/squid", "/usr/local/libexec/squid"} {
		if _, err := os.Stat(filepath.Join(dir, "basic_ncsa_auth")); err == nil {
			helper = filepath.Join(dir, "basic_ncsa_auth")
		}
	}
	if helper == "" {
		return nil, errors.New("the helper basic_ncsa_auth is not installed")
	}
	return []string{
		"auth_param basic program " + helper + " " + passwd,
		"auth_param basic children 1",
		"auth_param basic realm proxytest",
		"acl users proxy_auth REQUIRED",
	}, nil
}

// StartTinyproxy runs tinyproxy as an HTTP proxy that tunnels to any port. It
// supports Refuse, Username and Password, the latter two of letters and digits.
func StartTinyproxy(t testing.TB, c Config) *Server {
	t.Helper()
	reject(t, "tinyproxy", map[string]bool{"TLS": c.TLS, "Hosts": len(c.Hosts) > 0})
	return start(t, program{name: "tinyproxy", scheme: "http", write: func(s *Server, port int) ([]string, error) {
		conf := []string{
			"Port " + strconv.Itoa(port),
			"Listen 127.0.0.1",
			"Timeout 60",
			"MaxClients 100",
			"LogLevel Info",
			"Allow 127.0.0.1",
		}
		if os.Geteuid() == 0 {
			conf = append(conf, "User nobody", "Group nogroup")
		}
		if c.Username != "" {
			conf = append(conf, fmt.Sprintf("BasicAuth %s %s", c.Username, c.Password))
		}
		if len(c.Refuse) > 0 {
			var patterns []string
			for _, host := range c.Refuse {
				patterns = append(patterns, "^"+strings.ReplaceAll(host, ".", "\\.")+"$")
			}
			filter, err := s.file("filter", patterns...)
			if err != nil {
				return nil, err
			}
			conf = append(conf, `Filter "`+filter+`"`)
		}
		path, err := s.file("tinyproxy.conf", conf...)
		if err != nil {
			return nil, err
		}
		return []string{"-d", "-c", path}, nil
	}}, c)
}

// StartDante runs danted as a SOCKS5 proxy. It supports Refuse, with names that
// can be resolved or with addresses.
func StartDante(t testing.TB, c Config) *Server {
	t.Helper()
	reject(t, "danted", map[string]bool{"TLS": c.TLS, "Hosts": len(c.Hosts) > 0, "authentication": c.Username != ""})
	return start(t, program{name: "danted", scheme: "socks5", write: func(s *Server, port int) ([]string, error) {
		conf := []string{
			"logoutput: stderr",
			fmt.Sprintf("internal: 127.0.0.1 port = %d", port),
			"external: 127.0.0.1",
			"clientmethod: none",
			"socksmethod: none",
		}
		if os.Geteuid() == 0 {
			conf = append(conf, "user.privileged: root", "user.unprivileged: nobody")
		}
		conf = append(conf, "client pass {", "from: 0.0.0.0/0 to: 0.0.0.0/0", "}")
		for _, host := range c.Refuse {
			if addr, err := netip.ParseAddr(host); err == nil {
				host = netip.PrefixFrom(addr, addr.BitLen()).String()
			}
			conf = append(conf, "socks block {", "from: 0.0.0.0/0 to: "+host, "}")
		}
		conf = append(conf, "socks pass {", "from: 0.0.0.0/0 to: 0.0.0.0/0", "protocol: tcp", "command: connect", "}")
		path, err := s.file("danted.conf", conf...)
		if err != nil {
			return nil, err
		}
		return []string{"-f", path, "-N", "1", "-p", filepath.Join(s.dir, "danted.pid")}, nil
	}}, c)
}

// StartMicrosocks runs microsocks as a SOCKS5 proxy. It supports Username and
// Password.
func StartMicrosocks(t testing.TB, c Config) *Server {
	t.Helper()
	reject(t, "microsocks", map[string]bool{"TLS": c.TLS, "Hosts": len(c.Hosts) > 0, "Refuse": len(c.Refuse) > 0})
	return start(t, program{name: "microsocks", scheme: "socks5", write: func(_ *Server, port int) ([]string, error) {
		args := []string{"-i", "127.0.0.1", "-p", strconv.Itoa(port)}
		if c.Username != "" {
			args = append(args, "-u", c.Username, "-P", c.Password)
		}
		return args, nil
	}}, c)
}
