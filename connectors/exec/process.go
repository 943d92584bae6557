package exec

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	osexec "os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/secrets"
	"github.com/countersign/countersign/schemas"
	"github.com/countersign/countersign/schemas/strict"
)

// process is one child, from its start to its end.
type process struct {
	name    string
	limits  Limits
	logger  *slog.Logger
	secrets *secrets.Redactor

	in       *os.File // our end of its standard input
	out, err *os.File
	reader   *bufio.Reader
	partial  []byte        // of an incomplete line
	logged   chan struct{} // closed when standard error is drained
	ended    chan struct{} // closed when the child has exited
	state    string        // how it exited; set before ended is closed

	life   sync.Mutex
	pid    int
	mark   string // in the environment of the child
	reaped bool
	why    string // why it was killed
	cut    func() // stops the function that replaces a child; nil for a child

	// One call at a time. The fields below belong to it.
	turn   sync.Mutex
	id     int64
	broken error
	closed bool
}

// start starts a child. It lives until close or kill, even after ctx ends.
func start(ctx context.Context, c *Config, known []string) (*process, error) {
	if err := connectors.Stopped(ctx, "start the connector "+c.Name); err != nil {
		return nil, err
	}
	p := &process{name: c.Name, limits: c.Limits, logger: c.Logger.With("connector", c.Name), secrets: redactor(known),
		logged: make(chan struct{}), ended: make(chan struct{})}
	fail := func(err error) (*process, error) {
		return nil, &connectors.Error{Code: connectors.Unavailable, Op: "start the connector " + c.Name,
			Message: "can't start the executable of --exec: " + plain(err.Error()), Err: err}
	}
	var theirs [3]*os.File
	var err error
	closeAll := func(files ...*os.File) {
		for _, f := range files {
			if f != nil {
				_ = f.Close() // an end of an empty pipe
			}
		}
	}
	if theirs[0], p.in, err = os.Pipe(); err == nil {
		if p.out, theirs[1], err = os.Pipe(); err == nil {
			p.err, theirs[2], err = os.Pipe()
		}
	}
	if err == nil && c.inProcess != nil {
		p.host(c.inProcess, theirs)
		theirs = [3]*os.File{}
	} else if err == nil {
		cmd := osexec.Command(c.Path, c.Args...)
		p.mark = markName + rand.Text()
		cmd.Env = append([]string{p.mark}, c.Env...) // and nothing of this process's environment
		cmd.Dir = "/"
		cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs[0], theirs[1], theirs[2]
		started := make(chan error, 1)
		go p.supervise(cmd, c.User, started)
		err = <-started
	}
	closeAll(theirs[:]...)
	if err != nil {
		closeAll(p.in, p.out, p.err)
		return fail(err)
	}
	p.reader = bufio.NewReaderSize(p.out, 64<<10)
	go p.drain()
	return p, nil
}

// host runs a function in place of a child, on the child's ends of the pipes. Closing them kills it.
func (p *process) host(run func(io.Reader, io.Writer), theirs [3]*os.File) {
	p.cut = func() {
		for _, f := range theirs {
			_ = f.Close() // closed already where the function has ended
		}
	}
	go func() {
		run(theirs[0], theirs[1])
		p.cut()
		p.state = "it ended"
		close(p.ended)
	}()
}

// markName begins the variable by which a child's descendants are known, in whatever group they are.
const markName = "COUNTERSIGN_CONNECTOR_RUN="

// supervise starts the child and waits for its exit. It keeps its thread, which ends with it: on Linux the child dies
// with the thread, and so with this program.
func (p *process) supervise(cmd *osexec.Cmd, user *User, started chan<- error) {
	runtime.LockOSThread()
	err := prepareSelf()
	if err == nil {
		dropCapabilities()
		isolate(cmd, user)
		err = cmd.Start()
	}
	if err != nil {
		started <- err
		return
	}
	p.pid = cmd.Process.Pid
	if err := limitMemory(p.pid, p.limits.Memory); err != nil {
		p.kill("can't limit its memory: " + err.Error())
	}
	started <- nil
	watched := make(chan struct{})
	go p.watch(watched)
	err = reap(cmd, func() {
		// Kill its descendants, too.
		p.life.Lock()
		killFamily(p.pid, p.mark)
		p.reaped = true
		p.life.Unlock()
	})
	close(watched)
	p.state = "it ended"
	if err != nil {
		p.state = err.Error()
	}
	p.life.Lock()
	if p.why != "" {
		p.state = p.why
	}
	p.life.Unlock()
	close(p.ended)
}

// watch kills a child that has too many processes, or uses too much memory with all of them.
func (p *process) watch(until <-chan struct{}) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-until:
			return
		case <-tick.C:
		}
		all := family(p.pid, p.mark)
		if n := len(all); n > p.limits.Processes {
			p.kill(fmt.Sprintf("it had %d processes (expected at most %d)", n, p.limits.Processes))
			return
		}
		if n, most := resident(all), 2*p.limits.Memory; n > most {
			p.kill(fmt.Sprintf("its processes used %d MiB of memory together (expected at most %d)", n>>20, most>>20))
			return
		}
	}
}

// kill kills the child and all that it started at once, unless the child has exited.
func (p *process) kill(why string) {
	p.life.Lock()
	defer p.life.Unlock()
	if p.cut != nil {
		p.cut()
		return
	}
	if p.reaped {
		return
	}
	if p.why == "" {
		p.why = why
	}
	killFamily(p.pid, p.mark)
}

// drain logs the child's standard error, and keeps reading beyond the limit.
func (p *process) drain() {
	defer close(p.logged)
	r := bufio.NewReaderSize(p.err, maxLogLine)
	lines, dropped := 0, 0
	cut := false // the rest of a line that is too long
	for {
		text, err := r.ReadSlice('\n')
		text = bytes.TrimRight(text, "\r\n")
		switch {
		case cut || len(text) == 0:
		case lines >= p.limits.LogLines:
			dropped++
		default:
			lines++
			p.logger.Warn("connector output", "line", p.say(string(text), maxShownLine))
		}
		cut = errors.Is(err, bufio.ErrBufferFull)
		if err != nil && !cut {
			break
		}
	}
	if dropped > 0 {
		p.logger.Warn("connector output exceeded the limit", "lines_dropped", dropped)
	}
}

const (
	maxLogLine   = 64 << 10
	maxShownLine = 4 << 10
	maxMessage   = 2000
)

// say makes a child's text safe to show: without the secrets that it was given, without control characters, and short.
func (p *process) say(s string, limit int) string {
	s = plain(p.secrets.Redact(s))
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return s
}

// plain escapes characters that aren't graphic.
func plain(s string) string {
	q := strconv.QuoteToGraphic(s)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}

// redactor takes secrets out of texts.
func redactor(known []string) *secrets.Redactor {
	r := &secrets.Redactor{}
	for _, s := range known {
		r.Add(s)
	}
	return r
}

// violation is an answer that the protocol does not allow.
func (p *process) violation(format string, args ...any) error {
	return &connectors.Error{Code: connectors.Invalid, Op: "connector " + p.name,
		Message: "the connector violated the protocol and was stopped: " + fmt.Sprintf(format, args...)}
}

func (p *process) unavailable(message string, err error) error {
	return &connectors.Error{Code: connectors.Unavailable, Op: "connector " + p.name, Message: message, Whole: true, Err: err}
}

// fail ends a child that may be out of step with the protocol.
func (p *process) fail(err error) error {
	p.kill(err.Error())
	p.broken = p.unavailable("the connector was stopped after an earlier fault: "+err.Error(), err)
	return err
}

// gone returns the error for a child that exited by itself, with the known reason.
func (p *process) gone() error {
	state := "its output ended"
	_ = p.in.Close() // which a child that only closed its output survives
	select {
	case <-p.ended:
		state = p.state
	case <-time.After(p.limits.Close):
	}
	return p.fail(p.unavailable("the connector exited before it answered ("+plain(state)+"); the log has its output", nil))
}

// call sends a request and passes each answer to part, until part reports the last. An error as the answer is
// returned typed, and the child stays usable, as it does after a cancellation that it answers. Any other fault ends
// it. limit bounds the call, or the time between two answers if each is set.
func (p *process) call(ctx context.Context, req *schemas.ConnectorRequest, limit time.Duration, each bool, part func(*schemas.ConnectorAnswer) (bool, error)) error {
	p.turn.Lock()
	defer p.turn.Unlock()
	op := req.Type
	switch {
	case p.broken != nil:
		return p.broken
	case p.closed:
		return p.unavailable("the connection is closed", nil)
	}
	if err := connectors.Stopped(ctx, op); err != nil {
		return err
	}
	p.id++
	req.ID = p.id
	line, err := json.Marshal(req)
	switch {
	case err != nil:
		return &connectors.Error{Code: connectors.Invalid, Op: op, Message: "the request has a value that JSON can't represent", Err: err}
	case len(line) > p.limits.Line:
		return &connectors.Error{Code: connectors.Invalid, Op: op, Message: fmt.Sprintf("the request has %d bytes (expected at most %d in a line)", len(line), p.limits.Line)}
	}
	deadline := time.Now().Add(limit)
	late := false // the deadline is the one of the grace after a cancellation
	// The end of ctx wakes the waiting call, which then asks the child to stop.
	fired := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(fired)
		_ = p.out.SetReadDeadline(time.Unix(1, 0)) // fails only on a closed file
		_ = p.in.SetWriteDeadline(time.Unix(1, 0))
	})
	settled := sync.OnceFunc(func() {
		if !stop() {
			<-fired
		}
	})
	defer settled() // or it would wake the next call
	if err := p.write(ctx, line, deadline); err != nil {
		return err
	}
	left := p.limits.Answer
	for {
		text, err := p.line(ctx, deadline, late)
		switch {
		case errors.Is(err, errWoken):
			settled()
			late, deadline = true, time.Now().Add(p.limits.Grace)
			cancel, err := json.Marshal(&schemas.ConnectorRequest{ID: p.id + 1, Type: "cancel", Cancel: &schemas.ConnectorCancel{Request: p.id}})
			if err != nil {
				return p.fail(p.violation("%v", err))
			}
			p.id++
			if err := p.write(context.WithoutCancel(ctx), cancel, deadline); err != nil {
				return err
			}
			continue
		case errors.Is(err, os.ErrDeadlineExceeded) && late:
			return errors.Join(connectors.Stopped(ctx, op), p.fail(p.unavailable(fmt.Sprintf("it didn't stop within %s and was killed", p.limits.Grace), nil)))
		case errors.Is(err, os.ErrDeadlineExceeded):
			return p.fail(p.unavailable(fmt.Sprintf("%s timed out after %s; the connector was stopped", op, limit), nil))
		case errors.Is(err, errLong):
			return p.fail(p.violation("line too long (expected at most %d bytes)", p.limits.Line))
		case err != nil:
			return p.gone()
		}
		if left -= int64(len(text)); left < 0 {
			return p.fail(p.violation("answer too long (expected at most %d bytes)", p.limits.Answer))
		}
		a, err := strict.DecodeConnectorAnswer(text)
		if err != nil {
			return p.fail(p.violation("%s", p.say(err.Error(), maxMessage)))
		}
		if a.ID != req.ID {
			return p.fail(p.violation("an answer to request %d (expected %d)", a.ID, req.ID))
		}
		if a.Type == "error" {
			if err := connectors.Stopped(ctx, op); err != nil {
				return err
			}
			return p.typed(op, a.Error)
		}
		last, err := part(a)
		if err != nil {
			return p.fail(err)
		}
		if last {
			return nil
		}
		if each && !late {
			deadline = time.Now().Add(limit)
		}
	}
}

// typed converts an error that the child answered.
func (p *process) typed(op string, e *schemas.ConnectorError) *connectors.Error {
	out := &connectors.Error{Code: connectors.Code(e.Code), Op: op, Message: p.say(e.Message, maxMessage)}
	if out.Code == connectors.Unavailable {
		out.RetryAfter, out.Whole = time.Duration(e.RetryAfterSeconds)*time.Second, e.Whole
	}
	for _, d := range e.Dependents {
		out.Dependents = append(out.Dependents, p.say(d, maxMessage))
	}
	return out
}

var (
	errWoken = errors.New("the context has ended")
	errLong  = errors.New("line too long")
)

func (p *process) write(ctx context.Context, line []byte, deadline time.Time) error {
	_ = p.in.SetWriteDeadline(deadline) // fails only on a closed file, and then so does the write
	if ctx.Err() != nil {
		_ = p.in.SetWriteDeadline(time.Unix(1, 0))
	}
	_, err := p.in.Write(append(line, '\n'))
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		// Half of a line may have been written.
		return errors.Join(connectors.Stopped(ctx, "ask the connector"), p.fail(p.unavailable("it was stopped during the request", nil)))
	case errors.Is(err, os.ErrDeadlineExceeded):
		return p.fail(p.unavailable("it doesn't accept requests; the connector was stopped", nil))
	}
	return p.gone()
}

// line reads one line. An incomplete line is kept for the next call.
func (p *process) line(ctx context.Context, deadline time.Time, late bool) ([]byte, error) {
	_ = p.out.SetReadDeadline(deadline) // fails only on a closed file, and then so does the read
	if ctx.Err() != nil && !late {
		return nil, errWoken
	}
	for {
		text, err := p.reader.ReadSlice('\n')
		if len(p.partial)+len(text) > p.limits.Line {
			return nil, errLong
		}
		p.partial = append(p.partial, text...)
		switch {
		case err == nil:
			line := bytes.TrimRight(p.partial, "\r\n")
			p.partial = nil
			return line, nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() != nil && !late:
			return nil, errWoken
		case errors.Is(err, io.EOF), errors.Is(err, os.ErrDeadlineExceeded):
			return nil, err
		default:
			return nil, err
		}
	}
}

// close ends the child: it is asked to exit, then its input ends, then it is killed. The error reports that it had to
// be killed.
func (p *process) close() error {
	var err error
	p.turn.Lock()
	if p.closed {
		p.turn.Unlock()
		return nil
	}
	broken := p.broken != nil
	p.turn.Unlock()
	if !broken {
		asked, cancel := context.WithTimeout(context.Background(), p.limits.Close)
		err = p.call(asked, &schemas.ConnectorRequest{Type: "close"}, p.limits.Close, false, p.done(nil))
		cancel()
	}
	p.turn.Lock()
	defer p.turn.Unlock()
	p.closed = true
	_ = p.in.Close() // the child may have closed its end
	timer := time.NewTimer(p.limits.Close)
	defer timer.Stop()
	select {
	case <-p.ended:
	case <-timer.C:
		if err == nil && !broken {
			err = p.unavailable(fmt.Sprintf("it didn't exit within %s after close and was killed", p.limits.Close), nil)
		}
		p.kill("it didn't exit")
		<-p.ended
	}
	// A process that left the group may hold the other ends.
	_ = p.err.SetReadDeadline(time.Now().Add(logGrace))
	<-p.logged
	return errors.Join(err, p.out.Close(), p.err.Close())
}

// logGrace is the time for the last lines of a child that has exited to arrive.
const logGrace = 200 * time.Millisecond
