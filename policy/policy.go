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

	"github.com/countersign/countersign/policy/encode"
	"github.com/countersign/countersign/schemas"
)

// The defaults of Config.
const (
	DefaultTimeout  = 2 * time.Second
	DefaultMaxInput = 32 << 20
)

// Errors of an evaluation that callers distinguish. Each of them denies the change.
var (
	// ErrTimeout is returned if the rules did not finish in time.
	ErrTimeout = errors.New("the rules timed out")
	// ErrInputTooLarge is returned for a change that exceeds Config.MaxInput.
	ErrInputTooLarge = encode.ErrTooLarge
	// ErrMalformed is returned for an answer of unexpected form.
	ErrMalformed = errors.New("the rules returned a malformed answer")
	// ErrChild is returned if the process that evaluates the repository's own rules ended or could not be started.
	ErrChild = errors.New("the process that evaluates the repository's own rules failed")
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("the policy engine is closed")
)

// Config configures an Engine.
type Config struct {
	// Modules are the repository's own rules by path, from the base of the change. Files that end in _test.rego are
	// tests, which run only in Test.
	Modules map[string][]byte
	// Data is the decoded data file; see ParseData. It may be nil.
	Data map[string]any
	// Admitted is set for rules that are in effect already. Only faults that keep all rules from being
	// evaluated are then errors: an older version took the others, and refusing the rules would stop everything.
	Admitted bool
	// Timeout limits one evaluation of the library, and one of the own rules, in CPU time of the evaluating process. By
	// the clock it may take ten times as long. 0 is DefaultTimeout.
	Timeout time.Duration
	// Isolate returns the command of a child process that runs ServeChild on its standard input and output. The engine
	// starts it at the first evaluation, with an empty environment, and only if there are own rules. Nil evaluates own
	// rules in this process, without a limit on memory.
	Isolate func(ctx context.Context) (*exec.Cmd, error)
	// MaxInput limits the input, in approximate bytes of its JSON. 0 is DefaultMaxInput.
	MaxInput int
	// Logger receives events of the child process. Nil discards them.
	Logger *slog.Logger
}

// Engine evaluates rules. It is safe for concurrent use. Own rules in a child process are evaluated one change at a
// time.
type Engine struct {
	timeout  time.Duration
	maxInput int
	encoder  encode.Encoder
	library  *program
	own      *program // nil without own rules
	child    *child   // nil if own rules are evaluated in this process
	rules    int
	manifest ast.Value
	bundle   string

	modules map[string][]byte
	data    map[string]any
}

// New compiles the library and the own rules. Errors in own rules or data are returned as one *CompileError. New starts
// no process.
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
	encoder, err := encode.New()
	if err != nil {
		return nil, err
	}
	e := &Engine{timeout: c.Timeout, maxInput: c.MaxInput, encoder: encoder, modules: maps.Clone(c.Modules), data: data}

	library, err := compileLibrary()
	if err != nil {
		return nil, fmt.Errorf("policy library: %w", err)
	}
	e.library, e.rules, e.manifest = library.over(newStore(libraryData(data))), library.rules, library.manifest
	own, list := parseOwn(c.Modules, c.Admitted)
	faults = append(faults, list...)
	if own.rules > 0 && len(list) == 0 {
		var list schemas.ErrorList
		e.own, list = compileOwn(own, newStore(data), c.Admitted)
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

// digest returns the digest of everything a decision depends on: the library, the own rules without tests, and the data.
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

// Evaluate judges a change. The decision is the sorted union of the library's and the own rules' results. An error
// denies the change: no part of it may take effect.
func (e *Engine) Evaluate(ctx context.Context, in schemas.PolicyInput) (schemas.Decision, error) {
	return e.evaluate(ctx, in, e.own != nil)
}

// EvaluateLibrary judges a change by the built-in rules alone.
func (e *Engine) EvaluateLibrary(ctx context.Context, in schemas.PolicyInput) (schemas.Decision, error) {
	return e.evaluate(ctx, in, false)
}

func (e *Engine) evaluate(ctx context.Context, in schemas.PolicyInput, own bool) (schemas.Decision, error) {
	fail := func(err error) (schemas.Decision, error) { return schemas.Decision{}, err }
	if err := ctx.Err(); err != nil {
		return fail(fmt.Errorf("evaluate the rules: %w", err))
	}
	if err := checkInput(&in); err != nil {
		return fail(err)
	}
	count(&in)
	value, err := e.encoder.Input(&in, e.maxInput)
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
	// The manifest proves that all of these rules contributed to the answer.
	if err := decodeAnswer(answer, &d, answerOf{manifest: e.manifest}); err != nil {
		return fail(fmt.Errorf("built-in rules: %w", err))
	}
	if own {
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

// count fills in counts that every rule would otherwise compute. It does not modify the caller's documents.
func count(in *schemas.PolicyInput) {
	type document struct {
		path  string
		index int
	}
	operations := make(map[document]int, len(in.Change))
	affected := make(map[string]bool, len(in.Identities))
	for k := range in.Identities {
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

// checkInput refuses an input that the rules could mistake for one in which nothing happens.
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
			return fmt.Errorf("policy input: change[%d] is a %s, but its request does not match", i, c.Kind)
		}
		switch c.Action {
		case "added", "modified", "deleted", "reformatted":
		default:
			return fmt.Errorf("policy input: change[%d].action is %q (expected added, modified, deleted or reformatted)", i, c.Action)
		}
		if (c.Kind == schemas.KindApplication) != (c.Application != nil) {
			return fmt.Errorf("policy input: change[%d] is a %s, but its application does not match", i, c.Kind)
		}
		if c.Application != nil && c.Merged {
			if _, ok := in.Applications[c.Application.Name]; !ok {
				return fmt.Errorf("policy input: the changed application %s is missing from applications", c.Application.Name)
			}
		}
	}
	for i := range in.Plan {
		if _, ok := in.Applications[in.Plan[i].Application]; !ok {
			return fmt.Errorf("policy input: plan[%d] is for %s, which is missing from applications", i, in.Plan[i].Application)
		}
	}
	return nil
}

// Bundle returns the digest of the rules and data that the engine evaluates, which decisions contain.
func (e *Engine) Bundle() string { return e.bundle }

// Close ends the child process, if one was started. An engine that needs one cannot evaluate afterwards. Close is
// idempotent.
func (e *Engine) Close() error {
	if e.child == nil {
		return nil
	}
	return e.child.close()
}

func isTest(path string) bool { return strings.HasSuffix(path, "_test.rego") }
