package report

import (
	"github.com/countersign/countersign/reconciler/report/layout"
	"github.com/countersign/countersign/schemas"
)

func (b *builder) run(r *schemas.RunReport) document {
	r = withSeen(r)
	d := document{}
	dry := r.DryRun || (r.Kind == "Drift" && !r.Enforce)
	all := map[fate]int{}
	byApplication := make([]map[string]outcome, len(r.Applications))
	for i := range r.Applications {
		byApplication[i] = fates(&r.Applications[i], dry)
		for _, o := range byApplication[i] {
			all[o.fate]++
		}
	}
	d.Icon, d.Title = b.runTitle(r, dry, all)
	if l := b.admissions(r.Admissions); len(l) > 0 {
		d.Blocks = append(d.Blocks, section{Title: say("New since the last run"), Blocks: []block{l}})
	}
	quiet := []line{}
	shown := 0
	for i := range r.Applications {
		a := &r.Applications[i]
		if a.Error == "" && a.Plan.Incomplete == "" && len(a.Plan.Operations) == 0 && a.Adopted == 0 &&
			len(a.Withdrawn) == 0 && len(unmanaged(&a.Plan)) == 0 && len(a.Plan.Pending) == 0 && len(a.Plan.Overdue) == 0 && len(a.Plan.Findings) == 0 && (len(a.Plan.NotRead)+len(a.Plan.NotManaged) == 0 || r.Kind != "Drift") {
			quiet = append(quiet, say("{}", name(a.Application)))
			continue
		}
		if shown++; shown > b.rows {
			continue
		}
		d.Blocks = append(d.Blocks, section{Title: application(&a.Plan), Blocks: b.outcome(a, byApplication[i], dry, r.Kind == "Drift")})
	}
	if n := shown - b.rows; n > 0 {
		d.Blocks = append(d.Blocks, para(more(n, "applications")))
	}
	if len(quiet) > 0 && (len(quiet) < len(r.Applications) || b.markdown) {
		d.Blocks = append(d.Blocks, para(say("As approved: {}", list(quiet, b.list))))
	}
	d.Blocks = append(d.Blocks, b.newlyQuarantined(r)...)
	if r.Again != nil {
		d.Blocks = append(d.Blocks, para(say("Operations carried out by others are checked again at {}.", instant(*r.Again))))
	}
	if r.Next != nil {
		d.Blocks = append(d.Blocks, para(say("The next grant starts or expires at {}.", instant(*r.Next))))
	}
	d.Next = b.runNext(r, all, dry)
	return d
}

func (b *builder) runTitle(r *schemas.RunReport, dry bool, all map[fate]int) (mark, line) {
	plans := make([]schemas.ApplicationPlan, len(r.Applications))
	var unread, attestedApplications []line
	left := 0
	for i, a := range r.Applications {
		plans[i] = a.Plan
		if a.Plan.Attested {
			attestedApplications = append(attestedApplications, say("{}", name(a.Application)))
		}
		if a.Error != "" || a.Plan.Incomplete != "" {
			unread = append(unread, say("{}", name(a.Application)))
		}
		left += len(unmanaged(&a.Plan))
	}
	quarantined := 0
	for _, a := range r.Admissions {
		if a.Verdict == schemas.AdmissionQuarantined {
			quarantined++
		}
	}
	tail := line(nil)
	if quarantined > 0 {
		tail = say("; {}", plural(quarantined, "commit quarantined", "commits quarantined"))
	}
	lost := impossible(plans)
	if lost > 0 {
		tail = say("{}; {} cannot be carried out", tail, plural(lost, "request", "requests"))
	}
	n, total, apps := tally(plans, nil)
	if r.Kind == "Drift" && dry {
		m, title := b.driftTitle(plans, unread, left)
		if len(attestedApplications) > 0 {
			// An application that can't be read may have drifted too.
			if _, n, _ := tally(plans, func(o *schemas.Operation) bool { return isDrift(o) && o.Hold != schemas.HoldPending }); n > 0 || len(unread) > 0 {
				title = say("{}.", title)
			}
			title = say("{} Unknown for {}: attested, not read", title, list(attestedApplications, 2))
		}
		return m, title
	}
	if dry {
		head := say("Dry run, nothing was written: {}{}", counts(n), places(apps))
		if total == 0 {
			head = say("Dry run: nothing to do")
		}
		if all[held] > 0 {
			head = say("{}, {} held", head, all[held])
		}
		if len(unread) > 0 {
			return layout.MarkStop, say("Incomplete: {} could not be processed. {}", list(unread, 2), head)
		}
		return layout.MarkIdle, head
	}
	done, outside := all[verified]+all[attested], all[asked]+all[claimed]
	open := total - done - all[held] - all[waiting] - outside
	switch {
	case total == 0 && len(unread) > 0:
		return layout.MarkStop, say("Failed: {} could not be processed{}", list(unread, 2), tail)
	case total == 0 && len(tail) > 0:
		return layout.MarkMissing, say("Nothing to apply{}", tail)
	case total == 0 && len(r.Admissions) == 0:
		return layout.MarkReady, say("Nothing to do: every application matches the approved requests.")
	case total == 0:
		return layout.MarkReady, say("Nothing to apply: every application matches the approved requests.")
	case open > 0 && done+all[waiting]+outside == 0 && all[unconfirmed]+all[differs]+all[unverifiable] == 0:
		return layout.MarkStop, say("Failed: none of {}{} took effect{}", plural(total, "operation", "operations"), places(apps), tail)
	case open > 0 || len(unread) > 0:
		return layout.MarkStop, say("Applied in part: {} of {} verified{}{}", all[verified], plural(total, "operation", "operations"), b.rest(all), tail)
	case done+all[waiting] == 0 && outside > 0:
		return layout.MarkMissing, say("Pending: {}{}{}{}", counts(n), places(apps), b.rest(all), tail)
	case done+all[waiting] == 0:
		return layout.MarkMissing, say("Nothing applied: {}{}, all held{}", counts(n), places(apps), tail)
	case all[verified] == 0 && all[attested] == total:
		return layout.MarkReady, say("Attested: {}{}{}", counts(n), places(apps), tail)
	case all[held]+all[waiting]+outside+all[attested] > 0:
		return layout.MarkMissing, say("Applied: {} of {}{} verified{}{}", all[verified], plural(total, "operation", "operations"), places(apps), b.rest(all), tail)
	}
	icon := layout.MarkReady
	if lost > 0 {
		icon = layout.MarkMissing
	}
	return icon, say("Applied and verified: {}{}{}", counts(n), places(apps), tail)
}

// impossible counts the documents that can't be carried out.
func impossible(plans []schemas.ApplicationPlan) int {
	wrong := map[schemas.DocumentID]bool{}
	for _, p := range plans {
		for _, f := range p.Findings {
			if f.Severity == schemas.SeverityError && f.Document.Path != "" {
				wrong[f.Document] = true
			}
		}
	}
	return len(wrong)
}

// rest counts what was not verified.
func (b *builder) rest(all map[fate]int) line {
	out := line(nil)
	for _, w := range []struct {
		fate fate
		word literal
	}{
		{failed, "failed"}, {blocked, "blocked"}, {differs, "not as expected"}, {unverifiable, "not read back"}, {cancelled, "cancelled"},
		{untried, "not tried"}, {waiting, "pending"}, {unconfirmed, "not verified"}, {attested, "attested"}, {claimed, "reported done but not seen yet"}, {asked, "with others"}, {held, "held"},
	} {
		if all[w.fate] > 0 {
			out = say("{}, {} {}", out, all[w.fate], w.word)
		}
	}
	return out
}

func (b *builder) driftTitle(plans []schemas.ApplicationPlan, unread []line, left int) (mark, line) {
	// An operation that somebody else carries out is neither drift nor due here.
	outside := func(o *schemas.Operation) bool { return o.Hold == schemas.HoldPending }
	_, differences, where := tally(plans, func(o *schemas.Operation) bool { return isDrift(o) && !outside(o) })
	_, due, _ := tally(plans, func(o *schemas.Operation) bool { return !isDrift(o) && !outside(o) })
	_, pending, _ := tally(plans, outside)
	head, icon := say("No drift."), layout.MarkReady
	if differences > 0 {
		head, icon = say("Drift: {}{}", plural(differences, "difference", "differences"), places(where)), layout.MarkMissing
	}
	var rest []line
	if due > 0 {
		rest = append(rest, say("{} still to be applied", plural(due, "operation", "operations")))
		icon = layout.MarkMissing
	}
	if pending > 0 {
		rest = append(rest, say("{} with others", plural(pending, "operation", "operations")))
	}
	if n := impossible(plans); n > 0 {
		rest = append(rest, say("{} cannot be carried out", plural(n, "request", "requests")))
		icon = layout.MarkMissing
	}
	if left > 0 {
		rest = append(rest, plural(left, "unmanaged entitlement", "unmanaged entitlements"))
	}
	if n := notReadCount(plans); n > 0 {
		rest = append(rest, say("{} not read", plural(n, "right or object", "rights and objects")))
	}
	if len(unread) > 0 {
		// Unread applications prove nothing.
		if differences == 0 {
			head = say("Drift unknown: could not read all of {}", list(unread, 2))
		} else {
			head = say("{}, and could not read all of {}", head, list(unread, 2))
		}
		icon = layout.MarkStop
	}
	switch {
	case len(rest) > 0 && differences == 0 && len(unread) == 0:
		return icon, say("No drift. {}.", join(", ", rest...))
	case len(rest) > 0:
		return icon, say("{}; {}", head, join(", ", rest...))
	}
	return icon, head
}

func isDrift(o *schemas.Operation) bool {
	return o.Cause == schemas.CauseDrift || o.Cause == schemas.CauseUnmanaged
}

func (b *builder) runNext(r *schemas.RunReport, all map[fate]int, dry bool) line {
	errs, quarantined, left := false, false, 0
	held, total, due := 0, 0, 0
	for _, a := range r.Applications {
		errs = errs || a.Error != "" || a.Plan.Incomplete != ""
		left += len(unmanaged(&a.Plan))
		for i := range a.Plan.Operations {
			if a.Plan.Operations[i].Hold == schemas.HoldPending {
				continue
			}
			total++
			if a.Plan.Operations[i].Hold != schemas.HoldNone {
				held++
			} else if !isDrift(&a.Plan.Operations[i]) {
				due++
			}
		}
	}
	for _, a := range r.Admissions {
		quarantined = quarantined || a.Verdict == schemas.AdmissionQuarantined
	}
	switch {
	case errs:
		return say("make the application named above reachable and readable, then run again.")
	case !dry && all[failed]+all[blocked]+all[differs]+all[unverifiable]+all[untried]+all[cancelled]+all[unconfirmed] > 0:
		return say("follow the advice of the failed operations: the next run retries only those.")
	case quarantined:
		return say("get the quarantined files approved in a separate change, or revert them.")
	case r.Kind == "Drift" && dry && total > 0 && due > 0:
		return say("run countersign apply for the operations that are due; countersign drift --enforce corrects drift as well.")
	case r.Kind == "Drift" && dry && total > 0:
		return say("run countersign drift --enforce to correct it, or request what should stay.")
	case r.Kind == "Drift" && dry && left > 0:
		return say("request what should stay, revoke what should not.")
	case dry && total > held:
		return say("run countersign apply without --dry-run.")
	case held > 0:
		return say("release the held operations, as their reasons explain.")
	case all[asked]+all[claimed] > 0:
		return say("nothing to do here: the next runs check the operations carried out by others.")
	case all[waiting] > 0:
		return say("nothing to do here: pending operations wait for somebody in the application.")
	}
	return nil
}
