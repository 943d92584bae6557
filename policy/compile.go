package policy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/topdown"
	"github.com/open-policy-agent/opa/v1/types"
	"github.com/open-policy-agent/opa/v1/util"

	"github.com/countersign/countersign/schemas"
	"github.com/countersign/countersign/schemas/jsonschema"
)

// maxOwnBytes limits the total size of own rules, because nothing else limits the time to compile them.
const maxOwnBytes = 4 << 20

// maxErrors limits the errors that the compiler reports at once.
const maxErrors = 100

// CompileError lists all errors in a repository's own rules and data.
type CompileError struct {
	// Errors are sorted by file, line and column, and never empty.
	Errors schemas.ErrorList
}

// Error returns one line for each error.
func (e *CompileError) Error() string { return e.Errors.Error() }

// Unwrap returns the list for errors.As.
func (e *CompileError) Unwrap() error { return e.Errors }

// capabilities returns what rules may use: built-ins that depend only on their arguments.
func capabilities() *ast.Capabilities {
	caps := ast.CapabilitiesForThisVersion()
	allowed := make([]*ast.Builtin, 0, len(caps.Builtins))
	for _, b := range caps.Builtins {
		if !b.Nondeterministic {
			allowed = append(allowed, b)
		}
	}
	caps.Builtins = allowed
	caps.AllowNet = []string{} // nil would be any host
	return caps
}

// program is a set of compiled rules with the one query to evaluate.
type program struct {
	compiler *ast.Compiler
	queries  ast.QueryCompiler
	query    ast.Body
	store    storage.Store
	// indexing switches the rule index on. It is off for decisions: bugs in it have made rules silently not apply, and
	// with large data it has cost more than it saved.
	indexing bool
	// name is set for a program whose rules are named when they time out.
	name bool
}

const answerVar = ast.Var("answer")

func newCompiler(caps *ast.Capabilities, set *ast.SchemaSet) *ast.Compiler {
	c := ast.NewCompiler().WithCapabilities(caps).WithStrict(true).WithDefaultRegoVersion(ast.RegoV1)
	if set != nil {
		c = c.WithSchemas(set)
	}
	return c.SetErrorLimit(maxErrors)
}

func newProgram(modules map[string]*ast.Module, caps *ast.Capabilities, set *ast.SchemaSet, store storage.Store, query string) (*program, error) {
	c := newCompiler(caps, set)
	if c.Compile(modules); c.Failed() {
		return nil, c.Errors
	}
	parsed, err := ast.ParseBodyWithOpts(string(answerVar)+" = "+query, ast.ParserOptions{RegoVersion: ast.RegoV1, Capabilities: caps})
	if err != nil {
		return nil, err
	}
	queries := c.QueryCompiler()
	body, err := queries.Compile(parsed)
	if err != nil {
		return nil, err
	}
	return &program{compiler: c, queries: queries, query: body, store: store}, nil
}

// evaluate runs the query on an input. The answer is one defined value, or there is an error.
func (p *program) evaluate(ctx context.Context, input ast.Value, timeout time.Duration) (answer ast.Value, err error) {
	// A panic in the evaluator must deny this change only, not stop the judgement of all others.
	defer func() {
		if r := recover(); r != nil {
			answer, err = nil, fmt.Errorf("the evaluator panicked: %v", r)
		}
	}()
	txn, err := p.store.NewTransaction(ctx)
	if err != nil {
		return nil, fmt.Errorf("policy data: %w", err)
	}
	defer p.store.Abort(ctx, txn)

	cancel := topdown.NewCancel()
	defer startDeadline(timeout, cpuTime, cancel.Cancel).stop()
	if ctx.Done() != nil {
		defer context.AfterFunc(ctx, cancel.Cancel)()
	}
	q := p.newQuery(txn, input, cancel)
	n := 0
	err = q.Iter(ctx, func(r topdown.QueryResult) error {
		n++
		if t := r[answerVar]; t != nil {
			answer = t.Value
		}
		return nil
	})
	switch {
	case topdown.IsCancel(err) && ctx.Err() != nil:
		return nil, fmt.Errorf("evaluate the rules: %w", context.Cause(ctx))
	case topdown.IsCancel(err):
		if p.name {
			return nil, fmt.Errorf("%w (%s)%s", ErrTimeout, timeout, p.slowest(ctx, txn, input, timeout/4))
		}
		return nil, fmt.Errorf("%w (%s)", ErrTimeout, timeout)
	case err != nil:
		return nil, err
	case n != 1 || answer == nil:
		return nil, fmt.Errorf("%w: %d answers (expected one)", ErrMalformed, n)
	}
	return answer, nil
}

func (p *program) newQuery(txn storage.Transaction, input ast.Value, cancel topdown.Cancel) *topdown.Query {
	return topdown.NewQuery(p.query).
		WithQueryCompiler(p.queries).
		WithCompiler(p.compiler).
		WithStore(p.store).
		WithTransaction(txn).
		WithInput(ast.NewTerm(input)).
		WithIndexing(p.indexing).
		WithEarlyExit(true).
		WithStrictBuiltinErrors(true).
		WithCancel(cancel)
}

// slowest evaluates the rules again, for a short time, and names the one in which it ends.
func (p *program) slowest(ctx context.Context, txn storage.Transaction, input ast.Value, limit time.Duration) string {
	cancel := topdown.NewCancel()
	defer startDeadline(limit, cpuTime, cancel.Cancel).stop()
	last := &lastRule{}
	err := p.newQuery(txn, input, cancel).WithQueryTracer(last).Iter(ctx, func(topdown.QueryResult) error { return nil })
	if !topdown.IsCancel(err) || last.rule == nil || last.rule.Location == nil {
		return ""
	}
	return fmt.Sprintf(" in %s at %s:%d", strings.TrimPrefix(ruleName(last.rule), resultPrefix), last.rule.Location.File, last.rule.Location.Row)
}

// lastRule is a tracer that remembers the last rule of a set that was entered.
type lastRule struct{ rule *ast.Rule }

// Enabled reports that events are wanted.
func (*lastRule) Enabled() bool { return true }

// Config asks for nothing that costs time.
func (*lastRule) Config() topdown.TraceConfig { return topdown.TraceConfig{} }

// TraceEvent remembers a rule.
func (l *lastRule) TraceEvent(e topdown.Event) {
	if r, ok := e.Node.(*ast.Rule); ok && e.Op == topdown.EnterOp && strings.HasPrefix(ruleName(r), resultPrefix) {
		l.rule = r
	}
}

func newStore(data map[string]any) storage.Store {
	// Stored as OPA values, because converting large data at each read takes milliseconds.
	return inmem.NewFromObjectWithOpts(data, inmem.OptRoundTripOnWrite(false), inmem.OptReturnASTValuesOnRead(true))
}

// inputSchemas makes unknown fields of the input compile-time errors in every module.
func inputSchemas() (*ast.SchemaSet, error) {
	text, err := jsonschema.Get("policy-input")
	if err != nil {
		return nil, err
	}
	var schema any
	if err := util.UnmarshalJSON(text, &schema); err != nil {
		return nil, fmt.Errorf("schema of the policy input: %w", err)
	}
	set := ast.NewSchemaSet()
	set.Put(ast.SchemaRootRef, schema)
	return set, nil
}

// ownRules are a repository's own modules, parsed.
type ownRules struct {
	modules map[string]*ast.Module // without tests
	tests   map[string]*ast.Module
	sources map[string][]byte // without tests
	rules   int
}

// parseOwn parses own modules and refuses rules that would not be evaluated, or not as their author expects. Of admitted
// rules, those that will fail when they are evaluated are taken.
func parseOwn(files map[string][]byte, admitted bool) (ownRules, schemas.ErrorList) {
	own := ownRules{modules: map[string]*ast.Module{}, tests: map[string]*ast.Module{}, sources: map[string][]byte{}}
	var faults schemas.ErrorList
	caps := capabilities()
	size := 0
	for _, p := range slices.Sorted(maps.Keys(files)) {
		size += len(files[p])
		if size > maxOwnBytes {
			return own, append(faults, schemas.Error{Position: schemas.Position{Path: p}, Msg: fmt.Sprintf("own rules are larger than %d bytes", maxOwnBytes)})
		}
		m, err := ast.ParseModuleWithOpts(p, string(files[p]), ast.ParserOptions{RegoVersion: ast.RegoV1, Capabilities: caps})
		if err != nil {
			faults = append(faults, compileErrors(p, err)...)
			continue
		}
		if m == nil {
			faults = append(faults, schemas.Error{Position: schemas.Position{Path: p}, Msg: "the file is empty", Hint: "write package countersign and rules, or remove it"})
			continue
		}
		n, list := checkModule(p, m, admitted)
		faults = append(faults, list...)
		own.rules += n
		if isTest(p) {
			own.tests[p] = m
			continue
		}
		own.modules[p], own.sources[p] = m, files[p]
	}
	if len(files) > 0 && own.rules == 0 && len(faults) == 0 {
		for _, p := range slices.Sorted(maps.Keys(own.modules)) {
			for _, r := range own.modules[p].Rules {
				if packageName(own.modules[p]) == rootPackage {
					faults = append(faults, unreadRule(p, r))
				}
			}
		}
	}
	if len(files) > 0 && own.rules == 0 && len(faults) == 0 {
		p := slices.Sorted(maps.Keys(files))[0]
		faults = append(faults, schemas.Error{
			Position: schemas.Position{Path: p}, Msg: "the policy files do not contain a rule, so nothing would be evaluated",
			Hint: "add to deny, warn or require_signoff in package countersign, or remove the files",
		})
	}
	return own, faults
}

func packageName(m *ast.Module) string {
	return strings.TrimPrefix(m.Package.Path.String(), "data.")
}

func within(name, root string) bool { return name == root || strings.HasPrefix(name, root+".") }

// checkModule counts the rules of a module that add to the decision, and reports rules that never could.
func checkModule(path string, m *ast.Module, admitted bool) (rules int, faults schemas.ErrorList) {
	fail := func(loc *ast.Location, msg, hint string) {
		faults = append(faults, schemas.Error{Position: position(path, loc), Msg: msg, Hint: hint})
	}
	name := packageName(m)
	test := isTest(path)
	switch {
	case within(name, libraryPackage) || within(name, libPackage):
		fail(m.Package.Location, "package "+name+" is reserved for the built-in library", "use package countersign; the library cannot be changed")
		return 0, faults
	case test && within(name, rootPackage+"_test"):
	case !within(name, rootPackage):
		fail(m.Package.Location, "package "+name+" is never evaluated", "use package countersign, or one below it for helpers")
		return 0, faults
	}
	for _, set := range ruleSets() {
		if within(name, rootPackage+"."+set) {
			fail(m.Package.Location, "package "+name+" hides the set "+set, "give it another name")
			return 0, faults
		}
	}
	for _, r := range m.Rules {
		ref := r.Head.Ref()
		first := strings.Trim(ref[0].String(), `"`)
		isSet := slices.Contains(ruleSets(), first)
		many := r.Head.RuleKind() == ast.MultiValue
		switch {
		case isSet && test:
			fail(r.Location, first+" in a test file is never evaluated", "move the rule to a file that does not end in _test.rego")
		case isSet && name != rootPackage:
			fail(r.Location, first+" in package "+name+" is never evaluated", "move the rule to package countersign")
		case isSet && (r.Default || len(ref) != 1 || !many || len(r.Head.Args) > 0):
			fail(r.Location, first+" is not written as a set", "write: "+first+" contains {…} if {…}")
		case isSet:
			rules++
			if !admitted {
				checkHead(first, r, fail)
			}
		case name == rootPackage && many && !test && len(ref) == 1:
			if set := meant(first); set != "" {
				fail(r.Location, "the set "+first+" is never evaluated", "did you mean "+set+"? if not, give it a name that looks less like it")
			}
		}
	}
	return rules, faults
}

// meant returns the set that a misspelt name probably refers to, or "".
func meant(name string) string {
	switch name {
	case "violation", "violations", "denied", "denies", "denial", "denials":
		return "deny"
	case "warning", "warnings":
		return "warn"
	}
	for _, set := range ruleSets() {
		if strings.HasPrefix(name, set+"_") || schemas.Distance(strings.ToLower(name), set) <= 1 {
			return set
		}
	}
	return ""
}

// compileOwn compiles own rules together with the library's helpers, and nothing else of the library.
func compileOwn(own ownRules, store storage.Store, admitted bool) (*program, schemas.ErrorList) {
	lone := func(err error) schemas.ErrorList { return schemas.ErrorList{{Msg: err.Error()}} }
	caps := capabilities()
	set, err := inputSchemas()
	if err != nil {
		return nil, lone(err)
	}
	modules, err := withLib(withResults(own.modules), caps)
	if err != nil {
		return nil, lone(err)
	}
	var fields []string
	for _, s := range ruleSets() {
		if slices.ContainsFunc(slices.Collect(maps.Values(own.modules)), func(m *ast.Module) bool {
			return slices.ContainsFunc(m.Rules, func(r *ast.Rule) bool {
				return packageName(m) == rootPackage && r.Head.Ref().String() == s
			})
		}) {
			fields = append(fields, fmt.Sprintf("%q: data.%s.%s%s", s, rootPackage, resultPrefix, s))
		}
	}
	p, err := newProgram(modules, caps, set, store, "{"+strings.Join(fields, ", ")+"}")
	if err != nil {
		return nil, compileErrors("", err)
	}
	faults := checkReferences(p.compiler, own.modules, store)
	if !admitted {
		faults = slices.Concat(faults, checkUnread(p.compiler, own.modules), checkUndefined(own.modules))
	}
	if len(faults) > 0 {
		return nil, slices.Compact(faults.Sort())
	}
	p.name = true
	return p, nil
}

func withLib(modules map[string]*ast.Module, caps *ast.Capabilities) (map[string]*ast.Module, error) {
	text, err := libraryFS.ReadFile(libFile)
	if err != nil {
		return nil, err
	}
	lib, err := ast.ParseModuleWithOpts(libFile, string(text), ast.ParserOptions{RegoVersion: ast.RegoV1, Capabilities: caps})
	if err != nil {
		return nil, err
	}
	all := maps.Clone(modules)
	all[libFile] = lib
	return all, nil
}

func position(path string, loc *ast.Location) schemas.Position {
	if loc == nil {
		return schemas.Position{Path: path}
	}
	return schemas.Position{Path: path, Line: loc.Row, Column: loc.Col}
}

// compileErrors converts OPA's errors to a schemas.ErrorList.
func compileErrors(path string, err error) schemas.ErrorList {
	var list ast.Errors
	var one *ast.Error
	switch {
	case errors.As(err, &list):
	case errors.As(err, &one):
		list = ast.Errors{one}
	default:
		return schemas.ErrorList{{Position: schemas.Position{Path: path}, Msg: err.Error()}}
	}
	var faults schemas.ErrorList
	for _, e := range list {
		f := schemas.Error{Position: position(path, e.Location), Msg: strings.Join(strings.Fields(e.Message), " ")}
		if e.Location != nil && e.Location.File != "" {
			f.Path = e.Location.File
		}
		f.Hint = hint(e)
		faults = append(faults, f)
	}
	return faults.Sort()
}

// hint suggests a fix for a compiler error.
func hint(e *ast.Error) string {
	switch d := e.Details.(type) {
	case *ast.RefErrInvalidDetail:
		var names []string
		for _, v := range d.OneOf {
			if s, ok := v.(ast.String); ok {
				names = append(names, string(s))
			}
		}
		slices.Sort(names)
		if d.Have == nil && d.Pos < len(d.Ref) {
			if s, ok := d.Ref[d.Pos].Value.(ast.String); ok {
				return didYouMean(string(s), names)
			}
		}
		if len(names) > 0 {
			return "expected one of " + strings.Join(names, ", ")
		}
		if d.Have != nil && d.Want != nil {
			return fmt.Sprintf("it is %s (expected %s)", types.Sprint(d.Have), types.Sprint(d.Want))
		}
	case *ast.RefErrUnsupportedDetail:
		return fmt.Sprintf("%s does not have fields", d.Ref[:d.Pos+1])
	}
	if name, ok := strings.CutPrefix(e.Message, "undefined function "); ok {
		for _, b := range ast.Builtins {
			if b.Name != name || !b.Nondeterministic {
				continue
			}
			if strings.HasPrefix(name, "time.") {
				return "policies cannot read the clock: use input.now"
			}
			return "policies may use only built-ins that are deterministic and do not reach outside"
		}
	}
	return ""
}

// didYouMean suggests the candidate nearest to a word, or lists all candidates if they are few.
func didYouMean(word string, candidates []string) string {
	best, at := "", 3
	for _, c := range candidates {
		if d := schemas.Distance(strings.ToLower(word), strings.ToLower(c)); d < at {
			best, at = c, d
		}
	}
	switch {
	case best != "":
		return "did you mean " + best + "?"
	case len(candidates) > 0 && len(candidates) <= 30:
		return "expected one of " + strings.Join(candidates, ", ")
	}
	return ""
}
