package plan

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// What the diff makes of a connection (scope, mode and holds apart). The baseline says what was verified
// before: made by an operation of ours, or adopted, found as it should be.
//
//	desired       live               baseline         plan
//	present       –                  –                create, with defaults for what is absent
//	present       –                  present          create, as drift
//	present       same               –                nothing; remembered as adopted
//	present       other attributes   –                update of what differs; what live does not know is left alone
//	present       other id           present          nothing; a finding, and grants wait until approved anew
//	deleted       there              any              delete
//	deleted       other id           present          delete, held for its identity unless source_id names it
//	undone        there              made             delete, for an undo
//	undone        there              adopted          nothing: it goes back to whoever managed it
//	undone        there              –                nothing; a finding
//	unspecified   –                  any              a finding, when something is granted
//	any           two of the name    any              a finding, unless source_id says which
//	any           protected          any              a finding
//
// And of an entitlement:
//
//	desired             live       baseline         plan
//	yes                 –          –                grant
//	yes                 –          the same words   grant, as drift, unless the connection is made anew as well
//	yes                 there      –                nothing; remembered as adopted
//	yes                 invited    any              nothing; pending
//	yes                 other id   present          nothing; a finding
//	tombstone, request  there      any              revoke
//	tombstone, expiry   there      any              revoke
//	tombstone, undo     there      made             revoke
//	tombstone, undo     there      adopted          nothing: it is unmanaged again
//	tombstone, undo     there      –                revoke: the requests say that it was granted
//	tombstone           –          any              nothing; remembered
//	never mentioned     there      any              unmanaged: nothing, a line in the report, or revoke

// Input is everything that a Diff depends on.
type Input struct {
	Application *schemas.Application
	Description connectors.Description
	Desired     *Desired
	// Live is what the application holds: at least every connection that Desired names, and for unmanaged
	// access every connection in scope.
	Live connectors.State
	// Normalize is the connector's pure Normalize; nil leaves states as they are.
	Normalize func(connectors.State) (connectors.State, error)
	// Targets are what the application answered about the targets that are to be granted; a name that is
	// missing does not exist. Nil means that nobody asked: every target is taken to exist.
	Targets map[schemas.Name][]connectors.Item
	// Baseline tells what was seen to be as desired before. Nil knows nothing.
	Baseline func(item string) (schemas.BaselineItem, bool)
	Now      time.Time
}

// Result is an application's plan with what a run has to remember of it.
type Result struct {
	Plan schemas.ApplicationPlan
	// Settled are the items that are as desired without an operation, with the tokens to remember: adopted
	// where the baseline does not have them yet. Only those that differ from the baseline are listed, by
	// connection. From a read that is not whole nothing is settled as absent.
	Settled []schemas.BaselineItem
	// Tokens are the tokens that the plan's operations settle, by operation id.
	Tokens map[string]string
	// Shrunken says that most of what was there at the last verification is gone from the live state.
	Shrunken bool
}

// Diff says which operations take the application from live to desired. Operations are in the order in
// which they can be carried out; Hold decides which of them wait.
func Diff(in Input) Result { return diff(in, false) }

// diff is Diff; owned takes everything that is there to be made by earlier requests, and asks no baseline.
func diff(in Input, owned bool) Result {
	d := differ{in: in, owned: owned, types: newTypes(in.Description), out: Result{Tokens: map[string]string{}}}
	p := &d.out.Plan
	p.Application, p.Mode, p.Connector = in.Application.Name, in.Application.Spec.Mode, in.Application.Spec.Connector
	p.Findings = slices.Clone(in.Desired.Findings)
	p.Incomplete = in.Live.Incomplete
	p.Operations = []schemas.Operation{}
	d.live = sortedLive(in.Live.Connections)
	d.normalize()
	spoken := d.match()
	for i := range d.items {
		d.existence(&d.items[i])
	}
	for i := range d.items {
		if it := &d.items[i]; it.open {
			d.entitlements(it)
		}
	}
	d.unmanaged(spoken)
	d.depend()
	d.brake()
	sortOperations(p.Operations)
	slices.SortFunc(p.Unmanaged, schemas.Key.Compare)
	slices.SortFunc(p.Pending, func(a, b schemas.PendingEntitlement) int { return a.Key.Compare(b.Key) })
	return d.out
}

type differ struct {
	in       Input
	owned    bool
	types    types
	live     []*connectors.Connection // sorted by name
	items    []subject
	made     map[schemas.Name]bool // connections that the plan creates; true when not as drift
	grants   grantable
	assert   assertion
	scope    []string // the patterns of scopeType
	scopeFor string
	out      Result
	known    int // connections that were verified to be there
	missing  int // those of them that are not in live
}

// subject is one desired connection on its way through the diff.
type subject struct {
	// c is in the application's own spelling; the others of the same spelling are in no item.
	c    *Connection
	form *form // nil where the requests are spelt as the application has it
	want map[string]any
	has  bool // want is known
	info *typeInfo
	l    *connectors.Connection
	live []*connectors.Connection
	base schemas.BaselineItem
	// known says that base is known, identity that the name stood for another id when it was verified and
	// nothing was approved since.
	known, identity bool
	open            bool // its entitlements are to be compared
}

func sortedLive(list []connectors.Connection) []*connectors.Connection {
	out := make([]*connectors.Connection, len(list))
	for i := range list {
		out[i] = &list[i]
	}
	byName := func(a, b *connectors.Connection) int { return a.Name.Compare(b.Name) }
	if !slices.IsSortedFunc(out, byName) {
		slices.SortStableFunc(out, byName)
	}
	return out
}

// match finds the live connections of each item, and says which of d.live any request speaks of.
func (d *differ) match() (spoken []bool) {
	spoken = make([]bool, len(d.live))
	i := 0
	for j := range d.items {
		it := &d.items[j]
		for i < len(d.live) && d.live[i].Compare(it.c.Name) < 0 {
			i++
		}
		start := i
		for i < len(d.live) && d.live[i].Name == it.c.Name {
			spoken[i] = true
			i++
		}
		it.live = d.live[start:i]
		i = start // two items may share a name only by a fault that was found already
	}
	return spoken
}

// brake tells a read that went wrong from somebody's work: a handful missing is work, most of everything
// is not, and of a few connections all.
func (d *differ) brake() {
	p := &d.out.Plan
	d.out.Shrunken = !d.owned && p.Incomplete == "" &&
		(d.missing >= 10 && d.missing*2 > d.known || d.missing >= 3 && d.missing == d.known)
	if p.Incomplete == "" && !d.out.Shrunken {
		return
	}
	if d.out.Shrunken {
		p.Findings = append(p.Findings, schemas.Finding{Code: "shrunken-read", Severity: schemas.SeverityError, Application: p.Application,
			Message: fmt.Sprintf("%d of %d connections that were verified before are missing from what was read", d.missing, d.known),
			Fix:     "see whether the credential or the address is the wrong one"})
	}
	// What was not seen may be there all the same.
	d.out.Settled = slices.DeleteFunc(d.out.Settled, func(b schemas.BaselineItem) bool { return strings.HasPrefix(b.Token, "absent") })
	p.Findings = slices.DeleteFunc(p.Findings, func(f schemas.Finding) bool { return f.Code == "no-connection" })
}

func (d *differ) find(c schemas.Name, docs []schemas.DocumentID, severity schemas.Severity, code, message, fix string) {
	f := schemas.Finding{Code: code, Severity: severity, Message: message, Fix: fix,
		Application: d.in.Application.Name, Connection: c}
	if len(docs) > 0 {
		f.Document = docs[len(docs)-1]
	}
	d.out.Plan.Findings = append(d.out.Plan.Findings, f)
}

func (d *differ) baseline(item string) (schemas.BaselineItem, bool) {
	if d.in.Baseline == nil {
		return schemas.BaselineItem{}, false
	}
	return d.in.Baseline(item)
}

// InScope says whether the application manages the connection.
func InScope(app *schemas.Application, n schemas.Name) bool {
	return connectors.Match(app.Spec.Scope[n.Type], n.SourceName)
}

// inScope is InScope for names that come sorted by type.
func (d *differ) inScope(n schemas.Name) bool {
	if d.scope == nil || d.scopeFor != n.Type {
		d.scope, d.scopeFor = d.in.Application.Spec.Scope[n.Type], n.Type
	}
	return connectors.Match(d.scope, n.SourceName)
}

// Grantable says whether the application lets the target be given to a connection of the type: connections
// when they are in scope or named, identities unless others are named, resources when they are named.
func Grantable(app *schemas.Application, target connectors.GrantableType, n schemas.Name) bool {
	patterns, named := app.Spec.Grantable[n.Type]
	switch target.Edge {
	case connectors.EdgeIdentity:
		return !named || connectors.Match(patterns, n.SourceName)
	case connectors.EdgeConnection, connectors.EdgeMember:
		return InScope(app, n) || connectors.Match(patterns, n.SourceName)
	}
	return connectors.Match(patterns, n.SourceName)
}

// grantable remembers the last answers: entitlements come sorted by target.
type grantable struct {
	edge connectors.Edge
	n    schemas.Name
	ok   bool
}

func (d *differ) grantable(target *connectors.GrantableType, n schemas.Name) bool {
	if g := &d.grants; g.n != n || g.edge != target.Edge {
		*g = grantable{target.Edge, n, Grantable(d.in.Application, *target, n)}
	}
	return d.grants.ok
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

func typeNames(desc connectors.Description) []string {
	var names []string
	for _, t := range desc.Types {
		names = append(names, t.Name)
	}
	return names
}

// existence plans creation, update and deletion, and says whether entitlements are to be compared.
func (d *differ) existence(it *subject) {
	if it.info == nil || !d.identify(it) {
		return
	}
	switch it.c.Existence {
	case Present:
		it.open = d.present(it)
	case Deleted, Undone:
		it.open = d.absent(it)
	case Unspecified:
		it.open = d.foreign(it)
	}
}

// identify finds the one live connection that is meant, and says whether it may be touched.
func (d *differ) identify(it *subject) bool {
	c, app, docs := it.c, d.in.Application, it.c.documents()
	if !it.info.known {
		d.find(c.Name, docs, schemas.SeverityError, "unknown-type", fmt.Sprintf("%s has no connections of type %s", app.Spec.Connector, c.Type),
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
		i := slices.IndexFunc(live, func(l *connectors.Connection) bool { return c.SourceID != "" && l.NativeID == c.SourceID })
		if i < 0 {
			var ids []string
			for _, l := range live {
				ids = append(ids, l.NativeID)
			}
			slices.Sort(ids)
			d.find(c.Name, docs, schemas.SeverityError, "ambiguous-name", fmt.Sprintf("%s stands for %d connections: %s", c.Name, len(live), strings.Join(ids, ", ")),
				"say which with source_id")
			return false
		}
		live = live[i : i+1]
	}
	if len(live) == 1 {
		it.l = live[0]
		if c.SourceID != "" && c.SourceID != it.l.NativeID {
			d.find(c.Name, docs, schemas.SeverityError, "other-id", fmt.Sprintf("%s has the id %s, the request names %s", c.Name, it.l.NativeID, c.SourceID),
				"correct source_id, or leave it out")
			return false
		}
	}
	it.base, it.known = d.baseline(ConnectionItem(c.Name))
	if it.known && says(it.base.Token, present) {
		d.known++
		if it.l == nil {
			d.missing++
		}
	}
	if it.l == nil {
		return true
	}
	if it.l.Protected != "" {
		d.find(c.Name, docs, schemas.SeverityError, "protected", c.String()+" is never changed: "+it.l.Protected, "")
		return false
	}
	it.identity = it.known && !says(it.base.Token, absent) && it.base.NativeID != "" && it.l.NativeID != "" && it.base.NativeID != it.l.NativeID &&
		(c.Existence != Present || !d.assert.anew(it.base, it.known, present, c.Documents))
	if it.identity && (c.Existence == Present || c.Existence == Unspecified) {
		d.find(c.Name, docs, schemas.SeverityError, "other-id", fmt.Sprintf("%s stood for id %s when it was verified and stands for %s now", c.Name, it.base.NativeID, it.l.NativeID),
			"find out who replaced it, and approve it anew with a ConnectionCreation")
	}
	return true
}

func (d *differ) present(it *subject) bool {
	c, l, typ := it.c, it.l, it.info.typ
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
	c, l, typ := it.c, it.l, it.info.typ
	if l == nil {
		if c.Existence == Deleted || it.known {
			d.settle(ConnectionItem(c.Name), absent, c.Documents, "", it.base, it.known)
		}
		return false
	}
	if c.Existence == Undone && !d.owned {
		switch {
		case it.known && says(it.base.Token, present) && it.base.Made:
		case it.known && !says(it.base.Token, absent):
			return true // it was there before us
		default:
			d.find(c.Name, c.Documents, schemas.SeverityWarning, "undone-unknown", c.String()+" is there, its creation was undone, and no record says that we made it",
				"delete it with a ConnectionDeletion if it shall go")
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
	op := d.op(schemas.OperationDelete, c.Name, c.Documents)
	op.NativeID, op.Before, op.ReassignTo, op.Provisioning = l.NativeID, l.Payload, c.ReassignTo, c.Provisioning
	op.Privileged = PrivilegedConnection(d.in.Application, *typ, c.Name)
	if c.Existence == Undone || c.Reverted {
		op.Cause = schemas.CauseUndo
	}
	if it.identity && c.SourceID == "" {
		op.Hold = schemas.HoldIdentity
		op.HoldReason = fmt.Sprintf("the name stood for id %s when it was verified and stands for %s now: name the one that shall go with source_id", it.base.NativeID, l.NativeID)
	}
	d.plan(op, absent, c.Documents, it.base, it.known)
	return false
}

// foreign is for connections whose existence is not ours: it binds the native id at the first verification.
func (d *differ) foreign(it *subject) bool {
	c := it.c
	if it.l == nil {
		if len(c.Entitlements) > 0 {
			d.find(c.Name, c.documents(), schemas.SeverityError, "no-connection", c.String()+" does not exist in "+d.in.Application.Name,
				"create it with a ConnectionCreation, or correct the name")
		}
		return false
	}
	if !it.known || says(it.base.Token, absent) {
		d.settle(ConnectionItem(c.Name), foreign, nil, it.l.NativeID, it.base, it.known)
	}
	return true
}

func (d *differ) unsupported(c schemas.Name, docs []schemas.DocumentID, what string) {
	d.find(c, docs, schemas.SeverityError, "unsupported", d.in.Description.Title+" cannot "+what+" through this connector", "ask the application's owners to do it by hand")
}

func (d *differ) holdIdentity(op *schemas.Operation, identity bool, was, is string) {
	if identity {
		op.Hold = schemas.HoldIdentity
		op.HoldReason = fmt.Sprintf("the name stood for id %s when it was verified and stands for %s now: approve it anew in a new request", was, is)
	}
}

// want is the payload as the schema completes it, in the application's form.
func (d *differ) want(it *subject) map[string]any {
	if !it.has {
		it.want, it.has = it.info.complete(it.c.Payload), true
	}
	return it.want
}

// attributes are those that differ, as they are and as they shall be. An attribute that live does not
// know is left alone.
func (d *differ) attributes(it *subject) (before, after map[string]any) {
	compare := func(k string, want any) {
		l, ok := it.l.Payload[k]
		if !ok || equalValue(want, l) {
			return
		}
		if after == nil {
			before, after = map[string]any{}, map[string]any{}
		}
		before[k], after[k] = l, want
	}
	if it.has {
		for k, w := range it.want {
			compare(k, w)
		}
		return before, after
	}
	// The completed payload without building it: almost always nothing differs.
	for k, w := range it.info.payloadDefaults() {
		if _, written := it.c.Payload[k]; !written {
			compare(k, w)
		}
	}
	for k, w := range it.c.Payload {
		if w != nil {
			compare(k, w)
		}
	}
	return before, after
}

// equalValue compares values as JSON does: 1 and 1.0 are one number.
func equalValue(a, b any) bool {
	switch a := a.(type) {
	case string:
		b, ok := b.(string)
		return ok && a == b
	case bool:
		b, ok := b.(bool)
		return ok && a == b
	case int:
		if b, ok := b.(int); ok {
			return a == b
		}
	}
	if x, ok := number(a); ok {
		y, ok := number(b)
		return ok && x == y
	}
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && string(x) == string(y)
}

func number(v any) (float64, bool) {
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return float64(r.Int()), true
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return float64(r.Uint()), true
	case reflect.Float32, reflect.Float64:
		return r.Float(), true
	}
	return 0, false
}

func (d *differ) op(kind schemas.OperationKind, c schemas.Name, docs []schemas.DocumentID) *schemas.Operation {
	return &schemas.Operation{
		Kind: kind, Application: d.in.Application.Name, Connection: c, Documents: docs, Cause: schemas.CauseRequest,
		Provisioning: d.in.Application.Spec.Provisioning,
	}
}

// plan adds the operation with its id. It is drift when everything that asks for it was verified before.
func (d *differ) plan(op *schemas.Operation, word string, docs []schemas.DocumentID, base schemas.BaselineItem, known bool) {
	if op.Provisioning == "" {
		op.Provisioning = d.in.Application.Spec.Provisioning
	}
	op.ID = operationID(op.Application, op.Kind, OperationItem(op))
	// What a connection was given went with it: made anew, it is given anew.
	if op.Cause != schemas.CauseUnmanaged && !d.made[op.Connection] && !d.assert.anew(base, known, word, docs) {
		op.Cause = schemas.CauseDrift
	}
	d.out.Tokens[op.ID] = d.assert.token(word, docs)
	d.out.Plan.Operations = append(d.out.Plan.Operations, *op)
}

// settle remembers an item that is as desired, unless the baseline has it so already.
func (d *differ) settle(item, word string, docs []schemas.DocumentID, native string, base schemas.BaselineItem, known bool) {
	tok := d.assert.token(word, docs)
	if d.owned || known && base.Token == tok && (native == "" || base.NativeID != "") {
		return
	}
	s := schemas.BaselineItem{Item: item, Token: tok, NativeID: native}
	if known && word != foreign && says(base.Token, present) == (word == present) && !says(base.Token, foreign) {
		// Who made a thing stays known through later requests about it. Having made it absent says nothing
		// about who makes it present again.
		s.Made = base.Made
	}
	if !d.assert.anew(base, known, word, docs) && base.NativeID != "" {
		s.NativeID = base.NativeID // the id that was bound first, until somebody approves anew
	}
	d.out.Settled = append(d.out.Settled, s)
}

// entitlements walks what is wanted, what is to be gone and what is there, all in the order of keys.
func (d *differ) entitlements(it *subject) {
	c := it.c
	var live []connectors.Entitlement
	if it.l != nil {
		live = sortedEntitlements(it.l.Entitlements)
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
				d.leftover(c.Name, it.info, it.l, e)
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

// pick returns the entitlement that an id means: the only one when there is no id. ok is false when there
// are several and no id says which.
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
	d.find(c, docs, schemas.SeverityError, "ambiguous-name", fmt.Sprintf("%s stands for %d: %s", target, len(ids), strings.Join(ids, ", ")), "say which with source_id")
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
	c, app := it.c, d.in.Application
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
		d.find(c.Name, e.Documents, schemas.SeverityError, "unknown-privilege", fmt.Sprintf("%s is no privilege on a %s", e.Privilege, e.Target.Type),
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
		case base.NativeID != "" && have.TargetID != "" && base.NativeID != have.TargetID && !d.assert.anew(base, known, present, e.Documents):
			d.find(c.Name, e.Documents, schemas.SeverityError, "other-id", fmt.Sprintf("%s stood for id %s when %s was verified and stands for %s now", e.Target, base.NativeID, key, have.TargetID),
				"approve it anew in a new request, or revoke it")
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
	if it.l != nil {
		op.NativeID = it.l.NativeID
	}
	if e.Started {
		op.Cause = schemas.CauseStart
	}
	op.Privileged = PrivilegedGrant(app, *it.info.typ, *target, c.Name, e.Target, e.Privilege)
	if !d.assert.anew(base, known, present, e.Documents) {
		d.holdIdentity(op, it.identity, it.base.NativeID, op.NativeID)
		d.holdIdentity(op, base.NativeID != "" && id != "" && base.NativeID != id, base.NativeID, id)
	}
	d.plan(op, present, e.Documents, base, known)
	return nil, false
}

func (d *differ) pending(key schemas.Key, state schemas.EntitlementState) {
	d.out.Plan.Pending = append(d.out.Plan.Pending, schemas.PendingEntitlement{Key: key, State: state})
}

// nested says whether the application was asked about the name and told that it has members of its own.
func (d *differ) nested(n schemas.Name) bool {
	return d.in.Targets != nil && slices.ContainsFunc(d.in.Targets[n], func(i connectors.Item) bool { return i.Connection })
}

func (d *differ) notIdentity(c schemas.Name, e *Entitlement) {
	d.find(c, e.Documents, schemas.SeverityError, "not-an-identity", fmt.Sprintf("%s has members of its own: it is no plain %s", e.Target.SourceName, e.Target.Type),
		"grant it as the connection that it is, so that its members show")
}

// target finds the one target that is meant, and its id where the application told.
func (d *differ) target(it *subject, e *Entitlement, target *connectors.GrantableType, key schemas.Key) (id string, ok bool) {
	c := it.c
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
	c := it.c
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
	case t.Cause == schemas.CauseUndo && !d.owned && (known && says(base.Token, present) && !base.Made || !known && t.Scheduled):
		return nil, false // what was there before the request came is given back to whoever managed it
	}
	target := it.info.target(t.Target.Type)
	if target == nil || !target.Revoke {
		d.unsupported(c.Name, t.Documents, "take a "+t.Target.Type+" from a "+c.Type)
		return have, false
	}
	op := d.op(schemas.OperationRevoke, c.Name, t.Documents)
	op.Target, op.TargetID, op.Privilege, op.Cause = &t.Target, have.TargetID, t.Privilege, t.Cause
	op.NativeID = it.l.NativeID
	op.Privileged = PrivilegedGrant(d.in.Application, *it.info.typ, *target, c.Name, t.Target, t.Privilege)
	d.plan(op, word, t.Documents, base, known)
	return have, false
}

// leftover treats an entitlement that no request speaks of.
func (d *differ) leftover(name schemas.Name, info *typeInfo, l *connectors.Connection, e *connectors.Entitlement) {
	if d.in.Application.Spec.Unmanaged == schemas.UnmanagedIgnore {
		return
	}
	key := schemas.Key{Connection: name, Target: e.Target, Privilege: e.Privilege}
	if n := len(d.out.Plan.Unmanaged); n > 0 && d.out.Plan.Unmanaged[n-1] == key {
		return // two of one name: a plan has one operation for a key, and the next takes the second
	}
	d.out.Plan.Unmanaged = append(d.out.Plan.Unmanaged, key)
	target := info.target(e.Target.Type)
	if d.in.Application.Spec.Unmanaged != schemas.UnmanagedRevoke || target == nil || !target.Revoke {
		return
	}
	op := d.op(schemas.OperationRevoke, name, nil)
	op.Target, op.TargetID, op.Privilege, op.Cause, op.NativeID = &key.Target, e.TargetID, e.Privilege, schemas.CauseUnmanaged, l.NativeID
	op.Privileged = PrivilegedGrant(d.in.Application, *info.typ, *target, name, e.Target, e.Privilege)
	d.plan(op, absentFor(schemas.CauseUnmanaged), nil, schemas.BaselineItem{}, false)
}

// unmanaged looks at the live connections in scope of which no request speaks at all.
func (d *differ) unmanaged(spoken []bool) {
	if d.in.Application.Spec.Unmanaged == schemas.UnmanagedIgnore {
		return
	}
	for i, l := range d.live {
		if spoken[i] || l.Protected != "" || len(l.Entitlements) == 0 || !d.inScope(l.Name) {
			continue
		}
		// Two of one name cannot be told apart by the keys of entitlements: nothing is done to them.
		if i > 0 && d.live[i-1].Name == l.Name || i+1 < len(d.live) && d.live[i+1].Name == l.Name {
			continue
		}
		info := d.types.get(l.Type)
		if !info.known {
			continue
		}
		list := sortedEntitlements(l.Entitlements)
		for j := range list {
			d.leftover(l.Name, info, l, &list[j])
		}
	}
}

// depend links each operation to those that must come first: a grant to the creations of both its ends, a
// deletion to the revokes that name the connection and to the deletions that hand over to it.
func (d *differ) depend() {
	ops := d.out.Plan.Operations
	if len(ops) == 0 {
		return
	}
	creates := map[schemas.Name]string{}
	deletes := map[schemas.Name]int{}
	for i := range ops {
		switch ops[i].Kind {
		case schemas.OperationCreate:
			creates[ops[i].Connection] = ops[i].ID
		case schemas.OperationDelete:
			deletes[ops[i].Connection] = i
		}
	}
	for i := range ops {
		o := &ops[i]
		switch o.Kind {
		case schemas.OperationGrant:
			for _, n := range []schemas.Name{o.Connection, *o.Target} {
				if id, ok := creates[n]; ok {
					o.DependsOn = append(o.DependsOn, id)
				}
			}
		case schemas.OperationRevoke:
			for _, n := range []schemas.Name{o.Connection, *o.Target} {
				// The deletion takes the edge away all the same: one that waits for somebody's leave must not
				// keep back a deletion that has it.
				if j, ok := deletes[n]; ok && (Named(o) || !Named(&ops[j])) {
					ops[j].DependsOn = append(ops[j].DependsOn, o.ID)
				}
			}
		case schemas.OperationDelete:
			if o.ReassignTo == "" {
				continue
			}
			heir := schemas.Name{Type: o.Connection.Type, SourceName: o.ReassignTo}
			if id, ok := creates[heir]; ok {
				o.DependsOn = append(o.DependsOn, id)
			}
			if j, ok := deletes[heir]; ok && !inherits(ops, deletes, j, o.Connection) {
				ops[j].DependsOn = append(ops[j].DependsOn, o.ID)
			}
		}
	}
	for i := range ops {
		slices.Sort(ops[i].DependsOn)
		ops[i].DependsOn = slices.Compact(ops[i].DependsOn)
	}
}

// inherits says whether what the deletion at i leaves goes, by further deletions, to the connection: a
// circle, in which none can wait for the other.
func inherits(ops []schemas.Operation, deletes map[schemas.Name]int, i int, c schemas.Name) bool {
	for range len(deletes) {
		heir := schemas.Name{Type: ops[i].Connection.Type, SourceName: ops[i].ReassignTo}
		if heir == c {
			return true
		}
		next, ok := deletes[heir]
		if !ok {
			return false
		}
		i = next
	}
	return true
}

func kindOrder(k schemas.OperationKind) int {
	switch k {
	case schemas.OperationCreate:
		return 0
	case schemas.OperationUpdate:
		return 1
	case schemas.OperationRevoke:
		return 2
	case schemas.OperationGrant:
		return 3
	}
	return 4
}

// sortOperations puts them in the order of execution: creations, updates, revokes, grants, deletions, each
// by name. Every operation comes after those it depends on.
func sortOperations(ops []schemas.Operation) {
	slices.SortFunc(ops, func(a, b schemas.Operation) int {
		if c := kindOrder(a.Kind) - kindOrder(b.Kind); c != 0 {
			return c
		}
		return a.Key().Compare(b.Key())
	})
	// Only deletions depend on operations of their own kind, where one hands over to the next.
	first := slices.IndexFunc(ops, func(o schemas.Operation) bool { return o.Kind == schemas.OperationDelete })
	if first < 0 {
		return
	}
	deletes := ops[first:]
	at := make(map[string]int, len(deletes))
	linked := false
	for i := range deletes {
		at[deletes[i].ID] = i
		linked = linked || deletes[i].ReassignTo != ""
	}
	if !linked {
		return
	}
	sorted := make([]schemas.Operation, 0, len(deletes))
	done := make([]bool, len(deletes))
	var visit func(int)
	visit = func(i int) {
		if done[i] {
			return
		}
		done[i] = true
		for _, id := range deletes[i].DependsOn {
			if j, ok := at[id]; ok {
				visit(j)
			}
		}
		sorted = append(sorted, deletes[i])
	}
	for i := range deletes {
		visit(i)
	}
	copy(deletes, sorted)
}
