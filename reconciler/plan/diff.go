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
	// where the baseline does not have them yet. Only those that differ from the baseline are listed.
	Settled []schemas.BaselineItem
	// Tokens are the tokens that the plan's operations settle, by operation id.
	Tokens map[string]string
	// Shrunken says that most of what was there at the last verification is gone from the live state.
	Shrunken bool
}

// Diff says which operations take the application from live to desired. Operations are in the order in
// which they can be carried out; Hold decides which of them wait.
func Diff(in Input) Result {
	d := differ{
		in:   in,
		live: make(map[schemas.Name][]*connectors.Connection, len(in.Live.Connections)),
		out:  Result{Tokens: map[string]string{}},
	}
	if in.Baseline == nil {
		d.in.Baseline = func(string) (schemas.BaselineItem, bool) { return schemas.BaselineItem{}, false }
	}
	p := &d.out.Plan
	p.Application, p.Mode, p.Connector = in.Application.Name, in.Application.Spec.Mode, in.Application.Spec.Connector
	p.Findings = slices.Clone(in.Desired.Findings)
	p.Incomplete = in.Live.Incomplete
	p.Operations = []schemas.Operation{}
	for i := range in.Live.Connections {
		c := &in.Live.Connections[i]
		d.live[c.Name] = append(d.live[c.Name], c)
	}
	d.normalize()
	for _, c := range in.Desired.Connections {
		d.connection(c)
	}
	d.unmanaged()
	d.depend()
	sortOperations(p.Operations)
	// A handful missing is somebody's work; most of everything missing is a read that went wrong.
	d.out.Shrunken = d.missing >= 10 && d.missing*2 > d.known
	if d.out.Shrunken && p.Incomplete == "" {
		p.Incomplete = fmt.Sprintf("%d of %d connections that were verified before are missing from what was read", d.missing, d.known)
	}
	slices.SortFunc(p.Unmanaged, schemas.Key.Compare)
	slices.SortFunc(p.Pending, func(a, b schemas.PendingEntitlement) int { return a.Key.Compare(b.Key) })
	return d.out
}

type differ struct {
	in   Input
	live map[schemas.Name][]*connectors.Connection
	// normal has the normalized form of connections whose requests are not written as the application has it.
	normal  map[schemas.Name]*normalized
	out     Result
	known   int // connections that were verified to be there
	missing int // those of them that are not in live
}

// normalized maps a desired connection's entitlements and payload to the application's own form.
type normalized struct {
	payload map[string]any
	keys    map[wordKey]wordKey
	err     error
}

// normalize asks the connector for its form of the desired state. Almost always requests are written as
// the application has it, and one call shows so; else each item is asked for by itself, so that a bad one
// is a finding of its own.
func (d *differ) normalize() {
	d.normal = map[schemas.Name]*normalized{}
	if d.in.Normalize == nil {
		return
	}
	var whole connectors.State
	for _, c := range d.in.Desired.Connections {
		if c.Existence != Deleted {
			whole.Connections = append(whole.Connections, d.state(c))
		}
	}
	if got, err := d.in.Normalize(whole); err == nil && reflect.DeepEqual(got, whole) {
		return
	}
	for _, c := range d.in.Desired.Connections {
		if c.Existence == Deleted {
			continue
		}
		n := &normalized{keys: map[wordKey]wordKey{}}
		d.normal[c.Name] = n
		base := connectors.Connection{Name: c.Name, Payload: d.payload(c)}
		one, err := d.in.Normalize(connectors.State{Connections: []connectors.Connection{base}})
		if err != nil || len(one.Connections) != 1 {
			n.err = err
			if err == nil {
				n.err = fmt.Errorf("the connector gave %d connections for one", len(one.Connections))
			}
			continue
		}
		n.payload = one.Connections[0].Payload
		add := func(target schemas.Name, priv string) {
			base := base
			base.Payload = nil
			base.Entitlements = []connectors.Entitlement{{Target: target, Privilege: priv}}
			one, err := d.in.Normalize(connectors.State{Connections: []connectors.Connection{base}})
			if err != nil || len(one.Connections) != 1 || len(one.Connections[0].Entitlements) != 1 {
				return // the entry stays as written; the preview has said what is wrong with it
			}
			e := one.Connections[0].Entitlements[0]
			if e.Target != target || e.Privilege != priv {
				n.keys[wordKey{target, priv}] = wordKey{e.Target, e.Privilege}
			}
		}
		for _, e := range c.Entitlements {
			add(e.Target, e.Privilege)
		}
		for _, t := range c.Tombstones {
			add(t.Target, t.Privilege)
		}
	}
}

func (d *differ) state(c *Connection) connectors.Connection {
	s := connectors.Connection{Name: c.Name, Payload: d.payload(c)}
	for _, e := range c.Entitlements {
		s.Entitlements = append(s.Entitlements, connectors.Entitlement{Target: e.Target, Privilege: e.Privilege})
	}
	return s
}

// payload is the payload as the schema completes it: defaults for what is absent, nothing for null.
func (d *differ) payload(c *Connection) map[string]any {
	if c.Existence != Present {
		return nil
	}
	typ, _ := d.in.Description.Type(c.Type)
	return CompletePayload(typ, c.Payload)
}

// CompletePayload fills in the defaults of the type's payload schema and drops what is null. A property
// that is absent and has no default is left alone in the application, as is a null.
func CompletePayload(typ connectors.ConnectionType, payload map[string]any) map[string]any {
	out := map[string]any{}
	for name, p := range payloadDefaults(typ.Payload) {
		if p != nil {
			out[name] = p
		}
	}
	for k, v := range payload {
		if v == nil {
			delete(out, k)
			continue
		}
		out[k] = v
	}
	return out
}

// payloadDefaults are the schema's properties with their defaults, nil where there is none.
func payloadDefaults(schema json.RawMessage) map[string]any {
	var s struct {
		Properties map[string]struct {
			Default any `json:"default"`
		} `json:"properties"`
	}
	if len(schema) == 0 || json.Unmarshal(schema, &s) != nil {
		return nil
	}
	out := make(map[string]any, len(s.Properties))
	for name, p := range s.Properties {
		out[name] = p.Default
	}
	return out
}

func (d *differ) find(c schemas.Name, docs []schemas.DocumentID, severity, code, message, fix string) {
	f := schemas.Finding{Code: code, Severity: severity, Message: message, Fix: fix,
		Application: d.in.Application.Name, Connection: c}
	if len(docs) > 0 {
		f.Document = docs[len(docs)-1]
	}
	d.out.Plan.Findings = append(d.out.Plan.Findings, f)
}

// InScope says whether the application manages the connection.
func InScope(app *schemas.Application, n schemas.Name) bool {
	return connectors.Match(app.Spec.Scope[n.Type], n.SourceName)
}

// Grantable says whether the application lets the target be given to a connection of the type.
// Connections default to the scope, identities to all, resources to none.
func Grantable(app *schemas.Application, target connectors.GrantableType, n schemas.Name) bool {
	if patterns, ok := app.Spec.Grantable[n.Type]; ok {
		return connectors.Match(patterns, n.SourceName)
	}
	switch target.Edge {
	case connectors.EdgeIdentity:
		return true
	case connectors.EdgeConnection, connectors.EdgeMember:
		return InScope(app, n)
	}
	return false
}

func (d *differ) connection(c *Connection) {
	app := d.in.Application
	docs := c.documents()
	typ, ok := d.in.Description.Type(c.Type)
	if !ok {
		d.find(c.Name, docs, "error", "unknown-type", fmt.Sprintf("%s has no connections of type %s", app.Spec.Connector, c.Type),
			"the types are "+strings.Join(typeNames(d.in.Description), ", "))
		return
	}
	if !InScope(app, c.Name) {
		d.find(c.Name, docs, "error", "out-of-scope", c.String()+" is not in the scope of "+app.Name,
			"an owner widens spec.scope in a pull request of its own, or the request names another connection")
		return
	}
	n := d.normal[c.Name]
	if n != nil && n.err != nil {
		d.find(c.Name, docs, "error", "refused-by-application", n.err.Error(), "correct the request")
		return
	}
	live := d.live[c.Name]
	if len(live) > 1 {
		i := slices.IndexFunc(live, func(l *connectors.Connection) bool { return l.NativeID == c.SourceID })
		if i < 0 {
			var ids []string
			for _, l := range live {
				ids = append(ids, l.NativeID)
			}
			d.find(c.Name, docs, "error", "ambiguous-name", fmt.Sprintf("%s stands for %d connections: %s", c.Name, len(live), strings.Join(ids, ", ")),
				"say which with source_id")
			return
		}
		live = live[i : i+1]
	}
	var l *connectors.Connection
	if len(live) == 1 {
		l = live[0]
		if c.SourceID != "" && c.SourceID != l.NativeID {
			d.find(c.Name, docs, "error", "other-id", fmt.Sprintf("%s has the id %s, the request names %s", c.Name, l.NativeID, c.SourceID),
				"correct source_id, or leave it out")
			return
		}
	}
	base, known := d.in.Baseline(ConnectionItem(c.Name))
	if known && strings.HasPrefix(base.Token, "present:") {
		d.known++
		if l == nil {
			d.missing++
		}
	}
	if l != nil && l.Protected != "" {
		d.find(c.Name, docs, "error", "protected", c.String()+" is never changed: "+l.Protected, "")
		return
	}
	identity := l != nil && known && base.NativeID != "" && l.NativeID != "" && base.NativeID != l.NativeID
	create := d.existence(c, typ, l, n, base, known, identity)
	if c.Existence == Deleted || (l == nil && create == nil) {
		return
	}
	d.entitlements(c, typ, l, n, identity)
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

// existence plans creation, update and deletion, and returns the creation when there is one.
func (d *differ) existence(c *Connection, typ connectors.ConnectionType, l *connectors.Connection, n *normalized,
	base schemas.BaselineItem, known, identity bool) *schemas.Operation {
	switch c.Existence {
	case Present:
		want := d.payload(c)
		if n != nil {
			want = n.payload
		}
		tok := token("present", c.Documents)
		if l == nil {
			op := d.op(schemas.OperationCreate, c.Name, c.Documents)
			op.After = want
			op.Provisioning = c.Provisioning
			op.Privileged = PrivilegedConnection(d.in.Application, typ, c.Name) || len(PrivilegedFields(typ, want)) > 0
			if !typ.Create {
				d.unsupported(c.Name, c.Documents, "create "+c.String())
				return nil
			}
			return d.plan(op, tok)
		}
		d.settle(ConnectionItem(c.Name), tok, l.NativeID, base, known)
		before, after := attributes(want, l.Payload)
		ptok := token("present", c.Documents[len(c.Documents)-1:])
		if len(after) == 0 {
			pbase, pknown := d.in.Baseline(PayloadItem(c.Name))
			d.settle(PayloadItem(c.Name), ptok, "", pbase, pknown)
			return nil
		}
		op := d.op(schemas.OperationUpdate, c.Name, c.Documents[len(c.Documents)-1:])
		op.NativeID, op.Before, op.After, op.Provisioning = l.NativeID, before, after, c.Provisioning
		op.Privileged = PrivilegedConnection(d.in.Application, typ, c.Name) || len(PrivilegedFields(typ, after)) > 0
		if !typ.Update {
			d.unsupported(c.Name, c.Documents, "change attributes of "+c.String())
			return nil
		}
		d.holdIdentity(op, identity && base.Token == tok, base.NativeID, l.NativeID)
		d.plan(op, ptok)
	case Deleted, Undone:
		tok := token("absent", c.Documents)
		if l == nil {
			if known {
				d.settle(ConnectionItem(c.Name), tok, "", base, known)
			}
			return nil
		}
		if c.Existence == Undone && known && !base.Made {
			return nil // it was there before us
		}
		if c.Existence == Undone && !known {
			d.find(c.Name, c.Documents, "warning", "undone-unknown", c.String()+" is there, its creation was undone, and no record says that we made it",
				"delete it with a ConnectionDeletion if it shall go")
			return nil
		}
		op := d.op(schemas.OperationDelete, c.Name, c.Documents)
		op.NativeID, op.Before, op.ReassignTo, op.Provisioning = l.NativeID, l.Payload, c.ReassignTo, c.Provisioning
		op.Privileged = PrivilegedConnection(d.in.Application, typ, c.Name)
		if c.Existence == Undone {
			op.Cause = schemas.CauseUndo
		}
		if !typ.Delete || (c.ReassignTo != "" && !typ.Reassign) {
			d.unsupported(c.Name, c.Documents, "delete "+c.String())
			return nil
		}
		// A deletion speaks of the name; an undoing means only what we made.
		d.holdIdentity(op, identity && c.Existence == Undone, base.NativeID, l.NativeID)
		d.plan(op, tok)
	case Unspecified:
		if l == nil {
			docs := c.documents()
			if len(c.Entitlements) > 0 {
				d.find(c.Name, docs, "error", "no-connection", c.String()+" does not exist in "+d.in.Application.Name,
					"create it with a ConnectionCreation, or correct the name")
			}
			return nil
		}
		if known {
			break
		}
		// Its native id is bound by the first verification, though its existence is not ours.
		d.settle(ConnectionItem(c.Name), token("foreign", nil), l.NativeID, base, known)
	}
	return nil
}

func (d *differ) unsupported(c schemas.Name, docs []schemas.DocumentID, what string) {
	d.find(c, docs, "error", "unsupported", d.in.Description.Title+" cannot "+what+" through this connector", "ask the application's owners to do it by hand")
}

func (d *differ) holdIdentity(op *schemas.Operation, identity bool, was, is string) {
	if identity {
		op.Hold = schemas.HoldIdentity
		op.HoldReason = fmt.Sprintf("the name stood for id %s when it was verified and stands for %s now: approve it anew in a new request", was, is)
	}
}

// attributes are those that differ, as they are and as they shall be. An attribute that live does not
// know is left alone.
func attributes(want, live map[string]any) (before, after map[string]any) {
	for k, w := range want {
		l, ok := live[k]
		if !ok || equalValue(w, l) {
			continue
		}
		if after == nil {
			before, after = map[string]any{}, map[string]any{}
		}
		before[k], after[k] = l, w
	}
	return before, after
}

// equalValue compares values as JSON does: 1 and 1.0 are one number.
func equalValue(a, b any) bool {
	if x, ok := number(a); ok {
		y, ok := number(b)
		return ok && x == y
	}
	switch a := a.(type) {
	case string:
		b, ok := b.(string)
		return ok && a == b
	case bool:
		b, ok := b.(bool)
		return ok && a == b
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

// plan adds the operation with its id, and calls it drift when the same assertion was verified before.
func (d *differ) plan(op *schemas.Operation, tok string) *schemas.Operation {
	if op.Provisioning == "" {
		op.Provisioning = d.in.Application.Spec.Provisioning
	}
	item := OperationItem(op)
	op.ID = operationID(op.Application, op.Kind, item)
	if base, ok := d.in.Baseline(item); ok && base.Token == tok && op.Cause != schemas.CauseUnmanaged {
		op.Cause = schemas.CauseDrift
	}
	d.out.Tokens[op.ID] = tok
	d.out.Plan.Operations = append(d.out.Plan.Operations, *op)
	return op
}

// settle remembers an item that is as desired, unless the baseline has it so already.
func (d *differ) settle(item, tok, native string, base schemas.BaselineItem, known bool) {
	if known && base.Token == tok && (native == "" || base.NativeID != "") {
		return
	}
	// Who made a thing stays known through later requests about it, as does the id that was bound first,
	// unless a new approval speaks of it.
	d.out.Settled = append(d.out.Settled, schemas.BaselineItem{Item: item, Token: tok, Made: known && base.Made, NativeID: native})
}

func (d *differ) entitlements(c *Connection, typ connectors.ConnectionType, l *connectors.Connection, n *normalized, identity bool) {
	has := map[wordKey]*connectors.Entitlement{}
	if l != nil {
		for i := range l.Entitlements {
			e := &l.Entitlements[i]
			has[wordKey{e.Target, e.Privilege}] = e
		}
	}
	form := func(t schemas.Name, p string) wordKey {
		k := wordKey{t, p}
		if n != nil {
			if f, ok := n.keys[k]; ok {
				return f
			}
		}
		return k
	}
	wanted := map[wordKey]bool{}
	for i := range c.Entitlements {
		e := &c.Entitlements[i]
		k := form(e.Target, e.Privilege)
		wanted[k] = true
		d.grant(c, typ, e, k, l, has[k], identity)
	}
	for i := range c.Tombstones {
		t := &c.Tombstones[i]
		k := form(t.Target, t.Privilege)
		// Written in two ways, one entitlement: a grant that stands wins over the undoing of another.
		if wanted[k] && t.Cause != schemas.CauseRequest {
			continue
		}
		d.revoke(c, typ, t, k, l, has[k])
		if e := has[k]; e != nil && d.planned(c, k) {
			delete(has, k)
		}
	}
	for k := range wanted {
		delete(has, k)
	}
	d.leftover(c.Name, typ, l, has)
}

// planned says whether the last operation is the revoke of this entitlement.
func (d *differ) planned(c *Connection, k wordKey) bool {
	ops := d.out.Plan.Operations
	if len(ops) == 0 {
		return false
	}
	o := &ops[len(ops)-1]
	return o.Kind == schemas.OperationRevoke && o.Connection == c.Name && o.Target != nil && *o.Target == k.target && o.Privilege == k.priv
}

func (d *differ) grant(c *Connection, typ connectors.ConnectionType, e *Entitlement, k wordKey, l *connectors.Connection,
	have *connectors.Entitlement, identity bool) {
	app := d.in.Application
	target, ok := typ.Target(k.target.Type)
	switch {
	case !ok:
		d.find(c.Name, e.Documents, "error", "unknown-target-type", fmt.Sprintf("a %s cannot be granted to a %s", k.target.Type, c.Type), "")
		return
	case len(target.Privileges) > 0 && !slices.Contains(target.Privileges, k.priv):
		d.find(c.Name, e.Documents, "error", "unknown-privilege", fmt.Sprintf("%s is no privilege on a %s", k.priv, k.target.Type),
			"the privileges are "+strings.Join(target.Privileges, ", "))
		return
	case !Grantable(app, target, k.target):
		d.find(c.Name, e.Documents, "error", "not-grantable", fmt.Sprintf("%s may not be granted in %s", k.target, app.Name),
			"an owner widens spec.grantable in a pull request of its own")
		return
	}
	key := schemas.Key{Connection: c.Name, Target: k.target, Privilege: k.priv}
	item := EntitlementItem(key)
	tok := token("present", e.Documents)
	base, known := d.in.Baseline(item)
	id := e.TargetID
	if have != nil {
		if have.State != "" {
			d.out.Plan.Pending = append(d.out.Plan.Pending, schemas.PendingEntitlement{Key: key, State: have.State})
			return
		}
		if known && base.Token == tok && base.NativeID != "" && have.TargetID != "" && base.NativeID != have.TargetID {
			d.find(c.Name, e.Documents, "error", "other-id", fmt.Sprintf("%s stood for id %s when %s was verified and stands for %s now", k.target, base.NativeID, key, have.TargetID),
				"approve it anew in a new request, or revoke it")
			return
		}
		d.settle(item, tok, have.TargetID, base, known)
		return
	}
	if d.in.Targets != nil {
		found := d.in.Targets[k.target]
		if e.TargetID != "" {
			found = slices.DeleteFunc(slices.Clone(found), func(i connectors.Item) bool { return i.NativeID != e.TargetID })
		}
		switch {
		case len(found) == 0 && d.wantedConnection(k.target):
			// A creation in the same plan makes it, or has said why it can't.
		case len(found) == 0:
			d.find(c.Name, e.Documents, "error", "target-not-found", fmt.Sprintf("%s does not exist in %s", k.target, app.Name), "correct the name, or make it first")
			return
		case len(found) > 1:
			var ids []string
			for _, f := range found {
				ids = append(ids, f.NativeID)
			}
			d.find(c.Name, e.Documents, "error", "ambiguous-name", fmt.Sprintf("%s stands for %d: %s", k.target, len(found), strings.Join(ids, ", ")), "say which with source_id")
			return
		case found[0].Protected != "":
			d.find(c.Name, e.Documents, "error", "protected", fmt.Sprintf("%s is never given: %s", k.target, found[0].Protected), "")
			return
		case target.Edge == connectors.EdgeIdentity && found[0].Connection:
			d.find(c.Name, e.Documents, "error", "not-an-identity", fmt.Sprintf("%s has members of its own: it is no plain %s", k.target.SourceName, k.target.Type),
				"grant it as the connection that it is, so that its members show")
			return
		case found[0].State == connectors.StateBlocked || found[0].State == connectors.StateExpired:
			d.out.Plan.Pending = append(d.out.Plan.Pending, schemas.PendingEntitlement{Key: key, State: found[0].State})
			return
		default:
			id = found[0].NativeID
		}
	}
	if !target.Grant {
		d.unsupported(c.Name, e.Documents, "grant a "+k.target.Type+" to a "+c.Type)
		return
	}
	op := d.op(schemas.OperationGrant, c.Name, e.Documents)
	op.Target, op.TargetID, op.Privilege, op.Expires, op.Provisioning = &k.target, id, k.priv, e.Expires, e.Provisioning
	if l != nil {
		op.NativeID = l.NativeID
	}
	if e.Started {
		op.Cause = schemas.CauseStart
	}
	op.Privileged = PrivilegedGrant(app, typ, target, c.Name, k.target, k.priv)
	cbase, cknown := d.in.Baseline(ConnectionItem(c.Name))
	if known && base.Token == tok {
		d.holdIdentity(op, identity && cknown, cbase.NativeID, op.NativeID)
		d.holdIdentity(op, base.NativeID != "" && id != "" && base.NativeID != id, base.NativeID, id)
	}
	d.plan(op, tok)
}

// wantedConnection says whether the requests want a connection of that name.
func (d *differ) wantedConnection(n schemas.Name) bool {
	i, ok := slices.BinarySearchFunc(d.in.Desired.Connections, n, func(c *Connection, n schemas.Name) int { return c.Name.Compare(n) })
	return ok && d.in.Desired.Connections[i].Existence == Present
}

func (d *differ) revoke(c *Connection, typ connectors.ConnectionType, t *Tombstone, k wordKey, l *connectors.Connection, have *connectors.Entitlement) {
	item := EntitlementItem(schemas.Key{Connection: c.Name, Target: k.target, Privilege: k.priv})
	tok := token("absent-"+string(t.Cause), t.Documents)
	base, known := d.in.Baseline(item)
	if have == nil {
		if known || t.Cause == schemas.CauseRequest {
			d.settle(item, tok, "", base, known)
		}
		return
	}
	// What was there before the request came is given back to whoever managed it.
	if t.Cause == schemas.CauseUndo && known && strings.HasPrefix(base.Token, "present:") && !base.Made {
		return
	}
	target, ok := typ.Target(k.target.Type)
	if !ok || !target.Revoke {
		d.unsupported(c.Name, t.Documents, "take a "+k.target.Type+" from a "+c.Type)
		return
	}
	op := d.op(schemas.OperationRevoke, c.Name, t.Documents)
	op.Target, op.TargetID, op.Privilege, op.Cause = &k.target, have.TargetID, k.priv, t.Cause
	op.NativeID = l.NativeID
	op.Privileged = PrivilegedGrant(d.in.Application, typ, target, c.Name, k.target, k.priv)
	d.plan(op, tok)
}

// leftover treats entitlements that no request ever mentioned.
func (d *differ) leftover(name schemas.Name, typ connectors.ConnectionType, l *connectors.Connection, has map[wordKey]*connectors.Entitlement) {
	if l == nil || d.in.Application.Spec.Unmanaged == schemas.UnmanagedIgnore {
		return
	}
	for k, e := range has {
		key := schemas.Key{Connection: name, Target: k.target, Privilege: k.priv}
		d.out.Plan.Unmanaged = append(d.out.Plan.Unmanaged, key)
		target, ok := typ.Target(k.target.Type)
		if d.in.Application.Spec.Unmanaged != schemas.UnmanagedRevoke || !ok || !target.Revoke {
			continue
		}
		op := d.op(schemas.OperationRevoke, name, nil)
		op.Target, op.TargetID, op.Privilege, op.Cause, op.NativeID = &k.target, e.TargetID, k.priv, schemas.CauseUnmanaged, l.NativeID
		op.Privileged = PrivilegedGrant(d.in.Application, typ, target, name, k.target, k.priv)
		d.plan(op, token("absent-unmanaged", nil))
	}
}

// unmanaged looks at the live connections in scope of which no request speaks at all.
func (d *differ) unmanaged() {
	if d.in.Application.Spec.Unmanaged == schemas.UnmanagedIgnore {
		return
	}
	for i := range d.in.Live.Connections {
		l := &d.in.Live.Connections[i]
		if l.Protected != "" || !InScope(d.in.Application, l.Name) {
			continue
		}
		_, spoken := slices.BinarySearchFunc(d.in.Desired.Connections, l.Name, func(c *Connection, n schemas.Name) int { return c.Name.Compare(n) })
		typ, ok := d.in.Description.Type(l.Type)
		if spoken || !ok {
			continue
		}
		has := make(map[wordKey]*connectors.Entitlement, len(l.Entitlements))
		for j := range l.Entitlements {
			e := &l.Entitlements[j]
			has[wordKey{e.Target, e.Privilege}] = e
		}
		d.leftover(l.Name, typ, l, has)
	}
}

// depend links each operation to those that must come first: a grant to the creations of both its ends, a
// deletion to the revokes that name the connection.
func (d *differ) depend() {
	ops := d.out.Plan.Operations
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
				if j, ok := deletes[n]; ok {
					ops[j].DependsOn = append(ops[j].DependsOn, o.ID)
				}
			}
		}
	}
	for i := range ops {
		slices.Sort(ops[i].DependsOn)
		ops[i].DependsOn = slices.Compact(ops[i].DependsOn)
	}
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
}
