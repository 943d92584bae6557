package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

var _ connectors.Foreseer = (*reader)(nil)

// Foresee finds deletions of roles that own objects or have privileges out of reach, and changes for which the applying
// credential lacks a membership. That credential is the one of the settings, or else the owner of the lease: where
// neither is known, memberships are not checked.
func (r *reader) Foresee(ctx context.Context, ops []schemas.Operation) ([]schemas.Finding, error) {
	const op = "check what PostgreSQL would refuse"
	ctx, cancel := context.WithTimeout(ctx, r.limit)
	defer cancel()
	f := &foreseeing{reader: r}
	if err := f.findCredential(ctx); err != nil {
		return nil, wrap(op, err)
	}
	roles, objects := map[string][]*schemas.Operation{}, map[*database][]*schemas.Operation{}
	for i := range ops {
		o := &ops[i]
		switch group, d := groupOf(o), r.databaseOf(o.Target); {
		case o.Kind == schemas.OperationDelete:
			if err := f.deletion(ctx, o); err != nil {
				return nil, wrap(op, err)
			}
			roles[o.Connection.SourceName] = append(roles[o.Connection.SourceName], o)
		case o.Kind == schemas.OperationUpdate:
			roles[o.Connection.SourceName] = append(roles[o.Connection.SourceName], o)
		case group != "":
			roles[group] = append(roles[group], o)
		case o.Target != nil && d != nil:
			objects[d] = append(objects[d], o)
		}
	}
	if f.credential == "" {
		return f.found, nil
	}
	if err := f.administration(ctx, roles); err != nil {
		return nil, wrap(op, err)
	}
	for _, d := range r.databases {
		if err := f.objects(ctx, d, objects[d]); err != nil {
			return nil, wrap(op, err)
		}
	}
	return f.found, nil
}

// groupOf returns the role of which an operation changes the members, "" for none.
func groupOf(o *schemas.Operation) string {
	if o.Target == nil {
		return ""
	}
	switch o.Target.Type {
	case typeRole:
		return o.Target.SourceName
	case typeUser, typeMember:
		return o.Connection.SourceName
	}
	return ""
}

type foreseeing struct {
	*reader
	credential string // the role that applies, "" if it isn't known
	found      []schemas.Finding
}

func (f *foreseeing) add(o *schemas.Operation, format string, args ...any) {
	f.found = append(f.found, connectors.Foresaw(o, format, args...))
}

func (f *foreseeing) findCredential(ctx context.Context) error {
	if len(f.own) > 1 {
		f.credential = f.own[1]
		return nil
	}
	err := f.conn.QueryRow(ctx, `SELECT r.rolname::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_roles r ON r.oid = c.relowner WHERE n.nspname = 'countersign' AND c.relname = 'lease' AND n.nspowner = c.relowner`).Scan(&f.credential)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	return err
}

// deletion finds what keeps a role from being dropped.
func (f *foreseeing) deletion(ctx context.Context, o *schemas.Operation) error {
	rows, err := f.conn.Query(ctx, `SELECT coalesce(d.datname::text, ''), count(*) FILTER (WHERE s.deptype = 'o'),
  coalesce(d.datallowconn AND ($2 = '' OR pg_catalog.has_database_privilege($2, d.oid, 'CONNECT')), true)
FROM pg_catalog.pg_shdepend s JOIN pg_catalog.pg_roles r ON r.oid = s.refobjid LEFT JOIN pg_catalog.pg_database d ON d.oid = s.dbid
WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND r.rolname::text = $1 GROUP BY d.oid, d.datname, d.datallowconn ORDER BY 1`,
		o.Connection.SourceName, f.credential)
	if err != nil {
		return err
	}
	defer rows.Close()
	var owned []string
	for rows.Next() {
		var db string
		var n int
		var reach bool
		if err := rows.Scan(&db, &n, &reach); err != nil {
			return err
		}
		switch {
		case !reach:
			f.add(o, "it has privileges or objects in the database %s, to which the applying credential can't connect", db)
		case n > 0 && db == "":
			owned = append(owned, fmt.Sprintf("%d shared by all databases", n))
		case n > 0:
			owned = append(owned, fmt.Sprintf("%d in the database %s", n, db))
		}
	}
	if len(owned) > 0 && o.ReassignTo == "" {
		f.add(o, "it owns objects (%s): set reassign_to", strings.Join(owned, ", "))
	}
	return rows.Err()
}

// administration finds roles that the credential may not change. Before PostgreSQL 16 CREATEROLE was enough for all.
func (f *foreseeing) administration(ctx context.Context, ops map[string][]*schemas.Operation) error {
	if !f.grantors() || len(ops) == 0 {
		return nil
	}
	rows, err := f.conn.Query(ctx, `SELECT r.rolname::text FROM pg_catalog.pg_roles r
WHERE r.rolname::text = ANY($1) AND NOT pg_catalog.pg_has_role($2, r.oid, 'MEMBER WITH ADMIN OPTION') ORDER BY 1`, slices.Sorted(maps.Keys(ops)), f.credential)
	if err != nil {
		return err
	}
	refused, err := pgx.CollectRows(rows, pgx.RowTo[string])
	for _, name := range refused {
		for _, o := range ops[name] {
			f.add(o, "the applying credential %s lacks ADMIN on %s (GRANT %s TO %s WITH ADMIN OPTION)", f.credential, name, quote(name), quote(f.credential))
		}
	}
	return err
}

// mayGrant is the condition that a role may grant a privilege on an object, by the object's type: $3 is the role.
func mayGrant(typ string) string {
	const option = ", w.privilege || ' WITH GRANT OPTION')"
	switch typ {
	case typeColumn:
		return "pg_catalog.has_column_privilege($3, o.oid, o.sub::smallint" + option
	case typeSchema:
		return "pg_catalog.has_schema_privilege($3, o.oid" + option
	case typeDatabase:
		return "pg_catalog.has_database_privilege($3, o.oid" + option
	}
	if f := familyOf(typ); f != nil && slices.Contains(f.parts, typ) {
		return "pg_catalog." + f.may + "($3, o.oid" + option
	}
	return ""
}

// objects finds privileges in one database that the credential can't grant or revoke.
func (f *foreseeing) objects(ctx context.Context, d *database, ops []*schemas.Operation) error {
	if len(ops) == 0 {
		return nil
	}
	conn, err := f.session(ctx, d)
	if err != nil {
		return nil //nolint:nilerr // the read has found that the database is out of reach
	}
	byType := map[string][]*schemas.Operation{}
	for _, o := range ops {
		if p := strings.TrimSuffix(o.Privilege, grantOption); p != privilegeMaintain || f.number >= 170000 {
			byType[o.Target.Type] = append(byType[o.Target.Type], o)
		}
	}
	for _, typ := range slices.Sorted(maps.Keys(byType)) {
		list := byType[typ]
		var names, privileges []string
		for _, o := range list {
			inner := d.inside(o)
			names, privileges = append(names, inner.Target.SourceName), append(privileges, strings.TrimSuffix(o.Privilege, grantOption))
		}
		var refused map[[2]string][]string
		var err error
		switch family := familyOf(typ); {
		case mayGrant(typ) != "":
			refused, err = refusedObjects(ctx, conn, typ, names, privileges, f.credential)
		case family != nil && family.all == typ:
			refused, err = refusedParts(ctx, conn, family, names, privileges, f.credential)
		case family != nil:
			refused, err = refusedDefaults(ctx, conn, family, names, privileges, f.credential)
		}
		if err != nil {
			return err
		}
		for i, o := range list {
			if owners := refused[[2]string{names[i], privileges[i]}]; len(owners) > 0 {
				f.add(o, "the applying credential %s needs membership in the owner: %s", f.credential, strings.Join(owners[:min(len(owners), 10)], ", "))
			}
		}
	}
	return nil
}

// collectRefused reads names, privileges and what is refused of them.
func collectRefused(rows pgx.Rows, err error) (map[[2]string][]string, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := map[[2]string][]string{}
	for rows.Next() {
		var k [2]string
		var owner string
		if err := rows.Scan(&k[0], &k[1], &owner); err != nil {
			return nil, err
		}
		out[k] = append(out[k], owner)
	}
	return out, rows.Err()
}

// refusedObjects and refusedParts select the objects with OFFSET 0, so that the privilege functions aren't asked about
// objects of another kind, at which they fail.
func refusedObjects(ctx context.Context, q querier, typ string, names, privileges []string, credential string) (map[[2]string][]string, error) {
	return collectRefused(q.Query(ctx, `SELECT w.name, w.privilege, r.rolname::text FROM unnest($1::text[], $2::text[]) w(name, privilege)
JOIN (SELECT * FROM (`+objectQuery+`) a WHERE a.type = $4 AND a.name = ANY($1) OFFSET 0) o ON o.name = w.name JOIN pg_catalog.pg_roles r ON r.oid = o.owner WHERE NOT `+mayGrant(typ),
		names, privileges, credential, typ))
}

func refusedParts(ctx context.Context, q querier, f *family, names, privileges []string, credential string) (map[[2]string][]string, error) {
	const named = `unnest($1::text[], $2::text[]) w(name, privilege) JOIN pg_catalog.pg_namespace n ON format('%I', n.nspname) = w.name`
	return collectRefused(q.Query(ctx, `SELECT w.name, w.privilege, r.rolname || ' (' || o.name || ')' FROM `+named+`
JOIN (SELECT * FROM (`+f.objects+`) a WHERE a.schema IN (SELECT oid FROM pg_catalog.pg_namespace WHERE format('%I', nspname) = ANY($1)) OFFSET 0) o ON o.schema = n.oid
JOIN pg_catalog.pg_roles r ON r.oid = o.owner WHERE NOT pg_catalog.`+f.may+`($3, o.oid, w.privilege || ' WITH GRANT OPTION')
UNION ALL SELECT w.name, w.privilege, r.rolname || ' (the schema)' FROM `+named+` JOIN pg_catalog.pg_roles r ON r.oid = n.nspowner
WHERE NOT pg_catalog.pg_has_role($3, n.nspowner, 'USAGE') ORDER BY 1, 2, 3`, names, privileges, credential))
}

func refusedDefaults(ctx context.Context, q querier, f *family, names, privileges []string, credential string) (map[[2]string][]string, error) {
	list, err := defaultsNamed(ctx, q, f, names)
	if err != nil {
		return nil, err
	}
	var named []string
	var owners []uint32
	for _, d := range list {
		named, owners = append(named, d.name), append(owners, d.ownerOID)
	}
	return collectRefused(q.Query(ctx, `SELECT DISTINCT w.name, w.privilege, r.rolname::text FROM unnest($1::text[], $2::text[]) w(name, privilege)
JOIN unnest($4::text[], $5::oid[]) o(name, owner) ON o.name = w.name JOIN pg_catalog.pg_roles r ON r.oid = o.owner
WHERE NOT pg_catalog.pg_has_role($3, r.oid, 'USAGE')`, names, privileges, credential, named, owners))
}
