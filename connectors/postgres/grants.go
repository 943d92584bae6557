package postgres

import (
	"context"
	"strconv"

	"github.com/countersign/countersign/schemas"
)

// objectQuery lists every grantable object of a database by type, with its access list. sub is the number of a column,
// otherwise 0. Callers leave out the owner's privileges.
const objectQuery = `
SELECT CASE c.relkind WHEN 'S' THEN 'sequence' WHEN 'v' THEN 'view' WHEN 'm' THEN 'view' ELSE 'table' END AS type,
       format('%I.%I', n.nspname, c.relname) AS name, c.oid AS oid, 0 AS sub, c.relowner AS owner, c.relacl AS acl, n.nspname AS schema
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm', 'S')
UNION ALL
SELECT 'schema', format('%I', nspname), oid, 0, nspowner, nspacl, nspname FROM pg_catalog.pg_namespace
UNION ALL
SELECT 'database', format('%I', datname), oid, 0, datdba, datacl, '' FROM pg_catalog.pg_database
UNION ALL
SELECT 'function', p.oid::pg_catalog.regprocedure::text, p.oid, 0, p.proowner, p.proacl, n.nspname
  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
UNION ALL
SELECT 'column', format('%I.%I.%I', n.nspname, c.relname, a.attname), c.oid, a.attnum, c.relowner, a.attacl, n.nspname
  FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE a.attnum > 0 AND NOT a.attisdropped`

// objectID is the native id of an object: its oid, and for a column the oid of its table with its number.
func objectID(oid uint32, sub int) string {
	if sub > 0 {
		return nativeID(oid) + "/" + strconv.Itoa(sub)
	}
	return nativeID(oid)
}

// interner keeps one copy of each string that the catalogue repeats.
type interner map[string]string

func (i interner) one(s string) string {
	if x, ok := i[s]; ok {
		return x
	}
	i[s] = s
	return s
}

// grants adds to the selected roles what they hold on objects of a database (and on databases, for the first), what they
// get on objects that are created later, and the schemas of which they hold all objects of a kind. PUBLIC is among them as
// role 0 where the read reaches further: it has privileges also on objects without an access list.
func grants(ctx context.Context, q querier, all map[uint32]*role, in *database, first bool) error {
	names := interner{}
	cover, err := defaults(ctx, q, all, in, names)
	if err != nil {
		return err
	}
	acl, grantees := "o.acl", "o.acl IS NOT NULL AND x.grantee <> 0"
	if all[public] != nil {
		acl = `coalesce(o.acl, CASE o.type WHEN 'function' THEN acldefault('f', o.owner) WHEN 'database' THEN acldefault('d', o.owner) END)`
		grantees = "(x.grantee <> 0 OR " + userSchema + ")"
	}
	rows, err := q.Query(ctx, `SELECT o.type, o.name, o.oid, o.sub, o.owner, o.schema, x.grantee, x.privilege_type, bool_or(x.is_grantable)
FROM (`+objectQuery+`) o, LATERAL aclexplode(`+acl+`) x WHERE `+grantees+` AND x.grantee <> o.owner
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var typ, name, schema, privilege string
		var oid, owner, grantee uint32
		var sub int
		var grantable bool
		if err := rows.Scan(&typ, &name, &oid, &sub, &owner, &schema, &grantee, &privilege, &grantable); err != nil {
			return err
		}
		g := all[grantee]
		if g == nil || g.conn == nil {
			continue
		}
		id := objectID(oid, sub)
		switch {
		case typ != typeDatabase:
			name, id = in.prefix+name, in.id+id
		case !first:
			continue // the cluster's
		}
		typ = names.one(typ)
		g.hold(schemas.Name{Type: typ, SourceName: names.one(name)}, id, names.one(privilege), grantable, names)
		cover.hold(typ, schema, grantee, privilege, oid)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	rows.Close()
	return cover.complete(ctx, q, all, in)
}

// hold adds an entitlement to a selected role, and a second one if it holds it with the grant option.
func (x *role) hold(target schemas.Name, id, privilege string, grantable bool, names interner) {
	e := schemas.Entitlement{Target: target, TargetID: id, Privilege: privilege}
	x.conn.Entitlements = append(x.conn.Entitlements, e)
	if grantable {
		e.Privilege = names.one(privilege + grantOption)
		x.conn.Entitlements = append(x.conn.Entitlements, e)
	}
}
