package report

import (
	"slices"

	"github.com/countersign/countersign/reconciler/report/layout"
	"github.com/countersign/countersign/schemas"
)

// fate is what became of an operation.
type fate uint8

// The fates, in the order in which people want to read of them.
const (
	failed fate = iota
	blocked
	differs
	unverifiable
	cancelled
	untried
	waiting
	unconfirmed // applied, and no read-back yet
	held
	claimed // somebody outside says that it is done, and it is not seen yet
	asked   // somebody outside is at it
	attested
	verified
	planned // a dry run or a report: nothing was to be done
)

func (f fate) line() line {
	switch f {
	case failed:
		return say("failed").In(bad)
	case blocked:
		return say("blocked").In(bad)
	case differs:
		return say("applied, but the read-back differs").In(bad)
	case unverifiable:
		return say("applied, could not be read back").In(caution)
	case cancelled:
		return say("cancelled").In(caution)
	case untried:
		return say("not tried").In(caution)
	case waiting:
		return say("applied, pending").In(caution)
	case unconfirmed:
		return say("applied, not verified").In(caution)
	case held:
		return say("held").In(caution)
	case claimed:
		return say("said to be done, not seen yet").In(caution)
	case asked:
		return say("asked for, pending").In(caution)
	case attested:
		return say("attested: said to be done").In(good)
	case verified:
		return say("verified").In(good)
	}
	return nil
}

// outcome is an operation's fate with the outcome that it comes from.
type outcome struct {
	fate   fate
	record *schemas.OutcomeRecord
}

// fates looks up what became of each operation of a pass.
func fates(a *schemas.ApplicationOutcome, dry bool) map[string]outcome {
	out := map[string]outcome{}
	for i := range a.Plan.Operations {
		o := &a.Plan.Operations[i]
		switch {
		case o.Hold == schemas.HoldPending:
			out[o.ID] = outcome{fate: asked}
		case o.Hold != schemas.HoldNone:
			out[o.ID] = outcome{fate: held}
		case dry:
			out[o.ID] = outcome{fate: planned}
		default:
			out[o.ID] = outcome{fate: untried}
		}
	}
	for i := range a.Outcomes {
		r := &a.Outcomes[i] // of several attempts the last one counts
		f := failed
		switch r.Status {
		case "applied":
			f = unconfirmed
			if r.Fulfilment != nil {
				f = claimed
			}
		case "pending":
			f = asked
		case "blocked":
			f = blocked
		case "cancelled":
			f = cancelled
		}
		out[r.Operation] = outcome{f, r}
	}
	for _, v := range a.Verifications {
		o := out[v.Operation]
		if o.fate == failed || o.fate == blocked || o.fate == cancelled {
			if v.Status != "verified" {
				continue // the failure says more
			}
		}
		if o.fate == asked {
			continue // it was asked for anew since
		}
		switch v.Status {
		case "verified":
			o.fate = verified
		case "attested":
			o.fate = attested
		case "pending":
			if o.fate != claimed {
				o.fate = waiting
			}
		case "differs":
			o.fate = differs
		default:
			o.fate = unverifiable
		}
		out[v.Operation] = o
	}
	return out
}

// fulfilment is whom somebody outside is, and what they say.
func (b *builder) fulfilment(f *schemas.FulfilmentRecord) line {
	l := say("{} {}", word(f.Via), name(f.To))
	if f.By != "" {
		l = say("{}, by {}", l, name(f.By))
	}
	if f.Message != "" {
		l = say("{}: {}", l, b.sentence(f.Message))
	}
	return l
}

// advice says what to do about an error's code.
func advice(code string) literal {
	switch code {
	case "not_found":
		return "what it needs is not there: see whether it was removed by hand"
	case "conflict":
		return "somebody else changed it meanwhile: run again"
	case "unsupported":
		return "the application cannot do this: change the request"
	case "denied":
		return "give the credential for applying the rights that countersign schema CONNECTOR --scripts lists, then run again"
	case "invalid":
		return "the application refuses the value: correct it in a new request"
	case "unavailable":
		return "the next run tries again"
	case "declined":
		return "ask whoever carries it out, or undo the request"
	case "blocked":
		return "it goes ahead once what it depends on has succeeded"
	}
	return "run again once the cause is mended; only what failed is tried again"
}

// withSeen is a report in which operations that were asked for earlier, and are done by now, stand among the others.
func withSeen(r *schemas.RunReport) *schemas.RunReport {
	out := *r
	out.Applications = slices.Clone(r.Applications)
	for i := range out.Applications {
		a := &out.Applications[i]
		ops := slices.Clip(a.Plan.Operations)
		for _, o := range a.Seen {
			if !slices.ContainsFunc(a.Plan.Operations, func(p schemas.Operation) bool { return p.ID == o.ID }) {
				ops = append(ops, o)
			}
		}
		a.Plan.Operations = ops
	}
	return &out
}

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
		d.Blocks = append(d.Blocks, section{Title: say("Judged for the first time"), Blocks: []block{l}})
	}
	quiet := []line{}
	shown := 0
	for i := range r.Applications {
		a := &r.Applications[i]
		if a.Error == "" && a.Plan.Incomplete == "" && len(a.Plan.Operations) == 0 && a.Adopted == 0 &&
			len(a.Withdrawn) == 0 && len(unmanaged(&a.Plan)) == 0 && len(a.Plan.Pending) == 0 && len(a.Plan.Overdue) == 0 && len(a.Plan.Findings) == 0 {
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
		d.Blocks = append(d.Blocks, para(say("As admitted requests want it: {}", list(quiet, b.list))))
	}
	// The reasons of what was judged now stand above.
	files := slices.Clone(r.Quarantined)
	for i := range files {
		if slices.ContainsFunc(r.Admissions, func(a schemas.AdmissionRecord) bool { return a.Commit == files[i].Commit }) {
			files[i].Reasons = nil
		}
	}
	if l := b.quarantined(files); len(l) > 0 {
		d.Blocks = append(d.Blocks, section{Title: say("Quarantined: on the branch, without effect"), Blocks: []block{l}})
	}
	if r.Again != nil {
		d.Blocks = append(d.Blocks, para(say("What others were asked for is looked at again at {}.", instant(*r.Again))))
	}
	if r.Next != nil {
		d.Blocks = append(d.Blocks, para(say("The next start or expiry of a grant is at {}.", instant(*r.Next))))
	}
	d.Next = b.runNext(r, all, dry)
	return d
}

func (b *builder) runTitle(r *schemas.RunReport, dry bool, all map[fate]int) (mark, line) {
	plans := make([]schemas.ApplicationPlan, len(r.Applications))
	var unread, said []line
	left := 0
	for i, a := range r.Applications {
		plans[i] = a.Plan
		if a.Plan.Attested {
			said = append(said, say("{}", name(a.Application)))
		}
		if a.Error != "" || a.Plan.Incomplete != "" {
			unread = append(unread, say("{}", name(a.Application)))
		}
		left += len(unmanaged(&a.Plan))
	}
	quarantined := 0
	for _, a := range r.Admissions {
		if a.Verdict == "quarantined" {
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
		if len(said) > 0 {
			// What nobody reads may have drifted all the same.
			if _, n, _ := tally(plans, func(o *schemas.Operation) bool { return isDrift(o) && o.Hold != schemas.HoldPending }); n > 0 || len(unread) > 0 {
				title = say("{}.", title)
			}
			title = say("{} Of {} it is unknown: attested, not read", title, list(said, 2))
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
			return layout.MarkStop, say("Incomplete: {} could not be worked on. {}", list(unread, 2), head)
		}
		return layout.MarkIdle, head
	}
	done, outside := all[verified]+all[attested], all[asked]+all[claimed]
	open := total - done - all[held] - all[waiting] - outside
	switch {
	case total == 0 && len(unread) > 0:
		return layout.MarkStop, say("Failed: {} could not be worked on{}", list(unread, 2), tail)
	case total == 0 && len(tail) > 0:
		return layout.MarkMissing, say("Nothing to apply{}", tail)
	case total == 0 && len(r.Admissions) == 0:
		return layout.MarkReady, say("Nothing to do: every application is as admitted requests want it.")
	case total == 0:
		return layout.MarkReady, say("Nothing to apply: every application is as admitted requests want it.")
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

// impossible counts the documents that ask for what cannot be.
func impossible(plans []schemas.ApplicationPlan) int {
	wrong := map[schemas.DocumentID]bool{}
	for _, p := range plans {
		for _, f := range p.Findings {
			if f.Severity == "error" && f.Document.Path != "" {
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
		{untried, "not tried"}, {waiting, "pending"}, {unconfirmed, "not verified"}, {attested, "attested"}, {claimed, "said to be done and not seen yet"}, {asked, "with somebody outside"}, {held, "held"},
	} {
		if all[w.fate] > 0 {
			out = say("{}, {} {}", out, all[w.fate], w.word)
		}
	}
	return out
}

func (b *builder) driftTitle(plans []schemas.ApplicationPlan, unread []line, left int) (mark, line) {
	// What somebody outside is at is on its way: no drift, and nothing that is due here.
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
		rest = append(rest, say("{} with somebody outside", plural(pending, "operation", "operations")))
	}
	if n := impossible(plans); n > 0 {
		rest = append(rest, say("{} cannot be carried out", plural(n, "request", "requests")))
		icon = layout.MarkMissing
	}
	if left > 0 {
		rest = append(rest, plural(left, "unmanaged entitlement", "unmanaged entitlements"))
	}
	if len(unread) > 0 {
		// What was not read is no evidence of anything.
		if differences == 0 {
			head = say("Drift unknown: {} could not be read whole", list(unread, 2))
		} else {
			head = say("{}, and {} could not be read whole", head, list(unread, 2))
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

func (b *builder) admissions(records []schemas.AdmissionRecord) items {
	var out items
	unchanged := 0
	for i := range records {
		a := &records[i]
		if a.Verdict == "unchanged" {
			unchanged++
			continue
		}
		if len(out) >= b.list {
			out = append(out, entry(layout.MarkInfo, more(len(records)-i, "commits")))
			break
		}
		m, verdict := layout.MarkYes, say("admitted").In(good)
		switch a.Verdict {
		case "quarantined":
			m, verdict = layout.MarkNo, say("QUARANTINED").In(bad)
		case "anchor":
			verdict = say("anchor of trust")
		case "admitted":
		default:
			m, verdict = layout.MarkWarn, word(a.Verdict)
		}
		text := say("{} {}", verdict, short(a.Commit))
		if e := a.Evidence; e != nil && e.PullRequest > 0 {
			text = say("{}, pull request {}", text, e.PullRequest)
		}
		var files []line
		for _, f := range a.Changes {
			files = append(files, say("{}", name(f.Path)))
		}
		if len(files) > 0 {
			text = say("{}: {}", text, list(files, b.names))
		}
		it := entry(m, text)
		var who []line
		if a.Evidence != nil {
			for _, x := range a.Evidence.Approvals {
				if x.Counts {
					who = append(who, b.approval(x))
				}
			}
		}
		if len(who) > 0 {
			it.More = append(it.More, say("signed off by {}", list(who, max(b.names, 3))))
		}
		for j, r := range a.Reasons {
			if j == collapsed {
				it.More = append(it.More, more(len(a.Reasons)-j, "reasons"))
				break
			}
			it.More = append(it.More, b.sentence(r))
		}
		if a.Verdict == "quarantined" && a.Decision != nil {
			for j, r := range a.Decision.Denials {
				if j == collapsed {
					it.More = append(it.More, more(len(a.Decision.Denials)-j, "denials"))
					break
				}
				it.More = append(it.More, say("{}: {}", join(" ", say("{}", name(r.Code)), position(r.Path, r.Line, 0)), b.sentence(r.Msg)))
			}
		}
		out = append(out, it)
	}
	if unchanged > 0 {
		out = append(out, entry(layout.MarkInfo, say("{} no control file", plural(unchanged, "commit touches", "commits touch")).In(faint)))
	}
	return out
}

func (b *builder) outcome(a *schemas.ApplicationOutcome, by map[string]outcome, dry, drift bool) []block {
	var out []block
	if a.Error != "" {
		out = append(out, items{entry(layout.MarkNo, say("{} {}", say("STOPPED:").In(bad), b.sentence(a.Error)))})
	}
	bo := *b
	if !dry {
		bo.bounds.effects = 2
	}
	out = append(out, bo.changes(a.Plan.Operations, false, progress{func(o *schemas.Operation) (line, []line) {
		x := by[o.ID]
		if dry || x.fate == held {
			return nil, nil
		}
		var detail []line
		if r := x.record; r != nil && r.Fulfilment != nil && (x.fate == asked || x.fate == claimed) {
			return x.fate.line(), []line{b.fulfilment(r.Fulfilment)}
		}
		if r := x.record; r != nil && r.Error != "" && x.fate != verified && x.fate != attested {
			text := b.sentence(r.Error)
			if r.Attempts > 1 {
				text = say("{} (after {} attempts)", text, r.Attempts)
			}
			detail = append(detail, text.In(bad), say("do: {}", advice(r.Code)))
		}
		return x.fate.line(), detail
	}, func(o *schemas.Operation) int { return int(by[o.ID].fate) }})...)
	if len(a.Withdrawn) > 0 {
		var l items
		for i := range a.Withdrawn {
			if i == b.list {
				l = append(l, entry(layout.MarkInfo, more(len(a.Withdrawn)-i, "withdrawn")))
				break
			}
			o := &a.Withdrawn[i]
			l = append(l, entry(layout.MarkInfo, say("withdrawn: {}", join(", ", say("{} {}", word(o.Kind), b.of(o.Connection)), b.subject(o)))))
		}
		out = append(out, l)
	}
	out = append(out, b.beside(&a.Plan, drift)...)
	if dry {
		return out
	}
	n := map[fate]int{}
	for _, x := range by {
		n[x.fate]++
	}
	if len(by) == 0 && a.Adopted == 0 {
		return out
	}
	var sum line
	if len(by) > 0 {
		sum = say("{} verified{}", n[verified], b.rest(n))
	}
	if a.Adopted > 0 {
		sum = join(", ", sum, say("{} adopted: there already as requested", plural(a.Adopted, "item", "items")))
	}
	if a.Remaining > 0 {
		sum = say("{}; {} after the read-back", sum, plural(a.Remaining, "operation remains", "operations remain"))
	}
	return append(out, para(sum))
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
		quarantined = quarantined || a.Verdict == "quarantined"
	}
	switch {
	case errs:
		return say("make the application named above reachable and readable, then run again.")
	case !dry && all[failed]+all[blocked]+all[differs]+all[unverifiable]+all[untried]+all[cancelled]+all[unconfirmed] > 0:
		return say("do what the failed rows say, then run again: only what failed is tried again.")
	case quarantined:
		return say("have the quarantined files approved in a change of their own, or revert them.")
	case r.Kind == "Drift" && dry && total > 0 && due > 0:
		return say("run countersign apply for what is due; countersign drift --enforce mends drift as well.")
	case r.Kind == "Drift" && dry && total > 0:
		return say("run countersign drift --enforce to mend it, or write a request for what shall stay.")
	case r.Kind == "Drift" && dry && left > 0:
		return say("write a request for what shall stay, and revokes for what shall not.")
	case dry && total > held:
		return say("run countersign apply without --dry-run.")
	case held > 0:
		return say("release what is held, as its reason says.")
	case all[asked]+all[claimed] > 0:
		return say("nothing here: the next runs look whether what others were asked for shows.")
	case all[waiting] > 0:
		return say("nothing here: what is pending waits for somebody in the application.")
	}
	return nil
}
