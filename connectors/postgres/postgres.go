package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// Connector is the connector of PostgreSQL.
type Connector struct{}

var (
	_ connectors.Connector = Connector{}
	_ connectors.Reader    = (*reader)(nil)
	_ connectors.Writer    = (*writer)(nil)
)

// New returns the connector.
func New() connectors.Connector { return Connector{} }

// Describe says what the connector can do.
func (Connector) Describe() connectors.Description { return description() }

// OpenReader connects with the planning credential, in sessions that the server lets read only.
func (Connector) OpenReader(ctx context.Context, cfg connectors.Config) (connectors.Reader, error) {
	return open(ctx, cfg, "dsn", true)
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
	return &writer{r}, nil
}

type reader struct {
	cfg     connectors.Config
	config  *pgx.ConnConfig
	conn    *pgx.Conn
	version string
	// limit bounds one call, or one transaction of an Apply: a network that swallows answers ends no wait.
	limit time.Duration
	// own are the roles that we log in with.
	own []string
}

func open(ctx context.Context, cfg connectors.Config, key string, readOnly bool) (*reader, error) {
	const op = "connect to PostgreSQL"
	config, err := parse(cfg, key)
	if err != nil {
		return nil, err
	}
	if readOnly {
		config.RuntimeParams["default_transaction_read_only"] = "on"
	}
	ctx, cancel := context.WithTimeout(ctx, config.ConnectTimeout)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, refused(op, key, err)
	}
	r := &reader{cfg: cfg, config: config, conn: conn, limit: 10 * time.Minute, own: []string{config.User}}
	if v, _ := cfg.Values["timeout"].(string); v != "" {
		if r.limit, err = time.ParseDuration(v); err != nil || r.limit <= 0 {
			return nil, errors.Join(&connectors.Error{Code: connectors.Invalid, Op: op, Message: "config.timeout is no duration such as 10m"}, conn.Close(ctx))
		}
	}
	for _, other := range []string{"dsn", "apply_dsn"} {
		if other == key {
			continue
		}
		if c, err := parse(cfg, other); err == nil {
			r.own = append(r.own, c.User)
		}
	}
	if err := conn.QueryRow(ctx, `SELECT current_setting('server_version')`).Scan(&r.version); err != nil {
		return nil, errors.Join(wrap(op, err), conn.Close(context.WithoutCancel(ctx)))
	}
	return r, nil
}

func parse(cfg connectors.Config, key string) (*pgx.ConnConfig, error) {
	const op = "connect to PostgreSQL"
	secret, ok := cfg.Values[key].(connectors.Secret)
	if !ok {
		return nil, &connectors.Error{Code: connectors.Invalid, Op: op, Message: "config." + key + " is missing: {env: NAME} or {file: /path} of the connection string"}
	}
	config, err := pgx.ParseConfig(secret.Reveal())
	if err != nil {
		// The driver's message may quote the connection string.
		return nil, &connectors.Error{Code: connectors.Invalid, Op: op, Message: "config." + key + " does not hold a connection string that PostgreSQL understands"}
	}
	config.RuntimeParams["application_name"] = "countersign"
	config.RuntimeParams["search_path"] = ""
	config.RuntimeParams["timezone"] = "UTC"
	for _, k := range []string{"statement_timeout", "lock_timeout"} {
		v, _ := cfg.Values[k].(string)
		if v == "" {
			v = map[string]string{"statement_timeout": "60s", "lock_timeout": "10s"}[k]
		}
		config.RuntimeParams[k] = v
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = 15 * time.Second
	}
	return config, nil
}

var errClosed = &connectors.Error{Code: connectors.Invalid, Op: "use PostgreSQL", Message: "the connection was closed"}

// Close ends the session.
func (r *reader) Close() error {
	if r.conn == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err := r.conn.Close(ctx)
	r.conn = nil
	if err != nil {
		return wrap("close the session", err)
	}
	return nil
}

// Describe says what this server can do.
func (r *reader) Describe(ctx context.Context) (connectors.Description, error) {
	if r.conn == nil {
		return connectors.Description{}, errClosed
	}
	if err := ctx.Err(); err != nil {
		return connectors.Description{}, wrap("describe", err)
	}
	d := description()
	d.Version = r.version
	return d, nil
}

// wrap gives a driver's error its code, and a message that holds no connection string.
func wrap(op string, err error) error {
	var known *connectors.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	out := &connectors.Error{Op: op, Err: err, Code: connectors.Unavailable}
	var pg *pgconn.PgError
	var netErr net.Error
	switch {
	case errors.As(err, &pg):
		out.Code, out.Message = codeOf(pg.Code), pg.Message+" ("+pg.Code+")"
		if pg.Detail != "" && pg.Code == "2BP01" {
			out.Dependents = strings.Split(pg.Detail, "\n")
		}
		if pg.Hint != "" {
			out.Message += ": " + pg.Hint
		}
		if pg.Code == "42501" {
			out.Message += ": the credential that countersign logs in with lacks the right; countersign schema postgres --scripts says what it needs"
		}
	case errors.Is(err, context.Canceled):
		out.Message = "stopped"
	case errors.Is(err, context.DeadlineExceeded):
		out.Message = "it took too long"
	case errors.As(err, &netErr):
		out.Message = "the server cannot be reached: is it running, and are host and port of the connection string right?"
	default:
		out.Message = "the connection to the server failed"
	}
	return out
}

// refused is wrap for a login. The server's own message quotes the connection string: the user, the database
// or a setting, any of which is part of the password where one was left unescaped or put in the wrong place.
func refused(op, key string, err error) error {
	wrapped := wrap(op, err)
	var pg *pgconn.PgError
	var e *connectors.Error
	if !errors.As(err, &pg) || !errors.As(wrapped, &e) {
		return wrapped
	}
	switch pg.Code {
	case "28P01", "28000":
		e.Message = "the server refused the login: check user and password of config." + key + ", and what the server lets in"
	case "3D000":
		e.Message = "the database that config." + key + " names does not exist"
	case "42501":
		e.Message = "the user of config." + key + " may not connect to the database"
	case "53300":
		e.Message = "too many connections"
	case "57P03":
		e.Message = "the server is starting up or shutting down"
	case "22023", "42704":
		e.Message = "the server refused a setting of config." + key
	default:
		e.Message = "the server refused the connection"
	}
	e.Message += " (" + pg.Code + ")"
	return wrapped
}

// codeOf sorts SQLSTATEs (PostgreSQL 15, Appendix A).
func codeOf(state string) connectors.Code {
	switch state {
	case "42704", "3F000", "42P01", "42883", "3D000", "42703":
		return connectors.NotFound
	case "42710", "2BP01", "42P04":
		return connectors.Conflict
	case "42501", "28000", "28P01", "25006":
		return connectors.Denied
	case "0LP01", "22023", "42601", "42939", "42602", "22007", "22008", "0LP00":
		return connectors.Invalid
	case "0A000":
		return connectors.Unsupported
	case "XX000":
		return connectors.Unavailable // tuple concurrently updated: two writers met
	}
	switch state[:min(2, len(state))] {
	case "08", "53", "57", "40", "55", "58":
		return connectors.Unavailable
	}
	return connectors.Invalid
}

// Read returns the roles that the selection names, in one snapshot.
func (r *reader) Read(ctx context.Context, sel connectors.Selection) (connectors.State, error) {
	const op = "read the roles"
	if r.conn == nil {
		return connectors.State{}, errClosed
	}
	if err := ctx.Err(); err != nil {
		return connectors.State{}, wrap(op, err) // the driver would close the session
	}
	ctx, cancel := context.WithTimeout(ctx, r.limit)
	defer cancel()
	tx, err := r.conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return connectors.State{}, wrap(op, err)
	}
	state, err := r.read(ctx, tx, sel)
	if rerr := rollback(ctx, tx); err == nil && rerr != nil {
		err = rerr
	}
	if err != nil {
		return connectors.State{}, wrap(op, err)
	}
	return state, nil
}

// rollback ends a transaction, also when its context has ended.
func rollback(ctx context.Context, tx pgx.Tx) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return tx.Rollback(ctx)
}

// role is what the catalogue says of a role.
type role struct {
	oid                                                          uint32
	name                                                         string
	super, inherit, createRole, createDB, login, replica, bypass bool
	limit                                                        int32
	until                                                        string
	expired                                                      bool
	comment                                                      string
	members                                                      int
	conn                                                         *connectors.Connection // nil when it is not selected
}

const roleQuery = `SELECT r.oid, r.rolname, r.rolsuper, r.rolinherit, r.rolcreaterole, r.rolcreatedb, r.rolcanlogin, r.rolreplication, r.rolbypassrls,
  r.rolconnlimit,
  CASE WHEN r.rolvaliduntil IS NULL OR r.rolvaliduntil = 'infinity' THEN 'infinity' ELSE to_char(r.rolvaliduntil AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') END,
  coalesce(r.rolvaliduntil < now(), false), coalesce(d.description, '')
FROM pg_catalog.pg_roles r
LEFT JOIN pg_catalog.pg_shdescription d ON d.objoid = r.oid AND d.classoid = 'pg_catalog.pg_authid'::pg_catalog.regclass`

// roles are those of the names, by oid; all when none is given.
func roles(ctx context.Context, q querier, names ...string) (map[uint32]*role, error) {
	query, args := roleQuery, []any(nil)
	if len(names) > 0 {
		// Longer names than the server holds are cut here, and find nothing that is looked up by them.
		query, args = roleQuery+" WHERE r.rolname IN (SELECT n::pg_catalog.name FROM unnest($1::pg_catalog.text[]) n)", []any{names}
	}
	rows, err := q.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := map[uint32]*role{}
	for rows.Next() {
		x := &role{}
		if err := rows.Scan(&x.oid, &x.name, &x.super, &x.inherit, &x.createRole, &x.createDB, &x.login, &x.replica, &x.bypass,
			&x.limit, &x.until, &x.expired, &x.comment); err != nil {
			return nil, err
		}
		out[x.oid] = x
	}
	return out, rows.Err()
}

type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// protected says why a role must not be touched.
func (r *reader) protected(x *role) string {
	switch {
	case x.super:
		return "it is a superuser"
	case connectors.Match([]string{"pg_*"}, x.name):
		return "it is the server's own"
	case connectors.Match(protectedRoles(), x.name):
		return "it belongs to the service that runs the server"
	case slices.Contains(r.own, x.name):
		return "countersign logs in with it"
	}
	return ""
}

func (x *role) payload() map[string]any {
	return map[string]any{"login": x.login, "inherit": x.inherit, "createdb": x.createDB, "createrole": x.createRole,
		"replication": x.replica, "bypassrls": x.bypass, "connection_limit": int(x.limit), "valid_until": x.until, "comment": x.comment}
}

func nativeID(oid uint32) string { return strconv.FormatUint(uint64(oid), 10) }

func (r *reader) read(ctx context.Context, tx pgx.Tx, sel connectors.Selection) (connectors.State, error) {
	all, err := roles(ctx, tx)
	if err != nil {
		return connectors.State{}, err
	}
	named := map[string]bool{}
	for _, n := range sel.Names {
		if n.Type == typeRole {
			named[n.SourceName] = true
		}
	}
	// Most roles are alike: one payload for all that are.
	payloads := map[role]map[string]any{}
	payload := func(x *role) map[string]any {
		k := *x
		k.oid, k.name, k.super, k.expired, k.members, k.conn = 0, "", false, false, 0, nil
		if payloads[k] == nil {
			payloads[k] = x.payload()
		}
		return payloads[k]
	}
	everything := len(sel.Names) == 0 && len(sel.Scope) == 0
	var state connectors.State
	for _, x := range all {
		if everything || named[x.name] || connectors.Match(sel.Scope[typeRole], x.name) {
			x.conn = &connectors.Connection{Name: schemas.Name{Type: typeRole, SourceName: x.name}, NativeID: nativeID(x.oid),
				Payload: payload(x), Protected: r.protected(x)}
		}
	}
	if err := memberships(ctx, tx, all); err != nil {
		return state, err
	}
	if err := grants(ctx, tx, all); err != nil {
		return state, err
	}
	for _, x := range all {
		if x.conn != nil {
			x.conn.SortEntitlements()
			state.Connections = append(state.Connections, *x.conn)
		}
	}
	slices.SortFunc(state.Connections, func(a, b connectors.Connection) int { return a.Name.Compare(b.Name) })
	return state, nil
}

// memberships shows each membership once: at the group as a user, when the member is a role that logs in and
// has no members; else at the member, when that was asked for; else at the group as a member.
func memberships(ctx context.Context, q querier, all map[uint32]*role) error {
	rows, err := q.Query(ctx, `SELECT roleid, member, bool_or(admin_option) FROM pg_catalog.pg_auth_members GROUP BY roleid, member`)
	if err != nil {
		return err
	}
	defer rows.Close()
	type edge struct {
		group, member *role
		admin         bool
	}
	var edges []edge
	for rows.Next() {
		var g, m uint32
		var admin bool
		if err := rows.Scan(&g, &m, &admin); err != nil {
			return err
		}
		if all[g] == nil || all[m] == nil {
			continue // dropped meanwhile: a snapshot does not show it
		}
		all[g].members++
		edges = append(edges, edge{all[g], all[m], admin})
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, e := range edges {
		at, target := e.group, schemas.Name{Type: typeUser, SourceName: e.member.name}
		id, status := e.member.oid, connectors.EntitlementState("")
		switch {
		case e.member.identity():
			if e.member.expired {
				status = connectors.StateExpired
			}
		case e.member.conn != nil:
			at, target, id = e.member, schemas.Name{Type: typeRole, SourceName: e.group.name}, e.group.oid
		default:
			target.Type = typeMember
		}
		if at.conn == nil {
			continue
		}
		at.conn.Entitlements = append(at.conn.Entitlements, connectors.Entitlement{Target: target, TargetID: nativeID(id), Privilege: schemas.PrivilegeMember, State: status})
		if e.admin {
			at.conn.Entitlements = append(at.conn.Entitlements, connectors.Entitlement{Target: target, TargetID: nativeID(id), Privilege: schemas.PrivilegeAdmin, State: status})
		}
	}
	return nil
}

// identity says whether the role is a plain user.
func (x *role) identity() bool { return x.login && x.members == 0 }

// objectQuery names every object that may be granted, by type, with its access list. An owner's own rights and
// those of PUBLIC are left out by who reads it.
const objectQuery = `
SELECT CASE c.relkind WHEN 'S' THEN 'sequence' WHEN 'v' THEN 'view' WHEN 'm' THEN 'view' ELSE 'table' END AS type,
       format('%I.%I', n.nspname, c.relname) AS name, c.oid AS oid, c.relowner AS owner, c.relacl AS acl, n.nspname AS schema
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm', 'S')
UNION ALL
SELECT 'schema', format('%I', nspname), oid, nspowner, nspacl, nspname FROM pg_catalog.pg_namespace
UNION ALL
SELECT 'database', format('%I', datname), oid, datdba, datacl, '' FROM pg_catalog.pg_database
UNION ALL
SELECT 'function', p.oid::pg_catalog.regprocedure::text, p.oid, p.proowner, p.proacl, n.nspname
  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
UNION ALL
SELECT 'column', format('%I.%I.%I', n.nspname, c.relname, a.attname), c.oid, c.relowner, a.attacl, n.nspname
  FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE a.attnum > 0 AND NOT a.attisdropped`

func grants(ctx context.Context, q querier, all map[uint32]*role) error {
	rows, err := q.Query(ctx, `SELECT o.type, o.name, o.oid, o.owner, o.schema, x.grantee, x.privilege_type, bool_or(x.is_grantable)
FROM (`+objectQuery+`) o, LATERAL aclexplode(o.acl) x WHERE o.acl IS NOT NULL AND x.grantee <> 0 AND x.grantee <> o.owner
GROUP BY 1, 2, 3, 4, 5, 6, 7`)
	if err != nil {
		return err
	}
	defer rows.Close()
	held := map[coverage]map[string]bool{} // tables on which a grantee has a privilege
	type item struct {
		grantee *role
		e       connectors.Entitlement
		cover   coverage
	}
	var items []item
	names := map[string]string{} // strings of the catalogue repeat: one copy each
	intern := func(s string) string {
		if x, ok := names[s]; ok {
			return x
		}
		names[s] = s
		return s
	}
	for rows.Next() {
		var typ, name, schema, priv string
		var oid, owner, grantee uint32
		var grantable bool
		if err := rows.Scan(&typ, &name, &oid, &owner, &schema, &grantee, &priv, &grantable); err != nil {
			return err
		}
		g := all[grantee]
		if g == nil || g.conn == nil {
			continue
		}
		priv = intern(priv)
		it := item{grantee: g, e: connectors.Entitlement{Target: schemas.Name{Type: intern(typ), SourceName: intern(name)}, TargetID: nativeID(oid), Privilege: priv}}
		if typ == typeTable || typ == typeView {
			it.cover = coverage{intern(schema), grantee, priv}
			if held[it.cover] == nil {
				held[it.cover] = map[string]bool{}
			}
			held[it.cover][it.e.Target.SourceName] = true
		}
		items = append(items, it)
		if grantable {
			it.e.Privilege = intern(priv + grantOption)
			it.cover = coverage{}
			items = append(items, it)
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	whole, part, err := covered(ctx, q, all, held)
	if err != nil {
		return err
	}
	for _, it := range items {
		if it.cover != (coverage{}) && whole[it.cover] != "" {
			continue
		}
		it.grantee.conn.Entitlements = append(it.grantee.conn.Entitlements, it.e)
	}
	for k, name := range whole {
		c := all[k.grantee].conn
		c.Entitlements = append(c.Entitlements, connectors.Entitlement{Target: schemas.Name{Type: typeSchemaTables, SourceName: name}, Privilege: k.privilege})
	}
	for k, name := range part {
		c := all[k.grantee].conn
		c.Entitlements = append(c.Entitlements, connectors.Entitlement{Target: schemas.Name{Type: typeSchemaTables, SourceName: name}, Privilege: k.privilege + partly})
	}
	return nil
}

// coverage is a privilege of a grantee on the tables of a schema.
type coverage struct {
	schema    string
	grantee   uint32
	privilege string
}

// covered says which privileges hold on all tables of a schema and on those to come, and which only in part: a
// default is set, and something that it would have covered is missing.
func covered(ctx context.Context, q querier, all map[uint32]*role, held map[coverage]map[string]bool) (whole, part map[coverage]string, err error) {
	rows, err := q.Query(ctx, `SELECT n.nspname, format('%I', n.nspname), d.defaclrole, x.grantee, x.privilege_type
FROM pg_catalog.pg_default_acl d JOIN pg_catalog.pg_namespace n ON n.oid = d.defaclnamespace, LATERAL aclexplode(d.defaclacl) x
WHERE d.defaclobjtype = 'r' AND x.grantee <> 0`)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	defaults := map[coverage]map[uint32]bool{}
	quoted := map[string]string{}
	for rows.Next() {
		var k coverage
		var name string
		var owner uint32
		if err := rows.Scan(&k.schema, &name, &owner, &k.grantee, &k.privilege); err != nil {
			return nil, nil, err
		}
		if g := all[k.grantee]; g == nil || g.conn == nil {
			continue
		}
		if defaults[k] == nil {
			defaults[k] = map[uint32]bool{}
		}
		defaults[k][owner] = true
		quoted[k.schema] = name
	}
	if err := rows.Err(); err != nil || len(defaults) == 0 {
		return nil, nil, err
	}
	owners, tables, err := schemaTables(ctx, q)
	if err != nil {
		return nil, nil, err
	}
	whole, part = map[coverage]string{}, map[coverage]string{}
	for k, by := range defaults {
		complete := true
		for o := range owners[k.schema] {
			complete = complete && by[o]
		}
		for t, owner := range tables[k.schema] {
			complete = complete && (held[k][t] || owner == k.grantee)
		}
		if complete {
			whole[k] = quoted[k.schema]
		} else {
			part[k] = quoted[k.schema]
		}
	}
	return whole, part, nil
}

// schemaTables are, by schema, the owners of the schema and its tables, and the tables with their owners.
func schemaTables(ctx context.Context, q querier) (owners map[string]map[uint32]bool, tables map[string]map[string]uint32, err error) {
	rows, err := q.Query(ctx, `SELECT n.nspname, n.nspowner, CASE WHEN c.relname IS NOT NULL THEN format('%I.%I', n.nspname, c.relname) END, c.relowner
FROM pg_catalog.pg_namespace n LEFT JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relkind IN ('r', 'p', 'f', 'v', 'm')`)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	owners, tables = map[string]map[uint32]bool{}, map[string]map[string]uint32{}
	for rows.Next() {
		var schema string
		var schemaOwner uint32
		var table *string
		var owner *uint32
		if err := rows.Scan(&schema, &schemaOwner, &table, &owner); err != nil {
			return nil, nil, err
		}
		if owners[schema] == nil {
			owners[schema], tables[schema] = map[uint32]bool{}, map[string]uint32{}
		}
		owners[schema][schemaOwner] = true
		if table != nil && owner != nil {
			owners[schema][*owner] = true
			tables[schema][*table] = *owner
		}
	}
	return owners, tables, rows.Err()
}

// List returns what exists of a type, sorted by name. It answers in one page.
func (r *reader) List(ctx context.Context, q connectors.Query) (connectors.Page, error) {
	const op = "list"
	if r.conn == nil {
		return connectors.Page{}, errClosed
	}
	if err := ctx.Err(); err != nil {
		return connectors.Page{}, wrap(op, err)
	}
	ctx, cancel := context.WithTimeout(ctx, r.limit)
	defer cancel()
	items, err := r.list(ctx, q)
	if err != nil {
		return connectors.Page{}, wrap(op, err)
	}
	return connectors.PageOf(items, q), nil
}

func (r *reader) list(ctx context.Context, q connectors.Query) ([]connectors.Item, error) {
	wanted := func(string) bool { return true }
	if q.Names != nil {
		set := map[string]bool{}
		for _, n := range q.Names {
			set[n] = true
		}
		wanted = func(n string) bool { return set[n] }
	}
	var out []connectors.Item
	switch q.Type {
	case typeRole, typeUser, typeMember:
		all, err := roles(ctx, r.conn)
		if err != nil {
			return nil, err
		}
		if err := memberships(ctx, r.conn, all); err != nil {
			return nil, err
		}
		for _, x := range all {
			// A list of users is of those who log in; asked by name, any role answers, so that it can be told what it is.
			if !wanted(x.name) || (q.Type == typeUser && q.Names == nil && !x.identity()) {
				continue
			}
			i := connectors.Item{Name: schemas.Name{Type: q.Type, SourceName: x.name}, NativeID: nativeID(x.oid), Protected: r.protected(x)}
			if q.Type == typeUser {
				i.Connection = !x.identity()
				if x.expired {
					i.State = connectors.StateExpired
				}
			}
			out = append(out, i)
		}
		return out, nil
	case typeSchemaTables:
		q.Type = typeSchema
		items, err := r.list(ctx, q)
		for j := range items {
			items[j].Type = typeSchemaTables
		}
		return items, err
	}
	if privileges(q.Type) == nil {
		return nil, &connectors.Error{Code: connectors.Invalid, Op: "list " + q.Type, Message: "PostgreSQL has no such type"}
	}
	rows, err := r.conn.Query(ctx, `SELECT o.name, o.oid, o.schema FROM (`+objectQuery+`) o WHERE o.type = $1 AND ($2::text[] IS NULL OR o.name = ANY($2))`, q.Type, q.Names)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var name, schema string
		var oid uint32
		if err := rows.Scan(&name, &oid, &schema); err != nil {
			return nil, err
		}
		i := connectors.Item{Name: schemas.Name{Type: q.Type, SourceName: name}, NativeID: nativeID(oid)}
		if connectors.Match([]string{"pg_*", "information_schema"}, schema) {
			i.Protected = "it is the server's own"
			if q.Names == nil {
				continue
			}
		}
		out = append(out, i)
	}
	return out, rows.Err()
}

// Normalize sorts, and completes ADMIN by MEMBER. Names are not changed: they are exact.
func (r *reader) Normalize(s connectors.State) (connectors.State, error) { return normalize(s) }

func normalize(s connectors.State) (connectors.State, error) {
	return connectors.NormalizeWith(description(), s, func(c *connectors.Connection) error {
		login, _ := c.Payload["login"].(bool)
		for _, e := range slices.Clone(c.Entitlements) {
			if login && e.Target.Type == typeRole {
				return fmt.Errorf("a role that logs in is a user: assign it, as type user, to the role %s", e.Target.SourceName)
			}
			// Whoever may hand a membership on has it.
			if e.Privilege == schemas.PrivilegeAdmin {
				e.Privilege = schemas.PrivilegeMember
				c.Entitlements = append(c.Entitlements, e)
			}
		}
		return nil
	})
}
