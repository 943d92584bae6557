package casbin

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

type reader struct {
	settings    settings
	description schemas.Description
}

var _ connectors.Reader = (*reader)(nil)

// Close does nothing: the file isn't kept open.
func (r *reader) Close() error { return nil }

func (r *reader) Describe(context.Context) (schemas.Description, error) {
	d := describe(r.settings.Actions)
	d.Server = connectors.Server("file", r.settings.path)
	return d, nil
}

func (r *reader) store(op string) (*store, error) {
	snap, err := load(r.settings.path, op)
	if err != nil {
		return nil, err
	}
	return parse(snap.content), nil
}

func (r *reader) Read(_ context.Context, sel schemas.Selection) (schemas.State, error) {
	s, err := r.store("read the policy file")
	if err != nil {
		return schemas.State{}, err
	}
	state := schemas.State{Incomplete: s.fault, NotRead: s.notRead()}
	selected := sel.Selector(nil)
	for _, typ := range r.description.Types {
		for _, name := range s.subjects(typ.Name) {
			n := schemas.Name{Type: typ.Name, SourceName: name}
			if selected(n) {
				state.Connections = append(state.Connections, s.connection(n))
			}
		}
	}
	return state, nil
}

// connection returns a connection with its entitlements.
func (s *store) connection(n schemas.Name) schemas.Connection {
	d := s.declared[n.SourceName] // an undeclared role has the default payload
	c := schemas.Connection{Name: n, Payload: d.payload()}
	hold := func(typ, name, privilege string) {
		c.Entitlements = append(c.Entitlements, schemas.Entitlement{Target: schemas.Name{Type: typ, SourceName: name}, Privilege: privilege})
	}
	for p := range s.perms[n.SourceName] {
		hold(TypeObject, p.object, p.action)
	}
	// The package comment explains which side a membership belongs to.
	for parent := range s.parents[n.SourceName] {
		kind := s.kind(parent)
		if kind == TypeRole || (kind == TypeGroup && n.Type == TypeRole) {
			hold(kind, parent, schemas.PrivilegeMember)
		}
	}
	for member := range s.members[n.SourceName] {
		kind := s.kind(member)
		if kind == TypeUser || (kind == TypeGroup && n.Type == TypeGroup) {
			hold(kind, member, schemas.PrivilegeMember)
		}
	}
	slices.SortFunc(c.Entitlements, schemas.Entitlement.Compare)
	return c
}

// maxNotRead bounds how many users are named in a state for what isn't read of them.
const maxNotRead = 100

// notRead counts the access in the file that belongs to no role or group: what users hold by themselves, what hangs on a
// user that has members, and rules of other sections.
func (s *store) notRead() []schemas.NotRead {
	permissions, memberships := map[string]int{}, map[string]int{}
	for name, held := range s.perms {
		if len(held) > 0 && s.kind(name) == TypeUser {
			permissions[name] = len(held)
		}
	}
	for name, members := range s.members {
		if len(members) > 0 && s.kind(name) == TypeUser {
			memberships[name] = len(members)
		}
	}
	var out []schemas.NotRead
	for _, kind := range []struct {
		what  string
		count map[string]int
	}{{"permission of a user", permissions}, {"membership in a user", memberships}} {
		rest := 0
		for i, name := range slices.Sorted(maps.Keys(kind.count)) {
			if i >= maxNotRead {
				rest += kind.count[name]
				continue
			}
			out = append(out, schemas.NotRead{What: kind.what, Count: kind.count[name], Connection: schemas.Name{Type: TypeUser, SourceName: name}})
		}
		if rest > 0 {
			out = append(out, schemas.NotRead{What: kind.what, Count: rest})
		}
	}
	for _, section := range slices.Sorted(maps.Keys(s.sections)) {
		out = append(out, schemas.NotRead{What: "rule of section " + section, Count: s.sections[section]})
	}
	return out
}

func (d declaration) payload() map[string]any {
	return map[string]any{"title": d.title, "description": d.description, "critical": d.critical}
}

// maxPage bounds the pages of List where the query does not.
const maxPage = 10_000

func (r *reader) List(_ context.Context, q connectors.Query) (connectors.Page, error) {
	const op = "list the policy file"
	s, err := r.store(op)
	if err != nil {
		return connectors.Page{}, err
	}
	if s.fault != "" {
		return connectors.Page{}, fault(connectors.Unavailable, op, s.fault, nil)
	}
	var names []string
	switch q.Type {
	case TypeObject:
		names = s.allObjects()
	case TypeUser, TypeRole, TypeGroup:
		names = s.subjects(q.Type)
	default:
		return connectors.Page{}, fault(connectors.Unsupported, op, "unknown type "+strconv.QuoteToASCII(q.Type), nil)
	}
	items := make([]schemas.Item, 0, len(names))
	for _, n := range names {
		item := schemas.Item{Name: schemas.Name{Type: q.Type, SourceName: n}}
		if q.Type != TypeObject {
			item.Connection = q.Type != TypeUser || len(s.members[n]) > 0
		}
		items = append(items, item)
	}
	if q.Limit <= 0 {
		q.Limit = maxPage
	}
	return connectors.PageOf(connectors.OnlyNamed(items, q.Names, nil), q), nil
}

func (r *reader) Normalize(state schemas.State) (schemas.State, error) {
	const op = "check against the policy file's rules"
	out := schemas.State{Incomplete: state.Incomplete, NotRead: state.NotRead}
	for _, c := range state.Connections {
		typ, ok := r.description.Type(c.Type)
		if !ok {
			return schemas.State{}, unknownType(op, c.Type)
		}
		if err := checkName(op, c.SourceName); err != nil {
			return schemas.State{}, err
		}
		if err := checkPayload(op, c.Payload); err != nil {
			return schemas.State{}, err
		}
		c.Payload = maps.Clone(c.Payload)
		c.Entitlements = slices.Clone(c.Entitlements)
		for _, e := range c.Entitlements {
			g, ok := typ.Target(e.Target.Type)
			if !ok {
				return schemas.State{}, unknownType(op, e.Target.Type)
			}
			if err := checkName(op, e.Target.SourceName); err != nil {
				return schemas.State{}, err
			}
			if err := checkPrivilege(op, g, e.Privilege); err != nil {
				return schemas.State{}, err
			}
		}
		slices.SortStableFunc(c.Entitlements, schemas.Entitlement.Compare)
		c.Entitlements = slices.CompactFunc(c.Entitlements, func(a, b schemas.Entitlement) bool { return a.Compare(b) == 0 })
		out.Connections = append(out.Connections, c)
	}
	slices.SortStableFunc(out.Connections, func(a, b schemas.Connection) int { return a.Name.Compare(b.Name) })
	return out, nil
}

func unknownType(op, typ string) error {
	return fault(connectors.Unsupported, op, "unknown type "+strconv.QuoteToASCII(typ)+" (expected role, group, user or object)", nil)
}

// checkName checks a name by nameRule.
func checkName(op, name string) error {
	if !utf8.ValidString(name) || len(name) > maxNameBytes || !validName.MatchString(name) {
		shown := name
		if len(shown) > maxNameBytes {
			shown = shown[:maxNameBytes] + "…"
		}
		return fault(connectors.Invalid, op, "invalid name "+strconv.QuoteToASCII(shown)+
			" (expected at most 255 bytes, without comma, quotation mark or control character, and without space at either end)", nil)
	}
	return nil
}

func checkPrivilege(op string, g schemas.GrantableType, privilege string) error {
	if !slices.Contains(g.Privileges, privilege) {
		return fault(connectors.Unsupported, op, fmt.Sprintf("unknown privilege %s on a target of type %s (expected one of %s)",
			strconv.QuoteToASCII(privilege), g.Type, strings.Join(g.Privileges, ", ")), nil)
	}
	return nil
}

// checkPayload checks attributes by payloadSchema; null counts as absent.
func checkPayload(op string, payload map[string]any) error {
	for _, key := range slices.Sorted(maps.Keys(payload)) {
		v := payload[key]
		maxLength := map[string]int{"title": 200, "description": 2000, "critical": -1}[key]
		text, isText := v.(string)
		_, isBool := v.(bool)
		switch {
		case maxLength == 0:
			return fault(connectors.Unsupported, op, "unknown attribute "+strconv.QuoteToASCII(key), nil)
		case v == nil:
		case maxLength < 0 && !isBool:
			return fault(connectors.Invalid, op, key+": invalid value (expected true or false)", nil)
		case maxLength > 0 && (!isText || !utf8.ValidString(text) || utf8.RuneCountInString(text) > maxLength):
			return fault(connectors.Invalid, op, fmt.Sprintf("%s: invalid value (expected a string of at most %d characters)", key, maxLength), nil)
		}
	}
	return nil
}
