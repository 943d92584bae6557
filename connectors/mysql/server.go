package mysql

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// look detects the server, its version and its privileges.
func (r *reader) look(ctx context.Context) error {
	variables := map[string]string{}
	// The version string is configurable, so detect the server by its variables.
	err := r.query(ctx, func(c []string) error { variables[c[0]] = c[1]; return nil }, 2,
		"SHOW GLOBAL VARIABLES WHERE Variable_name IN ('version', 'aria_block_size', 'mandatory_roles')")
	if err != nil {
		return err
	}
	version := variables["version"]
	r.mandatory = map[accountID]bool{}
	unsupported := func(need string) error {
		return &connectors.Error{Code: connectors.Unsupported, Op: opConnect, Message: fmt.Sprintf("unsupported server version %s (expected %s)", version, need)}
	}
	_, isMariaDB := variables["aria_block_size"]
	_, hasRoles := variables["mandatory_roles"]
	comments := false
	switch {
	case isMariaDB:
		r.dialect = mariaDB
		if versionOf(version) < 101100 {
			return unsupported("MariaDB 10.11 or later")
		}
	case hasRoles:
		r.dialect = mySQL
		comments = versionOf(version) >= 80021
		for _, a := range parseMandatory(variables["mandatory_roles"]) {
			r.mandatory[a] = true
		}
	default:
		return unsupported("MariaDB 10.11 or MySQL 8.0, or later")
	}
	shown := map[string]bool{}
	if err := r.query(ctx, func(c []string) error { shown[strings.ToUpper(c[0])] = true; return nil }, 3, "SHOW PRIVILEGES"); err != nil {
		return err
	}
	delete(shown, "USAGE")
	delete(shown, "PROXY")
	var columns []string
	if err := r.query(ctx, func(c []string) error { columns = append(columns, c[0]); return nil }, 6, "SHOW COLUMNS FROM mysql.db"); err != nil {
		return err
	}
	for _, p := range databasePrivileges() {
		// The server lists a column only if we hold a privilege on it. A hidden column would look as if nobody held its privilege.
		always := slices.Contains([]string{"SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", grantOption}, p)
		if (shown[p] || always) && !containsFold(columns, privilegeColumn(p)) || always && !shown[p] {
			return &connectors.Error{Code: connectors.Denied, Op: opConnect, Message: "the credential does not see all columns of mysql.db; countersign schema mysql --scripts lists what it needs"}
		}
	}
	accounts := r.settings.AccountsView
	r.catalogue = r.dialect.catalogue(accounts, columns, comments)
	r.description = r.dialect.narrow(version, comments, shown)
	if db, _, ok := strings.Cut(accounts, "."); ok {
		guardView(&r.description.Types[0], db)
	}
	var self, roles string
	if err := r.query(ctx, func(c []string) error { self, roles = c[0], c[1]; return nil }, 2, "SELECT CURRENT_USER(), COALESCE(CURRENT_ROLE(), '')"); err != nil {
		return err
	}
	var ok bool
	if r.self, ok = parseUser(self); !ok {
		return &connectors.Error{Code: connectors.Invalid, Op: opConnect, Message: "could not parse CURRENT_USER()"}
	}
	r.active = map[string]bool{}
	if r.dialect == mySQL {
		for _, a := range parseRoles(roles) {
			r.active[r.dialect.roleName(a)] = true
		}
		return nil
	}
	return r.query(ctx, func(c []string) error { r.active[c[0]] = true; return nil }, 1,
		"SELECT ROLE_NAME FROM information_schema.ENABLED_ROLES WHERE ROLE_NAME IS NOT NULL")
}

// guardView marks the database of accounts_view and everything in it as privileged: changing the view changes what
// countersign reads.
func guardView(role *schemas.ConnectionType, db string) {
	for i := range role.Grantable {
		switch g := &role.Grantable[i]; g.Type {
		case typeDatabase:
			g.Privileged = append(slices.Clone(g.Privileged), db)
		case typeTable, typeColumn, typeFunction, typeProcedure, typePackage, typePackageBody:
			g.Privileged = append(slices.Clone(g.Privileged), joinName(db)+".*")
		}
	}
}

func containsFold(list []string, s string) bool {
	for _, x := range list {
		if strings.EqualFold(x, s) {
			return true
		}
	}
	return false
}

// parseRoles reads MySQL's list of the roles of a session, such as `a`@`%`,`b`@`%`, or NONE.
func parseRoles(list string) []accountID {
	var out []accountID
	for list != "" {
		var a accountID
		for _, half := range []*string{&a.user, &a.host} {
			end := -1
			if strings.HasPrefix(list, "`") {
				end = closing(list)
			}
			if end < 0 {
				return out
			}
			*half, list = strings.ReplaceAll(list[1:end], "``", "`"), strings.TrimLeft(list[end+1:], "@, ")
		}
		out = append(out, a)
	}
	return out
}

// parseMandatory reads the value of mandatory_roles: names with commas between them, each half of which may be quoted,
// such as role1, 'role2'@localhost, `role3`@`%`.
func parseMandatory(list string) []accountID {
	var out []accountID
	a, at := accountID{}, false
	half := func() *string {
		if at {
			return &a.host
		}
		return &a.user
	}
	end := func() {
		a.user, a.host = strings.TrimSpace(a.user), strings.ToLower(strings.TrimSpace(a.host))
		if a.host == "" {
			a.host = "%"
		}
		if a.user != "" {
			out = append(out, a)
		}
		a, at = accountID{}, false
	}
	var quoted byte
	for i := 0; i < len(list); i++ {
		switch c := list[i]; {
		case quoted != 0 && c == quoted && i+1 < len(list) && list[i+1] == quoted:
			*half() += string(rune(c))
			i++
		case quoted != 0 && c == quoted:
			quoted = 0
		case quoted == 0 && (c == '\'' || c == '"' || c == '`'):
			quoted = c
		case quoted == 0 && c == '@':
			at = true
		case quoted == 0 && c == ',':
			end()
		default:
			*half() += list[i : i+1]
		}
	}
	end()
	return out
}
