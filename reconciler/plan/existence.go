package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/countersign/countersign/schemas"
)

// existence plans creation, update and deletion, and reports whether entitlements are to be compared.
func (d *differ) existence(it *subject) {
	if it.info == nil || !d.identify(it) {
		return
	}
	switch it.connection.Existence {
	case Present:
		it.open = d.present(it)
	case Deleted, Undone:
		it.open = d.absent(it)
	case Unspecified:
		it.open = d.foreign(it)
	}
}

// identify finds the one live connection that is meant, and reports whether it may be touched.
func (d *differ) identify(it *subject) bool {
	c, app, docs := it.connection, d.in.Application, it.connection.documents()
	if !it.info.known {
		d.find(c.Name, docs, schemas.SeverityError, "unknown-type", fmt.Sprintf("%s doesn't have connections of type %s", app.Spec.Connector, c.Type),
			"the types are "+strings.Join(typeNames(d.in.Description), ", "))
		return false
	}
	if !d.inScope(c.Name) {
		d.find(c.Name, docs, schemas.SeverityError, "out-of-scope", c.String()+" is not in the scope of "+app.Name,
			"an owner widens spec.scope in a pull request of its own, or the request names another connection")
		return false
	}
	if it.form != nil && it.form.err != nil {
		d.find(c.Name, docs, schemas.SeverityError, "refused-by-application", it.form.err.Error(), "correct the request")
		return false
	}
	live := it.live
	if len(live) > 1 {
		i := slices.IndexFunc(live, func(l *schemas.Connection) bool { return c.SourceID != "" && l.NativeID == c.SourceID })
		if i < 0 {
			var ids []string
			for _, l := range live {
				ids = append(ids, l.NativeID)
			}
			slices.Sort(ids)
			d.find(c.Name, docs, schemas.SeverityError, "ambiguous-name", fmt.Sprintf("%s is ambiguous: %d connections have this name: %s", c.Name, len(live), strings.Join(ids, ", ")),
				"set source_id to the one you mean")
			return false
		}
		live = live[i : i+1]
	}
	if len(live) == 1 {
		it.found = live[0]
		if c.SourceID != "" && c.SourceID != it.found.NativeID {
			d.find(c.Name, docs, schemas.SeverityError, "other-id", fmt.Sprintf("%s has the id %s, the request names %s", c.Name, it.found.NativeID, c.SourceID),
				"correct source_id, or leave it out")
			return false
		}
	}
	it.base, it.known = d.baseline(ConnectionItem(c.Name))
	if !d.follow(it) {
		return false
	}
	if it.known && hasWord(it.base.Token, present) {
		d.known++
		if it.found == nil {
			d.missing++
		}
	}
	if it.found == nil {
		return true
	}
	if it.found.Protected != "" {
		d.find(c.Name, docs, schemas.SeverityError, "protected", c.String()+" is never changed: "+it.found.Protected, "")
		return false
	}
	it.identity = !it.renamed && it.known && !hasWord(it.base.Token, absent) && it.base.NativeID != "" && it.found.NativeID != "" && it.base.NativeID != it.found.NativeID &&
		(c.Existence != Present || !d.assert.changed(it.base, it.known, present, c.Documents))
	if it.identity {
		d.out.OtherIDs++
	}
	if it.identity && (c.Existence == Present || c.Existence == Unspecified) {
		d.find(c.Name, docs, schemas.SeverityError, "other-id", fmt.Sprintf("%s had id %s when it was verified and has %s now", c.Name, it.base.NativeID, it.found.NativeID),
			"find out who replaced it, and approve it again with a ConnectionCreation")
	}
	return true
}

func (d *differ) present(it *subject) bool {
	c, l, typ := it.connection, it.found, it.info.typ
	if it.renamed {
		return true // it is there, and is changed again once a request has its present name
	}
	if l == nil {
		want := d.want(it)
		if !typ.Create {
			d.unsupported(c.Name, c.Documents, "create "+c.String())
			return false
		}
		op := d.op(schemas.OperationCreate, c.Name, c.Documents)
		op.After, op.Provisioning = want, c.Provisioning
		op.Privileged = PrivilegedConnection(d.in.Application, *typ, c.Name) || len(privilegedFields(it.info, want)) > 0
		d.plan(op, present, c.Documents, it.base, it.known)
		if d.made == nil {
			d.made = map[schemas.Name]bool{}
		}
		d.made[c.Name] = op.Cause != schemas.CauseDrift
		return true
	}
	d.settle(ConnectionItem(c.Name), present, c.Documents, l.NativeID, it.base, it.known)
	before, after := d.attributes(it)
	docs := c.Documents[len(c.Documents)-1:]
	base, known := d.baseline(PayloadItem(c.Name))
	if len(after) == 0 {
		d.settle(PayloadItem(c.Name), present, docs, "", base, known)
		return true
	}
	if !typ.Update {
		d.unsupported(c.Name, docs, "change attributes of "+c.String())
		return true
	}
	op := d.op(schemas.OperationUpdate, c.Name, docs)
	op.NativeID, op.Before, op.After, op.Provisioning = l.NativeID, before, after, c.Provisioning
	op.Privileged = PrivilegedConnection(d.in.Application, *typ, c.Name) || len(privilegedFields(it.info, after)) > 0
	d.holdIdentity(op, it.identity, it.base.NativeID, l.NativeID)
	d.plan(op, present, docs, base, known)
	return true
}

func (d *differ) absent(it *subject) bool {
	c, l, typ := it.connection, it.found, it.info.typ
	if l == nil {
		if c.Existence == Deleted || it.known {
			d.settle(ConnectionItem(c.Name), absent, c.Documents, "", it.base, it.known)
		}
		// What was to be taken from the connection went with it.
		for i := range c.Tombstones {
			t := &c.Tombstones[i]
			item := EntitlementItem(schemas.Key{Connection: c.Name, Target: t.Target, Privilege: t.Privilege})
			base, known := d.baseline(item)
			d.settle(item, absentFor(t.Cause), t.Documents, "", base, known)
		}
		return false
	}
	if it.renamed && it.today != nil {
		if c.Existence == Undone {
			d.settle(ConnectionItem(c.Name), absent, c.Documents, "", it.base, it.known)
		}
		return true // the requests with its present name decide about it
	}
	if c.Existence == Undone && !d.owned {
		switch {
		case it.known && hasWord(it.base.Token, present) && it.base.Made:
		case it.known && !hasWord(it.base.Token, absent):
			return true // it was there before us
		default:
			d.find(c.Name, c.Documents, schemas.SeverityWarning, "undone-unknown", c.String()+" is there, its creation was undone, and the ledger doesn't show who made it",
				"add a ConnectionDeletion to delete it")
			return true
		}
	}
	if !typ.Delete {
		d.unsupported(c.Name, c.Documents, "delete "+c.String())
		return false
	}
	if c.ReassignTo != "" && !typ.Reassign {
		d.find(c.Name, c.Documents, schemas.SeverityError, "unsupported", d.in.Description.Title+" cannot hand over what "+c.String()+" owns (reassign_to)",
			"leave reassign_to out, where it owns nothing or its owners hand that over by hand")
		return false
	}
	op := d.op(schemas.OperationDelete, l.Name, c.Documents)
	if it.renamed {
		op.WrittenConnection = &c.Name
	}
	op.NativeID, op.Before, op.ReassignTo, op.Provisioning = l.NativeID, l.Payload, c.ReassignTo, c.Provisioning
	op.Privileged = PrivilegedConnection(d.in.Application, *typ, c.Name)
	if c.Existence == Undone || c.Reverted {
		op.Cause = schemas.CauseUndo
	}
	if it.identity && c.SourceID == "" {
		op.Hold = schemas.HoldIdentity
		op.HoldReason = fmt.Sprintf("the name had id %s when it was verified and has %s now: set source_id to the one to delete", it.base.NativeID, l.NativeID)
		op.HoldExplained = true
	}
	d.plan(op, absent, c.Documents, it.base, it.known)
	return false
}

// foreign is for connections whose existence is not ours: it binds the native id at the first verification.
func (d *differ) foreign(it *subject) bool {
	c := it.connection
	if it.found == nil {
		if len(c.Entitlements) > 0 {
			d.find(c.Name, c.documents(), schemas.SeverityError, "no-connection", c.String()+" does not exist in "+d.in.Application.Name,
				"create it with a ConnectionCreation, or correct the name")
		}
		return false
	}
	if !it.renamed && (!it.known || hasWord(it.base.Token, absent)) {
		d.settle(ConnectionItem(c.Name), foreign, nil, it.found.NativeID, it.base, it.known)
	}
	return true
}

func (d *differ) unsupported(c schemas.Name, docs []schemas.DocumentID, what string) {
	d.find(c, docs, schemas.SeverityError, "unsupported", d.in.Description.Title+" cannot "+what+" through this connector", "ask the application's owners to do it by hand")
}

// holdRenamed holds what would be given to a connection that has another name now.
func (d *differ) holdRenamed(op *schemas.Operation, it *subject) {
	if it.renamed {
		op.Hold = schemas.HoldIdentity
		op.HoldReason = fmt.Sprintf("%s is %s now: request it under that name", it.connection.Name, it.found.Name)
	}
}

func (d *differ) holdIdentity(op *schemas.Operation, identity bool, was, is string) {
	if identity {
		d.out.OtherIDs++
		op.Hold = schemas.HoldIdentity
		op.HoldReason = fmt.Sprintf("the name had id %s when it was verified and has %s now: approve it again in a new request", was, is)
		op.HoldExplained = true
	}
}

// want is the payload as the schema completes it, in the application's form.
func (d *differ) want(it *subject) map[string]any {
	if !it.has {
		it.want, it.has = it.info.complete(it.connection.Payload), true
	}
	return it.want
}

func (c *Connection) documents() []schemas.DocumentID {
	if len(c.Documents) > 0 {
		return c.Documents
	}
	for _, e := range c.Entitlements {
		return e.Documents
	}
	for _, t := range c.Tombstones {
		return t.Documents
	}
	return nil
}

func typeNames(desc schemas.Description) []string {
	var names []string
	for _, t := range desc.Types {
		names = append(names, t.Name)
	}
	return names
}
