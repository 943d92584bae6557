package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/countersign/countersign/schemas"
)

// entitlements compares what is wanted and what is to be gone with what is there, all in the order of keys. An edge is
// found by its name, and by the native id that was remembered of it, whatever it is called now.
func (d *differ) entitlements(it *subject) {
	c := it.connection
	e := &edges{}
	if it.found != nil {
		e = d.edgesOf(it.found)
		e.next, e.loose, e.byID = 0, nil, nil // another item may have had them: that of the present name, where it was renamed
	}
	e.desired, e.granted = c.Entitlements, nil
	d.claim(it, e)
	i, j := 0, 0
	for i < len(c.Entitlements) || j < len(c.Tombstones) {
		if j == len(c.Tombstones) || i < len(c.Entitlements) &&
			compareTarget(c.Entitlements[i].Target, c.Entitlements[i].Privilege, c.Tombstones[j].Target, c.Tombstones[j].Privilege) <= 0 {
			d.grant(it, &c.Entitlements[i], e)
			i++
			continue
		}
		d.revoke(it, &c.Tombstones[j], e)
		j++
	}
}

// leftovers treats the live edges of a connection that no request is about, under any spelling.
// The parts of a target that a request grants are implied by it. A live target that is held only as its parts is one
// line, unless a request is about some of them.
func (d *differ) leftovers(it *subject, l *schemas.Connection) {
	e := d.edgesOf(l)
	var container map[int]bool // parts of another line
	if it.info.contains() {
		container = d.unmanagedContainers(it, e)
	}
	for k := range e.live {
		if !e.taken[k] && !container[k] && !e.implied(it.info, e.live[k].Target, e.live[k].Privilege, false) {
			d.leftover(l.Name, it.info, l, &e.live[k])
		}
	}
}

// edges are the live entitlements of one connection, sorted. taken marks those that a request is about.
type edges struct {
	connection *schemas.Connection
	live       []schemas.Entitlement
	taken      []bool
	// loose are the edges that no grant wants by today's name, and byID those of them by their target's id, made when
	// it is first asked for. Usually there are none.
	loose []int
	byID  map[string][]int
	// claimed are the loose edges that a wanted grant has by the remembered id of its target, nil for none.
	claimed map[int]bool
	next    int // where the search for the next name begins
	// desired are the wanted grants. granted are those of targets that contain others, containers the live ones; both are made
	// when first asked for, which is seldom.
	desired             []Entitlement
	granted, containers containers
}

// named returns the range of the edges with a target's name and privilege. It is asked in the order of keys.
func (e *edges) named(target schemas.Name, privilege string) (start, end int) {
	for e.next < len(e.live) && compareTarget(e.live[e.next].Target, e.live[e.next].Privilege, target, privilege) < 0 {
		e.next++
	}
	start = e.next
	for end = start; end < len(e.live) && e.live[end].Privilege == privilege && e.live[end].Target == target; end++ {
	}
	return start, end
}

// withID returns the loose edges whose target has an id.
func (e *edges) withID(id string) []int {
	if e.byID == nil {
		e.byID = map[string][]int{}
		for _, k := range e.loose {
			e.byID[e.live[k].TargetID] = append(e.byID[e.live[k].TargetID], k)
		}
	}
	return e.byID[id]
}

// take marks the edges from start to end.
func (e *edges) take(start, end int) {
	for i := start; i < end; i++ {
		e.taken[i] = true
	}
}

func compareLive(a, b schemas.Entitlement) int {
	return compareTarget(a.Target, a.Privilege, b.Target, b.Privilege)
}

func sortedEntitlements(list []schemas.Entitlement) []schemas.Entitlement {
	if slices.IsSortedFunc(list, compareLive) {
		return list
	}
	list = slices.Clone(list)
	slices.SortStableFunc(list, compareLive)
	return list
}

// pick returns the index of the entitlement with an id: of the only one when the id is "", and -1 where there is none.
// ok is false when there are several and the id is "".
func pick(have []schemas.Entitlement, id string) (at int, ok bool) {
	at = -1
	for i := range have {
		if id == "" || have[i].TargetID == "" || have[i].TargetID == id {
			if at >= 0 {
				return -1, false
			}
			at = i
		}
	}
	return at, true
}

func (d *differ) ambiguous(c schemas.Name, docs []schemas.DocumentID, target schemas.Name, ids []string) {
	slices.Sort(ids)
	d.find(c, docs, schemas.SeverityError, "ambiguous-name", fmt.Sprintf("%s is ambiguous: %d have this name: %s", target, len(ids), strings.Join(ids, ", ")), "set source_id to the one you mean")
}

func targetIDs(have []schemas.Entitlement) []string {
	var ids []string
	for i := range have {
		ids = append(ids, have[i].TargetID)
	}
	return ids
}

// grant compares one wanted entitlement with the live edges.
func (d *differ) grant(it *subject, e *Entitlement, live *edges) {
	c, app := it.connection, d.in.Application
	if d.unread(it, e.Target) {
		return
	}
	start, end := live.named(e.Target, e.Privilege)
	at, ok := pick(live.live[start:end], e.TargetID)
	var have *schemas.Entitlement
	if at >= 0 {
		have = &live.live[start+at]
		live.take(start+at, start+at+1)
	}
	target := it.info.target(e.Target.Type)
	switch {
	case !ok:
		live.take(start, end)
		d.ambiguous(c.Name, e.Documents, e.Target, targetIDs(live.live[start:end]))
		return
	case it.form.refused(e.Target, e.Privilege) != nil:
		d.find(c.Name, e.Documents, schemas.SeverityError, "refused-by-application", it.form.refused(e.Target, e.Privilege).Error(), "correct the request")
		return
	case target == nil:
		d.find(c.Name, e.Documents, schemas.SeverityError, "unknown-target-type", fmt.Sprintf("a %s cannot be granted to a %s", e.Target.Type, c.Type), "")
		return
	case len(target.Privileges) > 0 && !slices.Contains(target.Privileges, e.Privilege):
		d.find(c.Name, e.Documents, schemas.SeverityError, "unknown-privilege", fmt.Sprintf("unknown privilege %s on a %s", e.Privilege, e.Target.Type),
			"the privileges are "+strings.Join(target.Privileges, ", "))
		return
	case target.Edge != schemas.EdgeResource && e.Target == c.Name:
		d.find(c.Name, e.Documents, schemas.SeverityError, "self-grant", c.String()+" cannot be a member of itself", "remove the grant")
		return
	case !d.grantable(target, e.Target):
		d.find(c.Name, e.Documents, schemas.SeverityError, "not-grantable", fmt.Sprintf("%s may not be granted in %s", e.Target, app.Name),
			"an owner widens spec.grantable in a pull request of its own")
		return
	}
	key := schemas.Key{Connection: c.Name, Target: e.Target, Privilege: e.Privilege}
	name := EntitlementItem(key)
	base, known := d.baseline(name)
	if have != nil {
		switch {
		case have.State != "":
			d.pending(key, have.State)
		case target.Edge == schemas.EdgeIdentity && d.nested(e.Target):
			d.notIdentity(c.Name, e)
		case base.NativeID != "" && have.TargetID != "" && base.NativeID != have.TargetID && !d.assert.changed(base, known, present, e.Documents):
			d.otherID(it, e, key, base.NativeID, have.TargetID)
		default:
			d.settle(name, present, e.Documents, have.TargetID, base, known)
			for _, written := range it.form.written(e.Target, e.Privilege) {
				wbase, wknown := d.baseline(written)
				d.settle(written, present, e.Documents, have.TargetID, wbase, wknown)
			}
		}
		return
	}
	verified := known && !d.assert.changed(base, known, present, e.Documents)
	if verified && d.renamed(it, e, base, live) {
		return
	}
	if d.heldByMirror(it, e, base, known) {
		return
	}
	id, ok := d.target(it, e, target, key, verified)
	if !ok {
		return
	}
	if !target.Grant {
		d.unsupported(c.Name, e.Documents, "grant a "+e.Target.Type+" to a "+c.Type)
		return
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
	d.holdRenamed(op, it)
	if verified {
		d.holdIdentity(op, it.identity, it.base.NativeID, op.NativeID)
		d.holdIdentity(op, base.NativeID != "" && id != "" && base.NativeID != id, base.NativeID, id)
	}
	d.plan(op, present, e.Documents, base, known)
}

// otherID finds a grant that is live with another id than it was verified with.
func (d *differ) otherID(it *subject, e *Entitlement, key schemas.Key, was, is string) {
	d.find(it.connection.Name, e.Documents, schemas.SeverityError, "other-id", fmt.Sprintf("%s had id %s when %s was verified and has %s now", e.Target, was, key, is),
		"approve it again in a new request, or revoke it")
	d.out.OtherIDs++
}

func (d *differ) pending(key schemas.Key, state schemas.EntitlementState) {
	d.out.Plan.Pending = append(d.out.Plan.Pending, schemas.PendingEntitlement{Key: key, State: state})
}

// nested reports whether the application was asked about the name and told that it has members of its own.
func (d *differ) nested(n schemas.Name) bool {
	return d.in.Targets != nil && slices.ContainsFunc(d.in.Targets[n], func(i schemas.Item) bool { return i.Connection })
}

func (d *differ) notIdentity(c schemas.Name, e *Entitlement) {
	d.find(c, e.Documents, schemas.SeverityError, "not-an-identity", fmt.Sprintf("%s has members of its own: it is not a plain %s", e.Target.SourceName, e.Target.Type),
		"grant it as the connection that it is, so that its members show")
}

// target finds the one target that is meant, and its id where the application told. verified means that the grant was in
// force once and nothing was approved since.
func (d *differ) target(it *subject, e *Entitlement, target *schemas.GrantableType, key schemas.Key, verified bool) (id string, ok bool) {
	c := it.connection
	if d.in.Targets == nil {
		return e.TargetID, true
	}
	found := d.in.Targets[e.Target]
	if e.TargetID != "" {
		found = slices.DeleteFunc(slices.Clone(found), func(i schemas.Item) bool { return i.NativeID != e.TargetID })
	}
	_, made := d.made[e.Target]
	switch {
	case len(found) == 0 && made:
		return e.TargetID, true // a creation in this plan makes it
	case len(found) == 0 && verified:
		d.vanished(it, e, target)
	case len(found) == 0:
		d.find(c.Name, e.Documents, schemas.SeverityError, "target-not-found", fmt.Sprintf("%s does not exist in %s", e.Target, d.in.Application.Name), "correct the name, or make it first")
		d.about(e.Target)
	case len(found) > 1:
		var ids []string
		for _, f := range found {
			ids = append(ids, f.NativeID)
		}
		d.ambiguous(c.Name, e.Documents, e.Target, ids)
	case found[0].Protected != "":
		d.find(c.Name, e.Documents, schemas.SeverityError, "protected", fmt.Sprintf("%s is never given: %s", e.Target, found[0].Protected), "")
	case target.Edge == schemas.EdgeIdentity && found[0].Connection:
		d.notIdentity(c.Name, e)
	case found[0].State == schemas.StateBlocked || found[0].State == schemas.StateExpired:
		d.pending(key, found[0].State)
	default:
		return found[0].NativeID, true
	}
	return "", false
}
