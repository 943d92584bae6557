package audit

import (
	"strings"
	"time"

	"github.com/countersign/countersign/schemas"
)

// adoption makes rows of what a read found as requests want it: access that was live before, a further approval of the
// same access, or a removal of what was gone already.
func (c *collector) adoption(r *schemas.Record) {
	for i := range r.Baseline {
		b := &r.Baseline[i]
		p := place{r.Application, b.Item}
		word, all := words(b.Token)
		c.replaced(r, b)
		if strings.HasPrefix(word, "absent") {
			c.foundGone(r, p)
		}
		docs := c.documentsOf(added(c.world.tokens[p], b.Token))
		if len(docs) == 0 || c.resolved(r, p, docs) {
			continue
		}
		kind, ok := adoptedKind(b.Item, word)
		if !ok || word == "absent-expiry" || word == "absent-undo" && len(docs) < len(all) {
			continue
		}
		c.adopted(r, b, kind, word, docs)
	}
}

// adoptedKind returns the kind of a request about an item; false for a payload, which is part of its connection's row.
func adoptedKind(item, word string) (schemas.OperationKind, bool) {
	present := word == "present"
	switch {
	case strings.HasPrefix(item, "e") && present:
		return schemas.OperationGrant, true
	case strings.HasPrefix(item, "e") && strings.HasPrefix(word, "absent"):
		return schemas.OperationRevoke, true
	case strings.HasPrefix(item, "c") && present:
		return schemas.OperationCreate, true
	case strings.HasPrefix(item, "c") && strings.HasPrefix(word, "absent"):
		return schemas.OperationDelete, true
	}
	return "", false
}

func (c *collector) documentsOf(marks []string) []schemas.DocumentID {
	var out []schemas.DocumentID
	for _, m := range marks {
		if d, ok := c.documents[m]; ok {
			out = append(out, d)
		}
	}
	return out
}

// foundGone ends the grants of an item that a read no longer showed, without an operation of ours.
func (c *collector) foundGone(r *schemas.Record, p place) {
	read := c.world.reads[p.application].At
	for _, e := range c.live[p] {
		e.lastLive = read
	}
	c.ended(p, nil, r.Time, schemas.EndedByHand)
	if n, ok := connectionOf(p.item); ok {
		side := connection{p.application, n}
		for q := range c.sides[side] {
			c.ended(q, nil, r.Time, schemas.EndedConnection)
		}
		delete(c.sides, side)
	}
}

// resolved ends the row of an operation that was planned for the same documents, and that a read found done.
func (c *collector) resolved(r *schemas.Record, p place, docs []schemas.DocumentID) bool {
	e := c.atItem[p]
	if e == nil || e.settled || e.row.EndedAt != nil || !names(e.row.Documents, docs) {
		return false
	}
	e.row.State, e.row.Verification, e.row.VerifiedAt, e.row.EffectiveAt = schemas.AuditAdopted, schemas.VerificationInPlace, &r.Time, &r.Time
	e.row.Sequence, e.row.Hash = r.Sequence, r.Hash
	c.settle(e)
	if e.op.Kind == schemas.OperationGrant {
		c.inForce(e)
	}
	return true
}

func names(have, want []schemas.DocumentID) bool {
	for _, d := range want {
		for _, h := range have {
			if h == d {
				return true
			}
		}
	}
	return false
}

// adopted makes the row of one item.
func (c *collector) adopted(r *schemas.Record, b *schemas.BaselineItem, kind schemas.OperationKind, word string, docs []schemas.DocumentID) {
	p := place{r.Application, b.Item}
	cause := schemas.CauseRequest
	if word == "absent-undo" {
		cause = schemas.CauseUndo
	}
	row := &schemas.AuditRow{State: schemas.AuditAdopted, Time: r.Time, EffectiveAt: &r.Time, Sequence: r.Sequence, Hash: r.Hash, Run: r.Run, Application: r.Application,
		Kind: kind, Cause: cause, Documents: docs, Expires: b.Expires, TargetID: b.NativeID, Verification: schemas.VerificationInPlace, VerifiedAt: &r.Time,
		LiveBeforeApproval: schemas.Unknown, RequestPath: docs[len(docs)-1].Path, RequestIndex: docs[len(docs)-1].Index, RequestBlob: docs[len(docs)-1].Blob}
	nameRow(row, b.Item)
	e := &entry{row: row, at: p, authorities: c.authoritiesOf(cause, docs), settled: true}
	switch x := c.world.extras[p]; {
	case kind == schemas.OperationRevoke || kind == schemas.OperationDelete || isPresent(c.world.tokens[p]):
		row.LiveBeforeApproval = schemas.False // it was approved before, or it is a removal
	case x != nil && before(x.sequence, e.authorities):
		row.LiveBeforeApproval, row.FirstSeenAt = schemas.True, &x.since
	}
	runRow(row, c.runs[r.Run])
	c.authorise(e, docs)
	c.entries = append(c.entries, e)
	if kind == schemas.OperationGrant {
		c.inForce(e)
	}
}

// before reports whether a record comes before all verdicts.
func before(sequence int64, authorities []*admitted) bool {
	for _, a := range authorities {
		if a == nil || sequence > a.sequence {
			return false
		}
	}
	return true
}

func nameRow(r *schemas.AuditRow, item string) {
	p := strings.Split(item, separatorOfItems)
	if len(p) >= 3 {
		r.Connection = schemas.Name{Type: p[1], SourceName: p[2]}.String()
	}
	if len(p) == 6 {
		r.Target, r.Privilege = schemas.Name{Type: p[3], SourceName: p[4]}.String(), p[5]
	}
}

// observation opens and ends the rows of changes by hand.
func (c *collector) observation(r *schemas.Record) {
	o := r.Observation
	for i := range o.Closed {
		c.closed(r, &o.Closed[i])
	}
	for i := range o.Opened {
		c.opened(r, &o.Opened[i])
	}
}

func (c *collector) opened(r *schemas.Record, s *schemas.Sighting) {
	p, at := place{r.Application, s.Item}, r.Observation.ReadAt
	row := &schemas.AuditRow{State: schemas.AuditObserved, Time: r.Time, EffectiveAt: &at, Sequence: r.Sequence, Hash: r.Hash, Run: r.Run, Application: r.Application,
		Sighting: s.Kind, FirstSeenAt: &at, Foreign: s.Foreign, TargetID: s.NativeID, Documents: s.Documents, Kind: observedKind(s), LiveBeforeApproval: schemas.Unknown}
	if row.Cause = schemas.CauseDrift; s.Kind == schemas.SightingUnmanaged {
		row.Cause = schemas.CauseUnmanaged
	}
	nameRow(row, s.Item)
	if n := len(s.Documents); n > 0 {
		d := s.Documents[n-1]
		row.RequestPath, row.RequestIndex, row.RequestBlob = d.Path, d.Index, d.Blob
	}
	e := &entry{row: row, at: p, settled: true}
	c.entries = append(c.entries, e)
	c.observed[sightingID{p, s.Kind}] = e
	if s.Kind == schemas.SightingChanged {
		c.changed(p, at)
	}
}

// changed notes on the connection's last payload that it was found changed.
func (c *collector) changed(p place, at time.Time) {
	if e := c.lastOp[p]; e != nil && e.row.DriftedAt == nil {
		e.row.DriftedAt = &at
	}
}

// observedKind is what somebody did by hand.
func observedKind(s *schemas.Sighting) schemas.OperationKind {
	entitlement := strings.HasPrefix(s.Item, "e")
	switch {
	case s.Kind == schemas.SightingChanged:
		return schemas.OperationUpdate
	case s.Kind.Live() && entitlement:
		return schemas.OperationGrant
	case s.Kind.Live():
		return schemas.OperationCreate
	case entitlement:
		return schemas.OperationRevoke
	}
	return schemas.OperationDelete
}

// closed ends the row of a change by hand, and tells how it ended.
func (c *collector) closed(r *schemas.Record, s *schemas.Sighting) {
	p := place{r.Application, s.Item}
	id := sightingID{p, s.Kind}
	e := c.observed[id]
	if e == nil {
		return
	}
	delete(c.observed, id)
	at := r.Observation.ReadAt
	e.row.EndedAt, e.row.EndedHow = &at, schemas.EndedByHand
	if read := c.world.reads[p.application].At; !read.IsZero() && !read.Before(*e.row.FirstSeenAt) {
		e.row.LastSeenAt = &read
	} else {
		e.row.LastSeenAt = e.row.FirstSeenAt
	}
	by := c.lastOp[p]
	for _, n := range sidesOf(p.item) {
		// The connection was deleted with everything granted to it.
		q := place{p.application, strings.Join([]string{"c", n.Type, n.SourceName}, separatorOfItems)}
		if d := c.lastOp[q]; d != nil && d.op.Kind == schemas.OperationDelete && (by == nil || by.row.Sequence < d.row.Sequence) {
			by = d
		}
	}
	switch {
	case by != nil && by.row.Sequence > e.row.Sequence:
		e.row.EndedBy, e.row.EndedCause, e.row.EndedHow = by.row.Operation+"@"+by.row.Run, by.row.Cause, schemas.EndedByOperation
		if by.op.Kind == schemas.OperationDelete && strings.HasPrefix(p.item, "e") {
			e.row.EndedHow = schemas.EndedConnection
		}
		e.row.EndedAt = by.row.EffectiveAt
	case s.Kind.Live() && c.world.live(p):
		e.row.EndedHow = schemas.EndedApproved
	}
}
