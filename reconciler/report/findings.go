package report

import (
	"cmp"
	"maps"
	"slices"

	"github.com/countersign/countersign/reconciler/report/layout"
	"github.com/countersign/countersign/schemas"
)

// notRead sums up by kind what the live state leaves out, with the connections it is of where they are known:
// "default privilege (4), rule (1, of role/admin)".
func (b *builder) notRead(left []schemas.NotRead) line {
	counts, of := map[string]int{}, map[string][]line{}
	for _, n := range left {
		counts[n.What] += n.Count
		if n.Connection.SourceName != "" {
			of[n.What] = append(of[n.What], b.of(n.Connection))
		}
	}
	var parts []line
	for _, what := range slices.Sorted(maps.Keys(counts)) {
		part := say("{} ({})", b.sentence(what), counts[what])
		if names := of[what]; len(names) > 0 {
			part = say("{} ({}, of {})", b.sentence(what), counts[what], list(names, b.names))
		}
		parts = append(parts, part)
	}
	return join(", ", parts...)
}

// notReadCount counts what the live states of plans leave out.
func notReadCount(plans []schemas.ApplicationPlan) int {
	count := 0
	for i := range plans {
		for _, n := range plans[i].NotRead {
			count += n.Count
		}
	}
	return count
}

// beside is what a plan has besides operations.
func (b *builder) beside(p *schemas.ApplicationPlan, listed bool) []block {
	var out []block
	if p.Incomplete != "" {
		out = append(out, items{entry(layout.MarkWarn, say("{} {}", say("INCOMPLETE: could not read all of the live state:").In(bad), b.sentence(p.Incomplete)))})
	}
	if p.Attested {
		out = append(out, items{entry(layout.MarkInfo, say("attested: shows what others reported. countersign can't read this application, so drift is unknown"))})
	}
	if len(p.NotRead) > 0 {
		out = append(out, items{entry(layout.MarkInfo, say("not read, so drift in it is unknown: {}", b.notRead(p.NotRead)))})
	}
	if len(p.NotManaged) > 0 && listed {
		out = append(out, items{entry(layout.MarkInfo, say("not managed here: {}", b.notRead(p.NotManaged)))})
	}
	if len(p.Pending) > 0 {
		var l items
		for i, e := range p.Pending {
			if i == b.list {
				l = append(l, entry(layout.MarkWait, more(len(p.Pending)-i, "pending")))
				break
			}
			l = append(l, entry(layout.MarkWait, say("pending: {} ({})", b.key(e.Key), e.State)))
		}
		out = append(out, l)
	}
	keys := func(list []schemas.Key, m mark, one, many literal, advice literal) {
		if len(list) == 0 {
			return
		}
		it := entry(m, say("{}: {}", plural(len(list), one, many), advice))
		if listed {
			for i, k := range list {
				if i == b.list {
					it.More = append(it.More, more(len(list)-i, "entitlements"))
					break
				}
				it.More = append(it.More, b.key(k))
			}
		}
		out = append(out, items{it})
	}
	keys(p.Overdue, layout.MarkWarn, "expired grant is still there", "expired grants are still there", "see why they are held above")
	keys(unmanaged(p), layout.MarkInfo, "unmanaged entitlement", "unmanaged entitlements", "never requested; a revoke removes it, a grant makes it managed")
	if f := b.findings(p.Findings); len(f) > 0 {
		out = append(out, f)
	}
	return out
}

// findings is a list of findings with their places, errors first.
func (b *builder) findings(list []schemas.Finding) items {
	rank := map[schemas.Severity]int{schemas.SeverityError: 0, schemas.SeverityWarning: 1}
	sorted := slices.Clone(list)
	slices.SortStableFunc(sorted, func(x, y schemas.Finding) int {
		order := func(f schemas.Finding) int {
			if n, ok := rank[f.Severity]; ok {
				return n
			}
			return 2
		}
		return cmp.Compare(order(x), order(y))
	})
	var out items
	for i, f := range sorted {
		if i == b.list {
			out = append(out, entry(layout.MarkWarn, more(len(sorted)-i, "findings")))
			break
		}
		m, severity := layout.MarkInfo, say("info").In(faint)
		switch f.Severity {
		case "error":
			m, severity = layout.MarkNo, say("error").In(bad)
		case "warning":
			m, severity = layout.MarkWarn, say("warning").In(caution)
		}
		at := place(f)
		if at.Empty() && f.Connection != (schemas.Name{}) {
			at = b.of(f.Connection)
			if f.Application != "" {
				at = say("{} in {}", at, name(f.Application))
			}
		}
		head := join(" ", severity, at)
		if f.Code != "" {
			head = say("{} ({})", head, name(f.Code))
		}
		it := entry(m, say("{}: {}", head, b.sentence(f.Message)))
		if f.Fix != "" {
			it.More = append(it.More, say("fix: {}", b.sentence(f.Fix)))
		}
		out = append(out, it)
	}
	return out
}

// unmanaged are the entitlements that no request mentions and no operation of the plan removes.
func unmanaged(p *schemas.ApplicationPlan) []schemas.Key {
	taken := map[schemas.Key]bool{}
	for i := range p.Operations {
		if o := &p.Operations[i]; o.Cause == schemas.CauseUnmanaged {
			taken[o.Key()] = true
		}
	}
	var out []schemas.Key
	for _, k := range p.Unmanaged {
		if !taken[k] {
			out = append(out, k)
		}
	}
	return out
}
