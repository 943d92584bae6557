package policy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/cover"
	"github.com/open-policy-agent/opa/v1/tester"
	"github.com/open-policy-agent/opa/v1/topdown"

	"github.com/countersign/countersign/schemas"
)

// TestOptions selects the Rego tests to run.
type TestOptions struct {
	// Run is a regular expression of test names (package.test_name); "" runs all tests.
	Run string
	// Coverage measures which lines of the rules the tests reach. Results then don't name the failing line of a test.
	Coverage bool
}

// Test runs the Rego tests of the library and of the repository's own rules in this process, with the same
// capabilities that decisions have. Tests that don't compile are a *CompileError.
func (e *Engine) Test(ctx context.Context, o TestOptions) (schemas.PolicyTestReport, error) {
	var report schemas.PolicyTestReport
	if _, err := regexp.Compile(o.Run); err != nil {
		return report, fmt.Errorf("policy tests: %w", err)
	}
	caps := capabilities()
	library, err := parseLibrary(caps, true, false)
	if err != nil {
		return report, fmt.Errorf("policy library: %w", err)
	}
	own, faults := parseOwn(e.modules, true)
	if len(faults) > 0 {
		return report, &CompileError{Errors: faults}
	}
	report.OwnRules = own.rules
	// The library's tests use the default data, not this repository's.
	if err := e.runSuite(ctx, "library", library, nil, libraryData(nil), o, &report); err != nil {
		return report, err
	}
	if len(own.modules) > 0 {
		modules, err := withLib(own.modules, caps)
		if err != nil {
			return report, err
		}
		maps.Copy(modules, own.tests)
		if err := e.runSuite(ctx, "own", modules, own.modules, e.data, o, &report); err != nil {
			return report, err
		}
	}
	report.NoOwnTests = report.OwnRules > 0 && report.OwnTests == 0
	slices.SortFunc(report.Results, func(a, b schemas.PolicyTestResult) int {
		return cmp.Or(cmp.Compare(a.Suite, b.Suite), cmp.Compare(a.Position.Path, b.Position.Path), cmp.Compare(a.Position.Line, b.Position.Line), cmp.Compare(a.Name, b.Name))
	})
	return report, nil
}

// runSuite runs the tests among the modules. Coverage is measured for the modules in covered, or by default for all
// modules that are not tests.
//
// A trace locates the line of a failed test. It makes a test several times slower, so the tests run without one first,
// and again only if one of them fails.
func (e *Engine) runSuite(ctx context.Context, suite string, modules, covered map[string]*ast.Module, data map[string]any, o TestOptions, report *schemas.PolicyTestReport) error {
	var tracer *cover.Cover
	if o.Coverage {
		tracer = cover.New()
	}
	results, err := e.runTests(ctx, modules, data, o, tracer, false)
	if err == nil && tracer == nil && slices.ContainsFunc(results, func(r *tester.Result) bool { return r.Fail }) {
		results, err = e.runTests(ctx, modules, data, o, nil, true)
	}
	if err != nil {
		return err
	}
	for _, r := range results {
		addTestResult(report, suite, r)
	}
	if tracer != nil {
		if covered == nil {
			covered = maps.Clone(modules)
			maps.DeleteFunc(covered, func(p string, _ *ast.Module) bool { return isTest(p) })
		}
		addCoverage(report, suite, tracer.Report(covered), covered)
	}
	return nil
}

// runTests runs the tests among the modules once: with a tracer of coverage, which may be nil, or with traces of each
// test. The two are not available together.
func (e *Engine) runTests(ctx context.Context, modules map[string]*ast.Module, data map[string]any, o TestOptions, tracer *cover.Cover, traced bool) ([]*tester.Result, error) {
	set, err := inputSchemas()
	if err != nil {
		return nil, err
	}
	runner := tester.NewRunner().
		SetCompiler(newCompiler(capabilities(), set).WithEnablePrintStatements(true)).
		SetStore(newStore(data)).
		SetModules(modules).
		SetTimeout(max(e.timeout, 10*time.Second)).
		SetDefaultRegoVersion(ast.RegoV1).
		RaiseBuiltinErrors(true).
		CapturePrintOutput(true).
		Filter(o.Run)
	if tracer != nil {
		runner = runner.SetCoverageQueryTracer(tracer).SetCoverageRuns(nil).SetParallel(1)
	} else {
		runner = runner.EnableTracing(traced)
	}
	running, err := runner.RunTests(ctx, nil)
	if err != nil {
		var list ast.Errors
		if errors.As(err, &list) {
			return nil, &CompileError{Errors: compileErrors("", list)}
		}
		return nil, fmt.Errorf("policy tests: %w", err)
	}
	var results []*tester.Result
	for r := range running {
		results = append(results, r)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("policy tests: %w", err)
	}
	return results, nil
}

func addTestResult(r *schemas.PolicyTestReport, suite string, t *tester.Result) {
	out := schemas.PolicyTestResult{
		Suite: suite, Name: strings.TrimPrefix(t.Package, "data.") + "." + t.Name, Outcome: "pass",
		Duration: t.Duration, Output: string(t.Output),
	}
	if t.Location != nil {
		out.Position = position(t.Location.File, t.Location)
	}
	switch {
	case t.Error != nil:
		out.Outcome, out.Message = "error", t.Error.Error()
		r.Errors++
	case t.Skip:
		out.Outcome = "skip"
		r.Skipped++
	case t.Fail:
		out.Outcome, out.Message = "fail", "the test is not true"
		for _, ev := range slices.Backward(t.Trace) {
			if ev.Op == topdown.FailOp && ev.Location != nil && t.Location != nil && ev.Location.File == t.Location.File {
				out.Message = fmt.Sprintf("line %d is not true: %s", ev.Location.Row, strings.TrimSpace(string(ev.Location.Text)))
				break
			}
		}
		r.Failed++
	default:
		r.Passed++
	}
	if suite == "own" {
		r.OwnTests++
	}
	r.Results = append(r.Results, out)
}

func addCoverage(r *schemas.PolicyTestReport, suite string, c cover.Report, modules map[string]*ast.Module) {
	covered, missed := 0, 0
	for _, p := range slices.Sorted(maps.Keys(modules)) {
		f := c.Files[p]
		if f == nil {
			continue // it contains nothing to evaluate
		}
		file := schemas.PolicyCoverage{Suite: suite, Path: p, Percent: percent(f.CoveredLines, f.NotCoveredLines)}
		for _, g := range f.NotCovered {
			for line := g.Start.Row; line <= g.End.Row; line++ {
				file.NotCovered = append(file.NotCovered, line)
			}
		}
		covered, missed = covered+f.CoveredLines, missed+f.NotCoveredLines
		r.Files = append(r.Files, file)
	}
	if suite == "own" {
		r.OwnCoverage = percent(covered, missed)
	} else {
		r.LibraryCoverage = percent(covered, missed)
	}
}

// percent rounds down to a tenth, so that only complete coverage is shown as 100.
func percent(covered, missed int) float64 {
	if covered+missed == 0 {
		return 100
	}
	return math.Floor(float64(covered)/float64(covered+missed)*1000) / 10
}
