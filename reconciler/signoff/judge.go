package signoff

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/schemas"
)

// JudgeInput is everything that a judgement depends on.
type JudgeInput struct {
	Evidence schemas.Evidence
	// Required is what policy asks for.
	Required []schemas.Requirement
	// Beneficiaries are the people whose access grows; UnknownBeneficiaries identities that map to nobody.
	Beneficiaries, UnknownBeneficiaries []string
	Directory                           *Directory
	Now                                 time.Time
}

// Verdict is what came of it.
type Verdict struct {
	Admitted bool
	// Reasons are why it is not admitted, in sentences; Blocking those of them that no approval can mend.
	Reasons, Blocking []string
	Unmet             []schemas.Requirement
	// Evidence is the input's, with what counts marked.
	Evidence schemas.Evidence
	// Signoffs are those that count.
	Signoffs []schemas.PolicySignoff
}

// Judge holds the evidence against the core rules and against what policy requires.
func Judge(in JudgeInput) Verdict {
	v := Verdict{Evidence: in.Evidence, Unmet: []schemas.Requirement{}}
	v.Evidence.Approvals, v.Signoffs = mark(in.Evidence, in.Directory, in.Beneficiaries)
	v.Blocking = append(v.Blocking, in.Evidence.Problems...)
	for _, u := range in.Evidence.Unattributed {
		v.Blocking = append(v.Blocking, fmt.Sprintf("an author or committer cannot be told to be anybody: %s", u))
	}
	for _, a := range in.Evidence.Authors {
		switch {
		case fold(a) == "":
			v.Blocking = append(v.Blocking, "an author or committer has no name")
		case isAnonymous(a) && !in.Directory.Known(a):
			v.Blocking = append(v.Blocking, fmt.Sprintf("the address %s of an author or committer hides who that is: add it to whose it is in %s", a, schemas.PeoplePath))
		}
	}
	if len(in.Evidence.Authors) == 0 && len(in.Evidence.Unattributed) == 0 && len(in.Evidence.Problems) == 0 {
		v.Blocking = append(v.Blocking, "nobody is known to have made the change")
	}
	for _, u := range in.UnknownBeneficiaries {
		v.Blocking = append(v.Blocking, fmt.Sprintf("%s gains access and is nobody's identity in %s: add whose account it is, with their login where the forge has such", u, schemas.PeoplePath))
	}
	if len(in.Required) == 0 {
		v.Blocking = append(v.Blocking, "policy asked for nobody's sign-off, which is never enough")
	}
	for _, a := range v.Evidence.Approvals {
		if !a.Counts {
			v.Reasons = append(v.Reasons, fmt.Sprintf("the approval of %s does not count: %s", a.Person, a.Why))
		}
	}
	barred := barredPeople(in.Evidence, in.Directory, in.Beneficiaries)
	for _, r := range in.Required {
		var who []string
		for _, s := range v.Signoffs {
			if slices.ContainsFunc(r.From, func(p string) bool { return speaks(s.Capacities, p) }) {
				who = append(who, s.Person)
			}
		}
		need := max(r.Count, 1)
		if len(who) >= need {
			continue
		}
		v.Unmet = append(v.Unmet, r)
		v.Reasons = append(v.Reasons, fmt.Sprintf("%s: %d of %d sign-offs from %s (%s)", r.Code, len(who), need, strings.Join(r.From, ", "), r.Why))
		if reason := unmeetable(r, need, who, in.Directory, barred); reason != "" {
			if !slices.Contains(v.Blocking, reason) { // two applications may have the same owners
				v.Blocking = append(v.Blocking, reason)
			}
		}
	}
	v.Reasons = append(v.Reasons, v.Blocking...)
	v.Admitted = len(v.Unmet) == 0 && len(v.Blocking) == 0
	if v.Admitted {
		v.Reasons = nil
	}
	return v
}

// unmeetable says why too few people are left to meet a requirement; "" where there are enough. A team that
// only the forge knows has members that the directory does not: those who spoke for it count here too.
func unmeetable(r schemas.Requirement, need int, who []string, d *Directory, barred map[string]string) string {
	var left, out []string
	for _, p := range r.From {
		for _, id := range d.Eligible(p) {
			if why, no := barred[id]; no {
				out = append(out, id+" "+why)
			} else {
				left = append(left, id)
			}
		}
	}
	left = append(left, who...)
	slices.Sort(left)
	left = slices.Compact(left)
	if len(left) >= need {
		return ""
	}
	slices.Sort(out)
	out = slices.Compact(out)
	why := "nobody else is in it"
	if len(out) > 0 {
		why = strings.Join(out, "; ")
	}
	signoffs := "1 sign-off"
	if need != 1 {
		signoffs = fmt.Sprintf("%d sign-offs", need)
	}
	return fmt.Sprintf("%s needs %s from %s, and only %d of them may give one: %s", r.Code, signoffs, strings.Join(r.From, ", "), len(left), why)
}

// Independent are the sign-offs that count by the core rules, before anybody knows what is required.
func Independent(e schemas.Evidence, d *Directory, beneficiaries []string) []schemas.PolicySignoff {
	_, signoffs := mark(e, d, beneficiaries)
	return signoffs
}

// barredPeople may not sign the change off, each with the reason.
func barredPeople(e schemas.Evidence, d *Directory, beneficiaries []string) map[string]string {
	out := map[string]string{}
	for _, b := range beneficiaries {
		out[d.Canonical(b)] = "gains access by this change"
	}
	for _, a := range e.Authors {
		out[d.Canonical(a)] = "is an author, committer or co-author of this change"
	}
	return out
}

// mark says of each approval whether it counts. One person is one sign-off, under however many names.
func mark(e schemas.Evidence, d *Directory, beneficiaries []string) ([]schemas.Approval, []schemas.PolicySignoff) {
	barred := barredPeople(e, d, beneficiaries)
	approvals := slices.Clone(e.Approvals)
	signoffs := []schemas.PolicySignoff{}
	seen := map[string]bool{}
	for i := range approvals {
		a := &approvals[i]
		id := d.Canonical(a.Person)
		a.Counts = false
		switch why, no := barred[id]; {
		case a.Why != "":
			// The forge has said already why not.
		case id == "":
			a.Why = "it names nobody"
		case isBot(a.Person) && !a.Named:
			a.Why = "it is a bot's"
		case isAnonymous(a.Person) && !d.Known(a.Person):
			a.Why = "its address hides who that is: add it to whose it is in " + schemas.PeoplePath
		case no:
			a.Why = why
		case seen[id]:
			a.Why = "the same person approved already"
		default:
			a.Counts = true
			// What the forge knows of teams stands beside what people.yaml says.
			a.Capacities = append(slices.Clone(a.Capacities), d.Capacities(a.Person)...)
			slices.Sort(a.Capacities)
			a.Capacities = slices.Compact(a.Capacities)
			s := schemas.PolicySignoff{Person: id, Capacities: a.Capacities, Authenticated: a.Authenticated}
			if a.At != nil {
				s.At = *a.At
			}
			signoffs = append(signoffs, s)
			seen[id] = true
		}
		if !a.Counts {
			a.Capacities = nil
		}
	}
	return approvals, signoffs
}

func isBot(name string) bool {
	local, _, _ := strings.Cut(fold(name), "@")
	return strings.HasSuffix(local, "[bot]")
}

// isAnonymous says whether an address is one that a forge gives out in place of somebody's own.
func isAnonymous(name string) bool {
	_, domain, ok := strings.Cut(fold(name), "@")
	return ok && slices.ContainsFunc(strings.Split(domain, "."), func(l string) bool { return l == "noreply" || l == "no-reply" })
}
