package signoff

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/countersign/countersign/schemas"
)

// Directory maps logins and addresses to people, people to teams, and the identities of applications to the people
// who own them. It is immutable and safe for concurrent use.
type Directory struct {
	canonical  map[string]string // login or address, in lower case → person
	aliases    map[string][]string
	teams      map[string][]string            // person → teams
	members    map[string][]string            // team → people
	identities map[identity]string            // → person
	owned      map[string]map[string][]string // person → application → names
}

type identity struct{ application, name string }

// NewDirectory builds the directory of people.yaml. A login, address or identity claimed by two people is an error,
// and so is a duplicate person.
func NewDirectory(spec schemas.PeopleSpec) (*Directory, error) {
	d := &Directory{canonical: map[string]string{}, aliases: map[string][]string{}, teams: map[string][]string{},
		members: map[string][]string{}, identities: map[identity]string{}, owned: map[string]map[string][]string{}}
	owner := map[string]int{}
	for i, p := range spec.People {
		names := slices.Clone(p.Emails)
		if p.Login != "" {
			names = append([]string{p.Login}, names...)
		}
		if len(names) == 0 {
			return nil, fmt.Errorf("people[%d] has neither login nor emails", i)
		}
		id := fold(names[0])
		for _, n := range names {
			k := fold(n)
			if k == "" {
				return nil, fmt.Errorf("people[%d] has an empty login or address", i)
			}
			if other, ok := owner[k]; ok && other != i {
				return nil, fmt.Errorf("%s is claimed by two people, people[%d] and people[%d]", n, other, i)
			}
			if _, ok := owner[k]; ok {
				continue
			}
			owner[k] = i
			d.canonical[k] = id
			d.aliases[id] = append(d.aliases[id], k)
		}
		for _, app := range slices.Sorted(maps.Keys(p.Identities)) {
			for _, name := range p.Identities[app] {
				k := identity{app, name}
				if other, ok := d.identities[k]; ok && other != id {
					return nil, fmt.Errorf("identity %s of %s is claimed by two people, %s and %s", name, app, other, id)
				}
				if _, done := d.identities[k]; !done {
					if d.owned[id] == nil {
						d.owned[id] = map[string][]string{}
					}
					d.owned[id][app] = append(d.owned[id][app], name)
				}
				d.identities[k] = id
			}
		}
	}
	for _, team := range slices.Sorted(maps.Keys(spec.Teams)) {
		for _, m := range spec.Teams[team] {
			if fold(m) == "" {
				return nil, fmt.Errorf("team %s has an empty member", team)
			}
			id := d.Canonical(m)
			if slices.Contains(d.members[team], id) {
				continue
			}
			d.teams[id] = append(d.teams[id], team)
			d.members[team] = append(d.members[team], id)
		}
		slices.Sort(d.members[team])
	}
	for _, apps := range d.owned {
		for _, names := range apps {
			slices.Sort(names)
		}
	}
	return d, nil
}

// fold returns the form in which logins and addresses are compared.
func fold(s string) string { return strings.ToLower(strings.TrimSpace(s)) }

// Canonical returns the unique name of the person with a login or address. For a person who is not in people.yaml it
// is the login or address itself, in lower case.
func (d *Directory) Canonical(name string) string {
	if id, ok := d.canonical[fold(name)]; ok {
		return id
	}
	return fold(name)
}

// Known reports whether people.yaml has the login or address.
func (d *Directory) Known(name string) bool {
	_, ok := d.canonical[fold(name)]
	return ok
}

// Capacities returns the principals that a person represents, sorted: user: with each alias, team: with each team.
func (d *Directory) Capacities(name string) []string {
	id := d.Canonical(name)
	out := []string{"user:" + id}
	for _, a := range d.aliases[id] {
		out = append(out, "user:"+a)
	}
	for _, t := range d.teams[id] {
		out = append(out, "team:"+t)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Identity returns the person who owns an identity of an application. It never guesses from names: an account called
// alice need not be Alice's.
func (d *Directory) Identity(application, name string) (person string, ok bool) {
	person, ok = d.identities[identity{application, name}]
	return person, ok
}

// IdentitiesOf returns the names of a person's identities by application, each list sorted.
func (d *Directory) IdentitiesOf(person string) map[string][]string {
	return d.owned[d.Canonical(person)]
}

// Eligible returns the people that a principal includes, sorted; nil for an empty or unknown team.
func (d *Directory) Eligible(principal string) []string {
	if team, ok := strings.CutPrefix(principal, "team:"); ok {
		return slices.Clone(d.members[team])
	}
	user, ok := strings.CutPrefix(principal, "user:")
	if !ok || fold(user) == "" {
		return nil
	}
	return []string{d.Canonical(user)}
}

// Speaks reports whether a person is included in one of the principals.
func (d *Directory) Speaks(name string, principals []string) bool {
	capacities := d.Capacities(name)
	return fold(name) != "" && slices.ContainsFunc(principals, func(p string) bool { return speaks(capacities, p) })
}

// speaks reports whether a person with these capacities is included in the principal.
func speaks(capacities []string, principal string) bool {
	if user, ok := strings.CutPrefix(principal, "user:"); ok {
		return slices.Contains(capacities, "user:"+fold(user))
	}
	return slices.Contains(capacities, principal)
}
