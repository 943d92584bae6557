package audit

import (
	"slices"
	"time"

	"github.com/countersign/countersign/schemas"
)

// planned opens the row of an operation that is held, or about to be carried out, or continues it: an operation is one
// row, however many runs plan it, until its effect was seen or something else approves it.
func (c *collector) planned(r *schemas.Record, o *schemas.Operation) {
	k := [2]string{r.Application, o.ID}
	authorities := c.authoritiesOf(o.Cause, o.Documents)
	e := c.current[k]
	if e != nil && (e.settled || !slices.Equal(e.op.Documents, o.Documents) || !slices.Equal(e.authorities, authorities)) {
		c.unwanted(e, r.Time, schemas.EndedReplaced)
		c.settle(e)
		e = nil
	}
	if e == nil {
		e = c.open(r, o, authorities)
	}
	if e.run != r.Run {
		e.run = r.Run
		e.row.Runs++
		e.tries, e.tried = e.tries+e.tried, 0
	}
	switch {
	case o.Removes():
		c.removing[e.at] = r.Time
	case o.Kind == schemas.OperationGrant && o.Cause == schemas.CauseDrift && c.world.items[e.at] == nil:
		c.gone(e.at, r.Time) // verified once, by a record without a baseline
	}
	e.op = o
	e.row.Sequence, e.row.Hash, e.row.Run = r.Sequence, r.Hash, r.Run
	describeRow(e.row, o)
	runRow(e.row, c.runs[r.Run])
	if r.Type == schemas.RecordHeld {
		e.row.State = schemas.AuditHeld
		return
	}
	e.row.State = schemas.AuditPending
	if e.row.IntentSequence == 0 {
		e.row.IntentSequence = r.Sequence
	}
	for i := range r.Fulfilments {
		if f := &r.Fulfilments[i]; f.Operation == o.ID {
			e.row.Provisioning, e.row.Submission, e.row.SubmittedAt, e.row.FulfilledIn = f.Via, f.Submission, &r.Time, f.To
		}
	}
}

// open begins a row: who approved it is what the ledger has up to here.
func (c *collector) open(r *schemas.Record, o *schemas.Operation, authorities []*admitted) *entry {
	row := &schemas.AuditRow{State: schemas.AuditPending, Time: r.Time, Sequence: r.Sequence, Hash: r.Hash, Run: r.Run, Operation: o.ID, Application: r.Application}
	describeRow(row, o)
	e := &entry{row: row, op: o, authorities: authorities, at: place{r.Application, operationItem(o)}}
	c.authorise(e, o.Documents)
	c.entries = append(c.entries, e)
	c.current[[2]string{r.Application, o.ID}] = e
	c.atItem[e.at] = e
	if c.unsettled[r.Application] == nil {
		c.unsettled[r.Application] = map[*entry]bool{}
	}
	c.unsettled[r.Application][e] = true
	return e
}

// settle notes that the effect of a row was seen, or that it is no longer wanted.
func (c *collector) settle(e *entry) {
	e.settled = true
	delete(c.unsettled[e.row.Application], e)
}

// authorise fills in the last document and its verdict.
func (c *collector) authorise(e *entry, docs []schemas.DocumentID) {
	for _, d := range docs {
		c.used[d] = true
	}
	if n := len(docs); n > 0 {
		requestRow(e.row, c.request(docs[n-1]))
		authoriseRow(e.row, e.authorities[n-1])
	}
}

// entry is the row that an outcome or a read-back is about: that of the last intent, also when a later run
// finishes what an earlier one began.
func (c *collector) entry(r *schemas.Record) *entry {
	o := r.Operation
	e := c.current[[2]string{r.Application, o.ID}]
	if e == nil {
		e = c.open(r, o, c.authoritiesOf(o.Cause, o.Documents))
		e.run, e.row.Runs = r.Run, 1
		runRow(e.row, c.runs[r.Run])
	}
	e.row.Sequence, e.row.Hash = r.Sequence, r.Hash
	return e
}

func (c *collector) outcome(r *schemas.Record) {
	e, o := c.entry(r), r.Outcome
	row := e.row
	row.Outcome, row.Error, row.ErrorCode = o.Status, o.Error, o.Code
	if e.run != r.Run { // an answer that came in a run of its own
		e.run, e.tries, e.tried = r.Run, e.tries+e.tried, 0
	}
	e.tried = max(e.tried, o.Attempts)
	row.Attempts = e.tries + e.tried
	row.Started, row.Finished = &o.Started, &o.Finished
	row.State = schemas.AuditState(o.Status)
	if o.Status == schemas.OutcomeFailed {
		at := o.Finished
		if at.IsZero() {
			at = r.Time
		}
		if row.Failures++; row.FirstFailedAt == nil {
			row.FirstFailedAt, row.FirstError = &at, o.Error
		}
		row.LastFailedAt = &at
	}
	if o.Fulfilment != nil {
		e.fulfilled(o)
	}
}

func (c *collector) verification(r *schemas.Record) {
	e, v := c.entry(r), r.Verification
	row := e.row
	row.Verification, row.VerifiedAt, row.Before, row.After = v.Status, &r.Time, v.Before, v.After
	// Success is judged by reading back; so is a failure, unless the operation was never tried.
	if row.Outcome == schemas.OutcomeApplied || row.Outcome == "" || v.Status == schemas.VerificationVerified {
		row.State = schemas.AuditState(v.Status)
	}
	switch {
	case inEffect(v.Status):
		if row.EffectiveAt == nil {
			at := r.Time
			if row.Outcome == schemas.OutcomeApplied && row.Finished != nil && !row.Finished.IsZero() && row.Finished.Before(at) {
				at = *row.Finished
			}
			row.EffectiveAt = &at
		}
		if !e.settled {
			c.settled(e, *row.EffectiveAt)
		}
		c.settle(e)
		c.lastOp[e.at] = e
	case v.Status == schemas.VerificationSuperseded:
		c.unwanted(e, r.Time, schemas.EndedUnwanted)
		c.settle(e)
	}
	for _, b := range r.Baseline {
		c.replaced(r, &b)
	}
}

// fulfilled notes an outside party's answer.
func (e *entry) fulfilled(o *schemas.OutcomeRecord) {
	f := o.Fulfilment
	e.row.Provisioning, e.row.Submission, e.row.FulfilledIn, e.row.FulfilmentMessage = f.Via, f.Submission, f.To, f.Message
	e.vouched, e.independent = f.Authenticated, f.Independent
	e.row.FulfilledBy, e.row.FulfilledByMethod, e.row.FulfilledAt = f.By, f.Method, nil
	switch o.Status {
	case schemas.OutcomeApplied, schemas.OutcomeFailed:
		e.row.FulfilledAt = &o.Finished
	case schemas.OutcomePending:
		e.row.FulfilledBy, e.row.FulfilledByMethod = "", ""
	}
}

// unwanted ends a row whose effect was never seen.
func (c *collector) unwanted(e *entry, at time.Time, how schemas.EndedHow) {
	if e.settled || e.row.EndedAt != nil || e.row.Outcome == schemas.OutcomeApplied {
		return
	}
	e.row.EndedAt, e.row.EndedHow = &at, how
}

// runEnded ends the rows of operations that a complete plan no longer has.
func (c *collector) runEnded(r *schemas.Record) {
	if r.RunInfo.Counts[countIncomplete] > 0 {
		return
	}
	for e := range c.unsettled[r.Application] {
		if e.run == r.Run || e.row.Outcome == schemas.OutcomePending || e.row.Outcome == schemas.OutcomeApplied {
			continue
		}
		c.unwanted(e, r.Time, schemas.EndedUnwanted)
		c.settle(e)
	}
}

// settled keeps what is granted up to date with an operation whose effect was seen.
func (c *collector) settled(e *entry, at time.Time) {
	switch e.op.Kind {
	case schemas.OperationGrant:
		delete(c.lapsed, e.at)
		c.inForce(e)
	case schemas.OperationRevoke:
		c.ended(e.at, e, at, schemas.EndedByOperation)
	case schemas.OperationDelete:
		// A deletion ends what the connection has, and what it is given to others.
		side := connection{e.row.Application, e.op.Connection}
		for p := range c.sides[side] {
			c.ended(p, e, at, schemas.EndedConnection)
		}
		delete(c.sides, side)
	}
}

// inForce adds a row to the grants in effect.
func (c *collector) inForce(e *entry) {
	for _, n := range sidesOf(e.at.item) {
		side := connection{e.at.application, n}
		if c.sides[side] == nil {
			c.sides[side] = map[place]bool{}
		}
		c.sides[side][e.at] = true
	}
	if !slices.Contains(c.live[e.at], e) {
		c.live[e.at] = append(c.live[e.at], e)
	}
}

// ended ends the grants of an item.
func (c *collector) ended(p place, by *entry, at time.Time, how schemas.EndedHow) {
	for _, e := range c.live[p] {
		e.row.EndedAt, e.row.EndedHow = &at, how
		if by != nil {
			e.row.EndedBy, e.row.EndedCause = by.row.Operation+"@"+by.row.Run, by.row.Cause
		}
	}
	delete(c.live, p)
	delete(c.lapsed, p)
}

// gone ends grants that were found missing. They continue if the access is there again without an operation of ours.
func (c *collector) gone(p place, at time.Time) {
	read := c.world.reads[p.application].At
	for _, e := range c.live[p] {
		e.row.EndedAt, e.row.EndedHow = &at, schemas.EndedByHand
		if e.row.DriftedAt == nil {
			e.row.DriftedAt = &at
		}
		e.lastLive = read
	}
	if list := c.live[p]; len(list) > 0 {
		c.lapsed[p] = list
		delete(c.live, p)
	}
}

func (c *collector) back(p place, _ time.Time) {
	for _, e := range c.lapsed[p] {
		e.row.EndedAt, e.row.EndedHow = nil, ""
		c.inForce(e)
	}
	delete(c.lapsed, p)
}

// replaced ends the grants of an item whose documents no longer ask for it, while others do; and those that an absent
// item had.
func (c *collector) replaced(r *schemas.Record, b *schemas.BaselineItem) {
	p := place{r.Application, b.Item}
	if !isPresent(b.Token) {
		return
	}
	_, wanted := words(b.Token)
	if len(wanted) == 0 {
		return
	}
	c.live[p] = slices.DeleteFunc(c.live[p], func(e *entry) bool {
		for _, d := range e.row.Documents {
			if slices.Contains(wanted, markOf(d)) {
				return false
			}
		}
		e.row.EndedAt, e.row.EndedHow = &r.Time, schemas.EndedReplaced
		return true
	})
	if len(c.live[p]) == 0 {
		delete(c.live, p)
	}
}
