package audit

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/schemas"
)

// longFailure is how long an operation may fail before that is an exception.
const longFailure = 24 * time.Hour

// exceptions lists what a person should look at in the period, sorted by time: what began in it, and what lasted into it.
func (c *collector) exceptions(signed int64) []schemas.AuditException {
	out := c.changeExceptions()
	for _, e := range c.entries {
		out = append(out, c.rowExceptions(e)...)
	}
	if signed < c.until {
		x := schemas.AuditException{Kind: schemas.ExceptionUnsigned, At: c.now, Sequence: signed + 1, What: fmt.Sprintf("records %d to %d are unsigned", signed+1, c.until),
			Why: "no signature by a key that was given for this audit covers them"}
		out = append(out, c.identify(x, "unsigned"))
	}
	out = slices.DeleteFunc(out, func(x schemas.AuditException) bool {
		return x.Kind != schemas.ExceptionUnsigned && (!c.of(x.Application) && x.Application != "" || !c.during(x.At, x.EndedAt))
	})
	for i := range out {
		x := &out[i]
		if a, ok := c.accepted[x.ID]; ok {
			x.Accepted = &a
		}
		x.Open = x.Accepted == nil && x.EndedAt == nil
		if x.Who == nil {
			x.Who = []string{}
		}
	}
	slices.SortStableFunc(out, func(a, b schemas.AuditException) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Sequence, b.Sequence), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Assertion, b.Assertion))
	})
	return out
}

// during reports whether something that began and perhaps ended overlaps the period.
func (c *collector) during(from time.Time, end *time.Time) bool {
	return (c.options.Until.IsZero() || from.Before(c.options.Until)) && (end == nil || c.options.Since.IsZero() || !end.Before(c.options.Since))
}

// identify gives an exception an id that stays the same in every export.
func (c *collector) identify(x schemas.AuditException, parts ...string) schemas.AuditException {
	sum := sha256.Sum256([]byte(strings.Join(append([]string{string(x.Kind), x.Assertion}, parts...), separatorOfItems)))
	x.ID = hex.EncodeToString(sum[:8])
	return x
}

// changeExceptions are those of changes that were refused when they were merged.
func (c *collector) changeExceptions() []schemas.AuditException {
	var out []schemas.AuditException
	for _, q := range c.quarantines {
		app := c.info[ledger.Key{Path: q.change.Path}].Application
		for _, r := range q.record.Requests {
			if r.Document.Path == q.change.Path {
				app = r.Application
			}
		}
		x := schemas.AuditException{Kind: schemas.ExceptionQuarantined, Application: app, At: q.at, Sequence: q.sequence, RequestPath: q.change.Path,
			What: "a merged change of " + q.change.Path + " was refused and is without effect", Why: strings.Join(q.record.Reasons, "; "), EndedAt: q.later}
		if e := q.record.Evidence; e != nil {
			x.Who = e.Authors
		}
		if q.later != nil {
			x.EndedHow = schemas.EndedReplaced
		}
		if self := selfApprovers(q.admitted); len(self) > 0 {
			x.Kind, x.Who = schemas.ExceptionSelfApproved, self
			x.What = "a change of " + q.change.Path + " was approved by somebody who made it or gains by it; it was refused and is without effect"
		}
		if q.admits {
			x.EndedHow = schemas.EndedApproved
		}
		out = append(out, c.identify(x, q.record.Commit, q.change.Path))
		if q.admits {
			later := schemas.AuditException{Kind: schemas.ExceptionLater, Application: app, At: *q.later, Sequence: q.by.sequence, RequestPath: q.change.Path, EndedAt: q.later, EndedHow: schemas.EndedApproved,
				What: "refused content of " + q.change.Path + " was admitted afterwards", Why: "an Admission in commit " + q.by.record.Commit}
			if e := q.by.record.Evidence; e != nil {
				for _, p := range e.Approvals {
					if p.Counts {
						later.Who = append(later.Who, p.Person)
					}
				}
			}
			out = append(out, c.identify(later, q.by.record.Commit, q.change.Path))
		}
	}
	return out
}

// selfApprovers are those who approved a change that they made or gain by.
func selfApprovers(a *admitted) []string {
	var out []string
	if a.record.Evidence == nil {
		return nil
	}
	authors, beneficiaries, _ := a.authors()
	for _, p := range a.record.Evidence.Approvals {
		same := func(who string) bool { return strings.EqualFold(a.person(who), a.person(p.Person)) }
		if slices.ContainsFunc(authors, same) || slices.ContainsFunc(beneficiaries, same) {
			out = append(out, p.Person)
		}
	}
	return out
}

// rowExceptions are those of one row.
func (c *collector) rowExceptions(e *entry) []schemas.AuditException {
	r := e.row
	var out []schemas.AuditException
	first := strconv.FormatInt(r.Time.UnixMicro(), 10)
	add := func(kind schemas.ExceptionKind, assertion, what, why string, who []string, at time.Time, end *time.Time, how schemas.EndedHow) {
		x := schemas.AuditException{Kind: kind, Assertion: assertion, Application: r.Application, What: what, Why: why, Who: who, At: at, EndedAt: end, EndedHow: how,
			Sequence: r.Sequence, Operation: r.Operation, RequestPath: r.RequestPath}
		out = append(out, c.identify(x, r.Application, r.Connection, r.Target, r.Privilege, string(r.Kind), r.Operation, r.RequestPath, strconv.Itoa(r.RequestIndex), first))
	}
	what := describe(r)
	at := instant(r)
	if r.State != schemas.AuditObserved {
		for _, a := range assertionsOf(r) {
			if a.value == schemas.False {
				add(schemas.ExceptionAssertion, a.name, a.name+" is false: "+what, r.Reason, r.Requesters, at, nil, "")
			}
		}
	}
	switch {
	case r.State == schemas.AuditObserved:
		why := "a read showed it, and no operation of countersign made it"
		if r.Foreign {
			why += "; the member is from outside the application, or can't be named there"
		}
		add(schemas.ExceptionByHand, "", what, why, nil, at, r.EndedAt, r.EndedHow)
	case r.State == schemas.AuditAdopted && r.Operation == "" && r.LiveBeforeApproval != schemas.False:
		since := r.Time
		if r.FirstSeenAt != nil {
			since = *r.FirstSeenAt
		}
		add(schemas.ExceptionBefore, "", "it was in place before countersign carried anything out: "+what, r.Reason, r.Requesters, since, &r.Time, schemas.EndedApproved)
	case r.Hold == schemas.HoldBudget && r.EffectiveAt == nil:
		add(schemas.ExceptionBudget, "", "held: "+what, r.HoldReason, r.Requesters, r.Time, r.EndedAt, r.EndedHow)
	}
	if r.Failures > 0 && r.FirstFailedAt != nil {
		end, how := r.EndedAt, r.EndedHow
		until := c.now
		if r.EffectiveAt != nil {
			end, how, until = r.EffectiveAt, schemas.EndedByOperation, *r.EffectiveAt
		} else if end != nil {
			until = *end
		}
		if until.Sub(*r.FirstFailedAt) >= longFailure {
			add(schemas.ExceptionFailing, "", fmt.Sprintf("failed attempts: %d, of %s", r.Failures, what), r.FirstError, r.Requesters, *r.FirstFailedAt, end, how)
		}
	}
	if c.overdue(e) {
		add(schemas.ExceptionOverdue, "", "past its end, and not seen gone: "+what, "it expired on "+r.Expires.UTC().Format(time.RFC3339), r.Requesters, *r.Expires, r.EndedAt, r.EndedHow)
	}
	return out
}

// overdue reports whether a grant lasts beyond its end: a plan has its removal, or a day has passed.
func (c *collector) overdue(e *entry) bool {
	r := e.row
	if r.Kind != schemas.OperationGrant || r.Expires == nil || !wasApplied(r) || r.EndedAt != nil || c.wantedByOthers(e) {
		return false
	}
	return c.now.After(r.Expires.Add(expiryGrace)) || c.removing[e.at].After(*r.Expires)
}

// describe is a row in words.
func describe(r *schemas.AuditRow) string {
	verb := string(r.Kind)
	if r.State == schemas.AuditObserved {
		switch r.Sighting {
		case schemas.SightingMissing:
			verb = "taken by hand"
		case schemas.SightingChanged:
			verb = "changed by hand"
		case schemas.SightingReturned:
			verb = "given again by hand"
		default:
			verb = "given by hand, and never requested"
		}
	}
	text := verb + " " + r.Connection
	if r.Target != "" {
		text += " " + r.Privilege + " " + r.Target
	}
	if r.Application != "" {
		text += " in " + r.Application
	}
	if r.Connection == "" {
		text = strings.TrimSpace(r.RequestPath + " " + string(r.State))
	}
	return text
}
