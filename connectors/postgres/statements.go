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

// statement is SQL that can be joined with others: head + roles + tail.
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
			return nil, nil // the role is gone, and its entitlements with it
		}
		return b.revoke(o)
	}
	return nil, connectors.Refuse(o, connectors.Invalid, "unknown operation")
}

func (b *batch) create(o *schemas.Operation, x *role) ([]statement, error) {
	if err := description().Types[0].Names.Check(o.Connection.SourceName); err != nil {
		return nil, &connectors.Error{Code: connectors.Invalid, Op: connectors.Title(o), Message: err.Error()}
	}
	head, now := "CREATE ROLE ", fresh()
	if x != nil {
		head, now = "ALTER ROLE ", x // created by an earlier try: complete it
	}
	stmts, err := b.alter(o, head, now)
	if err == nil && x == nil {
		b.roles[o.Connection.SourceName] = &role{name: o.Connection.SourceName}
	}
	return stmts, err
}

// fresh is a role as CREATE ROLE creates it by default.
func fresh() *role { return &role{inherit: true} }

// has reports whether the role already has the attribute.
func (x *role) has(attribute string, on bool) bool {
	now := map[string]bool{"login": x.login, "inherit": x.inherit, "createdb": x.createDB, "createrole": x.createRole,
		"replication": x.replica, "bypassrls": x.bypass}
	return now[attribute] == on
}

// alter sets the attributes of After that differ from the role's. Null and absent attributes stay unchanged. It names
// only what differs, because even NOREPLICATION requires a superuser.
func (b *batch) alter(o *schemas.Operation, head string, now *role) ([]statement, error) {
	var options []string
	var comment *string
	for _, k := range slices.Sorted(maps.Keys(o.After)) {
		v := o.After[k]
		if v == nil {
			continue
		}
		bad := connectors.Refuse(o, connectors.Invalid, "%s: invalid value %v", k, v)
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
			// The attributes of a role created in this batch are unknown.
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
			return nil, &connectors.Error{Code: connectors.Invalid, Op: connectors.Title(o), Message: k + ": unknown attribute of a role"}
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
			return nil, connectors.Refuse(o, connectors.Invalid, "comment: could not be quoted")
		}
		out = append(out, statement{head: "COMMENT ON ROLE " + name + " IS " + lit})
	}
	return out, nil
}

// literal quotes a string as libpq does.
func (b *batch) literal(s string) (string, error) {
	e, err := b.conn.PgConn().EscapeString(s)
	return "'" + e + "'", err
}

// membership returns the group and the member of a grant of one role to another.
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
		return connectors.Refuse(o, connectors.Invalid, "target: required")
	}
	target, ok := description().Types[0].Target(o.Target.Type)
	if !ok {
		return &connectors.Error{Code: connectors.Invalid, Op: connectors.Title(o), Message: "unknown type of target " + o.Target.Type}
	}
	plain := o.Privilege
	if o.Kind == schemas.OperationRevoke {
		plain = strings.TrimSuffix(plain, grantOption)
	}
	if !slices.Contains(target.Privileges, plain) {
		return &connectors.Error{Code: connectors.Invalid, Op: connectors.Title(o), Message: "unknown privilege " + o.Privilege + " on a " + o.Target.Type}
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
		if slices.Contains(b.writer.own, x.name) {
			return nil, connectors.Refuse(o, connectors.Denied, "%s is protected: countersign logs in with it", x.name)
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
	if f := familyOf(o.Target.Type); f != nil {
		switch o.Target.Type {
		case f.all:
			return b.grantAll(o, f, x, role)
		case f.def:
			return []statement{{x.sql + "GRANT " + o.Privilege + " ON " + f.words + " TO ", role, ""}}, nil
		}
	}
	return []statement{{"GRANT " + o.Privilege + x.cols + " ON " + x.sql + " TO ", role, ""}}, nil
}

func (b *batch) revoke(o *schemas.Operation) ([]statement, error) {
	if err := b.check(o); err != nil {
		return nil, err
	}
	if group, member, ok := b.membership(o); ok {
		switch _, err := b.target(o); {
		case connectors.CodeOf(err) == connectors.NotFound:
			return nil, nil
		case err != nil:
			return nil, err
		}
		if slices.Contains(b.writer.own, member) {
			return nil, connectors.Refuse(o, connectors.Denied, "%s is protected: countersign logs in with it, and needs its memberships to work", member)
		}
		return b.leave(o, group, member), nil
	}
	x, err := b.object(o)
	if connectors.CodeOf(err) == connectors.NotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	role := quote(o.Connection.SourceName)
	priv, option := strings.CutSuffix(o.Privilege, grantOption)
	what := ""
	if option {
		what = "GRANT OPTION FOR "
	}
	if f := familyOf(o.Target.Type); f != nil {
		switch o.Target.Type {
		case f.all:
			return b.revokeAll(o, f, x, what+priv, role)
		case f.def:
			return []statement{{x.sql + "REVOKE " + what + priv + " ON " + f.words + " FROM ", role, ""}}, nil
		}
	}
	return []statement{{"REVOKE " + what + priv + x.cols + " ON " + x.sql + " FROM ", role, ""}}, nil
}

// leave revokes a membership, or its ADMIN, from each grantor.
func (b *batch) leave(o *schemas.Operation, group, member string) []statement {
	head := "REVOKE "
	if o.Privilege == schemas.PrivilegeAdmin {
		head += "ADMIN OPTION FOR "
	}
	head += quote(group) + " FROM "
	var out []statement
	granted := b.grantors[[2]string{group, member}]
	for _, grantor := range slices.Sorted(maps.Keys(granted)) {
		if granted[grantor] || o.Privilege != schemas.PrivilegeAdmin {
			out = append(out, statement{head, quote(member), " GRANTED BY " + quote(grantor)})
		}
	}
	if len(granted) == 0 {
		out = append(out, statement{head, quote(member), ""})
	}
	return out
}

// grouper joins neighbouring statements that differ only in the role: GRANT x TO a, b, c.
type grouper struct {
	order []*group
	open  map[statement]*group
	bulk  bool // a statement on all objects of a schema, where the server warns of each that it left out
}

type group struct {
	statement
	roles []string
}

// maxRoles is the maximum number of roles in one statement.
const maxRoles = 500

func (g *grouper) add(stmts []statement) {
	for _, s := range stmts {
		g.bulk = g.bulk || strings.Contains(s.head, " ON ALL ")
		if s.role == "" {
			// Statements that create or change a role stay before the later grants of the batch.
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
