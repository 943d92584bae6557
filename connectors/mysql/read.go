package mysql

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// ours reports whether countersign logs in as the account.
func (r *reader) ours(a accountID) bool { return a == r.self || r.others[a.user] && a.host != "" }

// protected returns why a role must not be changed, or "".
func (r *reader) protected(a *account) string {
	name := r.dialect.roleName(a.id)
	switch {
	case r.dialect == mariaDB && name == "PUBLIC":
		return "every account is a member of it"
	case r.mandatory[a.id]:
		return "every account has it (mandatory_roles)"
	case r.active[name]:
		return "countersign gets its own privileges from it"
	case r.ours(a.id):
		return "it is the account that countersign logs in with"
	case schemas.Match(serviceRoles(), a.id.user):
		return "it belongs to the server or to the service that runs it"
	case r.dialect == mySQL && !a.locked:
		return "it has members and can log in: lock it (ALTER USER ... ACCOUNT LOCK) to have it managed as a role"
	}
	return ""
}

// guarded returns why a user must not be granted anything, or "".
func (r *reader) guarded(a *account) string {
	switch {
	case r.ours(a.id):
		return "it is the account that countersign logs in with"
	case schemas.Match([]string{"mysql.*", "mariadb.*"}, a.id.user):
		return "it belongs to the server"
	}
	return ""
}

// state is the selected part of a catalogue.
func (r *reader) state(c *catalogue, sel schemas.Selection) schemas.State {
	state := schemas.State{Incomplete: c.incomplete}
	selected := sel.Selector(nil)
	found := map[accountID]*schemas.Connection{}
	for id, a := range c.accounts {
		name := schemas.Name{Type: typeRole, SourceName: r.dialect.roleName(id)}
		if !a.role || !selected(name) {
			continue
		}
		conn := &schemas.Connection{Name: name, Protected: r.protected(a)}
		if r.description.Types[0].Update {
			conn.Payload = map[string]any{"comment": a.comment}
		}
		for h := range a.held {
			conn.Entitlements = append(conn.Entitlements, schemas.Entitlement{Target: h.target(), Privilege: h.privilege})
		}
		found[id] = conn
	}
	orphans := 0
	for e, admin := range c.edges {
		role, member := c.accounts[e.role], c.accounts[e.member]
		// MariaDB makes the creator of a role its member with ADMIN, and requires that to grant the role. The applying
		// credential needs it to work, so it is left out.
		if r.ours(e.member) {
			continue
		}
		if role == nil || member == nil {
			if !r.orphan(e, admin, found) {
				orphans++
			}
			continue
		}
		at, target := found[e.role], schemas.Name{Type: typeUser, SourceName: e.member.userName()}
		switch {
		case !member.role:
		case found[e.member] != nil:
			at, target = found[e.member], schemas.Name{Type: typeRole, SourceName: r.dialect.roleName(e.role)}
		default:
			target = schemas.Name{Type: typeMember, SourceName: r.dialect.roleName(e.member)}
		}
		if at == nil {
			continue
		}
		at.Entitlements = append(at.Entitlements, schemas.Entitlement{Target: target, Privilege: schemas.PrivilegeMember, State: member.status()})
		if admin {
			at.Entitlements = append(at.Entitlements, schemas.Entitlement{Target: target, Privilege: schemas.PrivilegeAdmin, State: member.status()})
		}
	}
	if orphans > 0 {
		state.NotRead = []schemas.NotRead{{What: "membership of or in a missing account", Count: orphans}}
	}
	for _, conn := range found {
		state.Connections = append(state.Connections, *conn)
	}
	state.Sort()
	return state
}

// orphan lists a membership one end of which is not among the accounts: deleted by hand, or hidden by
// config.accounts_view. It reports false if neither end is selected.
func (r *reader) orphan(e edge, admin bool, found map[accountID]*schemas.Connection) bool {
	at, target := found[e.role], schemas.Name{Type: typeUser, SourceName: e.member.userName()}
	switch {
	case at == nil:
		at, target = found[e.member], schemas.Name{Type: typeRole, SourceName: r.dialect.roleName(e.role)}
	case e.member.host == "":
		target = schemas.Name{Type: typeMember, SourceName: r.dialect.roleName(e.member)}
	}
	if at == nil {
		return false
	}
	at.Entitlements = append(at.Entitlements, schemas.Entitlement{Target: target, Privilege: schemas.PrivilegeMember, State: schemas.StateUnresolved})
	if admin {
		at.Entitlements = append(at.Entitlements, schemas.Entitlement{Target: target, Privilege: schemas.PrivilegeAdmin, State: schemas.StateUnresolved})
	}
	return true
}

func normalize(d schemas.Description, dia dialect, s schemas.State) (schemas.State, error) {
	return connectors.NormalizeWith(d, s, func(c *schemas.Connection) error {
		for _, e := range slices.Clone(c.Entitlements) {
			if _, err := dia.object(e.Target); err != nil {
				return err
			}
			// ADMIN implies MEMBER.
			if e.Privilege == schemas.PrivilegeAdmin {
				e.Privilege = schemas.PrivilegeMember
				c.Entitlements = append(c.Entitlements, e)
			}
		}
		return nil
	})
}

// object parses a target of a request, with its column if it has one. For a membership, role is the other role or
// user.
func (d dialect) object(n schemas.Name) (holding, error) {
	h := holding{object: object{typ: n.Type}}
	switch n.Type {
	case typeRole, typeMember:
		id, ok := d.role(n.SourceName)
		if !ok {
			return h, fmt.Errorf("%s: invalid role name", strconv.QuoteToASCII(n.SourceName))
		}
		h.role = id
	case typeUser:
		id, ok := parseUser(n.SourceName)
		if !ok {
			return h, fmt.Errorf("%s: invalid user name (expected user@host)", strconv.QuoteToASCII(n.SourceName))
		}
		h.role = id
	case typeGlobal:
		if n.SourceName != everything {
			return h, fmt.Errorf("invalid target of type global (expected %s)", everything)
		}
	case typeDatabase, typePattern:
		h.db = n.SourceName
	case typeColumn:
		parts, err := splitName(n.SourceName, 3)
		if err != nil {
			return h, err
		}
		h.db, h.name, h.column = parts[0], parts[1], parts[2]
	default:
		parts, err := splitName(n.SourceName, 2)
		if err != nil {
			return h, err
		}
		h.db, h.name = parts[0], parts[1]
	}
	return h, nil
}

const (
	informationSchema    = "information_schema"
	whyInformationSchema = "information_schema shows everyone what they can access, and privileges on it cannot be granted"
)

// List returns the existing items of a type.
func (r *reader) List(ctx context.Context, q connectors.Query) (connectors.Page, error) {
	op := "list " + q.Type
	typ := r.description.Types[0]
	if _, ok := typ.Target(q.Type); !ok {
		return connectors.Page{}, &connectors.Error{Code: connectors.Invalid, Op: op, Message: "unknown type of target in " + r.dialect.String()}
	}
	return r.lister.Page(q, nil, func() ([]schemas.Item, error) {
		items, err := r.items(ctx, q)
		return items, wrap(op, err)
	})
}

func (r *reader) items(ctx context.Context, q connectors.Query) ([]schemas.Item, error) {
	wanted := func(string) bool { return true }
	if q.Names != nil {
		set := make(map[string]bool, len(q.Names))
		for _, n := range q.Names {
			set[n] = true
		}
		wanted = func(n string) bool { return set[n] }
	}
	var out []schemas.Item
	add := func(name, protected string) {
		if wanted(name) {
			out = append(out, schemas.Item{Name: schemas.Name{Type: q.Type, SourceName: name}, Protected: protected})
		}
	}
	switch q.Type {
	case typeGlobal:
		add(everything, "")
		return out, nil
	case typeRole, typeMember, typeUser, typePattern:
		c, err := r.load(ctx)
		if err != nil {
			return nil, err
		}
		if c.incomplete != "" {
			return nil, &connectors.Error{Code: connectors.Conflict, Message: c.incomplete}
		}
		for id, a := range c.accounts {
			if q.Type == typePattern {
				for h := range a.held {
					if h.typ == typePattern {
						add(h.db, "")
					}
				}
				continue
			}
			i := schemas.Item{Name: schemas.Name{Type: q.Type, SourceName: r.dialect.roleName(id)}}
			if a.role {
				i.Protected = r.protected(a)
			}
			switch {
			case q.Type == typeUser:
				i.SourceName = id.userName()
				i.State, i.Connection = a.status(), a.role
				if !a.role {
					i.Protected = r.guarded(a)
				}
				// A list of users leaves out roles. A query by name also returns a role, marked as a connection.
				if a.role && (q.Names == nil || r.dialect == mariaDB) {
					continue
				}
			case !a.role:
				continue
			}
			if wanted(i.SourceName) {
				out = append(out, i)
			}
		}
		return out, nil
	case typeDatabase:
		err := r.query(ctx, func(c []string) error {
			protected := ""
			switch {
			case q.Names == nil && slices.Contains(systemDatabases(), c[0]):
				return nil // they are listed only if named
			case strings.EqualFold(c[0], informationSchema):
				protected = whyInformationSchema
			}
			add(c[0], protected)
			return nil
		}, 1, "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA")
		return out, err
	}
	var within map[string]bool
	if q.Names != nil {
		within = map[string]bool{}
		for _, n := range q.Names {
			if h, err := r.dialect.object(schemas.Name{Type: q.Type, SourceName: n}); err == nil {
				within[h.db] = true
			}
		}
	}
	err := r.objects(ctx, q.Type, within, func(h holding) { add(h.target().SourceName, "") })
	return out, err
}

// objects finds the objects of a type in the given databases; nil means all except the system databases.
func (r *reader) objects(ctx context.Context, typ string, within map[string]bool, found func(holding)) error {
	row := func(c []string) error {
		found(holding{object: object{typ: typ, db: c[0], name: c[1]}, column: c[2]})
		return nil
	}
	if within == nil {
		return r.query(ctx, row, 3, r.dialect.objects(typ, true))
	}
	// One database at a time: for several, the server scans the folders of all databases.
	for _, db := range sortedKeys(within) {
		if err := r.query(ctx, row, 3, r.dialect.objects(typ, false), db); err != nil {
			return err
		}
	}
	return nil
}
