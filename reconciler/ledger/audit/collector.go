package audit

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/schemas"
)

// entry is a row under construction.
type entry struct {
	row *schemas.AuditRow
	op  *schemas.Operation // nil for a row without operation
	at  place              // the item, empty for a change without one
	// vouched means that a signature or the forge vouches for who fulfilled it; independent is the assertion about them.
	vouched     bool
	independent *bool
	// authorities are the verdicts that admitted what the row follows from at its place in the ledger, one for each
	// document; nil where none is on record.
	authorities []*admitted
	// settled means that its effect was seen: the next plan with the same operation opens another row.
	settled bool
	// run is the last run that planned it; tries and tried count the attempts of earlier runs and of this one.
	run          string
	tries, tried int
	// lastLive is the last time at which a read showed the access.
	lastLive time.Time
}

// document is an admitted request document with its content.
type document struct {
	schemas.RequestInfo
	*admitted
	at time.Time
}

// collector joins the records of the ledger, read once in order. Each row takes its facts from the records before it.
type collector struct {
	options ExportOptions
	// now is the time of the last record that counts, until its sequence.
	now   time.Time
	until int64
	// head and records are those up to there.
	head     string
	records  int64
	personal map[string]bool
	*verdicts
	world *world

	runs      map[string]*schemas.RunRecord
	entries   []*entry
	current   map[[2]string]*entry       // by application and operation: the one that later records are about
	atItem    map[place]*entry           // by item: the last operation
	unsettled map[string]map[*entry]bool // by application: rows whose effect was not seen
	used      map[schemas.DocumentID]bool
	brought   []document // admitted request documents, in order

	live     map[place][]*entry // grants in effect
	lapsed   map[place][]*entry // those of them that were found missing, until they are granted again or back
	sides    map[connection]map[place]bool
	observed map[sightingID]*entry
	lastOp   map[place]*entry    // the last verified operation
	removing map[place]time.Time // when a plan last had a removal: it was live then

	documents     map[string]schemas.DocumentID // by mark
	accepted      map[string]schemas.AuditAcceptance
	quarantines   []*quarantine
	files         map[string]bool
	bundles       map[string]bool
	versions      map[string]bool
	configuration []schemas.AuditConfigurationChange
}

// sightingID identifies an open sighting.
type sightingID struct {
	place
	kind schemas.SightingKind
}

func newCollector(o ExportOptions) *collector {
	c := &collector{options: o, verdicts: newVerdicts(), world: newWorld(), runs: map[string]*schemas.RunRecord{},
		current: map[[2]string]*entry{}, atItem: map[place]*entry{}, unsettled: map[string]map[*entry]bool{}, used: map[schemas.DocumentID]bool{}, live: map[place][]*entry{}, lapsed: map[place][]*entry{},
		sides: map[connection]map[place]bool{}, observed: map[sightingID]*entry{}, lastOp: map[place]*entry{}, removing: map[place]time.Time{},
		documents: map[string]schemas.DocumentID{}, personal: map[string]bool{}, accepted: map[string]schemas.AuditAcceptance{},
		files: map[string]bool{}, bundles: map[string]bool{}, versions: map[string]bool{}}
	c.world.gone, c.world.back = c.gone, c.back
	return c
}

func (c *collector) in(t time.Time) bool {
	return (c.options.Since.IsZero() || !t.Before(c.options.Since)) && (c.options.Until.IsZero() || t.Before(c.options.Until))
}

func (c *collector) of(application string) bool {
	return c.options.Application == "" || application == c.options.Application
}

// take adds a record. Those after the moment that is asked for are left out.
func (c *collector) take(r schemas.Record) error {
	if c.options.AsOfSequence > 0 && r.Sequence > c.options.AsOfSequence || !c.options.AsOf.IsZero() && r.Time.After(c.options.AsOf) {
		return nil
	}
	if err := ledger.Check(&r); err != nil {
		return fmt.Errorf("record %d: %w", r.Sequence, err)
	}
	c.now, c.until = r.Time, r.Sequence
	noteDocuments(c.documents, &r)
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
		c.outcome(&r)
	case schemas.RecordVerification:
		c.verification(&r)
	case schemas.RecordAdoption:
		c.adoption(&r)
	case schemas.RecordObservation:
		c.observation(&r)
	case schemas.RecordRunEnd:
		c.runEnded(&r)
	}
	c.world.take(&r)
	return nil
}

func (c *collector) admission(r *schemas.Record) {
	a := &admitted{record: r.Admission, sequence: r.Sequence, hash: r.Hash}
	requests := map[string]bool{}
	for _, q := range a.record.Requests {
		requests[q.Document.Path] = true
		if c.in(r.Time) && c.of(q.Application) {
			c.files[q.Document.Path] = true
		}
	}
	for _, f := range a.record.Changes {
		// A request's deletion brings no document: its earlier content shows that it was one.
		if c.wasRequest(f.Path) {
			requests[f.Path] = true
		}
		if !requests[f.Path] && c.in(r.Time) && a.record.Verdict != schemas.AdmissionQuarantined {
			c.configuration = append(c.configuration, schemas.AuditConfigurationChange{Sequence: r.Sequence, Time: r.Time, Commit: a.record.Commit,
				Verdict: a.record.Verdict, Path: f.Path, Before: f.Before, After: f.After})
		}
	}
	if d := a.record.Decision; d != nil && c.in(r.Time) {
		c.bundles[d.Bundle] = true
	}
	switch {
	case a.record.Verdict == schemas.AdmissionQuarantined:
		c.quarantined(r, a, requests)
	case a.record.Verdict.Admits():
		c.admitted(r, a)
	}
}

func (c *collector) admitted(r *schemas.Record, a *admitted) {
	c.unquarantine(r, a)
	c.admit(a)
	for _, x := range a.record.Accepts {
		acceptance := schemas.AuditAcceptance{Owner: x.Owner, Reason: x.Reason, Path: x.Path, At: r.Time, By: []string{}}
		if e := a.record.Evidence; e != nil {
			for _, p := range e.Approvals {
				if p.Counts {
					acceptance.By = append(acceptance.By, p.Person)
				}
			}
		}
		c.accepted[x.Exception] = acceptance
	}
	for _, q := range a.record.Requests {
		c.brought = append(c.brought, document{q, a, r.Time})
	}
}

// quarantined makes the rows of a change that was refused: it is part of the population too.
func (c *collector) quarantined(r *schemas.Record, a *admitted, requests map[string]bool) {
	for _, q := range a.record.Requests {
		c.without(q, a, r.Time).State = schemas.AuditQuarantined
	}
	for _, f := range a.record.Changes {
		c.refuse(f, a)
		c.quarantines = append(c.quarantines, &quarantine{admitted: a, change: f, at: r.Time})
		brought := slices.ContainsFunc(a.record.Requests, func(q schemas.RequestInfo) bool { return q.Document.Path == f.Path })
		if brought {
			continue
		}
		// A control file, a deletion, or what could not be read.
		q := schemas.RequestInfo{Document: schemas.DocumentID{Path: f.Path, Blob: f.After}}
		if requests[f.Path] {
			q.Application = c.info[ledger.Key{Path: f.Path}].Application
		}
		c.without(q, a, r.Time).State = schemas.AuditQuarantined
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

// finish completes the rows and sorts them.
func (c *collector) finish(chain bool, signed int64) []*schemas.AuditRow {
	c.idle()
	var out []*schemas.AuditRow
	for _, e := range c.entries {
		c.lastSeen(e)
		c.assert(e, chain)
		c.prove(e, chain, signed)
		if c.of(e.row.Application) && c.in(instant(e.row)) {
			out = append(out, e.row)
		}
	}
	slices.SortStableFunc(out, func(a, b *schemas.AuditRow) int { return cmp.Compare(a.Sequence, b.Sequence) })
	return out
}

// instant decides which period a row is in: when it took effect, or was first recorded.
func instant(r *schemas.AuditRow) time.Time {
	if r.EffectiveAt != nil {
		return *r.EffectiveAt
	}
	return r.Time
}

// lastSeen fills in until when a row's access was seen.
func (c *collector) lastSeen(e *entry) {
	read := c.world.reads[e.row.Application].At
	if e.row.Sighting != "" && e.row.EndedAt == nil && !read.IsZero() {
		e.row.LastSeenAt = &read
	}
	if e.row.EndedAt == nil && c.world.live(e.at) {
		e.lastLive = read
	}
	if at := c.removing[e.at]; e.row.EndedAt == nil || !at.After(*e.row.EndedAt) {
		if at.After(e.lastLive) {
			e.lastLive = at
		}
	}
}

// idle makes the rows of admitted requests without operations, with the reason why they wait.
func (c *collector) idle() {
	for _, d := range c.brought {
		if c.used[d.Document] {
			continue
		}
		c.used[d.Document] = true
		row := c.without(d.RequestInfo, d.admitted, d.at)
		switch {
		case c.latest[d.Document.Path].after != d.Document.Blob:
			row.State = schemas.AuditUndone
		case slices.ContainsFunc(c.currentTokens(), func(marks map[string]bool) bool { return marks[markOf(d.Document)] }):
			row.State = schemas.AuditAdopted
		default:
			row.State, row.HoldReason = schemas.AuditWaiting, c.waits(&d)
		}
	}
}

// currentTokens are the documents that the last statements about all items name, in one set.
func (c *collector) currentTokens() []map[string]bool {
	if c.marked == nil {
		c.marked = map[string]bool{}
		for _, t := range c.world.tokens {
			_, list := words(t)
			for _, m := range list {
				c.marked[m] = true
			}
		}
	}
	return []map[string]bool{c.marked}
}

// waits explains why nothing was done for an admitted request.
func (c *collector) waits(d *document) string {
	for _, f := range c.world.failing[d.Application] {
		if f.Document.Path == d.Document.Path && f.Document.Index == d.Document.Index {
			return f.Message
		}
	}
	read, ok := c.world.reads[d.Application]
	if !ok || read.At.Before(d.at) {
		return "no complete read of " + d.Application + " is on record since it was admitted"
	}
	return "nothing to do when the application was last read: it starts later, or later requests replaced all of it"
}
