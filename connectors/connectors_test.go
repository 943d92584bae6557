package connectors_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

func TestMatch(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"", "", true},
		{"", "a", false},
		{"a", "", false},
		{"a", "a", true},
		{"a", "A", false},
		{"a", "ab", false},
		{"*", "", true},
		{"*", "anything/at.all", true},
		{"sales_*", "sales_", true},
		{"sales_*", "sales_reader", true},
		{"sales_*", "sales", false},
		{"sales_*", "x_sales_a", false},
		{"*_admin", "sales_admin", true},
		{"*_admin", "sales_admin_", false},
		{"a*b*c", "abc", true},
		{"a*b*c", "a-b-b-c", true},
		{"a*b*c", "a-c-b", false},
		{"a**c", "abc", true},
		{"?", "a", true},
		{"?", "é", true},
		{"?", "", false},
		{"?", "ab", false},
		{"a?c", "a/c", true},
		{`\*`, "*", true},
		{`\*`, "a", false},
		{`\?`, "?", true},
		{`\?`, "a", false},
		{`\\`, `\`, true},
		{`a\bc`, "abc", true},
		{`*\*`, "ab*", true},
		{`*\*`, "ab", false},
		{`a\`, "a", false},
		{`a\`, `a\`, false},
		{"[ab]", "a", false},
		{"[ab]", "[ab]", true},
		{"a.c", "abc", false},
		{"*é", "caf\u00e9", true},
	} {
		if got := schemas.Match([]string{"nothing", c.pattern}, c.name); got != c.want {
			t.Errorf("Match(%q, %q) = %v, want %v", c.pattern, c.name, got, c.want)
		}
	}
	if schemas.Match(nil, "") {
		t.Error("no pattern matches something")
	}
}

// A hostile pattern costs no more than the product of the lengths.
func TestMatchHostile(t *testing.T) {
	t.Parallel()
	if schemas.Match([]string{strings.Repeat("a*", 2_000) + "b"}, strings.Repeat("a", 4_000)) {
		t.Error("matched what has no b")
	}
}

// FuzzMatch holds Match to a plain recursive definition.
func FuzzMatch(f *testing.F) {
	for _, s := range [][2]string{{"a*b?", "axbc"}, {`\*`, "*"}, {"**", ""}, {`a\`, "a"}, {"é*", "éa"}} {
		f.Add(s[0], s[1])
	}
	var plain func(p, n []rune) bool
	plain = func(p, n []rune) bool {
		switch {
		case len(p) == 0:
			return len(n) == 0
		case p[0] == '*':
			return plain(p[1:], n) || (len(n) > 0 && plain(p, n[1:]))
		case p[0] == '\\':
			return len(p) > 1 && len(n) > 0 && p[1] == n[0] && plain(p[2:], n[1:])
		}
		return len(n) > 0 && (p[0] == '?' || p[0] == n[0]) && plain(p[1:], n[1:])
	}
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if len(pattern) > 12 || len(name) > 12 {
			return
		}
		if got, want := schemas.Match([]string{pattern}, name), plain([]rune(pattern), []rune(name)); got != want {
			t.Errorf("Match(%q, %q) = %v, want %v", pattern, name, got, want)
		}
	})
}

func TestNameRule(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		rule  schemas.NameRule
		value string
		want  string // part of the message, "" for a good name
	}{
		{"no rule", schemas.NameRule{}, "any thing", ""},
		{"at the bound", schemas.NameRule{MaxBytes: 4}, "éé", ""},
		{"beyond the bound", schemas.NameRule{MaxBytes: 4}, "ééa", "5 bytes"},
		{"not UTF-8", schemas.NameRule{}, "\xff", "not UTF-8"},
		{"reserved", schemas.NameRule{Reserved: []string{"pg_*"}}, "pg_x", "reserved"},
		{"not reserved", schemas.NameRule{Reserved: []string{"pg_*"}}, "x_pg_x", ""},
		{"the pattern is anchored", schemas.NameRule{Pattern: "a|b"}, "ac", "pattern"},
		{"also at lines", schemas.NameRule{Pattern: "(?m)a"}, "a\nb", "pattern"},
		{"in the pattern", schemas.NameRule{Pattern: "a|b"}, "b", ""},
		{"a broken pattern refuses", schemas.NameRule{Pattern: "("}, "a", "compile"},
		{"what is shown is escaped", schemas.NameRule{Pattern: "a"}, "\u202e", `\u202e`},
	} {
		err := c.rule.Check(c.value)
		if (err == nil) != (c.want == "") || (err != nil && !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	cause := fmt.Errorf("password=hunter2: %w", io.ErrUnexpectedEOF)
	e := &connectors.Error{Code: connectors.Denied, Op: "grant SELECT", Message: "ask the owner", Err: cause}
	wrapped := fmt.Errorf("apply: %w", e)
	if got, want := wrapped.Error(), "apply: grant SELECT: ask the owner"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := connectors.CodeOf(wrapped); got != connectors.Denied {
		t.Errorf("code %q", got)
	}
	if !errors.Is(wrapped, io.ErrUnexpectedEOF) {
		t.Error("the cause is lost")
	}
	if got := (&connectors.Error{Message: "only this"}).Error(); got != "only this" {
		t.Errorf("got %q", got)
	}
	for _, err := range []error{nil, io.EOF} {
		if got := connectors.CodeOf(err); got != "" {
			t.Errorf("%v has the code %q", err, got)
		}
	}
	if got := connectors.CodeOf(errors.Join(io.EOF, e)); got != connectors.Denied {
		t.Errorf("a joined error has the code %q", got)
	}
}

func TestSecret(t *testing.T) {
	t.Parallel()
	const value = "hunter2"
	s := connectors.NewSecret(value)
	nested := struct {
		Secret  connectors.Secret
		Pointer *connectors.Secret
		Map     map[string]any
	}{s, &s, map[string]any{"dsn": s}}
	hidden := struct{ s connectors.Secret }{s}
	var log bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(h).Info("opened", "secret", s, "nested", nested, "values", nested.Map)
	}
	asJSON, err := json.Marshal(nested)
	if err != nil {
		t.Fatal(err)
	}
	asYAML, err := yaml.Marshal(nested)
	if err != nil {
		t.Fatal(err)
	}
	key, err := json.Marshal(map[connectors.Secret]int{s: 1})
	if err != nil {
		t.Fatal(err)
	}
	outputs := []string{log.String(), string(asJSON), string(asYAML), string(key), fmt.Errorf("x: %v", s).Error()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%t"} {
		outputs = append(outputs, fmt.Sprintf(verb, s), fmt.Sprintf(verb, &s), fmt.Sprintf(verb, nested.Map), fmt.Sprintf(verb, []any{s}), fmt.Sprintf(verb, nested), fmt.Sprintf(verb, hidden))
	}
	outputs = append(outputs, fmt.Sprint(s))
	for _, o := range outputs {
		if strings.Contains(o, value) || strings.Contains(o, fmt.Sprintf("%x", value)) {
			t.Errorf("printed: %s", o)
		}
	}
	if s.Reveal() != value {
		t.Error("the value is lost")
	}
}

// empty is a connector of which only the name matters.
type empty string

func (e empty) Describe() schemas.Description { return schemas.Description{Name: string(e)} }
func (empty) OpenReader(context.Context, connectors.Config) (connectors.Reader, error) {
	return nil, errors.New("never opened")
}
func (empty) OpenWriter(context.Context, connectors.Config) (connectors.Writer, error) {
	return nil, errors.New("never opened")
}

func TestRegistry(t *testing.T) {
	t.Parallel()
	r, err := connectors.NewRegistry(empty("b"), empty("a"))
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Names(); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("names %v", got)
	}
	if c, ok := r.Get("b"); !ok || c != empty("b") {
		t.Errorf("b is %v", c)
	}
	if _, ok := r.Get("c"); ok {
		t.Error("there is a c")
	}
	if _, err := connectors.NewRegistry(empty("a"), empty("a")); err == nil {
		t.Error("two of one name were taken")
	}
	var zero connectors.Registry
	if _, ok := zero.Get("a"); ok || len(zero.Names()) > 0 {
		t.Error("the zero registry is not empty")
	}
}

func TestDescriptionLookup(t *testing.T) {
	t.Parallel()
	d := schemas.Description{Types: []schemas.ConnectionType{{Name: "group"}, {Name: "role", Grantable: []schemas.GrantableType{{Type: "user", Edge: schemas.EdgeIdentity}}}}}
	role, ok := d.Type("role")
	if !ok || role.Name != "role" {
		t.Errorf("role is %+v", role)
	}
	if g, ok := role.Target("user"); !ok || g.Edge != schemas.EdgeIdentity {
		t.Errorf("user is %+v", g)
	}
	if _, ok := role.Target("table"); ok {
		t.Error("there is a table")
	}
	if _, ok := d.Type("policy"); ok {
		t.Error("there is a policy")
	}
}
