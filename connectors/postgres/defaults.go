package postgres

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// defaultsOwner is a decoded name of default privileges: the role whose later objects they are about, and the schema.
type defaultsOwner struct {
	name          string // as the server writes it
	owner, schema string // plain; without a schema they are about all
	ownerOID      uint32
	schemaOID     uint32
	protected     bool
}

// sql is the statement's beginning, up to the verb.
func (d defaultsOwner) sql() string {
	s := "ALTER DEFAULT PRIVILEGES FOR ROLE " + quote(d.owner)
	if d.schema != "" {
		s += " IN SCHEMA " + quote(d.schema)
	}
	return s + " "
}

func (d defaultsOwner) id() string { return nativeID(d.ownerOID) + "/" + nativeID(d.schemaOID) }

// identifiers splits a name as format('%I.%I') writes it into plain identifiers; nil if it isn't one.
func identifiers(name string) []string {
	var out []string
	for rest := name; ; {
		var part strings.Builder
		if strings.HasPrefix(rest, `"`) {
			rest = rest[1:]
			for {
				i := strings.IndexByte(rest, '"')
				if i < 0 {
					return nil
				}
				part.WriteString(rest[:i])
				rest = rest[i+1:]
				if !strings.HasPrefix(rest, `"`) {
					break
				}
				part.WriteByte('"')
				rest = rest[1:]
			}
		} else {
			i := strings.IndexAny(rest, `."`)
			if i < 0 {
				i = len(rest)
			}
			part.WriteString(rest[:i])
			rest = rest[i:]
		}
		if part.Len() == 0 {
			return nil
		}
		out = append(out, part.String())
		if rest == "" {
			return out
		}
		if rest[0] != '.' {
			return nil
		}
		rest = rest[1:]
	}
}

// defaultsNamed finds the roles and schemas that names of default privileges are about. The server writes each name
// again, so that a name has one spelling.
func defaultsNamed(ctx context.Context, q querier, f *family, names []string) ([]defaultsOwner, error) {
	var owners, in, asked []string
	for _, n := range names {
		parts := identifiers(n)
		switch {
		case len(parts) == 1:
			owners, in, asked = append(owners, parts[0]), append(in, ""), append(asked, n)
		case len(parts) == 2 && f.all != "":
			owners, in, asked = append(owners, parts[1]), append(in, parts[0]), append(asked, n)
		}
	}
	rows, err := q.Query(ctx, `SELECT w.name, r.rolname::text, r.oid, coalesce(n.nspname::text, ''), coalesce(n.oid, 0)
FROM unnest($1::text[], $2::text[], $3::text[]) w(name, owner, schema) JOIN pg_catalog.pg_roles r ON r.rolname::text = w.owner
LEFT JOIN pg_catalog.pg_namespace n ON n.nspname::text = w.schema
WHERE (w.schema = '' OR n.oid IS NOT NULL) AND w.name = CASE WHEN n.oid IS NULL THEN format('%I', r.rolname) ELSE format('%I.%I', n.nspname, r.rolname) END`, asked, owners, in)
	if err != nil {
		return nil, err
	}
	return collectDefaults(rows)
}

func collectDefaults(rows pgx.Rows) ([]defaultsOwner, error) {
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (defaultsOwner, error) {
		var d defaultsOwner
		err := row.Scan(&d.name, &d.owner, &d.ownerOID, &d.schema, &d.schemaOID)
		d.protected = schemas.Match([]string{"pg_*", "information_schema"}, d.schema) || schemas.Match([]string{"pg_*"}, d.owner)
		return d, err
	})
}

// listDefaults lists whose later objects can be granted: the owners of schemas and of what is in them, those who have
// defaults already, and, for schemas, those who may create one. By name it finds any role.
func (r *reader) listDefaults(ctx context.Context, conn *pgx.Conn, f *family, q connectors.Query) ([]schemas.Item, error) {
	var list []defaultsOwner
	var err error
	if q.Names != nil {
		list, err = defaultsNamed(ctx, conn, f, q.Names)
	}
	if err == nil && (q.Names == nil || len(q.IDs) > 0) {
		var all []defaultsOwner
		if all, err = owners(ctx, conn, f); q.Names != nil && err == nil {
			all, err = defaultsWithIDs(ctx, conn, q.IDs)
		}
		list = append(list, all...)
	}
	if err != nil {
		return nil, err
	}
	var out []schemas.Item
	for _, d := range list {
		i := schemas.Item{Name: schemas.Name{Type: f.def, SourceName: d.name}, NativeID: d.id()}
		if d.protected {
			if i.Protected = "it belongs to the server"; q.Names == nil {
				continue
			}
		}
		out = append(out, i)
	}
	return out, nil
}

func owners(ctx context.Context, conn *pgx.Conn, f *family) ([]defaultsOwner, error) {
	objects := f.objects
	if objects == "" {
		objects = "SELECT 0::oid AS schema, oid AS owner FROM pg_catalog.pg_roles WHERE pg_catalog.has_database_privilege(oid, pg_catalog.current_database(), 'CREATE')"
	}
	all := `(SELECT oid AS schema, nspowner AS owner FROM pg_catalog.pg_namespace UNION SELECT schema, owner FROM (` + objects + `) x
  UNION SELECT defaclnamespace, defaclrole FROM pg_catalog.pg_default_acl WHERE defaclobjtype = $1) o`
	query := `SELECT format('%I', r.rolname), r.rolname::text, r.oid, '', 0::oid FROM pg_catalog.pg_roles r WHERE r.oid IN (SELECT owner FROM ` + all + `)`
	if f.all != "" {
		query += ` UNION ALL SELECT format('%I.%I', n.nspname, r.rolname), r.rolname::text, r.oid, n.nspname::text, n.oid
FROM ` + all + ` JOIN pg_catalog.pg_namespace n ON n.oid = o.schema JOIN pg_catalog.pg_roles r ON r.oid = o.owner`
	}
	rows, err := conn.Query(ctx, query, f.acl)
	if err != nil {
		return nil, err
	}
	return collectDefaults(rows)
}
