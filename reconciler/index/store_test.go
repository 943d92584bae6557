package index_test

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/countersign/countersign/reconciler/index"
	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/schemas"
)

// turn writes what the i-th commit leaves: every part of the index says i.
func turn(x *index.Index, i int) {
	text := fmt.Sprint("turn ", i)
	x.SetFile(&index.File{Path: "requests/a.yaml", Class: index.ClassRequest, Admitted: text, Raw: text, Commit: text})
	x.SetFile(&index.File{Path: "requests/b.yaml", Class: index.ClassRequest, Raw: text, Quarantine: text})
	x.SetFile(&index.File{Path: "countersign.yaml", Class: "settings", Admitted: text, Raw: text})
	for n, k := range connectionKeys() {
		x.SetDocuments(k, []*plan.Document{{Place: schemas.Place{Commit: i, Path: text, Index: n},
			Current: &plan.Version{Blob: text, Request: &schemas.Request{Metadata: schemas.Metadata{Reason: strings.Repeat(text, 50)}}}}})
	}
	x.SetControls("admissions/x.yaml", []index.Control{{ID: schemas.DocumentID{Path: text}, Kind: schemas.KindAdmission, Commit: i}})
	x.Verdicts = append(x.Verdicts, schemas.AdmissionRecord{Commit: fmt.Sprint("c", i), Sequence: i, Verdict: "admitted"})
	x.Head = index.Head{Tip: fmt.Sprint("c", i), Sequence: i, Anchor: "c0"}
}

// turned is what an index answers after turns 0 to n; after none for -1.
func turned(t testing.TB, n int) *content {
	t.Helper()
	x := open(t, "")
	for i := range n + 1 {
		turn(x, i)
	}
	return ask(t, x)
}

// saved makes an index file of turns 0 to n.
func saved(t testing.TB, path string, n int) {
	t.Helper()
	x := open(t, path)
	for i := range n + 1 {
		turn(x, i)
	}
	save(t, x)
	shut(t, x)
}

func execute(t testing.TB, path, statements string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath())
	if err != nil {
		t.Fatal(err)
	}
	if _, err = db.Exec(statements); err == nil {
		err = db.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// What lies in the index's place is the index, or an error that names the file, or is dropped; and where it is
// dropped, the index is built again there.
func TestOtherFiles(t *testing.T) {
	t.Parallel()
	cut := func(part float64) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			saved(t, path, 3)
			info, err := os.Stat(path)
			if err == nil {
				err = os.Truncate(path, int64(part*float64(info.Size())))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, c := range map[string]struct {
		prepare func(t *testing.T, path string)
		fails   bool
	}{
		"none":  {prepare: func(*testing.T, string) {}},
		"empty": {prepare: func(t *testing.T, path string) { write(t, path, nil) }},
		"another version": {prepare: func(t *testing.T, path string) {
			saved(t, path, 3)
			execute(t, path, `UPDATE meta SET value = '0' WHERE key = 'format'`)
		}},
		"a version of another layout": {prepare: func(t *testing.T, path string) {
			execute(t, path, `CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL, more TEXT NOT NULL);
INSERT INTO meta VALUES ('format', '99', ''); CREATE TABLE files (path TEXT PRIMARY KEY); INSERT INTO files VALUES ('requests/a.yaml');
CREATE TABLE connections (id INTEGER PRIMARY KEY); CREATE TABLE commits (hash BLOB); CREATE TABLE controls (n); CREATE TABLE mentions (n)`)
		}},
		"never finished": {prepare: func(t *testing.T, path string) {
			saved(t, path, 3)
			execute(t, path, `DELETE FROM meta`)
		}},
		"text":        {prepare: func(t *testing.T, path string) { write(t, path, bytes.Repeat([]byte("apiVersion: "), 1000)) }, fails: true},
		"cut short":   {prepare: cut(0.02), fails: true},
		"cut in half": {prepare: cut(0.5), fails: true},
		"a directory": {prepare: func(t *testing.T, path string) {
			if err := os.MkdirAll(path, 0o755); err != nil {
				t.Fatal(err)
			}
		}, fails: true},
		"a file for a folder": {prepare: func(t *testing.T, path string) { write(t, filepath.Dir(path), nil) }, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "state #1?", "index.db")
			if name != "a file for a folder" {
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			c.prepare(t, path)
			x, err := index.Open(t.Context(), path)
			if c.fails {
				if err == nil {
					_, err = tryAsk(t, x)
					shut(t, x)
				} else if !strings.Contains(err.Error(), filepath.Dir(path)) {
					t.Errorf("the error does not name the file: %v", err)
				}
				if err == nil {
					t.Error("it is taken for an index")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := same(turned(t, -1), ask(t, x)); diff != "" {
				t.Errorf("it is not empty (-empty +got):\n%s", diff)
			}
			turn(x, 0)
			save(t, x)
			shut(t, x)
			x = open(t, path)
			defer shut(t, x)
			if diff := same(turned(t, 0), ask(t, x)); diff != "" {
				t.Errorf("after a save there (-want +got):\n%s", diff)
			}
		})
	}
}

func write(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

// A file cut at any length answers as before, as nothing, or with an error.
func TestCutFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	whole := filepath.Join(dir, "whole.db")
	saved(t, whole, 2)
	content, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	want, empty, failed := turned(t, 2), turned(t, -1), 0
	path := filepath.Join(dir, "cut.db")
	for at := 0; at < len(content); at += 1 + len(content)/60 {
		write(t, path, content[:at])
		x, err := index.Open(t.Context(), path)
		if err != nil {
			failed++
			continue
		}
		got, err := tryAsk(t, x)
		switch {
		case err != nil:
			failed++
		case same(want, got) != "" && same(empty, got) != "":
			t.Errorf("cut at %d of %d, it is taken for:\n%s", at, len(content), same(want, got))
		}
		shut(t, x)
		for _, s := range []string{"", "-wal", "-shm"} {
			if err := os.Remove(path + s); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
		}
	}
	if failed == 0 {
		t.Error("nothing failed")
	}
}

// A damaged body is an error wherever it is read.
func TestDamagedRows(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ damage string }{
		"documents": {`UPDATE connections SET body = substr(body, 1, length(body) - 1)`},
		"nothing":   {`UPDATE connections SET body = x''`},
		"files":     {`UPDATE files SET body = substr(body, 1, length(body) - 1)`},
		"controls":  {`UPDATE controls SET body = '[{'`},
		"verdicts":  {`UPDATE commits SET body = '{'`},
		"head":      {`UPDATE meta SET value = '{' WHERE key = 'head'`},
		"no table":  {`DROP TABLE connections`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "index.db")
			saved(t, path, 1)
			execute(t, path, c.damage)
			x, err := index.Open(t.Context(), path)
			if err == nil {
				_, err = tryAsk(t, x)
				shut(t, x)
			}
			if err == nil {
				t.Error("no error")
			}
		})
	}
}

// What one reads is what was there when it opened the file, whatever another writes; and it writes nothing over that.
func TestAnotherWrites(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "index.db")
	saved(t, path, 3)
	first, second := open(t, path), open(t, path)
	defer shut(t, first)
	turn(second, 4)
	save(t, second)
	shut(t, second)
	if diff := same(turned(t, 3), ask(t, first)); diff != "" {
		t.Errorf("the first reads what the second wrote (-want +got):\n%s", diff)
	}
	turn(first, 4)
	turn(first, 5)
	if err := first.Save(t.Context()); !errors.Is(err, index.ErrChanged) {
		t.Errorf("Save = %v, want ErrChanged", err)
	}
	third := open(t, path)
	defer shut(t, third)
	if diff := same(turned(t, 4), ask(t, third)); diff != "" {
		t.Errorf("the file is not what the second wrote (-want +got):\n%s", diff)
	}
}

// What is forgotten is gone for the forgetful at once, and for all others when it is saved.
func TestReset(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "index.db")
	saved(t, path, 3)
	x := open(t, path)
	x.Reset()
	if diff := same(turned(t, -1), ask(t, x)); diff != "" {
		t.Errorf("after Reset (-empty +got):\n%s", diff)
	}
	other := open(t, path)
	if diff := same(turned(t, 3), ask(t, other)); diff != "" {
		t.Errorf("for another, before the save (-want +got):\n%s", diff)
	}
	shut(t, other)
	turn(x, 0)
	save(t, x)
	if diff := same(turned(t, 0), ask(t, x)); diff != "" {
		t.Errorf("after Save (-want +got):\n%s", diff)
	}
	shut(t, x)
	x = open(t, path)
	defer shut(t, x)
	if diff := same(turned(t, 0), ask(t, x)); diff != "" {
		t.Errorf("opened anew (-want +got):\n%s", diff)
	}
}

// Many begin at once where there is no file yet: some win, the others are told.
func TestAllAtOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "index.db")
	var wg sync.WaitGroup
	won := make([]error, 8)
	start := make(chan struct{})
	for i := range won {
		wg.Go(func() {
			<-start
			x, err := index.Open(t.Context(), path)
			if err != nil {
				won[i] = err
				return
			}
			for n := x.Head.Sequence + 1; n <= i; n++ {
				turn(x, n)
			}
			won[i] = errors.Join(x.Save(t.Context()), x.Close())
		})
	}
	close(start)
	wg.Wait()
	x := open(t, path)
	defer shut(t, x)
	got := ask(t, x)
	switch n := got.Head.Sequence; {
	case n < 0:
		t.Error("nobody has written")
	case won[n] != nil:
		t.Errorf("the file is of the one that was told %v", won[n])
	default:
		if diff := same(turned(t, n), got); diff != "" {
			t.Errorf("a mixture (-want +got):\n%s", diff)
		}
	}
	for i, err := range won {
		if err != nil && !errors.Is(err, index.ErrChanged) {
			t.Errorf("%d: %v", i, err)
		}
	}
}

const turns = 40

// TestWriterProcess is the other process of TestTwoProcesses.
func TestWriterProcess(t *testing.T) {
	path := os.Getenv("TEST_ORDER_WRITER")
	if path == "" {
		t.Skip("it is run by TestTwoProcesses")
	}
	x := open(t, path)
	for i := range turns {
		turn(x, i)
		save(t, x)
	}
	shut(t, x)
}

// One process writes while another reads: each read is of one state, never of two.
func TestTwoProcesses(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "index.db")
	cmd := exec.Command(os.Args[0], "-test.run=^TestWriterProcess$")
	cmd.Env = append(os.Environ(), "TEST_ORDER_WRITER="+path)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for last, done := -1, false; !done; {
		select {
		case err := <-ended:
			if err != nil {
				t.Fatalf("the writer: %v\n%s", err, &out)
			}
			done = true
		default:
		}
		x := open(t, path)
		got := ask(t, x)
		shut(t, x)
		n := got.Head.Sequence
		if diff := same(turned(t, n), got); diff != "" || n < last {
			t.Fatalf("at turn %d after %d, a mixture (-want +got):\n%s", n, last, diff)
		}
		if last = n; done && n != turns-1 {
			t.Errorf("in the end it is at turn %d, want %d", n, turns-1)
		}
	}
}
