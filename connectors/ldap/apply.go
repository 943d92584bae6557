package ldap

import (
	"context"
	"errors"
	"slices"
	"strconv"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

type writer struct {
	*reader
	checker *connectors.Checker
}

// attempts bounds how often a change is computed again because another writer was faster.
const attempts = 10

// maxBatch bounds the memberships in one modification.
const maxBatch = 500

// Apply carries out the operations in order. Adjacent grants and revokes in one group become one modification.
func (w *writer) Apply(ctx context.Context, ops []schemas.Operation, report func(connectors.Outcome)) error {
	const op = "apply"
	if w.checker == nil {
		var err error
		if w.checker, err = connectors.NewChecker(w.description); err != nil {
			return err
		}
	}
	failed := connectors.Failures{}
	for len(ops) > 0 {
		if err := connectors.Stopped(ctx, op); err != nil {
			return err
		}
		n := together(ops)
		results := make([]result, n)
		started := w.settings.now()
		var todo []*schemas.Operation
		at := map[*schemas.Operation]int{}
		for i := range n {
			o := &ops[i]
			if err := failed.Blocked(o); err != nil {
				results[i] = result{0, err}
			} else if err := w.checker.Check(o); err != nil {
				results[i] = result{1, err}
			} else {
				at[o] = i
				todo = append(todo, o)
			}
		}
		if len(todo) > 0 {
			for i, res := range w.carryOut(ctx, todo) {
				results[at[todo[i]]] = res
			}
		}
		if ctx.Err() != nil {
			return connectors.Stopped(ctx, op) // requests that were sent may have been carried out
		}
		if i := slices.IndexFunc(results, func(res result) bool { return gone(res.err) }); i >= 0 {
			// The server is down or doesn't answer: don't wait for it at each operation.
			return results[i].err
		}
		finished := w.settings.now()
		for i, res := range results {
			failed[ops[i].ID] = res.err != nil
			report(connectors.Outcome{Operation: ops[i].ID, Attempts: res.attempts, Started: started, Finished: finished, Err: res.err})
		}
		ops = ops[n:]
	}
	return nil
}

// gone reports whether an operation failed because the server couldn't be reached.
func gone(err error) bool {
	var e *connectors.Error
	return errors.As(err, &e) && e.Code == connectors.Unavailable && e.Err != nil && lost(e.Err)
}

// result is the result of an operation.
type result struct {
	attempts int
	err      error
}

func membershipChange(o *schemas.Operation) bool {
	return o.Kind == schemas.OperationGrant || o.Kind == schemas.OperationRevoke
}

// together returns how many leading operations change distinct members of one group without depending on each
// other. It is at least 1.
func together(ops []schemas.Operation) int {
	first := &ops[0]
	if !membershipChange(first) || first.Target == nil {
		return 1
	}
	ids, targets := map[string]bool{}, map[schemas.Name]bool{}
	for i := range ops {
		o := &ops[i]
		if i == maxBatch || !membershipChange(o) || o.Target == nil || o.Connection.Type != first.Connection.Type ||
			fold(o.Connection.SourceName) != fold(first.Connection.SourceName) || o.NativeID != first.NativeID ||
			slices.ContainsFunc(o.DependsOn, func(id string) bool { return ids[id] }) {
			return i
		}
		target := schemas.Name{Type: o.Target.Type, SourceName: fold(o.Target.SourceName)}
		if targets[target] {
			return i
		}
		ids[o.ID], targets[target] = true, true
	}
	return len(ops)
}

func (w *writer) carryOut(ctx context.Context, ops []*schemas.Operation) []result {
	if membershipChange(ops[0]) {
		return w.change(ctx, ops)
	}
	var n int
	var err error
	switch o := ops[0]; o.Kind {
	case schemas.OperationCreate:
		n, err = w.make(ctx, o)
	case schemas.OperationUpdate:
		n, err = w.update(ctx, o)
	case schemas.OperationDelete:
		n, err = w.remove(ctx, o)
	}
	return []result{{n, err}}
}

// handle returns the address and the controls by which a change reaches exactly this entry or none: in Active
// Directory the id, elsewhere the name with an assertion of the id if the server supports that (RFC 4528).
//
// OpenLDAP's overlay memberof repeats the controls when it updates memberOf at the members, and leaves memberOf as it is
// where the assertion fails. So the assertion holds for entries with another DN (RFC 5020).
func (w *writer) handle(g *group) (string, []goldap.Control) {
	switch {
	case g.id == "":
	case w.root.ad:
		return "<GUID=" + g.id + ">", nil
	case w.root.controls[controlAssertion]:
		filter, err := goldap.CompileFilter(or2(equals(g.idAttr, g.id), "(!"+equals("entryDN", g.dn.text)+")"))
		if err == nil {
			return g.dn.text, []goldap.Control{goldap.NewControlString(controlAssertion, true, string(filter.Bytes()))}
		}
	}
	return g.dn.text, nil
}

// send sends a modification. It wraps the server's error.
func (w *writer) send(ctx context.Context, op string, g *group, changes []goldap.Change) error {
	if !g.dn.below(w.settings.BaseDN) {
		return &connectors.Error{Code: connectors.Denied, Op: op, Message: "the group isn't below base_dn"}
	}
	target, controls := w.handle(g)
	return w.do(ctx, op, func(conn *goldap.Conn) error {
		w.calls++
		return conn.Modify(&goldap.ModifyRequest{DN: target, Changes: changes, Controls: controls})
	})
}

// stale reports whether an error may be due to a change since the group was read.
func stale(err error) bool {
	return goldap.IsErrorAnyOf(err, goldap.LDAPResultNoSuchAttribute, goldap.LDAPResultAttributeOrValueExists, goldap.LDAPResultObjectClassViolation,
		goldap.LDAPResultAssertionFailed, goldap.LDAPResultNoSuchObject, goldap.LDAPResultEntryAlreadyExists, goldap.LDAPResultUnwillingToPerform)
}

func (w *writer) update(ctx context.Context, o *schemas.Operation) (int, error) {
	g, err := w.find(ctx, o)
	if err != nil {
		return 1, err
	}
	if g == nil {
		return 1, connectors.Refuse(o, connectors.NotFound, "group not found below base_dn")
	}
	return w.set(ctx, o, g)
}

// set sets the attributes of an operation. It deletes each value that was read and adds the new one, so that the
// change fails, and is computed again, if another writer changed the value in the meantime.
func (w *writer) set(ctx context.Context, o *schemas.Operation, g *group) (int, error) {
	op := connectors.Title(o)
	for n := 1; ; n++ {
		steps := w.steps(g, o.After)
		if len(steps) == 0 {
			return max(n-1, 1), nil
		}
		err := w.send(ctx, op, g, steps)
		switch {
		case err != nil && (!stale(err) || n == attempts):
			return n, err
		case err != nil && n > 2 && goldap.IsErrorWithCode(err, goldap.LDAPResultUnwillingToPerform):
			return n, err
		}
		// Some changes take more than one step: read again and continue.
		var ferr error
		if g, ferr = w.find(ctx, o); ferr != nil {
			return n, ferr
		}
		if g == nil {
			return n, connectors.Refuse(o, connectors.NotFound, "the group was deleted in the meantime")
		}
		if n == attempts {
			return n, connectors.Refuse(o, connectors.Conflict, "another writer keeps changing the group; run again later")
		}
	}
}

// steps returns the next modification towards a payload.
func (w *writer) steps(g *group, after map[string]any) []goldap.Change {
	var out []goldap.Change
	swap := func(attr string, old []string, to string) {
		if len(old) > 0 {
			out = append(out, goldap.Change{Operation: goldap.DeleteAttribute, Modification: goldap.PartialAttribute{Type: attr, Vals: old}})
		}
		if to != "" {
			out = append(out, goldap.Change{Operation: goldap.AddAttribute, Modification: goldap.PartialAttribute{Type: attr, Vals: []string{to}}})
		}
	}
	if text, ok := after[keyDescription].(string); ok && text != g.payload[keyDescription] {
		swap(keyDescription, g.descriptions, text)
	}
	if !w.root.ad {
		return out
	}
	if to := groupType(g.groupType, after); to != g.groupType {
		// Active Directory changes global to domain local, and back, only by way of universal.
		if from := g.groupType; from&typeUniversal == 0 && to&typeUniversal == 0 && scopeOf(from) != scopeOf(to) {
			to = groupType(from, map[string]any{keyScope: "universal"})
		}
		swap("groupType", []string{strconv.FormatInt(g.groupType, 10)}, strconv.FormatInt(to, 10))
	}
	return out
}

// remove deletes a group, after its memberships in other groups: not every server removes those, and a new group of
// the same name would get them.
func (w *writer) remove(ctx context.Context, o *schemas.Operation) (int, error) {
	op := connectors.Title(o)
	for n := 1; ; n++ {
		g, err := w.find(ctx, o)
		if err != nil || g == nil {
			return n, err
		}
		if err := w.leave(ctx, o, g); err != nil {
			return n, err
		}
		target, controls := w.handle(g)
		err = w.do(ctx, op, func(conn *goldap.Conn) error {
			w.calls++
			return conn.Del(goldap.NewDelRequest(target, controls))
		})
		switch {
		case err == nil:
			return n, nil
		case goldap.IsErrorWithCode(err, goldap.LDAPResultNotAllowedOnNonLeaf):
			return n, connectors.Obstruct(o, "the entries below it", "the group's entry has entries below it; delete or move those first")
		case !goldap.IsErrorAnyOf(err, goldap.LDAPResultNoSuchObject, goldap.LDAPResultAssertionFailed) || n == attempts:
			return n, err
		}
	}
}

// leave removes a group from the groups that it is a member of. Active Directory does that itself.
func (w *writer) leave(ctx context.Context, o *schemas.Operation, g *group) error {
	if w.root.ad {
		return nil
	}
	op := connectors.Title(o)
	for n := 1; ; n++ {
		found, err := w.below(ctx, op, w.settings.BaseDN, or2(equals(attrMember, g.dn.text), equals(attrUnique, g.dn.text)), w.class.groupAttributes)
		if err != nil {
			return err
		}
		again := false
		for _, e := range found {
			outer, err := w.readGroup(e)
			if err != nil {
				return err
			}
			if !outer.dn.below(w.settings.BaseDN) || outer.protected != "" {
				continue
			}
			adds, dels := map[string][]string{}, map[string][]string{}
			for _, v := range outer.those(func(v value) bool { return v.is(entry{dn: g.dn}) }) {
				dels[v.attr] = append(dels[v.attr], v.raw)
			}
			if w.hold(outer, adds, dels) {
				taken, err := w.exists(ctx, w.settings.PlaceholderDN)
				if err != nil {
					return err
				}
				if taken {
					return connectors.Refuse(o, connectors.Denied, "%s", w.placeholderTaken())
				}
			}
			switch err := w.send(ctx, op, outer, changes(adds, dels)); {
			case err == nil:
			case stale(err) && n < attempts:
				again = true
			default:
				return err
			}
		}
		if !again {
			return nil
		}
	}
}
