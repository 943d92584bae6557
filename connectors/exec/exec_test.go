package exec_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	osexec "os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/casbin"
	"github.com/countersign/countersign/connectors/connectortest"
	"github.com/countersign/countersign/connectors/exec"
	"github.com/countersign/countersign/schemas"
)

// TestConformance runs the whole suite on casbin's connector, by way of the protocol. TestProcess has a process speak it.
func TestConformance(t *testing.T) {
	t.Parallel()
	cfg := exec.Config{Name: "store", Path: "/in/process", Limits: quick()}
	cfg.InProcess(func(in io.Reader, out io.Writer) {
		if err := exec.Serve(context.Background(), in, out, casbin.New()); err != nil && !errors.Is(err, os.ErrClosed) {
			t.Errorf("Serve: %v", err)
		}
	})
	c, err := exec.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	payloads := [2]map[string]any{
		{"title": "Readers", "description": "", "critical": false},
		{"title": "", "description": " 100% of it, \"quoted\"\nin #2 lines; ünï ", "critical": true},
	}
	with := func(key string, value any) func(connectortest.TB, connectors.Config) connectors.Config {
		return func(_ connectortest.TB, cfg connectors.Config) connectors.Config {
			cfg.Values = map[string]any{"policy": cfg.Values["policy"], key: value}
			return cfg
		}
	}
	connectortest.Run(t, connectortest.Harness{
		Connector: c,
		Payloads:  map[string][2]map[string]any{"role": payloads, "group": payloads},
		Start: func(t connectortest.TB) connectortest.Application {
			path := filepath.Join(t.TempDir(), "policy.csv")
			if err := os.WriteFile(path, []byte("# a store\np, dana, reports, read\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			return store(path)
		},
		Faulty: []connectortest.Faulty{
			{Name: "missing file", Config: with("policy", "/nowhere/policy.csv"), Code: connectors.Unavailable},
			{Name: "a number", Config: with("policy", 7), Code: connectors.Invalid},
			{Name: "a secret where none belongs", Config: with("policy", connectors.NewSecret(connectortest.Canary)), Code: connectors.Invalid},
			{Name: "unknown setting", Config: with("dsn", connectors.NewSecret(connectortest.Canary)), Code: connectors.Invalid},
		},
	})
}

// store is a policy file, changed as text.
type store string

var (
	_ connectortest.Application = store("")
	_ connectortest.Breaker     = store("")
)

func (s store) Config() connectors.Config {
	return connectors.Config{Application: "store", Values: map[string]any{"policy": string(s)}, Now: time.Now, Logger: slog.New(slog.DiscardHandler)}
}

func (s store) Name(word string) string { return word }

func (s store) change(t connectortest.TB, keep func(fields []string) bool, more ...string) {
	t.Helper()
	b, err := os.ReadFile(string(s))
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for line := range strings.Lines(string(b)) {
		r := csv.NewReader(strings.NewReader(line))
		r.TrimLeadingSpace, r.Comment = true, '#'
		if fields, err := r.Read(); err != nil || keep(fields) {
			out.WriteString(line)
		}
	}
	if len(more) > 0 {
		out.WriteString(strings.Join(more, ", ") + "\n")
	}
	if err := os.WriteFile(string(s), []byte(out.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (s store) once(t connectortest.TB, fields ...string) {
	t.Helper()
	s.change(t, func(f []string) bool { return !slices.Equal(f, fields) }, fields...)
}

func (s store) without(t connectortest.TB, name string) {
	t.Helper()
	s.change(t, func(f []string) bool { return !slices.Contains(f[1:], name) })
}

func (s store) AddIdentity(t connectortest.TB, typ, word string) schemas.Name {
	s.once(t, "p3", "u:"+word)
	return schemas.Name{Type: typ, SourceName: "u:" + word}
}

func (s store) AddResource(t connectortest.TB, typ, word string) (schemas.Name, bool) {
	s.once(t, "p4", "o:"+word)
	return schemas.Name{Type: typ, SourceName: "o:" + word}, true
}

func (s store) RemoveIdentity(t connectortest.TB, n schemas.Name) { s.without(t, n.SourceName) }
func (s store) DropConnection(t connectortest.TB, n schemas.Name) { s.without(t, n.SourceName) }
func (s store) AddConnection(t connectortest.TB, n schemas.Name) {
	s.once(t, "p2", n.SourceName, n.Type, "", "", "false")
}

func rule(k schemas.Key) []string {
	c, target := k.Connection, k.Target
	switch {
	case target.Type == "object":
		return []string{"p", c.SourceName, target.SourceName, k.Privilege}
	case target.Type == "user", c.Type == "group" && target.Type == "group":
		return []string{"g", target.SourceName, c.SourceName}
	}
	return []string{"g", c.SourceName, target.SourceName}
}

func (s store) Grant(t connectortest.TB, k schemas.Key) { s.once(t, rule(k)...) }
func (s store) Revoke(t connectortest.TB, k schemas.Key) {
	s.change(t, func(f []string) bool { return !slices.Equal(f, rule(k)) })
}

func (s store) Break(connectortest.TB) []connectortest.Broken {
	broken := func(name, content string) connectortest.Broken {
		return connectortest.Broken{Name: name, Corrupt: true, Start: func(t connectortest.TB) connectors.Config {
			if err := os.WriteFile(string(s), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			return s.Config()
		}}
	}
	return []connectortest.Broken{broken("empty", ""), broken("a bare quotation mark", "p, broken\", x, y\n"), broken("half a membership", "g, broken\n")}
}

// quick are limits that a test can wait for.
// quick are limits that a machine under load keeps, for connectors that answer at once.
func quick() exec.Limits {
	return exec.Limits{Start: 5 * time.Minute, Call: 5 * time.Minute, Grace: 5 * time.Minute, Close: 5 * time.Minute}
}

// bind binds a child. Where the limits are short for a test, a machine under load may not start it in time; then it is
// tried again.
func bind(t connectortest.TB, role string, limits exec.Limits) connectors.Connector {
	t.Helper()
	c := self(t, "liar", role)
	c.Limits = limits
	for {
		k, err := exec.New(t.Context(), c)
		if err == nil {
			return k
		}
		if connectors.CodeOf(err) != connectors.Unavailable || t.Context().Err() != nil {
			t.Fatal(err)
		}
	}
}

// scripted is a config of what a role says, without a process. The role must end when its input does.
func scripted(role string) exec.Config {
	c := exec.Config{Name: "liar", Path: "/in/process", Limits: quick()}
	c.InProcess(func(in io.Reader, out io.Writer) { script(role, bufio.NewScanner(in), out) })
	return c
}

// speak opens a writer on what a role says, without a process.
func speak(t connectortest.TB, role string) connectors.Writer {
	t.Helper()
	k, err := exec.New(t.Context(), scripted(role))
	if err != nil {
		t.Fatal(err)
	}
	w, err := k.OpenWriter(t.Context(), config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() }) // of a script that lies
	return w
}

func config() connectors.Config {
	return connectors.Config{Application: "hr", Values: map[string]any{}, Now: time.Now, Logger: slog.New(slog.DiscardHandler)}
}

func write(t connectortest.TB, role string, limits exec.Limits) connectors.Writer {
	t.Helper()
	w, err := bind(t, role, limits).OpenWriter(t.Context(), config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() }) // of a child that misbehaves
	return w
}

// wants fails unless the error has the code and says the text.
func wants(t connectortest.TB, err error, code connectors.Code, text string) {
	t.Helper()
	if got := connectors.CodeOf(err); got != code || !strings.Contains(fmt.Sprint(err), text) {
		t.Errorf("got code %q and error %v, want code %q and %q", got, err, code, text)
	}
}

func grants(n int) []schemas.Operation {
	var ops []schemas.Operation
	for i := range n {
		ops = append(ops, schemas.Operation{ID: fmt.Sprintf("op%d", i), Kind: schemas.OperationGrant, Connection: schemas.Name{Type: "group", SourceName: "g"},
			Target: &schemas.Name{Type: "user", SourceName: "u" + strconv.Itoa(i)}, Privilege: "MEMBER"})
	}
	return ops
}

// TestProcess has a real process serve a real connector: what it creates is read back from another process.
func TestProcess(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "policy.csv")
	if err := os.WriteFile(path, []byte("p, dana, reports, read\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := self(t, "store", "casbin")
	cfg.Limits = quick()
	c, err := exec.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	w, err := c.OpenWriter(t.Context(), store(path).Config())
	if err != nil {
		t.Fatal(err)
	}
	op := schemas.Operation{ID: "op0", Kind: schemas.OperationCreate, Application: "store", Connection: schemas.Name{Type: "role", SourceName: "made"}}
	if err := w.Apply(t.Context(), []schemas.Operation{op}, func(o connectors.Outcome) {
		if o.Err != nil {
			t.Error(o.Err)
		}
	}); err != nil {
		t.Error(err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	r, err := c.OpenReader(t.Context(), store(path).Config())
	if err != nil {
		t.Fatal(err)
	}
	s, err := r.Read(t.Context(), schemas.Selection{Names: []schemas.Name{op.Connection}})
	if err != nil || len(s.Connections) != 1 {
		t.Errorf("%+v, %v", s, err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func TestGood(t *testing.T) {
	t.Parallel()
	w := write(t, "good", quick())
	d, err := w.Describe(t.Context())
	if err != nil || d.Name != "liar" || d.Version != "7" {
		t.Errorf("%+v, %v", d, err)
	}
	s, err := w.Read(t.Context(), schemas.Selection{})
	want := []schemas.Connection{{Name: schemas.Name{Type: "group", SourceName: "a"}}, {Name: schemas.Name{Type: "group", SourceName: "b"},
		Entitlements: []schemas.Entitlement{{Target: schemas.Name{Type: "user", SourceName: "x"}, Privilege: "MEMBER"}}}}
	if diff := cmp.Diff(want, s.Connections); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	// What is beyond the question is dropped.
	s, err = w.Read(t.Context(), schemas.Selection{Scope: map[string][]string{"group": {"b*"}}})
	if err != nil || len(s.Connections) != 1 || s.Connections[0].SourceName != "b" {
		t.Errorf("%+v, %v", s, err)
	}
	p, err := w.List(t.Context(), connectors.Query{Type: "user", Limit: 1})
	if err != nil || len(p.Items) != 1 || p.Items[0].SourceName != "a" || p.Next == "" {
		t.Errorf("%+v, %v", p, err)
	}
	n := 0
	if err := w.Apply(t.Context(), grants(3), func(o connectors.Outcome) {
		n++
		if o.Err != nil {
			t.Error(o.Err)
		}
	}); err != nil || n != 3 {
		t.Errorf("%d outcomes, %v", n, err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

// TestLies has one lie in each answer. Each is found, named and ends the child; nothing after it is believed.
func TestLies(t *testing.T) {
	t.Parallel()
	read := func(w connectors.Writer) error {
		_, err := w.Read(t.Context(), schemas.Selection{})
		return err
	}
	list := func(w connectors.Writer) error {
		_, err := w.List(t.Context(), connectors.Query{Type: "user"})
		return err
	}
	apply := func(w connectors.Writer) error { return w.Apply(t.Context(), grants(2), func(connectors.Outcome) {}) }
	conn := func(list string) string { return `{"id":ID,"type":"connections","connections":[` + list + `]}` }
	done := func(n int) string { return fmt.Sprintf(`⏎{"id":ID,"type":"done","done":{"count":%d}}`, n) }
	outcome := func(op string) string { return `{"id":ID,"type":"outcome","outcome":{"operation":"` + op + `"}}` }
	for _, c := range []struct {
		name, answers string
		ask           func(connectors.Writer) error
		says          string
	}{
		{"no JSON", "read hello, world", read, "not one JSON value"},
		{"two values", `read {"id":ID,"type":"done","done":{"count":0}} {}`, read, "not one JSON value"},
		{"an empty line", "read ", read, "not one JSON value"},
		{"not UTF-8", "read {\"id\":ID,\"type\":\"\xff\"}", read, "not UTF-8"},
		{"half a surrogate", "read " + conn(`{"type":"group","source_name":"\ud800"}`), read, "surrogate"},
		{"unknown type", `read {"id":ID,"type":"applied"}`, read, "not an allowed value"},
		{"unknown field", `read {"id":ID,"type":"done","done":{"count":0},"token":"x"}`, read, "unknown field"},
		{"another case", `read {"ID":ID,"Type":"done","Done":{"Count":0}}`, read, "is missing"},
		{"no body", `read {"id":ID,"type":"done"}`, read, "is missing"},
		{"wrong body", `read {"id":ID,"type":"done","hello":{"version":1}}`, read, "is missing"},
		{"two bodies", `read {"id":ID,"type":"done","done":{"count":0},"hello":{"version":1}}`, read, "answer"},
		{"wrong id", `read {"id":99,"type":"done","done":{"count":0}}`, read, "(expected 4)"},
		{"the id of an earlier request", `read {"id":2,"type":"done","done":{"count":0}}`, read, "(expected 4)"},
		{"no id", `read {"type":"done","done":{"count":0}}`, read, "is missing"},
		{"an answer of another request", `read {"id":ID,"type":"outcome","outcome":{"operation":"op0"}}`, read, "of type outcome (expected connections)"},
		{"not sorted", "read " + conn(`{"type":"group","source_name":"b"},{"type":"group","source_name":"a"}`) + done(2), read, "not sorted"},
		{"not sorted over two lines", "read " + conn(`{"type":"group","source_name":"b"}`) + "⏎" + conn(`{"type":"group","source_name":"a"}`) + done(2), read, "not sorted"},
		{"twice", "read " + conn(`{"type":"group","source_name":"a"},{"type":"group","source_name":"a"}`) + done(2), read, "duplicate"},
		{"twice with one id", "read " + conn(`{"type":"group","source_name":"a","native_id":"1"},{"type":"group","source_name":"a","native_id":"1"}`) + done(2), read, "duplicate"},
		{"one lost", "read " + conn(`{"type":"group","source_name":"a"}`) + done(2), read, "connections (2 counted, 1 sent)"},
		{"a control character", "read " + conn(`{"type":"group","source_name":"a\nb"}`) + done(1), read, "U+000A"},
		{"an escape sequence", "read " + conn(`{"type":"group","source_name":"\u001b[2J"}`) + done(1), read, "U+001B"},
		{"a control character in an id", "read " + conn(`{"type":"group","source_name":"a","native_id":"\u0000"}`) + done(1), read, "U+0000"},
		{"a control character in a target", "read " + conn(`{"type":"group","source_name":"a","entitlements":[{"target":{"type":"user","source_name":"\u0085"},"privilege":"MEMBER"}]}`) + done(1), read, "U+0085"},
		{"no name", "read " + conn(`{"type":"group","source_name":""}`) + done(1), read, "name is missing"},
		{"a type that was not described", "read " + conn(`{"type":"role","source_name":"a"}`) + done(1), read, "isn't in the description"},
		{"an attribute that was not described", "read " + conn(`{"type":"group","source_name":"a","payload":{"admin":true}}`) + done(1), read, "isn't in the description"},
		{"entitlements not sorted", "read " + conn(`{"type":"group","source_name":"a","entitlements":[{"target":{"type":"user","source_name":"b"},"privilege":"MEMBER"},{"target":{"type":"user","source_name":"a"},"privilege":"MEMBER"}]}`) + done(1), read, "not sorted"},
		{"an entitlement twice", "read " + conn(`{"type":"group","source_name":"a","entitlements":[{"target":{"type":"user","source_name":"a"},"privilege":"MEMBER"}]}`) + `⏎{"id":ID,"type":"entitlements","entitlements":[{"target":{"type":"user","source_name":"a"},"privilege":"MEMBER"}]}` + done(1), read, "duplicate"},
		{"entitlements of nothing", `read {"id":ID,"type":"entitlements","entitlements":[]}`, read, "before the first connection"},
		{"an unknown state", "read " + conn(`{"type":"group","source_name":"a","entitlements":[{"target":{"type":"user","source_name":"a"},"privilege":"MEMBER","state":"gone"}]}`) + done(1), read, "not an allowed value"},
		{"an unknown code", `read {"id":ID,"type":"error","error":{"code":"blocked","message":"x"}}`, read, "not an allowed value"},
		{"an error without words", `read {"id":ID,"type":"error","error":{"code":"invalid","message":""}}`, read, "is empty"},
		{"an item of another type", `list {"id":ID,"type":"items","items":[{"type":"group","source_name":"a"}]}` + done(1), list, "another type"},
		{"an item with a line feed", `list {"id":ID,"type":"items","items":[{"type":"user","source_name":"a\r"}]}` + done(1), list, "U+000D"},
		{"an item lost", `list {"id":ID,"type":"items","items":[{"type":"user","source_name":"a"}]}` + done(2), list, "items (2 counted, 1 sent)"},
		{"nobody asked for it", "apply " + outcome("op7"), apply, "unknown operation in an outcome"},
		{"two outcomes", "apply " + outcome("op0") + "⏎" + outcome("op0") + "⏎" + outcome("op1") + done(3), apply, "duplicate outcome"},
		{"an outcome missing", "apply " + outcome("op0") + done(1), apply, "for 2 operations (1 counted, 1 sent)"},
		{"a wrong count", "apply " + outcome("op0") + "⏎" + outcome("op1") + done(5), apply, "(5 counted, 2 sent)"},
		{"an outcome of an earlier request", `apply {"id":3,"type":"outcome","outcome":{"operation":"op0"}}`, apply, "to request 3 (expected 4)"},
		{"an operation that claims to be blocked", `apply {"id":ID,"type":"outcome","outcome":{"operation":"op0","error":{"code":"blocked","message":"x"}}}`, apply, "not an allowed value"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := speak(t, "raw "+c.answers)
			wants(t, c.ask(w), connectors.Invalid, c.says)
			_, err := w.Read(t.Context(), schemas.Selection{})
			wants(t, err, connectors.Unavailable, "stopped after an earlier fault")
			if err := w.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	}
}

// TestLieInOneOutcome: what was reported before the lie stands, what comes after is unknown.
func TestLieInOneOutcome(t *testing.T) {
	t.Parallel()
	w := speak(t, `raw apply {"id":ID,"type":"outcome","outcome":{"operation":"op0"}}⏎{"id":ID,"type":"outcome","outcome":{"operation":"other"}}⏎{"id":ID,"type":"outcome","outcome":{"operation":"op1"}}`)
	var got []string
	err := w.Apply(t.Context(), grants(3), func(o connectors.Outcome) { got = append(got, o.Operation) })
	wants(t, err, connectors.Invalid, "unknown operation in an outcome")
	if !slices.Equal(got, []string{"op0"}) {
		t.Errorf("outcomes %v, want op0 alone", got)
	}
}

// TestBadDescriptions: an executable that says nonsense of itself cannot be bound.
func TestBadDescriptions(t *testing.T) {
	t.Parallel()
	description := func(change ...string) string {
		return `raw describe {"id":ID,"type":"description","description":` + strings.NewReplacer(change...).Replace(good) + `}`
	}
	for _, c := range []struct{ name, role, says string }{
		{"another version", `raw hello {"id":ID,"type":"hello","hello":{"version":2}}`, "version 2"},
		{"refuses the version", `raw hello {"id":ID,"type":"error","error":{"code":"unsupported","message":"I speak 9"}}`, "I speak 9"},
		{"no hello", `raw hello {"id":ID,"type":"done","done":{"count":0}}`, "of type done (expected hello)"},
		{"no description", `raw describe {"id":ID,"type":"done","done":{"count":0}}`, "of type done (expected description)"},
		{"a version before the application is open", description(`"title":"Liar"`, `"title":"Liar","version":"1"`), "has a version although"},
		{"no types", description(`"types":[`, `"types":[],"was":[`), "unknown field"},
		{"control characters in names", description(`"names":{"pattern":"`+pattern+`"}`, `"names":{"pattern":".+"}`), "control characters"},
		{"the empty name", description(`"names":{"pattern":"`+pattern+`"}`, `"names":{"pattern":"[a-z]*"}`), "empty name"},
		{"a broken pattern", description(`"names":{"pattern":"`+pattern+`"}`, `"names":{"pattern":"("}`), "description"},
		{"an open payload", description(`{"comment":{"type":"string","description":"c"}},"additionalProperties":false`, `{"comment":{"type":"string","description":"c"}}`), "additionalProperties"},
		{"an edge that is none", description(`"edge":"identity"`, `"edge":"owner"`), "not an allowed value"},
		{"a schema that reads a file", description(`{"type":"string","description":"p"}`, `{"$ref":"file:///etc/passwd","description":"p"}`), "description"},
		{"a privilege that no membership has", description(`"privileges":["MEMBER"],"default":["MEMBER"]`, `"privileges":["ROOT"]`), "ROOT"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := exec.New(t.Context(), scripted(c.role))
			if connectors.CodeOf(err) == "" || !strings.Contains(fmt.Sprint(err), c.says) {
				t.Errorf("got %v, want a typed error that says %q", err, c.says)
			}
		})
	}
	t.Run("an installation that can more", func(t *testing.T) {
		t.Parallel()
		role := `raw describe_installation {"id":ID,"type":"description","description":` + strings.Replace(good, `"create":true`, `"create":true,"reassign":true`, 1) + `}`
		k, err := exec.New(t.Context(), scripted(role))
		if err != nil {
			t.Fatal(err)
		}
		_, err = k.OpenReader(t.Context(), config())
		wants(t, err, connectors.Invalid, "but the connector can't")
	})
}

func TestBinding(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		cfg  exec.Config
		code connectors.Code
		says string
	}{
		{"no name", exec.Config{Path: "/bin/true"}, connectors.Invalid, "invalid connector name"},
		{"a strange name", exec.Config{Name: "A b", Path: "/bin/true"}, connectors.Invalid, "invalid connector name"},
		{"a relative path", exec.Config{Name: "x", Path: "true"}, connectors.Invalid, "absolute"},
		{"nothing there", exec.Config{Name: "x", Path: "/nowhere/connector"}, connectors.Unavailable, "can't start the executable"},
		{"a program of another kind", exec.Config{Name: "x", Path: "/bin/true"}, connectors.Unavailable, "exited before it answered"},
		{"a program that echoes", exec.Config{Name: "x", Path: "/bin/cat"}, connectors.Invalid, "violated the protocol"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.cfg.Limits = quick()
			_, err := exec.New(t.Context(), c.cfg)
			wants(t, err, c.code, c.says)
		})
	}
}

// TestSecrets: they go on standard input alone, the one for applying to writers alone, and come out nowhere.
func TestSecrets(t *testing.T) {
	// One has characters that JSON escapes, and is a part of the other.
	const canary, apply = connectortest.Canary + `"\`, "the-apply-" + connectortest.Canary + `"\`
	t.Setenv("CANARY", canary)
	cfg := config()
	cfg.Values = map[string]any{"token": connectors.NewSecret(canary), "apply_token": connectors.NewSecret(apply), "place": "here"}
	var log bytes.Buffer
	var mu sync.Mutex
	cfg.Logger = slog.New(slog.NewTextHandler(locked{&mu, &log}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	for _, role := range []string{"leak", "echo", "argv"} {
		k := bind(t, role, quick())
		_, read := k.OpenReader(t.Context(), cfg)
		_, write := k.OpenWriter(t.Context(), cfg)
		for mode, err := range map[string]error{"read": read, "write": write} {
			if err == nil || strings.Contains(err.Error(), connectortest.Canary) {
				t.Errorf("%s, %s: %v", role, mode, err)
			}
			if role == "argv" {
				if strings.Contains(err.Error(), "CANARY") || !strings.Contains(err.Error(), "PATH=") || !strings.Contains(err.Error(), "HOME=") {
					t.Errorf("the environment of the child: %v", err)
				}
				continue
			}
			if !strings.Contains(err.Error(), `"token":"REDACTED"`) || !strings.Contains(err.Error(), `"place":"here"`) {
				t.Errorf("%s, %s: the child got no config: %v", role, mode, err)
			}
			if got := strings.Contains(err.Error(), "apply_token"); got != (mode == "write") {
				t.Errorf("%s, %s: does the child have the credential for applying: %v", role, mode, got)
			}
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if s := log.String(); strings.Contains(s, connectortest.Canary) || !strings.Contains(s, "REDACTED") {
		t.Errorf("the log:\n%s", s)
	}
}

type locked struct {
	mu *sync.Mutex
	b  *bytes.Buffer
}

func (l locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func TestHangs(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"hello", "describe"} {
		cfg := self(t, "liar", "hang "+at)
		cfg.Limits = exec.Limits{Start: 100 * time.Millisecond}
		_, err := exec.New(t.Context(), cfg)
		wants(t, err, connectors.Unavailable, "timed out after")
	}
	for _, at := range []string{"open", "describe_installation"} {
		for start := time.Second; ; start *= 2 {
			_, err := bind(t, "hang "+at, exec.Limits{Start: start}).OpenReader(t.Context(), config())
			if started := !strings.Contains(fmt.Sprint(err), "hello timed out after"); started || start > 5*time.Minute {
				wants(t, err, connectors.Unavailable, at+" timed out after")
				break
			}
		}
	}
	for at, ask := range map[string]func(connectors.Writer) error{
		"read": func(w connectors.Writer) error {
			_, err := w.Read(t.Context(), schemas.Selection{})
			return err
		},
		"list": func(w connectors.Writer) error {
			_, err := w.List(t.Context(), connectors.Query{Type: "user"})
			return err
		},
		"apply": func(w connectors.Writer) error { return w.Apply(t.Context(), grants(1), func(connectors.Outcome) {}) },
	} {
		w := write(t, "hang "+at, exec.Limits{Call: 100 * time.Millisecond})
		wants(t, ask(w), connectors.Unavailable, at+" timed out after")
	}
	// The context's deadline is heeded too.
	w := write(t, "hang read", exec.Limits{Grace: 100 * time.Millisecond})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := w.Read(ctx, schemas.Selection{})
	wants(t, err, connectors.Unavailable, "read: timed out")
	if err := w.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

func TestMidApply(t *testing.T) {
	t.Parallel()
	for role, says := range map[string]string{"die mid-apply": "exit status 3", "hang mid-apply": "apply timed out after"} {
		limits := quick()
		var got []string
		var err error
		for hang := 200 * time.Millisecond; len(got) == 0 && hang < 5*time.Minute; hang *= 2 { // op0 has to come within it
			if role == "hang mid-apply" {
				limits.Call = hang
			}
			err = write(t, role, limits).Apply(t.Context(), grants(4), func(o connectors.Outcome) { got = append(got, o.Operation) })
		}
		wants(t, err, connectors.Unavailable, says)
		if !slices.Equal(got, []string{"op0"}) {
			t.Errorf("%s: outcomes %v, want op0 alone", role, got)
		}
	}
}

// TestCancel: a child with one thread ends its batch; what it did is reported, and it can be asked again.
func TestCancel(t *testing.T) {
	t.Parallel()
	w := write(t, "slow", quick())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	err := w.Apply(ctx, grants(6), func(connectors.Outcome) {
		if n++; n == 1 {
			cancel()
		}
	})
	if n != 6 || err != nil {
		t.Errorf("%d outcomes, %v: the batch was on its way and ended", n, err)
	}
	if err := w.Apply(ctx, grants(1), func(connectors.Outcome) { n++ }); err == nil || n != 6 {
		t.Errorf("%d outcomes with an ended context, %v", n, err)
	}
	if s, err := w.Read(t.Context(), schemas.Selection{}); err != nil || len(s.Connections) != 2 {
		t.Errorf("after a cancellation: %+v, %v", s, err)
	}
}

func TestFloods(t *testing.T) {
	t.Parallel()
	w := write(t, "flood", exec.Limits{Answer: 1 << 20})
	_, err := w.Read(t.Context(), schemas.Selection{})
	wants(t, err, connectors.Invalid, "answer too long (expected at most 1048576 bytes)")
	w = write(t, "long", exec.Limits{Line: 1 << 20})
	_, err = w.Read(t.Context(), schemas.Selection{})
	wants(t, err, connectors.Invalid, "line too long (expected at most 1048576 bytes)")

	// Standard error is read to its end, and told in part, made harmless.
	var log bytes.Buffer
	var mu sync.Mutex
	cfg := config()
	cfg.Logger = slog.New(slog.NewJSONHandler(locked{&mu, &log}, nil))
	limits := quick()
	limits.LogLines = 10
	r, err := bind(t, "noise", limits).OpenReader(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if s, err := r.Read(t.Context(), schemas.Selection{}); err != nil || len(s.Connections) != 2 {
		t.Errorf("%+v, %v", s, err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if got := strings.Count(log.String(), "connector output\""); got != 10 {
		t.Errorf("%d lines in the log, want 10", got)
	}
	if s := log.String(); !strings.Contains(s, `"lines_dropped":4990`) || strings.Contains(s, "\u202e") || len(s) > 60_000 {
		t.Errorf("%d bytes of log: %.600s", len(s), s)
	}
}

func TestEnds(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"open", "read"} {
		k := bind(t, "exit "+at, quick())
		r, err := k.OpenReader(t.Context(), config())
		if err == nil {
			_, err = r.Read(t.Context(), schemas.Selection{})
		}
		wants(t, err, connectors.Unavailable, "exit status 7")
	}
	limits := quick()
	limits.Close = 2 * time.Second
	w := write(t, "closed", limits)
	_, err := w.Read(t.Context(), schemas.Selection{})
	wants(t, err, connectors.Unavailable, "its output ended")
	cfg := self(t, "liar", "lingers")
	cfg.Limits = limits
	_, err = exec.New(t.Context(), cfg)
	wants(t, err, connectors.Unavailable, "was killed")
}

// gone fails unless the process ends soon.
func gone(t connectortest.TB, pid int) {
	t.Helper()
	for range 60_000 { // ten minutes, for a machine under load
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || bytes.Contains(b, []byte(") Z ")) { // nobody may have waited for it
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("process %d lives", pid)
}

// TestSpies has a child look into its parent's environment and memory, where the secrets of other applications are.
func TestSpies(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has /proc")
	}
	_, err := write(t, "spies", quick()).Read(t.Context(), schemas.Selection{})
	wants(t, err, connectors.Denied, "it could read ()")
}

// TestGrandchildren: what a child leaves behind goes with it, even where it holds the pipes, or left for a session of its
// own.
func TestGrandchildren(t *testing.T) {
	t.Parallel()
	for _, role := range []string{"grandchild", "daemon"} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			grandchildren(t, role)
		})
	}
}

func grandchildren(t *testing.T, role string) {
	w := write(t, role, quick())
	s, err := w.Read(t.Context(), schemas.Selection{})
	if err != nil || len(s.Connections) != 1 {
		t.Fatalf("%+v, %v", s, err)
	}
	pid, err := strconv.Atoi(strings.TrimPrefix(s.Connections[0].SourceName, "p"))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, 0); err != nil {
		t.Fatalf("the grandchild is not there: %v", err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	gone(t, pid)
}

func TestProcessesAndMemory(t *testing.T) {
	t.Parallel()
	w := write(t, "forks", exec.Limits{Processes: 5})
	_, err := w.Read(t.Context(), schemas.Selection{})
	wants(t, err, connectors.Unavailable, "processes (expected at most 5)")
	if raced { // the race detector's shadow is memory too
		return
	}
	w = write(t, "memory", exec.Limits{Memory: 256 << 20})
	_, err = w.Read(t.Context(), schemas.Selection{})
	wants(t, err, connectors.Unavailable, "exit status 2")
}

func TestChildren(t *testing.T) {
	t.Parallel()
	k := bind(t, "good", exec.Limits{Children: 1})
	r, err := k.OpenReader(t.Context(), config())
	if err != nil {
		t.Fatal(err)
	}
	_, err = k.OpenReader(t.Context(), config())
	wants(t, err, connectors.Unavailable, "1 children")
	if err := errors.Join(r.Close(), r.Close()); err != nil {
		t.Error(err)
	}
	r, err = k.OpenReader(t.Context(), config())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// TestParentKilled: a child does not outlive a parent that had no chance to say so.
func TestParentKilled(t *testing.T) {
	t.Parallel()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := osexec.Command(path, "child=parent")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Fscan(out, &pid); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(cmd.Process.Kill(), syscall.Kill(pid, 0)); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed, as was asked for
	gone(t, pid)
}

// TestBatches: nothing depends on anything of its own batch, and what failed is not asked for.
func TestBatches(t *testing.T) {
	t.Parallel()
	// Each apply request is answered for op0 alone, which tells a request of one from others.
	w := speak(t, `raw apply {"id":ID,"type":"outcome","outcome":{"operation":"op0","error":{"code":"conflict","message":"no"}}}⏎{"id":ID,"type":"done","done":{"count":1}}`)
	ops := grants(3)
	ops[1].DependsOn, ops[2].DependsOn = []string{"op0"}, []string{"op1"}
	codes := map[string]connectors.Code{}
	if err := w.Apply(t.Context(), ops, func(o connectors.Outcome) { codes[o.Operation] = connectors.CodeOf(o.Err) }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]connectors.Code{"op0": connectors.Conflict, "op1": connectors.Blocked, "op2": connectors.Blocked}, codes); diff != "" {
		t.Error(diff)
	}
}

// TestWhole: an application that is not to be had ends the apply; what was not tried has no outcome.
func TestWhole(t *testing.T) {
	t.Parallel()
	w := speak(t, `raw apply {"id":ID,"type":"outcome","outcome":{"operation":"op0"}}⏎{"id":ID,"type":"outcome","outcome":{"operation":"op1","error":{"code":"unavailable","message":"rate limit","whole":true,"retry_after_seconds":90}}}`+
		`⏎{"id":ID,"type":"outcome","outcome":{"operation":"op2","error":{"code":"unavailable","message":"rate limit"}}}⏎{"id":ID,"type":"done","done":{"count":3}}`)
	var got []string
	err := w.Apply(t.Context(), grants(3), func(o connectors.Outcome) { got = append(got, o.Operation) })
	var typed *connectors.Error
	if !errors.As(err, &typed) || !connectors.IsWhole(err) || typed.RetryAfter != 90*time.Second || !slices.Equal(got, []string{"op0"}) {
		t.Errorf("outcomes %v and %+v, want op0 alone and an error of the whole", got, err)
	}
	if _, err := w.Describe(t.Context()); err != nil {
		t.Errorf("the child is in step: %v", err)
	}
}

// TestIds: two targets of one name are told apart by their ids, in order.
func TestIds(t *testing.T) {
	t.Parallel()
	e := func(id string) string {
		return `{"target":{"type":"user","source_name":"x"},"target_id":"` + id + `","privilege":"MEMBER"}`
	}
	for list, says := range map[string]string{e("1") + "," + e("2"): "", e("2") + "," + e("1"): "not sorted", e("1") + "," + e("1"): "not sorted", e("") + "," + e("1"): "not sorted"} {
		w := speak(t, `raw read {"id":ID,"type":"connections","connections":[{"type":"group","source_name":"a","entitlements":[`+list+`]}]}⏎{"id":ID,"type":"done","done":{"count":1}}`)
		s, err := w.Read(t.Context(), schemas.Selection{})
		if says != "" {
			wants(t, err, connectors.Invalid, says)
		} else if err != nil || len(s.Connections[0].Entitlements) != 2 {
			t.Errorf("%+v, %v", s, err)
		}
	}
}

// TestImplied: the privileges that one implies are made here.
func TestImplied(t *testing.T) {
	t.Parallel()
	w := speak(t, "good")
	d, err := w.Describe(t.Context())
	if g, _ := d.Types[0].Target("share"); err != nil || !g.Single {
		t.Errorf("%+v, %v", g, err)
	}
	share := schemas.Name{Type: "share", SourceName: "s"}
	s, err := w.Normalize(schemas.State{Connections: []schemas.Connection{{Name: schemas.Name{Type: "group", SourceName: "a"},
		Entitlements: []schemas.Entitlement{{Target: share, Privilege: "own"}, {Target: share, Privilege: "read"}}}}})
	if err != nil {
		t.Fatal(err)
	}
	want := []schemas.Entitlement{{Target: share, Privilege: "own"}, {Target: share, Privilege: "read"}, {Target: share, Privilege: "write"}}
	if diff := cmp.Diff(want, s.Connections[0].Entitlements); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestNormalForm: a child may fold and leave out, and may not add.
func TestNormalForm(t *testing.T) {
	t.Parallel()
	state := schemas.State{Connections: []schemas.Connection{{Name: schemas.Name{Type: "group", SourceName: "a"}, Payload: map[string]any{"comment": "x"},
		Entitlements: []schemas.Entitlement{{Target: schemas.Name{Type: "user", SourceName: "u"}, Privilege: "MEMBER"}}}}}
	for _, c := range []struct{ name, back, says string }{
		{"as it is", `{"type":"group","source_name":"a","payload":{"comment":"x"},"entitlements":[{"target":{"type":"user","source_name":"u"},"privilege":"MEMBER"}]}`, ""},
		{"left out", `{"type":"group","source_name":"a"}`, ""},
		{"another name", `{"type":"group","source_name":"b"}`, "normalized group/b (expected group/a)"},
		{"another target", `{"type":"group","source_name":"a","entitlements":[{"target":{"type":"user","source_name":"mallory"},"privilege":"MEMBER"}]}`, "an additional target"},
		{"nothing", ``, "normalized 0 connections (expected 1)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			n := 1
			if c.back == "" {
				n = 0
			}
			role := fmt.Sprintf(`raw normalize {"id":ID,"type":"connections","connections":[%s]}⏎{"id":ID,"type":"done","done":{"count":%d}}`, c.back, n)
			w := speak(t, "normalizes "+role)
			_, err := w.Normalize(state)
			if c.says != "" {
				wants(t, err, connectors.Invalid, c.says)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}
