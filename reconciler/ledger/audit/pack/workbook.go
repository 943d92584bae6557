package pack

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/xuri/excelize/v2"

	"github.com/countersign/countersign/reconciler/ledger/audit"
	"github.com/countersign/countersign/schemas"
)

// column is one column of a sheet: its name in words, and for the legend where it comes from and what it means.
type column[T any] struct {
	name, source, meaning string
	value                 func(T) any
}

const recorded = "ledger"

func rowColumns() []column[*schemas.AuditRow] {
	type r = *schemas.AuditRow
	return []column[r]{
		{"State", recorded, "the state: verified means that a read of the application showed it", func(r r) any { return string(r.State) }},
		{"Took effect", recorded, "when the application carried it out, in UTC; empty without effect", func(r r) any { return instant(r.EffectiveAt) }},
		{"Recorded", recorded, "when it was first recorded, in UTC", func(r r) any { return instant(&r.Time) }},
		{"Application", "request", "the system whose access changed", func(r r) any { return r.Application }},
		{"Group, role or policy", "request", "the group, role or policy that changed", func(r r) any { return r.Connection }},
		{"Change", "plan", "grant, revoke, create, update or delete", func(r r) any { return string(r.Kind) }},
		{"Privilege", "request", "the right; MEMBER is a membership", func(r r) any { return r.Privilege }},
		{"To or on", "request", "the account that gains it, or the resource that it is about", func(r r) any { return r.Target }},
		{"Privileged", "plan", "whether it counts as powerful access", func(r r) any { return yesNo(r.Privileged) }},
		{"Because of", "plan", "request, start, expiry, undo, drift or unmanaged", func(r r) any { return string(r.Cause) }},
		{"Asked for by", "forge", "the authors of the change, as the forge or a signature shows", func(r r) any { return strings.Join(r.Requesters, ", ") }},
		{"Reason", "request", "the reason that the request gives", func(r r) any { return cmp.Or(r.Reason, r.ChangeReason) }},
		{"Ticket", "request", "the ticket that the request names", func(r r) any { return r.Ticket }},
		{"Approved by", "forge", "the people whose approvals counted", func(r r) any { return strings.Join(approvers(r), ", ") }},
		{"Approved at", "forge", "the last approval that counted, in UTC; empty if the forge keeps no times", func(r r) any { return instant(approvedAt(r)) }},
		{"Rule", "policy", "the rules, and the approvals that they required", func(r r) any { return strings.Join(rules(r), "; ") }},
		{"Expires", "request", "when the access is to end, in UTC", func(r r) any { return instant(r.Expires) }},
		{"Ended", recorded, "when it ended, in UTC", func(r r) any { return instant(r.EndedAt) }},
		{"How it ended", recorded, "by an operation, by hand, with its role, or replaced by another request", func(r r) any { return string(r.EndedHow) }},
		{"Held or waits because", recorded, "the reason why it isn't carried out", func(r r) any { return r.HoldReason }},
		{"Attempts", recorded, "how often it was tried, in all runs", func(r r) any { return r.Attempts }},
		{"First failure", recorded, "when it first failed, in UTC", func(r r) any { return instant(r.FirstFailedAt) }},
		{"Last failure", recorded, "when it last failed, in UTC", func(r r) any { return instant(r.LastFailedAt) }},
		{"Error", "application", "the application's last answer to a failure", func(r r) any { return r.Error }},
		{"Changed by hand", "read", "how live access differed from what was approved", func(r r) any { return string(r.Sighting) }},
		{"First seen", "read", "the first read that showed it, in UTC", func(r r) any { return instant(r.FirstSeenAt) }},
		{"Last seen", "read", "the last read that showed it, in UTC", func(r r) any { return instant(r.LastSeenAt) }},
		{"Live before approval", "read", "whether the access was there before it was approved", func(r r) any { return string(r.LiveBeforeApproval) }},
		{"Approved before applied", "assertion", "true, false or unknown", func(r r) any { return string(r.ApprovedBeforeApplied) }},
		{"Approved content is applied content", "assertion", "true, false or unknown", func(r r) any { return string(r.ApprovedContentIsAppliedContent) }},
		{"Granted equals approved", "assertion", "true, false or unknown", func(r r) any { return string(r.GrantedEqualsApproved) }},
		{"Independent approver", "assertion", "true, false or unknown", func(r r) any { return string(r.IndependentApprover) }},
		{"Reason present", "assertion", "true, false or unknown", func(r r) any { return string(r.RationalePresent) }},
		{"Expired in time", "assertion", "true, false or unknown", func(r r) any { return string(r.ExpiredInTime) }},
		{"Proof complete", "assertion", "whether signature, chain, evidence and read-back are all on record", func(r r) any { return string(r.ProofComplete) }},
		{"Missing proof", "assertion", "those of these that are not", func(r r) any { return strings.Join(r.ProofMissing, ", ") }},
		{"Request file", "Git", "the file of the request", func(r r) any { return r.RequestPath }},
		{"Merge commit", "Git", "the commit that admitted it", func(r r) any { return r.MergeCommit }},
		{"Record", recorded, "the number of the last record about it, in records.jsonl", func(r r) any { return r.Sequence }},
	}
}

func entitlementColumns() []column[*schemas.AuditEntitlement] {
	type e = *schemas.AuditEntitlement
	return []column[e]{
		{"Application", recorded, "the system that holds it", func(e e) any { return e.Application }},
		{"Group, role or policy", recorded, "the group, role or policy through which it is held", func(e e) any { return e.Connection.String() }},
		{"What", recorded, "connection, payload (attributes) or entitlement", func(e e) any { return string(e.Kind) }},
		{"Privilege", recorded, "the right; MEMBER is a membership", func(e e) any { return e.Privilege }},
		{"To or on", recorded, "the member, or the resource", func(e e) any {
			if e.Target == nil {
				return ""
			}
			return e.Target.String()
		}},
		{"Since", recorded, "the first record that shows it, in UTC", func(e e) any { return instant(&e.Since) }},
		{"Origin", recorded, "request, or unmanaged if nobody asked for it", func(e e) any { return string(e.Origin) }},
		{"Source", recorded, "operation, adoption (found in place) or read", func(e e) any { return string(e.Source) }},
		{"Requests", recorded, "the request files that ask for it", func(e e) any {
			var out []string
			for _, d := range e.Requests {
				out = append(out, d.Path)
			}
			return strings.Join(out, ", ")
		}},
	}
}

func exceptionColumns() []column[*schemas.AuditException] {
	type x = *schemas.AuditException
	return []column[x]{
		{"Kind", recorded, "the kind of exception", func(x x) any { return string(x.Kind) }},
		{"What", recorded, "a description", func(x x) any { return x.What }},
		{"Who", "forge", "the people, as far as known", func(x x) any { return strings.Join(x.Who, ", ") }},
		{"When", recorded, "when it began, in UTC", func(x x) any { return instant(&x.At) }},
		{"Why", recorded, "the reason on record", func(x x) any { return x.Why }},
		{"Ended", recorded, "when it ended, in UTC", func(x x) any { return instant(x.EndedAt) }},
		{"How it ended", recorded, "how it ended", func(x x) any { return string(x.EndedHow) }},
		{"Open", recorded, "whether it lasts and nobody accepted it", func(x x) any { return yesNo(x.Open) }},
		{"Accepted by", "Git", "the owner that a document names, and its approvers", func(x x) any {
			if x.Accepted == nil {
				return ""
			}
			return strings.Join(append([]string{x.Accepted.Owner}, x.Accepted.By...), ", ")
		}},
		{"Accepted because", "Git", "the document's reason", func(x x) any {
			if x.Accepted == nil {
				return ""
			}
			return x.Accepted.Reason
		}},
		{"Application", recorded, "the system that it is about", func(x x) any { return x.Application }},
		{"Request file", "Git", "the file of the request", func(x x) any { return x.RequestPath }},
		{"Id", recorded, "its id, to accept it by", func(x x) any { return x.ID }},
	}
}

func configurationColumns() []column[*schemas.AuditConfigurationChange] {
	type c = *schemas.AuditConfigurationChange
	return []column[c]{
		{"When", recorded, "when it was judged, in UTC", func(c c) any { return instant(&c.Time) }},
		{"File", "Git", "the settings, application, people or policy file", func(c c) any { return c.Path }},
		{"Verdict", recorded, "admitted, or anchor for the first one", func(c c) any { return string(c.Verdict) }},
		{"Commit", "Git", "the commit", func(c c) any { return c.Commit }},
		{"Before", "Git", "the file's blob before; empty for a new file", func(c c) any { return c.Before }},
		{"After", "Git", "the file's blob after; empty for a removed file", func(c c) any { return c.After }},
	}
}

func instant(t *time.Time) string {
	if t == nil || t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func approvers(r *schemas.AuditRow) (out []string) {
	for _, a := range r.Approvals {
		if a.Counts {
			out = append(out, a.Person)
		}
	}
	return out
}

func approvedAt(r *schemas.AuditRow) (last *time.Time) {
	for _, a := range r.Approvals {
		if a.Counts && a.At != nil && (last == nil || a.At.After(*last)) {
			last = a.At
		}
	}
	return last
}

func rules(r *schemas.AuditRow) (out []string) {
	for _, q := range r.Required {
		out = append(out, fmt.Sprintf("%s: %d of %s", q.Code, max(q.Count, 1), strings.Join(q.From, ", ")))
	}
	return out
}

// book is a workbook under construction. It keeps the first error.
type book struct {
	*excelize.File
	bold int
	err  error
}

// workbook writes the sheets. Each cell is a text or a number: none is ever a formula.
func workbook(out io.Writer, p *audit.Population, sample []*schemas.AuditRow, seed uint64) (err error) {
	b := &book{File: excelize.NewFile()}
	defer func() {
		if c := b.Close(); err == nil {
			err = c
		}
	}()
	if b.bold, err = b.NewStyle(&excelize.Style{Font: &excelize.Font{Bold: true}}); err != nil {
		return err
	}
	b.lines("Overview", overview(p, sample, seed))
	if b.err == nil {
		b.err = b.DeleteSheet("Sheet1")
	}
	table(b, "Population", rowColumns(), p.Rows)
	table(b, "Sample", rowColumns(), sample)
	table(b, "Entitlements at start", entitlementColumns(), pointers(p.Start.Entitlements))
	table(b, "Entitlements at end", entitlementColumns(), pointers(p.End.Entitlements))
	table(b, "Exceptions", exceptionColumns(), pointers(p.Manifest.Exceptions))
	table(b, "Control configuration", configurationColumns(), pointers(p.Manifest.Configuration))
	table(b, "Overrides", rowColumns(), overrides(p.Rows))
	b.lines("Legend", legend())
	if b.err != nil {
		return b.err
	}
	return b.Write(out)
}

// overrides are rows that came about by something out of the ordinary: drift that was corrected, and admitted exceptions.
func overrides(rows []*schemas.AuditRow) (out []*schemas.AuditRow) {
	for _, r := range rows {
		if r.Hold == schemas.HoldBudget || r.Cause == schemas.CauseDrift || r.Cause == schemas.CauseUnmanaged {
			out = append(out, r)
		}
	}
	return out
}

func pointers[T any](list []T) []*T {
	out := make([]*T, len(list))
	for i := range list {
		out[i] = &list[i]
	}
	return out
}

func overview(p *audit.Population, sample []*schemas.AuditRow, seed uint64) [][]any {
	m := &p.Manifest
	out := [][]any{{"Evidence of access changes"}, {"Application", cmp.Or(m.Application, "all")}, {"From", instant(m.Since)}, {"Until", instant(m.Until)}, {"As of", instant(m.AsOf)},
		{"Which rows are in the period", m.Period}, {"Rows", m.Rows}, {"Sampled", len(sample)}, {"Seed of the sample", fmt.Sprint(seed)},
		{"Records", m.Records}, {"Last record's hash", m.Head}, {"Hash chain", map[bool]string{true: "intact", false: "BROKEN"}[m.ChainOK]},
		{"Request files", m.RequestFiles}, {"Reconciled to records", m.Reconciled}, {"Waiting", strings.Join(m.Unreconciled, ", ")}, {"Exceptions", len(m.Exceptions)}, {"Open exceptions", m.Open}, {}, {"State", "Rows"}}
	for _, s := range sortedStates(m.States) {
		out = append(out, []any{string(s), m.States[s]})
	}
	out = append(out, []any{}, []any{"Application", "Last complete read (UTC)", "Not read"})
	for _, r := range m.Reads {
		var not []string
		for _, n := range r.NotRead {
			not = append(not, fmt.Sprintf("%d %s", n.Count, n.What))
		}
		if r.UnmanagedIgnored {
			not = append(not, "access that no request mentions, which the application's settings ignore")
		}
		out = append(out, []any{r.Application, instant(&r.At), strings.Join(not, ", ")})
	}
	return out
}

func legend() [][]any {
	out := [][]any{{"Sheet", "Column", "Comes from", "Meaning"}}
	out = append(out, explained("Population, Sample, Overrides", rowColumns())...)
	out = append(out, explained("Entitlements", entitlementColumns())...)
	out = append(out, explained("Exceptions", exceptionColumns())...)
	return append(out, explained("Control configuration", configurationColumns())...)
}

func explained[T any](sheet string, columns []column[T]) (out [][]any) {
	for _, c := range columns {
		out = append(out, []any{sheet, c.name, c.source, c.meaning})
	}
	return out
}

// table writes a sheet with a header line that stays in view.
func table[T any](b *book, sheet string, columns []column[T], rows []T) {
	lines := make([][]any, 0, len(rows)+1)
	header := make([]any, len(columns))
	for i, c := range columns {
		header[i] = c.name
	}
	lines = append(lines, header)
	for _, r := range rows {
		cells := make([]any, len(columns))
		for i, c := range columns {
			cells[i] = c.value(r)
		}
		lines = append(lines, cells)
	}
	b.lines(sheet, lines)
}

// maxCell is how much text one cell of the format holds.
const maxCell = 32767

func (b *book) lines(sheet string, lines [][]any) {
	if b.err != nil {
		return
	}
	if _, b.err = b.NewSheet(sheet); b.err != nil {
		return
	}
	var w *excelize.StreamWriter
	if w, b.err = b.NewStreamWriter(sheet); b.err != nil {
		return
	}
	if b.err = w.SetColWidth(1, 40, 22); b.err != nil {
		return
	}
	if len(lines) > 1 && len(lines[0]) > 1 {
		if b.err = w.SetPanes(&excelize.Panes{Freeze: true, YSplit: 1, TopLeftCell: "A2", ActivePane: "bottomLeft"}); b.err != nil {
			return
		}
	}
	for i, cells := range lines {
		out := make([]any, len(cells))
		for j, v := range cells {
			switch v = text(v); {
			case v == "":
			case i == 0:
				out[j] = excelize.Cell{Value: v, StyleID: b.bold}
			default:
				out[j] = v
			}
		}
		if b.err = w.SetRow(fmt.Sprintf("A%d", i+1), out); b.err != nil {
			return
		}
	}
	b.err = w.Flush()
}

// text cuts what a cell can't hold. A text beginning with = stays a text: only Cell.Formula makes a formula. Spreadsheets
// that are asked to evaluate a text again see an apostrophe.
func text(v any) any {
	s, ok := v.(string)
	if !ok {
		return v
	}
	if s = audit.Cell(s); len(s) > maxCell/4 {
		s = strings.ToValidUTF8(s[:maxCell/4], "") + " … (complete in rows.jsonl)"
	}
	return s
}
