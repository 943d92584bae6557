package postgres

import (
	"context"

	"github.com/countersign/countersign/schemas"
)

// objectQuery lists every grantable object by type, with its access list. Callers leave out the owner's privileges.
const objectQuery = `
SELECT CASE c.relkind WHEN 'S' THEN 'sequence' WHEN 'v' THEN 'view' WHEN 'm' THEN 'view' ELSE 'table' END AS type,
       format('%I.%I', n.nspname, c.relname) AS name, c.oid AS oid, c.relowner AS owner, c.relacl AS acl, n.nspname AS schema
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm', 'S')
UNION ALL
SELECT 'schema', format('%I', nspname), oid, nspowner, nspacl, nspname FROM pg_catalog.pg_namespace
UNION ALL
SELECT 'database', format('%I', datname), oid, datdba, datacl, '' FROM pg_catalog.pg_database
UNION ALL
SELECT 'function', p.oid::pg_catalog.regprocedure::text, p.oid, p.proowner, p.proacl, n.nspname
  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
UNION ALL
SELECT 'column', format('%I.%I.%I', n.nspname, c.relname, a.attname), c.oid, c.relowner, a.attacl, n.nspname
  FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE a.attnum > 0 AND NOT a.attisdropped`

// grants reads the privileges of the roles that have a connection. PUBLIC is among them as role 0 where the read
// reaches further: it has privileges also on objects without an access list.
func grants(ctx context.Context, q querier, all map[uint32]*role) error {
	acl, grantees := "o.acl", "x.grantee <> 0"
	if all[public] != nil {
		acl = `coalesce(o.acl, CASE o.type WHEN 'function' THEN acldefault('f', o.owner) WHEN 'database' THEN acldefault('d', o.owner) END)`
		grantees = "(x.grantee <> 0 OR " + userSchema + ")"
	}
	rows, err := q.Query(ctx, `SELECT o.type, o.name, o.oid, o.owner, o.schema, x.grantee, x.privilege_type, bool_or(x.is_grantable)
FROM (`+objectQuery+`) o, LATERAL aclexplode(`+acl+`) x WHERE `+grantees+` AND x.grantee <> o.owner
GROUP BY 1, 2, 3, 4, 5, 6, 7`)
	if err != nil {
		return err
	}
	defer rows.Close()
	held := map[coverage]map[string]bool{} // tables on which a grantee has a privilege
	type item struct {
		grantee *role
		e       schemas.Entitlement
		cover   coverage
	}
	var items []item
	names := map[string]string{} // the catalogue repeats strings: keep one copy of each
	intern := func(s string) string {
		if x, ok := names[s]; ok {
			return x
		}
		names[s] = s
		return s
	}
	for rows.Next() {
		var typ, name, schema, priv string
		var oid, owner, grantee uint32
		var grantable bool
		if err := rows.Scan(&typ, &name, &oid, &owner, &schema, &grantee, &priv, &grantable); err != nil {
			return err
		}
		g := all[grantee]
		if g == nil || g.conn == nil {
			continue
		}
		priv = intern(priv)
		it := item{grantee: g, e: schemas.Entitlement{Target: schemas.Name{Type: intern(typ), SourceName: intern(name)}, TargetID: nativeID(oid), Privilege: priv}}
		if typ == typeTable || typ == typeView {
			it.cover = coverage{intern(schema), grantee, priv}
			if held[it.cover] == nil {
				held[it.cover] = map[string]bool{}
			}
			held[it.cover][it.e.Target.SourceName] = true
		}
		items = append(items, it)
		if grantable {
			it.e.Privilege = intern(priv + grantOption)
			it.cover = coverage{}
			items = append(items, it)
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	full, part, err := covered(ctx, q, all, held)
	if err != nil {
		return err
	}
	for _, it := range items {
		if it.cover != (coverage{}) && full[it.cover] != "" {
			continue
		}
		it.grantee.conn.Entitlements = append(it.grantee.conn.Entitlements, it.e)
	}
	for k, name := range full {
		c := all[k.grantee].conn
		c.Entitlements = append(c.Entitlements, schemas.Entitlement{Target: schemas.Name{Type: typeSchemaTables, SourceName: name}, Privilege: k.privilege})
	}
	for k, name := range part {
		c := all[k.grantee].conn
		c.Entitlements = append(c.Entitlements, schemas.Entitlement{Target: schemas.Name{Type: typeSchemaTables, SourceName: name}, Privilege: k.privilege + partly})
	}
	return nil
}

// coverage is a privilege of a grantee on the tables of a schema.
type coverage struct {
	schema    string
	grantee   uint32
	privilege string
}

// covered returns which privileges are held on all present and future tables of a schema, and which only in part: a
// default is set, but something that it would cover is missing.
func covered(ctx context.Context, q querier, all map[uint32]*role, held map[coverage]map[string]bool) (full, part map[coverage]string, err error) {
	rows, err := q.Query(ctx, `SELECT n.nspname, format('%I', n.nspname), d.defaclrole, x.grantee, x.privilege_type
FROM pg_catalog.pg_default_acl d JOIN pg_catalog.pg_namespace n ON n.oid = d.defaclnamespace, LATERAL aclexplode(d.defaclacl) x
WHERE d.defaclobjtype = 'r'`)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	defaults := map[coverage]map[uint32]bool{}
	quoted := map[string]string{}
	for rows.Next() {
		var k coverage
		var name string
		var owner uint32
		if err := rows.Scan(&k.schema, &name, &owner, &k.grantee, &k.privilege); err != nil {
			return nil, nil, err
		}
		if g := all[k.grantee]; g == nil || g.conn == nil {
			continue
		}
		if defaults[k] == nil {
			defaults[k] = map[uint32]bool{}
		}
		defaults[k][owner] = true
		quoted[k.schema] = name
	}
	if err := rows.Err(); err != nil || len(defaults) == 0 {
		return nil, nil, err
	}
	owners, tables, err := schemaTables(ctx, q)
	if err != nil {
		return nil, nil, err
	}
	full, part = map[coverage]string{}, map[coverage]string{}
	for k, by := range defaults {
		complete := true
		for o := range owners[k.schema] {
			complete = complete && by[o]
		}
		for t, owner := range tables[k.schema] {
			complete = complete && (held[k][t] || owner == k.grantee)
		}
		if complete {
			full[k] = quoted[k.schema]
		} else {
			part[k] = quoted[k.schema]
		}
	}
	return full, part, nil
}

// schemaTables returns, by schema, the owners of the schema and its tables, and the tables with their owners.
func schemaTables(ctx context.Context, q querier) (owners map[string]map[uint32]bool, tables map[string]map[string]uint32, err error) {
	rows, err := q.Query(ctx, `SELECT n.nspname, n.nspowner, CASE WHEN c.relname IS NOT NULL THEN format('%I.%I', n.nspname, c.relname) END, c.relowner
FROM pg_catalog.pg_namespace n LEFT JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relkind IN ('r', 'p', 'f', 'v', 'm')`)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	owners, tables = map[string]map[uint32]bool{}, map[string]map[string]uint32{}
	for rows.Next() {
		var schema string
		var schemaOwner uint32
		var table *string
		var owner *uint32
		if err := rows.Scan(&schema, &schemaOwner, &table, &owner); err != nil {
			return nil, nil, err
		}
		if owners[schema] == nil {
			owners[schema], tables[schema] = map[uint32]bool{}, map[string]uint32{}
		}
		owners[schema][schemaOwner] = true
		if table != nil && owner != nil {
			owners[schema][*owner] = true
			tables[schema][*table] = *owner
		}
	}
	return owners, tables, rows.Err()
}
