package audit

import (
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/schemas"
)

// expiryGrace is how long after its expiry a grant may still be there before that is an exception.
const expiryGrace = 24 * time.Hour

type assertion struct {
	name  string
	value schemas.Truth
}

func assertionsOf(r *schemas.AuditRow) []assertion {
	return []assertion{
		{"approved_before_applied", r.ApprovedBeforeApplied}, {"approved_content_is_applied_content", r.ApprovedContentIsAppliedContent},
		{"granted_equals_approved", r.GrantedEqualsApproved}, {"independent_approver", r.IndependentApprover},
		{"rationale_present", r.RationalePresent}, {"expired_in_time", r.ExpiredInTime},
		{"approved_before_submitted", r.ApprovedBeforeSubmitted}, {"independent_fulfiller", r.IndependentFulfiller}, {"chain_ok", r.ChainOK},
	}
}

func truth(b bool) schemas.Truth {
	if b {
		return schemas.True
	}
	return schemas.False
}

// weakest is false before unknown before true: an assertion about several documents is true if it is true of each.
func weakest(of []schemas.Truth) schemas.Truth {
	switch {
	case slices.Contains(of, schemas.False):
		return schemas.False
	case len(of) == 0 || slices.Contains(of, schemas.Unknown):
		return schemas.Unknown
	}
	return schemas.True
}

// assert fills in the assertions. An operation that follows from no document (unmanaged access that an application's
// own rule takes away) was approved by nobody in particular: all but the chain is unknown.
func (c *collector) assert(e *entry, chain bool) {
	r := e.row
	r.ChainOK = truth(chain)
	var before, content, granted, independent, submitted []schemas.Truth
	for _, a := range e.authorities {
		before = append(before, approvedBefore(r, a, chain))
		content = append(content, approvedContent(r, a, chain))
		granted = append(granted, grantedEquals(r, a, chain))
		independent = append(independent, independentApprover(r, a, chain))
		submitted = append(submitted, approvedSubmission(r, a, chain))
	}
	r.ApprovedBeforeApplied, r.ApprovedContentIsAppliedContent = weakest(before), weakest(content)
	r.GrantedEqualsApproved, r.IndependentApprover = weakest(granted), weakest(independent)
	r.ApprovedBeforeSubmitted, r.IndependentFulfiller = weakest(submitted), e.independentFulfiller(chain)
	var last *admitted
	if n := len(e.authorities); n > 0 {
		last = e.authorities[n-1]
	}
	r.RationalePresent = rationale(r, last)
	r.ExpiredInTime = c.expired(e)
}

// wasApplied reports whether the row had an effect, according to the connector or the read-back.
func wasApplied(r *schemas.AuditRow) bool {
	if r.State == schemas.AuditObserved {
		return false // nobody asked for it
	}
	return r.State == schemas.AuditAdopted && r.Verification != "" || r.Operation != "" && (r.Outcome == schemas.OutcomeApplied || r.Verification == schemas.VerificationVerified)
}

// approved reports whether the verdict rests on approvals that somebody vouches for: true when one or more
// count, and each that counts is by a signature or the forge's own; false when the evidence has none. A bare
// trailer doesn't prove who wrote it, and an anchor comes without evidence: those are unknown, and so is
// everything where the chain does not hold.
func approved(a *admitted, chain bool) schemas.Truth {
	switch {
	case a == nil || !chain || a.record.Evidence == nil:
		return schemas.Unknown
	case a.record.Verdict == schemas.AdmissionQuarantined:
		return schemas.False
	}
	var all []schemas.Truth
	for _, p := range a.record.Evidence.Approvals {
		switch {
		case p.Counts && p.Authenticated:
			all = append(all, schemas.True)
		case p.Counts:
			all = append(all, schemas.Unknown)
		}
	}
	if len(all) == 0 {
		return schemas.False
	}
	return weakest(all)
}

// unapproved is the assertion about an effect whose verdict does not admit it: the effect proves it false.
func unapproved(r *schemas.AuditRow, a *admitted, chain bool) bool {
	return chain && wasApplied(r) && (a == nil || a.record.Verdict == schemas.AdmissionQuarantined)
}

// approvedBefore: the approvals are part of the verdict's record, and that precedes the intent in the
// chain; so they were there when the operation began, whether or not the forge has times for them. True
// needs that, and no time that contradicts it. False: the verdict comes after the intent, an approval's time
// after the beginning, a read showed the access before the verdict, nobody approved, or no verdict that admits it is on
// record. Unknown before anything is applied, and for what was found in place: nobody knows since when.
func approvedBefore(r *schemas.AuditRow, a *admitted, chain bool) schemas.Truth {
	switch {
	case unapproved(r, a, chain):
		return schemas.False
	case r.State == schemas.AuditAdopted && r.Operation == "" && chain && r.LiveBeforeApproval == schemas.True:
		return schemas.False
	case !wasApplied(r) || r.IntentSequence == 0:
		return schemas.Unknown
	}
	ok := approved(a, chain)
	if ok != schemas.True {
		return ok
	}
	if a.sequence > r.IntentSequence {
		return schemas.False
	}
	for _, p := range a.record.Evidence.Approvals {
		if p.Counts && p.At != nil && r.Started != nil && !r.Started.IsZero() && p.At.After(*r.Started) {
			return schemas.False
		}
	}
	return schemas.True
}

// approvedContent: the operation names the blob of its document, and the verdict is of a commit that brought
// that blob. True needs, beside vouched approvals, that what they approved was that content: the digest of
// what was previewed is that of what was merged; or, without previews, each is a signature, which covers the
// commit with the blob in its tree. False: the digests differ, or no verdict that admits the blob is on
// record. A review on a forge without previews is unknown: the branch may have moved after it.
func approvedContent(r *schemas.AuditRow, a *admitted, chain bool) schemas.Truth {
	if unapproved(r, a, chain) {
		return schemas.False
	}
	if !wasApplied(r) {
		return schemas.Unknown
	}
	ok := approved(a, chain)
	if ok != schemas.True {
		return ok
	}
	ev := a.record.Evidence
	if ev.PreviewDigest != nil {
		return truth(*ev.PreviewDigest == ev.ContentDigest && ev.ContentDigest != "")
	}
	for _, p := range ev.Approvals {
		if p.Counts && (p.Method != "signature" || p.Commit != "" && p.Commit != a.record.Commit && p.Commit != ev.Head) {
			return schemas.Unknown
		}
	}
	return schemas.True
}

// grantedEquals: the read-back showed what the operation was to bring about, and the operation follows from
// approved documents. False: the read-back showed something else, or nobody approved what it showed.
func grantedEquals(r *schemas.AuditRow, a *admitted, chain bool) schemas.Truth {
	switch {
	case unapproved(r, a, chain):
		return schemas.False
	case r.Verification == schemas.VerificationVerified, r.Verification == schemas.VerificationInPlace:
		return approved(a, chain)
	case r.Verification == schemas.VerificationDiffers && r.Outcome == schemas.OutcomeApplied:
		return schemas.False
	}
	return schemas.Unknown
}

// independentApprover: a vouched approval counts, and nobody whose approval counts made the change or gains
// by it, by any of their names; who made content that an Admission admits made the change too. Admission checks that
// already; here it is checked again. Authors that could not be attributed make it unknown; a refused change without
// effect is not examined.
func independentApprover(r *schemas.AuditRow, a *admitted, chain bool) schemas.Truth {
	if a != nil && a.record.Verdict == schemas.AdmissionQuarantined && !wasApplied(r) {
		return schemas.Unknown
	}
	ok := approved(a, chain)
	if ok != schemas.True {
		return ok
	}
	authors, beneficiaries, unattributed := a.authors()
	for _, p := range a.record.Evidence.Approvals {
		same := func(who string) bool { return strings.EqualFold(a.person(who), a.person(p.Person)) }
		if p.Counts && (slices.ContainsFunc(authors, same) || slices.ContainsFunc(beneficiaries, same)) {
			return schemas.False
		}
	}
	if len(unattributed) > 0 {
		return schemas.Unknown
	}
	return schemas.True
}

// rationale: the request gives a reason that is one. For an undo, where a file goes, the commit gives it, in a Reason
// trailer or below the subject; a subject or a title alone may give one, and is unknown. A commit whose text is on record
// and that gives none makes it false. Unmanaged access comes without a request.
func rationale(r *schemas.AuditRow, a *admitted) schemas.Truth {
	switch {
	case r.RequestPath == "" || r.State == schemas.AuditObserved:
		return schemas.Unknown
	case r.Cause == schemas.CauseUndo:
		switch {
		case IsReason(r.ChangeReason):
			return schemas.True
		case a != nil && a.record.Rationale != nil && !titled(r.PullRequestTitle):
			return schemas.False
		}
		return schemas.Unknown
	case r.RequestKind == "" && strings.TrimSpace(r.Reason) == "":
		// A control file, or one that could not be read, doesn't need a reason.
		return schemas.Unknown
	}
	return truth(IsReason(r.Reason))
}

// expired: a grant that had effect and has an expiry was seen gone within a day of it, or by a read that came later,
// while no read between showed it. False: a read, or the operation that took it away, shows that it was still there
// then, and nothing on record wants it beyond that. Unknown: no expiry, none due, no read since, or another approved
// request wants the same access.
func (c *collector) expired(e *entry) schemas.Truth {
	r := e.row
	if r.Kind != schemas.OperationGrant || r.Expires == nil || !wasApplied(r) || r.EndedHow == schemas.EndedReplaced {
		return schemas.Unknown
	}
	due := r.Expires.Add(expiryGrace)
	switch {
	case r.EndedAt != nil && !r.EndedAt.After(due):
		return schemas.True
	case c.wantedByOthers(e):
		return schemas.Unknown
	case r.EndedAt != nil && r.EndedHow != schemas.EndedByHand:
		return schemas.False
	}
	if e.lastLive.After(due) {
		return schemas.False
	}
	return schemas.Unknown
}

// wantedByOthers reports whether documents other than the row's ask for the same access now.
func (c *collector) wantedByOthers(e *entry) bool {
	for _, mark := range marks(c.world.tokens[e.at]) {
		if !slices.ContainsFunc(e.row.Documents, func(d schemas.DocumentID) bool { return markOf(d) == mark }) {
			return true
		}
	}
	return false
}

// approvedSubmission: for an operation that somebody outside was asked for, the verdict precedes the intent to ask in
// the chain. False: it comes after, nobody approved, or no verdict that admits it is on record. Unknown for operations
// that nobody outside was asked for.
func approvedSubmission(r *schemas.AuditRow, a *admitted, chain bool) schemas.Truth {
	if r.Submission == "" || r.IntentSequence == 0 || !chain {
		return schemas.Unknown
	}
	if a == nil || a.record.Verdict == schemas.AdmissionQuarantined {
		return schemas.False
	}
	ok := approved(a, chain)
	if ok == schemas.True {
		return truth(a.sequence < r.IntentSequence)
	}
	return ok
}

// independentFulfiller: the forge knows who reported it as done, and they neither made the request nor gain by it.
// False: they do, which admits nothing and can only be a record that somebody else wrote. Unknown: a service or an
// operator reported it, or the authors of the request are not on record.
func (e *entry) independentFulfiller(chain bool) schemas.Truth {
	r := e.row
	if !chain || r.Outcome != schemas.OutcomeApplied || r.FulfilledByMethod != schemas.FulfilledByTicket {
		return schemas.Unknown
	}
	same := func(who string) bool { return strings.EqualFold(who, r.FulfilledBy) }
	switch {
	case slices.ContainsFunc(r.Requesters, same) || slices.ContainsFunc(r.Beneficiaries, same):
		return schemas.False
	case e.independent == nil || !e.vouched:
		return schemas.Unknown
	}
	return truth(*e.independent)
}

// The parts of a complete proof.
const (
	proofSignature = "signature"
	proofChain     = "chain"
	proofEvidence  = "evidence"
	proofReadBack  = "read-back"
)

// prove fills in whether everything that proves the row is on record. Refused and observed changes need
// only a part: nobody approved them, or nothing was carried out.
func (c *collector) prove(e *entry, chain bool, signed int64) {
	r := e.row
	r.ProofMissing = []string{}
	missing := func(part string, is bool) {
		if is {
			r.ProofMissing = append(r.ProofMissing, part)
		}
	}
	missing(proofSignature, signed < r.Sequence)
	missing(proofChain, !chain)
	if r.State != schemas.AuditObserved {
		evidence := len(e.authorities) > 0
		for _, a := range e.authorities {
			evidence = evidence && a != nil && a.record.Evidence != nil && (a.record.Verdict == schemas.AdmissionQuarantined || approved(a, true) == schemas.True)
		}
		missing(proofEvidence, !evidence)
	}
	switch r.State {
	case schemas.AuditVerified, schemas.AuditAdopted, schemas.AuditObserved, schemas.AuditQuarantined, schemas.AuditUndone:
	default:
		missing(proofReadBack, true)
	}
	r.ProofComplete = truth(len(r.ProofMissing) == 0)
}
