package mysql

import (
	"maps"
	"slices"
	"strings"

	"github.com/countersign/countersign/schemas"
)

// dialect has the differences between the two families of servers.
type dialect int

// The dialects.
const (
	mariaDB dialect = iota
	mySQL
)

func (d dialect) String() string {
	if d == mariaDB {
		return "MariaDB"
	}
	return "MySQL"
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// The kinds of rows that the catalogue query answers with. Each row has the kind, an account (user, host), and
// four texts.
const (
	rowAccount  = "account"  // MariaDB: access bits, is role, locked, expired; MySQL: privileges, "", locked, expired
	rowComment  = "comment"  // the comment
	rowEdge     = "edge"     // the role's user and host, whether with ADMIN
	rowDynamic  = "dynamic"  // a dynamic privilege, whether with GRANT OPTION
	rowDatabase = "database" // the database or pattern, privileges
	rowTable    = "table"    // database, table, privileges
	rowColumn   = "column"   // database, table, column, privileges
	rowRoutine  = "routine"  // database, routine, its type, privileges
	rowEnd      = "end"      // the last one: an answer without it was cut
)

// catalogue is the one query that reads all accounts with all that they have. One statement sees one state of
// the grant tables: MariaDB locks the tables of a statement for its length, MySQL takes a snapshot.
//
// accounts is MariaDB's view of accounts, "" for the table itself; databaseColumns are the columns of mysql.db;
// comments is whether accounts can have comments.
func (d dialect) catalogue(accounts string, databaseColumns []string, comments bool) string {
	// The tables have three collations, and a UNION of them would be refused.
	text := func(expr string) string { return "CONVERT(" + expr + " USING utf8mb4) COLLATE utf8mb4_bin" }
	var branches []string
	add := func(kind, user, host, rest string, columns ...string) {
		columns = append([]string{"'" + kind + "'", user, host}, columns...)
		for len(columns) < 7 {
			columns = append(columns, "''")
		}
		for i := range columns {
			columns[i] = text(columns[i])
		}
		branches = append(branches, "SELECT "+strings.Join(columns, ", ")+rest)
	}
	// held lists the privileges whose columns are Y.
	held := func(privileges []string) string {
		var parts []string
		for _, p := range privileges {
			parts = append(parts, "IF("+quote(privilegeColumn(p))+" = 'Y', '"+p+"', NULL)")
		}
		return "CONCAT_WS(',', " + strings.Join(parts, ", ") + ")"
	}
	var onDatabases []string
	for _, c := range databaseColumns {
		if strings.HasSuffix(c, "_priv") {
			onDatabases = append(onDatabases, columnPrivilege(c))
		}
	}
	roles := "" // rows of users are of no interest
	routine := "t.Routine_name"
	routines := " FROM mysql.procs_priv t"
	if d == mariaDB {
		roles = " WHERE t.Host = ''"
		add(rowAccount, "User", "Host", " FROM "+accountsOf(accounts)+" t", "COALESCE(Access, '0')", "COALESCE(Is_role, '0')", "COALESCE(Locked, '0')", "COALESCE(Expired, '0')")
		add(rowEdge, "User", "Host", " FROM mysql.roles_mapping t", "Role", "''", "Admin_option")
		// The name of a routine is kept as it was first granted, in whatever case.
		routine = "COALESCE(p.name, t.Routine_name)"
		routines += " LEFT JOIN mysql.proc p ON p.db = t.Db AND p.name = t.Routine_name AND p.type = t.Routine_type"
	} else {
		add(rowAccount, "User", "Host", " FROM mysql.user t", held(staticGlobal()), "''", "account_locked = 'Y'", "password_expired = 'Y'")
		if comments {
			add(rowComment, "t.USER", "t.HOST", " FROM information_schema.USER_ATTRIBUTES t WHERE JSON_EXTRACT(t.ATTRIBUTE, '$.comment') IS NOT NULL",
				"JSON_UNQUOTE(JSON_EXTRACT(t.ATTRIBUTE, '$.comment'))")
		}
		add(rowEdge, "TO_USER", "TO_HOST", " FROM mysql.role_edges t", "FROM_USER", "FROM_HOST", "WITH_ADMIN_OPTION")
		add(rowDynamic, "t.USER", "t.HOST", " FROM mysql.global_grants t", "PRIV", "WITH_GRANT_OPTION")
	}
	add(rowDatabase, "t.User", "t.Host", " FROM mysql.db t"+roles, "t.Db", held(onDatabases))
	add(rowTable, "t.User", "t.Host", " FROM mysql.tables_priv t"+roles, "t.Db", "t.Table_name", "t.Table_priv")
	add(rowColumn, "t.User", "t.Host", " FROM mysql.columns_priv t"+roles, "t.Db", "t.Table_name", "t.Column_name", "t.Column_priv")
	add(rowRoutine, "t.User", "t.Host", routines+roles, "t.Db", routine, "t.Routine_type", "t.Proc_priv")
	add(rowEnd, "''", "''", "")
	return strings.Join(branches, "\nUNION ALL ")
}

// accountsOf is the table of MariaDB's accounts, without their passwords' hashes.
func accountsOf(view string) string {
	if view == "" {
		return "(SELECT User, Host, JSON_VALUE(Priv, '$.access') AS Access, JSON_VALUE(Priv, '$.is_role') AS Is_role, " +
			"JSON_VALUE(Priv, '$.account_locked') AS Locked, JSON_VALUE(Priv, '$.password_last_changed') = '0' AS Expired FROM mysql.global_priv)"
	}
	db, view, _ := strings.Cut(view, ".")
	return quote(db) + "." + quote(view)
}

// rolesNamed finds which of n names are those of MariaDB's roles now.
func rolesNamed(view string, n int) string {
	return "SELECT CONVERT(User USING utf8mb4) FROM " + accountsOf(view) + " t WHERE COALESCE(Is_role, '0') = '1' AND User IN (" +
		strings.TrimSuffix(strings.Repeat("?, ", n), ", ") + ")"
}

// object is the object of a GRANT: a level and its names, or a role that others become members of.
type object struct {
	typ, db, name string
	role          accountID
}

// level is the object of a GRANT or REVOKE of privileges.
func (o object) level() string {
	switch o.typ {
	case typeGlobal:
		return "*.*"
	case typeDatabase:
		return quote(escapeDatabase(o.db)) + ".*"
	case typePattern:
		return quote(o.db) + ".*"
	case typeTable, typeColumn:
		// A keyword, since a table may be named as one.
		return "TABLE " + quote(o.db) + "." + quote(o.name)
	}
	return strings.ToUpper(strings.ReplaceAll(o.typ, "_", " ")) + " " + quote(o.db) + "." + quote(o.name)
}

// oracle reports whether the server supports the object's kind only in its Oracle mode.
func (o object) oracle() bool { return o.typ == typePackage || o.typ == typePackageBody }

// grant is the statements that give privileges on one object to accounts.
func (d dialect) grant(o object, privileges []string, grantees []string) []string {
	to := " TO " + strings.Join(grantees, ", ")
	if o.typ == typeRole {
		s := "GRANT " + o.role.sql() + to
		if slices.Contains(privileges, schemas.PrivilegeAdmin) {
			s += " WITH ADMIN OPTION"
		}
		return []string{s}
	}
	return []string{"GRANT " + strings.Join(privileges, ", ") + " ON " + o.level() + to}
}

// revoke is the statements that take privileges on one object from accounts. Each may be the last to be done.
func (d dialect) revoke(o object, privileges []string, grantees []string) []string {
	who := strings.Join(grantees, ", ")
	if o.typ != typeRole {
		var plain, handed []string
		for _, p := range privileges {
			if p, ok := strings.CutSuffix(p, withGrantOption); ok {
				handed = append(handed, p)
			} else {
				plain = append(plain, p)
			}
		}
		// Revoking the privilege also revokes its grant option.
		handed = slices.DeleteFunc(handed, func(p string) bool { return slices.Contains(plain, p) })
		out := []string{}
		if len(plain) > 0 {
			out = append(out, "REVOKE "+strings.Join(plain, ", ")+" ON "+o.level()+" FROM "+who)
		}
		if len(handed) > 0 {
			// No statement revokes the grant option alone.
			list := strings.Join(handed, ", ")
			out = append(out, "REVOKE "+list+" ON "+o.level()+" FROM "+who, "GRANT "+list+" ON "+o.level()+" TO "+who)
		}
		return out
	}
	switch {
	case slices.Contains(privileges, schemas.PrivilegeMember):
		return []string{"REVOKE " + o.role.sql() + " FROM " + who}
	case d == mariaDB:
		return []string{"REVOKE ADMIN OPTION FOR " + o.role.sql() + " FROM " + who}
	}
	return []string{"REVOKE " + o.role.sql() + " FROM " + who, "GRANT " + o.role.sql() + " TO " + who}
}

func (d dialect) create(roles []string) string {
	return "CREATE ROLE IF NOT EXISTS " + strings.Join(roles, ", ")
}

func (d dialect) drop(roles []string) string {
	return "DROP ROLE IF EXISTS " + strings.Join(roles, ", ")
}

// comment sets the comment of an account of MySQL.
func (d dialect) comment(role, text string) string {
	return "ALTER USER " + role + " COMMENT " + quoteText(text)
}

// definers finds objects that run with the privileges of accounts. It has four parts, with n placeholders each.
func (d dialect) definers(n int) string {
	marks := "(" + strings.TrimSuffix(strings.Repeat("?, ", n), ", ") + ")"
	name := func(schema, object string) string { return "CONCAT(" + schema + ", '.', " + object + ")" }
	branch := func(kind, schema, object, definer, from string) string {
		text := func(expr string) string { return "CONVERT(" + expr + " USING utf8mb4) COLLATE utf8mb4_bin" }
		return "SELECT " + text(kind) + ", " + text(name(schema, object)) + ", " + text(definer) + " FROM " + from + " WHERE " + definer + " IN " + marks
	}
	routines := branch("LOWER(ROUTINE_TYPE)", "ROUTINE_SCHEMA", "ROUTINE_NAME", "DEFINER", "information_schema.ROUTINES")
	events := branch("'event'", "EVENT_SCHEMA", "EVENT_NAME", "DEFINER", "information_schema.EVENTS")
	if d == mariaDB {
		// The tables behind the views also show routines that the credential cannot use.
		routines = branch("LOWER(type)", "db", "name", "definer", "mysql.proc")
		events = branch("'event'", "db", "name", "definer", "mysql.event")
	}
	return strings.Join([]string{
		branch("'view'", "TABLE_SCHEMA", "TABLE_NAME", "DEFINER", "information_schema.VIEWS"),
		branch("'trigger'", "TRIGGER_SCHEMA", "TRIGGER_NAME", "DEFINER", "information_schema.TRIGGERS"),
		routines, events}, "\nUNION ALL ")
}

// definerNames lists the spellings of an account in a DEFINER column.
func (d dialect) definerNames(a accountID) []string {
	if d == mariaDB {
		return []string{a.user, a.user + "@"}
	}
	return []string{a.user + "@" + a.host}
}

// objects is the query for the objects of a type, in the databases that are asked for one by one or in all.
// Each row has two or three names.
func (d dialect) objects(typ string, all bool) string {
	var q, schema string
	switch typ {
	case typeTable:
		q, schema = "SELECT TABLE_SCHEMA, TABLE_NAME, '' FROM information_schema.TABLES", "TABLE_SCHEMA"
	case typeColumn:
		q, schema = "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME FROM information_schema.COLUMNS", "TABLE_SCHEMA"
	default:
		kind := strings.ToUpper(strings.ReplaceAll(typ, "_", " "))
		q, schema = "SELECT ROUTINE_SCHEMA, ROUTINE_NAME, '' FROM information_schema.ROUTINES WHERE ROUTINE_TYPE = '"+kind+"'", "ROUTINE_SCHEMA"
		if d == mariaDB {
			q, schema = "SELECT db, name, '' FROM mysql.proc WHERE type = '"+kind+"'", "db"
		}
		if !all {
			return q + " AND " + schema + " = ?"
		}
		return q + " AND " + schema + " NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema')"
	}
	if !all {
		return q + " WHERE " + schema + " = ?"
	}
	return q + " WHERE " + schema + " NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema')"
}
