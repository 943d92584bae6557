package policy

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/version"

	"github.com/countersign/countersign/schemas"
)

// The defaults of Config.
const (
	DefaultTimeout  = 2 * time.Second
	DefaultMaxInput = 32 << 20
)

// Errors of an evaluation that callers tell apart. Each of them denies.
var (
	// ErrTimeout says that the rules did not finish in time.
	ErrTimeout = errors.New("the rules did not finish in time")
	// ErrInputTooLarge says that the change is larger than policy is asked to judge.
	ErrInputTooLarge = errors.New("the policy input is too large")
	// ErrMalformed says that rules answered something other than they should.
	ErrMalformed = errors.New("malformed answer of the rules")
	// ErrChild says that the process which evaluates the repository's own rules ended or could not be started.
	ErrChild = errors.New("the process that evaluates the repository's own rules failed")
	// ErrClosed says that the engine was closed.
	ErrClosed = errors.New("the policy engine is closed")
)

// Config is what an Engine is made of.
type Config struct {
	// Modules are the repository's own rules by path, as they stand in the base of what is judged. Files that
	// end in _test.rego are tests: they run in Test alone.
	Modules map[string][]byte
	// Data is the decoded data file; see ParseData. Nil is no data.
	Data map[string]any
	// Timeout bounds one evaluation of the library, and one of the own rules, in CPU time of the process that evaluates;
	// by the clock it may take ten times as long. 0 is DefaultTimeout.
	Timeout time.Duration
	// Isolate makes the command of a child process that runs ServeChild on its standard input and output. The
	// engine starts it at the first evaluation, with an empty environment, and only when there are own rules.
	// Nil evaluates own rules in this process, where nothing bounds their memory.
	Isolate func(ctx context.Context) (*exec.Cmd, error)
	// MaxInput bounds the input, in bytes of its JSON, about. 0 is DefaultMaxInput.
	MaxInput int
	// Logger gets what becomes of the child process. Nil discards it.
	Logger *slog.Logger
}

// Engine evaluates rules. It is safe for concurrent use; own rules in a child process are evaluated one at
// a time.
type Engine struct {
	timeout  time.Duration
	maxInput int
	encode   encoder
	library  *program
	own      *program // nil without own rules
	child    *child   // nil when own rules are evaluated here
	rules    int
	manifest ast.Value
	bundle   string

	modules map[string][]byte
	data    map[string]any
}

// New compiles the library and the own rules. What is wrong with own rules or data is a *CompileError that
// lists all of it. Nothing is started yet.
func New(c Config) (*Engine, error) {
	if c.Timeout < 0 || c.MaxInput < 0 {
		return nil, errors.New("policy: a limit is negative")
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.MaxInput == 0 {
		c.MaxInput = DefaultMaxInput
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	data, err := plainData(c.Data)
	if err != nil {
		return nil, err
	}
	var faults schemas.ErrorList
	faults = append(faults, checkData(data)...)
	encode, err := newEncoder()
	if err != nil {
		return nil, err
	}
	e := &Engine{timeout: c.Timeout, maxInput: c.MaxInput, encode: encode, modules: maps.Clone(c.Modules), data: data}

	library, err := compileLibrary()
	if err != nil {
		return nil, fmt.Errorf("policy library: %w", err)
	}
	e.library, e.rules, e.manifest = library.over(newStore(libraryData(data))), library.rules, library.manifest
	own, list := parseOwn(c.Modules)
	faults = append(faults, list...)
	if own.rules > 0 && len(list) == 0 {
		var list schemas.ErrorList
		e.own, list = compileOwn(own, newStore(data))
		faults = append(faults, list...)
	}
	if len(faults) > 0 {
		return nil, &CompileError{Errors: faults.Sort()}
	}
	e.rules += own.rules
	if e.bundle, err = digest(c.Modules, data); err != nil {
		return nil, err
	}
	if e.own != nil && c.Isolate != nil {
		e.child = newChild(c.Isolate, c.Logger, hello{Modules: own.sources, Data: data, Timeout: c.Timeout})
	}
	return e, nil
}

// digest is over all that a decision depends on: the library, own rules that are no tests, and data.
func digest(modules map[string][]byte, data map[string]any) (string, error) {
	h := sha256.New()
	add := func(name string, content []byte) {
		var n [8]byte
		for _, part := range [][]byte{[]byte(name), content} {
			binary.BigEndian.PutUint64(n[:], uint64(len(part)))
			h.Write(n[:])
			h.Write(part)
		}
	}
	files, err := libraryFiles()
	if err != nil {
		return "", err
	}
	for _, f := range files {
		if !isTest(f.path) {
			add(f.path, f.content)
		}
	}
	for _, p := range slices.Sorted(maps.Keys(modules)) {
		if !isTest(p) {
			add("own/"+p, modules[p])
		}
	}
	text, err := json.Marshal(data)
	if err != nil {
		return "", fmt.Errorf("policy data: %w", err)
	}
	add("data", text)
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}

// Evaluate judges a change. The decision is the union of what the library and the own rules say, sorted. An
// error denies: nothing of the change may take effect.
func (e *Engine) Evaluate(ctx context.Context, in schemas.PolicyInput) (schemas.Decision, error) {
	fail := func(err error) (schemas.Decision, error) { return schemas.Decision{}, err }
	if err := ctx.Err(); err != nil {
		return fail(fmt.Errorf("evaluate the rules: %w", err))
	}
	if err := checkInput(&in); err != nil {
		return fail(err)
	}
	count(&in)
	value, err := e.encode.value(&in, e.maxInput)
	if err != nil {
		return fail(fmt.Errorf("policy input: %w", err))
	}
	answer, err := e.library.evaluate(ctx, value, e.timeout)
	if err != nil {
		return fail(fmt.Errorf("built-in rules: %w", err))
	}
	d := schemas.Decision{
		APIVersion: schemas.APIVersion, Rules: e.rules, Bundle: e.bundle, Engine: "opa " + version.Version,
		Denials: []schemas.RuleResult{}, Warnings: []schemas.RuleResult{}, Required: []schemas.Requirement{},
	}
	// The manifest proves that the answer is that of these rules, all of them.
	if err := decodeAnswer(answer, &d, answerOf{manifest: e.manifest}); err != nil {
		return fail(fmt.Errorf("built-in rules: %w", err))
	}
	if e.own != nil {
		if e.child != nil {
			answer, err = e.child.evaluate(ctx, value)
		} else {
			answer, err = e.own.evaluate(ctx, value, e.timeout)
		}
		if err == nil {
			err = decodeAnswer(answer, &d, answerOf{own: true})
		}
		if err != nil {
			return fail(fmt.Errorf("the repository's own rules: %w", err))
		}
	}
	sortDecision(&d)
	return d, nil
}

// count fills in what the rules would have to count each by itself. The caller's documents stay as they are.
func count(in *schemas.PolicyInput) {
	type document struct {
		path  string
		index int
	}
	operations := make(map[document]int, len(in.Change))
	affected := make(map[string]bool, len(in.Holdings))
	for k := range in.Holdings {
		affected[k] = true
	}
	for i := range in.Plan {
		o := &in.Plan[i]
		operations[document{o.Path, o.Index}]++
		for _, list := range [][]schemas.Access{o.Gained, o.Lost} {
			for j := range list {
				affected[list[j].Application+"/"+list[j].Identity.String()] = true
			}
		}
	}
	in.Affected = len(affected)
	in.Change = slices.Clone(in.Change)
	for i := range in.Change {
		c := &in.Change[i]
		c.Operations = operations[document{c.Path, c.Index}]
	}
}

// checkInput refuses an input that the rules could misread as one in which nothing happens.
func checkInput(in *schemas.PolicyInput) error {
	if in.APIVersion != schemas.APIVersion {
		return fmt.Errorf("policy input: apiVersion is %q (expected %s)", in.APIVersion, schemas.APIVersion)
	}
	if in.Phase != "preview" && in.Phase != "merge" {
		return fmt.Errorf("policy input: phase is %q (expected preview or merge)", in.Phase)
	}
	if in.Now.IsZero() {
		return errors.New("policy input: now is not set")
	}
	for i := range in.Change {
		c := &in.Change[i]
		if c.Kind.IsRequest() != (c.Request != nil) {
			return fmt.Errorf("policy input: change[%d] is a %s, and its request does not agree", i, c.Kind)
		}
		switch c.Action {
		case "added", "modified", "deleted":
		default:
			return fmt.Errorf("policy input: change[%d].action is %q (expected added, modified or deleted)", i, c.Action)
		}
		if (c.Kind == schemas.KindApplication) != (c.Application != nil) {
			return fmt.Errorf("policy input: change[%d] is a %s, and its application does not agree", i, c.Kind)
		}
		if c.Application != nil && c.Merged {
			if _, ok := in.Applications[c.Application.Name]; !ok {
				return fmt.Errorf("policy input: the application %s is changed, and not among those touched", c.Application.Name)
			}
		}
	}
	for i := range in.Plan {
		if _, ok := in.Applications[in.Plan[i].Application]; !ok {
			return fmt.Errorf("policy input: plan[%d] is for %s, which is not among the applications touched", i, in.Plan[i].Application)
		}
	}
	return nil
}

// Bundle is the digest of the rules and data that the engine evaluates, as decisions name it.
func (e *Engine) Bundle() string { return e.bundle }

// Close ends the child process, if one was started. The engine evaluates nothing afterwards where it needs
// one. Closing twice is closing once.
func (e *Engine) Close() error {
	if e.child == nil {
		return nil
	}
	return e.child.close()
}

func isTest(path string) bool { return strings.HasSuffix(path, "_test.rego") }
