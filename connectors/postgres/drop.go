package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// drop deletes a role. It can stop safely after each step: the role loses LOGIN, then, in each database, its objects
// are reassigned and its privileges revoked, and finally the role is dropped.
func (w *writer) drop(ctx context.Context, o *schemas.Operation) error {
	op := connectors.Title(o)
	ctx, cancel := context.WithTimeout(ctx, w.limit)
	defer cancel()
	all, err := roles(ctx, w.conn, nil, nil)
	if err != nil {
		return wrap(op, err)
	}
	b := &batch{writer: w, conn: w.conn, roles: map[string]*role{}, byOID: all}
	for _, x := range all {
		b.roles[x.name] = x
	}
	x, err := b.connection(o)
	if err != nil || x == nil {
		return err
	}
	if o.ReassignTo != "" && b.roles[o.ReassignTo] == nil {
		return &connectors.Error{Code: connectors.NotFound, Op: op, Message: "reassign_to: the role " + o.ReassignTo + " does not exist"}
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
				Message: fmt.Sprintf("it owns %d objects: %s; set reassign_to in the request", len(owned), strings.Join(owned[:min(len(owned), 10)], ", "))}
		}
	}
	name := quote(x.name)
	if err := w.claim(ctx); err != nil {
		return wrap(op, err)
	}
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

// release reassigns the role's objects and revokes its privileges in one database, then runs the last statement.
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
	if conn == w.conn {
		if err := w.take(ctx, tx); err != nil {
			return err
		}
	}
	var stmts []string
	var owns, has bool
	err = tx.QueryRow(ctx, `SELECT coalesce(bool_or(deptype = 'o'), false), count(*) > 0 FROM pg_catalog.pg_shdepend
WHERE refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND refobjid = $1
  AND dbid IN (0, (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()))`, oid).Scan(&owns, &has)
	if err != nil {
		return err
	}
	// REASSIGN OWNED and DROP OWNED require membership in the roles. A credential with CREATEROLE joins them for this
	// transaction and leaves them again. A membership in the role itself is dropped with the role.
	var leave []string
	join := func(quoted string, goes bool) error {
		// From PostgreSQL 16 on, ADMIN alone isn't enough: it takes the role's privileges, and SET.
		options, enough := "", "pg_catalog.pg_has_role(current_user, pg_catalog.to_regrole($1), 'MEMBER')"
		if w.grantors() {
			options, enough = " WITH INHERIT TRUE, SET TRUE", `pg_catalog.pg_has_role(current_user, pg_catalog.to_regrole($1), 'USAGE')
  AND pg_catalog.pg_has_role(current_user, pg_catalog.to_regrole($1), 'SET')`
		}
		var member bool
		if err := tx.QueryRow(ctx, "SELECT "+enough, quoted).Scan(&member); err != nil {
			return err
		}
		if !member {
			stmts = append(stmts, "GRANT "+quoted+" TO CURRENT_USER"+options)
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
		return connectors.Refuse(o, connectors.Conflict, "it now owns objects; set reassign_to in the request")
	case owns:
		if err := join(quote(o.ReassignTo), false); err != nil {
			return err
		}
		stmts = append(stmts, "REASSIGN OWNED BY "+name+" TO "+quote(o.ReassignTo))
	}
	if has {
		// It no longer owns anything: this drops its privileges.
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

// depending lists the databases in which something depends on the role, sorted.
func (w *writer) depending(ctx context.Context, oid uint32) ([]string, error) {
	rows, err := w.conn.Query(ctx, `SELECT DISTINCT d.datname FROM pg_catalog.pg_shdepend s JOIN pg_catalog.pg_database d ON d.oid = s.dbid
WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND s.refobjid = $1 AND d.datallowconn ORDER BY 1`, oid)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// owned describes the objects that the role owns in all databases.
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
