package report

import (
	"maps"
	"slices"

	"github.com/countersign/countersign/reconciler/report/layout"
	"github.com/countersign/countersign/schemas"
)

func (b *builder) status(r *schemas.StatusReport) document {
	d := document{Icon: layout.MarkReady}
	n := map[string]int{}
	good3 := func(s *schemas.RequestStatus) bool {
		return (s.Verification == "verified" || s.Verification == "attested") && s.Approval == "admitted"
	}
	for i := range r.Requests {
		s := &r.Requests[i]
		switch {
		case s.Approval == "quarantined":
			n["quarantined"]++
		case s.Provisioning == "failed":
			n["failed"]++
		case s.Verification == "verified", s.Verification == "attested":
			n[s.Verification]++
		case slices.ContainsFunc(s.Fulfilment, func(f schemas.FulfilmentStatus) bool { return f.State == "pending" || f.State == "applied" }):
			n["outside"]++
		default:
			n["open"]++
		}
	}
	head := plural(len(r.Requests), "request", "requests")
	var parts []line
	for _, w := range []struct {
		key  string
		word literal
	}{{"failed", "failed"}, {"quarantined", "quarantined"}, {"open", "not verified"}, {"outside", "with somebody outside"}, {"attested", "attested"}, {"verified", "verified"}} {
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
	t := table{Head: []literal{"Request", "Connection", "Application", "Approval", "Provisioning", "Verification", "Detail"}, Titled: true}
	// What needs somebody comes first where not all is shown.
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
		case s.Approval == "quarantined" || s.Provisioning == "failed":
			m = layout.MarkNo
		case good3(s):
			m = layout.MarkYes
		case s.Verification == "verified":
			m = layout.MarkSame
		}
		t.Rows = append(t.Rows, row{Mark: m, Cells: []line{source(s.Document), b.of(s.Connection), say("{}", name(s.Application)),
			axis(s.Approval), axis(s.Provisioning), axis(s.Verification), detail(s.Detail)}})
	}
	if len(t.Rows) > 0 {
		d.Blocks = append(d.Blocks, t)
	}
	if n := len(sorted) - len(t.Rows); n > 0 {
		d.Blocks = append(d.Blocks, para(more(n, "requests")))
	}
	if l := b.quarantined(r.Quarantined); len(l) > 0 {
		d.Blocks = append(d.Blocks, section{Title: say("Quarantined: on the branch, without effect"), Blocks: []block{l}})
	}
	switch {
	case n["failed"] > 0:
		d.Next = say("run countersign apply: it tries what failed again and says why.")
	case n["open"] > 0:
		d.Next = say("run countersign apply to carry out what is pending.")
	case len(r.Quarantined) > 0:
		d.Next = say("have the quarantined files approved in a change of their own, or revert them.")
	}
	return d
}

func detail(s string) line {
	if s == "" {
		return nil
	}
	return say("{}", s)
}

// axis is a state in its colour; its word says the same.
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

func (b *builder) access(r *schemas.AccessReport) document {
	d := document{Icon: layout.MarkIdle}
	type who struct {
		app string
		id  schemas.Name
	}
	rights := map[who][]*schemas.AccessEntry{}
	var order []who
	unmanaged := 0
	for i := range r.Entries {
		e := &r.Entries[i]
		w := who{e.Application, e.Identity}
		if _, ok := rights[w]; !ok {
			order = append(order, w)
		}
		rights[w] = append(rights[w], e)
		if slices.ContainsFunc(e.Steps, func(s schemas.AccessStep) bool { return s.Origin == "unmanaged" }) {
			unmanaged++
		}
	}
	switch {
	case len(r.Entries) == 0 && len(r.Incomplete) > 0:
		d.Title = say("Unknown: not everything could be read")
	case len(r.Entries) == 0:
		d.Title = say("Nobody has such access.")
	default:
		d.Title = say("{} of {}", plural(len(r.Entries), "right", "rights"), plural(len(order), "identity", "identities"))
		if unmanaged > 0 {
			d.Title = say("{}; {} through access that no request asked for", d.Title, unmanaged)
		}
	}
	if len(r.Attested) > 0 {
		var apps []line
		for _, a := range r.Attested {
			apps = append(apps, say("{}", name(a)))
		}
		d.Blocks = append(d.Blocks, items{entry(layout.MarkInfo, say("attested, not read: of {} it says what was said to be done", list(apps, b.list)))})
	}
	if len(r.Incomplete) > 0 {
		d.Icon = layout.MarkStop
		var l items
		for i, app := range slices.Sorted(maps.Keys(r.Incomplete)) {
			if i == b.list {
				l = append(l, entry(layout.MarkWarn, more(len(r.Incomplete)-i, "applications")))
				break
			}
			l = append(l, entry(layout.MarkWarn, say("{} {}: {}", say("INCOMPLETE").In(bad), name(app), b.sentence(r.Incomplete[app]))))
		}
		d.Blocks = append(d.Blocks, l)
		d.Next = say("make the application readable and ask again: more access may exist than is shown.")
	}
	left := b.rows * 4
	if !b.tables {
		left = 0
	}
	shown := 0
	flat := table{Head: []literal{"Identity", "Privilege", "Target", "Through", "Why"}}
	for _, w := range order {
		t := table{Head: []literal{"Privilege", "Target", "Through"}}
		for _, e := range rights[w] {
			if left == 0 {
				break
			}
			left--
			shown++
			var via []line
			for _, v := range e.Via {
				via = append(via, b.of(v))
			}
			through := join(" → ", via...)
			if b.markdown {
				flat.Rows = append(flat.Rows, row{Cells: []line{say("{} in {}", b.of(w.id), name(w.app)), say("{}", name(e.Privilege)), b.of(e.Target), through, b.steps(e.Steps)}})
				continue
			}
			if !through.Empty() {
				through = say("through {}", through)
			}
			t.Rows = append(t.Rows, row{Mark: layout.MarkInfo, Cells: []line{say("{}", name(e.Privilege)), b.of(e.Target), through}, More: b.reasons(e.Steps)})
		}
		if len(t.Rows) > 0 {
			d.Blocks = append(d.Blocks, section{Title: say("{} in {}", b.of(w.id), name(w.app)), Blocks: []block{t}})
		}
	}
	if len(flat.Rows) > 0 {
		d.Blocks = append(d.Blocks, flat)
	}
	if n := len(r.Entries) - shown; n > 0 {
		d.Blocks = append(d.Blocks, para(say("and {} more rights (--identity, --connection and --resource narrow it down; --format json has all)", n).In(faint)))
	}
	return d
}

// reasons is a line for each entitlement of a way.
func (b *builder) reasons(steps []schemas.AccessStep) []line {
	var out []line
	for i, s := range steps {
		if i == b.list {
			out = append(out, more(len(steps)-i, "steps"))
			break
		}
		out = append(out, say("{}, {}", b.key(s.Key), b.origin(s)))
	}
	return out
}

func (b *builder) steps(steps []schemas.AccessStep) line {
	l := b.reasons(steps)
	if len(l) == 0 {
		return say("unknown")
	}
	return join("; then ", l...)
}

func (b *builder) origin(s schemas.AccessStep) line {
	if s.Origin != "request" {
		return say("unmanaged, no request asked for it").In(caution)
	}
	var docs []line
	for _, x := range s.Documents {
		docs = append(docs, source(x))
	}
	parts := []line{say("by {}", list(docs, b.names))}
	if len(docs) == 0 {
		parts[0] = say("by a request")
	}
	if s.Commit != "" {
		parts = append(parts, say("commit {}", short(s.Commit)))
	}
	if s.PullRequest > 0 {
		parts = append(parts, say("pull request {}", s.PullRequest))
	}
	var who []line
	for _, a := range s.Approvers {
		w := say("{}", name(a.Person))
		if !a.Authenticated {
			w = say("{} (unauthenticated)", w)
		}
		who = append(who, w)
	}
	if len(who) > 0 {
		parts = append(parts, say("signed off by {}", list(who, max(b.names, 3))))
	} else {
		parts = append(parts, say("approvers unknown"))
	}
	if s.Expires != nil {
		parts = append(parts, say("until {}", instant(*s.Expires)))
	}
	return join(", ", parts...)
}

func (b *builder) validate(r *schemas.ValidateReport) document {
	read := say("{}, {}", plural(r.Files, "file", "files"), plural(r.Documents, "document", "documents"))
	n := 0
	for _, f := range r.Errors {
		if f.Severity == "error" || f.Severity == "" {
			n++
		}
	}
	l := b.findings(r.Errors)
	switch {
	case r.Files == 0 && n == 0:
		return document{Icon: layout.MarkStop, Title: say("No control files were found."), Blocks: blocksOf(l), Next: say("run countersign init here, or point --repo at an access repository.")}
	case n == 0:
		return document{Icon: layout.MarkReady, Title: say("Valid: {}", read), Blocks: blocksOf(l)}
	}
	return document{Icon: layout.MarkStop, Title: say("Invalid: {} in {}", plural(n, "error", "errors"), read), Blocks: blocksOf(l), Next: say("mend them and run countersign validate again.")}
}

func (b *builder) doctor(r *schemas.DoctorReport) document {
	counted := map[string]int{}
	var l items
	// What is open comes first.
	for _, state := range []string{schemas.CheckOpen, schemas.CheckUnknown, schemas.CheckOK} {
		for _, c := range r.Checks {
			if c.State != state {
				continue
			}
			counted[state]++
			it := item{Mark: layout.MarkYes, Text: say("{}: {}", name(c.Name), c.Detail)}
			switch state {
			case schemas.CheckOpen:
				it = item{Mark: layout.MarkNo, Text: say("open {}: {}", name(c.Name), c.Fix)}
			case schemas.CheckUnknown:
				it = item{Mark: layout.MarkWarn, Text: say("unknown {}: {}", name(c.Name), c.Detail), More: []line{say("fix: {}", c.Fix)}}
			}
			l = append(l, it)
		}
	}
	d := document{Icon: layout.MarkReady, Title: say("All is well: {}", plural(len(r.Checks), "check", "checks")), Blocks: blocksOf(l)}
	if n := counted[schemas.CheckOpen]; n > 0 {
		d.Icon, d.Title = layout.MarkStop, say("{} of {} open", n, plural(len(r.Checks), "check", "checks"))
		d.Next = say("close them at the forge; until then countersign judges all the same, at the merge.")
	}
	return d
}

func (b *builder) fulfil(r *schemas.FulfilReport) document {
	d := document{Icon: layout.MarkReady, Title: say("Recorded: {} of {} is said to be {}", name(r.Operation), name(r.Application), word(r.Status)), Next: say("run countersign apply: it reads the application, and verifies what shows.")}
	if !r.Recorded {
		d.Title = say("Known already: {} of {} is {}", name(r.Operation), name(r.Application), word(r.Status))
	}
	d.Blocks = append(d.Blocks, para(say("by {}", name(r.By))))
	return d
}

func blocksOf(l items) []block {
	if len(l) == 0 {
		return nil
	}
	return []block{l}
}

func (b *builder) plans(plans []schemas.ApplicationPlan, digest string) document {
	n, total, apps := tally(plans, nil)
	d := document{Icon: layout.MarkIdle, Title: say("{}{}", counts(n), places(apps))}
	if total == 0 {
		d.Title = say("Nothing to change.")
	}
	if digest != "" {
		d.Title = say("{} (plan {})", d.Title, short(digest))
	}
	for i := range plans {
		if i == b.rows {
			d.Blocks = append(d.Blocks, para(more(len(plans)-i, "applications")))
			break
		}
		blocks := append(b.changes(plans[i].Operations, false, progress{}), b.beside(&plans[i], true)...)
		if len(blocks) > 0 {
			d.Blocks = append(d.Blocks, section{Title: application(&plans[i]), Blocks: blocks})
		}
		if plans[i].Incomplete != "" {
			d.Icon = layout.MarkStop
		}
	}
	return d
}

func (b *builder) findingsOnly(list []schemas.Finding) document {
	if len(list) == 0 {
		return document{Icon: layout.MarkReady, Title: say("No findings.")}
	}
	return document{Icon: layout.MarkMissing, Title: plural(len(list), "finding", "findings"), Blocks: blocksOf(b.findings(list))}
}

func (b *builder) decisionOnly(x *schemas.Decision) document {
	d := document{Icon: layout.MarkReady, Title: b.policyTitle(x), Blocks: b.policy(x)}
	if len(x.Denials) > 0 || x.Rules == 0 {
		d.Icon = layout.MarkStop
	}
	var l items
	for i, r := range x.Required {
		if i == b.list {
			l = append(l, entry(layout.MarkWait, more(len(x.Required)-i, "requirements")))
			break
		}
		l = append(l, entry(layout.MarkWait, say("required: {} of {}", plural(max(r.Count, 1), "sign-off", "sign-offs"), b.principals(r.From)), say("{} ({})", b.sentence(r.Why), name(r.Code))))
	}
	if len(l) > 0 {
		d.Blocks = append(d.Blocks, section{Title: say("Sign-offs"), Blocks: []block{l}})
	}
	return d
}
