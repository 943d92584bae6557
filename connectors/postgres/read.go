package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// Read returns the roles that the selection names, in one snapshot.
func (r *reader) Read(ctx context.Context, sel schemas.Selection) (schemas.State, error) {
	const op = "read the roles"
	ctx, cancel := context.WithTimeout(ctx, r.limit)
	defer cancel()
	tx, err := r.conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return schemas.State{}, wrap(op, err)
	}
	state, err := r.read(ctx, tx, sel)
	if rerr := rollback(ctx, tx); err == nil && rerr != nil {
		err = rerr
	}
	if err != nil {
		return schemas.State{}, wrap(op, err)
	}
	return state, nil
}

// rollback ends a transaction even if its context has ended.
func rollback(ctx context.Context, tx pgx.Tx) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return tx.Rollback(ctx)
}

// role is a row of pg_roles.
type role struct {
	oid                                                          uint32
	name                                                         string
	super, inherit, createRole, createDB, login, replica, bypass bool
	limit                                                        int32
	until                                                        string
	expired                                                      bool
	comment                                                      string
	members                                                      int
	conn                                                         *schemas.Connection // nil if not selected
}

const roleQuery = `SELECT r.oid, r.rolname, r.rolsuper, r.rolinherit, r.rolcreaterole, r.rolcreatedb, r.rolcanlogin, r.rolreplication, r.rolbypassrls,
  r.rolconnlimit,
  CASE WHEN r.rolvaliduntil IS NULL THEN 'infinity' WHEN isfinite(r.rolvaliduntil) THEN to_char(r.rolvaliduntil AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') ELSE r.rolvaliduntil::text END,
  coalesce(r.rolvaliduntil < now(), false), coalesce(d.description, '')
FROM pg_catalog.pg_roles r
LEFT JOIN pg_catalog.pg_shdescription d ON d.objoid = r.oid AND d.classoid = 'pg_catalog.pg_authid'::pg_catalog.regclass`

// roles returns the roles with the names or oids, or all roles if there are neither.
func roles(ctx context.Context, q querier, names []string, oids []uint32) (map[uint32]*role, error) {
	query, args := roleQuery, []any(nil)
	if len(names)+len(oids) > 0 {
		// The server truncates longer names, and the caller then finds nothing under the full name.
		query, args = roleQuery+" WHERE r.rolname IN (SELECT n::pg_catalog.name FROM unnest($1::pg_catalog.text[]) n) OR r.oid = ANY($2)", []any{names, oids}
	}
	rows, err := q.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := map[uint32]*role{}
	for rows.Next() {
		x := &role{}
		if err := rows.Scan(&x.oid, &x.name, &x.super, &x.inherit, &x.createRole, &x.createDB, &x.login, &x.replica, &x.bypass,
			&x.limit, &x.until, &x.expired, &x.comment); err != nil {
			return nil, err
		}
		out[x.oid] = x
	}
	return out, rows.Err()
}

type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// protected returns why a role must not be changed, or "".
func (r *reader) protected(x *role) string {
	switch {
	case x.super:
		return "it is a superuser"
	case schemas.Match([]string{"pg_*"}, x.name):
		return "it belongs to the server"
	case schemas.Match(protectedRoles(), x.name):
		return "it belongs to the service that runs the server"
	case slices.Contains(r.own, x.name):
		return "countersign logs in with it"
	}
	return ""
}

func (x *role) payload() map[string]any {
	return map[string]any{"login": x.login, "inherit": x.inherit, "createdb": x.createDB, "createrole": x.createRole,
		"replication": x.replica, "bypassrls": x.bypass, "connection_limit": int(x.limit), "valid_until": x.until, "comment": x.comment}
}

func nativeID(oid uint32) string { return strconv.FormatUint(uint64(oid), 10) }

func (r *reader) read(ctx context.Context, tx pgx.Tx, sel schemas.Selection) (schemas.State, error) {
	all, err := roles(ctx, tx, nil, nil)
	if err != nil {
		return schemas.State{}, err
	}
	selected := connectors.Selected(sel, nil)
	// Most roles have the same attributes: share one payload among them.
	payloads := map[role]map[string]any{}
	payload := func(x *role) map[string]any {
		k := *x
		k.oid, k.name, k.super, k.expired, k.members, k.conn = 0, "", false, false, 0, nil
		if payloads[k] == nil {
			payloads[k] = x.payload()
		}
		return payloads[k]
	}
	var state schemas.State
	for _, x := range all {
		if name := (schemas.Name{Type: typeRole, SourceName: x.name}); selected(name, nativeID(x.oid)) {
			x.conn = &schemas.Connection{Name: name, NativeID: nativeID(x.oid),
				Payload: payload(x), Protected: r.protected(x), Superuser: x.super}
		}
	}
	if sel.Reach {
		r.reach(all)
	}
	if err := r.memberships(ctx, tx, all); err != nil {
		return state, err
	}
	if sel.Reach {
		if err := r.impliedMembers(ctx, tx, all); err != nil {
			return state, err
		}
	}
	if err := r.readDatabases(ctx, tx, all, &state); err != nil {
		return state, err
	}
	for _, x := range all {
		if x.conn != nil {
			x.conn.SortEntitlements()
			state.Connections = append(state.Connections, *x.conn)
		}
	}
	slices.SortFunc(state.Connections, func(a, b schemas.Connection) int { return a.Name.Compare(b.Name) })
	return state, nil
}

// edge is a membership: all rows of pg_auth_members for one pair of roles.
type edge struct {
	group, member *role
	admin         bool
	own           bool // the member is one of countersign's logins
	switching     bool // the member uses the group only after SET ROLE
}

// memberships lists each membership once: at the group as a user, if the member can log in and doesn't have members;
// otherwise at the member, if it was selected; otherwise at the group as a member. It leaves out the memberships of
// the roles that countersign logs in with: it needs them to work, and from PostgreSQL 16 on the creator of a role
// always has one.
func (r *reader) memberships(ctx context.Context, q querier, all map[uint32]*role) error {
	rows, err := q.Query(ctx, `SELECT m.roleid, m.member, bool_or(m.admin_option), bool_or(`+r.usable+`), bool_or(`+r.inherited+`) FROM pg_catalog.pg_auth_members m GROUP BY 1, 2`)
	if err != nil {
		return err
	}
	defer rows.Close()
	var edges []edge
	for rows.Next() {
		var g, m uint32
		var admin, usable, inherited bool
		if err := rows.Scan(&g, &m, &admin, &usable, &inherited); err != nil {
			return err
		}
		if all[g] == nil || all[m] == nil {
			continue // a dangling id: it stops nothing else
		}
		own := slices.Contains(r.own, all[m].name)
		if own && all[public] == nil {
			continue
		}
		// A member with ADMIN alone doesn't use the role: it is an administrator who created an account.
		if usable && !own {
			all[g].members++
		}
		edges = append(edges, edge{all[g], all[m], admin, own, all[public] != nil && !(inherited && (r.grantors() || all[m].inherit))})
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, e := range edges {
		e.add()
	}
	return nil
}

// add lists the membership at one of its ends. Those of countersign's own logins are never listed at the group: they
// are nobody's to remove.
func (e edge) add() {
	at, target := e.group, schemas.Name{Type: typeUser, SourceName: e.member.name}
	id, status := e.member.oid, schemas.EntitlementState("")
	switch {
	case e.own:
		at, target, id = e.member, schemas.Name{Type: typeRole, SourceName: e.group.name}, e.group.oid
	case e.member.identity():
		if e.member.expired {
			status = schemas.StateExpired
		}
	case e.member.conn != nil && (!e.member.conn.Foreign || e.group.conn == nil || e.group.conn.Foreign):
		at, target, id = e.member, schemas.Name{Type: typeRole, SourceName: e.group.name}, e.group.oid
	default:
		target.Type = typeMember
	}
	if at.conn == nil {
		return
	}
	at.conn.Entitlements = append(at.conn.Entitlements, schemas.Entitlement{Target: target, TargetID: nativeID(id), Privilege: schemas.PrivilegeMember, State: status, Switch: e.switching})
	if e.admin {
		at.conn.Entitlements = append(at.conn.Entitlements, schemas.Entitlement{Target: target, TargetID: nativeID(id), Privilege: schemas.PrivilegeAdmin, State: status})
	}
}

// identity reports whether the role is a plain user.
func (x *role) identity() bool { return x.login && x.members == 0 }

// List returns the existing items of a type, sorted by name, in one page.
func (r *reader) List(ctx context.Context, q connectors.Query) (connectors.Page, error) {
	const op = "list"
	ctx, cancel := context.WithTimeout(ctx, r.limit)
	defer cancel()
	return r.lister.Page(q, nil, func() ([]schemas.Item, error) {
		items, err := r.listDatabases(ctx, q)
		return items, wrap(op, err)
	})
}

func (r *reader) list(ctx context.Context, conn *pgx.Conn, q connectors.Query) ([]schemas.Item, error) {
	var out []schemas.Item
	switch q.Type {
	case typeRole, typeUser, typeMember:
		all, err := roles(ctx, conn, nil, nil)
		if err != nil {
			return nil, err
		}
		if err := r.memberships(ctx, conn, all); err != nil {
			return nil, err
		}
		for _, x := range all {
			// A list of users has only plain users. A query by name returns any role, so that the caller learns its kind.
			if q.Type == typeUser && q.Names == nil && !x.identity() {
				continue
			}
			i := schemas.Item{Name: schemas.Name{Type: q.Type, SourceName: x.name}, NativeID: nativeID(x.oid), Protected: r.protected(x)}
			if q.Type == typeUser {
				i.Connection = !x.identity()
				if x.expired {
					i.State = schemas.StateExpired
				}
			}
			out = append(out, i)
		}
		return out, nil
	}
	if f := allOf(q.Type); f != nil {
		q.Type = typeSchema
		items, err := r.list(ctx, conn, q)
		for j := range items {
			items[j].Type = f.all
		}
		return items, err
	}
	if f := defaultOf(q.Type); f != nil {
		return r.listDefaults(ctx, conn, f, q)
	}
	if privileges(q.Type) == nil {
		return nil, &connectors.Error{Code: connectors.Invalid, Op: "list " + q.Type, Message: "unknown type of target"}
	}
	rows, err := conn.Query(ctx, `SELECT o.name, o.oid, o.sub, o.schema FROM (`+objectQuery+`) o WHERE o.type = $1 AND ($2::text[] IS NULL OR o.name = ANY($2) OR o.oid = ANY($3))`, q.Type, q.Names, oidsOf(q.IDs))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var name, schema string
		var oid uint32
		var sub int
		if err := rows.Scan(&name, &oid, &sub, &schema); err != nil {
			return nil, err
		}
		i := schemas.Item{Name: schemas.Name{Type: q.Type, SourceName: name}, NativeID: objectID(oid, sub)}
		if schemas.Match([]string{"pg_*", "information_schema"}, schema) {
			i.Protected = "it belongs to the server"
			if q.Names == nil {
				continue
			}
		}
		out = append(out, i)
	}
	return out, rows.Err()
}

// Normalize sorts and adds the MEMBER that ADMIN implies. It keeps names, which are exact. With several databases it
// refuses names that lack theirs.
func (r *reader) Normalize(s schemas.State) (schemas.State, error) {
	return connectors.NormalizeWith(description(), s, func(c *schemas.Connection) error {
		login, _ := c.Payload["login"].(bool)
		for _, e := range slices.Clone(c.Entitlements) {
			if r.databaseOf(&e.Target) == nil {
				return errors.New(r.unnamed(e.Target))
			}
			if login && e.Target.Type == typeRole {
				return fmt.Errorf("a role that can log in is a user: assign it to the role %s as type user", e.Target.SourceName)
			}
			// ADMIN implies MEMBER.
			if e.Privilege == schemas.PrivilegeAdmin {
				e.Privilege = schemas.PrivilegeMember
				c.Entitlements = append(c.Entitlements, e)
			}
		}
		return nil
	})
}
