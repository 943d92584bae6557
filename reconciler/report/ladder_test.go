package report

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/countersign/countersign/reconciler/report/layout"
	"github.com/countersign/countersign/schemas"
)

// large is a preview of n operations in each of some applications, with texts out of a unit.
func large(apps, n, denials int, unit string) *schemas.Preview {
	p := &schemas.Preview{Verdict: schemas.VerdictDenied, Live: true, Head: unit, Base: unit,
		Decision: &schemas.Decision{Rules: 7}, Evidence: &schemas.Evidence{Authors: []string{unit}},
		Unmet: []schemas.Requirement{{Code: "CS-102", From: []string{"team:acme/data"}, Count: 1, Why: unit}}}
	for i := range denials {
		p.Decision.Denials = append(p.Decision.Denials, schemas.RuleResult{Code: fmt.Sprintf("CS-%d", 100+i%7), Msg: unit, Path: unit, Line: i + 1, Fix: unit})
	}
	for a := range apps {
		plan := schemas.ApplicationPlan{Application: fmt.Sprintf("app%d", a), Connector: unit}
		for i := range n {
			target := schemas.Name{Type: "table", SourceName: unit}
			plan.Operations = append(plan.Operations, schemas.Operation{ID: fmt.Sprint(a, i), Kind: schemas.OperationGrant, Connection: schemas.Name{Type: "role", SourceName: fmt.Sprint(unit, i)},
				Target: &target, Privilege: "SELECT", Cause: schemas.CauseRequest, Gained: []schemas.Access{{Identity: schemas.Name{Type: "user", SourceName: unit}, Target: target, Privilege: "SELECT"}}})
		}
		p.Plan.Applications = append(p.Plan.Applications, plan)
		p.Drift = append(p.Drift, plan)
	}
	return p
}

func render(t *testing.T, v any, b bounds) string {
	t.Helper()
	d, words, _, err := build(v, Options{}, b)
	if err != nil {
		t.Fatal(err)
	}
	return layout.Markdown(d, layout.Options{Clip: b.clip, Hide: words.Hide})
}

// Each rung is used exactly from its own size on.
func TestLadderAtTheLimit(t *testing.T) {
	t.Parallel()
	p := large(2, 55, 12, strings.Repeat("🦀", 135))
	for i, b := range rungs[:len(rungs)-1] {
		full, next := render(t, p, b), render(t, p, rungs[i+1])
		if len(next) >= len(full) {
			t.Errorf("rung %d has %d bytes, rung %d before it %d", i+1, len(next), i, len(full))
			continue
		}
		for _, c := range []struct {
			limit int
			want  string
		}{{len(full) - 1, next}, {len(full), full}, {len(full) + 1, full}} {
			got, _, err := ladder(p, Options{}, c.limit)
			if err != nil {
				t.Fatal(err)
			}
			if got != c.want {
				t.Errorf("rung %d, limit %d of %d: got %d bytes, want %d", i, c.limit, len(full), len(got), len(c.want))
			}
			if len(got) > c.limit || !utf8.ValidString(got) {
				t.Errorf("rung %d: %d bytes for %d, valid %v", i, len(got), c.limit, utf8.ValidString(got))
			}
		}
	}
}

// The order in which things go: operations, drift, rows for connections, rows beyond fifty.
func TestLadderOrder(t *testing.T) {
	t.Parallel()
	p := large(1, 70, 3, "plain")
	for i, want := range []struct{ exact, drift, rows, grouped bool }{
		{true, true, true, false}, {false, true, true, false}, {false, false, true, false}, {false, false, true, true}, {false, false, false, true},
	} {
		got := render(t, p, rungs[i])
		if strings.Contains(got, "Exact operations") != want.exact || strings.Contains(got, "<summary>Not part of this change") != want.drift {
			t.Errorf("rung %d: exact %v, drift %v", i, !want.exact, !want.drift)
		}
		if strings.Contains(got, "| Identities |") != want.grouped || strings.Contains(got, "and 20 more connections") == want.rows {
			t.Errorf("rung %d: grouped and rows are not %v, %v:\n%s", i, want.grouped, want.rows, got)
		}
	}
}

// However hostile a report is in size, its headline, its sign-offs and its denials are kept.
func TestNothingIsTooLarge(t *testing.T) {
	t.Parallel()
	for name, unit := range map[string]string{
		"runes": strings.Repeat("🦀", 400), "controls": strings.Repeat("\x00\u202e", 400), "backticks": strings.Repeat("` ", 800),
		"pipes": strings.Repeat("|", 1600), "words": strings.Repeat("# a ", 400), "bytes": strings.Repeat("\xff", 1600), "comments": strings.Repeat("<!--", 400),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := large(30, 40, 400, unit)
			for i := range 40 {
				p.Errors = append(p.Errors, schemas.Finding{Severity: "error", Code: unit, Message: strings.Repeat(unit+"\n", 9), Fix: unit, Position: schemas.Position{Path: unit}})
				p.Unmet = append(p.Unmet, schemas.Requirement{Code: unit, Why: unit, From: []string{unit, unit, unit, unit, unit}})
				p.Evidence.Approvals = append(p.Evidence.Approvals, schemas.Approval{Person: unit, Why: unit}, schemas.Approval{Person: unit, Capacities: []string{unit, unit, unit, unit}, Method: unit, Counts: true})
				p.Quarantined = append(p.Quarantined, schemas.QuarantinedFile{Path: unit, Commit: unit, Reasons: []string{unit, unit, unit, unit, unit, unit}})
				p.Already = append(p.Already, schemas.Key{Connection: schemas.Name{Type: unit, SourceName: unit}, Target: schemas.Name{Type: unit, SourceName: unit}, Privilege: unit})
				p.Plan.Applications[i%30].Incomplete = unit
				p.Plan.Applications[i%30].Application = unit + fmt.Sprint(i)
			}
			for i := range p.Plan.Applications {
				for j := range p.Plan.Applications[i].Operations {
					o := &p.Plan.Applications[i].Operations[j]
					o.Hold, o.HoldReason, o.Application = schemas.HoldBudget, unit+fmt.Sprint(j), unit
				}
			}
			run := &schemas.RunReport{Kind: "Apply"}
			status := &schemas.StatusReport{Quarantined: p.Quarantined}
			access := &schemas.AccessReport{Incomplete: map[string]string{}}
			for i := range p.Plan.Applications {
				a := schemas.ApplicationOutcome{Application: unit, Plan: p.Plan.Applications[i], Error: strings.Repeat(unit+"\n", 9)}
				a.Plan.Findings = p.Errors
				for range 1 + rungs[0].list/len(p.Already) { // more than any rung lists
					a.Plan.Unmanaged = append(a.Plan.Unmanaged, p.Already...)
				}
				for range 60 {
					a.Plan.Pending = append(a.Plan.Pending, schemas.PendingEntitlement{Key: p.Already[0], State: schemas.EntitlementState(unit)})
				}
				run.Applications = append(run.Applications, a)
				run.Admissions = append(run.Admissions, schemas.AdmissionRecord{Commit: unit, Verdict: "quarantined", Reasons: []string{unit, unit}, Evidence: p.Evidence, Decision: p.Decision})
				access.Incomplete[fmt.Sprint(unit, i)] = unit
			}
			run.Quarantined = p.Quarantined
			for i := range 500 {
				status.Requests = append(status.Requests, schemas.RequestStatus{Document: schemas.DocumentID{Path: unit}, Detail: unit, Approval: schemas.ApprovalState(unit)})
				k := p.Already[0]
				access.Entries = append(access.Entries, schemas.AccessEntry{Access: schemas.Access{Identity: schemas.Name{Type: unit, SourceName: fmt.Sprint(i)}},
					Steps: []schemas.AccessStep{{Key: k, Origin: "request", Documents: []schemas.DocumentID{{Path: unit}}}, {Key: k}}})
			}
			for _, v := range []any{p, run, status, access, p.Decision, p.Errors, &p.Plan, &schemas.ValidateReport{Errors: p.Errors}} {
				var b bytes.Buffer
				if err := Markdown(&b, v, Options{}); err != nil {
					t.Fatalf("%T: %v", v, err)
				}
				got := b.String()
				if len(got) > budget || !utf8.ValidString(got) {
					t.Errorf("%T: %d bytes, valid %v", v, len(got), utf8.ValidString(got))
				}
				if v != p {
					continue
				}
				for _, want := range []string{"Denied by policy for 400 reasons", "missing:", "`team:acme/data`"} {
					if !strings.Contains(got, want) {
						t.Errorf("no %s in\n%.3000s", want, got)
					}
				}
				for i := range 3 {
					if !strings.Contains(got, fmt.Sprintf("`CS-%d`", 100+i)) {
						t.Errorf("denial CS-%d is lost", 100+i)
					}
				}
			}
		})
	}
}
