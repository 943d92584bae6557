package casbin

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

type reader struct {
	s      settings
	d      connectors.Description
	closed bool
}

var _ connectors.Reader = (*reader)(nil)

func (r *reader) Close() error {
	r.closed = true
	return nil
}

func (r *reader) usable(ctx context.Context, op string) error {
	if r.closed {
		return fault(connectors.Unavailable, op, "the policy file was closed", nil)
	}
	return ended(ctx, op)
}

func (r *reader) Describe(ctx context.Context) (connectors.Description, error) {
	if err := r.usable(ctx, "describe the policy file"); err != nil {
		return connectors.Description{}, err
	}
	return describe(r.s.actions), nil
}

// snapshot is the file at one moment.
type snapshot struct {
	content []byte
	info    os.FileInfo
}

// same says whether nobody has written or replaced the file since.
func (s snapshot) same(info os.FileInfo) bool {
	return os.SameFile(s.info, info) && s.info.Size() == info.Size() && s.info.ModTime().Equal(info.ModTime())
}

// load reads the file. Somebody who writes it in place, as casbin's SavePolicy does, is waited for a few
// times: half of a file must not pass for the whole.
func load(path, op string) (snapshot, error) {
	for range 5 {
		s, torn, err := loadOnce(path)
		if err != nil {
			return snapshot{}, pathFault(op, "config.policy", err)
		}
		if !torn {
			return s, nil
		}
	}
	return snapshot{}, fault(connectors.Unavailable, op, "the policy file changes while it is read", nil)
}

func loadOnce(path string) (s snapshot, torn bool, err error) {
	f, err := os.Open(filepath.Clean(path))
	if err != nil {
		return s, false, err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	if s.info, err = f.Stat(); err != nil {
		return s, false, err
	}
	if !s.info.Mode().IsRegular() {
		return s, false, errIrregular
	}
	if s.content, err = io.ReadAll(f); err != nil {
		return s, false, err
	}
	after, err := f.Stat()
	if err != nil {
		return s, false, err
	}
	return s, !s.same(after) || after.Size() != int64(len(s.content)), nil
}

func (r *reader) store(ctx context.Context, op string) (*store, error) {
	if err := r.usable(ctx, op); err != nil {
		return nil, err
	}
	snap, err := load(r.s.path, op)
	if err != nil {
		return nil, err
	}
	return parse(snap.content), nil
}

func (r *reader) Read(ctx context.Context, sel connectors.Selection) (connectors.State, error) {
	s, err := r.store(ctx, "read the policy file")
	if err != nil {
		return connectors.State{}, err
	}
	state := connectors.State{Incomplete: s.fault}
	named := make(map[schemas.Name]bool, len(sel.Names))
	for _, n := range sel.Names {
		named[n] = true
	}
	all := sel.Names == nil && sel.Scope == nil
	for _, typ := range r.d.Types {
		for _, name := range s.subjects(typ.Name) {
			n := schemas.Name{Type: typ.Name, SourceName: name}
			if all || named[n] || connectors.Match(sel.Scope[typ.Name], name) {
				state.Connections = append(state.Connections, s.connection(n))
			}
		}
	}
	return state, nil
}

// connection is a connection with what it holds.
func (s *store) connection(n schemas.Name) connectors.Connection {
	d := s.declared[n.SourceName] // an undeclared role has the default payload
	c := connectors.Connection{Name: n, Payload: d.payload()}
	hold := func(typ, name, privilege string) {
		c.Entitlements = append(c.Entitlements, connectors.Entitlement{Target: schemas.Name{Type: typ, SourceName: name}, Privilege: privilege})
	}
	for p := range s.perms[n.SourceName] {
		hold(TypeObject, p.object, p.action)
	}
	// Which side a membership belongs to is said in the package comment.
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
	slices.SortFunc(c.Entitlements, connectors.Entitlement.Compare)
	return c
}

func (d declaration) payload() map[string]any {
	return map[string]any{"title": d.title, "description": d.description, "critical": d.critical}
}

// maxPage bounds the pages of List where the query does not.
const maxPage = 10_000

func (r *reader) List(ctx context.Context, q connectors.Query) (connectors.Page, error) {
	const op = "list the policy file"
	s, err := r.store(ctx, op)
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
		return connectors.Page{}, fault(connectors.Unsupported, op, "there is nothing of the type "+strconv.QuoteToASCII(q.Type), nil)
	}
	if q.Names != nil {
		wanted := make(map[string]bool, len(q.Names))
		for _, n := range q.Names {
			wanted[n] = true
		}
		names = slices.DeleteFunc(names, func(n string) bool { return !wanted[n] })
	}
	// The cursor is the last name of the page before, so that changes in between neither hide nor repeat.
	if q.Cursor != "" {
		i, found := slices.BinarySearch(names, q.Cursor)
		if found {
			i++
		}
		names = names[i:]
	}
	limit := q.Limit
	if limit <= 0 {
		limit = maxPage
	}
	var page connectors.Page
	if len(names) > limit {
		names = names[:limit]
		page.Next = names[limit-1]
	}
	for _, n := range names {
		item := connectors.Item{Name: schemas.Name{Type: q.Type, SourceName: n}}
		if q.Type != TypeObject {
			item.Connection = q.Type != TypeUser || len(s.members[n]) > 0
		}
		page.Items = append(page.Items, item)
	}
	return page, nil
}

func (r *reader) Normalize(state connectors.State) (connectors.State, error) {
	const op = "check against the policy file's rules"
	out := connectors.State{Incomplete: state.Incomplete}
	for _, c := range state.Connections {
		typ, ok := r.d.Type(c.Type)
		if !ok {
			return connectors.State{}, unknownType(op, c.Type)
		}
		if err := checkName(op, c.SourceName); err != nil {
			return connectors.State{}, err
		}
		if err := checkPayload(op, c.Payload); err != nil {
			return connectors.State{}, err
		}
		c.Payload = maps.Clone(c.Payload)
		c.Entitlements = slices.Clone(c.Entitlements)
		for _, e := range c.Entitlements {
			g, ok := typ.Target(e.Target.Type)
			if !ok {
				return connectors.State{}, unknownType(op, e.Target.Type)
			}
			if err := checkName(op, e.Target.SourceName); err != nil {
				return connectors.State{}, err
			}
			if err := checkPrivilege(op, g, e.Privilege); err != nil {
				return connectors.State{}, err
			}
		}
		slices.SortStableFunc(c.Entitlements, connectors.Entitlement.Compare)
		c.Entitlements = slices.CompactFunc(c.Entitlements, func(a, b connectors.Entitlement) bool { return a.Compare(b) == 0 })
		out.Connections = append(out.Connections, c)
	}
	slices.SortStableFunc(out.Connections, func(a, b connectors.Connection) int { return a.Name.Compare(b.Name) })
	return out, nil
}

func unknownType(op, typ string) error {
	return fault(connectors.Unsupported, op, "a casbin store has nothing of the type "+strconv.QuoteToASCII(typ), nil)
}

// checkName holds a name to the rule that nameRule describes.
func checkName(op, name string) error {
	if !utf8.ValidString(name) || len(name) > maxNameBytes || !validName.MatchString(name) {
		shown := name
		if len(shown) > maxNameBytes {
			shown = shown[:maxNameBytes] + "…"
		}
		return fault(connectors.Invalid, op, "the store cannot hold the name "+strconv.QuoteToASCII(shown)+
			": names have at most 255 bytes, no comma, quotation mark or control character, and no space at either end", nil)
	}
	return nil
}

func checkPrivilege(op string, g connectors.GrantableType, privilege string) error {
	if !slices.Contains(g.Privileges, privilege) {
		return fault(connectors.Unsupported, op, fmt.Sprintf("%s is no privilege on a target of type %s; there are %s",
			strconv.QuoteToASCII(privilege), g.Type, strings.Join(g.Privileges, ", ")), nil)
	}
	return nil
}

// checkPayload holds attributes to payloadSchema; null is no value.
func checkPayload(op string, payload map[string]any) error {
	for _, key := range slices.Sorted(maps.Keys(payload)) {
		v := payload[key]
		maxLength := map[string]int{"title": 200, "description": 2000, "critical": -1}[key]
		text, isText := v.(string)
		_, isBool := v.(bool)
		switch {
		case maxLength == 0:
			return fault(connectors.Unsupported, op, "there is no attribute "+strconv.QuoteToASCII(key), nil)
		case v == nil:
		case maxLength < 0 && !isBool:
			return fault(connectors.Invalid, op, "the attribute "+key+" is true or false", nil)
		case maxLength > 0 && (!isText || !utf8.ValidString(text) || utf8.RuneCountInString(text) > maxLength):
			return fault(connectors.Invalid, op, fmt.Sprintf("the attribute %s is a text of at most %d characters", key, maxLength), nil)
		}
	}
	return nil
}
