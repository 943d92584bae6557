package postgres

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

func keyword(typ string) string {
	switch typ {
	case typeTable, typeView, typeColumn:
		return "TABLE "
	case typeSequence:
		return "SEQUENCE "
	case typeFunction:
		return "ROUTINE "
	case typeSchema:
		return "SCHEMA "
	}
	return "DATABASE "
}

// statement is a piece of SQL that may be joined with others: head + the roles + tail.
type statement struct{ head, role, tail string }

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }

func (b *batch) statements(o *schemas.Operation) ([]statement, error) {
	x, err := b.connection(o)
	if err != nil {
		return nil, err
	}
	missing := &connectors.Error{Code: connectors.NotFound, Op: connectors.Title(o), Message: "the role " + o.Connection.SourceName + " does not exist"}
	switch o.Kind {
	case schemas.OperationCreate:
		return b.create(o, x)
	case schemas.OperationUpdate:
		if x == nil {
			return nil, missing
		}
		return b.alter(o, "ALTER ROLE ", x)
	case schemas.OperationGrant:
		if x == nil {
			return nil, missing
		}
		return b.grant(o)
	case schemas.OperationRevoke:
		if x == nil {
			return nil, nil // with the role went all that it had
		}
		return b.revoke(o)
	}
	return nil, connectors.Refuse(o, connectors.Invalid, "there is no such operation")
}

func (b *batch) create(o *schemas.Operation, x *role) ([]statement, error) {
	if err := description().Types[0].Names.Check(o.Connection.SourceName); err != nil {
		return nil, &connectors.Error{Code: connectors.Invalid, Op: connectors.Title(o), Message: err.Error()}
	}
	head, now := "CREATE ROLE ", fresh()
	if x != nil {
		head, now = "ALTER ROLE ", x // made by an earlier try: complete it
	}
	stmts, err := b.alter(o, head, now)
	if err == nil && x == nil {
		b.roles[o.Connection.SourceName] = &role{name: o.Connection.SourceName}
	}
	return stmts, err
}

// fresh is a role as CREATE ROLE makes it when nothing is said.
func fresh() *role { return &role{inherit: true} }

// has says whether the role has the attribute already.
func (x *role) has(attribute string, on bool) bool {
	now := map[string]bool{"login": x.login, "inherit": x.inherit, "createdb": x.createDB, "createrole": x.createRole,
		"replication": x.replica, "bypassrls": x.bypass}
	return now[attribute] == on
}

// alter sets the attributes of After that the role, as it stands, has otherwise; what is null or absent stays as
// it is. To say even that a role has no REPLICATION takes a superuser.
func (b *batch) alter(o *schemas.Operation, head string, now *role) ([]statement, error) {
	var options []string
	var comment *string
	for _, k := range slices.Sorted(maps.Keys(o.After)) {
		v := o.After[k]
		if v == nil {
			continue
		}
		bad := connectors.Refuse(o, connectors.Invalid, "the attribute %s cannot be %v", k, v)
		switch k {
		case "login", "inherit", "createdb", "createrole", "replication", "bypassrls":
			on, ok := v.(bool)
			if !ok {
				return nil, bad
			}
			word := strings.ToUpper(k)
			if !on {
				word = "NO" + word
			}
			// What was made in this very batch is not known.
			if known := now.oid != 0 || now.name == ""; !known || !now.has(k, on) {
				options = append(options, word)
			}
		case "connection_limit":
			n, ok := connectors.WholeNumber(v)
			if !ok || n < -1 || n > 1<<31-1 {
				return nil, bad
			}
			options = append(options, fmt.Sprintf("CONNECTION LIMIT %d", n))
		case "valid_until":
			s, ok := v.(string)
			if !ok {
				return nil, bad
			}
			lit, err := b.literal(s)
			if err != nil {
				return nil, bad
			}
			options = append(options, "VALID UNTIL "+lit)
		case "comment":
			s, ok := v.(string)
			if !ok {
				return nil, bad
			}
			comment = &s
		default:
			return nil, &connectors.Error{Code: connectors.Invalid, Op: connectors.Title(o), Message: "a role has no attribute " + k}
		}
	}
	var out []statement
	name := quote(o.Connection.SourceName)
	if len(options) > 0 || strings.HasPrefix(head, "CREATE") {
		out = append(out, statement{head: head + name + " " + strings.Join(options, " ")})
	}
	if comment != nil {
		lit, err := b.literal(*comment)
		if err != nil {
			return nil, connectors.Refuse(o, connectors.Invalid, "the comment cannot be quoted")
		}
		out = append(out, statement{head: "COMMENT ON ROLE " + name + " IS " + lit})
	}
	return out, nil
}

// literal quotes a string as the server's own client library does.
func (b *batch) literal(s string) (string, error) {
	e, err := b.writer.conn.PgConn().EscapeString(s)
	return "'" + e + "'", err
}

// membership is the group and the member of a grant of one role to another.
func (b *batch) membership(o *schemas.Operation) (group, member string, ok bool) {
	switch o.Target.Type {
	case typeRole:
		return o.Target.SourceName, o.Connection.SourceName, true
	case typeUser, typeMember:
		return o.Connection.SourceName, o.Target.SourceName, true
	}
	return "", "", false
}

func (b *batch) check(o *schemas.Operation) error {
	if o.Target == nil {
		return connectors.Refuse(o, connectors.Invalid, "it names no target")
	}
	target, ok := description().Types[0].Target(o.Target.Type)
	if !ok {
		return &connectors.Error{Code: connectors.Invalid, Op: connectors.Title(o), Message: "a role cannot be given a " + o.Target.Type}
	}
	plain := o.Privilege
	if o.Kind == schemas.OperationRevoke {
		plain = strings.TrimSuffix(strings.TrimSuffix(plain, grantOption), partly)
	}
	if !slices.Contains(target.Privileges, plain) {
		return &connectors.Error{Code: connectors.Invalid, Op: connectors.Title(o), Message: o.Privilege + " is no privilege on a " + o.Target.Type}
	}
	return nil
}

func (b *batch) grant(o *schemas.Operation) ([]statement, error) {
	if err := b.check(o); err != nil {
		return nil, err
	}
	if group, member, ok := b.membership(o); ok {
		x, err := b.target(o)
		if err != nil {
			return nil, err
		}
		if x.super {
			return nil, &connectors.Error{Code: connectors.Denied, Op: connectors.Title(o), Message: x.name + " is a superuser"}
		}
		tail := ""
		if o.Privilege == schemas.PrivilegeAdmin {
			tail = " WITH ADMIN OPTION"
		}
		return []statement{{"GRANT " + quote(group) + " TO ", quote(member), tail}}, nil
	}
	x, err := b.object(o)
	if err != nil {
		return nil, err
	}
	role := quote(o.Connection.SourceName)
	if o.Target.Type == typeSchemaTables {
		return b.schemaWide(o.Privilege, x, "GRANT ", " TO ", role), nil
	}
	return []statement{{"GRANT " + o.Privilege + x.cols + " ON " + x.sql + " TO ", role, ""}}, nil
}

func (b *batch) revoke(o *schemas.Operation) ([]statement, error) {
	if err := b.check(o); err != nil {
		return nil, err
	}
	if group, member, ok := b.membership(o); ok {
		x := b.roles[o.Target.SourceName]
		if x == nil {
			return nil, nil
		}
		if _, err := b.target(o); err != nil {
			return nil, err
		}
		what := ""
		if o.Privilege == schemas.PrivilegeAdmin {
			what = "ADMIN OPTION FOR "
		}
		return []statement{{"REVOKE " + what + quote(group) + " FROM ", quote(member), ""}}, nil
	}
	x, err := b.object(o)
	if connectors.CodeOf(err) == connectors.NotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	role := quote(o.Connection.SourceName)
	if o.Target.Type == typeSchemaTables {
		priv, part := strings.CutSuffix(o.Privilege, partly)
		stmts := b.schemaWide(priv, x, "REVOKE ", " FROM ", role)
		if part {
			stmts = stmts[1:] // only the defaults: what is held on single tables may be there by right
		}
		return stmts, nil
	}
	priv, option := strings.CutSuffix(o.Privilege, grantOption)
	what := ""
	if option {
		what = "GRANT OPTION FOR "
	}
	return []statement{{"REVOKE " + what + priv + x.cols + " ON " + x.sql + " FROM ", role, ""}}, nil
}

// schemaWide is a privilege on all tables of a schema and on those to come.
func (b *batch) schemaWide(priv string, schema object, verb, to, role string) []statement {
	name := strings.TrimPrefix(schema.sql, "SCHEMA ")
	out := []statement{{verb + priv + " ON ALL TABLES IN SCHEMA " + name + to, role, ""}}
	owners := slices.Sorted(maps.Keys(b.owners[schema.raw]))
	for _, oid := range owners {
		if owner := b.byOID[oid]; owner != nil {
			out = append(out, statement{"ALTER DEFAULT PRIVILEGES FOR ROLE " + quote(owner.name) + " IN SCHEMA " + name + " " + verb + priv + " ON TABLES" + to, role, ""})
		}
	}
	return out
}

// grouper joins neighbouring statements that differ only in the role: GRANT x TO a, b, c.
type grouper struct {
	order []*group
	open  map[statement]*group
}

type group struct {
	statement
	roles []string
}

// maxRoles bounds how many roles one statement names.
const maxRoles = 500

func (g *grouper) add(stmts []statement) {
	for _, s := range stmts {
		if s.role == "" {
			// What makes or changes a role comes before what is granted later in the batch.
			g.order = append(g.order, &group{statement: s})
			continue
		}
		if g.open == nil {
			g.open = map[statement]*group{}
		}
		k := statement{head: s.head, tail: s.tail}
		x := g.open[k]
		if x == nil || len(x.roles) == maxRoles {
			x = &group{statement: s}
			g.open[k] = x
			g.order = append(g.order, x)
		}
		x.roles = append(x.roles, s.role)
	}
}

func (g *grouper) text() string {
	var b strings.Builder
	for _, s := range g.order {
		b.WriteString(s.head)
		b.WriteString(strings.Join(s.roles, ", "))
		b.WriteString(s.tail)
		b.WriteString(";\n")
	}
	return b.String()
}
