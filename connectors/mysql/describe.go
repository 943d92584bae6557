package mysql

import (
	_ "embed"
	"encoding/json"
	"slices"
	"strings"

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
    "dsn": {"x-secret": true, "description": "Connection string of the planning credential, which only reads: user:password@tcp(host:3306)/. A database in it is ignored."},
    "apply_dsn": {"x-secret": true, "description": "Connection string of the applying credential. Default: the planning credential."},
    "tls": {"enum": ["verify", "off"], "description": "verify: TLS, and the server's certificate is checked; off: no TLS, so the network can read and change everything. Default: off on this machine (loopback or a socket), otherwise verify."},
    "ca_file": {"type": "string", "minLength": 1, "maxLength": 4096, "description": "PEM file of certificate authorities, in place of the system's: absolute, or relative to the access repository."},
    "server_name": {"type": "string", "minLength": 1, "maxLength": 255, "description": "The name in the server's certificate, if it is not the host of the connection string."},
    "timeout": {"type": "string", "pattern": "^[0-9]+(ms|s|m)$", "default": "30s", "description": "Time limit for connecting, for an answer, and for a lock."},
    "accounts_view": {"type": "string", "pattern": "^[^.` + "`" + `]{1,64}\\.[^.` + "`" + `]{1,64}$", "description": "MariaDB: the view through which accounts are read, created by the planning script, so that credentials can't read password hashes. Default: mysql.global_priv itself."}
  }
}`

// payloadSchema is for MySQL. MariaDB's roles don't have attributes.
const payloadSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "comment": {"type": "string", "maxLength": 1024, "description": "MySQL 8.0.21 and later: the comment of the account; unchanged if absent."}
  }
}`

const noPayload = `{"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "additionalProperties": false, "properties": {}}`

// The types of connections and targets.
const (
	typeRole        = "role"
	typeUser        = "user"
	typeMember      = "member"
	typeGlobal      = "global"
	typeDatabase    = "database"
	typePattern     = "database_pattern"
	typeTable       = "table"
	typeColumn      = "column"
	typeFunction    = "function"
	typeProcedure   = "procedure"
	typePackage     = "package"
	typePackageBody = "package_body"
)

// everything is the name of the only target of type global.
const everything = "*.*"

// grantOption is a privilege of its level: to grant the other privileges held there.
const grantOption = "GRANT OPTION"

// withGrantOption marks a dynamic privilege of MySQL with the grant option. It is read and revoked, never granted.
const withGrantOption = " WITH GRANT OPTION"

// Privileges of both dialects at the levels below the server, in the order of the servers' own lists.
func databasePrivileges() []string {
	return []string{"SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", grantOption, "REFERENCES", "INDEX", "ALTER",
		"CREATE TEMPORARY TABLES", "LOCK TABLES", "CREATE VIEW", "SHOW VIEW", "CREATE ROUTINE", "ALTER ROUTINE", "EXECUTE", "EVENT",
		"TRIGGER", "DELETE HISTORY", "SHOW CREATE ROUTINE"}
}

func tablePrivileges() []string {
	return []string{"SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", grantOption, "REFERENCES", "INDEX", "ALTER",
		"CREATE VIEW", "SHOW VIEW", "TRIGGER", "DELETE HISTORY"}
}

// globalBits are the bits of "access" in MariaDB's mysql.global_priv (sql/privilege.h), from the lowest up.
func globalBits() []string {
	return []string{"SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "RELOAD", "SHUTDOWN", "PROCESS", "FILE", grantOption,
		"REFERENCES", "INDEX", "ALTER", "SHOW DATABASES", "SUPER", "CREATE TEMPORARY TABLES", "LOCK TABLES", "EXECUTE",
		"REPLICATION SLAVE", "BINLOG MONITOR", "CREATE VIEW", "SHOW VIEW", "CREATE ROUTINE", "ALTER ROUTINE", "CREATE USER", "EVENT",
		"TRIGGER", "CREATE TABLESPACE", "DELETE HISTORY", "SET USER", "FEDERATED ADMIN", "CONNECTION ADMIN", "READ_ONLY ADMIN",
		"REPLICATION SLAVE ADMIN", "REPLICATION MASTER ADMIN", "BINLOG ADMIN", "BINLOG REPLAY", "SLAVE MONITOR", "SHOW CREATE ROUTINE"}
}

// column of mysql.user and mysql.db, by privilege, where it is not the privilege's own words.
func privilegeColumn(privilege string) string {
	switch privilege {
	case grantOption:
		return "Grant_priv"
	case "SHOW DATABASES":
		return "Show_db_priv"
	case "CREATE TEMPORARY TABLES":
		return "Create_tmp_table_priv"
	case "REPLICATION SLAVE":
		return "Repl_slave_priv"
	case "REPLICATION CLIENT":
		return "Repl_client_priv"
	}
	return privilege[:1] + strings.ToLower(strings.ReplaceAll(privilege[1:], " ", "_")) + "_priv"
}

// columnPrivilege is the inverse of privilegeColumn.
func columnPrivilege(column string) string {
	switch column {
	case "Grant_priv":
		return grantOption
	case "Show_db_priv":
		return "SHOW DATABASES"
	case "Create_tmp_table_priv":
		return "CREATE TEMPORARY TABLES"
	case "Repl_slave_priv":
		return "REPLICATION SLAVE"
	case "Repl_client_priv":
		return "REPLICATION CLIENT"
	}
	return strings.ToUpper(strings.ReplaceAll(strings.TrimSuffix(column, "_priv"), "_", " "))
}

// setPrivilege is a member of the sets in mysql.tables_priv, columns_priv and procs_priv, as a privilege.
func setPrivilege(member string) string {
	switch p := strings.ToUpper(member); p {
	case "GRANT":
		return grantOption
	case "DELETE VERSIONING ROWS":
		return "DELETE HISTORY"
	default:
		return p
	}
}

// staticGlobal are the global privileges of MySQL that have a column in mysql.user.
func staticGlobal() []string {
	return []string{"SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "RELOAD", "SHUTDOWN", "PROCESS", "FILE", grantOption,
		"REFERENCES", "INDEX", "ALTER", "SHOW DATABASES", "SUPER", "CREATE TEMPORARY TABLES", "LOCK TABLES", "EXECUTE",
		"REPLICATION SLAVE", "REPLICATION CLIENT", "CREATE VIEW", "SHOW VIEW", "CREATE ROUTINE", "ALTER ROUTINE", "CREATE USER", "EVENT",
		"TRIGGER", "CREATE TABLESPACE", "CREATE ROLE", "DROP ROLE"}
}

// dynamicGlobal are the dynamic privileges that the manual of MySQL 8.0 and 8.4 names. A server's plugins may
// have more: it is asked.
func dynamicGlobal() []string {
	return []string{"ALLOW_NONEXISTENT_DEFINER", "APPLICATION_PASSWORD_ADMIN", "AUDIT_ABORT_EXEMPT", "AUDIT_ADMIN",
		"AUTHENTICATION_POLICY_ADMIN", "BACKUP_ADMIN", "BINLOG_ADMIN", "BINLOG_ENCRYPTION_ADMIN", "CLONE_ADMIN", "CONNECTION_ADMIN",
		"ENCRYPTION_KEY_ADMIN", "FIREWALL_ADMIN", "FIREWALL_EXEMPT", "FIREWALL_USER", "FLUSH_OPTIMIZER_COSTS", "FLUSH_PRIVILEGES",
		"FLUSH_STATUS", "FLUSH_TABLES", "FLUSH_USER_RESOURCES", "GROUP_REPLICATION_ADMIN", "GROUP_REPLICATION_STREAM",
		"INNODB_REDO_LOG_ARCHIVE", "INNODB_REDO_LOG_ENABLE", "MASKING_DICTIONARIES_ADMIN", "NDB_STORED_USER", "OPTIMIZE_LOCAL_TABLE",
		"PASSWORDLESS_USER_ADMIN", "PERSIST_RO_VARIABLES_ADMIN", "REPLICATION_APPLIER", "REPLICATION_SLAVE_ADMIN",
		"RESOURCE_GROUP_ADMIN", "RESOURCE_GROUP_USER", "ROLE_ADMIN", "SENSITIVE_VARIABLES_OBSERVER", "SERVICE_CONNECTION_ADMIN",
		"SESSION_VARIABLES_ADMIN", "SET_ANY_DEFINER", "SET_USER_ID", "SHOW_ROUTINE", "SKIP_QUERY_REWRITE", "SYSTEM_USER",
		"SYSTEM_VARIABLES_ADMIN", "TABLE_ENCRYPTION_ADMIN", "TELEMETRY_LOG_ADMIN", "TP_CONNECTION_ADMIN", "TRANSACTION_GTID_TAG",
		"VERSION_TOKEN_ADMIN", "XA_RECOVER_ADMIN"}
}

// globalPrivileges are all that either dialect has, each once.
func globalPrivileges() []string {
	out := globalBits()
	for _, p := range slices.Concat(staticGlobal(), dynamicGlobal()) {
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}

// serviceRoles are those that managed services keep for themselves.
func serviceRoles() []string {
	return []string{"rds*", "AWS_*", "cloudsql*", "cloudiam*", "azure*", "mysql.*", "mariadb.*"}
}

// systemDatabases are the server's own.
func systemDatabases() []string {
	return []string{"mysql", "sys", "performance_schema", "information_schema"}
}

// plane is any character that a name may have: those of the basic plane, without U+0000. The servers keep names
// in utf8mb3.
const plane = `[^\x{0}\x{10000}-\x{10FFFF}]`

func description() schemas.Description {
	// A blank at the end is lost; the length is in characters.
	roleNames := schemas.NameRule{MaxBytes: 512, Pattern: plane + `{0,127}[^\x{0} \x{10000}-\x{10FFFF}](?:@[^@]{1,255})?`,
		Reserved: []string{"PUBLIC", "public", "NONE", "none"}}
	role := schemas.ConnectionType{
		Name: typeRole, Title: "Role", Payload: json.RawMessage(payloadSchema),
		Create: true, Update: true, Delete: true,
		Names: roleNames, Privileged: serviceRoles(),
	}
	member := []string{schemas.PrivilegeMember, schemas.PrivilegeAdmin}
	names := schemas.NameRule{MaxBytes: 1024, Pattern: plane + `+`}
	for _, g := range []struct {
		typ  string
		edge schemas.Edge
	}{{typeRole, schemas.EdgeConnection}, {typeUser, schemas.EdgeIdentity}, {typeMember, schemas.EdgeIdentity}} {
		role.Grantable = append(role.Grantable, schemas.GrantableType{Type: g.typ, Edge: g.edge, Privileges: member, Default: member[:1],
			Names: names, Privileged: serviceRoles(), PrivilegedPrivileges: []string{schemas.PrivilegeAdmin}, Grant: true, Revoke: true})
	}
	// Changing the accounts view changes what is read here. The planning script creates it in countersign.
	inSystem := []string{"mysql.*", "sys.*", "performance_schema.*", "countersign.*"}
	for _, g := range []schemas.GrantableType{
		// Whatever holds everywhere holds in the database mysql, too, where the passwords' hashes are.
		{Type: typeGlobal, Privileges: globalPrivileges(), Privileged: []string{"*"}, Names: schemas.NameRule{Pattern: `\*\.\*`},
			PrivilegedPrivileges: globalPrivileges(), Grant: true},
		{Type: typeDatabase, Privileges: databasePrivileges(), Privileged: append(systemDatabases(), "countersign"), PrivilegedPrivileges: []string{grantOption}, Grant: true,
			Names: schemas.NameRule{Pattern: plane + `{1,64}`}},
		// A pattern may match databases that don't exist yet, so it can't be granted.
		{Type: typePattern, Privileges: databasePrivileges(), Privileged: []string{"*"}, PrivilegedPrivileges: []string{grantOption},
			Names: schemas.NameRule{Pattern: plane + `{1,64}`}},
		{Type: typeTable, Privileges: tablePrivileges(), Privileged: inSystem, PrivilegedPrivileges: []string{grantOption}, Grant: true, Names: names},
		{Type: typeColumn, Privileges: columnPrivileges(), Privileged: inSystem, Grant: true, Names: names},
		{Type: typeFunction, Privileges: routinePrivileges(), Default: []string{"EXECUTE"}, Privileged: inSystem, PrivilegedPrivileges: []string{grantOption}, Grant: true, Names: names},
		{Type: typeProcedure, Privileges: routinePrivileges(), Default: []string{"EXECUTE"}, Privileged: inSystem, PrivilegedPrivileges: []string{grantOption}, Grant: true, Names: names},
		{Type: typePackage, Privileges: routinePrivileges(), Default: []string{"EXECUTE"}, Privileged: inSystem, PrivilegedPrivileges: []string{grantOption}, Grant: true, Names: names},
		{Type: typePackageBody, Privileges: routinePrivileges(), Default: []string{"EXECUTE"}, Privileged: inSystem, PrivilegedPrivileges: []string{grantOption}, Grant: true, Names: names},
	} {
		g.Edge, g.Revoke, g.Contains = schemas.EdgeResource, true, contained(g.Type)
		role.Grantable = append(role.Grantable, g)
	}
	return schemas.Description{Name: "mysql", Title: "MySQL and MariaDB", Config: json.RawMessage(configSchema),
		Types: []schemas.ConnectionType{role}, PlanScript: planScript, ApplyScript: applyScript}
}

// contained are the parts of targets of a type. The servers hold each level by itself, and look at all of them.
func contained(typ string) []schemas.Containment {
	routines := []string{typeFunction, typeProcedure, typePackage, typePackageBody}
	var parts []string
	separator := "."
	switch typ {
	case typeGlobal:
		parts, separator = append([]string{typeDatabase, typePattern, typeTable, typeColumn}, routines...), ""
	case typeDatabase:
		parts = append([]string{typeTable, typeColumn}, routines...)
	case typeTable:
		parts = []string{typeColumn}
	}
	var out []schemas.Containment
	for _, part := range parts {
		var list []string
		switch part {
		case typeDatabase, typePattern:
			list = databasePrivileges()
		case typeTable:
			list = tablePrivileges()
		case typeColumn:
			list = columnPrivileges()
		default:
			list = routinePrivileges()
		}
		same := map[string][]string{}
		for _, p := range list {
			if p != grantOption { // it is one of its level
				same[p] = []string{p}
			}
		}
		out = append(out, schemas.Containment{Type: part, Separator: separator, Privileges: same})
	}
	return out
}

func columnPrivileges() []string { return []string{"SELECT", "INSERT", "UPDATE", "REFERENCES"} }

func routinePrivileges() []string {
	return []string{"EXECUTE", "ALTER ROUTINE", grantOption, "SHOW CREATE ROUTINE"}
}

// narrow returns the description of one server: its dialect and its privileges.
func (d dialect) narrow(version string, comments bool, shown map[string]bool) schemas.Description {
	out := description()
	out.Version = version
	role := &out.Types[0]
	if d == mariaDB {
		role.Names = schemas.NameRule{MaxBytes: 384, Pattern: plane + `{0,127}[^\x{0} \x{10000}-\x{10FFFF}]`, Reserved: role.Names.Reserved}
	} else {
		// Without an @ the host is %. With one, the host is explicit, and isn't % unless the user part has an @.
		const user, last = `[^@\x{0}\x{10000}-\x{10FFFF}]{0,31}`, `[^@\x{0} \x{10000}-\x{10FFFF}]`
		host := `[^@%\x{0}][^@\x{0}]{0,254}|%[^@\x{0}]{1,254}`
		role.Names.Pattern = user + last + `|` + user + last + `@(?:` + host + `)|` + plane + `{0,31}@` + plane + `{0,31}@[^@\x{0}]{1,255}`
	}
	if !comments {
		role.Payload, role.Update = json.RawMessage(noPayload), false
	}
	role.Grantable = slices.DeleteFunc(role.Grantable, func(g schemas.GrantableType) bool {
		return d != mariaDB && (g.Type == typePackage || g.Type == typePackageBody)
	})
	for i := range role.Grantable {
		g := &role.Grantable[i]
		if g.Edge != schemas.EdgeResource {
			continue
		}
		has := func(p string) bool { return shown[p] }
		g.Privileges = slices.DeleteFunc(slices.Clone(g.Privileges), func(p string) bool { return !has(p) })
		switch g.Type {
		case typeFunction, typeProcedure, typePackage, typePackageBody:
			if d == mariaDB {
				g.Names.Pattern = `(?:` + plane + `+\.)?[\x01-\x7F]+` // see ascii
			}
		}
		if g.Type == typeGlobal {
			for _, p := range sortedKeys(shown) {
				if d != mariaDB && strings.Contains(p, "_") && !slices.Contains(g.Privileges, p) {
					g.Privileges = append(g.Privileges, p)
				}
			}
		}
		g.PrivilegedPrivileges = slices.DeleteFunc(slices.Clone(g.PrivilegedPrivileges), func(p string) bool { return !has(p) })
		if g.Type == typeGlobal {
			g.PrivilegedPrivileges = slices.Clone(g.Privileges)
		}
	}
	return out
}
