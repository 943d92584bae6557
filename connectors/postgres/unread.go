package postgres

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/countersign/countersign/schemas"
)

// unreadQuery counts what roles hold or own that Read doesn't return, in all databases of the cluster. pg_shdepend
// has an entry for each object that a role owns ('o'), has privileges on ('a'), or is named in a policy of ('r'). It
// has none for PUBLIC, nor for settings of roles.
const unreadQuery = `SELECT s.refobjid, CASE
    WHEN s.dbid NOT IN (0, here.oid) THEN 'object in another database'
    WHEN s.deptype = 'o' THEN 'owned object'
    WHEN s.deptype = 'r' THEN 'row security policy'
    WHEN s.classid = 'pg_catalog.pg_default_acl'::pg_catalog.regclass THEN 'default privilege'
    WHEN s.classid = 'pg_catalog.pg_parameter_acl'::pg_catalog.regclass THEN 'parameter'
    WHEN s.classid IN ('pg_catalog.pg_largeobject'::pg_catalog.regclass, 'pg_catalog.pg_largeobject_metadata'::pg_catalog.regclass) THEN 'large object'
    WHEN s.classid = 'pg_catalog.pg_tablespace'::pg_catalog.regclass THEN 'tablespace'
    WHEN s.classid = 'pg_catalog.pg_type'::pg_catalog.regclass THEN 'type'
    WHEN s.classid = 'pg_catalog.pg_language'::pg_catalog.regclass THEN 'language'
    WHEN s.classid = 'pg_catalog.pg_foreign_server'::pg_catalog.regclass THEN 'foreign server'
    WHEN s.classid = 'pg_catalog.pg_foreign_data_wrapper'::pg_catalog.regclass THEN 'foreign-data wrapper'
    ELSE 'other object' END, pg_catalog.count(*)
FROM pg_catalog.pg_shdepend s, (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) here
WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND s.deptype IN ('a', 'o', 'r')
  -- the databases of the application speak each for itself, the first one for the cluster too
  AND (s.dbid = here.oid OR $2 AND s.dbid NOT IN (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname::text = ANY($1)))
  -- what is read: ownership of objects here, privileges on them, and those on new ones but types
  AND NOT (s.deptype IN ('a', 'o') AND s.dbid IN (0, here.oid) AND s.classid IN ('pg_catalog.pg_class'::pg_catalog.regclass,
    'pg_catalog.pg_namespace'::pg_catalog.regclass, 'pg_catalog.pg_proc'::pg_catalog.regclass, 'pg_catalog.pg_database'::pg_catalog.regclass))
  AND NOT (s.classid = 'pg_catalog.pg_default_acl'::pg_catalog.regclass AND (s.deptype = 'o' OR s.dbid = here.oid AND EXISTS (
    SELECT FROM pg_catalog.pg_default_acl a WHERE a.oid = s.objid AND a.defaclobjtype IN ('r', 'S', 'f', 'n'))))
GROUP BY 1, 2`

// unread lists what the selected roles hold that Read doesn't return.
func unread(ctx context.Context, q querier, all map[uint32]*role, databases []string, first bool) ([]schemas.NotRead, error) {
	rows, err := q.Query(ctx, unreadQuery, databases, first)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []schemas.NotRead
	for rows.Next() {
		var oid uint32
		var n schemas.NotRead
		if err := rows.Scan(&oid, &n.What, &n.Count); err != nil {
			return nil, err
		}
		x := all[oid]
		if x == nil || x.conn == nil || x.conn.Protected != "" {
			continue
		}
		n.Connection = x.conn.Name
		out = append(out, n)
	}
	return out, rows.Err()
}

// notManaged counts what the selected roles own and what PUBLIC may use in a database, beside the server's own objects.
// Neither can be requested, and a read that reaches further lists both.
func notManaged(ctx context.Context, q querier, all map[uint32]*role, first bool) ([]schemas.NotRead, error) {
	rows, err := q.Query(ctx, `SELECT s.refobjid, pg_catalog.count(*)
FROM pg_catalog.pg_shdepend s, (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) here
WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND s.deptype = 'o' AND (s.dbid = here.oid OR $1 AND s.dbid = 0)
  AND s.classid IN ('pg_catalog.pg_class'::pg_catalog.regclass, 'pg_catalog.pg_namespace'::pg_catalog.regclass,
    'pg_catalog.pg_proc'::pg_catalog.regclass, 'pg_catalog.pg_database'::pg_catalog.regclass) GROUP BY 1
UNION ALL
SELECT 0, pg_catalog.count(*) FROM (`+objectQuery+`) o
CROSS JOIN LATERAL pg_catalog.aclexplode(coalesce(o.acl, CASE o.type WHEN 'function' THEN pg_catalog.acldefault('f', o.owner)
  WHEN 'database' THEN pg_catalog.acldefault('d', o.owner) END)) x
WHERE x.grantee = 0 AND `+userSchema+` AND (o.type <> 'database' OR $1)`, first)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []schemas.NotRead
	for rows.Next() {
		var oid uint32
		n := schemas.NotRead{What: "privilege of PUBLIC"}
		if err := rows.Scan(&oid, &n.Count); err != nil {
			return nil, err
		}
		if oid != public {
			if x := all[oid]; x == nil || x.conn == nil || x.conn.Protected != "" {
				continue
			} else {
				n.What, n.Connection = "owned object", x.conn.Name
			}
		}
		if n.Count > 0 {
			out = append(out, n)
		}
	}
	return out, rows.Err()
}

// sumNotRead sorts, and adds up what several databases have of one kind.
func sumNotRead(list []schemas.NotRead) []schemas.NotRead {
	slices.SortFunc(list, func(a, b schemas.NotRead) int {
		return cmp.Or(a.Connection.Compare(b.Connection), strings.Compare(a.What, b.What))
	})
	out := list[:0]
	for _, n := range list {
		if i := len(out) - 1; i >= 0 && out[i].Connection == n.Connection && out[i].What == n.What {
			out[i].Count += n.Count
			continue
		}
		out = append(out, n)
	}
	return out
}
