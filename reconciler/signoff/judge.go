package signoff

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/schemas"
)

// JudgeInput is the complete input of a judgement.
type JudgeInput struct {
	Evidence schemas.Evidence
	// Required are the sign-offs that policy requires.
	Required []schemas.Requirement
	// Beneficiaries are the people who gain access; UnknownBeneficiaries are gaining identities not mapped to anyone.
	Beneficiaries, UnknownBeneficiaries []string
	Directory                           *Directory
	// Owners are the owners of the applications that the change touches, by application.
	Owners map[string][]string
	Now    time.Time
}

// Verdict is the result of a judgement.
type Verdict struct {
	Admitted bool
	// Reasons explain why it is not admitted; Blocking are those of them that no approval can fix.
	Reasons, Blocking []string
	Unmet             []schemas.Requirement
	// Evidence is the input's evidence, with the approvals that count marked.
	Evidence schemas.Evidence
	// Signoffs are the sign-offs that count.
	Signoffs []schemas.PolicySignoff
}

// Judge checks the evidence against the core rules and the requirements of policy.
func Judge(in JudgeInput) Verdict {
	v := Verdict{Evidence: in.Evidence, Unmet: []schemas.Requirement{}}
	v.Evidence.Approvals, v.Signoffs = mark(in.Evidence, in.Directory, in.Beneficiaries)
	v.Blocking = append(v.Blocking, in.Evidence.Problems...)
	for _, u := range in.Evidence.Unattributed {
		v.Blocking = append(v.Blocking, fmt.Sprintf("an author or committer cannot be identified: %s", u))
	}
	for _, a := range in.Evidence.Authors {
		switch {
		case fold(a) == "":
			v.Blocking = append(v.Blocking, "the change has an author or committer without a name")
		case isAnonymous(a) && !in.Directory.Known(a):
			v.Blocking = append(v.Blocking, fmt.Sprintf("the address %s of an author or committer does not identify a person: add it to that person in %s", a, schemas.PeoplePath))
		}
	}
	if len(in.Evidence.Authors) == 0 && len(in.Evidence.Unattributed) == 0 && len(in.Evidence.Problems) == 0 {
		v.Blocking = append(v.Blocking, "the author of the change is unknown")
	}
	for _, u := range in.UnknownBeneficiaries {
		v.Blocking = append(v.Blocking, fmt.Sprintf("%s gains access but is not mapped to anyone in %s: add the person who owns this account, with their login if the forge has logins", u, schemas.PeoplePath))
	}
	if len(in.Required) == 0 {
		v.Blocking = append(v.Blocking, "policy required no sign-off at all, which is never enough")
	}
	for _, a := range v.Evidence.Approvals {
		if !a.Counts {
			v.Reasons = append(v.Reasons, fmt.Sprintf("%s's approval does not count: %s", a.Person, a.Why))
		}
	}
	v.requirements(&in)
	v.Reasons = append(v.Reasons, v.Blocking...)
	v.Admitted = len(v.Unmet) == 0 && len(v.Blocking) == 0
	if v.Admitted {
		v.Reasons = nil
	}
	return v
}

// requirements compares the sign-offs that count with the requirements.
func (v *Verdict) requirements(in *JudgeInput) {
	barred := barredPeople(in.Evidence, in.Directory, in.Beneficiaries)
	may := make(crowd, len(in.Required))
	for i, r := range in.Required {
		for _, s := range v.Signoffs {
			if slices.ContainsFunc(r.From, func(p string) bool { return speaks(s.Capacities, p) }) {
				may[i] = append(may[i], s.Person)
			}
		}
	}
	counted := seats(in.Required, in.Owners, may)
	block := func(reason string) {
		if reason != "" && !slices.Contains(v.Blocking, reason) { // two applications may have the same owners
			v.Blocking = append(v.Blocking, reason)
		}
	}
	possible := make(crowd, len(in.Required))
	each := true
	for i := range in.Required {
		r := &in.Required[i]
		var out []string
		possible[i], out = eligible(r, may[i], in.Directory, barred)
		each = each && len(possible[i]) >= need(r)
		if have := len(counted[i]); have < need(r) {
			v.Unmet = append(v.Unmet, *r)
			v.Reasons = append(v.Reasons, fmt.Sprintf("%s: %d of %d sign-offs from %s (%s)%s", r.Code, have, need(r), strings.Join(r.From, ", "), r.Why, elsewhere(i, in.Required, may, counted)))
			block(unmeetable(r, possible[i], out))
		}
	}
	if each && len(v.Unmet) > 0 {
		block(tooFew(in.Required, seats(in.Required, in.Owners, possible)))
	}
	of := purposes(in.Required, counted)
	for i := range v.Evidence.Approvals {
		if a := &v.Evidence.Approvals[i]; a.Counts {
			a.For = of[in.Directory.Canonical(a.Person)]
		}
	}
}

// tooFew explains that requirements which could each be met cannot be met together, or returns "".
func tooFew(required []schemas.Requirement, counted crowd) string {
	var codes []string
	for i := range required {
		if len(counted[i]) < need(&required[i]) {
			codes = append(codes, fmt.Sprintf("%s (%s)", required[i].Code, required[i].Why))
		}
	}
	if len(codes) == 0 {
		return ""
	}
	return fmt.Sprintf("too few people may sign off: different requirements need different people, and nobody is left for %s", strings.Join(codes, ", "))
}

// eligible returns the people who may meet a requirement, and those who may not, each with the reason. The directory may
// not know all members of a team that only the forge has, so its members who signed off count too.
func eligible(r *schemas.Requirement, who []string, d *Directory, barred map[string]string) (left, out []string) {
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
	slices.Sort(out)
	return slices.Compact(left), slices.Compact(out)
}

// unmeetable explains why too few people are left to meet a requirement, or returns "" if there are enough.
func unmeetable(r *schemas.Requirement, left, out []string) string {
	if len(left) >= need(r) {
		return ""
	}
	why := "no one else is listed"
	if len(out) > 0 {
		why = strings.Join(out, "; ")
	}
	signoffs := "1 sign-off"
	if n := need(r); n != 1 {
		signoffs = fmt.Sprintf("%d sign-offs", n)
	}
	return fmt.Sprintf("%s requires %s from %s, but only %d of them may sign off: %s", r.Code, signoffs, strings.Join(r.From, ", "), len(left), why)
}

// Independent returns the sign-offs that count by the core rules, whatever policy requires.
func Independent(e schemas.Evidence, d *Directory, beneficiaries []string) []schemas.PolicySignoff {
	_, signoffs := mark(e, d, beneficiaries)
	return signoffs
}

// barredPeople returns the people who may not sign off the change, each with the reason.
func barredPeople(e schemas.Evidence, d *Directory, beneficiaries []string) map[string]string {
	out := map[string]string{}
	for _, b := range beneficiaries {
		out[d.Canonical(b)] = "gains access from this change"
	}
	for _, a := range e.Authors {
		out[d.Canonical(a)] = "authored part of this change"
	}
	return out
}

// mark decides for each approval whether it counts. A person with several names still gives only one sign-off.
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
			// The forge has already given the reason.
		case id == "":
			a.Why = "it does not name anyone"
		case isBot(a.Person) && !a.Named:
			a.Why = "it comes from a bot"
		case isAnonymous(a.Person) && !d.Known(a.Person):
			a.Why = "its address does not identify a person: add it to that person in " + schemas.PeoplePath
		case a.Method == "review" && !a.Named && !d.Known(a.Person):
			// An author or beneficiary could approve under another account.
			a.Why = fmt.Sprintf("%s does not know the account: add it to the person who has it", schemas.PeoplePath)
		case no:
			a.Why = "the approver " + why
		case !a.Named && !d.Known(a.Person):
			// It may be a second account of somebody who made the change or gains by it.
			a.Why = "nobody in " + schemas.PeoplePath + " has this account or address: add it to that person, in a separate change"
		case seen[id]:
			a.Why = "the same person has already approved"
		default:
			a.Counts = true
			// The forge's teams add to those of people.yaml.
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

// isAnonymous reports whether a forge issues the address in place of a person's own.
func isAnonymous(name string) bool {
	_, domain, ok := strings.Cut(fold(name), "@")
	return ok && slices.ContainsFunc(strings.Split(domain, "."), func(l string) bool { return l == "noreply" || l == "no-reply" })
}
