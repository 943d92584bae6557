package audit

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/schemas"
)

// The states of rows beside those of outcomes and read-backs.
const (
	stateQuarantined = "quarantined"
	stateWaiting     = "waiting"
	stateAdopted     = "adopted"
	stateUndone      = "undone"
	stateHeld        = "held"
)

// admitted is a verdict with its place in the chain.
type admitted struct {
	record   *schemas.AdmissionRecord
	sequence int64
	hash     string
}

// entry is a row under construction.
type entry struct {
	row *schemas.AuditRow
	op  *schemas.Operation // nil for a change without operation
	// vouched means that a signature or the forge vouches for who fulfilled it; independent is the assertion about them.
	vouched     bool
	independent *bool
	// authorities are the verdicts that admitted what the operation follows from, one for each document; nil
	// where none is on record.
	authorities []*admitted
}

// change is a file's content after an admitted commit.
type change struct {
	*admitted
	after string
}

// document is a request document with its content.
type document struct {
	schemas.RequestInfo
	*admitted
	at time.Time
}

type entitlement struct {
	application string
	key         schemas.Key
}

type connection struct {
	application string
	name        schemas.Name
}

// collector joins the records of the ledger, read once in order.
type collector struct {
	options ExportOptions
	now     time.Time

	content map[schemas.DocumentID]*admitted   // by path and blob: the latest commit that admitted it
	refused map[schemas.DocumentID]*admitted   // by path and blob: quarantined
	latest  map[string]change                  // by path
	info    map[ledger.Key]schemas.RequestInfo // the latest admitted
	exact   map[schemas.DocumentID]schemas.RequestInfo

	runs    map[string]*schemas.RunRecord
	entries []*entry
	current map[[2]string]*entry // by application and operation: the one that later records are about
	used    map[schemas.DocumentID]bool
	brought []document // admitted request documents, in order

	live   map[entitlement][]*entry
	sides  map[connection][]entitlement
	tokens map[[2]string]string // the baseline, by application and item

	files, bundles, versions map[string]bool
	configuration            []schemas.AuditConfigurationChange
}

func newCollector(o ExportOptions, now time.Time) *collector {
	if !o.AsOf.IsZero() {
		now = o.AsOf
	}
	return &collector{options: o, now: now, content: map[schemas.DocumentID]*admitted{}, refused: map[schemas.DocumentID]*admitted{}, latest: map[string]change{},
		info: map[ledger.Key]schemas.RequestInfo{}, exact: map[schemas.DocumentID]schemas.RequestInfo{}, runs: map[string]*schemas.RunRecord{},
		current: map[[2]string]*entry{}, used: map[schemas.DocumentID]bool{}, live: map[entitlement][]*entry{}, sides: map[connection][]entitlement{},
		tokens: map[[2]string]string{}, files: map[string]bool{}, bundles: map[string]bool{}, versions: map[string]bool{}}
}

func (c *collector) in(t time.Time) bool {
	return (c.options.Since.IsZero() || !t.Before(c.options.Since)) && (c.options.Until.IsZero() || t.Before(c.options.Until))
}

func (c *collector) of(application string) bool {
	return c.options.Application == "" || application == c.options.Application
}

func (c *collector) take(r schemas.Record) error {
	if !c.options.AsOf.IsZero() && r.Time.After(c.options.AsOf) {
		return nil
	}
	if err := ledger.Check(&r); err != nil {
		return fmt.Errorf("record %d: %w", r.Sequence, err)
	}
	for _, b := range r.Baseline {
		c.tokens[[2]string{r.Application, b.Item}] = b.Token
	}
	switch r.Type {
	case schemas.RecordAdmission:
		c.admission(&r)
	case schemas.RecordRun:
		c.runs[r.Run] = r.RunInfo
		if c.in(r.Time) && c.of(r.Application) {
			c.versions[r.RunInfo.Version] = true
		}
	case schemas.RecordHeld, schemas.RecordIntent:
		for i := range r.Planned {
			c.planned(&r, &r.Planned[i])
		}
	case schemas.RecordOutcome:
		e := c.entry(&r, r.Operation)
		o := r.Outcome
		e.row.Outcome, e.row.Attempts, e.row.Error, e.row.ErrorCode = string(o.Status), o.Attempts, o.Error, o.Code
		e.row.Started, e.row.Finished = &o.Started, &o.Finished
		e.row.State = string(o.Status)
		if o.Fulfilment != nil {
			e.fulfilled(o)
		}
	case schemas.RecordVerification:
		e := c.entry(&r, r.Operation)
		v := r.Verification
		e.row.Verification, e.row.VerifiedAt, e.row.Before, e.row.After = string(v.Status), &r.Time, v.Before, v.After
		// Success is judged by reading back; so is a failure, unless the operation was never tried.
		if e.row.Outcome == statusApplied || e.row.Outcome == "" || v.Status == statusVerified {
			e.row.State = string(v.Status)
		}
		if v.Status == statusVerified || v.Status == statusAttested {
			c.settled(e, r.Time)
		}
	}
	return nil
}

func (c *collector) admission(r *schemas.Record) {
	a := &admitted{r.Admission, r.Sequence, r.Hash}
	requests := map[string]bool{}
	for _, q := range a.record.Requests {
		requests[q.Document.Path] = true
		if c.in(r.Time) && c.of(q.Application) {
			c.files[q.Document.Path] = true
		}
	}
	for _, f := range a.record.Changes {
		// A request's deletion brings no document: its earlier content shows that it was one.
		was := c.latest[f.Path]
		if was.admitted != nil && slices.ContainsFunc(was.record.Requests, func(q schemas.RequestInfo) bool { return q.Document.Path == f.Path }) {
			requests[f.Path] = true
		}
		if !requests[f.Path] && c.in(r.Time) && a.record.Verdict != verdictQuarantined {
			c.configuration = append(c.configuration, schemas.AuditConfigurationChange{Sequence: r.Sequence, Time: r.Time, Commit: a.record.Commit,
				Verdict: a.record.Verdict, Path: f.Path, Before: f.Before, After: f.After})
		}
	}
	if d := a.record.Decision; d != nil && c.in(r.Time) {
		c.bundles[d.Bundle] = true
	}
	if !admits(a.record.Verdict) {
		if a.record.Verdict == verdictQuarantined {
			c.quarantined(r, a, requests)
		}
		return
	}
	for _, f := range slices.Concat(a.record.Changes, a.record.Admits) {
		c.content[schemas.DocumentID{Path: f.Path, Blob: f.After}] = a
		c.latest[f.Path] = change{a, f.After}
	}
	for _, q := range a.record.Requests {
		c.info[ledger.Key{Path: q.Document.Path, Index: q.Document.Index}] = q
		c.exact[q.Document] = q
		c.brought = append(c.brought, document{q, a, r.Time})
	}
}

// quarantined makes the rows of a change that was refused: it is part of the population too.
func (c *collector) quarantined(r *schemas.Record, a *admitted, requests map[string]bool) {
	for _, q := range a.record.Requests {
		row := c.without(q, a, r.Time)
		row.State = stateQuarantined
	}
	for _, f := range a.record.Changes {
		c.refused[schemas.DocumentID{Path: f.Path, Blob: f.After}] = a
		brought := slices.ContainsFunc(a.record.Requests, func(q schemas.RequestInfo) bool { return q.Document.Path == f.Path })
		if brought {
			continue
		}
		// A control file, a deletion, or what could not be read.
		q := schemas.RequestInfo{Document: schemas.DocumentID{Path: f.Path, Blob: f.After}}
		if requests[f.Path] {
			q.Application = c.info[ledger.Key{Path: f.Path}].Application
		}
		row := c.without(q, a, r.Time)
		row.State = stateQuarantined
	}
}

// without is a row of a document without operation.
func (c *collector) without(q schemas.RequestInfo, a *admitted, at time.Time) *schemas.AuditRow {
	row := &schemas.AuditRow{Time: at, Sequence: a.sequence, Hash: a.hash, Application: q.Application, RequestPath: q.Document.Path,
		RequestIndex: q.Document.Index, RequestBlob: q.Document.Blob, Documents: []schemas.DocumentID{q.Document}}
	if q.Connection != (schemas.Name{}) {
		row.Connection = q.Connection.String()
	}
	requestRow(row, q)
	authoriseRow(row, a)
	c.entries = append(c.entries, &entry{row: row, authorities: []*admitted{a}})
	return row
}

// planned opens the row of an operation that is held, or about to be carried out.
func (c *collector) planned(r *schemas.Record, o *schemas.Operation) {
	k := [2]string{r.Application, o.ID}
	e := c.current[k]
	// A held operation is carried out now, or still held: the same row continues.
	if e == nil || e.row.State != stateHeld {
		e = c.open(r, o)
		c.current[k] = e
	}
	if o.Cause == schemas.CauseDrift {
		c.drifted(o, r.Application, r.Time)
	}
	e.op = o
	e.row.Sequence, e.row.Hash, e.row.Run = r.Sequence, r.Hash, r.Run
	describeRow(e.row, o)
	runRow(e.row, c.runs[r.Run])
	if r.Type == schemas.RecordHeld {
		e.row.State = stateHeld
		return
	}
	e.row.State, e.row.IntentSequence = statusPending, r.Sequence
	for i := range r.Fulfilments {
		if f := &r.Fulfilments[i]; f.Operation == o.ID {
			e.row.Provisioning, e.row.Submission, e.row.SubmittedAt, e.row.FulfilledIn = string(f.Via), f.Submission, &r.Time, f.To
		}
	}
}

// fulfilled notes an outside party's answer.
func (e *entry) fulfilled(o *schemas.OutcomeRecord) {
	f := o.Fulfilment
	e.row.Provisioning, e.row.Submission, e.row.FulfilledIn, e.row.FulfilmentMessage = string(f.Via), f.Submission, f.To, f.Message
	e.vouched, e.independent = f.Authenticated, f.Independent
	e.row.FulfilledBy, e.row.FulfilledByMethod, e.row.FulfilledAt = f.By, f.Method, nil
	switch o.Status {
	case statusApplied, statusFailed:
		e.row.FulfilledAt = &o.Finished
	case statusPending:
		e.row.FulfilledBy, e.row.FulfilledByMethod = "", ""
	}
}

// entry is the row that an outcome or a read-back is about: that of the last intent, also when a later run
// finishes what an earlier one began.
func (c *collector) entry(r *schemas.Record, o *schemas.Operation) *entry {
	k := [2]string{r.Application, o.ID}
	e := c.current[k]
	if e == nil {
		e = c.open(r, o)
		runRow(e.row, c.runs[r.Run])
		c.current[k] = e
	}
	e.row.Sequence, e.row.Hash = r.Sequence, r.Hash
	return e
}

func (c *collector) open(r *schemas.Record, o *schemas.Operation) *entry {
	row := &schemas.AuditRow{State: statusPending, Time: r.Time, Sequence: r.Sequence, Hash: r.Hash, Run: r.Run, Operation: o.ID, Application: r.Application}
	describeRow(row, o)
	e := &entry{row: row, op: o}
	c.entries = append(c.entries, e)
	return e
}

func describeRow(r *schemas.AuditRow, o *schemas.Operation) {
	r.Connection, r.ConnectionID, r.Kind, r.Cause, r.TargetID = o.Connection.String(), o.NativeID, string(o.Kind), string(o.Cause), o.TargetID
	r.Privilege, r.Privileged, r.Expires, r.Hold, r.HoldReason = o.Privilege, o.Privileged, o.Expires, string(o.Hold), o.HoldReason
	if o.Target != nil {
		r.Target = o.Target.String()
	}
	r.Documents = o.Documents
	if n := len(o.Documents); n > 0 {
		d := o.Documents[n-1]
		r.RequestPath, r.RequestIndex, r.RequestBlob = d.Path, d.Index, d.Blob
	}
}

func runRow(r *schemas.AuditRow, info *schemas.RunRecord) {
	if info != nil {
		r.Version, r.Connector, r.Credential, r.RunPlanDigest, r.LiveDigest = info.Version, info.Connector, info.Credential, info.PlanDigest, info.LiveDigest
	}
}

func requestRow(r *schemas.AuditRow, q schemas.RequestInfo) {
	r.RequestKind, r.RequestName, r.Reason, r.Ticket = string(q.Kind), q.Metadata.Name, q.Metadata.Reason, q.Metadata.Ticket
}

func authoriseRow(r *schemas.AuditRow, a *admitted) {
	if a == nil {
		return
	}
	r.AdmissionSeq, r.AdmissionHash = a.sequence, a.hash
	r.MergeCommit, r.Verdict, r.Reasons, r.PlanDigest, r.Unmet = a.record.Commit, string(a.record.Verdict), a.record.Reasons, a.record.PlanDigest, a.record.Unmet
	if e := a.record.Evidence; e != nil {
		r.Requesters, r.Unattributed, r.Beneficiaries, r.Approvals, r.Forge = e.Authors, e.Unattributed, e.Beneficiaries, e.Approvals, e.Forge
		r.PullRequest, r.PullRequestURL, r.PullRequestTitle, r.HeadCommit = e.PullRequest, e.URL, e.Title, e.Head
		r.ContentDigest, r.PreviewDigest, r.PreviewAt, r.MergedAt, r.MergedBy = e.ContentDigest, e.PreviewDigest, e.PreviewAt, e.MergedAt, e.MergedBy
	}
	if p := a.record.Decision; p != nil {
		r.Required, r.Denials, r.Warnings = p.Required, p.Denials, p.Warnings
		r.PolicyBundle, r.PolicyEngine, r.PolicyRules = p.Bundle, p.Engine, p.Rules
	}
}

// settled keeps what is granted up to date with a verified operation.
func (c *collector) settled(e *entry, at time.Time) {
	app, o := e.row.Application, e.op
	switch o.Kind {
	case schemas.OperationGrant:
		k := entitlement{app, o.Key()}
		if len(c.live[k]) == 0 {
			for _, n := range []schemas.Name{k.key.Connection, k.key.Target} {
				c.sides[connection{app, n}] = append(c.sides[connection{app, n}], k)
			}
		}
		if !slices.Contains(c.live[k], e) {
			c.live[k] = append(c.live[k], e)
		}
	case schemas.OperationRevoke:
		c.ended(entitlement{app, o.Key()}, e, at)
	case schemas.OperationDelete:
		// A deletion ends what the connection has, and what it is given to others.
		side := connection{app, o.Connection}
		for _, k := range c.sides[side] {
			c.ended(k, e, at)
		}
		delete(c.sides, side)
	}
}

func (c *collector) ended(k entitlement, by *entry, at time.Time) {
	for _, e := range c.live[k] {
		e.row.EndedBy, e.row.EndedCause, e.row.EndedAt = by.row.Operation+"@"+by.row.Run, by.row.Cause, &at
	}
	delete(c.live, k)
}

// drifted notes on the grants of an entitlement that it was found changed.
func (c *collector) drifted(o *schemas.Operation, application string, at time.Time) {
	for _, e := range c.live[entitlement{application, o.Key()}] {
		if e.row.DriftedAt == nil {
			e.row.DriftedAt = &at
		}
	}
}

// finish joins the rows with their requests and verdicts, and sorts them.
func (c *collector) finish(chain bool) []*schemas.AuditRow {
	for _, e := range c.entries {
		if e.op == nil {
			continue
		}
		for _, d := range e.op.Documents {
			c.used[d] = true
			e.authorities = append(e.authorities, c.authority(e.op, d))
		}
		if n := len(e.op.Documents); n > 0 {
			d := e.op.Documents[n-1]
			q, ok := c.exact[d]
			if !ok {
				q = c.info[ledger.Key{Path: d.Path, Index: d.Index}]
			}
			requestRow(e.row, q)
			authoriseRow(e.row, e.authorities[n-1])
		}
	}
	c.idle()
	var out []*schemas.AuditRow
	for _, e := range c.entries {
		if !c.of(e.row.Application) || !c.in(e.row.Time) {
			continue
		}
		c.assert(e, chain)
		out = append(out, e.row)
	}
	slices.SortStableFunc(out, func(a, b *schemas.AuditRow) int { return cmp.Compare(a.Sequence, b.Sequence) })
	return out
}

// authority is the verdict that admitted what an operation does because of a document; nil for none on record.
func (c *collector) authority(o *schemas.Operation, d schemas.DocumentID) *admitted {
	// The approved change of an undo is the later one, which removed the document.
	if last := c.latest[d.Path]; o.Cause == schemas.CauseUndo && last.admitted != nil && last.after != d.Blob {
		return last.admitted
	}
	content := schemas.DocumentID{Path: d.Path, Blob: d.Blob}
	if a := c.content[content]; a != nil {
		return a
	}
	return c.refused[content]
}

// idle makes the rows of admitted requests without operations.
func (c *collector) idle() {
	adopted := map[string]bool{}
	for _, t := range c.tokens {
		for _, mark := range marks(t) {
			adopted[mark] = true
		}
	}
	for _, d := range c.brought {
		if c.used[d.Document] {
			continue
		}
		row := c.without(d.RequestInfo, d.admitted, d.at)
		switch {
		case adopted[markOf(d.Document)]:
			row.State = stateAdopted
		case c.latest[d.Document.Path].after != d.Document.Blob:
			row.State = stateUndone
		default:
			row.State = stateWaiting
		}
	}
}
