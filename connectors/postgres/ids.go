package postgres

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// oidsOf returns the oids of native ids: of the table, for a column. Others are left out.
func oidsOf(ids []string) []uint32 {
	out := []uint32{}
	for _, id := range ids {
		id, _, _ = strings.Cut(id, "/")
		if n, err := strconv.ParseUint(id, 10, 32); err == nil {
			out = append(out, uint32(n))
		}
	}
	return out
}

// typedID is a native id, which only objects of one type share.
type typedID struct{ typ, id string }

// moved looks up today's names of the objects that the batch remembers by id and takes privileges on.
func (b *batch) moved(ctx context.Context, tx pgx.Tx) error {
	b.today = map[typedID]string{}
	ids := map[string][]string{}
	for _, o := range b.ops {
		if o.Kind == schemas.OperationRevoke && o.Target != nil && o.TargetID != "" && privileges(o.Target.Type) != nil {
			typ := o.Target.Type
			if allOf(typ) != nil {
				typ = typeSchema
			}
			ids[typ] = append(ids[typ], o.TargetID)
		}
	}
	for _, typ := range slices.Sorted(maps.Keys(ids)) {
		if f := defaultOf(typ); f != nil {
			list, err := defaultsWithIDs(ctx, tx, ids[typ])
			if err != nil {
				return err
			}
			for _, d := range list {
				b.today[typedID{typ, d.id()}] = d.name
			}
			continue
		}
		rows, err := tx.Query(ctx, `SELECT o.name, o.oid, o.sub FROM (`+objectQuery+`) o WHERE o.type = $1 AND o.oid = ANY($2)`, typ, oidsOf(ids[typ]))
		if err != nil {
			return err
		}
		for rows.Next() {
			var name string
			var oid uint32
			var sub int
			if err := rows.Scan(&name, &oid, &sub); err != nil {
				rows.Close()
				return err
			}
			b.today[typedID{typ, objectID(oid, sub)}] = name
		}
		if rows.Close(); rows.Err() != nil {
			return rows.Err()
		}
	}
	return nil
}

// defaultsWithIDs finds the roles and schemas of native ids of default privileges.
func defaultsWithIDs(ctx context.Context, q querier, ids []string) ([]defaultsOwner, error) {
	var owners, in []uint32
	for _, id := range ids {
		owner, schema, _ := strings.Cut(id, "/")
		if pair := oidsOf([]string{owner, schema}); len(pair) == 2 {
			owners, in = append(owners, pair[0]), append(in, pair[1])
		}
	}
	rows, err := q.Query(ctx, `SELECT CASE WHEN n.oid IS NULL THEN format('%I', r.rolname) ELSE format('%I.%I', n.nspname, r.rolname) END, r.rolname::text, r.oid,
  coalesce(n.nspname::text, ''), coalesce(n.oid, 0)
FROM unnest($1::oid[], $2::oid[]) w(owner, schema) JOIN pg_catalog.pg_roles r ON r.oid = w.owner LEFT JOIN pg_catalog.pg_namespace n ON n.oid = w.schema
WHERE w.schema = 0 OR n.oid IS NOT NULL`, owners, in)
	if err != nil {
		return nil, err
	}
	return collectDefaults(rows)
}

// renamed is the error of an operation for an object that has another name today; nil if there is none.
func (b *batch) renamed(o *schemas.Operation, typ, id string) error {
	name := b.today[typedID{typ, id}]
	if typ == typeRole {
		for _, oid := range oidsOf([]string{id}) {
			if x := b.byOID[oid]; x != nil {
				name = x.name
			}
		}
	}
	if name == "" {
		return nil
	}
	return connectors.Refuse(o, connectors.Conflict, "the %s with oid %s is now named %s", typ, id, name)
}
