package postgres

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// schemaWide is what a batch needs to know to grant and revoke on all objects of a schema.
type schemaWide struct {
	in map[inSchema]*contents
	// refused are the objects on which the credential can't grant a privilege, each with those who hold it.
	refused map[inSchema]map[string]map[uint32][]uint32
	// strangers are the owners that the credential can't act for.
	strangers map[uint32]bool
	// defaults has whose later objects a role gets a privilege on.
	defaults map[wideKey]map[uint32]bool
}

// wideKey is a privilege of a role on all objects of a kind in a schema.
type wideKey struct {
	inSchema
	grantee   uint32
	privilege string
}

// schemaWide looks up what the batch's operations on all objects of schemas need; nil if there are none.
func (b *batch) schemaWide(ctx context.Context, tx pgx.Tx) (*schemaWide, error) {
	oids, privileges := map[uint32]bool{}, map[string]map[string]bool{}
	for _, o := range b.ops {
		if o.Target == nil || allOf(o.Target.Type) == nil || b.check(o) != nil {
			continue
		}
		if x, err := b.object(o); err == nil {
			oids[x.oid] = true
			if privileges[o.Target.Type] == nil {
				privileges[o.Target.Type] = map[string]bool{}
			}
			privileges[o.Target.Type][strings.TrimSuffix(o.Privilege, grantOption)] = true
		}
	}
	if len(oids) == 0 {
		return nil, nil
	}
	list := slices.Sorted(maps.Keys(oids))
	w := &schemaWide{refused: map[inSchema]map[string]map[uint32][]uint32{}, strangers: map[uint32]bool{}, defaults: map[wideKey]map[uint32]bool{}}
	var err error
	if w.in, err = objectsIn(ctx, tx, list); err != nil {
		return nil, err
	}
	if err := w.readDefaults(ctx, tx, list); err != nil {
		return nil, err
	}
	for _, typ := range slices.Sorted(maps.Keys(privileges)) {
		for _, p := range slices.Sorted(maps.Keys(privileges[typ])) {
			if p == privilegeMaintain && b.writer.number < 170000 {
				continue // the server refuses it by itself
			}
			if err := w.readRefused(ctx, tx, allOf(typ), p, list); err != nil {
				return nil, err
			}
		}
	}
	rows, err := tx.Query(ctx, `SELECT oid FROM pg_catalog.pg_roles WHERE NOT pg_catalog.pg_has_role(oid, 'USAGE')`)
	if err != nil {
		return nil, err
	}
	strangers, err := pgx.CollectRows(rows, pgx.RowTo[uint32])
	for _, oid := range strangers {
		w.strangers[oid] = true
	}
	return w, err
}

func (w *schemaWide) readDefaults(ctx context.Context, tx pgx.Tx, schemas []uint32) error {
	types := map[string]string{}
	for _, f := range families() {
		types[f.acl] = f.all
	}
	rows, err := tx.Query(ctx, `SELECT d.defaclobjtype::text, d.defaclnamespace, d.defaclrole, x.grantee, x.privilege_type
FROM pg_catalog.pg_default_acl d, LATERAL aclexplode(d.defaclacl) x WHERE d.defaclnamespace = ANY($1)`, schemas)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var kind string
		var k wideKey
		var owner uint32
		if err := rows.Scan(&kind, &k.schema, &owner, &k.grantee, &k.privilege); err != nil {
			return err
		}
		k.all = types[kind]
		if w.defaults[k] == nil {
			w.defaults[k] = map[uint32]bool{}
		}
		w.defaults[k][owner] = true
	}
	return rows.Err()
}

func (w *schemaWide) readRefused(ctx context.Context, tx pgx.Tx, f *family, privilege string, schemas []uint32) error {
	// Materialized: the function fails on objects of another kind.
	rows, err := tx.Query(ctx, `WITH o AS MATERIALIZED (SELECT * FROM (`+f.objects+`) x WHERE x.schema = ANY($2))
SELECT o.schema, o.oid, ARRAY(SELECT x.grantee FROM aclexplode(o.acl) x WHERE x.privilege_type = $1)
FROM o WHERE NOT pg_catalog.`+f.may+`(o.oid, $1 || ' WITH GRANT OPTION')`, privilege, schemas)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		k := inSchema{all: f.all}
		var oid uint32
		var holders []uint32
		if err := rows.Scan(&k.schema, &oid, &holders); err != nil {
			return err
		}
		if w.refused[k] == nil {
			w.refused[k] = map[string]map[uint32][]uint32{}
		}
		if w.refused[k][privilege] == nil {
			w.refused[k][privilege] = map[uint32][]uint32{}
		}
		w.refused[k][privilege][oid] = holders
	}
	return rows.Err()
}

// onAll returns the statement about the objects of a schema that the credential can grant on, and the others. Those are
// passed to matters, which tells whether the operation is about them.
func (b *batch) onAll(f *family, schema object, verb, to, role, privilege string, matters func(content, []uint32) bool) (stmts []statement, others []string) {
	k := inSchema{f.all, schema.oid}
	in := b.wide.in[k]
	if in == nil {
		return nil, nil
	}
	plain := privilege[strings.LastIndex(privilege, " ")+1:] // without GRANT OPTION FOR
	refused := b.wide.refused[k][plain]
	var names []string
	for _, o := range in.objects {
		switch holders, ok := refused[o.oid]; {
		case !ok:
			names = append(names, o.name)
		case matters(o, holders):
			others = append(others, o.name+" (owner "+b.ownerName(o.owner)+")")
		}
	}
	switch {
	case len(refused) == 0:
		stmts = []statement{{verb + privilege + " ON ALL " + f.words + " IN " + schema.sql + to, role, ""}}
	case len(names) > 0:
		stmts = []statement{{verb + privilege + " ON " + f.single + " " + strings.Join(names, ", ") + to, role, ""}}
	}
	return stmts, others
}

func (b *batch) ownerName(oid uint32) string {
	if x := b.byOID[oid]; x != nil {
		return x.name
	}
	return fmt.Sprint(oid)
}

// later returns the statements about what owners create in a schema later, and those that the credential can't act for.
func (b *batch) later(f *family, schema object, verb, to, role, privilege string, owners []uint32) (stmts []statement, others []string) {
	slices.Sort(owners)
	for _, oid := range owners {
		owner := b.byOID[oid]
		switch {
		case owner == nil:
		case b.wide.strangers[oid]:
			others = append(others, "what "+owner.name+" creates later")
		default:
			stmts = append(stmts, statement{"ALTER DEFAULT PRIVILEGES FOR ROLE " + quote(owner.name) + " IN " + schema.sql + " " + verb + privilege + " ON " + f.words + to, role, ""})
		}
	}
	return stmts, others
}

// grantAll grants a privilege on all present and future objects of a kind in a schema. One that the credential can't
// grant on doesn't keep the others back: with an error, the statements are those for the others.
func (b *batch) grantAll(o *schemas.Operation, f *family, schema object, role string) ([]statement, error) {
	var grantee uint32
	if x := b.roles[o.Connection.SourceName]; x != nil {
		grantee = x.oid
	}
	stmts, others := b.onAll(f, schema, "GRANT ", " TO ", role, o.Privilege, func(c content, holders []uint32) bool {
		return c.owner != grantee && !slices.Contains(holders, grantee)
	})
	k := inSchema{f.all, schema.oid}
	var owners []uint32
	if in := b.wide.in[k]; in != nil {
		for _, owner := range in.owners {
			if owner != grantee && !b.wide.defaults[wideKey{k, grantee, o.Privilege}][owner] {
				owners = append(owners, owner)
			}
		}
	}
	later, more := b.later(f, schema, "GRANT ", " TO ", role, o.Privilege, owners)
	stmts, others = append(stmts, later...), append(others, more...)
	return stmts, b.rest(o, "granted on the others, and not on", others)
}

// revokeAll revokes a privilege on all present and future objects of a kind in a schema.
func (b *batch) revokeAll(o *schemas.Operation, f *family, schema object, what, role string) ([]statement, error) {
	var grantee uint32
	if x := b.roles[o.Connection.SourceName]; x != nil {
		grantee = x.oid
	}
	stmts, others := b.onAll(f, schema, "REVOKE ", " FROM ", role, what, func(_ content, holders []uint32) bool { return slices.Contains(holders, grantee) })
	k := wideKey{inSchema{f.all, schema.oid}, grantee, strings.TrimSuffix(o.Privilege, grantOption)}
	later, more := b.later(f, schema, "REVOKE ", " FROM ", role, what, slices.Collect(maps.Keys(b.wide.defaults[k])))
	stmts, others = append(stmts, later...), append(others, more...)
	return stmts, b.rest(o, "revoked on the others, and not on", others)
}

// rest is the error of an operation that leaves out some objects; nil for none.
func (b *batch) rest(o *schemas.Operation, done string, others []string) error {
	if len(others) == 0 {
		return nil
	}
	shown := strings.Join(others[:min(len(others), 10)], ", ")
	if len(others) > 10 {
		shown += fmt.Sprintf(" and %d more", len(others)-10)
	}
	return &connectors.Error{Code: connectors.Denied, Op: connectors.Title(o), Dependents: others,
		Message: fmt.Sprintf("%s %s: the applying credential needs membership in the owner (GRANT owner TO the credential)", done, shown)}
}
