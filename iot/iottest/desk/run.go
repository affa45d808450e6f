// SPDX-License-Identifier: Apache-2.0

package desk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot/iottest"
)

// Desk is a running core with all that is around it.
type Desk struct {
	// Core is the core.
	Core *iottest.Core
	// Material is what clients need.
	Material *Material
	// ConsoleURL is where console and control API are, empty without.
	ConsoleURL string
	// ProxyURL is where the proxy is, empty without.
	ProxyURL string

	config  Config
	feed    *Feed
	servers []*http.Server
	proxy   *proxy
	temp    string // folder to remove
	wg      sync.WaitGroup
	once    sync.Once
	err     error
}

// Start starts a desk; onEvent is called for each event of the core, and may be
// nil. Close it after use.
func Start(config Config, onEvent func(iottest.Event)) (_ *Desk, err error) {
	if err := config.check(); err != nil {
		return nil, err
	}
	d := &Desk{config: config, feed: NewFeed()}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Close())
		}
	}()
	o := config.options()
	dir := config.Dir
	if dir == "" {
		if d.temp, err = os.MkdirTemp("", "awsiot-core-"); err != nil {
			return nil, fmt.Errorf("desk: %w", err)
		}
		dir = d.temp
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, fmt.Errorf("desk: %w", err)
	}
	o.OnEvent = func(e iottest.Event) {
		d.feed.Add(e)
		if onEvent != nil {
			onEvent(e)
		}
	}
	if d.Core, err = iottest.New(o); err != nil {
		return nil, portHint(err)
	}
	if d.Material, err = writeMaterial(d.Core, dir, &config); err != nil {
		return nil, err
	}
	if d.ConsoleURL, err = d.serve("-http", or(config.HTTPAddr, DefaultHTTPAddr), NewControl(d.Core, d.feed)); err != nil {
		return nil, err
	}
	d.proxy = newProxy(d.Core.DialContext)
	if d.ProxyURL, err = d.serve("-proxy-addr", or(config.ProxyAddr, DefaultProxyAddr), d.proxy); err != nil {
		return nil, err
	}
	return d, d.Material.writeEnv(d)
}

// portHint says which flag chooses another address when one is taken.
func portHint(err error) error {
	var p *iottest.PortError
	if !errors.As(err, &p) || !errors.Is(err, syscall.EADDRINUSE) {
		return err
	}
	flag := map[string]string{"443": "-addr", "8883": "-mtls-addr", "1883": "-tcp-addr"}[p.Port]
	return taken(p.Addr, flag, err)
}

func taken(addr, flag string, err error) error {
	return fmt.Errorf("desk: %s is taken: choose another address with %s, or 127.0.0.1:0 for a free port: %w", addr, flag, err)
}

// serve serves HTTP on an address and returns its URL.
func (d *Desk) serve(flag, addr string, h http.Handler) (string, error) {
	if addr == "off" {
		return "", nil
	}
	ln, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return "", taken(addr, flag, err)
	}
	if err != nil {
		return "", fmt.Errorf("desk: %s: %w", flag, err)
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	d.servers = append(d.servers, s)
	d.wg.Go(func() { _ = s.Serve(ln) })
	return "http://" + ln.Addr().String(), nil
}

// Close ends the desk and waits until nothing of it is left.
func (d *Desk) Close() error {
	d.once.Do(func() {
		for _, s := range d.servers {
			d.err = errors.Join(d.err, s.Close())
		}
		if d.proxy != nil {
			d.proxy.close()
		}
		if d.Core != nil {
			d.err = errors.Join(d.err, d.Core.Close())
		}
		d.wg.Wait()
		if d.temp != "" {
			d.err = errors.Join(d.err, os.RemoveAll(d.temp))
		}
	})
	return d.err
}

// Run runs a desk until ctx ends. It writes how to connect, and then what
// clients do, to out.
func Run(ctx context.Context, config Config, out io.Writer) (err error) {
	var mu sync.Mutex // events do not wait for what is printed first
	mu.Lock()
	d, err := Start(config, func(e iottest.Event) {
		mu.Lock()
		defer mu.Unlock()
		line := e.String()
		if config.ShowPayloads && e.Message != nil {
			line += " payload=" + fmt.Sprintf("%q", preview(e.Message.Payload))
		}
		_, _ = fmt.Fprintln(out, line)
	})
	if err != nil {
		mu.Unlock()
		return err
	}
	d.print(out)
	mu.Unlock()
	<-ctx.Done()
	_, _ = fmt.Fprintln(out, "Stopping.")
	return d.Close()
}
