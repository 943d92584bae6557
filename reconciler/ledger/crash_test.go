package ledger

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/countersign/countersign/schemas"
)

// The test process runs itself again as a writer, which is a process of its own.
const writerPath, writerCount = "LEDGER_TEST_WRITER", "LEDGER_TEST_COUNT"

func TestMain(m *testing.M) {
	if path := os.Getenv(writerPath); path != "" {
		if err := writeForEver(path, os.Getenv(writerCount)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// writeForEver appends batches of three for ever, or as often as it is told, and prints the last sequence of each
// one once Append has returned. It begins when its standard input has a line.
func writeForEver(path, count string) error {
	most, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	ctx := context.Background()
	l, err := Open(ctx, Config{Path: path})
	if err != nil {
		return err
	}
	for i := 0; most == 0 || i < most; i++ {
		op := schemas.Operation{ID: fmt.Sprintf("%d-%d", os.Getpid(), i), Documents: []schemas.DocumentID{{Path: "r.yaml"}}}
		out, err := l.Append(ctx, schemas.Record{Type: schemas.RecordIntent, Application: "a", Planned: []schemas.Operation{op}},
			schemas.Record{Type: schemas.RecordOutcome, Application: "a", Operation: &op, Outcome: &schemas.OutcomeRecord{Status: "applied"}},
			schemas.Record{Type: schemas.RecordVerification, Application: "a", Operation: &op, Verification: &schemas.VerificationRecord{Status: "verified"},
				Baseline: []schemas.BaselineItem{{Item: op.ID, Token: "present:"}}})
		if err != nil {
			return err
		}
		fmt.Println(out[2].Sequence, out[2].Hash)
	}
	return l.Close()
}

type process struct {
	cmd    *exec.Cmd
	lines  *bufio.Scanner
	start  func() error
	stderr *strings.Builder
}

func spawn(t *testing.T, path string, count int) *process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), writerPath+"="+path, writerCount+"="+strconv.Itoa(count))
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: cmd, lines: bufio.NewScanner(stdout), stderr: &strings.Builder{}}
	cmd.Stderr = p.stderr
	p.start = func() error { _, err := fmt.Fprintln(stdin); return err }
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if !p.lines.Scan() || p.lines.Text() != "ready" {
		t.Fatalf("the writer said %q: %s", p.lines.Text(), p.stderr)
	}
	return p
}

func TestKilledWhileAppending(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.db")
	committed, head := int64(0), ""
	// Again and again in the same file: each finds what the one before left.
	for round := range 6 {
		p := spawn(t, path, 0)
		if err := p.start(); err != nil {
			t.Fatal(err)
		}
		for range 5 + 7*round {
			if !p.lines.Scan() {
				t.Fatalf("the writer stopped: %s", p.stderr)
			}
		}
		if err := p.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		// What it said until the end was committed.
		last := p.lines.Text()
		for p.lines.Scan() {
			if strings.Count(p.lines.Text(), " ") == 1 && len(p.lines.Text()) > 64 {
				last = p.lines.Text()
			}
		}
		_ = p.cmd.Wait() // it was killed
		if _, err := fmt.Sscan(last, &committed, &head); err != nil {
			t.Fatalf("%q: %v", last, err)
		}
		// A reader may come first: it finds a log that nobody has brought in yet.
		for _, readOnly := range []bool{true, false} {
			l, err := Open(t.Context(), Config{Path: path, ReadOnly: readOnly})
			if err != nil {
				t.Fatal(err)
			}
			if got := problems(t, l, VerifyOptions{Head: head, Count: committed}); len(got) > 0 {
				t.Errorf("after the kill (read only %v) Verify() found %q", readOnly, got)
			}
			rep, err := l.Verify(t.Context(), VerifyOptions{ChainOnly: true})
			if err != nil || rep.Records%3 != 0 || rep.Records < committed || rep.Records > committed+3 {
				t.Errorf("%d records, %v; want whole batches, and %d or one batch more", rep.Records, err, committed)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestProcessesAtOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state", "ledger.db")
	const writers, batches = 3, 40
	var all []*process
	for range writers {
		all = append(all, spawn(t, path, batches))
	}
	// All of them open a file that is not there yet.
	for _, p := range all {
		if err := p.start(); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]bool{}
	for _, p := range all {
		for p.lines.Scan() {
			if seen[p.lines.Text()] {
				t.Errorf("two writers appended %s", p.lines.Text())
			}
			seen[p.lines.Text()] = true
		}
		if err := p.cmd.Wait(); err != nil {
			t.Errorf("%v: %s", err, p.stderr)
		}
	}
	l := openAt(t, path, nil)
	holds(t, l)
	if rep, err := l.Verify(t.Context(), VerifyOptions{}); err != nil || rep.Records != writers*batches*3 {
		t.Errorf("%d records, %v; want %d", rep.Records, err, writers*batches*3)
	}
}
