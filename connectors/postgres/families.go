package postgres

import (
	"context"
	"slices"
	"strings"

	"github.com/countersign/countersign/schemas"
)

// family is a kind of objects with default privileges: what roles get on those that are created later.
type family struct {
	// all is the type of all objects of the kind in a schema, "" for none, def that of the defaults.
	all, def string
	parts    []string // the types of the objects
	acl      string   // pg_default_acl.defaclobjtype
	words    string   // in GRANT … ON ALL … IN SCHEMA and ALTER DEFAULT PRIVILEGES
	single   string   // in GRANT … ON …
	may      string   // the function that tests for the grant option
	objects  string   // their schema, oid, owner, acl and name
}

const classObjects = `SELECT c.relnamespace AS schema, c.oid AS oid, c.relowner AS owner, c.relacl AS acl, format('%I.%I', n.nspname, c.relname) AS name
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN `

// families are the kinds of objects with defaults.
func families() []family {
	return []family{
		{all: typeSchemaTables, def: typeDefaultTables, parts: []string{typeTable, typeView}, acl: "r", words: "TABLES", single: "TABLE", may: "has_table_privilege",
			objects: classObjects + `('r', 'p', 'f', 'v', 'm')`},
		{all: typeSchemaSequences, def: typeDefaultSequences, parts: []string{typeSequence}, acl: "S", words: "SEQUENCES", single: "SEQUENCE", may: "has_sequence_privilege",
			objects: classObjects + `('S')`},
		{all: typeSchemaFunctions, def: typeDefaultFunctions, parts: []string{typeFunction}, acl: "f", words: "ROUTINES", single: "ROUTINE", may: "has_function_privilege",
			objects: `SELECT p.pronamespace AS schema, p.oid AS oid, p.proowner AS owner, p.proacl AS acl, p.oid::pg_catalog.regprocedure::text AS name FROM pg_catalog.pg_proc p`},
		{def: typeDefaultSchemas, acl: "n", words: "SCHEMAS"},
	}
}

// familyOf returns the family of a type of object, of all objects in a schema, or of defaults; nil for none.
func familyOf(typ string) *family {
	for _, f := range families() {
		if typ != "" && typ == f.all || typ == f.def || slices.Contains(f.parts, typ) {
			return &f
		}
	}
	return nil
}

// allOf returns the family of which a type is all objects in a schema; nil for none.
func allOf(typ string) *family {
	if f := familyOf(typ); f != nil && f.all == typ {
		return f
	}
	return nil
}

// defaultOf returns the family of which a type is the defaults; nil for none.
func defaultOf(typ string) *family {
	if f := familyOf(typ); f != nil && f.def == typ {
		return f
	}
	return nil
}

// coverage is a privilege of a grantee on all objects of a kind in a schema.
type coverage struct {
	all, schema string
	grantee     uint32
	privilege   string
}

// covering finds which roles hold a privilege on all present and future objects of a schema. A schema counts only with
// defaults by all owners in it.
type covering struct {
	// owners are those whose later objects are covered, held the objects that are.
	owners, held map[coverage]map[uint32]bool
	types        map[string]string // by the type of the objects
	schemas      map[string]uint32
	quoted       map[string]string
}

const defaultsQuery = `SELECT d.defaclobjtype::text, d.defaclnamespace, coalesce(n.nspname, ''), CASE WHEN n.oid IS NULL THEN '' ELSE format('%I', n.nspname) END,
  d.defaclrole, format('%I', r.rolname), x.grantee, x.privilege_type, bool_or(x.is_grantable)
FROM pg_catalog.pg_default_acl d JOIN pg_catalog.pg_roles r ON r.oid = d.defaclrole LEFT JOIN pg_catalog.pg_namespace n ON n.oid = d.defaclnamespace,
  LATERAL aclexplode(d.defaclacl) x
WHERE d.defaclobjtype IN ('r', 'S', 'f', 'n') AND x.grantee <> 0 AND x.grantee <> d.defaclrole GROUP BY 1, 2, 3, 4, 5, 6, 7, 8`

// defaults adds the default privileges to the selected roles, and returns what they may cover.
func defaults(ctx context.Context, q querier, all map[uint32]*role, in *database, names interner) (*covering, error) {
	c := &covering{owners: map[coverage]map[uint32]bool{}, held: map[coverage]map[uint32]bool{}, types: map[string]string{}, schemas: map[string]uint32{}, quoted: map[string]string{}}
	rows, err := q.Query(ctx, defaultsQuery)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	kinds := map[string]family{}
	for _, f := range families() {
		kinds[f.acl] = f
		for _, typ := range f.parts {
			c.types[typ] = f.all
		}
	}
	for rows.Next() {
		var kind, schema, quoted, owner, privilege string
		var namespace, by, grantee uint32
		var grantable bool
		if err := rows.Scan(&kind, &namespace, &schema, &quoted, &by, &owner, &grantee, &privilege, &grantable); err != nil {
			return nil, err
		}
		g := all[grantee]
		if g == nil || g.conn == nil {
			continue
		}
		f := kinds[kind]
		name := owner
		if namespace != 0 {
			name = quoted + "." + owner
		}
		g.hold(schemas.Name{Type: f.def, SourceName: names.one(in.prefix + name)}, in.id+nativeID(by)+"/"+nativeID(namespace), names.one(privilege), grantable, names)
		if namespace == 0 || f.all == "" {
			continue
		}
		k := coverage{f.all, schema, grantee, privilege}
		if c.owners[k] == nil {
			c.owners[k], c.held[k] = map[uint32]bool{}, map[uint32]bool{}
		}
		c.owners[k][by] = true
		c.schemas[schema], c.quoted[schema] = namespace, quoted
	}
	return c, rows.Err()
}

// hold notes that a privilege is held on an object.
func (c *covering) hold(typ, schema string, grantee uint32, privilege string, oid uint32) {
	if len(c.owners) == 0 || c.types[typ] == "" {
		return
	}
	if held := c.held[coverage{c.types[typ], schema, grantee, privilege}]; held != nil {
		held[oid] = true
	}
}

// complete adds the entitlements on all objects of a schema that are complete.
func (c *covering) complete(ctx context.Context, q querier, all map[uint32]*role, db *database) error {
	if len(c.owners) == 0 {
		return nil
	}
	var oids []uint32
	for _, oid := range c.schemas {
		oids = append(oids, oid)
	}
	in, err := objectsIn(ctx, q, oids)
	if err != nil {
		return err
	}
	for k, by := range c.owners {
		schema := in[inSchema{k.all, c.schemas[k.schema]}]
		complete := schema != nil
		if complete {
			for _, owner := range schema.owners {
				complete = complete && (by[owner] || owner == k.grantee)
			}
			for _, o := range schema.objects {
				complete = complete && (c.held[k][o.oid] || o.owner == k.grantee)
			}
		}
		if complete {
			g := all[k.grantee].conn
			g.Entitlements = append(g.Entitlements, schemas.Entitlement{Target: schemas.Name{Type: k.all, SourceName: db.prefix + c.quoted[k.schema]},
				TargetID: db.id + nativeID(c.schemas[k.schema]), Privilege: k.privilege})
		}
	}
	return nil
}

// inSchema is a type of all objects of a kind, and the schema.
type inSchema struct {
	all    string
	schema uint32
}

// contents are the objects of a kind in a schema, with their owners and that of the schema.
type contents struct {
	owners  []uint32
	objects []content
}

type content struct {
	oid, owner uint32
	name       string
}

// objectsIn returns the contents of schemas, each for all kinds, sorted.
func objectsIn(ctx context.Context, q querier, oids []uint32) (map[inSchema]*contents, error) {
	var union []string
	for _, f := range families() {
		if f.all != "" {
			union = append(union, "SELECT '"+f.all+"' AS kind, x.schema, x.oid, x.owner, x.name FROM ("+f.objects+") x WHERE x.schema = ANY($1)")
		}
	}
	query := `SELECT w.kind, n.oid, n.nspowner, coalesce(o.oid, 0), coalesce(o.owner, 0), coalesce(o.name, '')
FROM pg_catalog.pg_namespace n CROSS JOIN unnest($2::text[]) w(kind)
LEFT JOIN (` + strings.Join(union, " UNION ALL ") + `) o ON o.schema = n.oid AND o.kind = w.kind WHERE n.oid = ANY($1) ORDER BY o.name`
	var types []string
	for _, f := range families() {
		if f.all != "" {
			types = append(types, f.all)
		}
	}
	rows, err := q.Query(ctx, query, oids, types)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := map[inSchema]*contents{}
	for rows.Next() {
		var k inSchema
		var owner uint32
		var o content
		if err := rows.Scan(&k.all, &k.schema, &owner, &o.oid, &o.owner, &o.name); err != nil {
			return nil, err
		}
		c := out[k]
		if c == nil {
			c = &contents{owners: []uint32{owner}}
			out[k] = c
		}
		if o.oid == 0 {
			continue
		}
		c.objects = append(c.objects, o)
		if !slices.Contains(c.owners, o.owner) {
			c.owners = append(c.owners, o.owner)
		}
	}
	return out, rows.Err()
}
