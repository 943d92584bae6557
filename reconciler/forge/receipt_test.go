package forge_test

import (
	"testing"

	"github.com/countersign/countersign/reconciler/forge"
	"github.com/countersign/countersign/schemas"
)

// TestReceiptState has a row for each state in which a run can leave a pull request.
func TestReceiptState(t *testing.T) {
	t.Parallel()
	doc := schemas.DocumentID{Path: "requests/one.yaml"}
	operation := schemas.Operation{ID: "a", Kind: schemas.OperationGrant, Cause: schemas.CauseRequest, Documents: []schemas.DocumentID{doc}}
	outcome := func(s schemas.OutcomeStatus) []schemas.OutcomeRecord {
		return []schemas.OutcomeRecord{{Operation: "a", Status: s}}
	}
	shown := func(s schemas.VerificationState) []schemas.VerificationRecord {
		return []schemas.VerificationRecord{{Operation: "a", Status: s}}
	}
	for name, c := range map[string]struct {
		outcomes     []schemas.OutcomeRecord
		shown        []schemas.VerificationRecord
		planned      []schemas.Operation
		provisioning schemas.ProvisioningState
		verification schemas.VerificationState
		state        forge.ReceiptState
		text         string
	}{
		"verified":              {outcome(schemas.OutcomeApplied), shown(schemas.VerificationVerified), []schemas.Operation{operation}, schemas.ProvisioningApplied, schemas.VerificationVerified, forge.ReceiptSuccess, "applied and verified by reading back"},
		"failed":                {outcome(schemas.OutcomeFailed), nil, []schemas.Operation{operation}, schemas.ProvisioningFailed, schemas.VerificationPending, forge.ReceiptFailure, "1 step failed; the next run tries them again"},
		"differs":               {outcome(schemas.OutcomeApplied), shown(schemas.VerificationDiffers), []schemas.Operation{operation}, schemas.ProvisioningApplied, schemas.VerificationDiffers, forge.ReceiptFailure, "1 step failed; the next run tries them again"},
		"not tried":             {nil, nil, []schemas.Operation{operation}, schemas.ProvisioningPending, schemas.VerificationPending, forge.ReceiptInProgress, "1 step waiting"},
		"failed in another run": {nil, nil, nil, schemas.ProvisioningFailed, schemas.VerificationNone, forge.ReceiptFailure, "1 step failed; the next run tries them again"},
		"blocked":               {nil, nil, nil, schemas.ProvisioningBlocked, schemas.VerificationNone, forge.ReceiptFailure, "1 step failed; the next run tries them again"},
		"differed before":       {nil, nil, nil, schemas.ProvisioningApplied, schemas.VerificationDiffers, forge.ReceiptFailure, "1 step failed; the next run tries them again"},
		"no effect":             {nil, nil, nil, schemas.ProvisioningFailed, schemas.VerificationNoEffect, forge.ReceiptFailure, "1 step failed; the next run tries them again"},
		"superseded":            {nil, nil, nil, schemas.ProvisioningSuperseded, schemas.VerificationSuperseded, forge.ReceiptSuccess, "in effect; nothing was left to do"},
		"already in place":      {nil, nil, nil, schemas.ProvisioningApplied, schemas.VerificationVerified, forge.ReceiptSuccess, "in effect; nothing was left to do"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			evidence := &schemas.Evidence{PullRequest: 7}
			run := &schemas.RunReport{
				Admissions:   []schemas.AdmissionRecord{{Commit: "c", Verdict: schemas.AdmissionAdmitted, Evidence: evidence, Changes: []schemas.FileChange{{Path: doc.Path}}}},
				Applications: []schemas.ApplicationOutcome{{Application: "shop", Plan: schemas.ApplicationPlan{Application: "shop", Operations: c.planned}, Outcomes: c.outcomes, Verifications: c.shown}},
			}
			status := &schemas.StatusReport{Requests: []schemas.RequestStatus{{Document: doc, Application: "shop", Approval: schemas.ApprovalAdmitted,
				Provisioning: c.provisioning, Verification: c.verification, Commit: "c", PullRequest: 7}}}
			receipts := forge.Receipts(run, status)
			if len(receipts) != 1 {
				t.Fatalf("%d receipts, want 1", len(receipts))
			}
			if r := receipts[0]; r.Number != 7 || r.State != c.state || r.Text != c.text {
				t.Errorf("receipt %d: %s, %q; want %s, %q", r.Number, r.State, r.Text, c.state, c.text)
			}
		})
	}
}
