package report

import (
	"slices"
	"strings"

	"github.com/countersign/countersign/reconciler/report/layout"
	"github.com/countersign/countersign/schemas"
)

// missing is the number of missing sign-offs. One person may meet several requirements, so for several of them only the
// least number is known.
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

// given is the number of counting sign-offs that meet a requirement.
func given(p *schemas.Preview, r schemas.Requirement) int {
	if p.Evidence == nil {
		return 0
	}
	n := 0
	for _, a := range p.Evidence.Approvals {
		if a.Counts && a.For != nil {
			if slices.Contains(a.For, r.Code+": "+r.Why) {
				n++
			}
			continue
		}
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
				counting = append(counting, entry(layout.MarkYes, b.approval(a)))
			} else {
				why := say("no reason given")
				switch {
				case b.words != nil:
					why = say("not allowed to sign off this change") // the reason may name who gains access
				case a.Why != "":
					why = say("{}", a.Why)
				}
				not = append(not, entry(layout.MarkBarred, say("{} doesn't count: {}", name(a.Person), why)))
			}
		}
		for _, u := range p.Evidence.Unattributed {
			not = append(not, entry(layout.MarkNo, say("an author or committer is unknown: {}", name(u))))
		}
	}
	for _, r := range p.Unmet {
		it := entry(layout.MarkWait, say("{}: {} from {}", say("missing").In(caution), plural(b.left(p, r), "sign-off", "sign-offs"), b.principals(r.From)))
		why := say("{}", b.sentence(r.Why))
		if r.Why == "" {
			why = say("no reason given")
		}
		if g := given(p, r); g > 0 {
			why = say("{}; {} of {} given", why, g, max(r.Count, 1))
		}
		it.More = append(it.More, say("{} ({})", why, name(r.Code)))
		missing = append(missing, it)
	}
	var out items
	for _, l := range []items{counting, not, missing} {
		if n := len(l) - b.list; n > 0 {
			l = append(l[:b.list:b.list], entry(l[0].Mark, more(n, "sign-offs")))
		}
		out = append(out, l...)
	}
	if len(out) > 0 && p.Evidence != nil && len(p.Evidence.Authors) > 0 && b.denials {
		var who []line
		for _, a := range p.Evidence.Authors {
			who = append(who, say("{}", name(a)))
		}
		out = append(out, entry(layout.MarkInfo, say("authored by {}, who can't sign it off", list(who, max(b.names, 3))).In(faint)))
	}
	return blocksOf(out)
}

// approval is who signed off, in which capacity and how.
func (b *builder) approval(a schemas.Approval) line {
	out := say("{}", name(a.Person))
	var as []line
	for _, c := range a.Capacities {
		// The person's own name adds nothing.
		if !strings.EqualFold(c, "user:"+a.Person) {
			as = append(as, say("{}", name(c)))
		}
	}
	if len(as) > 0 {
		out = say("{} as {}", out, list(as, max(b.names, 3)))
	}
	if a.Method != "" {
		out = say("{}, by {}", out, word(a.Method))
	}
	if !a.Authenticated {
		out = say("{} {}", out, say("(unauthenticated)").In(caution))
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
		return say("nobody: the rule names nobody")
	}
	if n := len(l) - max(b.names, 3); n > 0 {
		return say("{} or {} more", join(", ", l[:max(b.names, 3)]...), n)
	}
	return join(" or ", l...)
}
