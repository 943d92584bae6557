package casbin_test

import (
	"encoding/csv"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/casbin"
	"github.com/countersign/countersign/connectors/connectortest"
	"github.com/countersign/countersign/schemas"
)

func harness() connectortest.Harness {
	payloads := [2]map[string]any{
		{"title": "Readers", "description": "", "critical": false},
		{"title": "", "description": " 100% of it, \"quoted\"\nin #2 lines; ünï ", "critical": true},
	}
	without := func(key string, value any) func(connectortest.TB, connectors.Config) connectors.Config {
		return func(_ connectortest.TB, cfg connectors.Config) connectors.Config {
			values := map[string]any{"policy": cfg.Values["policy"]}
			values[key] = value
			cfg.Values = values
			return cfg
		}
	}
	return connectortest.Harness{
		Connector: casbin.New(),
		Payloads:  map[string][2]map[string]any{"role": payloads, "group": payloads},
		Start:     func(t connectortest.TB) connectortest.Application { return newFile(t, "") },
		Faulty: []connectortest.Faulty{
			{Name: "missing file", Config: without("policy", "/nowhere/"+"policy.csv"), Code: connectors.Unavailable},
			{Name: "a folder", Config: without("policy", os.TempDir()), Code: connectors.Invalid},
			{Name: "no policy", Config: without("policy", ""), Code: connectors.Invalid},
			{Name: "a number", Config: without("policy", 7), Code: connectors.Invalid},
			{Name: "a secret where none belongs", Config: without("policy", connectors.NewSecret(connectortest.Canary)), Code: connectors.Invalid},
			{Name: "unknown setting", Config: without("dsn", connectors.NewSecret(connectortest.Canary)), Code: connectors.Invalid},
			{Name: "no action", Config: without("actions", []any{}), Code: connectors.Invalid},
			{Name: "an action twice", Config: without("actions", []any{"read", "read"}), Code: connectors.Invalid},
			{Name: "an action with a comma", Config: without("actions", []any{"read, x"}), Code: connectors.Invalid},
			{Name: "missing model", Config: without("model", "/nowhere/model.conf"), Code: connectors.Unavailable},
			{Name: "out of the repository", Config: without("policy", "../policy.csv"), Code: connectors.Invalid},
			{Name: "relative without a repository", Config: without("policy", "policy.csv"), Code: connectors.Invalid},
		},
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	connectortest.Run(t, harness())
}

// file is a store that is worked on as text, without the package's own code.
type file struct {
	path string
	cfg  connectors.Config
}

var (
	_ connectortest.Application = (*file)(nil)
	_ connectortest.Breaker     = (*file)(nil)
)

const foreignContent = "# a comment of somebody's\n\np, dana, reports, read\ng2, reports, folder\np9, x, \"y, z\", 1\n   \n"

// newFile makes a store with foreign lines in it.
func newFile(t connectortest.TB, more string) *file {
	t.Helper()
	path := filepath.Join(t.TempDir(), "policy.csv")
	if err := os.WriteFile(path, []byte(foreignContent+more), 0o640); err != nil {
		t.Fatal(err)
	}
	f := &file{path: path, cfg: connectors.Config{Application: "store", Values: map[string]any{"policy": path}, Now: time.Now, Logger: slog.New(slog.DiscardHandler)}}
	// Only on what is foreign may no test ever leave a trace.
	t.Cleanup(func() {
		if t.Failed() {
			return
		}
		if got := f.read(t); !strings.HasPrefix(got, foreignContent) && got != "" && strings.HasSuffix(got, "\n") && !strings.Contains(got, "broken") {
			t.Errorf("foreign lines changed:\n%s", got)
		}
	})
	return f
}

func (f *file) read(t connectortest.TB) string {
	t.Helper()
	b, err := os.ReadFile(f.path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func (f *file) write(t connectortest.TB, content string) {
	t.Helper()
	if err := os.WriteFile(f.path, []byte(content), 0o640); err != nil {
		t.Fatal(err)
	}
}

func (f *file) append(t connectortest.TB, fields ...string) {
	t.Helper()
	f.write(t, f.read(t)+strings.Join(fields, ", ")+"\n")
}

// remove takes away all lines whose fields satisfy a condition.
func (f *file) remove(t connectortest.TB, gone func(fields []string) bool) {
	t.Helper()
	var keep strings.Builder
	for line := range strings.Lines(f.read(t)) {
		r := csv.NewReader(strings.NewReader(line))
		r.Comment, r.TrimLeadingSpace, r.FieldsPerRecord = '#', true, -1
		fields, err := r.Read()
		for i := range fields {
			fields[i] = strings.TrimRight(fields[i], "\n")
		}
		if err != nil || !gone(fields) {
			keep.WriteString(line)
		}
	}
	f.write(t, keep.String())
}

func (f *file) Config() connectors.Config { return f.cfg }
func (f *file) Name(word string) string   { return word }

func (f *file) AddIdentity(t connectortest.TB, typ, word string) schemas.Name {
	name := "u:" + word
	if !strings.Contains(f.read(t), "p3, "+name+"\n") {
		f.append(t, "p3", name)
	}
	return schemas.Name{Type: typ, SourceName: name}
}

func (f *file) RemoveIdentity(t connectortest.TB, n schemas.Name) {
	f.remove(t, func(fields []string) bool { return slices.Contains(fields[1:], n.SourceName) })
}

func (f *file) AddResource(t connectortest.TB, typ, word string) (schemas.Name, bool) {
	name := "o:" + word
	if !strings.Contains(f.read(t), "p4, "+name+"\n") {
		f.append(t, "p4", name)
	}
	return schemas.Name{Type: typ, SourceName: name}, true
}

func (f *file) AddConnection(t connectortest.TB, n schemas.Name) {
	f.append(t, "p2", n.SourceName, n.Type, "", "", "false")
}

func (f *file) DropConnection(t connectortest.TB, n schemas.Name) { f.RemoveIdentity(t, n) }

// rule is the line of an entitlement.
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

func (f *file) Grant(t connectortest.TB, k schemas.Key) { f.append(t, rule(k)...) }

func (f *file) Revoke(t connectortest.TB, k schemas.Key) {
	f.remove(t, func(fields []string) bool { return slices.Equal(fields, rule(k)) })
}

func (f *file) Break(t connectortest.TB) []connectortest.Broken {
	whole := f.read(t)
	broken := func(name, content string) connectortest.Broken {
		return connectortest.Broken{Name: name, Corrupt: true, Start: func(t connectortest.TB) connectors.Config {
			f.write(t, content)
			return f.cfg
		}}
	}
	return []connectortest.Broken{
		broken("empty", ""),
		broken("cut short", whole[:len(whole)-4]),
		broken("without the last newline", strings.TrimSuffix(whole, "\n")),
		broken("a bare quotation mark", whole+"p, broken\", x, y\n"),
		broken("an open quotation mark", whole+"p, \"broken, x, y\n"),
		broken("too few fields", whole+"p, broken, x\n"),
		broken("too many fields", whole+"p, broken, x, y, z\n"),
		broken("half a membership", whole+"g, broken\n"),
		broken("an empty name", whole+"g, broken, \n"),
		broken("no rule", whole+"broken\n"),
		broken("unknown kind", whole+"p2, broken, thing, , , false\n"),
		broken("declared twice", whole+"p2, broken, role, , , false\np2, broken, group, , , false\n"),
		broken("user and role", whole+"p3, broken\np2, broken, role, , , false\n"),
		broken("malformed escape", whole+"p2, broken, role, %, , false\n"),
		broken("malformed truth", whole+"p2, broken, role, , , maybe\n"),
		broken("NUL", whole+"p3, broken\x00\n"),
		broken("not UTF-8", whole+"p3, broken\xff\n"),
		broken("a long line", whole+"p3, broken"+strings.Repeat("x", 70_000)+"\n"),
		{Name: "gone", Start: func(t connectortest.TB) connectors.Config {
			cfg := f.cfg
			cfg.Values = map[string]any{"policy": f.path + ".gone"}
			return cfg
		}},
		{Name: "a folder", Start: func(t connectortest.TB) connectors.Config {
			cfg := f.cfg
			cfg.Values = map[string]any{"policy": filepath.Dir(f.path)}
			return cfg
		}},
	}
}
