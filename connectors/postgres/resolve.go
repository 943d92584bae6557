package postgres

import (
	"context"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// named lists the roles that the batch names, and the oids of those that it remembers; none if it needs others too.
func (b *batch) named() ([]string, []uint32) {
	names := map[string]bool{}
	var ids []string
	for _, o := range b.ops {
		names[o.Connection.SourceName] = true
		ids = append(ids, o.NativeID)
		switch {
		case o.Target == nil:
		case allOf(o.Target.Type) != nil:
			return nil, nil // it also grants on what others create later
		case privileges(o.Target.Type) == nil:
			names[o.Target.SourceName] = true
			ids = append(ids, o.TargetID)
		}
	}
	// The server cannot have a role of such a name.
	maps.DeleteFunc(names, func(n string, _ bool) bool { return !utf8.ValidString(n) || strings.IndexByte(n, 0) >= 0 })
	return slices.Sorted(maps.Keys(names)), oidsOf(ids)
}

// resolve looks up every role and object that the batch names.
func (b *batch) resolve(ctx context.Context, tx pgx.Tx) error {
	named, oids := b.named()
	all, err := roles(ctx, tx, named, oids)
	if err != nil {
		return err
	}
	b.byOID, b.roles, b.objects, b.wide = all, make(map[string]*role, len(all)), map[schemas.Name]object{}, nil
	for _, x := range all {
		b.roles[x.name] = x
	}
	if err := b.memberships(ctx, tx); err != nil {
		return err
	}
	names := map[string]map[string]bool{}
	for _, o := range b.ops {
		if o.Target == nil || privileges(o.Target.Type) == nil {
			continue
		}
		typ := o.Target.Type
		if allOf(typ) != nil {
			typ = typeSchema
		}
		if names[typ] == nil {
			names[typ] = map[string]bool{}
		}
		names[typ][o.Target.SourceName] = true
	}
	if err := b.moved(ctx, tx); err != nil {
		return err
	}
	for _, typ := range slices.Sorted(maps.Keys(names)) {
		if err := b.lookup(ctx, tx, typ, slices.Sorted(maps.Keys(names[typ]))); err != nil {
			return err
		}
	}
	b.wide, err = b.schemaWide(ctx, tx)
	return err
}

// memberships looks up who granted the memberships that the batch revokes. From PostgreSQL 16 on a membership has a
// row for each grantor, and REVOKE affects only one of them.
func (b *batch) memberships(ctx context.Context, tx pgx.Tx) error {
	b.grantors = map[[2]string]map[string]bool{}
	var groups, members []string
	for _, o := range b.ops {
		if o.Kind != schemas.OperationRevoke || o.Target == nil {
			continue
		}
		// Only names that the catalogue has: others can't be sent.
		if g, m, ok := b.membership(o); ok && b.roles[g] != nil && b.roles[m] != nil {
			groups, members = append(groups, g), append(members, m)
		}
	}
	if len(groups) == 0 || !b.writer.grantors() {
		return nil
	}
	rows, err := tx.Query(ctx, `SELECT g.rolname::text, m.rolname::text, x.rolname::text, a.admin_option FROM pg_catalog.pg_auth_members a
JOIN pg_catalog.pg_roles g ON g.oid = a.roleid JOIN pg_catalog.pg_roles m ON m.oid = a.member JOIN pg_catalog.pg_roles x ON x.oid = a.grantor
WHERE (g.rolname::text, m.rolname::text) IN (SELECT * FROM unnest($1::text[], $2::text[]))`, groups, members)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var k [2]string
		var grantor string
		var admin bool
		if err := rows.Scan(&k[0], &k[1], &grantor, &admin); err != nil {
			return err
		}
		if b.grantors[k] == nil {
			b.grantors[k] = map[string]bool{}
		}
		b.grantors[k][grantor] = admin
	}
	return rows.Err()
}

// lookup takes the SQL of each object from the server: a name from a request is put into a statement only if the
// catalogue has exactly that name.
func (b *batch) lookup(ctx context.Context, tx pgx.Tx, typ string, names []string) error {
	if f := defaultOf(typ); f != nil {
		list, err := defaultsNamed(ctx, tx, f, names)
		for _, d := range list {
			b.objects[schemas.Name{Type: typ, SourceName: d.name}] = object{id: d.id(), sql: d.sql()}
		}
		return err
	}
	rows, err := tx.Query(ctx, `SELECT o.name, o.oid, o.sub, CASE WHEN $1 = 'column' THEN o.oid::pg_catalog.regclass::text ELSE o.name END,
  CASE WHEN $1 = 'column' THEN (SELECT format('%I', a.attname) FROM pg_catalog.pg_attribute a, pg_catalog.pg_class c, pg_catalog.pg_namespace n
     WHERE a.attrelid = o.oid AND c.oid = o.oid AND n.oid = c.relnamespace AND format('%I.%I.%I', n.nspname, c.relname, a.attname) = o.name LIMIT 1) ELSE '' END
FROM (`+objectQuery+`) o WHERE o.type = $1 AND o.name = ANY($2)`, typ, names)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var x object
		var name, sql string
		var sub int
		if err := rows.Scan(&name, &x.oid, &sub, &sql, &x.cols); err != nil {
			return err
		}
		x.sql, x.id = keyword(typ)+sql, objectID(x.oid, sub)
		if x.cols != "" {
			x.cols = " (" + x.cols + ")"
		}
		b.objects[schemas.Name{Type: typ, SourceName: name}] = x
	}
	return rows.Err()
}

// connection finds the operation's role and refuses protected ones.
func (b *batch) connection(o *schemas.Operation) (*role, error) {
	if o.Connection.Type != typeRole {
		return nil, &connectors.Error{Code: connectors.Invalid, Op: connectors.Title(o), Message: "unknown connection type " + o.Connection.Type + " (expected role)"}
	}
	x := b.roles[o.Connection.SourceName]
	if x == nil {
		return nil, b.renamed(o, typeRole, o.NativeID)
	}
	if why := b.writer.protected(x); why != "" {
		return nil, &connectors.Error{Code: connectors.Denied, Op: connectors.Title(o), Message: "protected: " + why}
	}
	if o.NativeID != "" && x.oid != 0 && o.NativeID != nativeID(x.oid) {
		return nil, connectors.Refuse(o, connectors.Conflict, "the name now belongs to oid %d, and the operation is for oid %s", x.oid, o.NativeID)
	}
	return x, nil
}

func (b *batch) target(o *schemas.Operation) (*role, error) {
	x := b.roles[o.Target.SourceName]
	if x == nil {
		if err := b.renamed(o, typeRole, o.TargetID); err != nil {
			return nil, err
		}
		return nil, &connectors.Error{Code: connectors.NotFound, Op: connectors.Title(o), Message: "the role " + o.Target.SourceName + " does not exist"}
	}
	if o.TargetID != "" && x.oid != 0 && o.TargetID != nativeID(x.oid) {
		return nil, connectors.Refuse(o, connectors.Conflict, "the name %s now belongs to oid %d, and the operation is for oid %s", x.name, x.oid, o.TargetID)
	}
	return x, nil
}

func (b *batch) object(o *schemas.Operation) (object, error) {
	n := *o.Target
	if allOf(n.Type) != nil {
		n.Type = typeSchema
	}
	x, ok := b.objects[n]
	if !ok {
		if err := b.renamed(o, n.Type, o.TargetID); err != nil {
			return x, err
		}
		return x, &connectors.Error{Code: connectors.NotFound, Op: connectors.Title(o), Message: n.String() + " does not exist (expected a name as the server's format('%I.%I') writes it)"}
	}
	if o.TargetID != "" && o.TargetID != x.id {
		return x, connectors.Refuse(o, connectors.Conflict, "the name %s now belongs to oid %s, and the operation is for oid %s", n, x.id, o.TargetID)
	}
	return x, nil
}
