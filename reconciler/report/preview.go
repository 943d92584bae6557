package report

import (
	"slices"
	"strings"

	"github.com/countersign/countersign/reconciler/report/layout"
	"github.com/countersign/countersign/schemas"
)

// preview is the document of a change. In Markdown reviewers read what blocks the change and what it does to people
// before the operations; at a terminal the end is what is read first.
func (b *builder) preview(p *schemas.Preview) document {
	d := document{}
	b.hide(p)
	d.Icon, d.Title = b.verdict(p)
	d.Next = b.previewNext(p)
	add := func(title line, blocks ...block) {
		blocks = slices.DeleteFunc(blocks, func(x block) bool { i, ok := x.(items); return ok && len(i) == 0 })
		if len(blocks) > 0 {
			d.Blocks = append(d.Blocks, section{Title: title, Blocks: blocks})
		}
	}
	problems := func() { add(say("Errors"), b.findings(p.Errors)) }
	judgement := func() {
		if p.Decision != nil {
			d.Blocks = append(d.Blocks, section{Title: b.policyTitle(p.Decision), Blocks: b.policy(p.Decision)})
		} else if p.Verdict != schemas.VerdictNothing {
			d.Blocks = append(d.Blocks, section{Title: say("Policy: not evaluated, because the change has errors")})
		}
		add(b.signoffTitle(p), b.signoffs(p)...)
	}
	if p.Verdict == schemas.VerdictInvalid || b.markdown {
		problems()
	}
	if files := b.automation(p); len(files) > 0 {
		d.Blocks = append(d.Blocks, files)
	}
	if unread := b.unread(p); len(unread) > 0 {
		d.Blocks = append(d.Blocks, unread)
	}
	if b.markdown {
		judgement()
		add(say("Effect by person"), b.byPerson(p)...)
	}
	b.applications(p, add, &d)
	if !b.markdown {
		add(say("Taken together"), b.together(p)...)
	}
	b.already(p, add, &d)
	b.others(p, &d)
	if !b.markdown {
		judgement()
	}
	d.Blocks = append(d.Blocks, quarantinedEarlier(len(p.Quarantined))...)
	if p.Verdict != schemas.VerdictInvalid && !b.markdown {
		problems()
	}
	if b.markdown {
		b.appendix(p, &d)
	}
	return d
}

// applications adds what the change does in each application.
func (b *builder) applications(p *schemas.Preview, add func(line, ...block), d *document) {
	for i := range p.Plan.Applications {
		a := &p.Plan.Applications[i]
		if i >= b.rows && !b.everyone {
			for j := range a.Operations {
				b.skip(&a.Operations[j])
			}
			if i == b.rows {
				d.Blocks = append(d.Blocks, para(more(len(p.Plan.Applications)-i, "applications")))
			}
			continue
		}
		live := p.Live && a.Incomplete == "" && !a.ReadAt.IsZero()
		blocks := append(b.changes(a.Operations, live, progress{apart: b.markdown}), b.terms(a.Application, p.Terms)...)
		if len(blocks) == 0 {
			blocks = []block{para(say("nothing to change"))}
		}
		title := application(a)
		if !live && a.Incomplete == "" {
			title = say("{}: live state not read", title)
		}
		add(title, append(blocks, b.beside(a, false)...)...)
	}
}

// others adds the operations that aren't part of the change.
func (b *builder) others(p *schemas.Preview, d *document) {
	if len(p.Drift) == 0 {
		return
	}
	_, total, apps := tally(p.Drift, nil)
	if !b.drift {
		d.Blocks = append(d.Blocks, para(say("Also, {} not part of this change (--format json lists all).", plural(total, "operation of drift or pending work is", "operations of drift or pending work are"))))
		return
	}
	var blocks []block
	beside := *b
	beside.everyone, beside.lacking = false, &lacking{} // nobody approves it here
	for i := range p.Drift {
		if i == b.rows {
			break
		}
		blocks = append(blocks, section{Title: say("{}", name(p.Drift[i].Application)), Blocks: beside.changes(p.Drift[i].Operations, false, progress{})})
	}
	if b.markdown {
		apps = nil // a summary has no foreign names
	}
	d.Blocks = append(d.Blocks, section{Title: say("Not part of this change: {} of drift or pending work{}", plural(total, "operation", "operations"), places(apps)), Blocks: blocks, Fold: b.markdown})
}

// verdict is the headline: what blocks the change, and what it does.
func (b *builder) verdict(p *schemas.Preview) (mark, line) {
	n, total, apps := tally(p.Plan.Applications, nil)
	_, held, _ := tally(p.Plan.Applications, func(o *schemas.Operation) bool { return o.Hold != schemas.HoldNone })
	change := say("{}{}", join(", ", counts(n), termCounts(p.Terms)), places(withTerms(p, apps)))
	if held > 0 {
		change = say("{}, {} held", change, held)
	}
	if p.Plan.Digest != "" {
		change = say("{} (plan {})", change, short(p.Plan.Digest))
	}
	if total += len(p.Terms); total == 0 {
		change = say("no application changes")
	}
	if !p.Live && total > 0 {
		change = say("{}; live state was not read", change)
	}
	switch p.Verdict {
	case schemas.VerdictNothing:
		return layout.MarkIdle, say("Nothing to do: this change touches no control files.")
	case schemas.VerdictReady:
		return layout.MarkReady, say("Ready to merge: {}", change)
	case schemas.VerdictSignoff:
		return layout.MarkMissing, say("{}: {}", b.missing(p), change)
	case schemas.VerdictDenied:
		denials := 0
		if p.Decision != nil {
			denials = len(p.Decision.Denials)
		}
		return layout.MarkStop, say("Denied by policy for {}: {}", plural(denials, "reason", "reasons"), change)
	case schemas.VerdictIncomplete:
		var unread []line
		for _, a := range p.Plan.Applications {
			if a.Incomplete != "" {
				unread = append(unread, say("{}", name(a.Application)))
			}
		}
		return layout.MarkStop, say("Incomplete, cannot be merged: could not read all of {}; {}", list(unread, 2), change)
	case schemas.VerdictInvalid:
		n := 0
		for _, f := range p.Errors {
			if f.Severity == schemas.SeverityError {
				n++
			}
		}
		if total == 0 {
			return layout.MarkStop, say("Invalid: {} to fix", plural(n, "error", "errors"))
		}
		return layout.MarkStop, say("Invalid: {} to fix; {}", plural(n, "error", "errors"), change)
	}
	return layout.MarkStop, say("Unknown verdict {}: {}", p.Verdict, change)
}

// withTerms names the applications with operations or changes of a start or an end.
func withTerms(p *schemas.Preview, apps []line) []line {
	if len(p.Terms) == 0 {
		return apps
	}
	apps = nil
	for i := range p.Plan.Applications {
		a := &p.Plan.Applications[i]
		if len(a.Operations) > 0 || slices.ContainsFunc(p.Terms, func(t schemas.TermChange) bool { return t.Application == a.Application }) {
			apps = append(apps, say("{}", name(a.Application)))
		}
	}
	return apps
}

// automation lists the changed files that can change what runs countersign, which no plan shows.
func (b *builder) automation(p *schemas.Preview) items {
	var out items
	for i := range p.Files {
		f := &p.Files[i]
		switch {
		case f.Class != schemas.ClassAutomation:
			continue
		case len(out) == b.list:
			return append(out, entry(layout.MarkWarn, say("and more files of this kind").In(bad)))
		case f.After == "":
			out = append(out, entry(layout.MarkWarn, say("deletes {}, which can change what runs countersign", name(f.Path))))
		default:
			out = append(out, entry(layout.MarkWarn, say("changes {}, which can change what runs countersign", name(f.Path)), say("Read it: no plan shows what it does.")))
		}
	}
	return out
}

func (b *builder) unread(p *schemas.Preview) items {
	var out items
	for _, a := range p.Plan.Applications {
		if a.Incomplete == "" {
			continue
		}
		if len(out) == b.list {
			out = append(out, entry(layout.MarkWarn, say("and more applications that could not be read").In(bad)))
			break
		}
		out = append(out, entry(layout.MarkWarn, say("{} {}: {}", say("COULD NOT READ").In(bad), name(a.Application), b.sentence(a.Incomplete)), say("Shown from the requests alone. Nothing is removed while the state is unknown.")))
	}
	return out
}

// together lists effects of the change that none of its operations has by itself.
func (b *builder) together(p *schemas.Preview) []block {
	seen := map[string]bool{}
	id := func(a schemas.Access, sign string) string {
		return strings.Join([]string{sign, a.Application, a.Identity.String(), a.Target.String(), a.Privilege}, "\x00")
	}
	for _, app := range p.Plan.Applications {
		for _, o := range app.Operations {
			for _, a := range o.Gained {
				seen[id(a, "+")] = true
			}
			for _, a := range o.Lost {
				seen[id(a, "-")] = true
			}
		}
	}
	unseen := func(list []schemas.Access, sign string) []schemas.Access {
		return slices.DeleteFunc(slices.Clone(list), func(a schemas.Access) bool { return seen[id(a, sign)] })
	}
	var l items
	for _, e := range b.effects(unseen(p.Gained, "+"), unseen(p.Lost, "-")) {
		l = append(l, entry(layout.MarkInfo, e))
	}
	if len(l) == 0 {
		return nil
	}
	return []block{l}
}

// collapsed is how many entitlements already in place are listed.
const collapsed = 5

func (b *builder) already(p *schemas.Preview, add func(line, ...block), d *document) {
	n := len(p.Already)
	if n == 0 {
		return
	}
	title := say("{} already in place: no operation", plural(n, "entitlement", "entitlements"))
	var l items
	for i, k := range p.Already {
		if i == b.list {
			l = append(l, entry(layout.MarkSame, more(n-i, "entitlements")))
			break
		}
		l = append(l, entry(layout.MarkSame, b.key(k)))
	}
	switch {
	case n <= collapsed:
		add(title, l)
	case b.markdown && b.tables && !b.grouped:
		d.Blocks = append(d.Blocks, section{Title: title, Blocks: []block{l}, Fold: true})
	default:
		d.Blocks = append(d.Blocks, para(say("{} (--format json lists them)", title)))
	}
}

// appendix lists the evidence for auditors in a pull request's comment.
func (b *builder) appendix(p *schemas.Preview, d *document) {
	if b.exact {
		var v verbatim
		n := 0
		for i := range p.Plan.Applications {
			for j := range p.Plan.Applications[i].Operations {
				o := &p.Plan.Applications[i].Operations[j]
				l := say("{} {} {}", name(p.Plan.Applications[i].Application), word(o.Kind), b.of(o.Connection))
				if s := b.subject(o); !s.Empty() {
					l = say("{} {}", l, s)
				}
				if o.NativeID != "" {
					l = say("{} id={}", l, name(o.NativeID))
				}
				if o.Hold != schemas.HoldNone {
					l = say("{} ({})", l, waits(o.Hold))
				}
				v = append(append(v, l), b.details(o)...)
				n++
			}
		}
		for i := range p.Terms {
			t := &p.Terms[i]
			v = append(v, say("{} {} {}: {} → {}", name(t.Application), termWords[kindOfTerm(t)].verb, b.key(t.Key), orNever(t.Before), orNever(t.After)))
			n++
		}
		if len(v) > 0 {
			d.Blocks = append(d.Blocks, section{Title: say("Exact operations ({}), in the order they are applied", n), Blocks: []block{v}, Fold: true})
		}
	}
	if p.Verdict == schemas.VerdictNothing || !b.denials {
		return // no evidence, or no room
	}
	l := items{entry(layout.MarkNone, say("head {}, base {}", short(p.Head), short(p.Base)))}
	if p.ContentDigest != "" {
		l = append(l, entry(layout.MarkNone, say("content {}: what an approval covers", short(p.ContentDigest))))
	}
	if p.Decision != nil && p.Decision.Bundle != "" {
		l = append(l, entry(layout.MarkNone, say("policy {} from the base, engine {}", short(p.Decision.Bundle), name(p.Decision.Engine))))
	}
	if !p.At.IsZero() {
		read := literal("live state read")
		if !p.Live {
			read = "live state not read"
		}
		l = append(l, entry(layout.MarkNone, say("{}, {}", read, instant(p.At))))
	}
	d.Blocks = append(d.Blocks, section{Title: say("Evidence"), Blocks: []block{l}, Fold: true})
}

// previewNext is the next step.
func (b *builder) previewNext(p *schemas.Preview) line {
	// At a pull request the merge is carried out by itself.
	pull := p.Evidence != nil && p.Evidence.PullRequest != 0
	if pull && !p.Live && len(p.Plan.Applications) > 0 && (p.Verdict == schemas.VerdictReady || p.Verdict == schemas.VerdictSignoff) {
		return say("ask a maintainer to review exactly this commit and add the label {}. Approvals count only after a preview against the live application; "+
			"those given now don't.", name("countersign-preview"))
	}
	switch p.Verdict {
	case schemas.VerdictNothing:
		if len(p.Quarantined) == 0 {
			return nil
		}
		return say("get the quarantined files approved in a separate change, or revert them.")
	case schemas.VerdictReady:
		if !p.Live && len(p.Plan.Applications) > 0 {
			return say("preview again with live state before you merge: the live applications were not read.")
		}
		if _, held, _ := tally(p.Plan.Applications, func(o *schemas.Operation) bool { return o.Hold != schemas.HoldNone }); held > 0 {
			if pull {
				return say("merge it. Held operations wait until they are released, as explained above.")
			}
			return say("merge it, then run countersign apply. Held operations wait until they are released, as explained above.")
		}
		if pull {
			return say("merge it. It is then applied, and this comment becomes the receipt.")
		}
		return say("merge it, then run countersign apply.")
	case schemas.VerdictSignoff:
		if len(p.Unmet) == 0 {
			return say("ask an owner to sign off.")
		}
		who := b.principals(p.Unmet[0].From)
		how := say("ask {} to approve exactly this content, then merge it and run countersign apply.", who)
		switch {
		case pull:
			how = say("ask {} to approve this pull request as it is now; a push invalidates the approval. It is applied at the merge.", who)
		case p.Evidence != nil && p.Evidence.Forge == "local":
			how = say("ask {} to review it and sign off the merge, then run countersign apply.", who)
		}
		return how
	case schemas.VerdictDenied:
		if p.Decision == nil || len(p.Decision.Denials) == 0 {
			return say("see the policy results, change it and preview again.")
		}
		r := p.Decision.Denials[0]
		at := position(r.Path, r.Line, 0)
		if at.Empty() {
			return say("fix what {} denies, commit, and preview again.", name(r.Code))
		}
		return say("fix {} ({}), commit, and preview again.", at, name(r.Code))
	case schemas.VerdictIncomplete:
		return say("make the application readable and preview again; without its live state the effect is unknown.")
	case schemas.VerdictInvalid:
		for _, f := range p.Errors {
			if f.Severity == schemas.SeverityError && f.Position.Path != "" {
				return say("fix {}, commit, and preview again.", place(f))
			}
		}
		return say("fix the errors, commit, and preview again.")
	}
	return nil
}
