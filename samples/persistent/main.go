// SPDX-License-Identifier: Apache-2.0

// Command persistent publishes a counted series from a process that is killed and
// restarted at random, and checks at the server that nothing that was accepted
// is missing.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gocrt/aws-iot-device-sdk-go/iot"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5"
	"github.com/gocrt/aws-iot-device-sdk-go/mqtt5/filestore"
	"github.com/gocrt/aws-iot-device-sdk-go/samples/internal/sample"
)

func main() {
	app := sample.New("persistent", "Publishes a counted series from a process that is killed at random, and checks that nothing is lost.")
	app.Allow("kills", "store")
	files := app.CertFlags()
	p := &persistent{App: app, files: files, arrived: map[int]int{}}
	flag.IntVar(&p.kills, "kills", 5, "`times` that the publishing process is killed")
	flag.StringVar(&p.store, "store", "", "`directory` of the store (default: a temporary one)")
	flag.IntVar(&p.first, "device", 0, "be the process that is killed, and begin at this `number`")
	app.Run(func(ctx context.Context) error {
		if p.first > 0 {
			return p.device(ctx)
		}
		return p.check(ctx)
	})
}

type persistent struct {
	*sample.App
	files *sample.CertFlags
	kills int
	store string
	first int

	mu      sync.Mutex
	arrived map[int]int // how often
}

// device publishes until it is killed. A publish returns when it is on the disk:
// whatever happens then, this process or its successor sends it.
func (p *persistent) device(ctx context.Context) error {
	store, err := filestore.Open(p.store, filestore.Options{})
	if err != nil {
		return err
	}
	defer store.Close()
	client, err := p.files.Client(append(p.Options(),
		iot.WithSession(mqtt5.SessionRejoinAlways, time.Hour),
		iot.WithClientOptions(func(o *mqtt5.ClientOptions) {
			o.Durable = mqtt5.StoreOptions{Store: store, ReturnWhenStored: true}
			o.OnUndelivered = func(u *mqtt5.Undelivered) { p.Printf("Not delivered: %s: %v", u.Payload, u.Err) }
		}))...)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.Start(); err != nil {
		return err
	}
	for n := p.first; ; n++ {
		_, err := client.Publish(ctx, &mqtt5.PublishPacket{Topic: p.Topic, QoS: mqtt5.AtLeastOnce, Payload: fmt.Append(nil, n)})
		if err != nil {
			return err
		}
		fmt.Println("accepted", n)
		time.Sleep(20 * time.Millisecond) // AWS IoT Core takes 100 a second
	}
}

// check starts and kills the device, and counts what arrives.
func (p *persistent) check(ctx context.Context) (err error) {
	if err := p.files.Files(); err != nil {
		return err
	}
	if p.store == "" {
		dir, err := p.TempDir()
		if err != nil {
			return err
		}
		p.store = filepath.Join(dir, "store")
	}
	session := p.NewSession()
	client, err := p.files.Client(append(append(p.Options(), session.Options()...), iot.WithOnMessage(p.receive))...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, session.Stop(client)) }()
	if err := session.Connect(ctx, client); err != nil {
		return err
	}
	if err := session.Subscribe(ctx, client, p.Topic); err != nil {
		return err
	}
	last := 0
	for range p.kills + 1 {
		if last, err = p.runDevice(ctx, last+1); err != nil {
			return err
		}
		p.Printf("Killed the device; it had accepted %d messages.", last)
	}
	return p.compare(ctx, last)
}

// runDevice starts the device and kills it after a while. It returns the last
// number that the device accepted.
func (p *persistent) runDevice(ctx context.Context, first int) (last int, err error) {
	args := []string{"-endpoint", p.Endpoint, "-ca", p.CA, "-cert", *p.files.Cert, "-key", *p.files.Key,
		"-client-id", p.ClientID + "-device", "-topic", p.Topic, "-store", p.store, "-device", strconv.Itoa(first)}
	if p.Local() {
		ca := filepath.Join(filepath.Dir(*p.files.Cert), "ca.pem")
		if err := p.Core.WriteCA(ca); err != nil {
			return 0, err
		}
		args[1], args[3] = "localhost", ca
		args = append(args, "-port", strconv.Itoa(p.Core.Port()))
	} else if p.Port != 0 {
		args = append(args, "-port", strconv.Itoa(p.Port))
	}
	program, err := os.Executable()
	if err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	last = first - 1
	left := 5 + rand.IntN(20) // messages until it is killed
	for lines := bufio.NewScanner(out); lines.Scan(); {
		number, ok := strings.CutPrefix(lines.Text(), "accepted ")
		if !ok {
			continue
		}
		if n, err := strconv.Atoi(number); err == nil {
			last = n
		}
		if left--; left == 0 {
			time.AfterFunc(time.Duration(rand.IntN(20))*time.Millisecond, func() { _ = cmd.Process.Kill() })
		}
	}
	_ = cmd.Wait()
	if left > 0 {
		return 0, errors.New("the device ended by itself")
	}
	return last, nil
}

func (p *persistent) receive(_ context.Context, m mqtt5.Message) {
	n, err := strconv.Atoi(string(m.Payload))
	if err != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.arrived[n]++
}

// compare lets a last process deliver the rest, and looks for gaps.
func (p *persistent) compare(ctx context.Context, last int) error {
	end := time.Now().Add(sample.Timeout)
	for {
		p.mu.Lock()
		missing, again := 0, 0
		for n := 1; n <= last; n++ {
			switch times := p.arrived[n]; {
			case times == 0:
				missing++
			case times > 1:
				again++
			}
		}
		p.mu.Unlock()
		if missing == 0 {
			p.Printf("All %d messages arrived, %d of them more than once, as QoS 1 allows.", last, again)
			return nil
		}
		if time.Now().After(end) || ctx.Err() != nil {
			return fmt.Errorf("%d of %d messages are missing", missing, last)
		}
		// What the killed device had accepted last is in its store: one more
		// run sends it.
		if _, err := p.runDevice(ctx, last+1000); err != nil {
			return err
		}
	}
}
