package report

import (
	"cmp"
	"slices"
	"strings"

	"github.com/countersign/countersign/reconciler/report/layout"
	"github.com/countersign/countersign/schemas"
)

// singlePeople is how many people have a line each. Of more, those with the same effect share one.
const singlePeople = 50

// person is an identity of an application, with what a change does to its access.
type person struct {
	application             string
	identity                schemas.Name
	gained, lost, scheduled []schemas.Access
	prolonged               []schemas.Access
}

// byPerson lists who gains and who loses what by a change, a line for each, losses first.
func (b *builder) byPerson(p *schemas.Preview) []block {
	people := peopleOf(p)
	apps := map[string]bool{}
	for i := range people {
		apps[people[i].application] = true
	}
	type group struct {
		effect line
		who    []line
	}
	var groups []*group
	same := map[string]*group{}
	for i := range people {
		x := &people[i]
		who := b.people([]schemas.Name{x.identity})
		if len(apps) > 1 {
			who = say("{} in {}", who, name(x.application))
		}
		key := effectKey(x)
		if g := same[key]; g != nil && len(people) > singlePeople {
			g.who = append(g.who, who)
			continue
		}
		g := &group{effect: b.effectOf(x), who: []line{who}}
		same[key] = g
		groups = append(groups, g)
	}
	var out items
	names := max(b.names, 3)
	if b.everyone {
		names = 0
	}
	for i, g := range groups {
		if i >= b.rows && !b.everyone {
			b.lacking.people += len(g.who)
			if i == b.rows {
				out = append(out, entry(layout.MarkInfo, more(len(groups)-i, "people or groups of people")))
			}
			continue
		}
		if names > 0 {
			b.lacking.people += max(0, len(g.who)-names)
		}
		out = append(out, entry(layout.MarkInfo, say("{} {}", list(g.who, names), g.effect)))
	}
	for i := range people {
		if x := &people[i]; !b.fits(x.identity) || !b.fits(targets(x)...) {
			b.lacking.people++
		}
	}
	return blocksOf(out)
}

// targets are what a person's access is to.
func targets(x *person) []schemas.Name {
	var out []schemas.Name
	for _, a := range slices.Concat(x.lost, x.gained, x.scheduled, x.prolonged) {
		out = append(out, a.Target)
	}
	return out
}

// peopleOf collects the effects of a preview by identity: those of the change as a whole, and of single operations where
// the application couldn't be read.
func peopleOf(p *schemas.Preview) []person {
	type id struct {
		application string
		identity    schemas.Name
	}
	at := map[id]int{}
	var out []person
	add := func(all []schemas.Access, into func(*person) *[]schemas.Access) {
		for _, a := range all {
			k := id{a.Application, a.Identity}
			i, ok := at[k]
			if !ok {
				i = len(out)
				at[k] = i
				out = append(out, person{application: a.Application, identity: a.Identity})
			}
			l := into(&out[i])
			if !slices.ContainsFunc(*l, func(o schemas.Access) bool { return o.Target == a.Target && o.Privilege == a.Privilege }) {
				*l = append(*l, a)
			}
		}
	}
	gained, lost := func(x *person) *[]schemas.Access { return &x.gained }, func(x *person) *[]schemas.Access { return &x.lost }
	add(p.Lost, lost)
	add(p.Gained, gained)
	for i := range p.Plan.Applications {
		a := &p.Plan.Applications[i]
		for j := range a.Operations {
			if o := &a.Operations[j]; a.Incomplete != "" {
				add(o.Lost, lost)
				add(o.Gained, gained)
			}
		}
	}
	for i := range p.Terms {
		t := &p.Terms[i]
		switch kindOfTerm(t) {
		case termScheduled:
			add(t.Gained, func(x *person) *[]schemas.Access { return &x.scheduled })
		case termExtended, termMoved:
			add(t.Gained, func(x *person) *[]schemas.Access { return &x.prolonged })
		case termShortened, termCancelled:
		}
	}
	slices.SortStableFunc(out, func(a, b person) int {
		return cmp.Or(strings.Compare(a.application, b.application), a.identity.Compare(b.identity))
	})
	return out
}

func effectKey(x *person) string {
	var k strings.Builder
	k.WriteString(x.application)
	for _, l := range [][]schemas.Access{x.lost, x.gained, x.scheduled, x.prolonged} {
		k.WriteString("\x01")
		for _, a := range l {
			k.WriteString("\x00" + a.Target.String() + "\x00" + a.Privilege)
		}
	}
	return k.String()
}

// effectOf is "loses SELECT on table/a; gains membership of role/b".
func (b *builder) effectOf(x *person) line {
	return join("; ",
		b.rights("loses", x.lost, bad),
		b.rights("gains", x.gained, good),
		b.rights("will gain later:", x.scheduled, good),
		b.rights("keeps, with another start or end:", x.prolonged, good))
}

func (b *builder) rights(verb literal, all []schemas.Access, s layout.Style) line {
	if len(all) == 0 {
		return nil
	}
	var rights []line
	done := map[int]bool{}
	for i, a := range all {
		if done[i] {
			continue
		}
		switch a.Privilege {
		case schemas.PrivilegeMember:
			rights = append(rights, say("membership of {}", b.of(a.Target)))
			continue
		case schemas.PrivilegeAdmin:
			rights = append(rights, say("the admin option on {}", b.of(a.Target)))
			continue
		}
		privileges := []line{say("{}", name(a.Privilege))}
		for j := i + 1; j < len(all); j++ {
			if o := all[j]; o.Target == a.Target && o.Privilege != schemas.PrivilegeMember && o.Privilege != schemas.PrivilegeAdmin {
				privileges, done[j] = append(privileges, say("{}", name(o.Privilege))), true
			}
		}
		rights = append(rights, say("{} on {}", join(", ", privileges...), b.of(a.Target)))
	}
	return say("{} {}", say("{}", verb).In(s), list(rights, 0))
}
