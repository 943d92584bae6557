package plan

import (
	"reflect"
	"slices"
	"time"

	"github.com/countersign/countersign/reconciler/graph"
	"github.com/countersign/countersign/schemas"
)

// Between is the plan from one desired state to another, live state apart: what a change means by itself,
// the same at every time and on every machine. Policy and sign-off are judged by it. It returns the
// operations with their effects, and the findings that the second state has and the first has not.
//
// was is the application before the change, nil when it is new; app after it. Requests that were out of
// its scope, or not grantable, did nothing before: widening scope or grantable wakes them, and they show as gained.
//
// A grant counts from its approval, though it may start later: what is scheduled is taken to be in force,
// and a grant that lasts longer, or begins sooner, than in the first state is granted again.
//
// Unknown state is taken to be there: a connection that is only assigned to or deleted
// exists, and what is revoked was held.
func Between(was, app *schemas.Application, description schemas.Description, before, after *Desired, now time.Time) Change {
	held := func() schemas.State { return effective(was, description, StateOf(eventual(before), description)) }
	from, to := before, after
	if was != nil && (was == app || reflect.DeepEqual(was.Spec, app.Spec)) {
		from, to = differing(before, after)
	}
	first, second := eventual(from), eventual(to)
	former := was
	assumed, supposed := assume(held(), description, from, to, first, second)
	if was == nil {
		was = app
	}
	run := func(app schemas.Application, d *Desired) Result {
		app.Spec.Unmanaged = schemas.UnmanagedIgnore
		// Everything that earlier requests made is ours to undo.
		return diff(Input{Application: &app, Description: description, Desired: d, Live: assumed, Now: now}, true)
	}
	res := run(*app, second)
	c := Change{
		Operations: res.Plan.Operations,
		Before:     graph.New(app.Name, description, assumed), After: graph.New(app.Name, description, assumed),
	}
	for i := range c.Operations {
		c.After.Apply(&c.Operations[i])
	}
	c.Gained, c.Lost = graph.Effects(c.Operations, c.Before, c.After)
	c.Terms = terms(former, app, newTypes(description), from, to, c.Operations)
	if supposed || bounded(before) || bounded(after) {
		// Access that is assumed only because the change revokes it is left out of the former effect: otherwise a revoke
		// of what somebody never had would hide what the same change gives.
		formerly := graph.New(app.Name, description, held())
		c.Gained = graph.Later(c.Operations, c.Gained, formerly, boundedEntitlements(before), c.After, boundedEntitlements(after), now)
	}
	if len(res.Plan.Findings) == 0 {
		return c
	}
	type what struct {
		code, message string
		document      schemas.DocumentID
	}
	known := map[what]bool{}
	for _, f := range run(*was, first).Plan.Findings {
		known[what{f.Code, f.Message, f.Document}] = true
	}
	for _, f := range res.Plan.Findings {
		if !known[what{f.Code, f.Message, f.Document}] {
			c.Findings = append(c.Findings, f)
		}
	}
	return c
}

// differing leaves the connections that are not the same on both sides, as Pair has them.
func differing(before, after *Desired) (from, to *Desired) {
	without := func(d, other *Desired) *Desired {
		same := make(map[*Connection]bool, len(other.Connections))
		for _, c := range other.Connections {
			same[c] = true
		}
		out := *d
		out.Connections = slices.DeleteFunc(slices.Clone(d.Connections), func(c *Connection) bool { return same[c] })
		return &out
	}
	return without(before, after), without(after, before)
}

// bounded reports whether a desired edge is not in force at all times.
func bounded(d *Desired) bool {
	return slices.ContainsFunc(d.Connections, func(c *Connection) bool {
		return len(c.Scheduled) > 0 || slices.ContainsFunc(c.Entitlements, func(e Entitlement) bool { return e.Expires != nil })
	})
}

// boundedEntitlements are the desired entitlements that are not in force at all times.
func boundedEntitlements(d *Desired) []graph.Bounded {
	var out []graph.Bounded
	for _, c := range d.Connections {
		always := func(e Entitlement) bool {
			return slices.ContainsFunc(c.Entitlements, func(o Entitlement) bool {
				return o.Expires == nil && o.Target == e.Target && o.Privilege == e.Privilege
			})
		}
		for _, list := range [][]Entitlement{c.Entitlements, c.Scheduled} {
			for _, e := range list {
				if (e.Starts != nil || e.Expires != nil) && !always(e) {
					out = append(out, graph.Bounded{Connection: c.Name, Target: e.Target, Privilege: e.Privilege,
						Window: schemas.Window{Starts: e.Starts, Expires: e.Expires}})
				}
			}
		}
	}
	return out
}

// assume is the live state that a change is judged against: what the requests brought about before it, which
// becomes part of it, and what they take to be there. first and second are before and after with what is
// scheduled in force. supposed means that it differs from the former for somebody's access.
func assume(assumed schemas.State, description schemas.Description, before, after, first, second *Desired) (_ schemas.State, supposed bool) {
	there := map[schemas.Name]int{}
	for i, c := range assumed.Connections {
		there[c.Name] = i
	}
	old := map[schemas.Name]int{}
	for i, c := range first.Connections {
		old[c.Name] = i
	}
	for at, c := range second.Connections {
		i, ok := there[c.Name]
		j, spoken := old[c.Name]
		if !ok {
			if c.Existence == Present || c.Existence != Unspecified && spoken && first.Connections[j].Existence != Unspecified {
				continue
			}
			i, supposed = len(assumed.Connections), true
			assumed.Connections = append(assumed.Connections, schemas.Connection{Name: c.Name})
		}
		a := &assumed.Connections[i]
		if c.Existence == Present {
			// It exists. An unknown attribute counts as a change where the request names it.
			if a.Payload == nil {
				typ, _ := description.Type(c.Type)
				a.Payload = CompletePayload(typ, nil)
			}
			for k := range c.Payload {
				if _, ok := a.Payload[k]; !ok {
					a.Payload[k] = nil
				}
			}
		}
		var former []Tombstone
		if spoken {
			former = first.Connections[j].Tombstones
			longer := growing(before.Connections[j], after.Connections[at])
			n := len(a.Entitlements)
			a.Entitlements = slices.DeleteFunc(a.Entitlements, func(e schemas.Entitlement) bool {
				// A grant that was undone before its start was never there.
				return longer[wordKey{e.Target, e.Privilege}] || !c.speaks(e)
			})
			supposed = supposed || len(a.Entitlements) != n
		}
		for _, t := range c.Tombstones {
			if t.Cause == schemas.CauseRequest && !revoked(former, t) && !holds(a, t) {
				supposed = true
				a.Entitlements = append(a.Entitlements, schemas.Entitlement{Target: t.Target, TargetID: t.TargetID, Privilege: t.Privilege})
			}
		}
	}
	slices.SortFunc(assumed.Connections, func(a, b schemas.Connection) int { return a.Name.Compare(b.Name) })
	return assumed, supposed
}

// speaks reports whether the entitlement is wanted or to be gone. Both lists are sorted.
func (c *Connection) speaks(e schemas.Entitlement) bool {
	_, wanted := slices.BinarySearchFunc(c.Entitlements, e, func(a Entitlement, e schemas.Entitlement) int {
		return compareTarget(a.Target, a.Privilege, e.Target, e.Privilege)
	})
	_, buried := slices.BinarySearchFunc(c.Tombstones, e, func(a Tombstone, e schemas.Entitlement) int {
		return compareTarget(a.Target, a.Privilege, e.Target, e.Privilege)
	})
	return wanted || buried || c.Existence == Deleted || c.Existence == Undone
}

// Documented is the state that documents want, with what is scheduled in force.
func Documented(d *Desired, description schemas.Description) schemas.State {
	return StateOf(eventual(d), description)
}

// eventual is the desired state with what is scheduled in force.
func eventual(d *Desired) *Desired {
	if !slices.ContainsFunc(d.Connections, func(c *Connection) bool { return len(c.Scheduled) > 0 }) {
		return d
	}
	out := *d
	out.Connections = slices.Clone(d.Connections)
	for i, c := range out.Connections {
		if len(c.Scheduled) == 0 {
			continue
		}
		all := append(slices.Clone(c.Entitlements), c.Scheduled...)
		slices.SortStableFunc(all, func(a, b Entitlement) int { return compareTarget(a.Target, a.Privilege, b.Target, b.Privilege) })
		merged := all[:0]
		for _, e := range all {
			if n := len(merged); n > 0 && merged[n-1].Target == e.Target && merged[n-1].Privilege == e.Privilege {
				merged[n-1] = mergeGrants(merged[n-1], e)
			} else {
				merged = append(merged, e)
			}
		}
		copied := *c
		copied.Entitlements, copied.Scheduled = merged, nil
		copied.Tombstones = slices.DeleteFunc(slices.Clone(c.Tombstones), func(t Tombstone) bool {
			return slices.ContainsFunc(c.Scheduled, func(e Entitlement) bool { return e.Target == t.Target && e.Privilege == t.Privilege })
		})
		out.Connections[i] = &copied
	}
	return &out
}

// growing are the entitlements that after holds at some time at which before, which has them too, does not.
func growing(before, after *Connection) map[wordKey]bool {
	collect := func(c *Connection, fn func(wordKey, schemas.Window)) {
		for _, list := range [][]Entitlement{c.Entitlements, c.Scheduled} {
			for i := range list {
				e := &list[i]
				fn(wordKey{e.Target, e.Privilege}, schemas.Window{Starts: e.Starts, Expires: e.Expires})
			}
		}
	}
	bounded := len(before.Scheduled) > 0 || slices.ContainsFunc(before.Entitlements, func(e Entitlement) bool { return e.Expires != nil })
	if !bounded {
		return nil
	}
	windows := map[wordKey][]schemas.Window{}
	collect(before, func(k wordKey, w schemas.Window) { windows[k] = append(windows[k], w) })
	out := map[wordKey]bool{}
	collect(after, func(k wordKey, w schemas.Window) {
		if !slices.ContainsFunc(windows[k], func(b schemas.Window) bool { return contains(b, w) }) {
			out[k] = true
		}
	})
	return out
}

// contains reports whether the window a covers all of b.
func contains(a, b schemas.Window) bool {
	return (a.Starts == nil || b.Starts != nil && !b.Starts.Before(*a.Starts)) &&
		(a.Expires == nil || b.Expires != nil && !b.Expires.After(*a.Expires))
}

// effective is what of a wanted state an application lets take effect: connections in its scope, with what
// may be granted. Without an application it is nothing.
func effective(app *schemas.Application, description schemas.Description, s schemas.State) schemas.State {
	var out schemas.State
	if app == nil {
		return out
	}
	for _, c := range s.Connections {
		typ, _ := description.Type(c.Type)
		if !InScope(app, c.Name) {
			continue
		}
		c.Entitlements = slices.DeleteFunc(slices.Clone(c.Entitlements), func(e schemas.Entitlement) bool {
			target, ok := typ.Target(e.Target.Type)
			return !ok || !Grantable(app, target, e.Target)
		})
		out.Connections = append(out.Connections, c)
	}
	return out
}

// Change is what lies between two desired states.
type Change struct {
	Operations []schemas.Operation
	// Gained are the rights that somebody has at some time after the change and would not have without it,
	// Lost those that somebody no longer has, by identity.
	Gained, Lost []schemas.Access
	Findings     []schemas.Finding
	// Terms are the grants that the change lets begin later, or begin or end at other times than before, by key.
	Terms []schemas.TermChange
	// Before and After are the graphs at both ends.
	Before, After *graph.Graph
}

func revoked(former []Tombstone, t Tombstone) bool {
	return slices.ContainsFunc(former, func(o Tombstone) bool {
		return o.Target == t.Target && o.Privilege == t.Privilege && o.Cause == schemas.CauseRequest
	})
}

func holds(c *schemas.Connection, t Tombstone) bool {
	return slices.ContainsFunc(c.Entitlements, func(e schemas.Entitlement) bool {
		return e.Target == t.Target && e.Privilege == t.Privilege
	})
}

// StateOf is the state that the requests want, as if nothing else were there. Connections that only
// assignments speak of are taken to exist.
func StateOf(desired *Desired, description schemas.Description) schemas.State {
	var s schemas.State
	known := newTypes(description)
	for _, c := range desired.Connections {
		if c.Existence == Deleted || c.Existence == Undone {
			continue
		}
		out := schemas.Connection{Name: c.Name}
		if c.Existence == Present {
			out.Payload = known.get(c.Type).complete(c.Payload)
		}
		if len(c.Entitlements) > 0 {
			out.Entitlements = make([]schemas.Entitlement, len(c.Entitlements))
		}
		for i, e := range c.Entitlements {
			out.Entitlements[i] = schemas.Entitlement{Target: e.Target, TargetID: e.TargetID, Privilege: e.Privilege}
		}
		s.Connections = append(s.Connections, out)
	}
	return s
}
