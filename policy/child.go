package policy

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
)

// The protocol between an engine and its child: frames of a four-byte big-endian length followed by that many bytes of
// JSON. The engine sends a hello and then inputs; each gets one reply, in order.
type (
	hello struct {
		Modules map[string][]byte `json:"modules"`
		Data    map[string]any    `json:"data"`
		Timeout time.Duration     `json:"timeout"`
	}
	reply struct {
		Answer  json.RawMessage `json:"answer,omitempty"`
		Error   string          `json:"error,omitempty"`
		Timeout bool            `json:"timeout,omitempty"`
	}
)

const (
	// maxFrame limits a frame; it is larger than any input that MaxInput allows by default.
	maxFrame = 128 << 20
	// grace is the time a child has after its deadline to report the time-out itself, before it is killed.
	grace = 500 * time.Millisecond
)

func writeFrame(w io.Writer, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(text) > maxFrame {
		return fmt.Errorf("a message of %d bytes is too large", len(text))
	}
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, len(text)+4), uint32(len(text)))
	_, err = w.Write(append(frame, text...))
	return err
}

// readFrame reads a frame. It allocates only as much as arrives, because the length is not trusted.
func readFrame(r io.Reader, v any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxFrame {
		return fmt.Errorf("a message of %d bytes is too large", n)
	}
	var b bytes.Buffer
	if _, err := io.CopyN(&b, r, int64(n)); err != nil {
		return err
	}
	d := json.NewDecoder(&b)
	d.UseNumber()
	return d.Decode(v)
}

// child evaluates own rules in another process, which is started at the first evaluation and again after it has died.
type child struct {
	isolate func(context.Context) (*exec.Cmd, error)
	log     *slog.Logger
	hello   hello
	// startTime is the time a child may take to start and compile, in addition to that of an evaluation.
	startTime time.Duration

	mu      sync.Mutex
	closed  bool
	process *process
}

// process is one life of the child.
type process struct {
	cmd    *exec.Cmd
	cancel context.CancelFunc
	in     io.WriteCloser
	out    io.ReadCloser
	stderr *head
}

func newChild(isolate func(context.Context) (*exec.Cmd, error), log *slog.Logger, h hello) *child {
	return &child{isolate: isolate, log: log, hello: h, startTime: 30 * time.Second}
}

// evaluate asks the child. Any error ends the child process; the next evaluation starts another.
func (c *child) evaluate(ctx context.Context, input ast.Value) (ast.Value, error) {
	plain, err := ast.JSON(input)
	if err != nil {
		return nil, fmt.Errorf("policy input: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	if c.process == nil {
		if c.process, err = c.start(ctx); err != nil {
			return nil, fmt.Errorf("%w: start it: %w", ErrChild, err)
		}
		c.log.Debug("policy child started", "pid", c.process.cmd.Process.Pid)
		if _, err := c.ask(ctx, c.hello, c.hello.Timeout+c.startTime); err != nil {
			return nil, err
		}
	}
	answer, err := c.ask(ctx, plain, patience*c.hello.Timeout+grace)
	if err != nil {
		return nil, err
	}
	v, err := ast.ValueFromReader(bytes.NewReader(answer))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return v, nil
}

func (c *child) start(ctx context.Context) (*process, error) {
	// The process outlives the evaluation that starts it.
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	cmd, err := c.isolate(life)
	if err != nil {
		cancel()
		return nil, err
	}
	p := &process{cmd: cmd, cancel: cancel, stderr: &head{}}
	cmd.Env = []string{} // nil would inherit this process's environment
	cmd.Stderr = p.stderr
	cmd.WaitDelay = time.Second
	if p.in, err = cmd.StdinPipe(); err == nil {
		if p.out, err = cmd.StdoutPipe(); err == nil {
			err = cmd.Start()
		}
	}
	if err != nil {
		cancel()
		return nil, err
	}
	return p, nil
}

// ask sends a message and waits for its reply, for at most limit.
func (c *child) ask(ctx context.Context, message any, limit time.Duration) (json.RawMessage, error) {
	p := c.process
	done := make(chan error, 1)
	var r reply
	go func() {
		err := writeFrame(p.in, message)
		if err == nil {
			err = readFrame(p.out, &r)
		}
		done <- err
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	var err error
	select {
	case err = <-done:
	case <-timer.C:
		err = fmt.Errorf("%w (%s) in one of %s; the process was killed", ErrTimeout, c.hello.Timeout, strings.Join(slices.Sorted(maps.Keys(c.hello.Modules)), ", "))
		c.end("deadline")
		<-done // its pipes are now closed
		return nil, err
	case <-ctx.Done():
		c.end("cancelled")
		<-done
		return nil, fmt.Errorf("evaluate the rules: %w", context.Cause(ctx))
	}
	switch {
	case err != nil:
		state := c.end("failed")
		return nil, fmt.Errorf("%w: %s, while it evaluated %s", ErrChild, state, strings.Join(slices.Sorted(maps.Keys(c.hello.Modules)), ", "))
	case r.Timeout:
		return nil, fmt.Errorf("%w%s", ErrTimeout, strings.TrimPrefix(r.Error, ErrTimeout.Error()))
	case r.Error != "":
		return nil, errors.New(r.Error)
	}
	return r.Answer, nil
}

// end kills the process, waits for it, and describes how it ended.
func (c *child) end(why string) string {
	p := c.process
	c.process = nil
	p.cancel()
	err := p.cmd.Wait()
	state := "it ended"
	if err != nil {
		state = err.Error()
	}
	if first := p.stderr.line(); first != "" {
		state += ": " + first
	}
	c.log.Warn("policy child ended", "why", why, "state", state)
	return state
}

func (c *child) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	p := c.process
	if p == nil {
		return nil
	}
	c.process = nil
	// The end of its input ends it, and the kill makes sure of that.
	err := p.in.Close()
	p.cancel()
	_ = p.cmd.Wait() // the kill is expected
	return err
}

// head keeps the first bytes that are written to it: a dying Go program prints the reason first.
type head struct {
	mu sync.Mutex
	b  []byte
}

func (h *head) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if room := 1024 - len(h.b); room > 0 {
		h.b = append(h.b, p[:min(room, len(p))]...)
	}
	return len(p), nil
}

func (h *head) line() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	first, _, _ := strings.Cut(strings.TrimSpace(string(h.b)), "\n")
	return first
}
