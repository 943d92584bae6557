package report

import (
	"slices"

	"github.com/countersign/countersign/reconciler/report/layout"
	"github.com/countersign/countersign/schemas"
)

func (b *builder) policyTitle(d *schemas.Decision) line {
	parts := []line{plural(d.Rules, "rule evaluated", "rules evaluated")}
	if n := len(d.Denials); n > 0 {
		parts = append(parts, plural(n, "denial", "denials"))
	}
	if n := len(d.Warnings); n > 0 {
		parts = append(parts, plural(n, "warning", "warnings"))
	}
	if len(parts) == 1 && d.Rules > 0 {
		parts = append(parts, say("no objections"))
	}
	return say("Policy: {}", join(", ", parts...))
}

func (b *builder) policy(d *schemas.Decision) []block {
	var out items
	if d.Rules == 0 {
		out = append(out, entry(layout.MarkNo, say("no rules ran: this never counts as a pass").In(bad)))
	}
	if !b.denials {
		return blocksOf(slices.Concat(out, b.codes(d.Denials, layout.MarkNo, "denied by"), b.codes(d.Warnings, layout.MarkWarn, "warned by")))
	}
	return blocksOf(slices.Concat(out, b.results(d.Denials, layout.MarkNo, say("denied").In(bad), 0), b.results(d.Warnings, layout.MarkWarn, say("warning").In(caution), b.list)))
}

// results lists results of rules. Markdown leaves out no denials: its ladder shortens them to codes instead.
func (b *builder) results(list []schemas.RuleResult, m mark, verdict line, limit int) items {
	if limit == 0 && !b.markdown {
		limit = max(b.list, 50)
	}
	var out items
	for i, r := range list {
		if limit > 0 && i == limit {
			out = append(out, entry(m, more(len(list)-i, "results")))
			break
		}
		head := join(" ", verdict, say("{}", name(r.Code)), position(r.Path, r.Line, 0))
		if r.Field != "" {
			head = say("{} ({})", head, name(r.Field))
		}
		it := entry(m, say("{}: {}", head, b.sentence(r.Msg)))
		if r.Fix != "" {
			it.More = append(it.More, say("fix: {}", b.sentence(r.Fix)))
		}
		out = append(out, it)
	}
	return out
}

// codes lists results by their rule alone.
func (b *builder) codes(list []schemas.RuleResult, m mark, by literal) items {
	n := map[string]int{}
	var order []string
	for _, r := range list {
		if n[r.Code] == 0 {
			order = append(order, r.Code)
		}
		n[r.Code]++
	}
	slices.Sort(order)
	var out items
	for i, c := range order {
		if i == max(b.list, 3) {
			out = append(out, entry(m, more(len(order)-i, "rules")))
			break
		}
		out = append(out, entry(m, say("{} {}: {}", by, name(c), plural(n[c], "time", "times"))))
	}
	return out
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
		l = append(l, entry(layout.MarkWait, say("required: {} from {}", plural(max(r.Count, 1), "sign-off", "sign-offs"), b.principals(r.From)), say("{} ({})", b.sentence(r.Why), name(r.Code))))
	}
	if len(l) > 0 {
		d.Blocks = append(d.Blocks, section{Title: say("Sign-offs"), Blocks: []block{l}})
	}
	return d
}
