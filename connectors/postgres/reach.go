package postgres

import (
	"context"

	"github.com/countersign/countersign/schemas"
)

// public is the oid of PUBLIC in access lists. No role has it. The name is reserved, so no role has that either.
const (
	public     = 0
	publicName = "public"
)

// userSchema is the condition that an object o is not the server's own: those are open to everybody by design.
const userSchema = `o.schema !~ '^pg_' AND o.schema <> 'information_schema'`

// reach gives every role a connection: those that are not selected a foreign one, and PUBLIC too.
func (r *reader) reach(all map[uint32]*role) {
	all[public] = &role{name: publicName, conn: &schemas.Connection{Name: schemas.Name{Type: typeRole, SourceName: publicName}, Everyone: true, Foreign: true}}
	for _, x := range all {
		if x.conn == nil {
			x.conn = &schemas.Connection{Name: schemas.Name{Type: typeRole, SourceName: x.name}, NativeID: nativeID(x.oid),
				Protected: r.protected(x), Superuser: x.super, Foreign: true}
		}
		if x.login {
			x.conn.Account = typeUser
		}
	}
}

// ownership adds the ownership of the objects of a database (and of databases, for the first), without those that the server made
// for itself.
func ownership(ctx context.Context, q querier, all map[uint32]*role, in *database, first bool) error {
	var ids []uint32
	for _, x := range all {
		if x.conn != nil && x.oid != public {
			ids = append(ids, x.oid)
		}
	}
	rows, err := q.Query(ctx, `SELECT o.type, o.name, o.oid, o.owner FROM (`+objectQuery+`) o
WHERE o.type <> 'column' AND o.owner = ANY($1::pg_catalog.oid[]) AND (o.owner >= 16384 OR `+userSchema+`)`, ids)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var target schemas.Name
		var oid, owner uint32
		if err := rows.Scan(&target.Type, &target.SourceName, &oid, &owner); err != nil {
			return err
		}
		id := nativeID(oid)
		switch {
		case target.Type != typeDatabase:
			target.SourceName, id = in.prefix+target.SourceName, in.id+id
		case !first:
			continue // the cluster's
		}
		c := all[owner].conn
		c.Entitlements = append(c.Entitlements, schemas.Entitlement{Target: target, TargetID: id, Privilege: schemas.PrivilegeOwner})
	}
	return rows.Err()
}

// impliedMembers adds what no access list has: the database's owner is a member of pg_database_owner, and some of the
// server's roles have privileges on every table.
func (r *reader) impliedMembers(ctx context.Context, q querier, all map[uint32]*role) error {
	rows, err := q.Query(ctx, `SELECT format('%I', datname), oid, datdba FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()`)
	if err != nil {
		return err
	}
	defer rows.Close()
	var database string
	var oid, owner uint32
	for rows.Next() {
		if err := rows.Scan(&database, &oid, &owner); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	here := schemas.Name{Type: typeDatabase, SourceName: database}
	holders := map[string]string{"pg_read_all_data": "READ ALL DATA", "pg_write_all_data": "WRITE ALL DATA", "pg_maintain": "MAINTAIN ALL DATA"}
	for _, x := range all {
		if p := holders[x.name]; p != "" {
			x.conn.Entitlements = append(x.conn.Entitlements, schemas.Entitlement{Target: here, TargetID: nativeID(oid), Privilege: p})
		}
		if x.name == "pg_database_owner" && all[owner] != nil {
			member := schemas.Name{Type: typeMember, SourceName: all[owner].name}
			if all[owner].identity() {
				member.Type = typeUser
			}
			x.conn.Entitlements = append(x.conn.Entitlements, schemas.Entitlement{Target: member, TargetID: nativeID(owner), Privilege: schemas.PrivilegeMember})
		}
	}
	return nil
}
