package judge

import (
	"context"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/countersign/countersign/reconciler/excerpt"
	"github.com/countersign/countersign/reconciler/index"
	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/schemas"
)

// between finds what the change means for each application that it touches.
func (j *Judge) between(ctx context.Context, e *Examination, seeds map[index.ConnectionKey]bool, now time.Time) error {
	byApp := map[string][]schemas.Name{}
	touch := func(app string, names ...schemas.Name) { byApp[app] = append(byApp[app], names...) }
	for k := range seeds {
		touch(k.Application, k.Name)
	}
	for app := range e.heirs() {
		touch(app)
	}
	for name, app := range e.After {
		// A changed scope or grantable may activate or deactivate any request of the application.
		if was := e.trust.Applications[name]; was == nil || !reflect.DeepEqual(was.Spec, app.Spec) {
			touch(name)
		}
	}
	e.Affected = slices.Sorted(maps.Keys(byApp))
	e.worlds = maps.Clone(e.worlds)
	if e.worlds == nil {
		e.worlds = map[string]*excerpt.World{}
	}
	for _, name := range e.Affected {
		app := e.After[name]
		if app == nil {
			delete(e.worlds, name)
			continue
		}
		desc, err := j.Describe(app)
		if err != nil {
			return err
		}
		e.descriptions[name] = desc
		was := e.trust.Applications[name]
		b, a, err := e.desiredBetween(ctx, was, app, byApp[name], desc, now)
		if err != nil {
			return err
		}
		e.desired[name] = [2]*plan.Desired{b, a}
		c := plan.Between(was, app, desc, b, a, now)
		e.Changes[name] = c
		for i := range c.Operations {
			if o := &c.Operations[i]; o.Kind == schemas.OperationDelete {
				if e.left[o.ID], err = e.membersLeft(ctx, name, o, c); err != nil {
					return err
				}
			}
		}
		for _, f := range c.Findings {
			e.Findings = append(e.Findings, e.Place(f))
		}
	}
	return nil
}

// desiredBetween returns the desired state of an application before and after the change, as far as it matters for what the
// change means. touched are the connections whose documents change.
func (e *Examination) desiredBetween(ctx context.Context, was, app *schemas.Application, touched []schemas.Name, desc schemas.Description, now time.Time) (before, after *plan.Desired, err error) {
	if was == nil || !reflect.DeepEqual(was.Spec, app.Spec) {
		return e.complete(ctx, app.Name, desc, now)
	}
	world := e.worlds[app.Name]
	if world == nil || !world.Fits(app, now) {
		world = excerpt.New(app, desc, now)
	}
	asked, all := e.trust.holdings.of(app.Name)
	x, err := world.Change(ctx, excerpt.Request{
		Application: app, Before: documents{e.base, app.Name}, After: documents{e.head, app.Name},
		Touched: touched, Heirs: e.heirs()[app.Name], Asked: asked, Holdings: all, Now: now,
	})
	if err != nil {
		return nil, nil, err
	}
	e.worlds[app.Name] = x.World
	e.folded += x.Connections
	return x.Before, x.After, nil
}

// complete folds all documents of an application, whose requests the change of its configuration may all wake.
func (e *Examination) complete(ctx context.Context, app string, desc schemas.Description, now time.Time) (before, after *plan.Desired, err error) {
	delete(e.worlds, app)
	was, err := e.base.All(ctx, app)
	if err != nil {
		return nil, nil, err
	}
	is, err := e.head.All(ctx, app)
	if err != nil {
		return nil, nil, err
	}
	before = plan.Fold(was, desc, now)
	if slices.Equal(was, is) {
		after = before
	} else {
		after = plan.Fold(is, desc, now)
	}
	e.folded += len(after.Connections)
	return before, after, nil
}

// documents are those of one application in a layer.
type documents struct {
	layer       *index.Layer
	application string
}

// Documents returns a connection's documents, in merge order.
func (d documents) Documents(ctx context.Context, connection schemas.Name) ([]*plan.Document, error) {
	return d.layer.Documents(ctx, index.ConnectionKey{Application: d.application, Name: connection})
}

// Mentioning returns the connections whose documents name a target.
func (d documents) Mentioning(ctx context.Context, target schemas.Name) ([]schemas.Name, error) {
	return d.layer.Mentioning(ctx, index.ConnectionKey{Application: d.application, Name: target})
}

// closure returns every connection whose documents affect who gains access: the seeds, their members at any depth,
// the connections that these members belong to, and everything that those are nested in.
func (e *Examination) closure(ctx context.Context, app string, seeds []schemas.Name, desc schemas.Description) (map[schemas.Name]bool, error) {
	set := map[schemas.Name]bool{}
	identities := map[schemas.Name]bool{}
	// Down to the members,
	queue := slices.Clone(seeds)
	for len(queue) > 0 {
		n := queue[0]
		queue = queue[1:]
		if set[n] {
			continue
		}
		set[n] = true
		members, ids, err := e.members(ctx, app, n, desc)
		if err != nil {
			return nil, err
		}
		queue = append(queue, members...)
		for _, id := range ids {
			identities[id] = true
		}
	}
	for id := range identities {
		in, err := e.head.Mentioning(ctx, index.ConnectionKey{Application: app, Name: id})
		if err != nil {
			return nil, err
		}
		for _, n := range in {
			set[n] = true
		}
	}
	// and up to everything that they are nested in.
	return set, e.nested(ctx, app, set, slices.Collect(maps.Keys(set)), desc)
}

// nested adds to a set everything that those of it in up are nested in.
func (e *Examination) nested(ctx context.Context, app string, set map[schemas.Name]bool, up []schemas.Name, desc schemas.Description) error {
	for len(up) > 0 {
		n := up[0]
		up = up[1:]
		groups, err := e.groups(ctx, app, n, desc)
		if err != nil {
			return err
		}
		for _, g := range groups {
			if !set[g] {
				set[g] = true
				up = append(up, g)
			}
		}
	}
	return nil
}

// entries calls fn with every entry of a connection's documents, before and after the change.
func (e *Examination) entries(ctx context.Context, app string, n schemas.Name, fn func(schemas.Name)) error {
	for _, l := range []*index.Layer{e.base, e.head} {
		docs, err := l.Documents(ctx, index.ConnectionKey{Application: app, Name: n})
		if err != nil {
			return err
		}
		for _, d := range docs {
			if d.Current == nil {
				continue
			}
			for _, list := range [][]schemas.Entry{d.Current.Request.Grants, d.Current.Request.Revokes} {
				for i := range list {
					fn(list[i].Name())
				}
			}
		}
	}
	return nil
}

func (e *Examination) members(ctx context.Context, app string, n schemas.Name, desc schemas.Description) (members, identities []schemas.Name, err error) {
	typ, _ := desc.Type(n.Type)
	err = e.entries(ctx, app, n, func(t schemas.Name) {
		switch g, _ := typ.Target(t.Type); g.Edge {
		case schemas.EdgeMember:
			members = append(members, t)
		case schemas.EdgeIdentity:
			identities = append(identities, t)
		}
	})
	if err != nil || !targeted(desc, n.Type, schemas.EdgeConnection) {
		return members, identities, err
	}
	naming, err := e.head.Mentioning(ctx, index.ConnectionKey{Application: app, Name: n})
	if err != nil {
		return nil, nil, err
	}
	for _, c := range naming {
		ct, _ := desc.Type(c.Type)
		if g, ok := ct.Target(n.Type); ok && g.Edge == schemas.EdgeConnection {
			members = append(members, c)
		}
	}
	return members, identities, nil
}

// targeted reports whether connections have targets of a type with that edge. Without, nobody who mentions one need be
// looked for: a popular role is mentioned by all its members.
func targeted(desc schemas.Description, typ string, edge schemas.Edge) bool {
	return slices.ContainsFunc(desc.Types, func(t schemas.ConnectionType) bool {
		g, ok := t.Target(typ)
		return ok && g.Edge == edge
	})
}

func (e *Examination) groups(ctx context.Context, app string, n schemas.Name, desc schemas.Description) (groups []schemas.Name, err error) {
	typ, _ := desc.Type(n.Type)
	err = e.entries(ctx, app, n, func(t schemas.Name) {
		if g, _ := typ.Target(t.Type); g.Edge == schemas.EdgeConnection {
			groups = append(groups, t)
		}
	})
	if err != nil || !targeted(desc, n.Type, schemas.EdgeMember) {
		return groups, err
	}
	naming, err := e.head.Mentioning(ctx, index.ConnectionKey{Application: app, Name: n})
	if err != nil {
		return nil, err
	}
	for _, c := range naming {
		ct, _ := desc.Type(c.Type)
		if g, ok := ct.Target(n.Type); ok && g.Edge == schemas.EdgeMember {
			groups = append(groups, c)
		}
	}
	return groups, nil
}

// foldPair folds the connections before and after the change.
func (e *Examination) foldPair(ctx context.Context, app string, set map[schemas.Name]bool, desc schemas.Description, now time.Time) (before, after *plan.Desired, err error) {
	var unchanged, was, is []*plan.Document
	for n := range set {
		k := index.ConnectionKey{Application: app, Name: n}
		b, err := e.base.Documents(ctx, k)
		if err != nil {
			return nil, nil, err
		}
		a, err := e.head.Documents(ctx, k)
		if err != nil {
			return nil, nil, err
		}
		if slices.Equal(b, a) {
			unchanged = append(unchanged, b...)
		} else {
			was, is = append(was, b...), append(is, a...)
		}
	}
	before, after = plan.Pair(unchanged, was, is, desc, now)
	return before, after, nil
}
