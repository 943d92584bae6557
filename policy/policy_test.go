package policy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/bits"
	"os"
	"os/exec"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/countersign/countersign/schemas"
)

var (
	update = flag.Bool("update", false, "write golden files anew")
	every  = flag.Bool("every", false, "try every combination, not only those of up to three changes and of nearly all")
)

const childArgument = "serve-policy-child"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == childArgument {
		if len(os.Environ()) > 0 {
			os.Exit(7) // a child has no environment
		}
		if err := ServeChild(context.Background(), os.Stdin, os.Stdout, ChildLimits{}); err != nil {
			_, _ = io.WriteString(os.Stderr, err.Error())
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// reexec makes this test binary the child.
func reexec(ctx context.Context) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return exec.CommandContext(ctx, self, childArgument), nil
}

var now = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

// small is a usual change: one document with three entries, and what follows from them.
func small() schemas.PolicyInput {
	expires := now.AddDate(0, 2, 0)
	role := schemas.Name{Type: "role", SourceName: "sales_reader"}
	alice := schemas.Name{Type: "user", SourceName: "alice"}
	orders := schemas.Name{Type: "table", SourceName: "sales.orders"}
	req := &schemas.Request{
		Kind: schemas.KindConnectionAssignment, Application: "warehouse", Provisioning: schemas.ProvisioningDirect,
		Metadata:   schemas.Metadata{Name: "sales-reader-access", Reason: "Quarterly revenue dashboards", Ticket: "DATA-412"},
		Connection: schemas.ConnectionRef{Type: "role", SourceName: "sales_reader"},
		Grants: []schemas.Entry{
			{Type: "schema", SourceName: "sales", Privileges: []string{"USAGE"}},
			{Type: "table", SourceName: "sales.orders", Privileges: []string{"SELECT"}},
			{Type: "user", SourceName: "alice", Expires: &expires},
		},
	}
	path := "requests/2026/11/23/sales-reader.yaml"
	op := func(target schemas.Name, privilege string, line int, field string, gained ...schemas.Access) schemas.PolicyOperation {
		return schemas.PolicyOperation{
			Kind: schemas.OperationGrant, Application: "warehouse", Connection: role, Target: &target, Privilege: privilege,
			Path: path, Line: line, Field: field, Gained: gained,
		}
	}
	member := op(alice, "MEMBER", 14, "spec.grants[2]",
		schemas.Access{Application: "warehouse", Identity: alice, Target: role, Privilege: "MEMBER"},
		schemas.Access{Application: "warehouse", Identity: alice, Target: orders, Privilege: "SELECT", Via: []schemas.Name{role}})
	member.Expires = &expires
	return schemas.PolicyInput{
		APIVersion: schemas.APIVersion, Phase: "merge",
		Change: []schemas.ChangedDocument{{
			Action: "added", Path: path, Line: 1, Kind: req.Kind, Metadata: req.Metadata, Request: req,
		}},
		ControlFiles: []string{},
		Plan: []schemas.PolicyOperation{
			op(schemas.Name{Type: "schema", SourceName: "sales"}, "USAGE", 12, "spec.grants[0]"),
			op(orders, "SELECT", 13, "spec.grants[1]"),
			member,
		},
		Applications: map[string]*schemas.PolicyApplication{"warehouse": {
			Name: "warehouse", Connector: "postgres", Owners: []string{"team:acme/data", "user:bob@acme.test"},
			Scope: map[string][]string{"role": {"sales_*"}}, Grantable: map[string][]string{"table": {"sales.*"}, "user": {"*"}},
			Privileged: map[string][]string{"role": {"*_admin"}}, Provisioning: schemas.ProvisioningDirect,
			Mode: schemas.ModeFull, Unmanaged: schemas.UnmanagedReport, DriftMode: schemas.DriftReport,
		}},
		Holdings:    map[string][]string{"alice@acme.test": {"warehouse/role/sales_reader"}},
		Identities:  map[string]string{"warehouse/user/alice": "alice@acme.test"},
		PullRequest: schemas.PolicyPullRequest{Number: 7, Title: "Sales reader", Contributors: []string{"dave@acme.test"}, Beneficiaries: []string{"alice@acme.test"}, Base: "b", Head: "h"},
		Signoffs:    []schemas.PolicySignoff{{Person: "bob@acme.test", Capacities: []string{"user:bob@acme.test", "team:acme/data"}, At: now, Authenticated: true}},
		Settings:    schemas.PolicySettings{Owners: []string{"user:carol@acme.test"}},
		Now:         now,
	}
}

// engine has all the time that it needs, unless a test is about that.
func engine(t testing.TB, c Config) *Engine {
	t.Helper()
	if c.Timeout == 0 {
		c.Timeout = 10 * time.Minute
	}
	e, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func codes(results []schemas.RuleResult) []string {
	list := []string{}
	for _, r := range results {
		list = append(list, r.Code)
	}
	return list
}

func TestEvaluateSmall(t *testing.T) {
	t.Parallel()
	got, err := engine(t, Config{}).Evaluate(t.Context(), small())
	if err != nil {
		t.Fatal(err)
	}
	want := schemas.Decision{
		APIVersion: schemas.APIVersion, Denials: []schemas.RuleResult{}, Warnings: []schemas.RuleResult{},
		Required: []schemas.Requirement{{
			Code: "CS-102", From: []string{"team:acme/data", "user:bob@acme.test"}, Count: 1,
			Why: "an owner of warehouse must sign off changes to it or its access",
		}},
		Rules: got.Rules, Bundle: got.Bundle, Engine: "opa 1.22.4",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("decision (-want +got):\n%s", diff)
	}
	if got.Rules < 20 {
		t.Errorf("%d rules", got.Rules)
	}
}

// own is one module with one rule of that body.
func own(body string) map[string][]byte {
	return map[string][]byte{"policy/a.rego": []byte("package countersign\n\ndeny contains {\"code\": \"ACME-1\", \"msg\": \"no\"} if {\n\t" + body + "\n}\n")}
}

func TestCompileErrors(t *testing.T) {
	t.Parallel()
	module := func(text string) map[string][]byte { return map[string][]byte{"policy/a.rego": []byte(text)} }
	for name, tt := range map[string]struct {
		modules map[string][]byte
		data    map[string]any
		want    string // a part of the error
	}{
		"field of input":          {own(`input.chagne == []`), nil, "policy/a.rego:4:2: undefined ref: input.chagne; did you mean change?"},
		"field below":             {own(`input.change[_].requst`), nil, "policy/a.rego:4:2: undefined ref: input.change[_].requst; did you mean request?"},
		"field of a variable":     {own("some c in input.change\n\tc.requst"), nil, "policy/a.rego:5:2: undefined ref: c.requst; did you mean request?"},
		"field far below":         {own("some op in input.plan\n\tsome g in op.gained\n\tg.identiy.type"), nil, "6:2: undefined ref: g.identiy.type; did you mean identity?"},
		"field of an application": {own(`input.applications[_].ownrs`), nil, "policy/a.rego:4:2: undefined ref: unknown application field ownrs; did you mean owners?"},
		"application by variable": {own("some app in input.applications\n\tapp.ownrs"), nil, "unknown application field ownrs"},
		"type of a field":         {own(`input.now == 3`), nil, "match error"},
		"library field":           {own(`data.countersign.lib.requsts[_]`), nil, "data.countersign.lib.requsts is not a rule, so the rule that uses it would never apply; did you mean requests?"},
		"library's inside":        {own(`data.countersign.library.deny[_]`), nil, "data.countersign.library is not a rule"},
		"unknown data":            {own(`data.alowed[_]`), map[string]any{"allowed": []any{"x"}}, "data.alowed is not in the data file, so the rule would never apply; did you mean allowed?"},
		"http.send":               {own(`http.send({"url": "http://x", "method": "get"}).status_code == 200`), nil, "undefined function http.send; policies may use only built-ins that are deterministic"},
		"http.send by with":       {own("f := http.send({\"url\": \"http://x\"}) with http.send as json.marshal\n\tf != \"\""), nil, "with keyword target must reference existing"},
		"with as http.send":       {own(`json.marshal({"url": "http://x"}) with json.marshal as http.send`), nil, "var http is unsafe"},
		"opa.runtime":             {own(`opa.runtime().env.SECRET`), nil, "undefined function opa.runtime"},
		"net.lookup_ip_addr":      {own(`net.lookup_ip_addr("x")[_]`), nil, "undefined function net.lookup_ip_addr"},
		"rand.intn":               {own(`rand.intn("x", 3) == 1`), nil, "undefined function rand.intn"},
		"uuid.rfc4122":            {own(`uuid.rfc4122("x") == ""`), nil, "undefined function uuid.rfc4122"},
		"time.now_ns":             {own(`time.now_ns() > 0`), nil, "undefined function time.now_ns; policies cannot read the clock: use input.now"},
		"unused variable":         {own("x := 3\n\ttrue"), nil, "assigned var x unused"},
		"unused import":           {module("package countersign\n\nimport data.countersign.lib\n\ndeny contains {\"code\": \"A\", \"msg\": \"x\"} if input.plan == []\n"), nil, "import data.countersign.lib unused"},
		"syntax":                  {module("package countersign\n\ndeny contains if {\n"), nil, "policy/a.rego:3:15: "},
		"recursion":               {own(`data.countersign.deny[_]`), nil, "recursive"},
		"empty":                   {module("\n"), nil, "policy/a.rego: "},
		"no rules":                {module("package countersign\n\nhelper := 3\n"), nil, "helper is not a decision, and no decision uses it"},
		"tests alone":             {map[string][]byte{"policy/a_test.rego": []byte("package countersign_test\n\ntest_x if true\n")}, nil, "do not contain a rule"},
		"another package":         {module("package acme\n\ndeny contains {\"code\": \"A\", \"msg\": \"x\"}\n"), nil, "policy/a.rego:1:1: package acme is never evaluated; use package countersign"},
		"the library's package":   {module("package countersign.library\n\ndeny := set()\n"), nil, "is reserved for the built-in library"},
		"below the library":       {module("package countersign.library.deny\n\nx := 1\n"), nil, "is reserved for the built-in library"},
		"the helpers' package":    {module("package countersign.lib\n\nx := 1\n"), nil, "is reserved for the built-in library"},
		"deny below":              {module("package countersign.more\n\ndeny contains {\"code\": \"A\", \"msg\": \"x\"}\n"), nil, "deny in package countersign.more is never evaluated"},
		"a package as set":        {module("package countersign.deny\n\nx := 1\n"), nil, "hides the set deny"},
		"deny in a test":          {map[string][]byte{"policy/a_test.rego": own(`true`)["policy/a.rego"]}, nil, "deny in a test file is never evaluated"},
		"deny as a value":         {module("package countersign\n\ndeny := true\n"), nil, "policy/a.rego:3:1: deny is not written as a set; write: deny contains"},
		"deny as a default":       {module("package countersign\n\ndefault deny := false\n"), nil, "deny is not written as a set"},
		"deny as an object":       {module("package countersign\n\ndeny.x := 1\n"), nil, "deny is not written as a set"},
		"deny as a function":      {module("package countersign\n\ndeny(_) := 1\n"), nil, "deny is not written as a set"},
		"a misspelt set":          {module("package countersign\n\ndenny contains {\"code\": \"A\", \"msg\": \"x\"}\n"), nil, "the set denny is never evaluated; did you mean deny?"},
		"a conftest set":          {module("package countersign\n\ndeny_table contains {\"code\": \"A\", \"msg\": \"x\"}\n"), nil, "the set deny_table is never evaluated; did you mean deny?"},
		"data as package":         {nil, map[string]any{"countersign": 1}, "data.countersign: is reserved for rules"},
		"freeze is not a list":    {nil, map[string]any{"freeze": "always"}, "data.freeze: is not a list"},
		"freeze without end":      {nil, map[string]any{"freeze": []any{map[string]any{"from": "2026-01-01T00:00:00Z", "reason": "x"}}}, "data.freeze[0].to: is required"},
		"freeze backwards":        {nil, map[string]any{"freeze": []any{map[string]any{"from": "2026-01-01T00:00:00Z", "to": "2025-01-01T00:00:00Z", "reason": "x"}}}, "data.freeze[0].to: is not after from"},
		"freeze at no instant":    {nil, map[string]any{"freeze": []any{map[string]any{"from": "Friday", "to": "2025-01-01T00:00:00Z", "reason": "x"}}}, "data.freeze[0].from: is not a timestamp"},
		"freeze of nothing":       {nil, map[string]any{"freeze": []any{map[string]any{"from": "2026-01-01T00:00:00Z", "to": "2027-01-01T00:00:00Z", "reason": "x", "applications": []any{}}}}, "applications: invalid list (expected 1 or more entries)"},
		"freeze with a typo":      {nil, map[string]any{"freeze": []any{map[string]any{"from": "2026-01-01T00:00:00Z", "to": "2027-01-01T00:00:00Z", "reason": "x", "aplications": []any{"a"}}}}, "data.freeze[0].aplications: unknown key; did you mean applications?"},
		"days as text":            {nil, map[string]any{"privileged": map[string]any{"max_days": "90"}}, "data.privileged.max_days: is not a number"},
		"no days":                 {nil, map[string]any{"privileged": map[string]any{"max_days": 0}}, "expected an integer from 1"},
		"half a day":              {nil, map[string]any{"privileged": map[string]any{"max_days": 0.5}}, "expected an integer"},
		"a misspelt key below":    {nil, map[string]any{"privileged": map[string]any{"max_day": 9}}, "data.privileged.max_day: unknown key; did you mean max_days?"},
		"privileged null":         {nil, map[string]any{"privileged": nil}, "data.privileged: is not a mapping"},
		"a misspelt key":          {nil, map[string]any{"seperation_of_duties": []any{}}, "did you mean separation_of_duties?"},
		"a key with dashes":       {nil, map[string]any{"separation-of-duties": []any{}}, "did you mean separation_of_duties?"},
		"duties of one":           {nil, map[string]any{"separation_of_duties": []any{map[string]any{"name": "x", "connections": []any{"a/role/b"}}}}, "connections: invalid list (expected 2 or more entries)"},
		"duties of no connection": {nil, map[string]any{"separation_of_duties": []any{map[string]any{"name": "x", "connections": []any{"a/role/b", "c"}}}}, "connections[1]: is not a connection"},
		"duties that never apply": {nil, map[string]any{"separation_of_duties": []any{map[string]any{"name": "x", "connections": []any{"a/r/b", "a/r/c"}, "at_most": 2}}}, "at_most: "},
		"reason as list":          {nil, map[string]any{"reason": []any{}}, "data.reason: is not a mapping"},
		"blast radius below zero": {nil, map[string]any{"blast_radius": map[string]any{"two": -1}}, "data.blast_radius.two: is -1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, err := New(Config{Modules: tt.modules, Data: tt.data})
			var ce *CompileError
			var list schemas.ErrorList
			if !errors.As(err, &ce) || !errors.As(err, &list) || len(ce.Errors) == 0 || e != nil {
				t.Fatalf("got %v, want a compile error", err)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got:\n%v\nwant a line with:\n%s", err, tt.want)
			}
		})
	}
}

// TestAllErrorsAtOnce holds errors of several files, and of data, together and in order.
func TestAllErrorsAtOnce(t *testing.T) {
	t.Parallel()
	_, err := New(Config{Modules: map[string][]byte{
		"policy/b.rego": []byte("package acme\n"),
		"policy/a.rego": []byte("package countersign\n\nwarn := 1\n\ndeny := 1\n"),
	}, Data: map[string]any{"freeze": 1}})
	var ce *CompileError
	if !errors.As(err, &ce) {
		t.Fatal(err)
	}
	var got []string
	for _, e := range ce.Errors {
		got = append(got, fmt.Sprintf("%s:%d %s", e.Path, e.Line, e.Field))
	}
	if diff := cmp.Diff([]string{":0 data.freeze", "policy/a.rego:3 ", "policy/a.rego:5 ", "policy/b.rego:1 "}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestBuiltins shows what rules may use; a new version of OPA that allows more must be looked at.
func TestBuiltins(t *testing.T) {
	t.Parallel()
	var names []string
	for _, b := range capabilities().Builtins {
		names = append(names, b.Name)
		if b.Nondeterministic {
			t.Errorf("%s is not deterministic", b.Name)
		}
	}
	slices.Sort(names)
	got := strings.Join(names, "\n") + "\n"
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile("testdata/builtins.txt", []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/builtins.txt")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if n := capabilities().AllowNet; n == nil || len(n) > 0 {
		t.Error("hosts are allowed")
	}
}

// TestLibraryFields holds the library's own fields of input against the schema, which New leaves out.
func TestLibraryFields(t *testing.T) {
	t.Parallel()
	caps := capabilities()
	set, err := inputSchemas()
	if err != nil {
		t.Fatal(err)
	}
	modules, err := parseLibrary(caps, false, false)
	if err != nil {
		t.Fatal(err)
	}
	p, err := newProgram(modules, caps, set, newStore(nil), "data.countersign.library.decision")
	if err != nil {
		t.Fatal(err)
	}
	fields := jsonNames(reflect.TypeFor[schemas.PolicyApplication]())
	for path, m := range p.compiler.Modules {
		for _, r := range m.Rules {
			if faults := checkApplicationFields(path, r, fields); len(faults) > 0 {
				t.Error(faults)
			}
		}
	}
}

// TestMalformed is about answers that are no decision: each must deny loudly.
func TestMalformed(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ rule, want string }{
		"text":              {`deny contains "no"`, "is a string (expected an object)"},
		"no code":           {`deny contains {"msg": "no"}`, "code is required"},
		"empty code":        {`deny contains {"code": "", "msg": "no"}`, "code is required"},
		"code with space":   {`deny contains {"code": "A 1", "msg": "no"}`, "invalid code"},
		"no msg":            {`deny contains {"code": "A"}`, "msg is required"},
		"blank msg":         {`deny contains {"code": "A", "msg": " "}`, "msg is required"},
		"unknown key":       {`deny contains {"code": "A", "msg": "no", "severity": "high"}`, `"severity" of {`},
		"msg of a number":   {`deny contains {"code": "A", "msg": 3}`, `"msg" of {`},
		"line of text":      {`warn contains {"code": "A", "msg": "no", "line": "3"}`, "is a string (expected a number)"},
		"half a line":       {`warn contains {"code": "A", "msg": "no", "line": 1.5}`, "is 1.5 (expected an integer"},
		"path of null":      {`warn contains {"code": "A", "msg": "no", "path": null}`, "is a null (expected a string)"},
		"the library's":     {`deny contains {"code": "cs-101", "msg": "no"}`, "begins with CS-"},
		"from nobody":       {`require_signoff contains {"code": "A", "from": [], "count": 1, "why": "x"}`, "from is required"},
		"from without kind": {`require_signoff contains {"code": "A", "from": ["bob"], "count": 1, "why": "x"}`, `names "bob"`},
		"from text":         {`require_signoff contains {"code": "A", "from": "user:bob", "count": 1, "why": "x"}`, "expected a set"},
		"no count":          {`require_signoff contains {"code": "A", "from": ["user:bob"], "why": "x"}`, "count is required"},
		"count zero":        {`require_signoff contains {"code": "A", "from": ["user:bob"], "count": 0, "why": "x"}`, `"count" of {`},
		"no why":            {`require_signoff contains {"code": "A", "from": ["user:bob"], "count": 1}`, "why is required"},
		"a long message":    {`deny contains {"code": "A", "msg": concat("", [sprintf("%d", [x]) | some x in numbers.range(1, 4000)])}`, "is longer than"},
		"division by zero":  {"deny contains {\"code\": \"A\", \"msg\": \"no\"} if 1 / count(input.control_files) == 1", "divide by zero"},
		"two values":        {"deny contains {\"code\": \"A\", \"msg\": \"no\"} if v == 1\n\nv := c.index if some c in input.change\n\nv := op.line if some op in input.plan", "conflict"},
		"many":              {`deny contains {"code": "A", "msg": sprintf("%d", [i])} if some i in numbers.range(0, 10000)`, "more than 10000"},
	} {
		for _, isolated := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/%v", name, isolated), func(t *testing.T) {
				t.Parallel()
				c := Config{Admitted: true, Modules: map[string][]byte{"policy/a.rego": []byte("package countersign\n\n" + tt.rule + "\n")}}
				if isolated {
					c.Isolate = reexec
				}
				d, err := engine(t, c).Evaluate(t.Context(), small())
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Fatalf("got %v, %v; want an error with %q", d, err, tt.want)
				}
				if strings.Contains(tt.want, "expected an object") && !strings.Contains(err.Error(), "policy/a.rego:3") {
					t.Errorf("%v does not name the rule", err)
				}
				if d.Rules != 0 || d.APIVersion != "" {
					t.Errorf("a decision beside the error: %+v", d)
				}
			})
		}
	}
}

// TestOwnRules adds to what the library says, here and in a child alike.
func TestOwnRules(t *testing.T) {
	t.Parallel()
	modules := map[string][]byte{
		"policy/a.rego": []byte(`package countersign

import data.countersign.lib
import data.countersign.tables

deny contains lib.result("ACME-1", sprintf("%s is not to be given away", [op.target.source_name]), op) if {
	some op in input.plan
	tables.secret[op.target.source_name]
}

warn contains {"code": "ACME-2", "msg": "soon"} if {
	some c in lib.requests
	some g in c.request.grants
	lib.days_until(g.expires) < 100
}

require_signoff contains {"code": "ACME-3", "from": {"team:b", "team:a"}, "count": 1, "why": "tables"} if count(input.plan) > 0

require_signoff contains lib.owners_sign_off("ACME-4", "warehouse", 2, "so") if lib.matches_any(["ware*"], "warehouse")
`),
		"policy/tables.rego": []byte("package countersign.tables\n\nsecret := {t: true | some t in data.secret}\n"),
		"policy/a_test.rego": []byte("package countersign_test\n\ntest_x if true\n"),
	}
	var decisions []schemas.Decision
	for _, isolate := range []func(context.Context) (*exec.Cmd, error){nil, reexec} {
		e := engine(t, Config{Modules: modules, Data: map[string]any{"secret": []any{"sales.orders"}}, Isolate: isolate})
		for range 2 {
			d, err := e.Evaluate(t.Context(), small())
			if err != nil {
				t.Fatal(err)
			}
			decisions = append(decisions, d)
		}
	}
	want := schemas.Decision{
		APIVersion: schemas.APIVersion,
		Denials: []schemas.RuleResult{{
			Code: "ACME-1", Msg: "sales.orders is not to be given away", Path: "requests/2026/11/23/sales-reader.yaml", Line: 13, Field: "spec.grants[1]",
		}},
		Warnings: []schemas.RuleResult{{Code: "ACME-2", Msg: "soon"}},
		Required: []schemas.Requirement{
			{Code: "ACME-3", From: []string{"team:a", "team:b"}, Count: 1, Why: "tables"},
			{Code: "ACME-4", From: []string{"team:acme/data", "user:bob@acme.test"}, Count: 2, Why: "so"},
			{Code: "CS-102", From: []string{"team:acme/data", "user:bob@acme.test"}, Count: 1, Why: "an owner of warehouse must sign off changes to it or its access"},
		},
		Rules: engine(t, Config{}).rules + 4, Bundle: decisions[0].Bundle, Engine: "opa 1.22.4",
	}
	for _, got := range decisions {
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

// TestLibraryStands tries to take the library's denials away.
func TestLibraryStands(t *testing.T) {
	t.Parallel()
	in := small()
	in.Change[0].Metadata.Reason = ""
	in.Signoffs[0].Person = "dave@acme.test"
	for name, text := range map[string]string{
		"another definition": "package countersign\n\ndeny contains {\"code\": \"A\", \"msg\": \"x\"} if false\n\nmanifest := {}\n\ninterested := set()\n\nreasoned(_) := true\n\ndecision := {\"deny\": set()}\n",
		"with":               "package countersign\n\ndeny contains {\"code\": \"A\", \"msg\": \"x\"} if {\n\tinput.plan == [] with input.plan as [] with data.reason as {\"min_length\": 0}\n\tfalse\n}\n",
	} {
		d, err := engine(t, Config{Admitted: true, Modules: map[string][]byte{"policy/a.rego": []byte(text)}}).Evaluate(t.Context(), in)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if diff := cmp.Diff([]string{"CS-101", "CS-160"}, codes(d.Denials)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	// A lost rule is missed.
	e := engine(t, Config{})
	e.manifest = ast.NewObject()
	if _, err := e.Evaluate(t.Context(), in); !errors.Is(err, ErrMalformed) {
		t.Errorf("another manifest: %v", err)
	}
}

const (
	loop = "count([1 | some i in numbers.range(1, 10000); some j in numbers.range(1, 10000); i == j + 1]) == 0"
	// bomb makes 20 kB into some 400 MB by replacing, three times over.
	bomb = `text := concat("", [x | some i in numbers.range(1, 20000); x := substring("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 0, 1 + (i * 0))])
	more := replace(text, "a", text)
	count(replace(more, "aa", "aaaaaaaa")) == 0`
)

func TestDeadline(t *testing.T) {
	t.Parallel()
	for _, isolate := range []func(context.Context) (*exec.Cmd, error){nil, reexec} {
		// The loop goes on for minutes: that it ends with this error is the deadline's work.
		e := engine(t, Config{Modules: own(loop), Timeout: 200 * time.Millisecond, Isolate: isolate})
		d, err := e.Evaluate(t.Context(), small())
		if !errors.Is(err, ErrTimeout) || d.Rules != 0 {
			t.Errorf("got %v, %v", d, err)
		}
		e = engine(t, Config{Modules: own(loop), Timeout: time.Hour, Isolate: isolate})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := e.Evaluate(ctx, small()); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled before: %v", err)
		}
		// Nothing but this ends it: however long it takes until then, it is the same error.
		ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
		if _, err := e.Evaluate(ctx, small()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("cancelled meanwhile: %v", err)
		}
		cancel()
	}
}

func TestMemoryBomb(t *testing.T) {
	t.Parallel()
	e := engine(t, Config{Modules: own("input.pull_request.number == 9\n\t" + bomb), Isolate: reexec})
	in := small()
	in.PullRequest.Number = 9
	d, err := e.Evaluate(t.Context(), in)
	if !errors.Is(err, ErrChild) || d.Rules != 0 {
		t.Fatalf("got %v, %v", d, err)
	}
	t.Log(err)
	// The next change is judged by a new child.
	if d, err := e.Evaluate(t.Context(), small()); err != nil || len(d.Denials) > 0 {
		t.Errorf("after it: %v, %v", d, err)
	}
}

func TestChildFaults(t *testing.T) {
	t.Parallel()
	rules := own(`input.plan == []`)
	for name, isolate := range map[string]func(context.Context) (*exec.Cmd, error){
		"no command":   func(context.Context) (*exec.Cmd, error) { return nil, errors.New("none") },
		"no program":   func(ctx context.Context) (*exec.Cmd, error) { return exec.CommandContext(ctx, "/nonexistent/x"), nil },
		"ends at once": func(ctx context.Context) (*exec.Cmd, error) { return exec.CommandContext(ctx, "true"), nil },
		"answers junk": func(ctx context.Context) (*exec.Cmd, error) {
			return exec.CommandContext(ctx, "echo", "hello there, hello there"), nil
		},
	} {
		e := engine(t, Config{Modules: rules, Isolate: isolate})
		for range 2 {
			if d, err := e.Evaluate(t.Context(), small()); !errors.Is(err, ErrChild) || d.Rules != 0 {
				t.Errorf("%s: %v, %v", name, d, err)
			}
		}
	}
	// A child that says nothing is ended at the deadline.
	e := engine(t, Config{Modules: rules, Timeout: time.Millisecond, Isolate: func(ctx context.Context) (*exec.Cmd, error) {
		return exec.CommandContext(ctx, "sleep", "1000"), nil
	}})
	e.child.startTime = time.Millisecond
	if _, err := e.Evaluate(t.Context(), small()); !errors.Is(err, ErrTimeout) {
		t.Errorf("silent child: %v", err)
	}
	// Without own rules there is no child.
	e = engine(t, Config{Isolate: func(context.Context) (*exec.Cmd, error) { panic("started") }})
	if _, err := e.Evaluate(t.Context(), small()); err != nil {
		t.Error(err)
	}
	// After Close there is none either.
	e = engine(t, Config{Modules: rules, Isolate: reexec})
	if _, err := e.Evaluate(t.Context(), small()); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(e.Close(), e.Close()); err != nil {
		t.Error(err)
	}
	if _, err := e.Evaluate(t.Context(), small()); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// TestServeChildFaults speaks to ServeChild's loop as no engine does.
func TestServeChildFaults(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]string{"nothing": "", "half a length": "\x00\x00", "too long": "\xff\xff\xff\xff", "cut off": "\x00\x00\x00\x09{}", "junk": "\x00\x00\x00\x02xx"} {
		if err := serve(t.Context(), strings.NewReader(in), io.Discard); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestInput(t *testing.T) {
	t.Parallel()
	e := engine(t, Config{MaxInput: 4000})
	if _, err := e.Evaluate(t.Context(), small()); err != nil {
		t.Fatal(err)
	}
	in := small()
	in.PullRequest.Title = strings.Repeat("x", 4000)
	if d, err := e.Evaluate(t.Context(), in); !errors.Is(err, ErrInputTooLarge) || d.Rules != 0 {
		t.Errorf("too large: %v, %v", d, err)
	}
	for name, change := range map[string]func(*schemas.PolicyInput){
		"version":                 func(in *schemas.PolicyInput) { in.APIVersion = "v2" },
		"phase":                   func(in *schemas.PolicyInput) { in.Phase = "" },
		"now":                     func(in *schemas.PolicyInput) { in.Now = time.Time{} },
		"no request":              func(in *schemas.PolicyInput) { in.Change[0].Request = nil },
		"request of another kind": func(in *schemas.PolicyInput) { in.Change[0].Kind = schemas.KindSettings },
		"action":                  func(in *schemas.PolicyInput) { in.Change[0].Action = "renamed" },
		"plan elsewhere":          func(in *schemas.PolicyInput) { in.Plan[0].Application = "crm" },
		"application without":     func(in *schemas.PolicyInput) { in.Change[0].Kind, in.Change[0].Request = schemas.KindApplication, nil },
		"application elsewhere": func(in *schemas.PolicyInput) {
			in.Change[0] = schemas.ChangedDocument{Action: "modified", Kind: schemas.KindApplication, Merged: true, Application: &schemas.PolicyApplication{Name: "crm"}}
		},
		"payload": func(in *schemas.PolicyInput) {
			r := *in.Change[0].Request
			r.Payload = map[string]any{"x": func() {}}
			in.Change[0].Request = &r
		},
		"deep payload": func(in *schemas.PolicyInput) {
			var v any = 1
			for range 1000 {
				v = []any{v}
			}
			r := *in.Change[0].Request
			r.Payload = map[string]any{"x": v}
			in.Change[0].Request = &r
		},
		"far year": func(in *schemas.PolicyInput) {
			far := time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
			in.Plan[0].Expires = &far
		},
	} {
		in := small()
		change(&in)
		if d, err := e.Evaluate(t.Context(), in); err == nil || d.Rules != 0 {
			t.Errorf("%s: %v, %v", name, d, err)
		}
	}
}

// TestEncode holds the encoder against encoding/json.
func TestEncode(t *testing.T) {
	t.Parallel()
	in := small()
	r := *in.Change[0].Request
	r.Payload = map[string]any{
		"login": false, "limit": 12, "big": uint64(1 << 63), "rate": 0.25, "large": 1e300, "text": "ä\u0000\"", "none": nil,
		"list": []any{1, "x", map[string]any{}}, "typed": []string{"a"}, "number": json.Number("12345678901234567890"), "at": now,
	}
	in.Change[0].Request, in.Change[0].Before = &r, &r
	got, err := engine(t, Config{}).encoder.Input(&in, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	want, err := ast.ValueFromReader(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if got.Compare(want) != 0 {
		t.Errorf("got:\n%v\nwant:\n%v", got, want)
	}
	// What differs on purpose.
	offset := time.Date(2026, 1, 1, 1, 0, 0, 5, time.FixedZone("", 3600))
	v, err := engine(t, Config{}).encoder.Input(&schemas.PolicyInput{Now: offset}, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	o := v.(ast.Object)
	for key, want := range map[string]*ast.Term{"now": ast.StringTerm("2026-01-01T00:00:00Z"), "change": ast.ArrayTerm(), "holdings": ast.ObjectTerm()} {
		if got := o.Get(ast.StringTerm(key)); !got.Equal(want) {
			t.Errorf("%s is %v, want %v", key, got, want)
		}
	}
}

// TestIndexing evaluates variations of a change with OPA's rule index and without: the answers are the same.
func TestIndexing(t *testing.T) {
	t.Parallel()
	data := map[string]any{
		"freeze":               []any{map[string]any{"from": "2026-11-23T00:00:00Z", "to": "2026-11-24T00:00:00Z", "reason": "x", "applications": []any{"crm", "ware*"}}},
		"separation_of_duties": []any{map[string]any{"name": "x", "connections": []any{"warehouse/role/a", "warehouse/role/b"}}},
		"blast_radius":         map[string]any{"warn": 1, "two": 1},
	}
	rules := map[string][]byte{"policy/a.rego": []byte(`package countersign

deny contains {"code": "A-1", "msg": "x"} if {
	some op in input.plan
	op.kind == "grant"
	op.target.source_name in {"sales.orders", op.connection.source_name}
}

deny contains {"code": "A-2", "msg": "x"} if input.phase in {"merge", input.settings.tickets}

warn contains {"code": "A-3", "msg": "x"} if input.pull_request.number in data.numbers
`)}
	data["numbers"] = []any{7, 8}
	e := engine(t, Config{Modules: rules, Data: data})
	with := engine(t, Config{Modules: rules, Data: data})
	with.library.indexing, with.own.indexing = true, true
	changes := []func(*schemas.PolicyInput){
		func(in *schemas.PolicyInput) { in.Change[0].Metadata.Reason = "" },
		func(in *schemas.PolicyInput) { in.Change[0].Action, in.Change[0].Merged = "modified", true },
		func(in *schemas.PolicyInput) { in.Change[0].Action, in.Change[0].Merged = "deleted", true },
		func(in *schemas.PolicyInput) { in.Plan[0].Privileged = true },
		func(in *schemas.PolicyInput) { in.Plan[0].Kind, in.Plan[0].Members = schemas.OperationDelete, 2 },
		func(in *schemas.PolicyInput) {
			in.Holdings["warehouse/user/alice"] = []string{"warehouse/role/a", "warehouse/role/b"}
		},
		func(in *schemas.PolicyInput) { in.Settings.Tickets = "DATA-[0-9]" },
		func(in *schemas.PolicyInput) { in.Signoffs[0].Person = "alice@acme.test" },
		func(in *schemas.PolicyInput) { in.ControlFiles = []string{"policy/a.rego"} },
		func(in *schemas.PolicyInput) { in.Now = in.Now.AddDate(1, 0, 0) },
		func(in *schemas.PolicyInput) { in.PullRequest.Number, in.Phase = 9, "preview" },
	}
	different := map[string]bool{}
	for mask := range 1 << len(changes) {
		if n := bits.OnesCount(uint(mask)); n > 3 && n < len(changes)-1 && !*every {
			continue
		}
		in := small()
		for i, f := range changes {
			if mask&(1<<i) != 0 {
				f(&in)
			}
		}
		want, err := e.Evaluate(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		got, err := with.Evaluate(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%b: without (-) and with (+) the index:\n%s", mask, diff)
		}
		different[fmt.Sprint(codes(want.Denials), codes(want.Warnings))] = true
	}
	if len(different) < 50 {
		t.Errorf("only %d different decisions", len(different))
	}
}

func TestBundle(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for name, c := range map[string]Config{
		"library": {}, "data": {Data: map[string]any{"x": 1}}, "rule": {Modules: own("true")}, "another rule": {Modules: own("input.plan == []")},
		"rule and data": {Modules: own("true"), Data: map[string]any{"x": 1}},
	} {
		b := engine(t, c).Bundle()
		if other, twice := seen[b]; twice || b == "" {
			t.Errorf("%s and %s have the same digest %q", name, other, b)
		}
		seen[b] = name
		if again := engine(t, c).Bundle(); again != b {
			t.Errorf("%s: %s, then %s", name, b, again)
		}
	}
}

func TestConcurrent(t *testing.T) {
	t.Parallel()
	e := engine(t, Config{Modules: own(`input.pull_request.number == 3`), Isolate: reexec})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			in := small()
			in.PullRequest.Number = i
			d, err := e.Evaluate(t.Context(), in)
			if err != nil || (len(d.Denials) == 1) != (i == 3) {
				t.Errorf("%d: %v, %v", i, d.Denials, err)
			}
		})
	}
	wg.Wait()
}

func TestParseData(t *testing.T) {
	t.Parallel()
	good := map[string]any{"a": json.Number("1"), "b": []any{true, nil, "2026-12-20T00:00:00Z", json.Number("0.5")}, "c": map[string]any{"d": "x"}}
	for name, tt := range map[string]struct {
		path, text, want string
	}{
		"yaml":          {"policy/data.yaml", "a: 1\nb: [true, null, 2026-12-20T00:00:00Z, 0.5]\nc: {d: x}\n", ""},
		"json":          {"policy/data.json", `{"a": 1, "b": [true, null, "2026-12-20T00:00:00Z", 0.5], "c": {"d": "x"}}`, ""},
		"twice":         {"policy/data.yaml", "a: 1\nb: {c: 1, c: 2}\n", `policy/data.yaml:2:11: duplicate key "c"`},
		"twice in json": {"policy/data.json", "{\"a\": 1,\n \"a\": 2}", `policy/data.json:2:4: duplicate key "a"`},
		"anchor":        {"policy/data.yaml", "a: &x 1\nb: *x\n", "data.yaml:1:4: is an anchor or alias"},
		"merge":         {"policy/data.yaml", "a: {<<: {b: 1}}\n", "data.yaml:1:5: invalid key (expected a string)"},
		"tag":           {"policy/data.yaml", "a: !!binary aGk=\n", "has the tag !!binary"},
		"own tag":       {"policy/data.yaml", "a: !x 1\n", "has the tag !x"},
		"number as key": {"policy/data.yaml", "1: x\n", "data.yaml:1:1: invalid key (expected a string)"},
		"list":          {"policy/data.yaml", "[1]\n", "is not a mapping"},
		"list in json":  {"policy/data.json", "[1]", "is not an object"},
		"two documents": {"policy/data.yaml", "a: 1\n---\nb: 2\n", "contains more than one document"},
		"two objects":   {"policy/data.json", "{} {}", "contains more than one value"},
		"broken":        {"policy/data.yaml", "a: [1\n", "policy/data.yaml: "},
		"broken json":   {"policy/data.json", "{\"a\": \n", "unexpected EOF"},
		"infinity":      {"policy/data.yaml", "a: .inf\n", "is not a finite number"},
		"invisible":     {"policy/data.yaml", "a: x\u202ey\n", "data.yaml:1:5: has the invisible character U+202E"},
		"not utf-8":     {"policy/data.yaml", "a: \xff\n", "is not UTF-8"},
		"deep":          {"policy/data.yaml", "a: " + strings.Repeat("[", 30) + strings.Repeat("]", 30), "is nested deeper than 20"},
		"deep json":     {"policy/data.json", `{"a": ` + strings.Repeat("[", 30) + strings.Repeat("]", 30) + "}", "is nested deeper than 20"},
		"large":         {"policy/data.yaml", "a: " + strings.Repeat("x", schemas.MaxFileBytes), "is larger than"},
	} {
		got, err := ParseData(tt.path, []byte(tt.text))
		var list schemas.ErrorList
		switch {
		case tt.want == "":
			if err != nil {
				t.Errorf("%s: %v", name, err)
			} else if diff := cmp.Diff(good, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		case !errors.As(err, &list) || !strings.Contains(err.Error(), tt.want) || got != nil:
			t.Errorf("%s: got %v, %v; want an error with %q", name, got, err, tt.want)
		}
	}
	for _, text := range []string{"", "# nothing\n", "null\n", "---\n"} {
		if got, err := ParseData("policy/data.yaml", []byte(text)); err != nil || got == nil || len(got) > 0 {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

// TestEvaluateTable is the library through the engine, from Go's types: what the Rego tests cannot show.
func TestEvaluateTable(t *testing.T) {
	t.Parallel()
	e := engine(t, Config{Data: map[string]any{"separation_of_duties": []any{map[string]any{
		"name": "pay", "connections": []any{"warehouse/role/sales_reader", "warehouse/role/payer"},
	}}}})
	for name, tt := range map[string]struct {
		change         func(*schemas.PolicyInput)
		denials, warns []string
		required       int
	}{
		"as it is":               {func(*schemas.PolicyInput) {}, []string{}, []string{}, 1},
		"self-approval":          {func(in *schemas.PolicyInput) { in.Signoffs[0].Person = "DAVE@acme.test" }, []string{"CS-101"}, []string{}, 1},
		"privileged":             {func(in *schemas.PolicyInput) { in.Plan[0].Privileged = true }, []string{"CS-110"}, []string{}, 2},
		"privileged with an end": {func(in *schemas.PolicyInput) { in.Plan[2].Privileged = true }, []string{}, []string{}, 2},
		"duties": {func(in *schemas.PolicyInput) {
			in.Holdings["warehouse/user/alice"] = []string{"warehouse/role/payer", "warehouse/role/sales_reader"}
		}, []string{"CS-120"}, []string{}, 1},
		"unknown application": {func(in *schemas.PolicyInput) { in.Plan, in.Applications = nil, nil }, []string{"CS-102"}, []string{"CS-181"}, 0},
		"nothing":             {func(in *schemas.PolicyInput) { in.Change, in.Plan, in.Applications, in.Holdings = nil, nil, nil, nil }, []string{"CS-190"}, []string{}, 0},
	} {
		in := small()
		tt.change(&in)
		d, err := e.Evaluate(t.Context(), in)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff([]any{tt.denials, tt.warns, tt.required}, []any{codes(d.Denials), codes(d.Warnings), len(d.Required)}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		if _, err := New(Config{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEvaluate(b *testing.B) {
	e := engine(b, Config{})
	in := small()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.Evaluate(b.Context(), in); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	e := engine(b, Config{})
	in := small()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.encoder.Input(&in, 1<<20); err != nil {
			b.Fatal(err)
		}
	}
}

// many is n changes, each a little different.
func many(n int) []schemas.PolicyInput {
	list := make([]schemas.PolicyInput, n)
	for i := range list {
		list[i] = small()
		list[i].Change[0].Path = fmt.Sprintf("requests/%d.yaml", i)
		for j := range list[i].Plan {
			list[i].Plan[j].Path = list[i].Change[0].Path
		}
	}
	return list
}

// BenchmarkEvaluate10000 judges 10,000 small changes one after the other.
func BenchmarkEvaluate10000(b *testing.B) {
	e := engine(b, Config{})
	list := many(10_000)
	b.ReportAllocs()
	for b.Loop() {
		for i := range list {
			if d, err := e.Evaluate(b.Context(), list[i]); err != nil || len(d.Denials)+len(d.Warnings) > 0 {
				b.Fatal(d, err)
			}
		}
	}
}

// BenchmarkEvaluate10000Parallel judges 10,000 small changes on all processors, as merges are judged.
func BenchmarkEvaluate10000Parallel(b *testing.B) {
	e := engine(b, Config{})
	list := many(10_000)
	b.ReportAllocs()
	for b.Loop() {
		var all sync.WaitGroup
		workers := runtime.GOMAXPROCS(0)
		for first := range workers {
			all.Go(func() {
				for i := first; i < len(list); i += workers {
					if _, err := e.Evaluate(b.Context(), list[i]); err != nil {
						b.Error(err)
					}
				}
			})
		}
		all.Wait()
	}
}

// wide is one change of n documents.
func wide(n int) schemas.PolicyInput {
	in := small()
	in.Change, in.Plan = nil, nil
	for _, one := range many(n) {
		in.Change = append(in.Change, one.Change...)
		in.Plan = append(in.Plan, one.Plan...)
	}
	return in
}

// BenchmarkEvaluateWide judges one change of 10,000 documents.
func BenchmarkEvaluateWide(b *testing.B) {
	e := engine(b, Config{Timeout: time.Minute})
	in := wide(10_000)
	for b.Loop() {
		if _, err := e.Evaluate(b.Context(), in); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkEvaluateIsolated has a rule of the repository's own in a child.
func BenchmarkEvaluateIsolated(b *testing.B) {
	e := engine(b, Config{Modules: own(`input.plan == []`), Isolate: reexec})
	in := small()
	for b.Loop() {
		if _, err := e.Evaluate(b.Context(), in); err != nil {
			b.Fatal(err)
		}
	}
}

// What the rules would have to count is counted for them, whatever the caller wrote there.
func TestCounts(t *testing.T) {
	t.Parallel()
	in := small()
	in.Affected, in.Change[0].Operations = 7000, 7000
	before := in.Change[0]
	lost := in.Plan[0]
	lost.Kind, lost.Path, lost.Index = schemas.OperationRevoke, "requests/other.yaml", 3
	bob := schemas.Name{Type: "user", SourceName: "bob"}
	lost.Lost = []schemas.Access{{Application: "warehouse", Identity: bob}, {Application: "warehouse", Identity: bob, Privilege: "SELECT"}}
	in.Plan = append(in.Plan, lost)
	in.Identities = map[string]string{"crm/user/carol": "carol@acme.test"}
	got := in
	count(&got)
	if got.Affected != 3 || got.Change[0].Operations != 3 {
		t.Errorf("%d identities affected and %d operations, want alice, bob and carol, and 3", got.Affected, got.Change[0].Operations)
	}
	if in.Change[0] != before {
		t.Error("the caller's document was changed")
	}
}

// An application's terms are kept by its pointer; another application is another one.
func TestApplicationsAreNotMixedUp(t *testing.T) {
	t.Parallel()
	e := engine(t, Config{})
	for _, owner := range []string{"user:bob@acme.test", "user:carol@acme.test"} {
		in := small()
		in.Applications["warehouse"].Owners = []string{owner}
		for range 2 {
			d, err := e.Evaluate(t.Context(), in)
			if err != nil || len(d.Required) != 1 || !slices.Equal(d.Required[0].From, []string{owner}) {
				t.Errorf("required %v, %v; want %s", d.Required, err, owner)
			}
		}
	}
}
