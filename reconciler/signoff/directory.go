package signoff

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/countersign/countersign/schemas"
)

// Directory knows who is who: which logins and addresses are one person, in which teams they are, and
// whose accounts the identities of applications are.
type Directory struct {
	canonical  map[string]string // login or address, in lower case → person
	aliases    map[string][]string
	teams      map[string][]string // person → teams
	members    map[string][]string // team → people
	identities map[string]string   // application/name → person
}

// NewDirectory builds the directory of people.yaml. Two people that claim one login, address or identity
// are an error.
func NewDirectory(spec schemas.PeopleSpec) (*Directory, error) {
	d := &Directory{canonical: map[string]string{}, aliases: map[string][]string{}, teams: map[string][]string{},
		members: map[string][]string{}, identities: map[string]string{}}
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
			if other, ok := d.canonical[fold(n)]; ok && other != id {
				return nil, fmt.Errorf("%s is claimed by two people, %s and %s", n, other, id)
			}
			d.canonical[fold(n)] = id
			d.aliases[id] = append(d.aliases[id], fold(n))
		}
		for _, app := range slices.Sorted(maps.Keys(p.Identities)) {
			for _, name := range p.Identities[app] {
				k := app + "/" + name
				if other, ok := d.identities[k]; ok && other != id {
					return nil, fmt.Errorf("identity %s of %s is claimed by two people, %s and %s", name, app, other, id)
				}
				d.identities[k] = id
			}
		}
	}
	for _, team := range slices.Sorted(maps.Keys(spec.Teams)) {
		for _, m := range spec.Teams[team] {
			id := d.Canonical(m)
			d.teams[id] = append(d.teams[id], team)
			d.members[team] = append(d.members[team], id)
		}
	}
	return d, nil
}

func fold(s string) string { return strings.ToLower(strings.TrimSpace(s)) }

// Canonical is the one name of the person behind a login or address: the one itself, in lower case, for
// somebody who is not in people.yaml.
func (d *Directory) Canonical(name string) string {
	if id, ok := d.canonical[fold(name)]; ok {
		return id
	}
	return fold(name)
}

// Capacities are the principals that a person speaks for, sorted: user: with each alias, team: with each team.
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

// Identity is the person whose account an application's identity is.
func (d *Directory) Identity(application, name string) (person string, ok bool) {
	person, ok = d.identities[application+"/"+name]
	return person, ok
}

// Eligible are the people that a principal stands for, sorted; nil for an empty or unknown team.
func (d *Directory) Eligible(principal string) []string {
	if team, ok := strings.CutPrefix(principal, "team:"); ok {
		out := slices.Clone(d.members[team])
		slices.Sort(out)
		return slices.Compact(out)
	}
	return []string{d.Canonical(strings.TrimPrefix(principal, "user:"))}
}

// speaks says whether a person with these capacities is meant by the principal.
func speaks(capacities []string, principal string) bool {
	if user, ok := strings.CutPrefix(principal, "user:"); ok {
		return slices.Contains(capacities, "user:"+fold(user))
	}
	return slices.Contains(capacities, principal)
}
