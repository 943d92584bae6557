package exec

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// session is an open reader or writer: one child.
type session struct {
	connector   *connector
	process     *process
	description schemas.Description
	checker     *connectors.Checker
	attributes  map[string]map[string]bool // of payloads, by connection type
	normalizes  bool
	batch       int
	now         func() time.Time

	lister connectors.Lister
}

var _ connectors.Writer = (*session)(nil)

// Close ends the child.
func (s *session) Close() error {
	err := s.process.close()
	s.connector.children.Add(-1)
	return err
}

// usable returns the reason why the session can't be used.
func (s *session) usable(ctx context.Context, op string) error {
	if err := connectors.Stopped(ctx, op); err != nil {
		return err
	}
	s.process.turn.Lock()
	defer s.process.turn.Unlock()
	switch {
	case s.process.closed:
		return s.process.unavailable("the connection is closed", nil)
	case s.process.broken != nil:
		return s.process.broken
	}
	return nil
}

// Describe returns the installation's description from when it was opened.
func (s *session) Describe(ctx context.Context) (schemas.Description, error) {
	if err := s.usable(ctx, "describe"); err != nil {
		return schemas.Description{}, err
	}
	return s.description, nil
}

// Read asks the child, checks each answer against the protocol, and drops connections that weren't selected.
func (s *session) Read(ctx context.Context, sel schemas.Selection) (schemas.State, error) {
	req := &schemas.Selection{Scope: sel.Scope}
	if s.description.NativeIDs {
		req.IDs = sel.IDs
	}
	for _, n := range sel.Names {
		if sayable(n.SourceName, n.Type) { // the application can't have other names
			req.Names = append(req.Names, n)
		}
	}
	if !sel.Everything() && len(req.Names) == 0 && len(req.Scope) == 0 && len(req.IDs) == 0 {
		return schemas.State{}, s.usable(ctx, "read")
	}
	var got collector
	got.session = s
	var end schemas.ConnectorDone
	err := s.process.call(ctx, &schemas.ConnectorRequest{Type: "read", Read: req}, s.process.limits.Call, false, func(a *schemas.ConnectorAnswer) (bool, error) {
		return got.part(a, &end)
	})
	if err != nil {
		return schemas.State{}, err
	}
	sel.IDs = req.IDs
	selected := connectors.Selected(sel, s.fold)
	out := schemas.State{Incomplete: s.process.say(end.Incomplete, maxMessage)}
	for _, c := range got.list {
		if selected(c.Name, c.NativeID) {
			out.Connections = append(out.Connections, c)
		}
	}
	return out, nil
}

// fold returns a name in the form in which names equivalent in the application are equal.
func (s *session) fold(n schemas.Name) schemas.Name {
	if t, ok := s.description.Type(n.Type); ok && t.Names.FoldCase {
		n.SourceName = strings.ToLower(n.SourceName)
	}
	return n
}

// collector receives connections in parts and in order.
type collector struct {
	session *session
	list    []schemas.Connection
	free    bool // of order: each belongs to a requested one
}

func (g *collector) part(a *schemas.ConnectorAnswer, end *schemas.ConnectorDone) (bool, error) {
	p := g.session.process
	switch a.Type {
	case "connections":
		for _, w := range a.Connections {
			if len(w.Entitlements) == 0 {
				w.Entitlements = nil
			}
			if err := g.add(w); err != nil {
				return false, err
			}
		}
		return false, nil
	case "entitlements":
		if len(g.list) == 0 {
			return false, p.violation("entitlements before the first connection")
		}
		last := &g.list[len(g.list)-1]
		from := len(last.Entitlements)
		last.Entitlements = append(last.Entitlements, a.Entitlements...)
		return false, g.check(last, from)
	case "done":
		if a.Done.Count != len(g.list) {
			return false, p.violation("wrong number of connections (%d counted, %d sent)", a.Done.Count, len(g.list))
		}
		*end = *a.Done
		return true, nil
	}
	return false, p.violation("unexpected answer of type %s (expected connections)", a.Type)
}

func (g *collector) add(c schemas.Connection) error {
	p := g.session.process
	name := func(n schemas.Name) string { return p.say(n.String(), 200) }
	known, ok := g.session.attributes[c.Type]
	switch {
	case !ok:
		return p.violation("%s has a type that isn't in the description", name(c.Name))
	case c.SourceName == "":
		return p.violation("a connection's name is missing")
	}
	for _, s := range []string{c.SourceName, c.NativeID} {
		if f := textFault(s); f != "" {
			return p.violation("the name or id of %s has %s", name(c.Name), f)
		}
	}
	for k := range c.Payload {
		if !known[k] {
			return p.violation("%s has the attribute %s, which isn't in the description", name(c.Name), p.say(k, 200))
		}
	}
	if n := len(g.list); n > 0 && !g.free {
		switch before := g.list[n-1]; {
		case before.Name.Compare(c.Name) > 0, before.Name == c.Name && before.NativeID > c.NativeID:
			return p.violation("the connections are not sorted: %s comes before %s", name(before.Name), name(c.Name))
		case before.Name == c.Name && (before.NativeID == c.NativeID || before.NativeID == ""):
			return p.violation("duplicate connection %s without ids to distinguish them", name(c.Name))
		}
	}
	c.Protected = p.say(c.Protected, maxMessage)
	g.list = append(g.list, c)
	return g.check(&g.list[len(g.list)-1], 0)
}

// check checks entitlements from the index on against the protocol.
func (g *collector) check(c *schemas.Connection, from int) error {
	p := g.session.process
	for i := from; i < len(c.Entitlements); i++ {
		e := c.Entitlements[i]
		if e.Target.SourceName == "" || !word.MatchString(e.Target.Type) {
			return p.violation("an entitlement of %s has a target without a name or type", p.say(c.String(), 200))
		}
		for _, s := range []string{e.Target.SourceName, e.TargetID, e.Privilege} {
			if f := textFault(s); f != "" {
				return p.violation("an entitlement of %s has %s", p.say(c.String(), 200), f)
			}
		}
		if i == 0 || g.free {
			continue
		}
		// Two targets of one name differ by their ids.
		before := c.Entitlements[i-1]
		if order := before.Compare(e); order > 0 || order == 0 && (before.TargetID == "" || before.TargetID >= e.TargetID) {
			return p.violation("the entitlements of %s are not sorted, or one is a duplicate: %s", p.say(c.String(), 200), p.say(e.Target.String(), 200))
		}
	}
	return nil
}

// List asks for everything of a type at the first page, and cuts the pages out of the answer.
func (s *session) List(ctx context.Context, q connectors.Query) (connectors.Page, error) {
	if err := s.usable(ctx, "list"); err != nil {
		return connectors.Page{}, err
	}
	rule, ok := s.listable(q.Type)
	if !ok {
		return connectors.Page{}, &connectors.Error{Code: connectors.Unsupported, Op: "list", Message: fmt.Sprintf("%s: unknown type %q", s.description.Title, s.process.say(q.Type, 100))}
	}
	names := slices.DeleteFunc(slices.Clone(q.Names), func(n string) bool { return !sayable(n) })
	if q.Names != nil && names == nil {
		names = []string{}
	}
	q.Names = names
	if !s.description.NativeIDs {
		q.IDs = nil
	}
	same := func(n string) string { return n }
	if rule.FoldCase {
		same = strings.ToLower
	}
	return s.lister.Page(q, same, func() ([]schemas.Item, error) {
		items, err := s.list(ctx, q.Type, names, q.IDs)
		if err != nil || names == nil || !slices.ContainsFunc(q.IDs, func(id string) bool {
			return !slices.ContainsFunc(items, func(i schemas.Item) bool { return i.NativeID == id })
		}) {
			return items, err
		}
		// Nothing has that id, or the connector knows only names.
		return s.list(ctx, q.Type, nil, nil)
	})
}

// listable returns the rule of names of a type that the description knows, as a connection or as a target.
func (s *session) listable(typ string) (schemas.NameRule, bool) {
	if t, ok := s.description.Type(typ); ok {
		return t.Names, true
	}
	for _, t := range s.description.Types {
		if g, ok := t.Target(typ); ok {
			return g.Names, true
		}
	}
	return schemas.NameRule{}, false
}

func (s *session) list(ctx context.Context, typ string, names, ids []string) ([]schemas.Item, error) {
	var items []schemas.Item
	n := 0
	err := s.process.call(ctx, &schemas.ConnectorRequest{Type: "list", List: &schemas.ConnectorQuery{Type: typ, Names: names, IDs: ids}}, s.process.limits.Call, false,
		func(a *schemas.ConnectorAnswer) (bool, error) {
			switch a.Type {
			case "items":
				for _, w := range a.Items {
					n++
					switch {
					case w.Type != typ:
						return false, s.process.violation("an item of another type (expected %s)", typ)
					case w.SourceName == "":
						return false, s.process.violation("an item's name is missing")
					}
					for _, text := range []string{w.SourceName, w.NativeID} {
						if f := textFault(text); f != "" {
							return false, s.process.violation("the name or id of %s has %s", s.process.say(w.String(), 200), f)
						}
					}
					items = append(items, schemas.Item{Name: w.Name, NativeID: w.NativeID, State: w.State, Protected: s.process.say(w.Protected, maxMessage), Connection: w.Connection})
				}
				return false, nil
			case "done":
				if a.Done.Count != n {
					return false, s.process.violation("wrong number of items (%d counted, %d sent)", a.Done.Count, n)
				}
				if a.Done.Incomplete != "" {
					return false, s.process.unavailable("incomplete list: "+s.process.say(a.Done.Incomplete, maxMessage), nil)
				}
				return true, nil
			}
			return false, s.process.violation("unexpected answer of type %s (expected items)", a.Type)
		})
	return items, err
}

// Normalize checks the state against the description, and asks a child that normalizes for each connection's form.
// The child's answer may not add targets or attributes.
func (s *session) Normalize(in schemas.State) (schemas.State, error) {
	out, err := connectors.NormalizeWith(s.description, in, s.imply)
	if err != nil || !s.normalizes || len(out.Connections) == 0 {
		return out, err
	}
	var changed []schemas.Connection
	var part []schemas.Connection
	size := 0
	flush := func() error {
		if len(part) == 0 {
			return nil
		}
		got := collector{session: s, free: true}
		var end schemas.ConnectorDone
		err := s.process.call(context.Background(), &schemas.ConnectorRequest{Type: "normalize", Connections: part}, s.process.limits.Call, false, func(a *schemas.ConnectorAnswer) (bool, error) {
			last, err := got.part(a, &end)
			if err == nil && last {
				err = s.sameConnections(part, got.list)
			}
			return last, err
		})
		changed = append(changed, got.list...)
		part, size = nil, 0
		return err
	}
	for _, c := range out.Connections {
		if !sayable(c.SourceName) {
			return schemas.State{}, &connectors.Error{Code: connectors.Invalid, Op: "normalize", Message: "invalid name (expected UTF-8)"}
		}
		b, err := json.Marshal(c)
		if err != nil {
			return schemas.State{}, &connectors.Error{Code: connectors.Invalid, Op: "normalize", Message: "the payload of " + s.process.say(c.String(), 200) + " has a value that JSON can't represent"}
		}
		if size += len(b); size > s.process.limits.Line/2 {
			if err := flush(); err != nil {
				return schemas.State{}, err
			}
			size = len(b)
		}
		part = append(part, c)
	}
	if err := flush(); err != nil {
		return schemas.State{}, err
	}
	return connectors.NormalizeWith(s.description, schemas.State{Connections: changed, Incomplete: in.Incomplete, NotRead: in.NotRead, NotManaged: in.NotManaged}, s.imply)
}

// imply adds the privileges that others imply by the description.
func (s *session) imply(c *schemas.Connection) error {
	t, _ := s.description.Type(c.Type)
	for _, e := range slices.Clone(c.Entitlements) {
		g, _ := t.Target(e.Target.Type)
		for _, p := range g.Implies[e.Privilege] {
			e.Privilege = p
			c.Entitlements = append(c.Entitlements, e)
		}
	}
	return nil
}

// sameConnections returns an error if a child's normal form isn't of the connections that it was given.
func (s *session) sameConnections(asked []schemas.Connection, got []schemas.Connection) error {
	if len(asked) != len(got) {
		return s.process.violation("normalized %[2]d connections (expected %[1]d)", len(asked), len(got))
	}
	for i, a := range asked {
		g := got[i]
		if s.fold(a.Name) != s.fold(g.Name) || a.NativeID != g.NativeID {
			return s.process.violation("normalized %[2]s (expected %[1]s)", s.process.say(a.String(), 200), s.process.say(g.String(), 200))
		}
		for k := range g.Payload {
			if _, ok := a.Payload[k]; !ok {
				return s.process.violation("the normal form of %s has an additional attribute", s.process.say(a.String(), 200))
			}
		}
		given := map[schemas.Name]bool{}
		for _, e := range a.Entitlements {
			given[s.foldTarget(a.Type, e.Target)] = true
		}
		for _, e := range g.Entitlements {
			if !given[s.foldTarget(a.Type, e.Target)] {
				return s.process.violation("the normal form of %s has an additional target", s.process.say(a.String(), 200))
			}
		}
	}
	return nil
}

// foldTarget is fold for a target of a connection type.
func (s *session) foldTarget(typ string, n schemas.Name) schemas.Name {
	t, _ := s.description.Type(typ)
	if g, ok := t.Target(n.Type); ok && g.Names.FoldCase {
		n.SourceName = strings.ToLower(n.SourceName)
	}
	return n
}

// done is a part that accepts only the last line. count, if set, receives the line's count.
func (p *process) done(count *schemas.ConnectorDone) func(*schemas.ConnectorAnswer) (bool, error) {
	return func(a *schemas.ConnectorAnswer) (bool, error) {
		if a.Type != "done" {
			return false, p.violation("unexpected answer of type %s (expected done)", a.Type)
		}
		if count != nil {
			*count = *a.Done
		}
		return true, nil
	}
}
