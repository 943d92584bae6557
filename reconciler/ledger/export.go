package ledger

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign/schemas"
)

// Truth is an assertion's value. Unknown is for what nobody can know from the records: it is never true.
type Truth string

// The values of an assertion.
const (
	True    Truth = "true"
	False   Truth = "false"
	Unknown Truth = "unknown"
)

// ExportRow is one operation, or one change that was refused, with what an auditor asks of it.
type ExportRow struct {
	// Identity.
	State         string   `json:"state"` // verified, applied, failed, blocked, cancelled, pending, differs, unverifiable, quarantined
	Sequence      int64    `json:"sequence"`
	Hash          string   `json:"hash"`
	Run           string   `json:"run"`
	Operation     string   `json:"operation"`
	RequestPath   string   `json:"request_path"`
	RequestIndex  int      `json:"request_index"`
	RequestBlob   string   `json:"request_blob"`
	MergeCommit   string   `json:"merge_commit"`
	HeadCommit    string   `json:"head_commit"`
	PullRequest   int      `json:"pull_request"`
	AdmissionSeq  int64    `json:"admission_sequence"`
	AdmissionHash string   `json:"admission_hash"`
	Requesters    []string `json:"requesters"`
	// Request.
	Beneficiaries []string   `json:"beneficiaries"`
	RequestName   string     `json:"request_name"`
	Reason        string     `json:"reason"`
	Ticket        string     `json:"ticket"`
	Expires       *time.Time `json:"expires"`
	Application   string     `json:"application"`
	Connection    string     `json:"connection"`
	ConnectionID  string     `json:"connection_id"`
	Kind          string     `json:"kind"`
	Cause         string     `json:"cause"`
	Target        string     `json:"target"`
	TargetID      string     `json:"target_id"`
	Privilege     string     `json:"privilege"`
	Privileged    bool       `json:"privileged"`
	// Authorisation.
	Verdict   string                `json:"verdict"`
	Reasons   []string              `json:"reasons"`
	Approvals []schemas.Approval    `json:"approvals"`
	Required  []schemas.Requirement `json:"required"`
	Unmet     []schemas.Requirement `json:"unmet"`
	// Policy.
	PolicyBundle string               `json:"policy_bundle"`
	PolicyEngine string               `json:"policy_engine"`
	PolicyRules  int                  `json:"policy_rules"`
	Denials      []schemas.RuleResult `json:"denials"`
	Warnings     []schemas.RuleResult `json:"warnings"`
	// Preview.
	ContentDigest  string  `json:"content_digest"`
	PreviewDigest  *string `json:"preview_digest"` // null: the forge keeps no previews
	PlanDigest     string  `json:"plan_digest"`
	RunPlanDigest  string  `json:"run_plan_digest"`
	LiveDigest     string  `json:"live_digest"`
	IntentSequence int64   `json:"intent_sequence"`
	// Execution.
	Version    string     `json:"version"`
	Connector  string     `json:"connector"`
	Credential string     `json:"credential"`
	Attempts   int        `json:"attempts"`
	Started    *time.Time `json:"started"`
	Finished   *time.Time `json:"finished"`
	Outcome    string     `json:"outcome"`
	Error      string     `json:"error"`
	ErrorCode  string     `json:"error_code"`
	// Result.
	Before       any        `json:"before"`
	After        any        `json:"after"`
	Verification string     `json:"verification"`
	VerifiedAt   *time.Time `json:"verified_at"`
	// Afterlife: the operation that took this one back, when one was verified.
	EndedBy string     `json:"ended_by"`
	EndedAt *time.Time `json:"ended_at"`
	// Assertions; see assert.
	ApprovedBeforeApplied           Truth `json:"approved_before_applied"`
	ApprovedContentIsAppliedContent Truth `json:"approved_content_is_applied_content"`
	GrantedEqualsApproved           Truth `json:"granted_equals_approved"`
	IndependentApprover             Truth `json:"independent_approver"`
	RationalePresent                Truth `json:"rationale_present"`
	ExpiredInTime                   Truth `json:"expired_in_time"`
	ChainOK                         Truth `json:"chain_ok"`
}

// Manifest describes the population that was exported.
type Manifest struct {
	APIVersion  string         `json:"apiVersion"`
	Kind        string         `json:"kind"` // AuditManifest
	Version     string         `json:"version"`
	At          time.Time      `json:"at"`
	Format      string         `json:"format"`
	Application string         `json:"application"` // "" is all
	Since       *time.Time     `json:"since"`
	Until       *time.Time     `json:"until"`
	Rows        int            `json:"rows"`
	States      map[string]int `json:"states"`
	// Records is how many the ledger has, FirstSequence to LastSequence without a gap when ChainOK.
	Records       int64     `json:"records"`
	FirstSequence int64     `json:"first_sequence"`
	LastSequence  int64     `json:"last_sequence"`
	Head          string    `json:"head"`
	ChainOK       bool      `json:"chain_ok"`
	Problems      []Problem `json:"problems"`
	// RequestFiles are the request files of all admissions in the period, Reconciled those that rows name.
	// The difference is listed: requests whose effect was there already, or that wait.
	RequestFiles int      `json:"request_files"`
	Reconciled   int      `json:"reconciled"`
	Unreconciled []string `json:"unreconciled"`
	// Exceptions are rows with an assertion that is false, by operation or path.
	Exceptions []Exception `json:"exceptions"`
	// SHA256 is the digest of the exported bytes.
	SHA256 string `json:"sha256"`
}

// Exception is an assertion that is false.
type Exception struct {
	Sequence  int64  `json:"sequence"`
	Operation string `json:"operation"`
	Assertion string `json:"assertion"`
}

// ExportOptions say what is exported, and where to.
type ExportOptions struct {
	// Format is jsonl (authoritative) or csv.
	Format      string
	Application string
	// Since is inclusive, Until exclusive, by the time of the read-back or verdict; zero is open.
	Since, Until time.Time
	Version      string
	Out          io.Writer
}

// expiryGrace is how long after its expiry a grant may still be there before that is an exception.
const expiryGrace = 24 * time.Hour

// Export writes one row for each operation and each refused change, sorted by sequence.
func Export(ctx context.Context, l *Ledger, o ExportOptions) (Manifest, error) {
	m := Manifest{APIVersion: schemas.APIVersion, Kind: "AuditManifest", Version: o.Version, At: l.c.nowUTC(), Format: o.Format,
		Application: o.Application, States: map[string]int{}, Unreconciled: []string{}, Exceptions: []Exception{}}
	if !o.Since.IsZero() {
		m.Since = &o.Since
	}
	if !o.Until.IsZero() {
		m.Until = &o.Until
	}
	v, err := l.Verify(ctx, VerifyOptions{})
	if err != nil {
		return m, err
	}
	m.Records, m.LastSequence, m.Head, m.ChainOK, m.Problems = v.Records, v.Records, v.Head, len(v.Problems) == 0, v.Problems
	if m.Records > 0 {
		m.FirstSequence = 1
	}
	c := collector{ctx: ctx, l: l, o: o, chain: m.ChainOK, now: m.At,
		admissions: map[schemas.FileChange]*admitted{}, rows: map[string]*ExportRow{}, runs: map[string]*schemas.RunRecord{}, files: map[string]bool{}}
	if err := l.Records(ctx, Filter{}, c.take); err != nil {
		return m, err
	}
	rows := c.finish()
	sum := sha256.New()
	w := bufio.NewWriter(io.MultiWriter(o.Out, sum))
	if err := write(w, o.Format, rows); err != nil {
		return m, fmt.Errorf("write the export: %w", err)
	}
	m.summarise(rows, c.files, sum)
	return m, nil
}

func (c Config) nowUTC() time.Time { return c.Now().UTC().Truncate(time.Microsecond) }

func (m *Manifest) summarise(rows []*ExportRow, files map[string]bool, sum hash.Hash) {
	m.Rows = len(rows)
	named := map[string]bool{}
	for _, r := range rows {
		m.States[r.State]++
		named[r.RequestPath] = true
		for _, a := range r.assertions() {
			if a.value == False {
				m.Exceptions = append(m.Exceptions, Exception{r.Sequence, r.Operation, a.name})
			}
		}
	}
	for f := range files {
		m.RequestFiles++
		if named[f] {
			m.Reconciled++
		} else {
			m.Unreconciled = append(m.Unreconciled, f)
		}
	}
	slices.Sort(m.Unreconciled)
	m.SHA256 = hex.EncodeToString(sum.Sum(nil))
}

type assertion struct {
	name  string
	value Truth
}

func (r *ExportRow) assertions() []assertion {
	return []assertion{
		{"approved_before_applied", r.ApprovedBeforeApplied}, {"approved_content_is_applied_content", r.ApprovedContentIsAppliedContent},
		{"granted_equals_approved", r.GrantedEqualsApproved}, {"independent_approver", r.IndependentApprover},
		{"rationale_present", r.RationalePresent}, {"expired_in_time", r.ExpiredInTime}, {"chain_ok", r.ChainOK},
	}
}

type admitted struct {
	record   *schemas.AdmissionRecord
	sequence int64
	hash     string
}

// collector joins the records of the ledger, read once in order.
type collector struct {
	ctx        context.Context
	l          *Ledger
	o          ExportOptions
	chain      bool
	now        time.Time
	admissions map[schemas.FileChange]*admitted // by path and blob
	rows       map[string]*ExportRow            // by run and operation
	order      []*ExportRow
	runs       map[string]*schemas.RunRecord
	files      map[string]bool
}

func (c *collector) in(t time.Time) bool {
	return (c.o.Since.IsZero() || !t.Before(c.o.Since)) && (c.o.Until.IsZero() || t.Before(c.o.Until))
}

func (c *collector) take(r schemas.Record) error {
	switch r.Type {
	case schemas.RecordAdmission:
		c.admission(&r)
	case schemas.RecordRun:
		c.runs[r.Run] = r.RunInfo
	case schemas.RecordIntent:
		for i := range r.Planned {
			row := c.row(&r, &r.Planned[i])
			row.State, row.IntentSequence = "pending", r.Sequence
		}
	case schemas.RecordOutcome:
		if r.Operation == nil || r.Outcome == nil {
			return fmt.Errorf("record %d is an outcome without operation", r.Sequence)
		}
		row := c.row(&r, r.Operation)
		o := r.Outcome
		row.State, row.Outcome, row.Attempts, row.Error, row.ErrorCode = o.Status, o.Status, o.Attempts, o.Error, o.Code
		row.Started, row.Finished = &o.Started, &o.Finished
		row.Sequence, row.Hash = r.Sequence, r.Hash
	case schemas.RecordVerification:
		if r.Operation == nil || r.Verification == nil {
			return fmt.Errorf("record %d is a verification without operation", r.Sequence)
		}
		row := c.row(&r, r.Operation)
		at := r.Time
		row.Verification, row.VerifiedAt, row.Before, row.After = r.Verification.Status, &at, r.Verification.Before, r.Verification.After
		if row.Outcome == "applied" || row.Outcome == "" {
			row.State = r.Verification.Status
		}
		row.Sequence, row.Hash = r.Sequence, r.Hash
		c.end(row, r.Operation, at)
	}
	return nil
}

// end notes on an earlier grant or creation that this operation took it back.
func (c *collector) end(by *ExportRow, o *schemas.Operation, at time.Time) {
	if o.Kind != schemas.OperationRevoke && o.Kind != schemas.OperationDelete {
		return
	}
	for _, r := range slices.Backward(c.order) {
		same := r.Application == by.Application && r.Connection == by.Connection
		if o.Kind == schemas.OperationRevoke {
			same = same && r.Kind == string(schemas.OperationGrant) && r.Target == by.Target && r.Privilege == by.Privilege
		} else {
			same = same && (r.Kind == string(schemas.OperationGrant) || r.Kind == string(schemas.OperationCreate))
		}
		if same && r.EndedBy == "" {
			r.EndedBy, r.EndedAt = by.Operation+"@"+by.Run, &at
		}
	}
}

func (c *collector) admission(r *schemas.Record) {
	a := &admitted{r.Admission, r.Sequence, r.Hash}
	for _, f := range r.Admission.Changes {
		c.admissions[schemas.FileChange{Path: f.Path, After: f.After}] = a
	}
	for _, q := range r.Admission.Requests {
		if c.in(r.Time) && (c.o.Application == "" || q.Application == c.o.Application) {
			c.files[q.Document.Path] = true
		}
	}
	if r.Admission.Verdict != "quarantined" || !c.in(r.Time) {
		return
	}
	// A change that was refused is part of the population too.
	for _, q := range r.Admission.Requests {
		if c.o.Application != "" && q.Application != c.o.Application {
			continue
		}
		row := &ExportRow{State: "quarantined", Sequence: r.Sequence, Hash: r.Hash, Application: q.Application, Connection: q.Connection.String(),
			Kind: string(q.Kind), RequestPath: q.Document.Path, RequestIndex: q.Document.Index, RequestBlob: q.Document.Blob}
		c.authorise(row, a, q.Document)
		c.order = append(c.order, row)
	}
}

func (c *collector) row(r *schemas.Record, o *schemas.Operation) *ExportRow {
	k := r.Run + "\x1f" + o.ID
	if row, ok := c.rows[k]; ok {
		return row
	}
	row := &ExportRow{Sequence: r.Sequence, Hash: r.Hash, Run: r.Run, Operation: o.ID, Application: o.Application, Connection: o.Connection.String(),
		ConnectionID: o.NativeID, Kind: string(o.Kind), Cause: string(o.Cause), TargetID: o.TargetID, Privilege: o.Privilege, Privileged: o.Privileged, Expires: o.Expires}
	if o.Target != nil {
		row.Target = o.Target.String()
	}
	if info := c.runs[r.Run]; info != nil {
		row.Version, row.Connector, row.Credential = info.Version, info.Connector, info.Credential
		row.RunPlanDigest, row.LiveDigest = info.PlanDigest, info.LiveDigest
	}
	if n := len(o.Documents); n > 0 {
		d := o.Documents[n-1]
		row.RequestPath, row.RequestIndex, row.RequestBlob = d.Path, d.Index, d.Blob
		a := c.admissions[schemas.FileChange{Path: d.Path, After: d.Blob}]
		if o.Cause == schemas.CauseUndo {
			// What was approved is that the file goes.
			if undone := c.admissions[schemas.FileChange{Path: d.Path}]; undone != nil {
				a = undone
			}
		}
		c.authorise(row, a, d)
	}
	c.rows[k] = row
	c.order = append(c.order, row)
	return row
}

func (c *collector) authorise(row *ExportRow, a *admitted, d schemas.DocumentID) {
	if a == nil {
		return
	}
	row.MergeCommit, row.Verdict, row.Reasons, row.AdmissionSeq, row.AdmissionHash = a.record.Commit, a.record.Verdict, a.record.Reasons, a.sequence, a.hash
	row.PlanDigest, row.Unmet = a.record.PlanDigest, a.record.Unmet
	for _, q := range a.record.Requests {
		if q.Document.Path == d.Path && q.Document.Index == d.Index {
			row.RequestName, row.Reason, row.Ticket = q.Metadata.Name, q.Metadata.Reason, q.Metadata.Ticket
		}
	}
	if e := a.record.Evidence; e != nil {
		row.Requesters, row.Beneficiaries, row.Approvals, row.PullRequest, row.HeadCommit = e.Authors, e.Beneficiaries, e.Approvals, e.PullRequest, e.Head
		row.ContentDigest, row.PreviewDigest = e.ContentDigest, e.PreviewDigest
	}
	if p := a.record.Decision; p != nil {
		row.Required, row.Denials, row.Warnings = p.Required, p.Denials, p.Warnings
		row.PolicyBundle, row.PolicyEngine, row.PolicyRules = p.Bundle, p.Engine, p.Rules
	}
}

func (c *collector) finish() []*ExportRow {
	var out []*ExportRow
	for _, r := range c.order {
		if c.o.Application != "" && r.Application != c.o.Application {
			continue
		}
		if r.State != "quarantined" && r.VerifiedAt != nil && !c.in(*r.VerifiedAt) {
			continue
		}
		c.assert(r)
		out = append(out, r)
	}
	slices.SortStableFunc(out, func(a, b *ExportRow) int { return int(a.Sequence - b.Sequence) })
	return out
}

// assert fills in the assertions. Each is true only where the records prove it:
//
//   - approved_before_applied: every approval that counts is authenticated and has a time, and each time lies
//     before the operation began; the verdict stands before the intent in the chain.
//   - approved_content_is_applied_content: the request's blob is one that an admitted commit brought, and the
//     sign-off, authenticated, is of that commit.
//   - granted_equals_approved: the operation follows from an admitted document, and the read-back showed it.
//   - independent_approver: an authenticated approval counts, which the core rules give to nobody who made the
//     change or gains by it.
//   - rationale_present: the request gives a reason.
//   - expired_in_time: the grant has an expiry in the past, and its end was verified within a day of it.
//   - chain_ok: the hash chain of the whole ledger holds.
//
// A bare trailer proves nothing about who wrote it: what rests on one is unknown.
func (c *collector) assert(r *ExportRow) {
	r.ChainOK = truth(c.chain)
	r.ApprovedBeforeApplied, r.ApprovedContentIsAppliedContent, r.GrantedEqualsApproved, r.IndependentApprover, r.ExpiredInTime = Unknown, Unknown, Unknown, Unknown, Unknown
	r.RationalePresent = truth(r.Reason != "")
	if r.RequestPath == "" {
		r.RationalePresent = Unknown // unmanaged access: nobody asked for it, and nobody for its end
		return
	}
	counted, proven, timely := 0, true, true
	for _, a := range r.Approvals {
		if !a.Counts {
			continue
		}
		counted++
		proven = proven && a.Authenticated
		timely = timely && a.At != nil && r.Started != nil && a.At.Before(*r.Started)
	}
	applied := r.Outcome == "applied" || r.Verification == "verified"
	if r.Verdict == "quarantined" {
		// Refused, and so it should have no effect.
		if applied {
			r.ApprovedBeforeApplied, r.ApprovedContentIsAppliedContent, r.GrantedEqualsApproved = False, False, False
		}
		return
	}
	if r.Verdict == "" && applied {
		r.ApprovedContentIsAppliedContent = False
		return
	}
	if r.Verdict == "admitted" && counted == 0 {
		r.IndependentApprover = False
	}
	if r.Verdict == "admitted" && counted > 0 && proven {
		r.IndependentApprover, r.ApprovedContentIsAppliedContent = True, True
		if applied {
			r.ApprovedBeforeApplied = truth(timely && r.AdmissionSeq < r.IntentSequence)
		}
	}
	switch r.Verification {
	case "verified":
		r.GrantedEqualsApproved = truth(r.Verdict == "admitted" || r.Verdict == "anchor")
	case "differs":
		r.GrantedEqualsApproved = False
	}
	if r.Kind == string(schemas.OperationGrant) && r.Expires != nil && c.now.After(r.Expires.Add(expiryGrace)) {
		r.ExpiredInTime = truth(r.EndedAt != nil && r.EndedAt.Before(r.Expires.Add(expiryGrace)))
	}
}

func truth(b bool) Truth {
	if b {
		return True
	}
	return False
}

func write(w *bufio.Writer, format string, rows []*ExportRow) error {
	switch format {
	case "jsonl", "":
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		for _, r := range rows {
			if err := enc.Encode(r); err != nil {
				return err
			}
		}
		return w.Flush()
	case "csv":
		return writeCSV(w, rows)
	}
	return fmt.Errorf("the format %q is neither jsonl nor csv", format)
}

// writeCSV writes RFC 4180 with a header. Its columns are the fields of ExportRow, lists and objects as JSON.
func writeCSV(w *bufio.Writer, rows []*ExportRow) error {
	names, err := columns(&ExportRow{})
	if err != nil {
		return err
	}
	out := csv.NewWriter(w)
	out.UseCRLF = true
	if err := out.Write(names); err != nil {
		return err
	}
	for _, r := range rows {
		fields, err := fieldsOf(r)
		if err != nil {
			return err
		}
		line := make([]string, len(names))
		for i, n := range names {
			line[i] = Cell(cellText(fields[n]))
		}
		if err := out.Write(line); err != nil {
			return err
		}
	}
	out.Flush()
	return errors.Join(out.Error(), w.Flush())
}

func fieldsOf(r *ExportRow) (map[string]json.RawMessage, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	var fields map[string]json.RawMessage
	return fields, json.Unmarshal(b, &fields)
}

// columns are the JSON names of the row's fields, in order.
func columns(r *ExportRow) ([]string, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(strings.NewReader(string(b)))
	if _, err := dec.Token(); err != nil {
		return nil, err
	}
	var names []string
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return nil, err
		}
		name, ok := t.(string)
		if !ok {
			return nil, fmt.Errorf("unexpected %v", t)
		}
		names = append(names, name)
		var skip json.RawMessage
		if err := dec.Decode(&skip); err != nil {
			return nil, err
		}
	}
	return names, nil
}

func cellText(raw json.RawMessage) string {
	var s string
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return ""
	case json.Unmarshal(raw, &s) == nil:
		return s
	}
	return string(raw)
}

// Cell makes a text safe for spreadsheets, which take a cell that begins with one of these characters for a
// formula, also after white space, a quotation mark or in full-width form: an apostrophe goes before it.
// Numbers stay what they are.
func Cell(s string) string {
	if _, err := strconv.ParseFloat(s, 64); err == nil && !strings.ContainsAny(s, "+xXpPiInN_") {
		return s
	}
	for _, r := range s {
		switch r {
		case '=', '+', '-', '@', '\t', '\r', '\n', '|', '%', '＝', '＋', '－', '＠':
			return "'" + s
		case ' ', '"', '\'', '\u00a0', '\u3000':
			continue
		}
		break
	}
	return s
}
