package exec

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// session is an open reader or writer: one child.
type session struct {
	k          *connector
	p          *process
	d          connectors.Description
	checker    *connectors.Checker
	attributes map[string]map[string]bool // of payloads, by connection type
	normalizes bool
	batch      int
	now        func() time.Time
	once       sync.Once
	err        error // of the first Close

	// What List found last, for the pages that follow.
	listed listing
}

type listing struct {
	typ   string
	names []string
	items []connectors.Item
}

var _ connectors.Writer = (*session)(nil)

// Close ends the child.
func (s *session) Close() error {
	closed := false
	s.once.Do(func() {
		closed = true
		s.err = s.p.close()
		s.k.children.Add(-1)
	})
	if !closed {
		return nil
	}
	return s.err
}

// usable says why the session cannot be asked.
func (s *session) usable(ctx context.Context, op string) error {
	if err := connectors.Stopped(ctx, op); err != nil {
		return err
	}
	s.p.turn.Lock()
	defer s.p.turn.Unlock()
	switch {
	case s.p.closed:
		return s.p.unavailable("it is closed", nil)
	case s.p.broken != nil:
		return s.p.broken
	}
	return nil
}

// Describe is what the installation said when it was opened.
func (s *session) Describe(ctx context.Context) (connectors.Description, error) {
	if err := s.usable(ctx, "describe"); err != nil {
		return connectors.Description{}, err
	}
	return s.d, nil
}

// Read asks the child, holds each answer to the protocol, and drops what was not selected.
func (s *session) Read(ctx context.Context, sel connectors.Selection) (connectors.State, error) {
	req := &schemas.Selection{Scope: sel.Scope}
	for _, n := range sel.Names {
		if sayable(n.SourceName, n.Type) { // others the application cannot have
			req.Names = append(req.Names, n)
		}
	}
	if !sel.Everything() && len(req.Names) == 0 && len(req.Scope) == 0 {
		return connectors.State{}, s.usable(ctx, "read")
	}
	var got collector
	got.s = s
	var end schemas.ConnectorDone
	err := s.p.call(ctx, &schemas.ConnectorRequest{Type: "read", Read: req}, s.p.limits.Call, false, func(a *schemas.ConnectorAnswer) (bool, error) {
		return got.part(a, &end)
	})
	if err != nil {
		return connectors.State{}, err
	}
	selected := sel.Selector(s.fold)
	out := connectors.State{Incomplete: s.p.say(end.Incomplete, maxMessage)}
	for _, c := range got.list {
		if selected(c.Name) {
			out.Connections = append(out.Connections, c)
		}
	}
	return out, nil
}

// fold is a name in the form in which names that are one to the application are equal.
func (s *session) fold(n schemas.Name) schemas.Name {
	if t, ok := s.d.Type(n.Type); ok && t.Names.FoldCase {
		n.SourceName = strings.ToLower(n.SourceName)
	}
	return n
}

// collector takes connections as they come, in parts, and in order.
type collector struct {
	s    *session
	list []connectors.Connection
	free bool // of order: each belongs to one that was asked
}

func (g *collector) part(a *schemas.ConnectorAnswer, end *schemas.ConnectorDone) (bool, error) {
	p := g.s.p
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
			return false, p.violation("entitlements came before any connection")
		}
		last := &g.list[len(g.list)-1]
		from := len(last.Entitlements)
		last.Entitlements = append(last.Entitlements, a.Entitlements...)
		return false, g.check(last, from)
	case "done":
		if a.Done.Count != len(g.list) {
			return false, p.violation("it counts %d connections and gave %d", a.Done.Count, len(g.list))
		}
		*end = *a.Done
		return true, nil
	}
	return false, p.violation("an answer of type %s came where connections were expected", a.Type)
}

func (g *collector) add(c connectors.Connection) error {
	p := g.s.p
	name := func(n schemas.Name) string { return p.say(n.String(), 200) }
	known, ok := g.s.attributes[c.Type]
	switch {
	case !ok:
		return p.violation("%s has a type that it did not describe", name(c.Name))
	case c.SourceName == "":
		return p.violation("a connection has no name")
	}
	for _, s := range []string{c.SourceName, c.NativeID} {
		if f := textFault(s); f != "" {
			return p.violation("the name or id of %s has %s", name(c.Name), f)
		}
	}
	for k := range c.Payload {
		if !known[k] {
			return p.violation("%s has an attribute %s, which it did not describe", name(c.Name), p.say(k, 200))
		}
	}
	if n := len(g.list); n > 0 && !g.free {
		switch before := g.list[n-1]; {
		case before.Name.Compare(c.Name) > 0, before.Name == c.Name && before.NativeID > c.NativeID:
			return p.violation("the connections are not sorted: %s comes before %s", name(before.Name), name(c.Name))
		case before.Name == c.Name && (before.NativeID == c.NativeID || before.NativeID == ""):
			return p.violation("%s stands twice without ids that tell one from the other", name(c.Name))
		}
	}
	c.Protected = p.say(c.Protected, maxMessage)
	g.list = append(g.list, c)
	return g.check(&g.list[len(g.list)-1], 0)
}

// check holds entitlements to the protocol, from the index on.
func (g *collector) check(c *connectors.Connection, from int) error {
	p := g.s.p
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
		// Two targets of one name are two by their ids.
		before := c.Entitlements[i-1]
		if order := before.Compare(e); order > 0 || order == 0 && (before.TargetID == "" || before.TargetID >= e.TargetID) {
			return p.violation("the entitlements of %s are not sorted, or one stands twice: %s", p.say(c.String(), 200), p.say(e.Target.String(), 200))
		}
	}
	return nil
}

// List asks for all of a type at the first page, and cuts the pages out of the answer.
func (s *session) List(ctx context.Context, q connectors.Query) (connectors.Page, error) {
	if err := s.usable(ctx, "list"); err != nil {
		return connectors.Page{}, err
	}
	rule, ok := s.listable(q.Type)
	if !ok {
		return connectors.Page{}, &connectors.Error{Code: connectors.Unsupported, Op: "list", Message: fmt.Sprintf("%s has nothing of the type %q", s.d.Title, s.p.say(q.Type, 100))}
	}
	names := slices.DeleteFunc(slices.Clone(q.Names), func(n string) bool { return !sayable(n) })
	if q.Names != nil && len(names) == 0 {
		return connectors.Page{}, nil
	}
	if q.Cursor == "" || s.listed.typ != q.Type || !slices.Equal(s.listed.names, names) {
		items, err := s.list(ctx, q.Type, names, rule)
		if err != nil {
			return connectors.Page{}, err
		}
		s.listed = listing{typ: q.Type, names: names, items: items}
	}
	page := connectors.PageOf(slices.Clone(s.listed.items), q)
	if page.Next == "" {
		s.listed = listing{}
	}
	return page, nil
}

// listable returns the rule of names of a type that the description knows, as a connection or as a target.
func (s *session) listable(typ string) (connectors.NameRule, bool) {
	if t, ok := s.d.Type(typ); ok {
		return t.Names, true
	}
	for _, t := range s.d.Types {
		if g, ok := t.Target(typ); ok {
			return g.Names, true
		}
	}
	return connectors.NameRule{}, false
}

func (s *session) list(ctx context.Context, typ string, names []string, rule connectors.NameRule) ([]connectors.Item, error) {
	same := func(n string) string {
		if rule.FoldCase {
			return strings.ToLower(n)
		}
		return n
	}
	wanted := map[string]bool{}
	for _, n := range names {
		wanted[same(n)] = true
	}
	var items []connectors.Item
	n := 0
	err := s.p.call(ctx, &schemas.ConnectorRequest{Type: "list", List: &schemas.ConnectorQuery{Type: typ, Names: names}}, s.p.limits.Call, false,
		func(a *schemas.ConnectorAnswer) (bool, error) {
			switch a.Type {
			case "items":
				for _, w := range a.Items {
					n++
					switch {
					case w.Type != typ:
						return false, s.p.violation("an item of another type came where %s were asked", typ)
					case w.SourceName == "":
						return false, s.p.violation("an item has no name")
					}
					for _, text := range []string{w.SourceName, w.NativeID} {
						if f := textFault(text); f != "" {
							return false, s.p.violation("the name or id of %s has %s", s.p.say(w.String(), 200), f)
						}
					}
					if names == nil || wanted[same(w.SourceName)] {
						items = append(items, connectors.Item{Name: w.Name, NativeID: w.NativeID, State: w.State, Protected: s.p.say(w.Protected, maxMessage), Connection: w.Connection})
					}
				}
				return false, nil
			case "done":
				if a.Done.Count != n {
					return false, s.p.violation("it counts %d items and gave %d", a.Done.Count, n)
				}
				if a.Done.Incomplete != "" {
					return false, s.p.unavailable("the list is not whole: "+s.p.say(a.Done.Incomplete, maxMessage), nil)
				}
				return true, nil
			}
			return false, s.p.violation("an answer of type %s came where items were expected", a.Type)
		})
	return items, err
}

// Normalize holds the state to the description, and asks a child that normalizes for each connection's form. What
// the child gives back names no target and no attribute that was not there.
func (s *session) Normalize(in connectors.State) (connectors.State, error) {
	out, err := connectors.NormalizeWith(s.d, in, s.imply)
	if err != nil || !s.normalizes || len(out.Connections) == 0 {
		return out, err
	}
	var changed []connectors.Connection
	var part []connectors.Connection
	size := 0
	flush := func() error {
		if len(part) == 0 {
			return nil
		}
		got := collector{s: s, free: true}
		var end schemas.ConnectorDone
		err := s.p.call(context.Background(), &schemas.ConnectorRequest{Type: "normalize", Connections: part}, s.p.limits.Call, false, func(a *schemas.ConnectorAnswer) (bool, error) {
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
			return connectors.State{}, &connectors.Error{Code: connectors.Invalid, Op: "normalize", Message: "a name is not UTF-8"}
		}
		b, err := json.Marshal(c)
		if err != nil {
			return connectors.State{}, &connectors.Error{Code: connectors.Invalid, Op: "normalize", Message: "the payload of " + s.p.say(c.String(), 200) + " has a value that JSON cannot hold"}
		}
		if size += len(b); size > s.p.limits.Line/2 {
			if err := flush(); err != nil {
				return connectors.State{}, err
			}
			size = len(b)
		}
		part = append(part, c)
	}
	if err := flush(); err != nil {
		return connectors.State{}, err
	}
	return connectors.NormalizeWith(s.d, connectors.State{Connections: changed, Incomplete: in.Incomplete}, s.imply)
}

// imply adds what the description says that privileges imply.
func (s *session) imply(c *connectors.Connection) error {
	t, _ := s.d.Type(c.Type)
	for _, e := range slices.Clone(c.Entitlements) {
		g, _ := t.Target(e.Target.Type)
		for _, p := range g.Implies[e.Privilege] {
			e.Privilege = p
			c.Entitlements = append(c.Entitlements, e)
		}
	}
	return nil
}

// sameConnections says where a child's normal form is of something else than what it was given.
func (s *session) sameConnections(asked []connectors.Connection, got []connectors.Connection) error {
	if len(asked) != len(got) {
		return s.p.violation("%d connections were to be normalized, and %d came back", len(asked), len(got))
	}
	for i, a := range asked {
		g := got[i]
		if s.fold(a.Name) != s.fold(g.Name) || a.NativeID != g.NativeID {
			return s.p.violation("%s was to be normalized, and %s came back", s.p.say(a.String(), 200), s.p.say(g.String(), 200))
		}
		for k := range g.Payload {
			if _, ok := a.Payload[k]; !ok {
				return s.p.violation("the normal form of %s has an attribute that was not said", s.p.say(a.String(), 200))
			}
		}
		given := map[schemas.Name]bool{}
		for _, e := range a.Entitlements {
			given[s.foldTarget(a.Type, e.Target)] = true
		}
		for _, e := range g.Entitlements {
			if !given[s.foldTarget(a.Type, e.Target)] {
				return s.p.violation("the normal form of %s has a target that was not said", s.p.say(a.String(), 200))
			}
		}
	}
	return nil
}

// foldTarget is fold for a target of a connection type.
func (s *session) foldTarget(typ string, n schemas.Name) schemas.Name {
	t, _ := s.d.Type(typ)
	if g, ok := t.Target(n.Type); ok && g.Names.FoldCase {
		n.SourceName = strings.ToLower(n.SourceName)
	}
	return n
}

// Apply sends what the description allows, in batches within which nothing depends on anything. The times of the
// outcomes are ours.
func (s *session) Apply(ctx context.Context, ops []schemas.Operation, report func(connectors.Outcome)) error {
	if err := s.usable(ctx, "apply"); err != nil {
		return err
	}
	failed := connectors.Failures{}
	pending := map[string]*schemas.Operation{}
	var part []schemas.ConnectorOperation
	size := 0
	flush := func() error {
		if len(part) == 0 {
			return nil
		}
		err := s.send(ctx, part, pending, func(o connectors.Outcome) {
			failed[o.Operation] = o.Err != nil
			report(o)
		})
		part, size = nil, 0
		clear(pending)
		return err
	}
	for i := range ops {
		o := &ops[i]
		if pending[o.ID] != nil || slices.ContainsFunc(o.DependsOn, func(id string) bool { return pending[id] != nil }) {
			if err := flush(); err != nil {
				return err
			}
		}
		if err := connectors.Stopped(ctx, "apply"); err != nil {
			return err
		}
		line, err := s.refuse(o, failed)
		if err != nil {
			out := connectors.Outcome{Operation: o.ID, Attempts: 1, Started: s.now(), Err: err}
			if connectors.CodeOf(err) == connectors.Blocked {
				out.Attempts = 0
			}
			out.Finished = s.now()
			failed[o.ID] = true
			report(out)
			continue
		}
		if len(part) == s.batch || size+line > s.p.limits.Line/2 && len(part) > 0 {
			if err := flush(); err != nil {
				return err
			}
		}
		part, size, pending[o.ID] = append(part, wireOperation(o)), size+line, o
	}
	return flush()
}

// refuse says why an operation is not sent, or how long it is.
func (s *session) refuse(o *schemas.Operation, failed connectors.Failures) (int, error) {
	if err := failed.Blocked(o); err != nil {
		return 0, err
	}
	if err := s.checker.Check(o); err != nil {
		return 0, err
	}
	invalid := func(message string) error {
		return &connectors.Error{Code: connectors.Invalid, Op: connectors.Title(o), Message: message}
	}
	texts := []string{o.Connection.SourceName, o.NativeID, o.TargetID, o.ReassignTo}
	if o.Target != nil {
		texts = append(texts, o.Target.SourceName)
	}
	if !sayable(texts...) {
		return 0, invalid("a name or id is not UTF-8")
	}
	line, err := json.Marshal(wireOperation(o))
	switch {
	case err != nil:
		return 0, invalid("an attribute has a value that JSON cannot hold")
	case len(line) > s.p.limits.Line/2:
		return 0, invalid(fmt.Sprintf("the operation has %d bytes, and may have %d", len(line), s.p.limits.Line/2))
	}
	return len(line), nil
}

// send sends one batch, and reports each outcome as it comes.
func (s *session) send(ctx context.Context, part []schemas.ConnectorOperation, pending map[string]*schemas.Operation, report func(connectors.Outcome)) error {
	since := s.now()
	answered := map[string]bool{}
	var whole *connectors.Error // the application as a whole is not to be had
	err := s.p.call(ctx, &schemas.ConnectorRequest{Type: "apply", Operations: part}, s.p.limits.Call, true, func(a *schemas.ConnectorAnswer) (bool, error) {
		switch a.Type {
		case "outcome":
			o := pending[a.Outcome.Operation]
			switch {
			case o == nil:
				return false, s.p.violation("there is an outcome of an operation that nobody asked for")
			case answered[o.ID]:
				return false, s.p.violation("operation %s has two outcomes", o.ID)
			}
			answered[o.ID] = true
			if a.Outcome.Error != nil && a.Outcome.Error.Whole && connectors.Code(a.Outcome.Error.Code) == connectors.Unavailable {
				whole = s.p.typed(connectors.Title(o), a.Outcome.Error)
			}
			if whole != nil {
				return false, nil // what comes after it is not known either
			}
			out := connectors.Outcome{Operation: o.ID, Attempts: max(1, a.Outcome.Attempts), Started: since, Finished: s.now()}
			if a.Outcome.Error != nil {
				out.Err = s.p.typed(connectors.Title(o), a.Outcome.Error)
			}
			since = out.Finished
			report(out)
			return false, nil
		case "done":
			if len(answered) != len(part) || a.Done.Count != len(part) {
				return false, s.p.violation("%d operations were asked, it counts %d outcomes and gave %d", len(part), a.Done.Count, len(answered))
			}
			return true, nil
		}
		return false, s.p.violation("an answer of type %s came where outcomes were expected", a.Type)
	})
	if err == nil && whole != nil {
		return whole
	}
	return err
}
