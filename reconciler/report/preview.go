package report

import (
	"slices"
	"strings"

	"github.com/countersign/countersign/schemas"
)

func (b *builder) preview(p *schemas.Preview) document {
	d := document{}
	d.icon, d.title = b.verdict(p)
	d.next = b.previewNext(p)
	add := func(title line, blocks ...block) {
		blocks = slices.DeleteFunc(blocks, func(x block) bool { i, ok := x.(items); return ok && len(i) == 0 })
		if len(blocks) > 0 {
			d.blocks = append(d.blocks, section{title: title, blocks: blocks})
		}
	}
	problems := func() { add(say("Errors"), b.findings(p.Errors)) }
	if p.Verdict == schemas.VerdictInvalid {
		problems() // nothing else is worth reading before
	}
	if unread := b.unread(p); len(unread) > 0 {
		d.blocks = append(d.blocks, unread)
	}
	for i := range p.Plan.Applications {
		if i == b.rows {
			d.blocks = append(d.blocks, para(more(len(p.Plan.Applications)-i, "applications")))
			break
		}
		a := &p.Plan.Applications[i]
		live := p.Live && a.Incomplete == "" && !a.ReadAt.IsZero()
		blocks := b.changes(a.Operations, live, progress{})
		if len(a.Operations) == 0 {
			blocks = []block{para(say("nothing to change"))}
		}
		title := application(a)
		if !live && a.Incomplete == "" {
			title = say("{}: live state not read", title)
		}
		add(title, append(blocks, b.beside(a, false)...)...)
	}
	add(say("All together"), b.together(p)...)
	b.already(p, add, &d)
	if b.drift && len(p.Drift) > 0 {
		_, total, apps := tally(p.Drift, nil)
		var blocks []block
		for i := range p.Drift {
			if i == b.rows {
				break
			}
			blocks = append(blocks, section{title: say("{}", name(p.Drift[i].Application)), blocks: b.changes(p.Drift[i].Operations, false, progress{})})
		}
		if b.markdown {
			apps = nil // a summary has no foreign names
		}
		d.blocks = append(d.blocks, section{title: say("Not part of this change: {} of drift or pending work{}", plural(total, "operation", "operations"), places(apps)), blocks: blocks, fold: b.markdown})
	} else if len(p.Drift) > 0 {
		_, total, _ := tally(p.Drift, nil)
		d.blocks = append(d.blocks, para(say("Besides, {} not part of this change (--format json has all).", plural(total, "operation of drift or pending work is", "operations of drift or pending work are"))))
	}
	if p.Decision != nil {
		d.blocks = append(d.blocks, section{title: b.policyTitle(p.Decision), blocks: b.policy(p.Decision)})
	} else if p.Verdict != schemas.VerdictNothing {
		d.blocks = append(d.blocks, section{title: say("Policy: not asked, the change has errors")})
	}
	add(b.signoffTitle(p), b.signoffs(p)...)
	add(say("Quarantined: on the branch, without effect"), b.quarantined(p.Quarantined))
	if p.Verdict != schemas.VerdictInvalid {
		problems()
	}
	if b.markdown {
		b.appendix(p, &d)
	}
	return d
}

// verdict is the headline: what stands in the way, and what the change is.
func (b *builder) verdict(p *schemas.Preview) (mark, line) {
	n, total, apps := tally(p.Plan.Applications, nil)
	_, held, _ := tally(p.Plan.Applications, func(o *schemas.Operation) bool { return o.Hold != schemas.HoldNone })
	change := say("{}{}", counts(n), places(apps))
	if held > 0 {
		change = say("{}, {} held", change, held)
	}
	if p.Plan.Digest != "" {
		change = say("{} (plan {})", change, short(p.Plan.Digest))
	}
	if total == 0 {
		change = say("no application would change")
	}
	if !p.Live && total > 0 {
		change = say("{}; live state was not read", change)
	}
	switch p.Verdict {
	case schemas.VerdictNothing:
		return markIdle, say("Nothing to do: this change touches no control file.")
	case schemas.VerdictReady:
		return markReady, say("Ready to merge: {}", change)
	case schemas.VerdictSignoff:
		return markMissing, say("{}: {}", b.missing(p), change)
	case schemas.VerdictDenied:
		denials := 0
		if p.Decision != nil {
			denials = len(p.Decision.Denials)
		}
		return markStop, say("Denied by policy for {}: {}", plural(denials, "reason", "reasons"), change)
	case schemas.VerdictIncomplete:
		var unread []line
		for _, a := range p.Plan.Applications {
			if a.Incomplete != "" {
				unread = append(unread, say("{}", name(a.Application)))
			}
		}
		return markStop, say("Incomplete, cannot be merged: {} could not be read whole; {}", list(unread, 2), change)
	case schemas.VerdictInvalid:
		n := 0
		for _, f := range p.Errors {
			if f.Severity == schemas.SeverityError {
				n++
			}
		}
		if total == 0 {
			return markStop, say("Invalid: {} to mend", plural(n, "error", "errors"))
		}
		return markStop, say("Invalid: {} to mend; {}", plural(n, "error", "errors"), change)
	}
	return markStop, say("Unknown verdict {}: {}", p.Verdict, change)
}

// missing says how many sign-offs are missing. One person may meet several requirements, so of several only
// the least number is known.
func (b *builder) missing(p *schemas.Preview) line {
	most := 0
	for _, r := range p.Unmet {
		most = max(most, b.left(p, r))
	}
	if len(p.Unmet) > 1 {
		return say("Needs at least {} for {} requirements", plural(most, "more sign-off", "more sign-offs"), len(p.Unmet))
	}
	return say("Needs {}", plural(most, "more sign-off", "more sign-offs"))
}

// left is how many sign-offs a requirement lacks.
func (b *builder) left(p *schemas.Preview, r schemas.Requirement) int {
	return max(max(r.Count, 1)-given(p, r), 1)
}

// given is how many of the sign-offs that count speak for a requirement.
func given(p *schemas.Preview, r schemas.Requirement) int {
	if p.Evidence == nil {
		return 0
	}
	n := 0
	for _, a := range p.Evidence.Approvals {
		if a.Counts && slices.ContainsFunc(a.Capacities, func(c string) bool {
			return slices.ContainsFunc(r.From, func(f string) bool { return samePrincipal(f, c) })
		}) {
			n++
		}
	}
	return n
}

// samePrincipal compares as sign-offs are judged: people without upper and lower case, teams exactly.
func samePrincipal(a, b string) bool {
	if strings.HasPrefix(a, "user:") {
		return strings.EqualFold(a, b)
	}
	return a == b
}

func (b *builder) unread(p *schemas.Preview) items {
	var out items
	for _, a := range p.Plan.Applications {
		if a.Incomplete == "" {
			continue
		}
		if len(out) == b.list {
			out = append(out, item{markWarn, say("and more applications that could not be read").in(bad), nil})
			break
		}
		out = append(out, item{markWarn, say("{} {}: {}", say("COULD NOT READ").in(bad), name(a.Application), b.sentence(a.Incomplete)),
			[]line{say("What is shown for it comes from the requests alone. Unknown state removes nothing.")}})
	}
	return out
}

// together is what the change as a whole brings beyond what its single operations do.
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
		l = append(l, item{markInfo, e, nil})
	}
	if len(l) == 0 {
		return nil
	}
	return []block{l}
}

// collapsed is how many entitlements that are there already are listed.
const collapsed = 5

func (b *builder) already(p *schemas.Preview, add func(line, ...block), d *document) {
	n := len(p.Already)
	if n == 0 {
		return
	}
	title := say("{} there already: no operation", plural(n, "entitlement is", "entitlements are"))
	var l items
	for i, k := range p.Already {
		if i == b.list {
			l = append(l, item{markSame, more(n-i, "entitlements"), nil})
			break
		}
		l = append(l, item{markSame, b.key(k), nil})
	}
	switch {
	case n <= collapsed:
		add(title, l)
	case b.markdown && b.tables && !b.grouped:
		d.blocks = append(d.blocks, section{title: title, blocks: []block{l}, fold: true})
	default:
		d.blocks = append(d.blocks, para(say("{} (--format json lists them)", title)))
	}
}

func (b *builder) policyTitle(d *schemas.Decision) line {
	parts := []line{plural(d.Rules, "rule run", "rules run")}
	if n := len(d.Denials); n > 0 {
		parts = append(parts, plural(n, "denial", "denials"))
	}
	if n := len(d.Warnings); n > 0 {
		parts = append(parts, plural(n, "warning", "warnings"))
	}
	if len(parts) == 1 && d.Rules > 0 {
		parts = append(parts, say("no objection"))
	}
	return say("Policy: {}", join(", ", parts...))
}

func (b *builder) policy(d *schemas.Decision) []block {
	var out items
	if d.Rules == 0 {
		out = append(out, item{markNo, say("no rules were run: that is never a pass").in(bad), nil})
	}
	if !b.denials {
		return blocksOf(slices.Concat(out, b.codes(d.Denials, markNo, "denied by"), b.codes(d.Warnings, markWarn, "warned by")))
	}
	return blocksOf(slices.Concat(out, b.results(d.Denials, markNo, say("denied").in(bad), 0), b.results(d.Warnings, markWarn, say("warning").in(caution), b.list)))
}

// results lists what rules say. Of denials none is left out in Markdown: its ladder has codes for that.
func (b *builder) results(list []schemas.RuleResult, m mark, verdict line, limit int) items {
	if limit == 0 && !b.markdown {
		limit = max(b.list, 50)
	}
	var out items
	for i, r := range list {
		if limit > 0 && i == limit {
			out = append(out, item{m, more(len(list)-i, "results"), nil})
			break
		}
		head := join(" ", verdict, say("{}", name(r.Code)), position(r.Path, r.Line, 0))
		if r.Field != "" {
			head = say("{} ({})", head, name(r.Field))
		}
		it := item{m, say("{}: {}", head, b.sentence(r.Msg)), nil}
		if r.Fix != "" {
			it.more = append(it.more, say("fix: {}", b.sentence(r.Fix)))
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
			out = append(out, item{m, more(len(order)-i, "rules"), nil})
			break
		}
		out = append(out, item{m, say("{} {}: {}", by, name(c), plural(n[c], "time", "times")), nil})
	}
	return out
}

func (b *builder) signoffTitle(p *schemas.Preview) line {
	if p.Decision == nil {
		return say("Sign-offs")
	}
	required := len(p.Decision.Required)
	if required == 0 {
		return say("Sign-offs: none required")
	}
	return say("Sign-offs: {} of {} met", required-min(len(p.Unmet), required), plural(required, "requirement", "requirements"))
}

func (b *builder) signoffs(p *schemas.Preview) []block {
	var counting, not, missing items
	if p.Evidence != nil {
		for _, a := range p.Evidence.Approvals {
			if a.Counts {
				counting = append(counting, item{markYes, b.approval(a), nil})
			} else {
				why := say("no reason given")
				switch {
				case b.words != nil:
					why = say("may not sign this change off") // who gains by it is not for every reader
				case a.Why != "":
					why = say("{}", a.Why)
				}
				not = append(not, item{markBarred, say("{} does not count: {}", name(a.Person), why), nil})
			}
		}
		for _, u := range p.Evidence.Unattributed {
			not = append(not, item{markNo, say("an author or committer is nobody known: {}", name(u)), nil})
		}
	}
	for _, r := range p.Unmet {
		it := item{markWait, say("{}: {} of {}", say("missing").in(caution), plural(b.left(p, r), "sign-off", "sign-offs"), b.principals(r.From)), nil}
		why := say("{}", b.sentence(r.Why))
		if r.Why == "" {
			why = say("no reason given")
		}
		if g := given(p, r); g > 0 {
			why = say("{}; {} of {} given", why, g, max(r.Count, 1))
		}
		it.more = append(it.more, say("{} ({})", why, name(r.Code)))
		missing = append(missing, it)
	}
	var out items
	for _, l := range []items{counting, not, missing} {
		if n := len(l) - b.list; n > 0 {
			l = append(l[:b.list:b.list], item{l[0].mark, more(n, "sign-offs"), nil})
		}
		out = append(out, l...)
	}
	if len(out) > 0 && p.Evidence != nil && len(p.Evidence.Authors) > 0 && b.denials {
		var who []line
		for _, a := range p.Evidence.Authors {
			who = append(who, say("{}", name(a)))
		}
		out = append(out, item{markInfo, say("made by {}, who cannot sign it off", list(who, max(b.names, 3))).in(faint), nil})
	}
	return blocksOf(out)
}

// approval is who signed off, in which capacity and how.
func (b *builder) approval(a schemas.Approval) line {
	out := say("{}", name(a.Person))
	var as []line
	for _, c := range a.Capacities {
		// The person's own name says nothing new.
		if !strings.EqualFold(c, "user:"+a.Person) {
			as = append(as, say("{}", name(c)))
		}
	}
	if len(as) > 0 {
		out = say("{} as {}", out, list(as, max(b.names, 3)))
	}
	if a.Method != "" {
		out = say("{} by {}", out, word(a.Method))
	}
	if !a.Authenticated {
		out = say("{} {}", out, say("(unauthenticated: taken at its word)").in(caution))
	}
	if a.At != nil {
		out = say("{}, {}", out, instant(*a.At))
	}
	return out
}

// principals is who may give a sign-off: "team:acme/data or user:bob".
func (b *builder) principals(from []string) line {
	var l []line
	for _, f := range from {
		l = append(l, say("{}", name(f)))
	}
	if len(l) == 0 {
		return say("nobody: the rule names no one")
	}
	if n := len(l) - max(b.names, 3); n > 0 {
		return say("{} or {} more", join(", ", l[:max(b.names, 3)]...), n)
	}
	return join(" or ", l...)
}

func (b *builder) quarantined(list []schemas.QuarantinedFile) items {
	var out items
	for i, q := range list {
		if i == b.list {
			out = append(out, item{markNo, more(len(list)-i, "files"), nil})
			break
		}
		holds := literal("the file counts as absent")
		switch {
		case q.Blob == "" && q.Admitted != "":
			holds = "its deletion does not count, it still holds"
		case q.Admitted != "":
			holds = "its earlier version holds"
		}
		it := item{markNo, say("{} since commit {}: {}", name(q.Path), short(q.Commit), holds), nil}
		for j, r := range q.Reasons {
			if j == collapsed {
				it.more = append(it.more, more(len(q.Reasons)-j, "reasons"))
				break
			}
			it.more = append(it.more, b.sentence(r))
		}
		out = append(out, it)
	}
	return out
}

// appendix is what an auditor wants in a pull request's comment.
func (b *builder) appendix(p *schemas.Preview, d *document) {
	if b.exact {
		var v verbatim
		for i := range p.Plan.Applications {
			for j := range p.Plan.Applications[i].Operations {
				o := &p.Plan.Applications[i].Operations[j]
				l := say("{} {} {}", name(p.Plan.Applications[i].Application), word(o.Kind), b.of(o.Connection))
				if s := b.subject(o); !s.empty() {
					l = say("{} {}", l, s)
				}
				if o.NativeID != "" {
					l = say("{} id={}", l, name(o.NativeID))
				}
				if o.Hold != schemas.HoldNone {
					l = say("{} ({})", l, waits(o.Hold))
				}
				v = append(v, l)
			}
		}
		if len(v) > 0 {
			d.blocks = append(d.blocks, section{title: say("Exact operations ({}), in the order of apply", len(v)), blocks: []block{v}, fold: true})
		}
	}
	if p.Verdict == schemas.VerdictNothing || !b.denials {
		return // there is no evidence, or no room
	}
	l := items{{markNone, say("head {}, base {}", short(p.Head), short(p.Base)), nil}}
	if p.ContentDigest != "" {
		l = append(l, item{markNone, say("content {}: what an approval speaks of", short(p.ContentDigest)), nil})
	}
	if p.Decision != nil && p.Decision.Bundle != "" {
		l = append(l, item{markNone, say("policy {} from the base, engine {}", short(p.Decision.Bundle), name(p.Decision.Engine)), nil})
	}
	if !p.At.IsZero() {
		read := literal("live state read")
		if !p.Live {
			read = "live state not read"
		}
		l = append(l, item{markNone, say("{}, {}", read, instant(p.At)), nil})
	}
	d.blocks = append(d.blocks, section{title: say("Evidence"), blocks: []block{l}, fold: true})
}

// previewNext says what to do.
func (b *builder) previewNext(p *schemas.Preview) line {
	// At a pull request the merge is carried out by itself.
	pull := p.Evidence != nil && p.Evidence.PullRequest != 0
	if pull && !p.Live && len(p.Plan.Applications) > 0 && (p.Verdict == schemas.VerdictReady || p.Verdict == schemas.VerdictSignoff) {
		return say("have a maintainer look at exactly this commit and set the label {}: the preview against the live application is what an approval must come after. "+
			"One that is given now does not count.", name("countersign-preview"))
	}
	switch p.Verdict {
	case schemas.VerdictNothing:
		if len(p.Quarantined) == 0 {
			return nil
		}
		return say("have the quarantined files approved in a change of their own, or revert them.")
	case schemas.VerdictReady:
		if !p.Live && len(p.Plan.Applications) > 0 {
			return say("preview again with live state before you merge: what is there already was not looked at.")
		}
		if _, held, _ := tally(p.Plan.Applications, func(o *schemas.Operation) bool { return o.Hold != schemas.HoldNone }); held > 0 {
			if pull {
				return say("merge it; what is held waits until it is released as said above.")
			}
			return say("merge it, then run countersign apply; what is held waits until it is released as said above.")
		}
		if pull {
			return say("merge it. It is applied then, and this comment becomes the receipt.")
		}
		return say("merge it, then run countersign apply.")
	case schemas.VerdictSignoff:
		if len(p.Unmet) == 0 {
			return say("ask an owner to sign off.")
		}
		who := b.principals(p.Unmet[0].From)
		how := say("ask {} to approve this very content, then merge it and run countersign apply.", who)
		switch {
		case pull:
			how = say("ask {} to approve this pull request as it is now; a push takes the approval away. Merged, it is applied.", who)
		case p.Evidence != nil && p.Evidence.Forge == "local":
			how = say("ask {} to review it and to sign the merge off, then run countersign apply.", who)
		}
		return how
	case schemas.VerdictDenied:
		if p.Decision == nil || len(p.Decision.Denials) == 0 {
			return say("see what policy says, change it and preview again.")
		}
		r := p.Decision.Denials[0]
		at := position(r.Path, r.Line, 0)
		if at.empty() {
			return say("mend what {} denies, commit and preview again.", name(r.Code))
		}
		return say("mend {} ({}), commit and preview again.", at, name(r.Code))
	case schemas.VerdictIncomplete:
		return say("make the application readable and preview again; without its live state nobody knows what this would do.")
	case schemas.VerdictInvalid:
		for _, f := range p.Errors {
			if f.Severity == schemas.SeverityError && f.Position.Path != "" {
				return say("mend {}, commit and preview again.", place(f))
			}
		}
		return say("mend the errors, commit and preview again.")
	}
	return nil
}
