package judge

import (
	"context"
	"slices"
	"time"

	"github.com/countersign/countersign/reconciler/graph"
	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/schemas"
)

// holders are the people who gain something, for rules about what one person holds.
type holders struct {
	// of maps the identities that gain something, as application/type/source_name, to their owner; "" for unknown.
	of map[string]string
	// holdings are the connections that each person is in after the change, in effect, over all applications. An identity
	// that nobody is known to own is under its own name.
	holdings map[string][]string
}

// holder returns the key of an identity's holdings.
func (p *holders) holder(identity string) string {
	if person := p.of[identity]; person != "" {
		return person
	}
	return identity
}

func (p *holders) hold(who string, connections ...string) {
	p.holdings[who] = append(p.holdings[who], connections...)
}

// holders finds what the people who gain something hold after the change, as far as rules ask for it: by documents in all
// applications, and by live state where it was read.
func (j *Judge) holders(ctx context.Context, e *Examination, live Live, now time.Time) (*holders, error) {
	p := &holders{of: map[string]string{}, holdings: map[string][]string{}}
	add := func(app string, id schemas.Name) string {
		key := app + "/" + id.String()
		if _, done := p.of[key]; !done {
			p.of[key], _ = e.trust.Directory.Identity(app, id.SourceName)
		}
		who := p.holder(key)
		p.hold(who) // with nothing yet
		return who
	}
	asked := func(app string, held []schemas.Name) (out []string) {
		for _, n := range held {
			if c := app + "/" + n.String(); e.trust.holdings.asked(c) {
				out = append(out, c)
			}
		}
		return out
	}
	people := map[string]bool{}
	for _, app := range e.Affected {
		ch := e.Changes[app]
		done := map[schemas.Name]bool{}
		for _, a := range ch.Gained {
			if done[a.Identity] {
				continue
			}
			done[a.Identity] = true
			who := add(app, a.Identity)
			people[who] = true
			if !e.trust.holdings.none() {
				p.hold(who, asked(app, memberships(ch.After, a.Identity))...)
			}
		}
		for id, held := range live[app].Holdings {
			who := add(app, id)
			people[who] = true
			p.hold(who, asked(app, held)...)
		}
	}
	if !e.trust.holdings.none() {
		for who := range people {
			if err := j.heldElsewhere(ctx, e, p, who, live, asked, now); err != nil {
				return nil, err
			}
		}
	}
	for who, list := range p.holdings {
		slices.Sort(list)
		p.holdings[who] = orEmpty(slices.Compact(list))
	}
	return p, nil
}

// heldElsewhere adds what a person's identities hold by documents, in each application that rules ask about.
func (j *Judge) heldElsewhere(ctx context.Context, e *Examination, p *holders, who string, live Live, asked func(string, []schemas.Name) []string, now time.Time) error {
	for app, names := range e.trust.Directory.IdentitiesOf(who) {
		described := e.After[app]
		if described == nil || !e.trust.holdings.about(app) {
			continue
		}
		desc, err := j.Describe(described)
		if err != nil {
			return err
		}
		var ids []schemas.Name
		for _, typ := range identityTypes(desc) {
			for _, n := range names {
				ids = append(ids, schemas.Name{Type: typ, SourceName: n})
			}
		}
		around, err := e.Around(ctx, app, ids, desc)
		if err != nil {
			return err
		}
		_, after, err := e.foldPair(ctx, app, around, desc, now)
		if err != nil {
			return err
		}
		g := graph.New(app, desc, plan.Documented(after, desc))
		for _, id := range ids {
			p.hold(who, asked(app, memberships(g, id))...)
			if memberOf := live[app].MemberOf; memberOf != nil {
				p.hold(who, asked(app, memberOf(id))...)
			}
		}
	}
	return nil
}

// identityTypes returns the types of identities, sorted.
func identityTypes(desc schemas.Description) []string {
	var out []string
	for i := range desc.Types {
		for _, g := range desc.Types[i].Grantable {
			if g.Edge == schemas.EdgeIdentity {
				out = append(out, g.Type)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// memberships are the connections that an identity is in, in effect.
func memberships(g *graph.Graph, id schemas.Name) (held []schemas.Name) {
	for _, a := range g.AccessOf(id) {
		if a.Privilege == schemas.PrivilegeMember {
			held = append(held, a.Target)
		}
	}
	return held
}
