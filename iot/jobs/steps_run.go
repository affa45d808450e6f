// SPDX-License-Identifier: Apache-2.0

package jobs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Steps lets a [Runner] run programs that job documents name, in the format of
// the AWS IoT Device Client and of the managed job templates (AWS-Reboot,
// AWS-Download-File, AWS-Install-Application and others). Whoever may create
// jobs can then run them on the device, so the zero value allows nothing: each
// program has to be allowed here.
//
// A handler is run with the user of the step as its first argument, then the
// arguments of the step. If the process ends during a step, the next process
// begins with that step again.
type Steps struct {
	// HandlerDirs are the directories whose programs the steps of type
	// runHandler may run. The first one is the default. A program has to be
	// executable, and writable by its owner only. Empty: none.
	HandlerDirs []string
	// Commands are the programs that steps of type runCommand may run, as the
	// documents write them: names that PATH finds, or absolute paths. No shell
	// is involved. Empty: none.
	Commands []string
	// Users are those that steps may name in runAsUser beside the user of the
	// process; sudo, which must not ask for a password, changes to them. Empty: none.
	Users []string
	// Reboots are the handlers that end the process when they succeed: a
	// process that finds them interrupted goes on with the next step. Nil:
	// reboot.sh.
	Reboots []string
	// Condition reports whether a condition of a document applies to this
	// device. Nil: documents with conditions are rejected.
	Condition func(Condition) (bool, error)
	// Env is the environment of the programs. Nil: that of the process.
	Env []string
}

// killDelay is how long a program may take to end once its context has.
const killDelay = 10 * time.Second

// handle is the handler for documents in the steps format.
func (s *Steps) handle(ctx context.Context, job *Job, d *stepsDocument) error {
	if err := s.conditions(d.Conditions); err != nil {
		return err
	}
	actions := make([]action, 0, len(d.Steps)+1)
	for _, st := range d.Steps {
		actions = append(actions, st.Action)
	}
	if d.FinalStep != nil {
		actions = append(actions, d.FinalStep.Action)
	}
	// Everything is checked before anything runs.
	commands := make([][]string, len(actions))
	for i := range actions {
		var err error
		if commands[i], err = s.command(&actions[i]); err != nil {
			return Reject(err.Error())
		}
	}
	for i := s.first(job, actions); i < len(actions); i++ {
		a := &actions[i]
		if err := job.SetCheckpoint(strconv.AppendInt(nil, int64(i), 10)); err != nil {
			return err
		}
		out, err := s.run(ctx, a, commands[i])
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		details := map[string]string{}
		if d.IncludeStdout {
			detail(details, "stdout", out.stdout.text())
		}
		detail(details, "stderr", out.stderr.text())
		if err := job.Progress(details); err != nil {
			return err
		}
		if err != nil && !a.IgnoreFailure {
			return Fail(fmt.Sprintf("step %d (%s): %v", i+1, a.Name, err))
		}
	}
	return nil
}

// first returns the step to begin with.
func (s *Steps) first(job *Job, actions []action) int {
	i, err := strconv.Atoi(string(job.Checkpoint()))
	if err != nil || i < 0 || i >= len(actions) {
		return 0
	}
	reboots := s.Reboots
	if reboots == nil {
		reboots = []string{"reboot.sh"}
	}
	if a := actions[i]; a.Type == runHandler && slices.Contains(reboots, a.Input.Handler) {
		i++
	}
	return i
}

func (s *Steps) conditions(all []Condition) error {
	for _, c := range all {
		if s.Condition == nil {
			return Reject(fmt.Sprintf("condition %q: this device evaluates no conditions", c.Key))
		}
		ok, err := s.Condition(c)
		if err != nil {
			return Reject(fmt.Sprintf("condition %q: %v", c.Key, err))
		}
		if !ok {
			return Reject(fmt.Sprintf("condition %q does not apply", c.Key))
		}
	}
	return nil
}

// command returns the program and its arguments, or an error if they are not allowed.
func (s *Steps) command(a *action) ([]string, error) {
	var command []string
	var err error
	switch {
	case a.Type == runCommand:
		command = splitCommand(a.Input.Command)
		command[0], err = s.program(command[0])
	case a.legacy && !s.hasHandler(a) && slices.Contains(s.Commands, a.Input.Handler):
		command = append([]string{a.Input.Handler}, a.Input.Args...)
		command[0], err = s.program(a.Input.Handler)
	default:
		var path string
		path, err = s.handlerFile(a)
		command = append([]string{path, a.RunAsUser}, a.Input.Args...)
	}
	if err != nil {
		return nil, err
	}
	return s.as(a.RunAsUser, command)
}

// program returns the path of an allowed program.
func (s *Steps) program(name string) (string, error) {
	if !slices.Contains(s.Commands, name) {
		return "", fmt.Errorf("%w: command %q", ErrNotAllowed, name)
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%w: command %q: %w", ErrNotAllowed, name, err)
	}
	return path, nil
}

func (s *Steps) hasHandler(a *action) bool {
	_, err := s.handlerFile(a)
	return err == nil
}

// handlerFile returns the path of a handler, if it is in an allowed directory
// and nobody but its owner can have changed it.
func (s *Steps) handlerFile(a *action) (string, error) {
	refuse := func(reason string) (string, error) {
		return "", fmt.Errorf("%w: handler %q: %s", ErrNotAllowed, a.Input.Handler, reason)
	}
	if len(s.HandlerDirs) == 0 {
		return refuse("no handlers are allowed")
	}
	dir := s.HandlerDirs[0]
	if p := a.Input.Path; p != "" && p != "default" {
		i := slices.IndexFunc(s.HandlerDirs, func(d string) bool { return filepath.Clean(d) == filepath.Clean(p) })
		if i < 0 {
			return refuse("its directory is not allowed")
		}
		dir = s.HandlerDirs[i]
	}
	if a.Input.Handler != filepath.Base(a.Input.Handler) || !filepath.IsLocal(a.Input.Handler) {
		return refuse("not the name of a file")
	}
	path, err := filepath.Abs(filepath.Join(dir, a.Input.Handler))
	if err != nil {
		return refuse(err.Error())
	}
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return refuse("no such file")
	case err != nil:
		return refuse(err.Error())
	case !info.Mode().IsRegular():
		return refuse("not a regular file")
	case runtime.GOOS == "windows":
		return path, nil
	case info.Mode().Perm()&0o100 == 0:
		return refuse("not executable")
	case info.Mode().Perm()&0o022 != 0:
		return refuse("others than its owner may write it")
	}
	return path, nil
}

// as makes a command run as another user.
func (s *Steps) as(name string, command []string) ([]string, error) {
	if name == "" {
		return command, nil
	}
	if me, err := user.Current(); err == nil && me.Username == name {
		return command, nil
	}
	if !slices.Contains(s.Users, name) || strings.HasPrefix(name, "-") {
		return nil, fmt.Errorf("%w: user %q", ErrNotAllowed, name)
	}
	return append([]string{"sudo", "-n", "-u", name, "--"}, command...), nil
}

// output is what a program wrote.
type output struct{ stdout, stderr tail }

func (s *Steps) run(ctx context.Context, a *action, command []string) (*output, error) {
	out := &output{}
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = s.Env
	cmd.Stdout, cmd.Stderr = &out.stdout, &out.stderr
	cmd.WaitDelay = killDelay
	if runtime.GOOS != "windows" {
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	}
	if err := cmd.Run(); err != nil {
		return out, err
	}
	if lines := out.stderr.lines(); a.AllowStderr != nil && lines > *a.AllowStderr {
		return out, fmt.Errorf("%d lines on standard error, %d are allowed", lines, *a.AllowStderr)
	}
	return out, nil
}

// tail keeps the last bytes written to it, and counts their lines.
type tail struct {
	data   []byte
	breaks int
	open   bool // the last line has no line break yet
}

// Write never fails.
func (t *tail) Write(p []byte) (int, error) {
	if len(p) > 0 {
		t.breaks += bytes.Count(p, []byte{'\n'})
		t.open = p[len(p)-1] != '\n'
	}
	const keep = 4 * maxDetail // characters have at most 4 bytes
	t.data = append(t.data, p[max(0, len(p)-keep):]...)
	if over := len(t.data) - keep; over > 0 {
		t.data = append(t.data[:0], t.data[over:]...)
	}
	return len(p), nil
}

func (t *tail) lines() int {
	if t.open {
		return t.breaks + 1
	}
	return t.breaks
}

// text returns the last characters, with control characters replaced by blanks.
func (t *tail) text() string { return lastChars(t.data) }
