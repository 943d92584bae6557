package report

import (
	"maps"
	"slices"

	"github.com/countersign/countersign/reconciler/report/layout"
	"github.com/countersign/countersign/schemas"
)

func (b *builder) access(r *schemas.AccessReport) document {
	d := document{Icon: layout.MarkIdle}
	type who struct {
		app      string
		id       schemas.Name
		everyone bool
	}
	rights := map[who][]*schemas.AccessEntry{}
	var order []who
	unmanaged, everyone := 0, 0
	for i := range r.Entries {
		e := &r.Entries[i]
		w := who{e.Application, e.Identity, e.Everyone}
		if _, ok := rights[w]; !ok {
			order = append(order, w)
			if e.Everyone {
				everyone++
			}
		}
		rights[w] = append(rights[w], e)
		if slices.ContainsFunc(e.Steps, func(s schemas.AccessStep) bool { return s.Origin == "unmanaged" }) {
			unmanaged++
		}
	}
	switch {
	case len(r.Entries) == 0 && len(r.Incomplete) > 0:
		d.Title = say("Unknown: not everything could be read")
	case len(r.Entries) == 0 && len(r.NotRead) > 0:
		d.Title = say("Nobody has this access in what is read")
	case len(r.Entries) == 0:
		d.Title = say("Nobody has this access.")
	default:
		by := plural(len(order)-everyone, "identity", "identities")
		switch {
		case everyone == len(order):
			by = say("everyone")
		case everyone > 0:
			by = say("everyone and {}", by)
		}
		d.Title = say("{} held by {}", plural(len(r.Entries), "right", "rights"), by)
		if unmanaged > 0 {
			d.Title = say("{}; {} through access that was never requested", d.Title, unmanaged)
		}
	}
	if len(r.Attested) > 0 {
		var apps []line
		for _, a := range r.Attested {
			apps = append(apps, say("{}", name(a)))
		}
		d.Blocks = append(d.Blocks, items{entry(layout.MarkInfo, say("{}: attested, not read; shows what was reported as done", list(apps, b.list)))})
	}
	for _, app := range slices.Sorted(maps.Keys(r.NotRead)) {
		d.Blocks = append(d.Blocks, items{entry(layout.MarkInfo, say("{}: not read: {}", name(app), b.notRead(r.NotRead[app])))})
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
		d.Next = say("make the application readable, then run this again: there may be more access than is shown here.")
	}
	left := b.rows * 4
	if !b.tables {
		left = 0
	}
	shown := 0
	flat := table{Head: []literal{"Identity", "Privilege", "Target", "Through", "Why"}}
	for _, w := range order {
		t := table{Head: []literal{"Privilege", "Target", "Through"}}
		who := say("{} in {}", b.of(w.id), name(w.app))
		if w.everyone {
			who = say("everyone, as {}", who)
		}
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
			if e.Switch {
				through = say("{} (after switching to it)", through)
			}
			if b.markdown {
				flat.Rows = append(flat.Rows, row{Cells: []line{who, say("{}", name(e.Privilege)), b.of(e.Target), through, b.steps(e.Steps)}})
				continue
			}
			if !through.Empty() {
				through = say("through {}", through)
			}
			t.Rows = append(t.Rows, row{Mark: layout.MarkInfo, Cells: []line{say("{}", name(e.Privilege)), b.of(e.Target), through}, More: b.reasons(e.Steps)})
		}
		if len(t.Rows) > 0 {
			d.Blocks = append(d.Blocks, section{Title: who, Blocks: []block{t}})
		}
	}
	if len(flat.Rows) > 0 {
		d.Blocks = append(d.Blocks, flat)
	}
	if n := len(r.Entries) - shown; n > 0 {
		d.Blocks = append(d.Blocks, para(say("and {} more rights (filter with --identity, --connection or --resource; --format json lists all)", n).In(faint)))
	}
	return d
}

// reasons has a line for each entitlement on a path.
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
		return say("superuser")
	}
	return join("; then ", l...)
}

func (b *builder) origin(s schemas.AccessStep) line {
	if s.Origin != "request" {
		return say("unmanaged: never requested").In(caution)
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
