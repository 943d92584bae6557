package casbin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/casbin/casbin/v2/persist"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

type writer struct {
	*reader
}

var _ connectors.Writer = (*writer)(nil)

const (
	lockPoll = 5 * time.Millisecond
	lockWait = 30 * time.Second
	// attempts bounds how often a batch starts again because another program wrote the file without the lock.
	attempts = 5
)

// Apply carries out all operations on one snapshot of the file and replaces the file once. It reports outcomes
// only afterwards, so that everything reported as applied is in the file.
func (w *writer) Apply(ctx context.Context, ops []schemas.Operation, report func(connectors.Outcome)) (err error) {
	const op = "change the policy file"
	unlock, err := lock(ctx, w.settings.path, op)
	if err != nil {
		return err
	}
	var outcomes []connectors.Outcome
	err = w.batch(ctx, op, ops, &outcomes)
	// The callback may be slow or panic, so the lock is released first.
	if err = errors.Join(err, unlock()); err != nil && outcomes == nil {
		return err
	}
	for _, o := range outcomes {
		report(o)
	}
	return err
}

// batch reads, changes and replaces the file, and starts again if a writer without the lock was faster.
func (w *writer) batch(ctx context.Context, op string, ops []schemas.Operation, out *[]connectors.Outcome) error {
	for attempt := 1; attempt <= attempts; attempt++ {
		if err := connectors.Stopped(ctx, op); err != nil {
			return err
		}
		snap, err := load(w.settings.path, op)
		if err != nil {
			return err
		}
		s := parse(snap.content)
		if s.fault != "" {
			return fault(connectors.Unavailable, op, s.fault, nil)
		}
		outcomes := w.change(s, ops, attempt)
		if s.changed {
			if s.fault != "" {
				return fault(connectors.Invalid, op, "the change would make the file invalid: "+s.fault, nil)
			}
			if err := w.verify(s); err != nil {
				return fault(connectors.Invalid, op, "casbin can't read the change back", err)
			}
			replaced, err := replace(w.settings.path, snap, s.bytes())
			if err != nil {
				return pathFault(op, "config.policy", err)
			}
			if !replaced {
				continue
			}
		}
		w.settings.logger.DebugContext(ctx, "policy file written", "operations", len(ops), "changed", s.changed, "attempt", attempt)
		*out = outcomes
		return nil
	}
	return &connectors.Error{Code: connectors.Unavailable, Op: op, Message: "another program keeps writing the policy file", RetryAfter: time.Second}
}

// change carries out operations in memory. A failed operation changes nothing.
func (w *writer) change(s *store, ops []schemas.Operation, attempt int) []connectors.Outcome {
	outcomes := make([]connectors.Outcome, 0, len(ops))
	failed := connectors.Failures{}
	for i := range ops {
		o := &ops[i]
		out := connectors.Outcome{Operation: o.ID, Attempts: attempt, Started: w.settings.now()}
		if out.Err = failed.Blocked(o); out.Err != nil {
			out.Attempts = 0
		} else {
			out.Err = connectors.During(o, w.one(s, o))
		}
		failed[o.ID] = out.Err != nil
		out.Finished = w.settings.now()
		outcomes = append(outcomes, out)
	}
	return outcomes
}

// one carries out one operation, or returns an error and changes nothing.
func (w *writer) one(s *store, o *schemas.Operation) error {
	// Op is set when an error occurs: formatting it for each operation would cost more than the rest.
	const op = ""
	typ, ok := w.description.Type(o.Connection.Type)
	if !ok {
		return unknownType(op, o.Connection.Type)
	}
	if o.NativeID != "" || o.TargetID != "" {
		return connectors.Obstruct(o, "source_id", "source_id: not supported, a Casbin file has names only; leave it out")
	}
	switch o.Kind {
	case schemas.OperationCreate:
		return s.create(op, o)
	case schemas.OperationUpdate:
		return s.update(op, o)
	case schemas.OperationDelete:
		if o.ReassignTo != "" {
			return fault(connectors.Unsupported, op, "reassign_to: not supported, roles and groups own nothing", nil)
		}
		if s.kind(o.Connection.SourceName) == o.Connection.Type {
			s.removeConnection(o.Connection.SourceName)
		}
		return nil
	case schemas.OperationGrant, schemas.OperationRevoke:
		if o.Target == nil {
			return fault(connectors.Invalid, op, "target: required", nil)
		}
		g, ok := typ.Target(o.Target.Type)
		if !ok {
			return unknownType(op, o.Target.Type)
		}
		if o.Kind == schemas.OperationRevoke {
			return s.revoke(op, o, g)
		}
		return s.grant(op, o, g)
	}
	return fault(connectors.Unsupported, op, "unknown kind of operation", nil)
}

// with returns the declaration with attributes set. Absent or null attributes keep their value.
func (d declaration) with(after map[string]any) declaration {
	if v, ok := after["title"].(string); ok {
		d.title = v
	}
	if v, ok := after["description"].(string); ok {
		d.description = v
	}
	if v, ok := after["critical"].(bool); ok {
		d.critical = v
	}
	return d
}

func (s *store) create(op string, o *schemas.Operation) error {
	name := o.Connection.SourceName
	if err := checkName(op, name); err != nil {
		return err
	}
	if err := checkPayload(op, o.After); err != nil {
		return err
	}
	want := declaration{kind: o.Connection.Type}.with(o.After)
	switch s.kind(name) {
	case "":
		s.declare(name, want)
		return nil
	case o.Connection.Type:
		have := s.declared[name] // an undeclared role has the default payload
		have.kind, have.at = want.kind, 0
		if have != have.with(o.After) {
			return fault(connectors.Conflict, op, "already exists with other attributes", nil)
		}
		s.keep(name)
		return nil
	}
	return connectors.Obstruct(o, s.kind(name)+" "+name, "the name already belongs to a %s, and Casbin has a single namespace; if it is a %s, declare it with a p2 line", s.kind(name), o.Connection.Type)
}

func (s *store) update(op string, o *schemas.Operation) error {
	name := o.Connection.SourceName
	if s.kind(name) != o.Connection.Type {
		return fault(connectors.NotFound, op, o.Connection.Type+" not found", nil)
	}
	if err := checkPayload(op, o.After); err != nil {
		return err
	}
	have, declared := s.declared[name]
	have.kind = o.Connection.Type
	want := have.with(o.After)
	if want != have || !declared {
		s.declare(name, want)
	}
	return nil
}

// membership returns the two fields of an entitlement's g line.
func membership(o *schemas.Operation, g schemas.GrantableType) (member, parent string) {
	if g.Edge == schemas.EdgeConnection {
		return o.Connection.SourceName, o.Target.SourceName
	}
	return o.Target.SourceName, o.Connection.SourceName
}

func (s *store) grant(op string, o *schemas.Operation, g schemas.GrantableType) error {
	name, target := o.Connection.SourceName, o.Target.SourceName
	if !g.Grant {
		return fault(connectors.Unsupported, op, fmt.Sprintf("a %s can't become a member of a %s; grant it to the group's members instead", o.Connection.Type, g.Type), nil)
	}
	if err := checkPrivilege(op, g, o.Privilege); err != nil {
		return err
	}
	if s.kind(name) != o.Connection.Type {
		return fault(connectors.NotFound, op, o.Connection.Type+" not found", nil)
	}
	for _, n := range []string{name, target} {
		if err := checkName(op, n); err != nil {
			return err
		}
	}
	if g.Edge == schemas.EdgeResource {
		if !s.object(target) {
			return fault(connectors.NotFound, op, "object not found in the policy file; declare it with a p4 line", nil)
		}
		if len(s.perms[name][permission{target, o.Privilege}]) == 0 {
			s.keep(name)
			s.append("p", name, target, o.Privilege)
		}
		return nil
	}
	switch {
	case s.kind(target) != g.Type:
		return fault(connectors.NotFound, op, g.Type+" not found in the policy file", nil)
	case g.Type == TypeUser && len(s.members[target]) > 0:
		return connectors.Obstruct(o, "members of user "+target, "the user has members, who would gain the access too")
	}
	member, parent := membership(o, g)
	if len(s.parents[member][parent]) > 0 {
		return nil
	}
	if s.above(parent, member) {
		return fault(connectors.Invalid, op, "the membership would be a cycle", nil)
	}
	s.keep(member)
	s.keep(parent)
	s.append("g", member, parent)
	return nil
}

func (s *store) revoke(op string, o *schemas.Operation, g schemas.GrantableType) error {
	name, target := o.Connection.SourceName, o.Target.SourceName
	if g.Edge == schemas.EdgeResource {
		// Any action can be revoked, also one that the config doesn't list.
		p := permission{target, o.Privilege}
		if s.kind(name) == o.Connection.Type && len(s.perms[name][p]) > 0 {
			s.removePermission(name, p)
		}
		return nil
	}
	if err := checkPrivilege(op, g, o.Privilege); err != nil {
		return err
	}
	member, parent := membership(o, g)
	if s.kind(name) == o.Connection.Type && s.kind(target) == g.Type && len(s.parents[member][parent]) > 0 {
		s.removeMembership(member, parent)
	}
	return nil
}

// verify lets casbin itself read the new lines and compares the fields.
func (w *writer) verify(s *store) error {
	m := w.settings.model.Copy()
	m.ClearPolicy()
	for _, r := range s.records {
		if !r.fresh || r.gone {
			continue
		}
		if err := persist.LoadPolicyLine(strings.TrimSpace(r.text), m); err != nil {
			return fmt.Errorf("read a line back: %w", err)
		}
		a, err := m.GetAssertion(r.fields[0][:1], r.fields[0])
		if err != nil {
			return fmt.Errorf("read a line back: %w", err)
		}
		if len(a.Policy) == 0 || !slices.Equal(a.Policy[len(a.Policy)-1], r.fields[1:]) {
			return errors.New("a line reads differently")
		}
	}
	return nil
}
