package server

import (
	"testing"

	"github.com/countersign/countersign/schemas"
)

// TestUnfinished has the passes that are tried again, and those that aren't.
func TestUnfinished(t *testing.T) {
	t.Parallel()
	outcomes := func(list ...schemas.OutcomeStatus) (out []schemas.OutcomeRecord) {
		for _, s := range list {
			out = append(out, schemas.OutcomeRecord{Operation: "a", Status: s})
		}
		return out
	}
	shown := func(s schemas.VerificationState) []schemas.VerificationRecord {
		return []schemas.VerificationRecord{{Operation: "a", Status: s}}
	}
	for name, c := range map[string]struct {
		outcome schemas.ApplicationOutcome
		want    bool
	}{
		"nothing":               {schemas.ApplicationOutcome{}, false},
		"not reached":           {schemas.ApplicationOutcome{Error: "no route"}, true},
		"not read":              {schemas.ApplicationOutcome{Plan: schemas.ApplicationPlan{Incomplete: "page 2"}}, true},
		"applied":               {schemas.ApplicationOutcome{Outcomes: outcomes(schemas.OutcomeApplied), Verifications: shown(schemas.VerificationVerified)}, false},
		"failed":                {schemas.ApplicationOutcome{Outcomes: outcomes(schemas.OutcomeFailed)}, true},
		"failed, then applied":  {schemas.ApplicationOutcome{Outcomes: outcomes(schemas.OutcomeFailed, schemas.OutcomeApplied)}, false},
		"failed, and in effect": {schemas.ApplicationOutcome{Outcomes: outcomes(schemas.OutcomeFailed), Verifications: shown(schemas.VerificationVerified)}, false},
		"pending":               {schemas.ApplicationOutcome{Outcomes: outcomes(schemas.OutcomePending), Verifications: shown(schemas.VerificationPending)}, false},
		"differs":               {schemas.ApplicationOutcome{Outcomes: outcomes(schemas.OutcomeApplied), Verifications: shown(schemas.VerificationDiffers)}, true},
		"unverifiable":          {schemas.ApplicationOutcome{Outcomes: outcomes(schemas.OutcomeApplied), Verifications: shown(schemas.VerificationUnverifiable)}, true},
	} {
		if got := unfinished(&schemas.RunReport{Applications: []schemas.ApplicationOutcome{c.outcome}}); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
