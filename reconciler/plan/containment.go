package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/countersign/countersign/schemas"
)

// containment is one way in which targets of a type are parts of those of another.
type containment struct {
	container string // the type of the containing target
	*schemas.Containment
}

// containments returns the ways in which targets of a type are parts.
func (i *typeInfo) containments(part string) []containment {
	if i.parts == nil {
		i.parts = map[string][]containment{}
		for j := range i.typ.Grantable {
			g := &i.typ.Grantable[j]
			for k := range g.Contains {
				c := &g.Contains[k]
				i.parts[c.Type] = append(i.parts[c.Type], containment{g.Type, c})
			}
		}
	}
	return i.parts[part]
}

// containers are the targets of some entitlements that may contain others, with their privileges.
type containers map[wordKey]schemas.Name

// containersOf makes the containers among entitlements: nil where the type doesn't have any.
func containersOf[E any](i *typeInfo, list []E, key func(*E) (schemas.Name, string)) containers {
	var out containers
	for j := range list {
		n, privilege := key(&list[j])
		g := i.target(n.Type)
		if g == nil || len(g.Contains) == 0 {
			continue
		}
		if out == nil {
			out = containers{}
		}
		out[wordKey{n, privilege}] = n
		out[wordKey{schemas.Name{Type: n.Type}, privilege}] = n // for containments without a separator
	}
	return out
}

func entitlementKey(e *Entitlement) (schemas.Name, string) { return e.Target, e.Privilege }

func liveKey(e *schemas.Entitlement) (schemas.Name, string) { return e.Target, e.Privilege }

// covering calls visit with each container that implies a privilege on a part, until it returns false.
func (w containers) covering(i *typeInfo, part schemas.Name, privilege string, visit func(container wordKey, c containment) bool) {
	if len(w) == 0 {
		return
	}
	for _, c := range i.containments(part.Type) {
		for _, name := range c.candidates(part.SourceName) {
			for _, p := range c.implying(privilege) {
				n, ok := w[wordKey{schemas.Name{Type: c.container, SourceName: name}, p}]
				if ok && n != part && !visit(wordKey{n, p}, c) {
					return
				}
			}
		}
	}
}

// candidates are the names that a container of the part may have; "" is any.
func (c containment) candidates(part string) []string {
	if c.Separator == "" {
		return []string{""}
	}
	var out []string
	for at := 0; ; {
		i := strings.Index(part[at:], c.Separator)
		if i < 0 {
			return out
		}
		out = append(out, part[:at+i])
		at += i + len(c.Separator)
	}
}

// implying are the privileges on a container that imply one on a part.
func (c containment) implying(privilege string) []string {
	if c.Privileges == nil {
		return []string{privilege}
	}
	var out []string
	for p, implied := range c.Privileges {
		if slices.Contains(implied, privilege) {
			out = append(out, p)
		}
	}
	slices.Sort(out)
	return out
}

// covers reports whether some container implies a privilege on a part; derived limits that to containers that the application
// has only as privileges on their parts.
func (w containers) covers(i *typeInfo, part schemas.Name, privilege string, derived bool) (found bool) {
	w.covering(i, part, privilege, func(_ wordKey, c containment) bool {
		found = found || !derived || c.Derived
		return !found
	})
	return found
}

// contain decides about removals of parts whose container is granted. The latest word holds: a grant of the container that came
// later suspends them, as far as the container consists of its parts; a revoke that came later would remove nothing that the
// container doesn't give back, and is found so.
func (x *folding) contain(all []*Connection, groups []group) {
	for i, c := range all {
		info := x.types.get(c.Type)
		if len(c.Tombstones) == 0 || len(c.Entitlements) == 0 || !info.contains() {
			continue
		}
		granted := containersOf(info, c.Entitlements, entitlementKey)
		if granted == nil {
			continue
		}
		var kept []Tombstone
		for _, t := range c.Tombstones {
			if suspended := x.covered(c, &groups[i], info, granted, &t); !suspended {
				kept = append(kept, t)
			}
		}
		c.Tombstones = kept
	}
}

// covered looks for the granted containers of a tombstone, and reports whether they suspend it.
func (x *folding) covered(c *Connection, g *group, info *typeInfo, granted containers, t *Tombstone) (suspended bool) {
	var earlier *wordKey
	superseded := !t.Revoked
	granted.covering(info, t.Target, t.Privilege, func(container wordKey, by containment) bool {
		at, ok := slices.BinarySearchFunc(c.Entitlements, container, func(e Entitlement, w wordKey) int {
			return compareTarget(e.Target, e.Privilege, w.target, w.priv)
		})
		if !ok {
			return true
		}
		suspended = suspended || by.Derived
		if t.Revoked && place(t.Documents, g).Compare(place(c.Entitlements[at].Documents, g)) < 0 {
			superseded = true
		} else if earlier == nil {
			earlier = &container
		}
		return true
	})
	if superseded || earlier == nil {
		return suspended
	}
	t.Covered = true
	x.find(g.find(t.Documents[len(t.Documents)-1]), "covered", fmt.Sprintf("revokes %s on %s, which %s has through %s on %s", t.Privilege, t.Target, c.Name, earlier.priv, earlier.target),
		fmt.Sprintf("revoke %s, and grant what should stay", earlier.target))
	return false
}

// contains reports whether any target of the type has parts.
func (i *typeInfo) contains() bool {
	return slices.ContainsFunc(i.typ.Grantable, func(g schemas.GrantableType) bool { return len(g.Contains) > 0 })
}

// derivedParts returns the live edges that are the parts of a target whose privilege consists of theirs. wanted are
// those of them that a grant or another container wants; the others go with the container.
func (d *differ) derivedParts(it *subject, live *edges, container schemas.Name, privilege string) (goes, wanted []int) {
	g := it.info.target(container.Type)
	if g == nil {
		return nil, nil
	}
	for i := range g.Contains {
		c := &g.Contains[i]
		if !c.Derived {
			continue
		}
		for k := range live.live {
			l := &live.live[k]
			if !c.Covers(container.SourceName, privilege, l.Target, l.Privilege) {
				continue
			}
			if live.claimed[k] || wants(it.connection, l) || live.implied(it.info, l.Target, l.Privilege, true) {
				wanted = append(wanted, k)
			} else {
				goes = append(goes, k)
			}
		}
	}
	return goes, wanted
}

// wants reports whether a connection's grants name a live edge.
func wants(c *Connection, l *schemas.Entitlement) bool {
	if c == nil {
		return false
	}
	_, ok := slices.BinarySearchFunc(c.Entitlements, l, func(e Entitlement, l *schemas.Entitlement) int {
		return compareTarget(e.Target, e.Privilege, l.Target, l.Privilege)
	})
	return ok
}

// implied reports whether a wanted grant of a container implies a privilege on a part, as in containers.covers.
func (e *edges) implied(i *typeInfo, part schemas.Name, privilege string, derived bool) bool {
	if e.granted == nil && len(e.desired) > 0 {
		if e.granted = containersOf(i, e.desired, entitlementKey); e.granted == nil {
			e.granted = containers{}
		}
	}
	return e.granted.covers(i, part, privilege, derived)
}

// coveredLive finds a revoke of what the connection keeps through a live container that no request speaks of.
func (d *differ) coveredLive(it *subject, t *Tombstone, live *edges) (covered bool) {
	if !t.Revoked || !it.info.contains() {
		return false
	}
	if live.containers == nil {
		live.containers = containersOf(it.info, live.live, liveKey)
		if live.containers == nil {
			live.containers = containers{}
		}
	}
	live.containers.covering(it.info, t.Target, t.Privilege, func(container wordKey, c containment) bool {
		if c.Derived || it.connection.speaks(schemas.Entitlement{Target: container.target, Privilege: container.priv}) ||
			live.implied(it.info, container.target, container.priv, false) {
			return true
		}
		covered = true
		d.find(it.connection.Name, t.Documents, schemas.SeverityError, "covered",
			fmt.Sprintf("%s keeps %s on %s through %s on %s, which no request speaks of", it.connection.Name, t.Privilege, t.Target, container.priv, container.target),
			fmt.Sprintf("revoke %s, and grant what should stay", container.target))
		return false
	})
	return covered
}

// unmanagedContainers returns the live edges that need no line of their own: the parts of an unmanaged target that is held
// only as its parts, or that target, where a request is about one of its parts.
func (d *differ) unmanagedContainers(it *subject, e *edges) map[int]bool {
	out := map[int]bool{}
	for k := range e.live {
		l := &e.live[k]
		g := it.info.target(l.Target.Type)
		if e.taken[k] || g == nil || !slices.ContainsFunc(g.Contains, func(c schemas.Containment) bool { return c.Derived }) {
			continue
		}
		var parts []int
		shared := false
		for p := range e.live {
			if slices.ContainsFunc(g.Contains, func(c schemas.Containment) bool {
				return c.Derived && c.Covers(l.Target.SourceName, l.Privilege, e.live[p].Target, e.live[p].Privilege)
			}) {
				shared = shared || e.taken[p] || e.implied(it.info, e.live[p].Target, e.live[p].Privilege, true)
				parts = append(parts, p)
			}
		}
		if shared {
			out[k] = true
			continue
		}
		for _, p := range parts {
			out[p] = true
		}
	}
	return out
}
