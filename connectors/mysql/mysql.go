package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/countersign/countersign/connectors"
)

// Connector is the connector of MySQL and MariaDB.
type Connector struct{}

var (
	_ connectors.Connector = Connector{}
	_ connectors.Reader    = (*reader)(nil)
	_ connectors.Writer    = (*writer)(nil)
)

// New returns the connector.
func New() connectors.Connector { return Connector{} }

// Describe says what the connector can do with either dialect.
func (Connector) Describe() connectors.Description { return description() }

// OpenReader connects with the planning credential, in sessions that the server lets read only.
func (Connector) OpenReader(ctx context.Context, cfg connectors.Config) (connectors.Reader, error) {
	r, err := open(ctx, cfg, "dsn", true)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// OpenWriter connects with the applying credential.
func (Connector) OpenWriter(ctx context.Context, cfg connectors.Config) (connectors.Writer, error) {
	key := "apply_dsn"
	if _, ok := cfg.Values[key]; !ok {
		key = "dsn"
	}
	r, err := open(ctx, cfg, key, false)
	if err != nil {
		return nil, err
	}
	checker, err := connectors.NewChecker(r.description)
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return &writer{r, checker}, nil
}

type reader struct {
	cfg     connectors.Config
	db      *sql.DB // nil once closed
	dialect dialect
	// description is narrowed to the server.
	description connectors.Description
	// catalogue is the query for all accounts.
	catalogue string
	// self is the account that we are logged in as; others are the users, at whatever host, that the other
	// connection strings name.
	self   accountID
	others map[string]bool
	// active are the roles that our session has its own rights from.
	active map[string]bool
	// mandatory are the roles that MySQL gives to every account (mandatory_roles).
	mandatory map[accountID]bool
	// queries counts what was sent, for the benchmarks.
	queries int
}

func open(ctx context.Context, cfg connectors.Config, key string, readOnly bool) (*reader, error) {
	l, err := parse(cfg, key)
	if err != nil {
		return nil, err
	}
	r := &reader{cfg: cfg, others: map[string]bool{}}
	for _, other := range []string{"dsn", "apply_dsn"} {
		if other == key {
			continue
		}
		if o, err := parse(cfg, other); err == nil && o.config.User != l.config.User {
			r.others[o.config.User] = true
		}
	}
	if r.db, err = l.open(readOnly); err != nil {
		return nil, err
	}
	if err := r.look(ctx); err != nil {
		return nil, errors.Join(wrap(opConnect, err), r.Close())
	}
	return r, nil
}

// look finds out what server this is.
func (r *reader) look(ctx context.Context) error {
	variables := map[string]string{}
	// A server may be told to call itself whatever version, but has only the variables that it has.
	err := r.query(ctx, func(c []string) error { variables[c[0]] = c[1]; return nil }, 2,
		"SHOW GLOBAL VARIABLES WHERE Variable_name IN ('version', 'aria_block_size', 'mandatory_roles')")
	if err != nil {
		return err
	}
	version := variables["version"]
	r.mandatory = map[accountID]bool{}
	unsupported := func(need string) error {
		return &connectors.Error{Code: connectors.Unsupported, Op: opConnect, Message: fmt.Sprintf("the server has version %s, and this needs %s", version, need)}
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
		// A column is listed only to whom has some right to it. What stands in one that is not would look as if nobody had it.
		always := slices.Contains([]string{"SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", grantOption}, p)
		if (shown[p] || always) && !containsFold(columns, privilegeColumn(p)) || always && !shown[p] {
			return &connectors.Error{Code: connectors.Denied, Op: opConnect, Message: "the credential does not see all columns of mysql.db; countersign schema mysql --scripts says what it needs"}
		}
	}
	accounts, _ := r.cfg.Values["accounts_view"].(string)
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
		return &connectors.Error{Code: connectors.Invalid, Op: opConnect, Message: "the server does not say who is logged in"}
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

// guardView makes the database of the view of accounts, and all that is in it, powerful: whoever may change the view
// decides what is read here.
func guardView(role *connectors.ConnectionType, db string) {
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

// query runs a statement and gives each row, of so many columns, to row. NULL is "".
func (r *reader) query(ctx context.Context, row func([]string) error, columns int, text string, args ...any) (err error) {
	r.queries++
	rows, err := r.db.QueryContext(ctx, text, args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	values := make([]sql.RawBytes, columns)
	into := make([]any, columns)
	for i := range values {
		into[i] = &values[i]
	}
	texts := make([]string, columns)
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		for i, v := range values {
			texts[i] = string(v)
		}
		if err := row(texts); err != nil {
			return err
		}
	}
	return rows.Err()
}

var errClosed = &connectors.Error{Code: connectors.Invalid, Op: "use MySQL or MariaDB", Message: "the connection was closed"}

// Close ends the session.
func (r *reader) Close() error {
	if r.db == nil {
		return nil
	}
	db := r.db
	r.db = nil
	if err := db.Close(); err != nil {
		return wrap("close the session", err)
	}
	return nil
}

// ready says why nothing can be asked, or nil.
func (r *reader) ready(ctx context.Context, op string) error {
	if r.db == nil {
		return errClosed
	}
	return connectors.Stopped(ctx, op)
}

// Describe says what this server can do.
func (r *reader) Describe(ctx context.Context) (connectors.Description, error) {
	if err := r.ready(ctx, "describe"); err != nil {
		return connectors.Description{}, err
	}
	return r.description, nil
}

// Read returns the selected roles, from one query for all accounts.
func (r *reader) Read(ctx context.Context, sel connectors.Selection) (connectors.State, error) {
	const op = "read"
	if err := r.ready(ctx, op); err != nil {
		return connectors.State{}, err
	}
	c, err := r.load(ctx)
	if err != nil {
		return connectors.State{}, wrap(op, err)
	}
	return r.state(c, sel), nil
}

// Normalize completes ADMIN by MEMBER and sorts. Names are exact.
func (r *reader) Normalize(s connectors.State) (connectors.State, error) {
	return normalize(r.description, r.dialect, s)
}
