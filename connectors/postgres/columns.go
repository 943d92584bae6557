package postgres

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/countersign/countersign/schemas"
)

// columnGrant is a privilege of a role on a column. All names are quoted.
type columnGrant struct {
	table, column, role, privilege string
	option                         bool
}

// keeper gives back the privileges on columns that a REVOKE on their table takes along.
type keeper struct {
	tables, schemas, roles []uint32
	// leave has the privileges on columns that the batch itself revokes.
	leave  map[columnKey]bool
	before map[columnGrant]bool
}

// columnKey is a revoked privilege on a column: its name, the role and the privilege.
type columnKey struct{ name, role, privilege string }

// revokesTables reports whether an operation is a REVOKE on a table or on all tables of a schema.
func revokesTables(o *schemas.Operation) bool {
	if o.Kind != schemas.OperationRevoke || o.Target == nil {
		return false
	}
	switch o.Target.Type {
	case typeTable, typeView, typeSchemaTables:
		return true
	}
	return false
}

// keep notes the privileges on columns that the batch's revokes may take along.
func (b *batch) keep(ctx context.Context, tx pgx.Tx) (*keeper, error) {
	k := &keeper{leave: map[columnKey]bool{}}
	for _, o := range b.ops {
		if o.Kind != schemas.OperationRevoke || o.Target == nil {
			continue
		}
		if o.Target.Type == typeColumn {
			k.leave[columnKey{o.Target.SourceName, o.Connection.SourceName, strings.TrimSuffix(o.Privilege, grantOption)}] = true
		}
		role := b.roles[o.Connection.SourceName]
		if !revokesTables(o) || role == nil || role.oid == 0 {
			continue
		}
		object, err := b.object(o)
		if err != nil {
			continue // the operation fails by itself
		}
		if o.Target.Type == typeSchemaTables {
			k.schemas = append(k.schemas, object.oid)
		} else {
			k.tables = append(k.tables, object.oid)
		}
		k.roles = append(k.roles, role.oid)
	}
	var err error
	k.before, err = k.held(ctx, tx)
	return k, err
}

// held returns the privileges on columns of the keeper's tables and roles.
func (k *keeper) held(ctx context.Context, tx pgx.Tx) (map[columnGrant]bool, error) {
	if len(k.roles) == 0 {
		return nil, nil
	}
	rows, err := tx.Query(ctx, `SELECT format('%I.%I', n.nspname, c.relname), format('%I', a.attname), r.rolname::text, format('%I', r.rolname), x.privilege_type,
  bool_or(x.is_grantable)
FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace,
  LATERAL aclexplode(a.attacl) x JOIN pg_catalog.pg_roles r ON r.oid = x.grantee
WHERE a.attacl IS NOT NULL AND NOT a.attisdropped AND (c.oid = ANY($1) OR n.oid = ANY($2)) AND r.oid = ANY($3) GROUP BY 1, 2, 3, 4, 5`,
		k.tables, k.schemas, k.roles)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := map[columnGrant]bool{}
	for rows.Next() {
		var g columnGrant
		var role string
		if err := rows.Scan(&g.table, &g.column, &role, &g.role, &g.privilege, &g.option); err != nil {
			return nil, err
		}
		if !k.leave[columnKey{g.table + "." + g.column, role, g.privilege}] {
			out[g] = true
		}
	}
	return out, rows.Err()
}

// giveBack grants again what was lost since keep, in the same transaction.
func (k *keeper) giveBack(ctx context.Context, tx pgx.Tx) error {
	if len(k.before) == 0 {
		return nil
	}
	now, err := k.held(ctx, tx)
	if err != nil {
		return err
	}
	var statements []string
	for g := range maps.Keys(k.before) {
		if now[g] || !g.option && now[columnGrant{g.table, g.column, g.role, g.privilege, true}] {
			continue
		}
		s := "GRANT " + g.privilege + " (" + g.column + ") ON TABLE " + g.table + " TO " + g.role
		if g.option {
			s += " WITH GRANT OPTION"
		}
		statements = append(statements, s+";\n")
	}
	if len(statements) == 0 {
		return nil
	}
	slices.Sort(statements)
	_, err = tx.Conn().PgConn().Exec(ctx, strings.Join(statements, "")).ReadAll()
	return err
}
