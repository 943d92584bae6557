package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// entitlements walks what is wanted, what is to be gone and what is there, all in the order of keys.
func (d *differ) entitlements(it *subject) {
	c := it.connection
	var live []connectors.Entitlement
	if it.found != nil {
		live = sortedEntitlements(it.found.Entitlements)
	}
	i, j, k := 0, 0, 0
	for i < len(c.Entitlements) || j < len(c.Tombstones) || k < len(live) {
		var target schemas.Name
		var priv string
		first := true
		least := func(t schemas.Name, p string) {
			if first || compareTarget(t, p, target, priv) < 0 {
				target, priv, first = t, p, false
			}
		}
		if i < len(c.Entitlements) {
			least(c.Entitlements[i].Target, c.Entitlements[i].Privilege)
		}
		if j < len(c.Tombstones) {
			least(c.Tombstones[j].Target, c.Tombstones[j].Privilege)
		}
		if k < len(live) {
			least(live[k].Target, live[k].Privilege)
		}
		start := k
		for k < len(live) && live[k].Privilege == priv && live[k].Target == target {
			k++
		}
		have := live[start:k]
		var taken *connectors.Entitlement
		all := false // the requests speak of all of that name
		if i < len(c.Entitlements) && c.Entitlements[i].Privilege == priv && c.Entitlements[i].Target == target {
			taken, all = d.grant(it, &c.Entitlements[i], have)
			i++
		}
		if j < len(c.Tombstones) && c.Tombstones[j].Privilege == priv && c.Tombstones[j].Target == target {
			taken, all = d.revoke(it, &c.Tombstones[j], have)
			j++
		}
		if all {
			continue
		}
		for h := range have {
			if e := &have[h]; e != taken {
				d.leftover(c.Name, it.info, it.found, e)
			}
		}
	}
}

func compareLive(a, b connectors.Entitlement) int {
	return compareTarget(a.Target, a.Privilege, b.Target, b.Privilege)
}

func sortedEntitlements(list []connectors.Entitlement) []connectors.Entitlement {
	if slices.IsSortedFunc(list, compareLive) {
		return list
	}
	list = slices.Clone(list)
	slices.SortStableFunc(list, compareLive)
	return list
}

// pick returns the entitlement with an id: the only one when the id is "". ok is false when there
// are several and the id is "".
func pick(have []connectors.Entitlement, id string) (e *connectors.Entitlement, ok bool) {
	for i := range have {
		if id == "" || have[i].TargetID == "" || have[i].TargetID == id {
			if e != nil {
				return nil, false
			}
			e = &have[i]
		}
	}
	return e, true
}

func (d *differ) ambiguous(c schemas.Name, docs []schemas.DocumentID, target schemas.Name, ids []string) {
	slices.Sort(ids)
	d.find(c, docs, schemas.SeverityError, "ambiguous-name", fmt.Sprintf("%s is ambiguous: %d have this name: %s", target, len(ids), strings.Join(ids, ", ")), "set source_id to the one you mean")
}

func targetIDs(have []connectors.Entitlement) []string {
	var ids []string
	for i := range have {
		ids = append(ids, have[i].TargetID)
	}
	return ids
}

// grant compares one wanted entitlement with what is there of its name. It returns which of those it
// speaks of, or that it speaks of all.
func (d *differ) grant(it *subject, e *Entitlement, of []connectors.Entitlement) (taken *connectors.Entitlement, all bool) {
	c, app := it.connection, d.in.Application
	have, ok := pick(of, e.TargetID)
	target := it.info.target(e.Target.Type)
	switch {
	case !ok:
		d.ambiguous(c.Name, e.Documents, e.Target, targetIDs(of))
		return nil, true
	case it.form.refused(e.Target, e.Privilege) != nil:
		d.find(c.Name, e.Documents, schemas.SeverityError, "refused-by-application", it.form.refused(e.Target, e.Privilege).Error(), "correct the request")
		return have, false
	case target == nil:
		d.find(c.Name, e.Documents, schemas.SeverityError, "unknown-target-type", fmt.Sprintf("a %s cannot be granted to a %s", e.Target.Type, c.Type), "")
		return have, false
	case len(target.Privileges) > 0 && !slices.Contains(target.Privileges, e.Privilege):
		d.find(c.Name, e.Documents, schemas.SeverityError, "unknown-privilege", fmt.Sprintf("unknown privilege %s on a %s", e.Privilege, e.Target.Type),
			"the privileges are "+strings.Join(target.Privileges, ", "))
		return have, false
	case target.Edge != connectors.EdgeResource && e.Target == c.Name:
		d.find(c.Name, e.Documents, schemas.SeverityError, "self-grant", c.String()+" cannot be a member of itself", "remove the grant")
		return have, false
	case !d.grantable(target, e.Target):
		d.find(c.Name, e.Documents, schemas.SeverityError, "not-grantable", fmt.Sprintf("%s may not be granted in %s", e.Target, app.Name),
			"an owner widens spec.grantable in a pull request of its own")
		return have, false
	}
	key := schemas.Key{Connection: c.Name, Target: e.Target, Privilege: e.Privilege}
	name := EntitlementItem(key)
	base, known := d.baseline(name)
	if have != nil {
		switch {
		case have.State != "":
			d.pending(key, have.State)
		case target.Edge == connectors.EdgeIdentity && d.nested(e.Target):
			d.notIdentity(c.Name, e)
		case base.NativeID != "" && have.TargetID != "" && base.NativeID != have.TargetID && !d.assert.changed(base, known, present, e.Documents):
			d.find(c.Name, e.Documents, schemas.SeverityError, "other-id", fmt.Sprintf("%s had id %s when %s was verified and has %s now", e.Target, base.NativeID, key, have.TargetID),
				"approve it again in a new request, or revoke it")
		default:
			d.settle(name, present, e.Documents, have.TargetID, base, known)
			for _, written := range it.form.written(e.Target, e.Privilege) {
				wbase, wknown := d.baseline(written)
				d.settle(written, present, e.Documents, have.TargetID, wbase, wknown)
			}
		}
		return have, false
	}
	id, ok := d.target(it, e, target, key)
	if !ok {
		return nil, false
	}
	if !target.Grant {
		d.unsupported(c.Name, e.Documents, "grant a "+e.Target.Type+" to a "+c.Type)
		return nil, false
	}
	op := d.op(schemas.OperationGrant, c.Name, e.Documents)
	op.Target, op.TargetID, op.Privilege, op.Expires, op.Provisioning = &e.Target, id, e.Privilege, e.Expires, e.Provisioning
	if it.found != nil {
		op.NativeID = it.found.NativeID
	}
	if e.Started {
		op.Cause = schemas.CauseStart
	}
	op.Privileged = PrivilegedGrant(app, *it.info.typ, *target, c.Name, e.Target, e.Privilege)
	if !d.assert.changed(base, known, present, e.Documents) {
		d.holdIdentity(op, it.identity, it.base.NativeID, op.NativeID)
		d.holdIdentity(op, base.NativeID != "" && id != "" && base.NativeID != id, base.NativeID, id)
	}
	d.plan(op, present, e.Documents, base, known)
	return nil, false
}

func (d *differ) pending(key schemas.Key, state schemas.EntitlementState) {
	d.out.Plan.Pending = append(d.out.Plan.Pending, schemas.PendingEntitlement{Key: key, State: state})
}

// nested reports whether the application was asked about the name and told that it has members of its own.
func (d *differ) nested(n schemas.Name) bool {
	return d.in.Targets != nil && slices.ContainsFunc(d.in.Targets[n], func(i connectors.Item) bool { return i.Connection })
}

func (d *differ) notIdentity(c schemas.Name, e *Entitlement) {
	d.find(c, e.Documents, schemas.SeverityError, "not-an-identity", fmt.Sprintf("%s has members of its own: it is not a plain %s", e.Target.SourceName, e.Target.Type),
		"grant it as the connection that it is, so that its members show")
}

// target finds the one target that is meant, and its id where the application told.
func (d *differ) target(it *subject, e *Entitlement, target *connectors.GrantableType, key schemas.Key) (id string, ok bool) {
	c := it.connection
	if d.in.Targets == nil {
		return e.TargetID, true
	}
	found := d.in.Targets[e.Target]
	if e.TargetID != "" {
		found = slices.DeleteFunc(slices.Clone(found), func(i connectors.Item) bool { return i.NativeID != e.TargetID })
	}
	_, made := d.made[e.Target]
	switch {
	case len(found) == 0 && made:
		return e.TargetID, true // a creation in this plan makes it
	case len(found) == 0:
		d.find(c.Name, e.Documents, schemas.SeverityError, "target-not-found", fmt.Sprintf("%s does not exist in %s", e.Target, d.in.Application.Name), "correct the name, or make it first")
	case len(found) > 1:
		var ids []string
		for _, f := range found {
			ids = append(ids, f.NativeID)
		}
		d.ambiguous(c.Name, e.Documents, e.Target, ids)
	case found[0].Protected != "":
		d.find(c.Name, e.Documents, schemas.SeverityError, "protected", fmt.Sprintf("%s is never given: %s", e.Target, found[0].Protected), "")
	case target.Edge == connectors.EdgeIdentity && found[0].Connection:
		d.notIdentity(c.Name, e)
	case found[0].State == connectors.StateBlocked || found[0].State == connectors.StateExpired:
		d.pending(key, found[0].State)
	default:
		return found[0].NativeID, true
	}
	return "", false
}

// revoke compares one entitlement that is to be gone with what is there of its name. It returns which of
// those it takes away, or that nothing of the name is left over.
func (d *differ) revoke(it *subject, t *Tombstone, of []connectors.Entitlement) (taken *connectors.Entitlement, all bool) {
	c := it.connection
	name := EntitlementItem(schemas.Key{Connection: c.Name, Target: t.Target, Privilege: t.Privilege})
	word := absentFor(t.Cause)
	base, known := d.baseline(name)
	have, ok := pick(of, t.TargetID)
	switch {
	case !ok:
		d.ambiguous(c.Name, t.Documents, t.Target, targetIDs(of))
		return nil, true
	case have == nil:
		// A grant that was undone before its start leaves nothing to watch for.
		if known || !t.Scheduled {
			d.settle(name, word, t.Documents, "", base, known)
			for _, written := range it.form.written(t.Target, t.Privilege) {
				wbase, wknown := d.baseline(written)
				d.settle(written, word, t.Documents, "", wbase, wknown)
			}
		}
		return nil, false
	case t.Cause == schemas.CauseUndo && !d.owned && (known && hasWord(base.Token, present) && !base.Made || !known && t.Scheduled):
		return nil, false // access that was there before the request becomes unmanaged again
	}
	target := it.info.target(t.Target.Type)
	if target == nil || !target.Revoke {
		d.unsupported(c.Name, t.Documents, "take a "+t.Target.Type+" from a "+c.Type)
		return have, false
	}
	op := d.op(schemas.OperationRevoke, c.Name, t.Documents)
	op.Target, op.TargetID, op.Privilege, op.Cause = &t.Target, have.TargetID, t.Privilege, t.Cause
	op.NativeID = it.found.NativeID
	op.Privileged = PrivilegedGrant(d.in.Application, *it.info.typ, *target, c.Name, t.Target, t.Privilege)
	d.plan(op, word, t.Documents, base, known)
	return have, false
}
