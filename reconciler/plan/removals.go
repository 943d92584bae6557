package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/countersign/countersign/schemas"
)

// membership reports whether targets of a type are memberships.
func (i *typeInfo) membership(targetType string) bool {
	t := i.target(targetType)
	return t != nil && t.Edge != schemas.EdgeResource
}

// edgeClass tells ids of one kind from those of another, which an application may count by themselves: a membership by
// its direction, whatever type of member it is, and a resource by its type.
func (i *typeInfo) edgeClass(targetType string) string {
	t := i.target(targetType)
	switch {
	case t == nil:
		return targetType
	case t.Edge == schemas.EdgeIdentity || t.Edge == schemas.EdgeMember:
		return string(schemas.EdgeMember)
	case t.Edge == schemas.EdgeConnection:
		return string(t.Edge)
	}
	return t.Type
}

// claim finds the edges that wanted grants have by the remembered id of their target under another name: they are
// neither unmanaged nor another request's.
func (d *differ) claim(it *subject, live *edges) {
	list := it.connection.Entitlements
	for k, i := 0, 0; k < len(live.live); k++ {
		l := &live.live[k]
		for i < len(list) && compareTarget(list[i].Target, list[i].Privilege, l.Target, l.Privilege) < 0 {
			i++
		}
		wanted := i < len(list) && list[i].Target == l.Target && list[i].Privilege == l.Privilege &&
			(list[i].TargetID == "" || l.TargetID == "" || list[i].TargetID == l.TargetID)
		if !wanted {
			live.loose = append(live.loose, k)
		}
	}
	if len(live.loose) == 0 || d.in.Baseline == nil {
		return
	}
	for i := range it.connection.Entitlements {
		e := &it.connection.Entitlements[i]
		base, known := d.baseline(EntitlementItem(schemas.Key{Connection: it.connection.Name, Target: e.Target, Privilege: e.Privilege}))
		if !known || !hasWord(base.Token, present) || base.NativeID == "" {
			continue
		}
		for _, k := range live.withID(base.NativeID) {
			if l := &live.live[k]; l.Target != e.Target && d.remembered(it, l, e.Target, e.Privilege, base.NativeID) {
				if live.claimed == nil {
					live.claimed = map[int]bool{}
				}
				live.claimed[k], live.taken[k] = true, true
			}
		}
	}
}

// remembered reports whether a live edge is the one of a target whose id was remembered.
func (d *differ) remembered(it *subject, l *schemas.Entitlement, target schemas.Name, privilege, id string) bool {
	return id != "" && l.TargetID == id && l.Privilege == privilege &&
		(l.Target.Type == target.Type || it.info.edgeClass(l.Target.Type) == it.info.edgeClass(target.Type))
}

// renamed reports whether a verified grant is in force under another name of its target, and finds so.
func (d *differ) renamed(it *subject, e *Entitlement, base schemas.BaselineItem, live *edges) bool {
	for k := range live.claimed {
		if l := &live.live[k]; d.remembered(it, l, e.Target, e.Privilege, base.NativeID) {
			d.find(it.connection.Name, e.Documents, schemas.SeverityWarning, "renamed", fmt.Sprintf("%s is now %s (id %s): the grant is in force under that name", e.Target, l.Target, base.NativeID),
				"request it under today's name, then remove this grant")
			return true
		}
	}
	return false
}

// vanished finds a verified grant whose target no longer exists. It keeps the grant in the plan, held, so that drift and
// status show it.
func (d *differ) vanished(it *subject, e *Entitlement, target *schemas.GrantableType) {
	c := it.connection
	d.find(c.Name, e.Documents, schemas.SeverityError, "target-vanished", fmt.Sprintf("%s no longer exists in %s: %s on it was verified", e.Target, d.in.Application.Name, e.Privilege),
		"create it again, or remove the grant")
	op := d.op(schemas.OperationGrant, c.Name, e.Documents)
	op.Target, op.TargetID, op.Privilege, op.Expires, op.Provisioning = &e.Target, e.TargetID, e.Privilege, e.Expires, e.Provisioning
	if it.found != nil {
		op.NativeID = it.found.NativeID
	}
	op.Privileged = PrivilegedGrant(d.in.Application, *it.info.typ, *target, c.Name, e.Target, e.Privilege)
	op.Hold, op.HoldReason = schemas.HoldTarget, e.Target.String()+" no longer exists: create it again, or remove the grant"
	base, known := d.baseline(EntitlementItem(op.Key()))
	d.plan(op, present, e.Documents, base, known)
}

// revoke compares one entitlement that is to be gone with the live edges. Every edge of the remembered id goes, whatever
// its target is called now, and every edge under the written name, unless an approved grant gave it to the present holder.
func (d *differ) revoke(it *subject, t *Tombstone, live *edges) {
	c := it.connection
	if t.Covered || d.unread(it, t.Target) {
		return
	}
	base, known := d.baseline(EntitlementItem(schemas.Key{Connection: c.Name, Target: t.Target, Privilege: t.Privilege}))
	id := t.TargetID
	if id == "" {
		id = base.NativeID
	}
	start, end := live.named(t.Target, t.Privilege)
	if _, ok := pick(live.live[start:end], id); !ok {
		live.take(start, end)
		d.ambiguous(c.Name, t.Documents, t.Target, targetIDs(live.live[start:end]))
		return
	}
	var goes []int
	for k := start; k < end; k++ {
		l := &live.live[k]
		switch {
		case t.TargetID != "" && l.TargetID != "" && l.TargetID != t.TargetID:
			continue // the request names another of the name
		case it.wantedToday(d, it.found, l):
			continue
		case live.claimed[k] && base.NativeID != "" && base.NativeID != l.TargetID:
			continue // the name was taken over by somebody who was granted it under another name
		}
		goes = append(goes, k)
	}
	if id != "" {
		for _, k := range live.withID(id) {
			if l := &live.live[k]; (k < start || k >= end) && !live.claimed[k] && d.remembered(it, l, t.Target, t.Privilege, id) && !it.wantedToday(d, it.found, l) {
				goes = append(goes, k)
			}
		}
	}
	names := []schemas.Name{t.Target}
	for _, k := range goes {
		if n := live.live[k].Target; n != t.Target {
			names = append(names, n)
		}
	}
	var parts, wanted []int
	for _, n := range names {
		g, w := d.derivedParts(it, live, n, t.Privilege)
		parts, wanted = append(parts, g...), append(wanted, w...)
	}
	covered := d.coveredLive(it, t, live)
	undone := t.Cause == schemas.CauseUndo && !d.owned && (known && hasWord(base.Token, present) && !base.Made || !known && t.Scheduled)
	former := !undone && d.takeFormer(it, t, id, base, known)
	if len(goes) == 0 && len(parts) == 0 || len(wanted) > 0 && len(parts) == 0 {
		for _, k := range goes {
			live.taken[k] = true // it is nothing but parts that are wanted
		}
		if covered || former || !undone && d.takeMirrors(it, t, id, base, known) {
			return
		}
		d.gone(it, t, base, known)
		return
	}
	if undone {
		return // access that was there before the request becomes unmanaged again
	}
	for _, k := range parts {
		live.taken[k] = true
		if l := &live.live[k]; len(wanted) > 0 && !c.speaks(*l) { // a removal of its own takes it
			d.take(it, t, it.found, l, base, known)
		}
	}
	for _, k := range goes {
		live.taken[k] = true
		if len(wanted) == 0 {
			d.take(it, t, it.found, &live.live[k], base, known)
		}
	}
	if len(wanted) == 0 && len(goes) == 0 {
		// The target as such isn't in force, and some of its parts are.
		if lost(id) {
			id = ""
		}
		d.take(it, t, it.found, &schemas.Entitlement{Target: t.Target, TargetID: id, Privilege: t.Privilege}, base, known)
	}
}

// take plans the removal of one live edge of a connection: the tombstone's, or another that lists the membership.
func (d *differ) take(it *subject, t *Tombstone, at *schemas.Connection, l *schemas.Entitlement, base schemas.BaselineItem, known bool) {
	c, info := it.connection, d.types.get(at.Type)
	target := info.target(l.Target.Type)
	switch {
	case target == nil || !target.Revoke:
		d.unsupported(c.Name, t.Documents, "take a "+l.Target.Type+" from a "+at.Type)
		return
	case !d.inScope(at.Name):
		d.find(c.Name, t.Documents, schemas.SeverityError, "out-of-scope", fmt.Sprintf("%s is a membership of %s, which is not in the scope of %s", t.Target, at.Name, d.in.Application.Name),
			"an owner widens spec.scope in a pull request of its own")
		return
	}
	op := d.op(schemas.OperationRevoke, at.Name, t.Documents)
	op.Target, op.TargetID, op.Privilege, op.Cause = &l.Target, l.TargetID, l.Privilege, t.Cause
	if l.Target != t.Target {
		op.WrittenTarget = &t.Target
	}
	if at.Name != c.Name {
		op.WrittenConnection = &c.Name
	}
	op.NativeID = at.NativeID
	op.Privileged = PrivilegedGrant(d.in.Application, *info.typ, *target, at.Name, l.Target, t.Privilege)
	d.plan(op, absentFor(t.Cause), t.Documents, base, known)
}

// gone settles a removal of which nothing is live, unless its target can't be found: then it removed nothing.
func (d *differ) gone(it *subject, t *Tombstone, base schemas.BaselineItem, known bool) {
	word := absentFor(t.Cause)
	// A grant that was undone before its start leaves nothing to watch for.
	if !known && t.Scheduled {
		return
	}
	if d.hidden(it, t, base) || !d.found(it, t, base, known) {
		return
	}
	d.settle(EntitlementItem(schemas.Key{Connection: it.connection.Name, Target: t.Target, Privilege: t.Privilege}), word, t.Documents, "", base, known)
	for _, written := range it.form.written(t.Target, t.Privilege) {
		wbase, wknown := d.baseline(written)
		d.settle(written, word, t.Documents, "", wbase, wknown)
	}
}

// hidden reports whether a removal that takes nothing may have its edge all the same: beside it is a member that can't be
// named, and the ids don't show that it is another one. A target that is seen under the name, with the remembered id, isn't hidden.
func (d *differ) hidden(it *subject, t *Tombstone, base schemas.BaselineItem) bool {
	if d.owned || it.found == nil || !it.info.membership(t.Target.Type) {
		return false
	}
	id := t.TargetID
	if id == "" {
		id = base.NativeID
	}
	reference := ""
	for i := range it.found.Entitlements {
		l := &it.found.Entitlements[i]
		if l.State == schemas.StateUnresolved && l.Privilege == t.Privilege && (l.TargetID == "" || id == "" || lost(id)) &&
			it.info.edgeClass(l.Target.Type) == it.info.edgeClass(t.Target.Type) && !d.claims(it, l) {
			reference = l.Target.SourceName
			break
		}
	}
	if reference == "" {
		return false
	}
	items, asked := d.in.Targets[t.Target]
	if !asked {
		d.out.Lookups = append(d.out.Lookups, t.Target)
		return d.in.Targets != nil
	}
	if slices.ContainsFunc(items, func(i schemas.Item) bool { return id == "" || lost(id) || i.NativeID == "" || i.NativeID == id }) {
		return false
	}
	if it.missing != t.Target {
		it.missing = t.Target
		d.find(it.connection.Name, t.Documents, schemas.SeverityError, "unverifiable", fmt.Sprintf("%s can't be seen in %s, and may be the member %s, which can't be named", t.Target, d.in.Application.Name, reference),
			"let countersign's account see that member, or revoke it by its reference")
	}
	return true
}

// claims reports whether a wanted grant has a live edge by its id.
func (d *differ) claims(it *subject, l *schemas.Entitlement) bool {
	return l.TargetID != "" && slices.ContainsFunc(it.connection.Entitlements, func(e Entitlement) bool {
		base, known := d.baseline(EntitlementItem(schemas.Key{Connection: it.connection.Name, Target: e.Target, Privilege: e.Privilege}))
		return known && base.NativeID == l.TargetID
	})
}

// found reports whether a removal that takes nothing has a target. A name that was verified before needs no look-up,
// unless the application has ids and none was remembered: then nobody can tell who had the access.
func (d *differ) found(it *subject, t *Tombstone, base schemas.BaselineItem, known bool) bool {
	forgotten := d.in.Description.NativeIDs && known && hasWord(base.Token, present) && (base.NativeID == "" || lost(base.NativeID)) && t.TargetID == "" &&
		it.info.membership(t.Target.Type)
	if d.owned || !forgotten && (known || !t.Revoked) || it.info.target(t.Target.Type) == nil {
		return true
	}
	if it.form.refused(t.Target, t.Privilege) == nil {
		if d.made[t.Target] || !forgotten && d.met(it, t.Target) {
			return true
		}
		if d.in.Targets == nil {
			if n := len(d.out.Lookups); n == 0 || d.out.Lookups[n-1] != t.Target {
				d.out.Lookups = append(d.out.Lookups, t.Target)
			}
			return true
		}
		if len(d.in.Targets[t.Target]) > 0 {
			return true
		}
	}
	c := it.connection
	if it.missing == t.Target {
		return false // found already, for another privilege on it
	}
	it.missing = t.Target
	if forgotten {
		d.find(c.Name, t.Documents, schemas.SeverityError, "unverifiable", fmt.Sprintf("%s doesn't exist in %s, and its id was not recorded: it may have the access under another name", t.Target, d.in.Application.Name),
			"find out what became of it, and revoke it with source_id")
		return false
	}
	message := fmt.Sprintf("the revoke of %s removed nothing: %s doesn't exist in %s", t.Target, t.Target, d.in.Application.Name)
	if near := d.near(it, t.Target); len(near) > 0 {
		message += " (there is " + strings.Join(near, ", ") + ")"
	}
	d.find(c.Name, t.Documents, schemas.SeverityError, "no-effect", message, "correct the name in a new request and remove this one")
	d.about(t.Target)
	return false
}

// met reports whether a target is live in the connection, or another privilege on it was verified: a revoke of MEMBER
// revokes ADMIN too, which few had.
func (d *differ) met(it *subject, target schemas.Name) bool {
	c := it.connection
	if it.found != nil && slices.ContainsFunc(it.found.Entitlements, func(l schemas.Entitlement) bool { return l.Target == target }) {
		return true
	}
	verified := func(privilege string) bool {
		_, known := d.baseline(EntitlementItem(schemas.Key{Connection: c.Name, Target: target, Privilege: privilege}))
		return known
	}
	// A privilege that ended otherwise than by a revoke was granted, and this run settles it.
	return slices.ContainsFunc(c.Tombstones, func(t Tombstone) bool {
		return t.Target == target && (verified(t.Privilege) || !t.Revoked && !t.Scheduled)
	}) ||
		slices.ContainsFunc(c.Entitlements, func(e Entitlement) bool { return e.Target == target && verified(e.Privilege) })
}

// near lists the names of live edges that a misspelt name may mean.
func (d *differ) near(it *subject, n schemas.Name) []string {
	if it.found == nil {
		return nil
	}
	var out []string
	for i := range it.found.Entitlements {
		o := it.found.Entitlements[i].Target
		if o.Type == n.Type && o != n && !slices.Contains(out, o.SourceName) && schemas.Distance(strings.ToLower(n.SourceName), strings.ToLower(o.SourceName)) <= 2 {
			out = append(out, o.SourceName)
		}
	}
	slices.Sort(out)
	return out[:min(len(out), 3)]
}
