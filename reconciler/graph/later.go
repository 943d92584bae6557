package graph

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/schemas"
)

// Bounded is an entitlement that is in force only within a window.
type Bounded struct {
	Connection, Target schemas.Name
	Privilege          string
	Window             schemas.Window
}

// Later adds to what is gained the access that an identity has already, but would lose one day, or get later: a
// permanent grant beside a way that ends is a gain. formerly is the graph before the change, after the one behind it,
// each with its bounded entitlements; both are changed meanwhile and left as they were. It notes each such gain at its
// operation as well, and returns all gains sorted by identity.
func Later(ops []schemas.Operation, gained []schemas.Access, formerly *Graph, formerlyBounded []Bounded, after *Graph, afterBounded []Bounded, now time.Time) []schemas.Access {
	formerly.windows, after.windows = formerly.windowsOf(formerlyBounded), after.windowsOf(afterBounded)
	defer func() { formerly.windows, after.windows = nil, nil }()
	touched := map[schemas.Name]bool{}
	adds := newSteps(after)
	for i := range ops {
		if o := &ops[i]; o.Kind == schemas.OperationGrant {
			adds.edge(i, o)
			for _, n := range after.behind(o) {
				touched[n] = true
			}
		}
	}
	type access struct {
		identity schemas.Name
		right    right
	}
	counted := map[access]bool{}
	for _, a := range gained {
		counted[access{a.Identity, right{a.Target, a.Privilege}}] = true
	}
	for _, id := range slices.SortedFunc(maps.Keys(touched), schemas.Name.Compare) {
		for _, at := range instants(id, formerly, after, now) {
			was := formerly.accessOf(id, formerly.inForce(at))
			for _, a := range after.accessOf(id, after.inForce(at)) {
				k := access{id, right{a.Target, a.Privilege}}
				_, had := slices.BinarySearchFunc(was, k.right, func(a schemas.Access, r right) int {
					return compareTarget(a.Target, a.Privilege, r.target, r.privilege)
				})
				if had || counted[k] {
					continue
				}
				counted[k] = true
				gained = append(gained, a)
				if i := adds.first(&a); i >= 0 {
					ops[i].Gained = append(ops[i].Gained, a)
				}
			}
		}
	}
	sortAccess(gained)
	for i := range ops {
		sortAccess(ops[i].Gained)
	}
	return gained
}

// windowsOf are the windows by edge; nil for none.
func (g *Graph) windowsOf(list []Bounded) map[edgeKey][]schemas.Window {
	var out map[edgeKey][]schemas.Window
	for _, b := range list {
		if out == nil {
			out = map[edgeKey][]schemas.Window{}
		}
		k := g.key(b.Connection, b.Target, b.Privilege)
		out[k] = append(out[k], b.Window)
	}
	return out
}

// instants are those at which the access of an identity may change, before or after.
func instants(id schemas.Name, before, after *Graph, now time.Time) []time.Time {
	out := []time.Time{now}
	for _, g := range []*Graph{before, after} {
		from := g.find(id)
		if from == nil {
			continue
		}
		add := func(k edgeKey) {
			for _, w := range g.windows[k] {
				for _, t := range []*time.Time{w.Starts, w.Expires} {
					if t != nil && t.After(now) {
						out = append(out, *t)
					}
				}
			}
		}
		for _, n := range g.walk(from, (*node).groups) {
			for _, to := range n.up {
				add(edgeKey{n.name, to.name, schemas.PrivilegeMember})
			}
			for _, to := range n.admins {
				add(edgeKey{n.name, to.name, schemas.PrivilegeAdmin})
			}
			for _, r := range n.uses {
				add(edgeKey{n.name, r.target, r.privilege})
			}
		}
	}
	slices.SortFunc(out, time.Time.Compare)
	return slices.CompactFunc(out, time.Time.Equal)
}

// inForce tells which edges are in force at an instant.
func (g *Graph) inForce(t time.Time) func(edgeKey) bool {
	return func(k edgeKey) bool {
		windows, bounded := g.windows[k]
		return !bounded || slices.ContainsFunc(windows, func(w schemas.Window) bool { return w.Started(t) && !w.Expired(t) })
	}
}

func sortAccess(list []schemas.Access) {
	slices.SortFunc(list, func(a, b schemas.Access) int {
		if c := a.Identity.Compare(b.Identity); c != 0 {
			return c
		}
		return compareTarget(a.Target, a.Privilege, b.Target, b.Privilege)
	})
}

func compareTarget(a schemas.Name, privilegeA string, b schemas.Name, privilegeB string) int {
	if c := a.Compare(b); c != 0 {
		return c
	}
	return strings.Compare(privilegeA, privilegeB)
}
