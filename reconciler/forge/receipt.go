package forge

import (
	"fmt"
	"maps"
	"slices"

	"github.com/countersign/countersign/schemas"
)

// Receipts splits a run by pull request: those that were judged now, and those of earlier merges of which something
// was carried out now. status is that after the run. Direct pushes have none.
func Receipts(run *schemas.RunReport, status *schemas.StatusReport) []Receipt {
	type pull struct {
		paths, applications map[string]bool
		judged              []schemas.AdmissionRecord
		commit              string
	}
	pulls := map[int]*pull{}
	of := func(n int) *pull {
		if pulls[n] == nil {
			pulls[n] = &pull{paths: map[string]bool{}, applications: map[string]bool{}}
		}
		return pulls[n]
	}
	for _, a := range run.Admissions {
		if a.Evidence == nil || a.Evidence.PullRequest == 0 || len(a.Changes) == 0 {
			continue
		}
		p := of(a.Evidence.PullRequest)
		p.commit = a.Commit
		p.judged = append(p.judged, a)
		for _, f := range a.Changes {
			p.paths[f.Path] = true
		}
		for _, q := range a.Requests {
			p.applications[q.Application] = true
		}
	}
	numbers := map[string]int{} // the pull request that a path came by
	states := map[int][]schemas.RequestStatus{}
	for _, s := range status.Requests {
		if s.PullRequest == 0 {
			continue
		}
		numbers[s.Document.Path] = s.PullRequest
		states[s.PullRequest] = append(states[s.PullRequest], s)
	}
	for _, a := range run.Applications {
		for _, o := range slices.Concat(a.Plan.Operations, a.Seen) {
			for _, d := range o.Documents {
				if n := numbers[d.Path]; n != 0 && o.Cause != schemas.CauseDrift && o.Cause != schemas.CauseExpiry {
					p := of(n)
					p.paths[d.Path] = true
				}
			}
		}
	}
	var out []Receipt
	for _, n := range slices.Sorted(maps.Keys(pulls)) {
		p := pulls[n]
		r := Receipt{Number: n, Commit: p.commit, Report: about(run, p.paths, p.applications, p.judged)}
		if r.Commit == "" {
			for _, s := range states[n] {
				r.Commit = s.Commit
			}
		}
		r.State, r.Text = stateOf(r.Report, states[n])
		if r.Commit != "" {
			out = append(out, r)
		}
	}
	return out
}

// about reduces a run to the operations that these files asked for. An application that could not be read is about all that ask for
// something there, and about those of which nothing is left that shows where they asked.
func about(run *schemas.RunReport, paths, applications map[string]bool, judged []schemas.AdmissionRecord) *schemas.RunReport {
	out := *run
	out.Admissions = append([]schemas.AdmissionRecord{}, judged...)
	out.Applications, out.Quarantined = []schemas.ApplicationOutcome{}, []schemas.QuarantinedFile{}
	for _, q := range run.Quarantined {
		if paths[q.Path] {
			out.Quarantined = append(out.Quarantined, q)
		}
	}
	for _, a := range run.Applications {
		mine := map[string]bool{}
		part := a
		part.Plan.Operations, part.Plan.Unmanaged, part.Plan.Findings, part.Plan.Overdue = []schemas.Operation{}, nil, nil, nil
		part.Seen, part.Withdrawn = nil, nil
		part.Outcomes, part.Verifications, part.Remaining, part.Adopted = []schemas.OutcomeRecord{}, []schemas.VerificationRecord{}, 0, 0
		for _, o := range a.Plan.Operations {
			if slices.ContainsFunc(o.Documents, func(d schemas.DocumentID) bool { return paths[d.Path] }) {
				mine[o.ID] = true
				part.Plan.Operations = append(part.Plan.Operations, o)
			}
		}
		for _, o := range a.Seen {
			if slices.ContainsFunc(o.Documents, func(d schemas.DocumentID) bool { return paths[d.Path] }) {
				mine[o.ID] = true
				part.Seen = append(part.Seen, o)
			}
		}
		for _, o := range a.Outcomes {
			if mine[o.Operation] {
				part.Outcomes = append(part.Outcomes, o)
			}
		}
		for _, v := range a.Verifications {
			if mine[v.Operation] {
				part.Verifications = append(part.Verifications, v)
			}
		}
		if len(part.Plan.Operations)+len(part.Seen) > 0 || unread(&a) && (len(applications) == 0 || applications[a.Application]) {
			out.Applications = append(out.Applications, part)
		}
	}
	return &out
}

func unread(a *schemas.ApplicationOutcome) bool { return a.Error != "" || a.Plan.Incomplete != "" }

// stateOf summarizes a receipt. It is verified only if the read-back of every operation showed its effect.
func stateOf(r *schemas.RunReport, requests []schemas.RequestStatus) (state ReceiptState, text string) {
	for _, a := range r.Admissions {
		if a.Verdict == schemas.AdmissionQuarantined {
			return ReceiptFailure, "quarantined: not signed off as policy requires; it has no effect"
		}
	}
	failed, waiting, verified, attested := 0, 0, 0, 0
	for _, a := range r.Applications {
		if unread(&a) {
			return ReceiptInProgress, a.Application + " could not be read or finished; the next run tries again"
		}
		shown := map[string]schemas.VerificationState{}
		for _, v := range a.Verifications {
			shown[v.Operation] = v.Status
		}
		status := map[string]schemas.OutcomeStatus{}
		for _, o := range a.Outcomes {
			status[o.Operation] = o.Status
		}
		planned := map[string]bool{}
		for _, o := range a.Plan.Operations {
			planned[o.ID] = true
		}
		for _, o := range a.Seen {
			if planned[o.ID] {
				continue
			}
			if shown[o.ID] == schemas.VerificationAttested {
				attested++
			} else {
				verified++
			}
		}
		for _, o := range a.Plan.Operations {
			switch s := status[o.ID]; {
			case shown[o.ID] == schemas.VerificationVerified:
				verified++
			case shown[o.ID] == schemas.VerificationAttested:
				attested++
			case o.Hold == schemas.HoldDeclined:
				failed++
			case o.Hold != schemas.HoldNone, shown[o.ID] == schemas.VerificationPending, s == "" || s == schemas.OutcomeCancelled || s == schemas.OutcomePending:
				waiting++
			default:
				failed++
			}
		}
	}
	for _, s := range requests {
		if s.Approval == schemas.ApprovalAdmitted && s.Verification == "failed" {
			failed++
		}
	}
	switch {
	case failed > 0:
		return ReceiptFailure, fmt.Sprintf("%s failed; the next run tries them again", count(failed, "step"))
	case waiting > 0:
		return ReceiptInProgress, fmt.Sprintf("%s waiting", count(waiting, "step"))
	case attested > 0:
		return ReceiptSuccess, "reported as done by those who carry it out; no read can show it"
	case verified > 0:
		return ReceiptSuccess, "applied and verified by reading back"
	}
	return ReceiptSuccess, "in effect; nothing was left to do"
}
