package mysql

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

type writer struct {
	*reader
	checker *connectors.Checker
}

// maxAccounts is the maximum number of accounts in one statement.
const maxAccounts = 200

// Apply carries out the operations. Account statements commit immediately, so each operation has its own result.
// Operations that commute are joined: each goes into the earliest step of its kind after everything that it depends on
// and after everything else about the same role or user.
func (w *writer) Apply(ctx context.Context, ops []schemas.Operation, report func(connectors.Outcome)) error {
	const op = "apply"
	c, err := w.load(ctx)
	if err != nil {
		return wrap(op, err)
	}
	if c.incomplete != "" {
		return &connectors.Error{Code: connectors.Conflict, Op: op, Message: c.incomplete}
	}
	b := &batch{writer: w, catalogue: c, failed: connectors.Failures{}, report: report, revoked: w.dialect.revokedColumns(ops)}
	if err := b.look(ctx, ops); err != nil {
		return wrap(op, err)
	}
	for _, s := range w.dialect.steps(ops) {
		if err := connectors.Stopped(ctx, op); err != nil {
			return err
		}
		if err := b.run(ctx, s); err != nil {
			if stopped := connectors.Stopped(ctx, op); stopped != nil {
				return stopped // a sent statement may have been carried out: the read-back shows it
			}
			return wrap(op, err)
		}
	}
	return nil
}

// revokedColumns lists the privileges on columns that operations revoke.
func (d dialect) revokedColumns(ops []schemas.Operation) map[columnOf]bool {
	out := map[columnOf]bool{}
	for i := range ops {
		o := &ops[i]
		if o.Kind != schemas.OperationRevoke || o.Target == nil || o.Target.Type != typeColumn {
			continue
		}
		who, ok := d.role(o.Connection.SourceName)
		h, err := d.object(*o.Target)
		if h.privilege = o.Privilege; ok && err == nil {
			out[columnOf{who, h}] = true
		}
	}
	return out
}

// step holds operations of one kind, in any order.
type step struct {
	kind schemas.OperationKind
	ops  []*schemas.Operation
}

func (d dialect) steps(ops []schemas.Operation) []*step {
	var steps []*step
	place := make(map[string]int, len(ops)) // by operation
	touched := map[accountID]int{}          // the last step that concerns an account
	for i := range ops {
		o := &ops[i]
		from := 0
		for _, id := range o.DependsOn {
			if at, ok := place[id]; ok {
				from = max(from, at+1)
			}
		}
		names := d.concerned(o)
		for _, n := range names {
			if at, ok := touched[n]; ok && steps[at].kind == o.Kind {
				from = max(from, at)
			} else if ok {
				from = max(from, at+1)
			}
		}
		for from < len(steps) && steps[from].kind != o.Kind {
			from++
		}
		if from == len(steps) {
			steps = append(steps, &step{kind: o.Kind})
		}
		steps[from].ops = append(steps[from].ops, o)
		place[o.ID] = from
		for _, n := range names {
			touched[n] = max(touched[n], from)
		}
	}
	return steps
}

// concerned lists the accounts of an operation.
func (d dialect) concerned(o *schemas.Operation) []accountID {
	var out []accountID
	if id, ok := d.role(o.Connection.SourceName); ok {
		out = append(out, id)
	}
	if o.Target == nil {
		return out
	}
	switch o.Target.Type {
	case typeRole, typeMember, typeUser:
		if h, err := d.object(*o.Target); err == nil {
			out = append(out, h.role)
		}
	}
	return out
}

// batch is the state of one Apply.
type batch struct {
	writer    *writer
	catalogue *catalogue
	failed    connectors.Failures
	report    func(connectors.Outcome)
	// revoked has the privileges on columns that this Apply revokes.
	revoked map[columnOf]bool
	// there has the objects of grants that exist; failures has, by type, why that is unknown.
	there    map[holding]bool
	failures map[string]error
}

// look finds out which objects of the grants exist: the server accepts grants on databases that don't exist, and on
// tables that don't exist if CREATE is among the privileges.
func (b *batch) look(ctx context.Context, ops []schemas.Operation) error {
	b.there, b.failures = map[holding]bool{}, map[string]error{}
	within := map[string]map[string]bool{}
	for i := range ops {
		o := &ops[i]
		if o.Kind != schemas.OperationGrant || o.Target == nil {
			continue
		}
		switch o.Target.Type {
		case typeDatabase, typeTable, typeColumn, typeFunction, typeProcedure, typePackage, typePackageBody:
		default:
			continue
		}
		h, err := b.writer.dialect.object(*o.Target)
		if err != nil {
			continue
		}
		if within[h.typ] == nil {
			within[h.typ] = map[string]bool{}
		}
		within[h.typ][h.db] = true
	}
	for _, typ := range sortedKeys(within) {
		var err error
		if typ == typeDatabase {
			err = b.writer.query(ctx, func(c []string) error {
				b.there[holding{object: object{typ: typeDatabase, db: c[0]}}] = true
				return nil
			}, 1, "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA")
		} else {
			err = b.writer.objects(ctx, typ, within[typ], func(h holding) { b.there[h] = true })
		}
		if lost(err) {
			return err
		}
		if err != nil {
			b.failures[typ] = err
		}
	}
	return nil
}

// run carries out a step. An error ends the Apply.
func (b *batch) run(ctx context.Context, s *step) error {
	started := b.writer.now()
	j := &job{batch: b, kind: s.kind, started: started}
	var able []*schemas.Operation
	for _, o := range s.ops {
		err := b.failed.Blocked(o)
		if err == nil {
			err = b.writer.checker.Check(o)
		}
		if err != nil {
			j.done(o, err)
			continue
		}
		able = append(able, o)
	}
	switch s.kind {
	case schemas.OperationCreate, schemas.OperationUpdate:
		return j.make(ctx, able)
	case schemas.OperationDelete:
		return j.remove(ctx, able)
	}
	return j.change(ctx, able)
}

// job is the state of one step.
type job struct {
	*batch
	kind    schemas.OperationKind
	started time.Time
	again   bool // one by one, after the joined statement failed
	// pieces has the statements of grants and revokes.
	pieces map[*schemas.Operation]piece
}

func (j *job) done(o *schemas.Operation, err error) {
	out := connectors.Outcome{Operation: o.ID, Attempts: 1, Started: j.started, Finished: j.writer.now(), Err: wrap(connectors.Title(o), err)}
	if j.again {
		out.Attempts = 2
	}
	if connectors.CodeOf(out.Err) == connectors.Blocked {
		out.Attempts = 0
	}
	j.failed[o.ID] = out.Err != nil
	j.report(out)
}

// connection finds the operation's role, nil if it doesn't exist, and refuses protected ones.
func (j *job) connection(o *schemas.Operation) (accountID, *account, error) {
	id, ok := j.writer.dialect.role(o.Connection.SourceName)
	if !ok {
		return id, nil, nil
	}
	a := j.catalogue.accounts[id]
	if a == nil {
		return id, nil, nil
	}
	if !a.role {
		return id, nil, connectors.Obstruct(o, "user "+id.userName(), "%s is a user, not a role", id.userName())
	}
	if why := j.writer.protected(a); why != "" {
		return id, nil, connectors.Refuse(o, connectors.Denied, "protected: %s", why)
	}
	if o.NativeID != "" || o.TargetID != "" {
		return id, nil, connectors.Refuse(o, connectors.Conflict, "%s does not have ids of roles, users and objects: remove source_id %q", j.writer.dialect, o.NativeID+o.TargetID)
	}
	return id, a, nil
}

// together runs joined statements for many operations. If the server refuses, it runs them one by one. done is called
// for each operation that was carried out. An error ends the Apply.
func (j *job) together(ctx context.Context, ops []*schemas.Operation, oracle bool, statements func([]*schemas.Operation) []string, done func(*schemas.Operation)) error {
	ops, err := j.present(ctx, ops)
	if err != nil || len(ops) == 0 {
		return err
	}
	err = j.writer.all(ctx, statements(ops), oracle)
	if lost(err) {
		return err
	}
	alone := len(ops) == 1
	switch {
	case err == nil, alone && j.already(ops[0], err):
		for _, o := range ops {
			done(o)
			// The statement has committed: an error of one that gives back is the operation's, which the next run shows.
			err := j.giveBack(ctx, o)
			if lost(err) {
				return err
			}
			j.done(o, err)
		}
		return nil
	case alone, codeOf(number(err)) == connectors.Unavailable:
		for _, o := range ops {
			j.done(o, err)
		}
		return nil
	}
	j.again = true
	defer func() { j.again = false }()
	for _, o := range ops {
		if err := connectors.Stopped(ctx, "apply"); err != nil {
			return err
		}
		if err := j.together(ctx, []*schemas.Operation{o}, oracle, statements, done); err != nil {
			return err
		}
	}
	return nil
}

// present leaves out and reports operations on roles that were dropped meanwhile if a user has their name: MariaDB
// resolves a name without a host to the role or, if there is none, to the user at %. Its syntax can't distinguish
// them, so a race after this check remains.
func (j *job) present(ctx context.Context, ops []*schemas.Operation) ([]*schemas.Operation, error) {
	if j.writer.dialect != mariaDB || j.pieces == nil {
		return ops, nil
	}
	named := map[string]bool{}
	for _, o := range ops {
		if who := j.pieces[o].who; who.host == "" && j.catalogue.accounts[accountID{who.user, "%"}] != nil {
			named[who.user] = true
		}
	}
	if len(named) == 0 {
		return ops, nil
	}
	var args []any
	for _, n := range sortedKeys(named) {
		args = append(args, n)
	}
	view := j.writer.settings.AccountsView
	err := j.writer.query(ctx, func(c []string) error { delete(named, c[0]); return nil }, 1, rolesNamed(view, len(args)), args...)
	if err != nil {
		return nil, err
	}
	var left []*schemas.Operation
	for _, o := range ops {
		if who := j.pieces[o].who; who.host == "" && named[who.user] {
			j.done(o, connectors.Refuse(o, connectors.NotFound, "the role %s was dropped meanwhile, and a user has that name", who.user))
			continue
		}
		left = append(left, o)
	}
	return left, nil
}

// already reports whether an error means that the revoked privilege is no longer held.
func (j *job) already(o *schemas.Operation, err error) bool {
	if j.kind != schemas.OperationRevoke {
		return false
	}
	switch number(err) {
	case errNoGrant, errNoTableGrant:
		return true
	case errNoRoutineGrant:
		return ascii(o.Target.SourceName)
	case errCannotRevokeRole:
		return j.writer.dialect == mariaDB
	}
	return false
}

// ascii reports whether MariaDB keeps privileges on a routine of this name. It stores names of routines in another
// encoding than it reads them in, so other privileges are lost after a restart.
func ascii(name string) bool {
	return !strings.ContainsFunc(name, func(r rune) bool { return r > 127 })
}

// make creates roles and sets their attributes.
func (j *job) make(ctx context.Context, ops []*schemas.Operation) error {
	ids := map[*schemas.Operation]accountID{}
	var create, attributes []*schemas.Operation
	for _, o := range ops {
		id, a, err := j.connection(o)
		switch {
		case err == nil && a == nil && o.NativeID != "":
			err = connectors.Refuse(o, connectors.Conflict, "the role %s no longer exists", o.Connection.SourceName)
		case err == nil && a == nil && o.Kind == schemas.OperationUpdate:
			err = connectors.Refuse(o, connectors.NotFound, "the role %s does not exist", o.Connection.SourceName)
		}
		if err != nil {
			j.done(o, err)
			continue
		}
		ids[o] = id
		if a == nil && o.Kind == schemas.OperationCreate {
			create = append(create, o)
			continue
		}
		attributes = append(attributes, o) // completes a role that an earlier try created
	}
	// A role is reported once its attributes are set.
	made := func(o *schemas.Operation) {
		id := ids[o]
		j.catalogue.accounts[id] = &account{id: id, role: true, locked: true, expired: true}
	}
	comments := func(list []*schemas.Operation) []string {
		var out []string
		for _, o := range list {
			if text, ok := o.After["comment"].(string); ok && (j.catalogue.accounts[ids[o]] == nil || j.catalogue.accounts[ids[o]].comment != text) {
				out = append(out, j.writer.dialect.comment(ids[o].sql(), text))
			}
		}
		return out
	}
	for part := range slices.Chunk(create, maxAccounts) {
		err := j.together(ctx, part, false, func(list []*schemas.Operation) []string {
			var roles []string
			for _, o := range list {
				roles = append(roles, ids[o].sql())
			}
			return append([]string{j.writer.dialect.create(roles)}, comments(list)...)
		}, func(o *schemas.Operation) {
			made(o)
			j.catalogue.accounts[ids[o]].comment, _ = o.After["comment"].(string)
		})
		if err != nil {
			return err
		}
	}
	for _, o := range attributes {
		err := j.together(ctx, []*schemas.Operation{o}, false, comments, func(o *schemas.Operation) {
			if text, ok := o.After["comment"].(string); ok {
				j.catalogue.accounts[ids[o]].comment = text
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// remove drops roles unless something runs with their privileges: it would fail afterwards.
func (j *job) remove(ctx context.Context, ops []*schemas.Operation) error {
	ids := map[*schemas.Operation]accountID{}
	var drop []*schemas.Operation
	for _, o := range ops {
		id, a, err := j.connection(o)
		if err != nil || a == nil {
			j.done(o, err)
			continue
		}
		ids[o] = id
		drop = append(drop, o)
	}
	for part := range slices.Chunk(drop, maxAccounts) {
		owned, err := j.owned(ctx, slices.Collect(maps.Values(pick(ids, part))))
		if lost(err) {
			return err
		}
		var free []*schemas.Operation
		for _, o := range part {
			switch list := owned[ids[o]]; {
			case err != nil:
				j.done(o, err)
			case len(list) > 0:
				slices.Sort(list)
				j.done(o, &connectors.Error{Code: connectors.Conflict, Op: connectors.Title(o), Dependents: list,
					Message: fmt.Sprintf("%d objects run with its privileges: %s; change their definer, or drop them", len(list), strings.Join(list[:min(len(list), 10)], ", "))})
			default:
				free = append(free, o)
			}
		}
		err = j.together(ctx, free, false, func(list []*schemas.Operation) []string {
			var roles []string
			for _, o := range list {
				roles = append(roles, ids[o].sql())
			}
			return []string{j.writer.dialect.drop(roles)}
		}, func(o *schemas.Operation) { j.catalogue.drop(ids[o]) })
		if err != nil {
			return err
		}
	}
	return nil
}

func pick(ids map[*schemas.Operation]accountID, ops []*schemas.Operation) map[*schemas.Operation]accountID {
	out := map[*schemas.Operation]accountID{}
	for _, o := range ops {
		out[o] = ids[o]
	}
	return out
}

// owned returns the views, triggers, routines and events that run with the privileges of roles, as far as the
// credential can see them.
func (j *job) owned(ctx context.Context, roles []accountID) (map[accountID][]string, error) {
	by := map[string]accountID{}
	var names []any
	for _, id := range roles {
		for _, n := range j.writer.dialect.definerNames(id) {
			if _, ok := by[n]; !ok {
				names = append(names, n)
			}
			by[n] = id
		}
	}
	args := slices.Concat(names, names, names, names)
	out := map[accountID][]string{}
	err := j.writer.query(ctx, func(c []string) error {
		if id, ok := by[c[2]]; ok { // the server may compare more loosely
			out[id] = append(out[id], c[0]+" "+c[1])
		}
		return nil
	}, 3, j.writer.dialect.definers(len(names)), args...)
	return out, err
}
