package run_test

import (
	"math/rand/v2"
	"testing"

	"github.com/countersign/countersign/reconciler/run"
	"github.com/countersign/countersign/schemas"
)

// applied is a pass over one application with a grant that was carried out and verified.
func applied() schemas.ApplicationOutcome {
	return schemas.ApplicationOutcome{Application: "shop", Run: "1",
		Plan:          schemas.ApplicationPlan{Application: "shop", Operations: []schemas.Operation{{ID: "a", Kind: schemas.OperationGrant, Cause: schemas.CauseRequest}}},
		Outcomes:      []schemas.OutcomeRecord{{Operation: "a", Status: schemas.OutcomeApplied}},
		Verifications: []schemas.VerificationRecord{{Operation: "a", Status: schemas.VerificationVerified}}}
}

// with is applied, changed.
func with(change func(*schemas.ApplicationOutcome)) schemas.ApplicationOutcome {
	a := applied()
	change(&a)
	return a
}

func finding(s schemas.Severity) func(*schemas.ApplicationOutcome) {
	return func(a *schemas.ApplicationOutcome) { a.Plan.Findings = []schemas.Finding{{Code: "x", Severity: s}} }
}

func outcome(s schemas.OutcomeStatus) func(*schemas.ApplicationOutcome) {
	return func(a *schemas.ApplicationOutcome) { a.Outcomes[0].Status, a.Verifications = s, nil }
}

func shown(s schemas.VerificationState) func(*schemas.ApplicationOutcome) {
	return func(a *schemas.ApplicationOutcome) { a.Verifications[0].Status = s }
}

func held(h schemas.Hold) func(*schemas.ApplicationOutcome) {
	return func(a *schemas.ApplicationOutcome) {
		a.Plan.Operations[0].Hold, a.Outcomes, a.Verifications, a.Remaining = h, nil, nil, 1
	}
}

// TestCodeOf has a row for each thing that a run may leave undone: apply must not end with 0.
func TestCodeOf(t *testing.T) {
	t.Parallel()
	nothing := func(a *schemas.ApplicationOutcome) { a.Plan.Operations, a.Outcomes, a.Verifications = nil, nil, nil }
	for name, c := range map[string]struct {
		change       func(*schemas.ApplicationOutcome)
		apply, drift run.Code
	}{
		"applied and verified":    {func(*schemas.ApplicationOutcome) {}, run.CodeDone, run.CodeDifference},
		"nothing to do":           {nothing, run.CodeDone, run.CodeDone},
		"a warning":               {finding(schemas.SeverityWarning), run.CodeDone, run.CodeDifference},
		"an error finding":        {finding(schemas.SeverityError), run.CodePart, run.CodePart},
		"attested":                {shown(schemas.VerificationAttested), run.CodeDone, run.CodeDifference},
		"already in place":        {shown(schemas.VerificationInPlace), run.CodeDone, run.CodeDifference},
		"differs":                 {shown(schemas.VerificationDiffers), run.CodePart, run.CodePart},
		"no effect":               {shown(schemas.VerificationNoEffect), run.CodePart, run.CodePart},
		"unverifiable":            {shown(schemas.VerificationUnverifiable), run.CodePart, run.CodePart},
		"an unknown read-back":    {shown("later"), run.CodePart, run.CodePart},
		"waits for an invitation": {shown(schemas.VerificationPending), run.CodePart, run.CodeDifference},
		"waits for an earlier invitation": {func(a *schemas.ApplicationOutcome) {
			nothing(a)
			a.Plan.Pending = make([]schemas.PendingEntitlement, 1)
		}, run.CodePart, run.CodeDifference},
		"waits for a ticket":                  {held(schemas.HoldPending), run.CodePart, run.CodeDifference},
		"asked by webhook":                    {outcome(schemas.OutcomePending), run.CodePart, run.CodeDifference},
		"failed":                              {outcome(schemas.OutcomeFailed), run.CodePart, run.CodePart},
		"blocked":                             {outcome(schemas.OutcomeBlocked), run.CodePart, run.CodePart},
		"cancelled":                           {outcome(schemas.OutcomeCancelled), run.CodePart, run.CodePart},
		"failed by the answer, and in effect": {func(a *schemas.ApplicationOutcome) { a.Outcomes[0].Status = schemas.OutcomeFailed }, run.CodeDone, run.CodeDifference},
		"failed once, then applied": {func(a *schemas.ApplicationOutcome) {
			a.Outcomes = append([]schemas.OutcomeRecord{{Operation: "a", Status: schemas.OutcomeFailed}}, a.Outcomes...)
		}, run.CodeDone, run.CodeDifference},
		"not tried":              {func(a *schemas.ApplicationOutcome) { a.Outcomes, a.Verifications = nil, nil }, run.CodePart, run.CodeDifference},
		"not read back":          {func(a *schemas.ApplicationOutcome) { a.Verifications = nil }, run.CodePart, run.CodeDifference},
		"remains":                {func(a *schemas.ApplicationOutcome) { a.Remaining = 1 }, run.CodePart, run.CodeDifference},
		"overdue":                {func(a *schemas.ApplicationOutcome) { nothing(a); a.Plan.Overdue = make([]schemas.Key, 1) }, run.CodePart, run.CodeDifference},
		"unmanaged, as reported": {func(a *schemas.ApplicationOutcome) { nothing(a); a.Plan.Unmanaged = make([]schemas.Key, 1) }, run.CodeDone, run.CodeDone},
		"held in observe":        {held(schemas.HoldObserve), run.CodePart, run.CodeDifference},
		"held as drift":          {held(schemas.HoldDrift), run.CodePart, run.CodeDifference},
		"held for identity":      {held(schemas.HoldIdentity), run.CodePart, run.CodeDifference},
		"stopped halfway":        {func(a *schemas.ApplicationOutcome) { a.Error = "the disk is full" }, run.CodePart, run.CodePart},
		"not reached":            {func(a *schemas.ApplicationOutcome) { nothing(a); a.Error = "no route" }, run.CodeError, run.CodeError},
		"not read":               {func(a *schemas.ApplicationOutcome) { nothing(a); a.Plan.Incomplete = "page 2" }, run.CodeError, run.CodeError},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			one := []schemas.ApplicationOutcome{with(c.change)}
			if got := run.CodeOf(&schemas.RunReport{Kind: "Apply", Applications: one}, false); got != c.apply {
				t.Errorf("apply: %d, want %d", got, c.apply)
			}
			if got := run.CodeOf(&schemas.RunReport{Kind: "Drift", Enforce: true, Applications: one}, false); got != c.apply {
				t.Errorf("drift --enforce: %d, want %d", got, c.apply)
			}
			if got := run.CodeOf(&schemas.RunReport{Kind: "Drift", Applications: one}, true); got != c.drift {
				t.Errorf("drift --exit-code: %d, want %d", got, c.drift)
			}
			want := c.drift
			if want == run.CodeDifference {
				want = run.CodeDone
			}
			if got := run.CodeOf(&schemas.RunReport{Kind: "Apply", DryRun: true, Applications: one}, false); got != want {
				t.Errorf("apply --dry-run: %d, want %d", got, want)
			}
		})
	}
}

// TestCodeOrder checks which code wins: 1, 3, 4, 5, 2.
func TestCodeOrder(t *testing.T) {
	t.Parallel()
	unsigned := schemas.AdmissionRecord{Verdict: schemas.AdmissionQuarantined}
	denied := unsigned
	denied.Decision = &schemas.Decision{Denials: []schemas.RuleResult{{}}}
	broken := schemas.ApplicationOutcome{Application: "hr", Error: "no route"}
	part := with(outcome(schemas.OutcomeFailed))
	for name, c := range map[string]struct {
		admissions []schemas.AdmissionRecord
		apps       []schemas.ApplicationOutcome
		want       run.Code
	}{
		"nothing read":             {[]schemas.AdmissionRecord{denied}, []schemas.ApplicationOutcome{broken}, run.CodeError},
		"one of two not read":      {nil, []schemas.ApplicationOutcome{broken, applied()}, run.CodePart},
		"denied, unsigned, failed": {[]schemas.AdmissionRecord{unsigned, denied}, []schemas.ApplicationOutcome{part}, run.CodeDenied},
		"unsigned and failed":      {[]schemas.AdmissionRecord{unsigned}, []schemas.ApplicationOutcome{part}, run.CodeSignoff},
		"admitted":                 {[]schemas.AdmissionRecord{{Verdict: schemas.AdmissionAdmitted}}, []schemas.ApplicationOutcome{applied()}, run.CodeDone},
		"no application":           {nil, nil, run.CodeDone},
	} {
		if got := run.CodeOf(&schemas.RunReport{Kind: "Apply", Admissions: c.admissions, Applications: c.apps}, false); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

// TestCodeProperty generates reports: exit code 0 only where every operation of every application is in effect and
// nothing is held, waits, remains or is an error; and adding a fault never makes a code 0.
func TestCodeProperty(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(11, 12))
	pick := func(n int) bool { return rng.IntN(n) == 0 }
	outcomes := []schemas.OutcomeStatus{schemas.OutcomeApplied, schemas.OutcomeFailed, schemas.OutcomeBlocked, schemas.OutcomeCancelled, schemas.OutcomePending, schemas.OutcomeWithdrawn}
	states := []schemas.VerificationState{schemas.VerificationVerified, schemas.VerificationInPlace, schemas.VerificationAttested, schemas.VerificationPending,
		schemas.VerificationNoEffect, schemas.VerificationDiffers, schemas.VerificationUnverifiable, schemas.VerificationPartial, schemas.VerificationDrifted, schemas.VerificationOverdue}
	holds := []schemas.Hold{schemas.HoldObserve, schemas.HoldAdd, schemas.HoldFirstRun, schemas.HoldDrift, schemas.HoldBudget, schemas.HoldUnknown,
		schemas.HoldProtected, schemas.HoldIdentity, schemas.HoldProvision, schemas.HoldPending, schemas.HoldDeclined}
	zero := 0
	for range 200_000 {
		rep := &schemas.RunReport{Kind: "Apply"}
		good := true // everything approved is in effect, by the generator's own account
		for range rng.IntN(3) {
			a := schemas.ApplicationOutcome{Application: "x"}
			for i := range rng.IntN(4) {
				o := schemas.Operation{ID: string(rune('a' + i)), Kind: schemas.OperationGrant}
				if pick(12) {
					o.Hold = holds[rng.IntN(len(holds))]
				}
				effect := false
				if o.Hold == schemas.HoldNone && !pick(12) {
					s := schemas.OutcomeApplied
					if pick(12) {
						s = outcomes[rng.IntN(len(outcomes))]
					}
					a.Outcomes = append(a.Outcomes, schemas.OutcomeRecord{Operation: o.ID, Status: s})
					if !pick(12) {
						v := schemas.VerificationVerified
						if pick(12) {
							v = states[rng.IntN(len(states))]
						}
						a.Verifications = append(a.Verifications, schemas.VerificationRecord{Operation: o.ID, Status: v})
						effect = v == schemas.VerificationVerified || v == schemas.VerificationInPlace || v == schemas.VerificationAttested
					}
				}
				good = good && effect
				a.Plan.Operations = append(a.Plan.Operations, o)
			}
			if pick(20) {
				a.Remaining, good = 1, false
			}
			if pick(20) {
				a.Plan.Pending, good = make([]schemas.PendingEntitlement, 1), false
			}
			if pick(20) {
				a.Plan.Overdue, good = make([]schemas.Key, 1), false
			}
			if pick(20) {
				s := []schemas.Severity{schemas.SeverityError, schemas.SeverityWarning, schemas.SeverityInfo}[rng.IntN(3)]
				a.Plan.Findings = []schemas.Finding{{Severity: s}}
				good = good && s != schemas.SeverityError
			}
			if pick(20) {
				a.Error, good = "fault", false
			}
			if pick(20) {
				a.Plan.Incomplete, good = "unread", false
			}
			rep.Applications = append(rep.Applications, a)
		}
		got := run.CodeOf(rep, false)
		if (got == run.CodeDone) != good {
			t.Fatalf("exit code %d, and everything is in effect: %v\n%+v", got, good, rep.Applications)
		}
		if got == run.CodeDone {
			zero++
		}
		drift := *rep
		drift.Kind = "Drift"
		if code := run.CodeOf(&drift, true); code == run.CodeDone && got != run.CodeDone {
			t.Fatalf("drift --exit-code: 0, and apply: %d\n%+v", got, rep.Applications)
		}
	}
	if zero < 10_000 {
		t.Errorf("only %d of the reports were good", zero)
	}
}
