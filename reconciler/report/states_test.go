package report_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/schemas"
)

var now = time.Date(2026, 11, 23, 12, 3, 11, 0, time.UTC)

func named(typ, name string) schemas.Name { return schemas.Name{Type: typ, SourceName: name} }

func ptr[T any](v T) *T { return &v }

func gains(target schemas.Name, privilege string, who ...string) []schemas.Access {
	var out []schemas.Access
	for _, w := range who {
		out = append(out, schemas.Access{Application: "warehouse", Identity: named("user", w), Target: target, Privilege: privilege})
	}
	return out
}

var (
	reader = named("role", "sales_reader")
	orders = named("table", "sales.orders")
	pay    = named("table", "sales.payroll")
	file   = []schemas.DocumentID{{Path: "requests/2026/11/23/sales-reader.yaml", Blob: "aa11"}}
)

func operation(id string, kind schemas.OperationKind, target schemas.Name, privilege string) schemas.Operation {
	o := schemas.Operation{ID: id, Kind: kind, Application: "warehouse", Connection: reader, Privilege: privilege, Cause: schemas.CauseRequest, Documents: file}
	if target != (schemas.Name{}) {
		o.Target = &target
	}
	return o
}

func operations() []schemas.Operation {
	create := operation("o1", schemas.OperationCreate, schemas.Name{}, "")
	create.After = map[string]any{"login": false, "comment": "Readers of sales"}
	grant := operation("o2", schemas.OperationGrant, orders, "SELECT")
	grant.Gained = gains(orders, "SELECT", "alice", "bob", "carol", "dan")
	member := operation("o3", schemas.OperationGrant, named("user", "alice"), schemas.PrivilegeMember)
	member.Expires = ptr(time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC))
	member.Gained = gains(reader, schemas.PrivilegeMember, "alice")
	revoke := operation("o4", schemas.OperationRevoke, pay, "SELECT")
	revoke.Lost = gains(pay, "SELECT", "alice", "bob", "carol")
	powerful := operation("o5", schemas.OperationGrant, named("role", "billing_admin"), schemas.PrivilegeMember)
	powerful.Privileged = true
	powerful.Expires = ptr(time.Date(2026, 12, 31, 17, 30, 0, 0, time.UTC))
	powerful.Gained = append(gains(named("table", "billing.invoices"), "UPDATE", "alice", "bob"), gains(named("table", "billing.invoices"), "DELETE", "alice", "bob")...)
	return []schemas.Operation{create, grant, member, revoke, powerful}
}

func warehouse(ops ...schemas.Operation) schemas.ApplicationPlan {
	return schemas.ApplicationPlan{Application: "warehouse", Connector: "postgres", Mode: schemas.ModeFull, Operations: ops, ReadAt: now}
}

func preview(verdict schemas.PreviewVerdict, apps ...schemas.ApplicationPlan) *schemas.Preview {
	p := &schemas.Preview{APIVersion: schemas.APIVersion, Kind: "Preview", Base: "def5678def5678def5678", Head: "abc1234abc1234abc1234", Verdict: verdict,
		Files:         []schemas.FileChange{{Path: file[0].Path, After: "aa11"}},
		ContentDigest: "sha256:99887766554433", Live: true, At: now,
		Plan:     schemas.Plan{APIVersion: schemas.APIVersion, Applications: apps, Digest: "7c1f09ab55667788"},
		Decision: &schemas.Decision{APIVersion: schemas.APIVersion, Rules: 11, Bundle: "sha256:beefbeefbeef", Engine: "opa 1.22.4", Required: []schemas.Requirement{ownerSigns}},
		Evidence: &schemas.Evidence{Forge: "github", PullRequest: 57, Authors: []string{"erin"}, Approvals: []schemas.Approval{dana}},
	}
	for _, a := range apps {
		for _, o := range a.Operations {
			p.Gained, p.Lost = append(p.Gained, o.Gained...), append(p.Lost, o.Lost...)
		}
	}
	return p
}

var (
	ownerSigns = schemas.Requirement{Code: "CS-102", From: []string{"team:acme/data", "user:bob@acme.test"}, Count: 1, Why: "an owner of warehouse signs off what changes it or its access"}
	twoOwners  = schemas.Requirement{Code: "CS-110", From: []string{"team:acme/data", "user:bob@acme.test"}, Count: 2, Why: "two owners of warehouse sign off what is privileged"}
	dana       = schemas.Approval{Person: "dana", Capacities: []string{"user:dana", "team:acme/data"}, Method: "review", Authenticated: true, Counts: true, At: ptr(now.Add(-time.Hour))}
	denial     = schemas.RuleResult{Code: "CS-110", Msg: "the grant of MEMBER billing_admin to sales_reader is privileged and has no end", Path: file[0].Path, Line: 14, Field: "spec.grants[2].expires", Fix: "give the entry an expires at most 90 days ahead"}
	warned     = schemas.RuleResult{Code: "CS-170", Msg: "the change affects 42 identities", Path: file[0].Path, Line: 3, Fix: "split it"}
)

func signoffMissing() *schemas.Preview {
	p := preview(schemas.VerdictSignoff, warehouse(operations()...))
	p.Decision.Warnings = []schemas.RuleResult{warned}
	p.Decision.Required = []schemas.Requirement{ownerSigns, twoOwners}
	p.Unmet = []schemas.Requirement{twoOwners}
	p.Evidence.Approvals = append(p.Evidence.Approvals,
		schemas.Approval{Person: "erin", Method: "review", Authenticated: true, Why: "is an author, committer or co-author of this change"},
		schemas.Approval{Person: "alice", Method: "review", Authenticated: true, Why: "gains access by this change"})
	drift := operation("d1", schemas.OperationRevoke, named("user", "mallory"), schemas.PrivilegeMember)
	drift.Cause, drift.Documents = schemas.CauseDrift, nil
	p.Drift = []schemas.ApplicationPlan{warehouse(drift)}
	p.Drift[0].ReadAt = time.Time{}
	p.Already = []schemas.Key{{Connection: reader, Target: named("schema", "sales"), Privilege: "USAGE"}}
	p.Quarantined = []schemas.QuarantinedFile{{Path: "requests/2026/evil.yaml", Blob: "ee", Commit: "bad0bad0bad0bad0", Reasons: []string{"CS-102: 0 of 1 sign-offs from team:acme/data (an owner of warehouse signs off what changes it or its access)"}}}
	return p
}

// heldEachWay has one operation for every hold there is.
func heldEachWay() *schemas.Preview {
	reasons := []struct {
		hold      schemas.Hold
		reason    string
		explained bool
	}{
		{schemas.HoldObserve, "the application is in mode observe", false},
		{schemas.HoldAdd, "the application is in mode add, which takes nothing away", false},
		{schemas.HoldFirstRun, "a first run takes nothing away: the next one does, once an owner has admitted an Acknowledgement with first_run: warehouse", true},
		{schemas.HoldDrift, "nobody requested this; countersign drift --enforce fixes it", true},
		{schemas.HoldBudget, "60 revokes in this run, and the limit is 50: an owner raises spec.limits, or admits a BudgetOverride", true},
		{schemas.HoldUnknown, "could not read all of the live state: a page is missing", false},
		{schemas.HoldProtected, "the role is the server's own", false},
		{schemas.HoldIdentity, "the name had id 17 when it was verified and has 42 now: approve it again in a new request", true},
		{schemas.HoldPending, "webhook it.acme.test since 2026-11-23T09:00:00Z", false},
		{schemas.HoldDeclined, "bob, ticket acme/access#12, closed it as not planned at 2026-11-23T09:00:00Z: reopen the issue, or undo the request", true},
		{schemas.HoldProvision, "provisioning ticket, and tickets are issues at GitHub, and the forge is local: use webhook or direct", true},
	}
	var ops []schemas.Operation
	for i, r := range reasons {
		o := operation(fmt.Sprintf("h%d", i), schemas.OperationRevoke, named("user", fmt.Sprintf("user%d", i)), schemas.PrivilegeMember)
		o.Hold, o.HoldReason, o.HoldExplained = r.hold, r.reason, r.explained
		ops = append(ops, o)
	}
	dependent := operation("h99", schemas.OperationDelete, schemas.Name{}, "")
	dependent.Hold, dependent.HoldReason, dependent.HeldBy, dependent.DependsOn = schemas.HoldAdd, "it depends on operation h1, which waits", "h1", []string{"h1"}
	p := preview(schemas.VerdictReady, warehouse(append(ops, dependent)...))
	return p
}

// otherTerms has a grant for each way in which its time can change, and no operation.
func otherTerms() *schemas.Preview {
	day := func(month time.Month, d int) *time.Time { return ptr(time.Date(2027, month, d, 0, 0, 0, 0, time.UTC)) }
	now, soon, later := schemas.Window{}, schemas.Window{Expires: day(1, 7)}, schemas.Window{Expires: day(6, 30)}
	ahead := schemas.Window{Starts: day(1, 1), Expires: day(1, 31)}
	p := preview(schemas.VerdictSignoff, warehouse())
	p.Unmet = []schemas.Requirement{ownerSigns}
	for i, t := range []schemas.TermChange{
		{After: []schemas.Window{ahead}},
		{After: []schemas.Window{ahead, {Starts: day(3, 1)}}, Privileged: true},
		{Before: []schemas.Window{soon}, After: []schemas.Window{later}},
		{Before: []schemas.Window{soon}, After: []schemas.Window{now}},
		{Before: []schemas.Window{later}, After: []schemas.Window{soon}},
		{Before: []schemas.Window{ahead}},
		{Before: []schemas.Window{ahead}, After: []schemas.Window{soon, {Starts: day(3, 1)}}},
	} {
		who := fmt.Sprintf("user%d", i)
		t.Application, t.Documents = "warehouse", file
		t.Key = schemas.Key{Connection: reader, Target: named("user", who), Privilege: schemas.PrivilegeMember}
		if len(t.After) > 0 {
			t.Gained = append(gains(reader, schemas.PrivilegeMember, who), gains(orders, "SELECT", who)...)
		}
		p.Terms = append(p.Terms, t)
	}
	return p
}

// longDocument adds a statement at the end of a long privileged document, and changes one of a long list that is not.
func longDocument() *schemas.Preview {
	statement := func(action, resource string) any {
		return map[string]any{"Effect": "Allow", "Action": action, "Resource": resource}
	}
	var before []any
	for i := range 62 {
		before = append(before, statement("s3:GetObject", fmt.Sprintf("arn:aws:s3:::reports-%04d/*", i)))
	}
	after := append(slices.Clone(before[1:]), statement("iam:PassRole", strings.Repeat("x", 2000)))
	tags := func(n int) map[string]any {
		m := map[string]any{}
		for i := range n {
			m[fmt.Sprintf("tag%02d", i)] = strings.Repeat("y", 20)
		}
		return m
	}
	policy := operation("p1", schemas.OperationUpdate, schemas.Name{}, "")
	policy.Connection, policy.Privileged = named("policy", "reports"), true
	policy.Before, policy.After = map[string]any{"document": before}, map[string]any{"document": after}
	text := operation("p2", schemas.OperationUpdate, schemas.Name{}, "")
	text.Connection = named("policy", "tags")
	changed := tags(60)
	changed["tag00"] = strings.Repeat("z", 500)
	text.Before, text.After = map[string]any{"tags": tags(2)}, map[string]any{"tags": changed}
	return preview(schemas.VerdictReady, warehouse(policy, text))
}

func incomplete() *schemas.Preview {
	a := warehouse(operations()[1:3]...)
	a.ReadAt, a.Incomplete = time.Time{}, "read roles: dial tcp 10.0.0.5:5432: i/o timeout"
	corp := schemas.ApplicationPlan{Application: "corp", Connector: "casbin", Mode: schemas.ModeAdd, ReadAt: now,
		Operations: []schemas.Operation{{ID: "c1", Kind: schemas.OperationUpdate, Application: "corp", Connection: named("group", "audit"), Cause: schemas.CauseRequest, Documents: file,
			Before: map[string]any{"comment": "old"}, After: map[string]any{"comment": "new, longer"}}},
		Pending: []schemas.PendingEntitlement{{Key: schemas.Key{Connection: named("group", "audit"), Target: named("user", "frank"), Privilege: schemas.PrivilegeMember}, State: "invited"}}}
	return preview(schemas.VerdictIncomplete, corp, a)
}

func invalid() *schemas.Preview {
	return &schemas.Preview{Verdict: schemas.VerdictInvalid, Base: "def5678", Head: "abc1234", At: now,
		Errors: []schemas.Finding{
			{Code: "invalid", Severity: "error", Message: "unknown field sorce_name", Fix: "did you mean source_name?", Position: schemas.Position{Path: file[0].Path, Line: 9, Column: 12}},
			{Code: "conflict", Severity: "error", Message: "the base changed this file too since the change was begun", Fix: "merge the base into the change, or rebase it", Position: schemas.Position{Path: "requests/b.yaml"}},
			{Code: "no-application", Severity: "warning", Message: "nothing is granted to it", Document: schemas.DocumentID{Path: "requests/c.yaml", Index: 1}},
		}}
}

func denied() *schemas.Preview {
	p := preview(schemas.VerdictDenied, warehouse(operations()...))
	p.Decision.Denials = []schemas.RuleResult{denial, {Code: "ACME-1", Msg: "no change on a Friday"}}
	p.Decision.Warnings = []schemas.RuleResult{warned}
	p.Unmet = []schemas.Requirement{ownerSigns}
	p.Evidence.Approvals = nil
	return p
}

func ready() *schemas.Preview {
	gone := operation("g1", schemas.OperationDelete, schemas.Name{}, "")
	gone.Connection, gone.ReassignTo = named("role", "old_reader"), "role/dba"
	gone.Lost = gains(orders, "SELECT", "zoe")
	p := preview(schemas.VerdictReady, warehouse(operations()[1], gone))
	trailer := schemas.Approval{Person: "bob@acme.test", Capacities: []string{"user:bob@acme.test"}, Method: "trailer", Counts: true}
	p.Evidence.Approvals = append(p.Evidence.Approvals, trailer)
	for i := range 7 {
		p.Already = append(p.Already, schemas.Key{Connection: reader, Target: named("table", fmt.Sprintf("sales.t%d", i)), Privilege: "SELECT"})
	}
	return p
}

func outcomeOf(id string, status schemas.OutcomeStatus) schemas.OutcomeRecord {
	return schemas.OutcomeRecord{Operation: id, Status: status, Attempts: 1, Started: now, Finished: now}
}

func run(kind string, apps ...schemas.ApplicationOutcome) *schemas.RunReport {
	return &schemas.RunReport{APIVersion: schemas.APIVersion, Kind: kind, Tip: "abc1234abc1234", Applications: apps, At: now}
}

func applied() *schemas.RunReport {
	a := schemas.ApplicationOutcome{Application: "warehouse", Run: "r1", Plan: warehouse(operations()...), Adopted: 2}
	for _, o := range a.Plan.Operations {
		a.Outcomes = append(a.Outcomes, outcomeOf(o.ID, "applied"))
		a.Verifications = append(a.Verifications, schemas.VerificationRecord{Operation: o.ID, Status: "verified"})
	}
	r := run("Apply", a, schemas.ApplicationOutcome{Application: "corp", Plan: schemas.ApplicationPlan{Application: "corp"}})
	r.Admissions = []schemas.AdmissionRecord{
		{Commit: "abc1234abc1234", Verdict: "admitted", Changes: []schemas.FileChange{{Path: file[0].Path}}, Evidence: &schemas.Evidence{PullRequest: 57, Approvals: []schemas.Approval{dana}}},
		{Commit: "0000aaaa0000", Verdict: "unchanged"},
	}
	r.Next = ptr(time.Date(2026, 12, 31, 17, 30, 0, 0, time.UTC))
	return r
}

func partial() *schemas.RunReport {
	ops := operations()
	ops[3].Hold, ops[3].HoldReason = schemas.HoldAdd, "the application is in mode add, which takes nothing away"
	a := schemas.ApplicationOutcome{Application: "warehouse", Run: "r1", Plan: warehouse(ops...), Remaining: 3}
	fail := outcomeOf("o2", "failed")
	fail.Error, fail.Code, fail.Attempts = "grant on sales.orders: permission denied for table orders", "denied", 3
	block := outcomeOf("o5", "blocked")
	block.Error, block.Code = "an operation that this one depends on failed", "blocked"
	a.Outcomes = []schemas.OutcomeRecord{outcomeOf("o1", "applied"), fail, outcomeOf("o3", "applied"), block}
	a.Verifications = []schemas.VerificationRecord{{Operation: "o1", Status: "verified"}, {Operation: "o2", Status: "differs"}, {Operation: "o3", Status: "pending"}, {Operation: "o5", Status: "differs"}}
	r := run("Apply", a)
	r.Admissions = []schemas.AdmissionRecord{{Commit: "bad0bad0bad0", Verdict: "quarantined", Changes: []schemas.FileChange{{Path: "requests/evil.yaml"}},
		Reasons: []string{"CS-102: 0 of 1 sign-offs from team:acme/data (an owner signs off)", "the approval of erin does not count: is an author, committer or co-author of this change"}}}
	r.Quarantined = []schemas.QuarantinedFile{{Path: "requests/evil.yaml", Blob: "ee", Commit: "bad0bad0bad0", Reasons: []string{"CS-102: 0 of 1 sign-offs from team:acme/data (an owner signs off)"}}}
	return r
}

func broken() *schemas.RunReport {
	return run("Apply", schemas.ApplicationOutcome{Application: "warehouse", Plan: schemas.ApplicationPlan{Application: "warehouse", Connector: "postgres", Mode: schemas.ModeFull},
		Error: "open warehouse for writing: dial tcp 10.0.0.5:5432: connection refused\nand the lease was given back"})
}

func drifted() *schemas.RunReport {
	byHand := operation("d1", schemas.OperationRevoke, named("user", "mallory"), schemas.PrivilegeMember)
	byHand.Cause, byHand.Hold, byHand.HoldReason, byHand.HoldExplained = schemas.CauseDrift, schemas.HoldDrift, "nobody requested this; countersign drift --enforce fixes it", true
	byHand.Lost = gains(orders, "SELECT", "mallory")
	due := operation("d2", schemas.OperationRevoke, named("user", "alice"), schemas.PrivilegeMember)
	due.Cause = schemas.CauseExpiry
	a := warehouse(byHand, due)
	a.Unmanaged = []schemas.Key{{Connection: reader, Target: named("table", "sales.temp"), Privilege: "INSERT"}}
	a.Overdue = []schemas.Key{{Connection: reader, Target: named("user", "old"), Privilege: schemas.PrivilegeMember}}
	a.Pending = []schemas.PendingEntitlement{{Key: schemas.Key{Connection: reader, Target: named("user", "frank"), Privilege: schemas.PrivilegeMember}, State: "invited"}}
	r := run("Drift", schemas.ApplicationOutcome{Application: "warehouse", Plan: a}, schemas.ApplicationOutcome{Application: "corp", Plan: schemas.ApplicationPlan{Application: "corp"}})
	return r
}

// outside is a pass in which somebody outside was asked for everything, and where each is at.
func outside() *schemas.RunReport {
	ops := operations()
	a := warehouse(ops...)
	a.Operations[1].Hold, a.Operations[1].HoldReason = schemas.HoldPending, "ticket acme/access#12 since 2026-11-23T09:00:00Z"
	a.Operations[2].Hold, a.Operations[2].HoldReason, a.Operations[2].HeldBy, a.Operations[2].DependsOn = schemas.HoldPending, "it depends on operation o2, which waits", "o2", []string{"o2"}
	asked := func(id string, status schemas.OutcomeStatus, by, message string) schemas.OutcomeRecord {
		o := outcomeOf(id, status)
		o.Fulfilment = &schemas.FulfilmentRecord{Operation: id, Submission: "ful_" + id, Via: schemas.ProvisioningWebhook, To: "it.acme.test", By: by, Message: message}
		return o
	}
	out := schemas.ApplicationOutcome{Application: "warehouse", Plan: a, Outcomes: []schemas.OutcomeRecord{asked("o1", "applied", "", ""), asked("o4", "pending", "", "case 881"), asked("o5", "applied", "svc@it", "")},
		Verifications: []schemas.VerificationRecord{{Operation: "o1", Status: "attested"}, {Operation: "o5", Status: "pending"}}, Remaining: 4}
	out.Plan.Attested = true
	r := run("Apply", out)
	r.Again = ptr(now.Add(10 * time.Minute))
	return r
}

func statusOutside() *schemas.StatusReport {
	r := statusReport()
	r.Requests = r.Requests[:3]
	r.Requests[1].Provisioning, r.Requests[1].Verification, r.Requests[1].Detail = "pending", "pending", "ticket acme/access#12 since 2026-11-23T09:00:00Z"
	r.Requests[1].Fulfilment = []schemas.FulfilmentStatus{{Operation: "o2", Via: schemas.ProvisioningTicket, State: "pending", To: "acme/access#12", Since: now}}
	r.Requests[2].Provisioning, r.Requests[2].Verification, r.Requests[2].Detail = "applied", "attested", "webhook it.acme.test: attested by svc@it"
	r.Quarantined = nil
	return r
}

func statusReport() *schemas.StatusReport {
	one := func(path, conn, approval, provisioning, verification, detail string) schemas.RequestStatus {
		return schemas.RequestStatus{Document: schemas.DocumentID{Path: path}, Kind: schemas.KindConnectionAssignment, Application: "warehouse", Connection: named("role", conn),
			Approval: schemas.ApprovalState(approval), Provisioning: schemas.ProvisioningState(provisioning),
			Verification: schemas.VerificationState(verification), Detail: detail}
	}
	r := &schemas.StatusReport{Tip: "abc1234", At: now, Requests: []schemas.RequestStatus{
		one("requests/a.yaml", "sales_reader", "admitted", "applied", "verified", ""),
		one("requests/b.yaml", "billing_reader_long_name", "admitted", "failed", "partial", "1 of 2 items verified"),
		one("requests/c.yaml", "x", "admitted", "pending", "pending", ""),
		one("requests/d.yaml", "x", "undone", "applied", "verified", ""),
	}, Quarantined: partial().Quarantined}
	r.Requests[1].Document.Index = 1
	return r
}

func accessReport() *schemas.AccessReport {
	step := func(c, t schemas.Name, privilege string) schemas.AccessStep {
		return schemas.AccessStep{Key: schemas.Key{Connection: c, Target: t, Privilege: privilege}, Origin: "request", Documents: file, Commit: "abc1234abc1234", PullRequest: 57, Approvers: []schemas.Approval{dana}}
	}
	member := step(reader, named("user", "alice"), schemas.PrivilegeMember)
	member.Expires = ptr(time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC))
	entry := func(who string, steps ...schemas.AccessStep) schemas.AccessEntry {
		return schemas.AccessEntry{Access: schemas.Access{Application: "warehouse", Identity: named("user", who), Target: orders, Privilege: "SELECT", Via: []schemas.Name{reader}}, Steps: steps}
	}
	foreign := schemas.AccessStep{Key: schemas.Key{Connection: reader, Target: named("user", "mallory"), Privilege: schemas.PrivilegeMember}, Origin: "unmanaged"}
	membership := schemas.AccessEntry{Access: schemas.Access{Application: "warehouse", Identity: named("user", "alice"), Target: reader, Privilege: schemas.PrivilegeMember}, Steps: []schemas.AccessStep{member}}
	return &schemas.AccessReport{Tip: "abc1234", At: now, Incomplete: map[string]string{"corp": "a page is missing"},
		Entries: []schemas.AccessEntry{membership, entry("alice", member, step(reader, orders, "SELECT")), entry("mallory", foreign, step(reader, orders, "SELECT"))}}
}

// states are the states that a report can show.
func states() map[string]any {
	blind := ready()
	blind.Live, blind.Plan.Applications[0].ReadAt = false, time.Time{}
	dry := run("Apply", schemas.ApplicationOutcome{Application: "warehouse", Plan: warehouse(operations()...)})
	dry.DryRun = true
	unread := run("Drift", schemas.ApplicationOutcome{Application: "warehouse", Plan: warehouse()})
	unread.Applications[0].Plan.Incomplete = "a page is missing"
	enforced := applied()
	enforced.Kind, enforced.Enforce, enforced.Admissions, enforced.Next = "Drift", true, nil, nil
	quiet := warehouse()
	quiet.Unmanaged = drifted().Applications[0].Plan.Unmanaged
	return map[string]any{
		"preview-nothing":    &schemas.Preview{Verdict: schemas.VerdictNothing, Live: false, At: now},
		"preview-ready":      ready(),
		"preview-blind":      blind,
		"preview-signoff":    signoffMissing(),
		"preview-denied":     denied(),
		"preview-incomplete": incomplete(),
		"preview-invalid":    invalid(),
		"preview-held":       heldEachWay(),
		"preview-terms":      otherTerms(),
		"preview-document":   longDocument(),
		"apply-nothing":      run("Apply", schemas.ApplicationOutcome{Application: "warehouse", Plan: warehouse()}),
		"apply-done":         applied(),
		"apply-part":         partial(),
		"apply-failed":       broken(),
		"apply-dry":          dry,
		"drift-none":         run("Drift", schemas.ApplicationOutcome{Application: "warehouse", Plan: warehouse()}),
		"drift-unmanaged":    run("Drift", schemas.ApplicationOutcome{Application: "warehouse", Plan: quiet}),
		"drift-some":         drifted(),
		"drift-unread":       unread,
		"drift-enforced":     enforced,
		"apply-outside":      outside(),
		"status-outside":     statusOutside(),
		"fulfil":             &schemas.FulfilReport{Application: "warehouse", Operation: "0011223344556677", Status: "applied", By: "bob@acme.test (local)", Recorded: true, At: now},
		"status":             statusReport(),
		"status-empty":       &schemas.StatusReport{},
		"doctor": &schemas.DoctorReport{Checks: []schemas.Check{{State: schemas.CheckOK, Name: "approvals", Detail: "1 approvals are required"},
			{State: schemas.CheckUnknown, Name: "bypass", Detail: "who may bypass ruleset 7 is not told to this token", Fix: "run it with the token of an administrator"},
			{State: schemas.CheckOpen, Name: "stale reviews", Detail: "a push dismisses reviews", Fix: "dismiss stale reviews on push: else a reviewer sees a tick that does not count"}}},
		"connectors": &schemas.ConnectorList{APIVersion: schemas.APIVersion, Kind: "Connectors", Connectors: []schemas.Description{{Name: "memory", Title: "Memory", Config: json.RawMessage("{}"), Types: []schemas.ConnectionType{
			{Name: "team", Title: "Team", Create: true, Update: true, Payload: json.RawMessage(`{"properties": {"comment": {}, "secret": {}}}`), Grantable: []schemas.GrantableType{
				{Type: "repo", Edge: "resource", Privileges: []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"}, Grant: true, Revoke: true},
				{Type: "team", Edge: "connection", Privileges: []string{"MEMBER"}, Revoke: true}, {Type: "user", Edge: "identity", Privileges: []string{"MEMBER", "ADMIN"}, Grant: true, Revoke: true}}}}}}},
		"conformance-good": &schemas.ConformanceReport{APIVersion: schemas.APIVersion, Kind: "Conformance", Title: "Memory", Passed: 1, Skipped: 1, Cases: []schemas.ConformanceCase{
			{Name: "create/team", Result: schemas.CasePassed, Log: []string{"1000 operations"}, Seconds: 0.5}, {Name: "protected", Result: schemas.CaseSkipped, Log: []string{"nothing is protected"}}}},
		"conformance-bad": &schemas.ConformanceReport{APIVersion: schemas.APIVersion, Kind: "Conformance", Title: "Memory", Passed: 1, Failed: 1, Cases: []schemas.ConformanceCase{
			{Name: "open", Result: schemas.CasePassed}, {Name: "names/team", Result: schemas.CaseFailed, Log: []string{"payload (-want +got):\n-\ta\n+\tb\u202e", "another"}, Seconds: 2}}},
		"conformance-reduced": &schemas.ConformanceReport{APIVersion: schemas.APIVersion, Kind: "Conformance", Title: "Memory", Passed: 1, Reduced: "no application was opened", Cases: []schemas.ConformanceCase{
			{Name: "describe", Result: schemas.CasePassed}}},
		"access":          accessReport(),
		"access-none":     &schemas.AccessReport{},
		"access-not-read": &schemas.AccessReport{NotRead: map[string][]schemas.NotRead{"authz": {{What: "permission of a user", Count: 2, Connection: schemas.Name{Type: "user", SourceName: "alice"}}, {What: "rule of section g2", Count: 3}}}},
		"validate-good":   &schemas.ValidateReport{Files: 12, Documents: 14},
		"validate-bad":    &schemas.ValidateReport{Files: 12, Documents: 14, Errors: invalid().Errors},
		"plan":            &schemas.Plan{Applications: []schemas.ApplicationPlan{warehouse(operations()...)}, Digest: "7c1f09ab55667788"},
		"findings":        invalid().Errors,
		"decision":        denied().Decision,
	}
}
