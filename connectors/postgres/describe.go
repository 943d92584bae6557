package postgres

import (
	_ "embed"
	"encoding/json"
	"maps"
	"slices"

	"github.com/countersign/countersign/schemas"
)

//go:embed plan.sql
var planScript string

//go:embed apply.sql
var applyScript string

const configSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "required": ["dsn"],
  "properties": {
    "dsn": {"x-secret": true, "description": "Connection string (URL or keywords) of the planning credential, which only reads."},
    "apply_dsn": {"x-secret": true, "description": "Connection string of the applying credential. Default: the planning credential."},
    "ca_file": {"type": "string", "minLength": 1, "maxLength": 4096, "description": "PEM file of the authorities that may have signed the server's certificate, in place of the system's: absolute, or relative to the access repository and within it. With it, the connection uses TLS and the server's name is checked too, unless the connection string has sslmode=verify-ca."},
    "databases": {"type": "array", "items": {"type": "string", "minLength": 1, "maxLength": 63}, "minItems": 1, "maxItems": 100, "uniqueItems": true, "description": "The databases of the cluster that the application covers; the connection string's own is not used. With several, what is in them is named DATABASE/SCHEMA.TABLE. Default: the one in the connection string."},
    "statement_timeout": {"type": "string", "pattern": "^[0-9]+(ms|s|min)$", "default": "60s", "description": "Time limit for one statement."},
    "timeout": {"type": "string", "pattern": "^[0-9]+(ms|s|m|h)$", "default": "10m", "description": "Time limit for one read or one transaction of changes, including the network."},
    "lock_timeout": {"type": "string", "pattern": "^[0-9]+(ms|s|min)$", "default": "10s", "description": "Time limit for one statement to wait for a lock."}
  }
}`

const payloadSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "login": {"type": "boolean", "default": false, "description": "Whether the role can log in."},
    "inherit": {"type": "boolean", "default": true, "description": "Whether it uses the privileges of its roles without SET ROLE."},
    "createdb": {"type": "boolean", "default": false, "description": "Whether it can create databases."},
    "createrole": {"type": "boolean", "default": false, "description": "Whether it can create and change roles."},
    "replication": {"type": "boolean", "default": false, "description": "Whether it can stream the write-ahead log."},
    "bypassrls": {"type": "boolean", "default": false, "description": "Whether it bypasses row-level security."},
    "connection_limit": {"type": "integer", "minimum": -1, "maximum": 2147483647, "default": -1, "description": "Maximum number of sessions; -1 means unlimited."},
    "valid_until": {"type": "string", "default": "infinity", "pattern": "^(-?infinity|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)$", "description": "When its password expires: infinity, -infinity (already expired), or an instant such as 2027-01-31T00:00:00Z."},
    "comment": {"type": "string", "maxLength": 2000, "description": "COMMENT ON ROLE; unchanged if absent."}
  }
}`

// The types of targets.
const (
	typeRole         = "role"
	typeUser         = "user"
	typeMember       = "member"
	typeDatabase     = "database"
	typeSchema       = "schema"
	typeTable        = "table"
	typeView         = "view"
	typeSequence     = "sequence"
	typeFunction     = "function"
	typeColumn       = "column"
	typeSchemaTables = "schema_tables"

	typeSchemaSequences  = "schema_sequences"
	typeSchemaFunctions  = "schema_functions"
	typeDefaultTables    = "default_tables"
	typeDefaultSequences = "default_sequences"
	typeDefaultFunctions = "default_functions"
	typeDefaultSchemas   = "default_schemas"
)

// grantOption ends a privilege with the grant option, which countersign reads and revokes but never grants.
const grantOption = " WITH GRANT OPTION"

// privilegeMaintain exists from PostgreSQL 17 on.
const privilegeMaintain = "MAINTAIN"

// privileges lists those of a type of object (PostgreSQL 18, 5.8 Privileges).
func privileges(typ string) []string {
	switch typ {
	case typeDatabase:
		return []string{"CONNECT", "CREATE", "TEMPORARY"}
	case typeSchema, typeDefaultSchemas:
		return []string{"USAGE", "CREATE"}
	case typeTable, typeView, typeSchemaTables, typeDefaultTables:
		return []string{"SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", privilegeMaintain}
	case typeSequence, typeSchemaSequences, typeDefaultSequences:
		return []string{"USAGE", "SELECT", "UPDATE"}
	case typeFunction, typeSchemaFunctions, typeDefaultFunctions:
		return []string{"EXECUTE"}
	case typeColumn:
		return []string{"SELECT", "INSERT", "UPDATE", "REFERENCES"}
	}
	return nil
}

// allData are the privileges that the server's own roles have on every table, by the name that they have on the
// database.
func allData() map[string][]string {
	return map[string][]string{"READ ALL DATA": {"SELECT"}, "WRITE ALL DATA": {"INSERT", "UPDATE", "DELETE"}, "MAINTAIN ALL DATA": {privilegeMaintain}}
}

// protectedRoles lists patterns for roles of the server and of managed services.
func protectedRoles() []string {
	return []string{"pg_*", "rds*", "cloudsql*", "azure_*", "azuresu", "alloydb*", "*superuser*"}
}

func powerfulRoles() []string {
	return append([]string{"postgres"}, protectedRoles()...)
}

// describe narrows the description to a server's version.
func describe(number int) schemas.Description {
	d := description()
	if number < 170000 {
		for i := range d.Types[0].Grantable {
			g := &d.Types[0].Grantable[i]
			g.Privileges = slices.DeleteFunc(g.Privileges, func(p string) bool { return p == privilegeMaintain })
		}
	}
	return d
}

func description() schemas.Description {
	roleNames := schemas.NameRule{MaxBytes: 63, Pattern: `[^\x00]+`, Reserved: []string{"pg_*", "public", "none"}}
	role := schemas.ConnectionType{
		Name: typeRole, Title: "Role", Payload: json.RawMessage(payloadSchema),
		Create: true, Update: true, Delete: true, Reassign: true,
		Names: roleNames, Privileged: powerfulRoles(),
		PrivilegedFields: []string{"bypassrls", "createdb", "createrole", "replication"},
	}
	member := []string{"MEMBER", "ADMIN"}
	for _, g := range []struct {
		typ  string
		edge schemas.Edge
	}{{typeRole, schemas.EdgeConnection}, {typeUser, schemas.EdgeIdentity}, {typeMember, schemas.EdgeIdentity}} {
		role.Grantable = append(role.Grantable, schemas.GrantableType{Type: g.typ, Edge: g.edge, Privileges: member, Default: member[:1], Alias: typeRole,
			Names: schemas.NameRule{MaxBytes: 63, Pattern: `[^\x00]+`}, Privileged: powerfulRoles(), PrivilegedPrivileges: []string{"ADMIN"}, Grant: true, Revoke: true})
	}
	for _, typ := range []string{typeDatabase, typeSchema, typeTable, typeView, typeSequence, typeFunction, typeColumn, typeSchemaTables, typeSchemaSequences,
		typeSchemaFunctions, typeDefaultTables, typeDefaultSequences, typeDefaultFunctions, typeDefaultSchemas} {
		g := schemas.GrantableType{Type: typ, Edge: schemas.EdgeResource, Privileges: privileges(typ), Grant: true, Revoke: true}
		if within(typ) && typ != typeColumn && allOf(typ) == nil && defaultOf(typ) == nil || typ == typeDatabase {
			g.ReadOnly = []string{schemas.PrivilegeOwner}
		}
		switch typ {
		case typeFunction, typeSchemaFunctions, typeDefaultFunctions:
			g.Default = []string{"EXECUTE"}
		case typeDatabase, typeSchema, typeDefaultSchemas:
			g.PrivilegedPrivileges = []string{"CREATE"}
		case typeTable, typeView, typeSchemaTables, typeDefaultTables:
			// A trigger runs its function as the next one who writes.
			g.PrivilegedPrivileges = []string{"TRIGGER"}
		}
		if typ == typeDatabase {
			g.ReadOnly = append(g.ReadOnly, slices.Sorted(maps.Keys(allData()))...)
			g.Contains = []schemas.Containment{{Type: typeTable, Privileges: allData()}, {Type: typeView, Privileges: allData()}}
		}
		if f := allOf(typ); f != nil {
			for _, part := range append([]string{f.def}, f.parts...) {
				g.Contains = append(g.Contains, schemas.Containment{Type: part, Separator: ".", Derived: true})
			}
		}
		if typ == typeTable || typ == typeView || typ == typeSchemaTables {
			same := map[string][]string{}
			for _, p := range privileges(typeColumn) {
				same[p] = []string{p}
			}
			g.Contains = append(g.Contains, schemas.Containment{Type: typeColumn, Separator: ".", Privileges: same})
		}
		role.Grantable = append(role.Grantable, g)
	}
	return schemas.Description{Name: "postgres", Title: "PostgreSQL", NativeIDs: true, Reach: true, Config: json.RawMessage(configSchema),
		Types: []schemas.ConnectionType{role}, PlanScript: planScript, ApplyScript: applyScript}
}
