package report

import (
	"github.com/countersign/countersign/reconciler/report/layout"
	"github.com/countersign/countersign/schemas"
)

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

// counts is "1 deletion, 3 grants", or nothing.
func counts(n map[schemas.OperationKind]int) line {
	var parts []line
	for _, w := range kindWords {
		if n[w.kind] > 0 {
			parts = append(parts, plural(n[w.kind], w.one, w.many))
		}
	}
	return join(", ", parts...)
}

// tally counts the operations of plans, and names the applications that have any.
func tally(plans []schemas.ApplicationPlan, counted func(*schemas.Operation) bool) (n map[schemas.OperationKind]int, total int, apps []line) {
	n = map[schemas.OperationKind]int{}
	for i := range plans {
		had := total
		for j := range plans[i].Operations {
			if o := &plans[i].Operations[j]; counted == nil || counted(o) {
				n[o.Kind]++
				total++
			}
		}
		if total > had {
			apps = append(apps, say("{}", name(plans[i].Application)))
		}
	}
	return n, total, apps
}

// places is "in warehouse", "in corp and warehouse" or "in 4 applications".
func places(apps []line) line {
	switch {
	case len(apps) == 0:
		return nil
	case len(apps) > 2:
		return say(" in {} applications", len(apps))
	}
	return say(" in {}", list(apps, 0))
}

// application is the title of a section about one application.
func application(p *schemas.ApplicationPlan) line {
	about := []line{}
	if p.Connector != "" {
		about = append(about, say("{}", name(p.Connector)))
	}
	if p.Mode != "" {
		about = append(about, say("mode {}", name(p.Mode)))
	}
	if !p.ReadAt.IsZero() {
		about = append(about, say("read {}", instant(p.ReadAt)))
	}
	if len(about) == 0 {
		return say("{}", name(p.Application))
	}
	return say("{} ({})", name(p.Application), join(", ", about...))
}
