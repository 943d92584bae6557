package jsonschema

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/schemas"
)

func TestSchemaNames(t *testing.T) {
	t.Parallel()
	want := []string{
		"Acknowledgement", "Admission", "Application", "BudgetOverride", "ConnectionAssignment", "ConnectionCreation",
		"ConnectionDeletion", "People", "Settings", "access", "audit-entitlements", "audit-manifest", "audit-row", "audit-verify",
		"conformance", "connector", "connector-answer", "connector-request", "connectors", "decision", "doctor", "document", "fulfil",
		"fulfilment-answer", "fulfilment-request", "plan", "policy-input", "policy-rules", "policy-test", "preview", "record",
		"run", "status", "validate", "version",
	}
	if diff := cmp.Diff(want, Names()); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	for _, name := range append(Names(), "connection-assignment", "PolicyInput", "APPLICATION") {
		raw, err := Get(name)
		if err != nil {
			t.Error(err)
			continue
		}
		var s struct {
			ID     string `json:"$id"`
			Schema string `json:"$schema"`
		}
		if err := json.Unmarshal(raw, &s); err != nil {
			t.Error(err)
		}
		if !strings.HasPrefix(s.ID, baseURL) || s.Schema != "https://json-schema.org/draft/2020-12/schema" {
			t.Errorf("%s is %+v", name, s)
		}
	}
	_, err := Get("aplication")
	if err == nil || !strings.Contains(err.Error(), "did you mean Application?") || !strings.Contains(err.Error(), "policy-input") {
		t.Errorf("unknown name: %v", err)
	}
}

// TestOutputsAreValid holds outputs as they are written to their schemas.
func TestOutputsAreValid(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	for name, v := range map[string]any{
		"plan": schemas.Plan{APIVersion: schemas.APIVersion, Applications: []schemas.ApplicationPlan{{
			Application: "w", Operations: []schemas.Operation{{ID: "x", Kind: schemas.OperationGrant, Target: &schemas.Name{Type: "table", SourceName: "t"}, Expires: &now}}, ReadAt: now,
		}}},
		"decision": schemas.Decision{APIVersion: schemas.APIVersion, Denials: []schemas.RuleResult{}, Warnings: []schemas.RuleResult{}, Required: []schemas.Requirement{{From: []string{"user:a"}}}},
		"policy-input": schemas.PolicyInput{APIVersion: schemas.APIVersion, Change: []schemas.ChangedDocument{{Request: &schemas.Request{Kind: schemas.KindConnectionCreation, Payload: map[string]any{"a": nil}}}}, ControlFiles: []string{}, Plan: []schemas.PolicyOperation{},
			Applications: map[string]*schemas.PolicyApplication{}, Holdings: map[string][]string{}, Identities: map[string]string{}, Signoffs: []schemas.PolicySignoff{}, Now: now,
			PullRequest: schemas.PolicyPullRequest{Contributors: []string{}, Beneficiaries: []string{}}, Settings: schemas.PolicySettings{Owners: []string{}}},
		"preview":  schemas.Preview{APIVersion: schemas.APIVersion, Kind: "Preview", Files: []schemas.FileChange{{Path: "a"}}, Errors: []schemas.Finding{}, Plan: schemas.Plan{APIVersion: schemas.APIVersion, Applications: []schemas.ApplicationPlan{}}, Gained: []schemas.Access{}, Lost: []schemas.Access{}, Unmet: []schemas.Requirement{}},
		"run":      schemas.RunReport{APIVersion: schemas.APIVersion, Kind: "Drift", Admissions: []schemas.AdmissionRecord{}, Quarantined: []schemas.QuarantinedFile{}, Applications: []schemas.ApplicationOutcome{}, Next: &now},
		"status":   schemas.StatusReport{APIVersion: schemas.APIVersion, Kind: "Status", Ledger: schemas.LedgerTrust{Witnesses: []schemas.LedgerWitness{{}}}, Requests: []schemas.RequestStatus{{}}, Quarantined: []schemas.QuarantinedFile{}},
		"access":   schemas.AccessReport{APIVersion: schemas.APIVersion, Kind: "Access", Entries: []schemas.AccessEntry{{Access: schemas.Access{Via: []schemas.Name{}}, Steps: []schemas.AccessStep{{}}}}},
		"doctor":   schemas.DoctorReport{APIVersion: schemas.APIVersion, Kind: "Doctor", Checks: []schemas.Check{{State: schemas.CheckOpen, Name: "a", Detail: "b", Fix: "c"}}},
		"validate": schemas.ValidateReport{APIVersion: schemas.APIVersion, Kind: "Validate", Errors: []schemas.Finding{{Code: "a"}}},
		"record":   schemas.Record{APIVersion: schemas.APIVersion, Time: now, Verification: &schemas.VerificationRecord{Before: 1}, Finding: &schemas.Finding{}},
	} {
		raw, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := Value(raw)
		if err != nil {
			t.Fatal(err)
		}
		published, err := Published(name)
		if err != nil {
			t.Fatal(err)
		}
		if faults := published[name].Findings(doc); len(faults) > 0 {
			t.Errorf("%s: %v", name, faults)
		}
	}
}
