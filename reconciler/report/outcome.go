package report

import (
	"slices"

	"github.com/countersign/countersign/reconciler/report/layout"
	"github.com/countersign/countersign/schemas"
)

// withSeen adds the operations that were requested earlier and are done by now to the plans of a report.
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

func (b *builder) outcome(a *schemas.ApplicationOutcome, by map[string]outcome, dry, drift bool) []block {
	var out []block
	if a.Error != "" {
		out = append(out, items{entry(layout.MarkNo, say("{} {}", say("STOPPED:").In(bad), b.sentence(a.Error)))})
	}
	bo := *b
	if !dry {
		bo.bounds.effects = 2
	}
	out = append(out, bo.changes(a.Plan.Operations, false, progress{state: func(o *schemas.Operation) (line, []line) {
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
			detail = append(detail, text.In(bad), say("fix: {}", advice(r.Code)))
		}
		return x.fate.line(), detail
	}, rank: func(o *schemas.Operation) int { return int(by[o.ID].fate) }})...)
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
		sum = join(", ", sum, say("{} adopted, already as requested", plural(a.Adopted, "item", "items")))
	}
	if a.Remaining > 0 || a.Error != "" && n[verified] > 0 {
		sum = say("{}; {} after the read-back", sum, plural(a.Remaining, "operation remains", "operations remain"))
	}
	return append(out, para(sum))
}
