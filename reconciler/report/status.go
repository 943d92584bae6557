package report

import (
	"slices"

	"github.com/countersign/countersign/reconciler/report/layout"
	"github.com/countersign/countersign/schemas"
)

func (b *builder) status(r *schemas.StatusReport) document {
	d := document{Icon: layout.MarkReady}
	n := map[string]int{}
	good3 := func(s *schemas.RequestStatus) bool {
		return (s.Verification == schemas.VerificationVerified || s.Verification == schemas.VerificationAttested) && s.Approval == schemas.ApprovalAdmitted
	}
	for i := range r.Requests {
		s := &r.Requests[i]
		switch {
		case s.Approval == schemas.ApprovalQuarantined:
			n["quarantined"]++
		case s.Provisioning == schemas.ProvisioningFailed:
			n["failed"]++
			if s.Verification != schemas.VerificationNoEffect {
				n["retried"]++
			}
		case s.Verification == schemas.VerificationVerified, s.Verification == schemas.VerificationAttested:
			n[string(s.Verification)]++
		case s.Provisioning == schemas.ProvisioningSuperseded:
			n["superseded"]++
		case s.Provisioning == schemas.ProvisioningScheduled:
			n["scheduled"]++
		case slices.ContainsFunc(s.Fulfilment, func(f schemas.FulfilmentStatus) bool {
			return f.State == schemas.FulfilmentPending || f.State == schemas.FulfilmentApplied
		}):
			n["outside"]++
		default:
			n["open"]++
			if due(s) {
				n["due"]++
			}
		}
	}
	head := plural(len(r.Requests), "request", "requests")
	var parts []line
	for _, w := range []struct {
		key  string
		word literal
	}{{"failed", "failed"}, {"quarantined", "quarantined"}, {"open", "not verified"}, {"outside", "with others"}, {"scheduled", "scheduled"}, {"superseded", "superseded"}, {"attested", "attested"}, {"verified", "verified"}} {
		if n[w.key] > 0 {
			parts = append(parts, say("{} {}", n[w.key], w.word))
		}
	}
	d.Title = head
	if len(parts) > 0 {
		d.Title = say("{}: {}", head, join(", ", parts...))
	}
	if q := len(r.Quarantined); q > 0 {
		d.Title = say("{}; {}", d.Title, plural(q, "file quarantined", "files quarantined"))
	}
	switch {
	case len(r.Requests) == 0 && len(r.Quarantined) == 0:
		d.Icon, d.Title = layout.MarkIdle, say("No requests yet.")
		d.Next = say("write one below requests/, then run countersign preview.")
		return d
	case n["failed"]+n["quarantined"]+len(r.Quarantined) > 0:
		d.Icon = layout.MarkStop
	case n["open"]+n["outside"] > 0:
		d.Icon = layout.MarkMissing
	}
	t := table{Head: []literal{"Request", "Approval", "Provisioning", "Verification", "Connection", "Detail"}, Titled: true, Lead: true}
	// Requests that need attention come first if not all are shown.
	sorted := make([]*schemas.RequestStatus, len(r.Requests))
	for i := range r.Requests {
		sorted[i] = &r.Requests[i]
	}
	limit := b.rows
	if !b.tables {
		limit = 0
	}
	if len(sorted) > limit {
		slices.SortStableFunc(sorted, func(x, y *schemas.RequestStatus) int {
			switch gx, gy := good3(x), good3(y); {
			case gx == gy:
				return 0
			case gx:
				return 1
			}
			return -1
		})
	}
	for i, s := range sorted {
		if i >= limit {
			break
		}
		m := layout.MarkWait
		switch {
		case s.Approval == schemas.ApprovalQuarantined || s.Provisioning == schemas.ProvisioningFailed:
			m = layout.MarkNo
		case good3(s):
			m = layout.MarkYes
		case s.Verification == schemas.VerificationVerified, s.Provisioning == schemas.ProvisioningSuperseded:
			m = layout.MarkSame
		}
		t.Rows = append(t.Rows, row{Mark: m, Cells: []line{source(s.Document), axis(string(s.Approval)), axis(string(s.Provisioning)), axis(string(s.Verification)),
			say("{} in {}", b.of(s.Connection), name(s.Application)), detail(s.Detail)}})
	}
	if len(t.Rows) > 0 {
		d.Blocks = append(d.Blocks, t)
	}
	if n := len(sorted) - len(t.Rows); n > 0 {
		d.Blocks = append(d.Blocks, para(more(n, "requests")))
	}
	if l := b.quarantined(r.Quarantined); len(l) > 0 {
		d.Blocks = append(d.Blocks, section{Title: say("Quarantined: on the branch, but not in effect"), Blocks: []block{l}})
	}
	if !r.Ledger.Signed {
		d.Blocks = append(d.Blocks, para(say("The ledger is not signed: the settings name no key.")))
	}
	switch {
	case n["retried"] > 0:
		d.Next = say("run countersign apply: it retries failed operations and shows the reasons.")
	case n["failed"] > 0:
		d.Next = say("correct or revert the failed requests: they can't be carried out as written.")
	case n["due"] > 0:
		d.Next = say("run countersign apply to carry out what is pending.")
	case n["open"] > 0:
		d.Next = say("run countersign drift: it shows what differs or is held, and why.")
	case len(r.Quarantined) > 0:
		d.Next = say("get the quarantined files approved in a separate change, or revert them.")
	}
	return d
}

// due reports whether a run has something to do for a request: its operations weren't carried out or finished yet.
func due(s *schemas.RequestStatus) bool {
	switch s.Provisioning {
	case schemas.ProvisioningNone, schemas.ProvisioningPending:
		return s.Approval == schemas.ApprovalAdmitted
	case schemas.ProvisioningBlocked:
		return true
	}
	return false
}

func detail(s string) line {
	if s == "" {
		return nil
	}
	return say("{}", s)
}

// axis is a state in its colour.
func axis(s string) line {
	l := word(s)
	switch s {
	case "admitted", "applied", "verified", "attested":
		return l.In(good)
	case "quarantined", "failed", "differs":
		return l.In(bad)
	case "none", "":
		return say("-").In(faint)
	}
	return l.In(caution)
}
