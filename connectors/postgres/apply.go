package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

type writer struct{ *reader }

// attempts is how often a transaction that met another writer is tried.
const attempts = 4

// maxBatch is how many operations share a transaction. Each role and object that one grants to or on takes a
// place in the server's lock table, which all sessions share and which has room for some 6,400 by default.
const maxBatch = 1000

// Apply carries the operations out: all but deletions in order, maxBatch to a transaction, then each deletion
// by itself, since it may have to go through several databases.
func (w *writer) Apply(ctx context.Context, ops []schemas.Operation, report func(connectors.Outcome)) error {
	if w.conn == nil {
		return errClosed
	}
	if err := ctx.Err(); err != nil {
		return wrap("apply", err)
	}
	b := &batch{w: w, failed: map[string]*connectors.Error{}, report: report}
	var deletions, others []*schemas.Operation
	for i := range ops {
		if ops[i].Kind == schemas.OperationDelete {
			deletions = append(deletions, &ops[i])
		} else {
			others = append(others, &ops[i])
		}
	}
	for part := range slices.Chunk(others, maxBatch) {
		if err := ctx.Err(); err != nil {
			return wrap("apply", err)
		}
		b.ops = part
		if err := b.run(ctx); err != nil {
			return wrap("apply", err)
		}
	}
	for _, o := range deletions {
		if err := ctx.Err(); err != nil {
			return wrap("apply", err)
		}
		started := time.Now()
		err := b.blocked(o)
		if err == nil {
			err = w.drop(ctx, o)
		}
		b.tell(o, started, 1, err)
	}
	return nil
}

// batch is the operations of one transaction.
type batch struct {
	w      *writer
	ops    []*schemas.Operation
	failed map[string]*connectors.Error
	report func(connectors.Outcome)

	roles   map[string]*role
	objects map[schemas.Name]object
	owners  map[string]map[uint32]bool // by schema, for schema_tables
	byOID   map[uint32]*role
}

// object is a grantable object as the server writes it.
type object struct {
	oid  uint32
	sql  string // TABLE sales.orders
	cols string // (id), for a column
	raw  string // the schema's plain name
}

func (b *batch) tell(o *schemas.Operation, started time.Time, n int, err error) {
	out := connectors.Outcome{Operation: o.ID, Attempts: n, Started: started, Finished: time.Now()}
	if err != nil {
		out.Err = err
		var e *connectors.Error
		if !errors.As(err, &e) {
			e = &connectors.Error{Code: connectors.Invalid, Message: err.Error()}
		}
		b.failed[o.ID] = e
	}
	b.report(out)
}

// blocked says whether an operation that this one depends on failed.
func (b *batch) blocked(o *schemas.Operation) error {
	for _, d := range o.DependsOn {
		if b.failed[d] != nil {
			return &connectors.Error{Code: connectors.Blocked, Op: title(o), Message: "an operation that it depends on failed", Dependents: []string{d}}
		}
	}
	return nil
}

func title(o *schemas.Operation) string {
	s := string(o.Kind) + " " + o.Connection.String()
	if o.Target != nil {
		s += " " + o.Privilege + " on " + o.Target.String()
	}
	return s
}

// run tries the whole batch with its statements grouped; when one fails, each operation in a savepoint.
func (b *batch) run(ctx context.Context) error {
	started := time.Now()
	for n := 1; ; n++ {
		results, err := b.transaction(ctx, true)
		if err != nil && connectors.CodeOf(wrap("", err)) != connectors.Unavailable {
			results, err = b.transaction(ctx, false)
		}
		switch {
		case err == nil:
			for i, o := range b.ops {
				b.tell(o, started, n, results[i])
			}
			return nil
		case n == attempts || ctx.Err() != nil || b.w.conn.IsClosed() || connectors.CodeOf(wrap("", err)) != connectors.Unavailable:
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(n*n) * 50 * time.Millisecond):
		}
	}
}

// transaction carries the batch out and returns each operation's error. An error of its own means that nothing
// was changed.
func (b *batch) transaction(ctx context.Context, grouped bool) (results []error, err error) {
	ctx, cancel := context.WithTimeout(ctx, b.w.limit)
	defer cancel()
	tx, err := b.w.conn.Begin(ctx)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, rollback(ctx, tx))
		}
	}()
	// One writer of ours at a time: role DDL of two transactions on one role fails with an internal error.
	if _, err := tx.Exec(ctx, `SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtext('countersign'), 0)`); err != nil {
		return nil, err
	}
	if err := b.resolve(ctx, tx); err != nil {
		return nil, err
	}
	results = make([]error, len(b.ops))
	failed := map[string]bool{}
	for id := range b.failed {
		failed[id] = true // by the batches before
	}
	g := &grouper{}
	for i, o := range b.ops {
		for _, d := range o.DependsOn {
			if failed[d] {
				results[i] = &connectors.Error{Code: connectors.Blocked, Op: title(o), Message: "an operation that it depends on failed", Dependents: []string{d}}
			}
		}
		var stmts []statement
		if results[i] == nil {
			stmts, results[i] = b.statements(o)
		}
		if results[i] == nil && !grouped {
			results[i], err = single(ctx, tx, o, stmts)
			if err != nil {
				return nil, err
			}
		}
		if results[i] != nil {
			failed[o.ID] = true
			continue
		}
		if grouped {
			g.add(stmts)
		}
	}
	if text := g.text(); text != "" {
		// The simple protocol takes all statements in one message.
		if _, err := tx.Conn().PgConn().Exec(ctx, text).ReadAll(); err != nil {
			return nil, err
		}
	}
	if err := tx.Commit(ctx); err != nil {
		return nil, err
	}
	return results, nil
}

// single carries one operation out in a savepoint. The second error is for what ends the transaction.
func single(ctx context.Context, tx pgx.Tx, o *schemas.Operation, stmts []statement) (result, err error) {
	sp, err := tx.Begin(ctx)
	if err != nil {
		return nil, err
	}
	g := &grouper{}
	g.add(stmts)
	if text := g.text(); text != "" {
		if _, err := tx.Conn().PgConn().Exec(ctx, text).ReadAll(); err != nil {
			wrapped := wrap(title(o), err)
			if rerr := sp.Rollback(ctx); rerr != nil || connectors.CodeOf(wrapped) == connectors.Unavailable {
				return nil, errors.Join(err, rerr)
			}
			return wrapped, nil
		}
	}
	return nil, sp.Commit(ctx)
}

// named are the roles that the batch names; none when it takes others, too.
func (b *batch) named() []string {
	names := map[string]bool{}
	for _, o := range b.ops {
		names[o.Connection.SourceName] = true
		switch {
		case o.Target == nil:
		case o.Target.Type == typeSchemaTables:
			return nil // what the tables' owners will make is granted, too
		case privileges(o.Target.Type) == nil:
			names[o.Target.SourceName] = true
		}
	}
	// A name that the server cannot hold stands for nothing there.
	maps.DeleteFunc(names, func(n string, _ bool) bool { return !utf8.ValidString(n) || strings.IndexByte(n, 0) >= 0 })
	return slices.Sorted(maps.Keys(names))
}

// resolve looks up every role and object that the batch names.
func (b *batch) resolve(ctx context.Context, tx pgx.Tx) error {
	all, err := roles(ctx, tx, b.named()...)
	if err != nil {
		return err
	}
	b.byOID, b.roles, b.objects, b.owners = all, make(map[string]*role, len(all)), map[schemas.Name]object{}, nil
	for _, x := range all {
		b.roles[x.name] = x
	}
	names := map[string]map[string]bool{}
	for _, o := range b.ops {
		if o.Target == nil || privileges(o.Target.Type) == nil {
			continue
		}
		typ := o.Target.Type
		if typ == typeSchemaTables {
			typ = typeSchema
			if b.owners == nil {
				if b.owners, _, err = schemaTables(ctx, tx); err != nil {
					return err
				}
			}
		}
		if names[typ] == nil {
			names[typ] = map[string]bool{}
		}
		names[typ][o.Target.SourceName] = true
	}
	for _, typ := range slices.Sorted(maps.Keys(names)) {
		if err := b.lookup(ctx, tx, typ, slices.Sorted(maps.Keys(names[typ]))); err != nil {
			return err
		}
	}
	return nil
}

func keyword(typ string) string {
	switch typ {
	case typeTable, typeView, typeColumn:
		return "TABLE "
	case typeSequence:
		return "SEQUENCE "
	case typeFunction:
		return "ROUTINE "
	case typeSchema:
		return "SCHEMA "
	}
	return "DATABASE "
}

// lookup takes the SQL of each object from the server itself: nothing that a request says is ever put into a
// statement unless the catalogue has it, letter by letter.
func (b *batch) lookup(ctx context.Context, tx pgx.Tx, typ string, names []string) error {
	rows, err := tx.Query(ctx, `SELECT o.name, o.oid, o.schema, CASE WHEN $1 = 'column' THEN o.oid::pg_catalog.regclass::text ELSE o.name END,
  CASE WHEN $1 = 'column' THEN (SELECT format('%I', a.attname) FROM pg_catalog.pg_attribute a, pg_catalog.pg_class c, pg_catalog.pg_namespace n
     WHERE a.attrelid = o.oid AND c.oid = o.oid AND n.oid = c.relnamespace AND format('%I.%I.%I', n.nspname, c.relname, a.attname) = o.name LIMIT 1) ELSE '' END
FROM (`+objectQuery+`) o WHERE o.type = $1 AND o.name = ANY($2)`, typ, names)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var x object
		var name, sql string
		if err := rows.Scan(&name, &x.oid, &x.raw, &sql, &x.cols); err != nil {
			return err
		}
		x.sql = keyword(typ) + sql
		if x.cols != "" {
			x.cols = " (" + x.cols + ")"
		}
		b.objects[schemas.Name{Type: typ, SourceName: name}] = x
	}
	return rows.Err()
}

// statement is a piece of SQL that may be joined with others: head + the roles + tail.
type statement struct{ head, role, tail string }

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }

// connection finds the operation's own role and refuses those that must not be touched.
func (b *batch) connection(o *schemas.Operation) (*role, error) {
	if o.Connection.Type != typeRole {
		return nil, &connectors.Error{Code: connectors.Invalid, Op: title(o), Message: "PostgreSQL has no connections of type " + o.Connection.Type}
	}
	x := b.roles[o.Connection.SourceName]
	if x == nil {
		return nil, nil
	}
	if why := b.w.protected(x); why != "" {
		return nil, &connectors.Error{Code: connectors.Denied, Op: title(o), Message: "it is never changed: " + why}
	}
	if o.NativeID != "" && x.oid != 0 && o.NativeID != nativeID(x.oid) {
		return nil, &connectors.Error{Code: connectors.Conflict, Op: title(o), Message: fmt.Sprintf("the name stands for oid %d now, and %s was meant", x.oid, o.NativeID)}
	}
	return x, nil
}

func (b *batch) statements(o *schemas.Operation) ([]statement, error) {
	x, err := b.connection(o)
	if err != nil {
		return nil, err
	}
	missing := &connectors.Error{Code: connectors.NotFound, Op: title(o), Message: "the role " + o.Connection.SourceName + " does not exist"}
	switch o.Kind {
	case schemas.OperationCreate:
		return b.create(o, x)
	case schemas.OperationUpdate:
		if x == nil {
			return nil, missing
		}
		return b.alter(o, "ALTER ROLE ", x)
	case schemas.OperationGrant:
		if x == nil {
			return nil, missing
		}
		return b.grant(o)
	case schemas.OperationRevoke:
		if x == nil {
			return nil, nil // with the role went all that it had
		}
		return b.revoke(o)
	}
	return nil, &connectors.Error{Code: connectors.Invalid, Op: title(o), Message: "there is no such operation"}
}

func (b *batch) create(o *schemas.Operation, x *role) ([]statement, error) {
	if err := description().Types[0].Names.Check(o.Connection.SourceName); err != nil {
		return nil, &connectors.Error{Code: connectors.Invalid, Op: title(o), Message: err.Error()}
	}
	head, now := "CREATE ROLE ", fresh()
	if x != nil {
		head, now = "ALTER ROLE ", x // made by an earlier try: complete it
	}
	stmts, err := b.alter(o, head, now)
	if err == nil && x == nil {
		b.roles[o.Connection.SourceName] = &role{name: o.Connection.SourceName}
	}
	return stmts, err
}

// fresh is a role as CREATE ROLE makes it when nothing is said.
func fresh() *role { return &role{inherit: true} }

// has says whether the role has the attribute already.
func (x *role) has(attribute string, on bool) bool {
	now := map[string]bool{"login": x.login, "inherit": x.inherit, "createdb": x.createDB, "createrole": x.createRole,
		"replication": x.replica, "bypassrls": x.bypass}
	return now[attribute] == on
}

// alter sets the attributes of After that the role, as it stands, has otherwise; what is null or absent stays as
// it is. To say even that a role has no REPLICATION takes a superuser.
func (b *batch) alter(o *schemas.Operation, head string, now *role) ([]statement, error) {
	var options []string
	var comment *string
	for _, k := range slices.Sorted(maps.Keys(o.After)) {
		v := o.After[k]
		if v == nil {
			continue
		}
		bad := &connectors.Error{Code: connectors.Invalid, Op: title(o), Message: fmt.Sprintf("the attribute %s cannot be %v", k, v)}
		switch k {
		case "login", "inherit", "createdb", "createrole", "replication", "bypassrls":
			on, ok := v.(bool)
			if !ok {
				return nil, bad
			}
			word := strings.ToUpper(k)
			if !on {
				word = "NO" + word
			}
			// What was made in this very batch is not known.
			if known := now.oid != 0 || now.name == ""; !known || !now.has(k, on) {
				options = append(options, word)
			}
		case "connection_limit":
			n, ok := integer(v)
			if !ok || n < -1 || n > 1<<31-1 {
				return nil, bad
			}
			options = append(options, fmt.Sprintf("CONNECTION LIMIT %d", n))
		case "valid_until":
			s, ok := v.(string)
			if !ok {
				return nil, bad
			}
			lit, err := b.literal(s)
			if err != nil {
				return nil, bad
			}
			options = append(options, "VALID UNTIL "+lit)
		case "comment":
			s, ok := v.(string)
			if !ok {
				return nil, bad
			}
			comment = &s
		default:
			return nil, &connectors.Error{Code: connectors.Invalid, Op: title(o), Message: "a role has no attribute " + k}
		}
	}
	var out []statement
	name := quote(o.Connection.SourceName)
	if len(options) > 0 || strings.HasPrefix(head, "CREATE") {
		out = append(out, statement{head: head + name + " " + strings.Join(options, " ")})
	}
	if comment != nil {
		lit, err := b.literal(*comment)
		if err != nil {
			return nil, &connectors.Error{Code: connectors.Invalid, Op: title(o), Message: "the comment cannot be quoted"}
		}
		out = append(out, statement{head: "COMMENT ON ROLE " + name + " IS " + lit})
	}
	return out, nil
}

func integer(v any) (int64, bool) {
	switch n := v.(type) {
	case int:
		return int64(n), true
	case int64:
		return n, true
	case float64:
		return int64(n), n == float64(int64(n))
	}
	return 0, false
}

// literal quotes a string as the server's own client library does.
func (b *batch) literal(s string) (string, error) {
	e, err := b.w.conn.PgConn().EscapeString(s)
	return "'" + e + "'", err
}

// membership is the group and the member of a grant of one role to another.
func (b *batch) membership(o *schemas.Operation) (group, member string, ok bool) {
	switch o.Target.Type {
	case typeRole:
		return o.Target.SourceName, o.Connection.SourceName, true
	case typeUser, typeMember:
		return o.Connection.SourceName, o.Target.SourceName, true
	}
	return "", "", false
}

func (b *batch) target(o *schemas.Operation) (*role, error) {
	x := b.roles[o.Target.SourceName]
	if x == nil {
		return nil, &connectors.Error{Code: connectors.NotFound, Op: title(o), Message: "the role " + o.Target.SourceName + " does not exist"}
	}
	if o.TargetID != "" && x.oid != 0 && o.TargetID != nativeID(x.oid) {
		return nil, &connectors.Error{Code: connectors.Conflict, Op: title(o), Message: fmt.Sprintf("the name %s stands for oid %d now, and %s was meant", x.name, x.oid, o.TargetID)}
	}
	return x, nil
}

func (b *batch) check(o *schemas.Operation) error {
	if o.Target == nil {
		return &connectors.Error{Code: connectors.Invalid, Op: title(o), Message: "it names no target"}
	}
	target, ok := description().Types[0].Target(o.Target.Type)
	if !ok {
		return &connectors.Error{Code: connectors.Invalid, Op: title(o), Message: "a role cannot be given a " + o.Target.Type}
	}
	plain := o.Privilege
	if o.Kind == schemas.OperationRevoke {
		plain = strings.TrimSuffix(strings.TrimSuffix(plain, grantOption), partly)
	}
	if !slices.Contains(target.Privileges, plain) {
		return &connectors.Error{Code: connectors.Invalid, Op: title(o), Message: o.Privilege + " is no privilege on a " + o.Target.Type}
	}
	return nil
}

func (b *batch) grant(o *schemas.Operation) ([]statement, error) {
	if err := b.check(o); err != nil {
		return nil, err
	}
	if group, member, ok := b.membership(o); ok {
		x, err := b.target(o)
		if err != nil {
			return nil, err
		}
		if x.super {
			return nil, &connectors.Error{Code: connectors.Denied, Op: title(o), Message: x.name + " is a superuser"}
		}
		tail := ""
		if o.Privilege == schemas.PrivilegeAdmin {
			tail = " WITH ADMIN OPTION"
		}
		return []statement{{"GRANT " + quote(group) + " TO ", quote(member), tail}}, nil
	}
	x, err := b.object(o)
	if err != nil {
		return nil, err
	}
	role := quote(o.Connection.SourceName)
	if o.Target.Type == typeSchemaTables {
		return b.schemaWide(o.Privilege, x, "GRANT ", " TO ", role), nil
	}
	return []statement{{"GRANT " + o.Privilege + x.cols + " ON " + x.sql + " TO ", role, ""}}, nil
}

func (b *batch) revoke(o *schemas.Operation) ([]statement, error) {
	if err := b.check(o); err != nil {
		return nil, err
	}
	if group, member, ok := b.membership(o); ok {
		x := b.roles[o.Target.SourceName]
		if x == nil {
			return nil, nil
		}
		if _, err := b.target(o); err != nil {
			return nil, err
		}
		what := ""
		if o.Privilege == schemas.PrivilegeAdmin {
			what = "ADMIN OPTION FOR "
		}
		return []statement{{"REVOKE " + what + quote(group) + " FROM ", quote(member), ""}}, nil
	}
	x, err := b.object(o)
	if connectors.CodeOf(err) == connectors.NotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	role := quote(o.Connection.SourceName)
	if o.Target.Type == typeSchemaTables {
		priv, part := strings.CutSuffix(o.Privilege, partly)
		stmts := b.schemaWide(priv, x, "REVOKE ", " FROM ", role)
		if part {
			stmts = stmts[1:] // only the defaults: what is held on single tables may be there by right
		}
		return stmts, nil
	}
	priv, option := strings.CutSuffix(o.Privilege, grantOption)
	what := ""
	if option {
		what = "GRANT OPTION FOR "
	}
	return []statement{{"REVOKE " + what + priv + x.cols + " ON " + x.sql + " FROM ", role, ""}}, nil
}

// schemaWide is a privilege on all tables of a schema and on those to come.
func (b *batch) schemaWide(priv string, schema object, verb, to, role string) []statement {
	name := strings.TrimPrefix(schema.sql, "SCHEMA ")
	out := []statement{{verb + priv + " ON ALL TABLES IN SCHEMA " + name + to, role, ""}}
	owners := slices.Sorted(maps.Keys(b.owners[schema.raw]))
	for _, oid := range owners {
		if owner := b.byOID[oid]; owner != nil {
			out = append(out, statement{"ALTER DEFAULT PRIVILEGES FOR ROLE " + quote(owner.name) + " IN SCHEMA " + name + " " + verb + priv + " ON TABLES" + to, role, ""})
		}
	}
	return out
}

func (b *batch) object(o *schemas.Operation) (object, error) {
	n := *o.Target
	if n.Type == typeSchemaTables {
		n.Type = typeSchema
	}
	x, ok := b.objects[n]
	if !ok {
		return x, &connectors.Error{Code: connectors.NotFound, Op: title(o), Message: "there is no " + n.String() + "; objects are named as the server's format('%I.%I') writes them"}
	}
	if o.TargetID != "" && o.Target.Type != typeSchemaTables && o.TargetID != nativeID(x.oid) {
		return x, &connectors.Error{Code: connectors.Conflict, Op: title(o), Message: fmt.Sprintf("the name %s stands for oid %d now, and %s was meant", n, x.oid, o.TargetID)}
	}
	return x, nil
}

// grouper joins neighbouring statements that differ only in the role: GRANT x TO a, b, c.
type grouper struct {
	order []*group
	open  map[statement]*group
}

type group struct {
	statement
	roles []string
}

// maxRoles bounds how many roles one statement names.
const maxRoles = 500

func (g *grouper) add(stmts []statement) {
	for _, s := range stmts {
		if s.role == "" {
			// What makes or changes a role comes before what is granted later in the batch.
			g.order = append(g.order, &group{statement: s})
			continue
		}
		if g.open == nil {
			g.open = map[statement]*group{}
		}
		k := statement{head: s.head, tail: s.tail}
		x := g.open[k]
		if x == nil || len(x.roles) == maxRoles {
			x = &group{statement: s}
			g.open[k] = x
			g.order = append(g.order, x)
		}
		x.roles = append(x.roles, s.role)
	}
}

func (g *grouper) text() string {
	var b strings.Builder
	for _, s := range g.order {
		b.WriteString(s.head)
		b.WriteString(strings.Join(s.roles, ", "))
		b.WriteString(s.tail)
		b.WriteString(";\n")
	}
	return b.String()
}

// drop deletes a role. Each step is safe to be the last: first it can log in no more, then what it owns goes
// over and what it was granted is taken, in each database, and at last the role goes.
func (w *writer) drop(ctx context.Context, o *schemas.Operation) error {
	op := title(o)
	ctx, cancel := context.WithTimeout(ctx, w.limit)
	defer cancel()
	all, err := roles(ctx, w.conn)
	if err != nil {
		return wrap(op, err)
	}
	b := &batch{w: w, roles: map[string]*role{}}
	for _, x := range all {
		b.roles[x.name] = x
	}
	x, err := b.connection(o)
	if err != nil || x == nil {
		return err
	}
	if o.ReassignTo != "" && b.roles[o.ReassignTo] == nil {
		return &connectors.Error{Code: connectors.NotFound, Op: op, Message: "the role " + o.ReassignTo + ", which is to own what it owns, does not exist"}
	}
	databases, err := w.depending(ctx, x.oid)
	if err != nil {
		return wrap(op, err)
	}
	if o.ReassignTo == "" {
		owned, err := w.owned(ctx, x.oid, databases)
		if err != nil {
			return wrap(op, err)
		}
		if len(owned) > 0 {
			return &connectors.Error{Code: connectors.Conflict, Op: op, Dependents: owned,
				Message: fmt.Sprintf("it owns %d objects: %s; say reassign_to in the request", len(owned), strings.Join(owned[:min(len(owned), 10)], ", "))}
		}
	}
	name := quote(x.name)
	if _, err := w.conn.Exec(ctx, "ALTER ROLE "+name+" NOLOGIN"); err != nil {
		return wrap(op, err)
	}
	for _, db := range databases {
		if db == w.config.Database {
			continue
		}
		conn, err := w.connectTo(ctx, db)
		if err != nil {
			return wrap(op+" in database "+db, err)
		}
		err = w.release(ctx, conn, o, name, x.oid, "")
		if err := errors.Join(err, conn.Close(context.WithoutCancel(ctx))); err != nil {
			return wrap(op+" in database "+db, err)
		}
	}
	return wrap(op, w.release(ctx, w.conn, o, name, x.oid, "DROP ROLE "+name))
}

func (w *writer) connectTo(ctx context.Context, database string) (*pgx.Conn, error) {
	config := w.config.Copy()
	config.Database = database
	return pgx.ConnectConfig(ctx, config)
}

// release gives away or takes everything that the role has in one database, and runs the last statement.
func (w *writer) release(ctx context.Context, conn *pgx.Conn, o *schemas.Operation, name string, oid uint32, last string) (err error) {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, rollback(ctx, tx))
		}
	}()
	var stmts []string
	var owns, has bool
	err = tx.QueryRow(ctx, `SELECT coalesce(bool_or(deptype = 'o'), false), count(*) > 0 FROM pg_catalog.pg_shdepend
WHERE refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND refobjid = $1
  AND dbid IN (0, (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()))`, oid).Scan(&owns, &has)
	if err != nil {
		return err
	}
	// What is to be given away takes membership in both roles. Whoever may make roles may join them, and leaves
	// them again; a membership in the role itself goes with it.
	var leave []string
	join := func(quoted string, goes bool) error {
		var member bool
		if err := tx.QueryRow(ctx, `SELECT pg_catalog.pg_has_role(current_user, pg_catalog.to_regrole($1), 'MEMBER')`, quoted).Scan(&member); err != nil {
			return err
		}
		if !member {
			stmts = append(stmts, "GRANT "+quoted+" TO CURRENT_USER")
			if !goes {
				leave = append(leave, "REVOKE "+quoted+" FROM CURRENT_USER")
			}
		}
		return nil
	}
	if has {
		if err := join(name, last != ""); err != nil {
			return err
		}
	}
	switch {
	case owns && o.ReassignTo == "":
		return &connectors.Error{Code: connectors.Conflict, Op: title(o), Message: "it has become the owner of something meanwhile; say reassign_to in the request"}
	case owns:
		if err := join(quote(o.ReassignTo), false); err != nil {
			return err
		}
		stmts = append(stmts, "REASSIGN OWNED BY "+name+" TO "+quote(o.ReassignTo))
	}
	if has {
		// It owns nothing any more: what is dropped are its privileges.
		stmts = append(stmts, "DROP OWNED BY "+name+" RESTRICT")
	}
	stmts = append(stmts, leave...)
	if last != "" {
		stmts = append(stmts, last)
	}
	for _, s := range stmts {
		if _, err := tx.Exec(ctx, s); err != nil {
			return err
		}
	}
	return tx.Commit(ctx)
}

// depending are the databases in which something depends on the role, sorted.
func (w *writer) depending(ctx context.Context, oid uint32) ([]string, error) {
	rows, err := w.conn.Query(ctx, `SELECT DISTINCT d.datname FROM pg_catalog.pg_shdepend s JOIN pg_catalog.pg_database d ON d.oid = s.dbid
WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND s.refobjid = $1 AND d.datallowconn ORDER BY 1`, oid)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// owned describes what the role owns, in every database.
func (w *writer) owned(ctx context.Context, oid uint32, databases []string) ([]string, error) {
	const query = `SELECT pg_catalog.pg_describe_object(classid, objid, objsubid) FROM pg_catalog.pg_shdepend
WHERE refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND refobjid = $1 AND deptype = 'o'
  AND dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()) ORDER BY 1`
	const shared = `SELECT pg_catalog.pg_describe_object(classid, objid, objsubid) FROM pg_catalog.pg_shdepend
WHERE refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND refobjid = $1 AND deptype = 'o' AND dbid = 0 ORDER BY 1`
	rows, err := w.conn.Query(ctx, shared, oid)
	if err != nil {
		return nil, err
	}
	out, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, err
	}
	for _, db := range databases {
		conn := w.conn
		if db != w.config.Database {
			if conn, err = w.connectTo(ctx, db); err != nil {
				return nil, err
			}
		}
		rows, err := conn.Query(ctx, query, oid)
		var list []string
		if err == nil {
			list, err = pgx.CollectRows(rows, pgx.RowTo[string])
		}
		if conn != w.conn {
			err = errors.Join(err, conn.Close(context.WithoutCancel(ctx)))
		}
		if err != nil {
			return nil, err
		}
		for _, x := range list {
			out = append(out, db+": "+x)
		}
	}
	return out, nil
}
