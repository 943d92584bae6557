package policy

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
)

// DefaultChildMemory is the memory limit of a child process: enough for a change of 10,000 documents, and less than a
// few replacements in a long text would take.
const DefaultChildMemory = 512 << 20

// ChildLimits limits a child process. The zero value means the defaults.
type ChildLimits struct {
	// Memory in bytes; 0 is DefaultChildMemory.
	Memory int64
}

// ServeChild evaluates a repository's own rules for an engine in another process, until the input ends. A command
// returned by Config.Isolate runs it, and its process must do nothing else: the limits apply to the complete process,
// which dies beyond its memory limit.
func ServeChild(ctx context.Context, in io.Reader, out io.Writer, limits ChildLimits) error {
	if limits.Memory == 0 {
		limits.Memory = DefaultChildMemory
	}
	if err := limitMemory(limits.Memory); err != nil {
		return fmt.Errorf("limit memory: %w", err)
	}
	stop := watchMemory(limits.Memory)
	defer stop()
	return serve(ctx, bufio.NewReader(in), out)
}

// watchMemory ends the process when it uses more than its limit. It works on all systems; the kernel's limit, where
// available, is stricter.
func watchMemory(limit int64) (stop func()) {
	// The collector works harder before the limit is reached, so that only live memory counts.
	before := debug.SetMemoryLimit(limit - limit/4)
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(5 * time.Millisecond)
		defer ticker.Stop()
		sample := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
			}
			metrics.Read(sample)
			if used := sample[0].Value.Uint64() - sample[1].Value.Uint64(); used > uint64(limit) {
				fmt.Fprintf(os.Stderr, "out of memory: the rules use more than %d MiB\n", limit>>20)
				die()
			}
		}
	}()
	return func() {
		close(done)
		<-ended
		debug.SetMemoryLimit(before)
	}
}

func serve(ctx context.Context, in io.Reader, out io.Writer) error {
	var h hello
	if err := readFrame(in, &h); err != nil {
		return fmt.Errorf("read the rules: %w", err)
	}
	p, err := compileHello(h)
	if err != nil {
		return errors.Join(writeFrame(out, reply{Error: err.Error()}), err)
	}
	if err := writeFrame(out, reply{}); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	for {
		var raw json.RawMessage
		err := readFrame(in, &raw)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read an input: %w", err)
		}
		if err := writeFrame(out, answerTo(ctx, p, raw, h.Timeout)); err != nil {
			return fmt.Errorf("answer: %w", err)
		}
	}
}

func compileHello(h hello) (*program, error) {
	data, err := plainData(h.Data)
	if err != nil {
		return nil, err
	}
	own, faults := parseOwn(h.Modules, true)
	if len(faults) > 0 {
		return nil, faults
	}
	p, faults := compileOwn(own, newStore(data), true)
	if len(faults) > 0 {
		return nil, faults
	}
	return p, nil
}

func answerTo(ctx context.Context, p *program, raw json.RawMessage, timeout time.Duration) reply {
	fail := func(err error) reply {
		return reply{Error: err.Error(), Timeout: errors.Is(err, ErrTimeout)}
	}
	input, err := ast.ValueFromReader(bytes.NewReader(raw))
	if err != nil {
		return fail(fmt.Errorf("policy input: %w", err))
	}
	answer, err := p.evaluate(ctx, input, timeout)
	if err != nil {
		return fail(err)
	}
	plain, err := ast.JSON(answer)
	if err != nil {
		return fail(fmt.Errorf("%w: %w", ErrMalformed, err))
	}
	text, err := json.Marshal(plain)
	if err != nil {
		return fail(fmt.Errorf("%w: %w", ErrMalformed, err))
	}
	if len(text) > maxFrame/2 {
		return fail(fmt.Errorf("%w: it has %d bytes", ErrMalformed, len(text)))
	}
	return reply{Answer: text}
}
