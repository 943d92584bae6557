package harness

import (
	"maps"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// Fixture is one application with a connector opened on it.
type Fixture struct {
	T           T
	Harness     Harness
	App         Application
	Writer      connectors.Writer
	Description schemas.Description

	operations int // so far, for their ids
}

// Start starts an application of its own and opens the connector on it.
func Start(t T, h Harness) *Fixture {
	t.Helper()
	f := &Fixture{T: t, Harness: h, App: h.Start(t)}
	f.Writer = f.Open()
	d, err := f.Writer.Describe(t.Context())
	if err != nil {
		t.Fatalf("Describe: %v", err)
	}
	f.Description = d
	return f
}

// Open opens another writer on the application, until the case ends.
func (f *Fixture) Open() connectors.Writer {
	f.T.Helper()
	w, err := f.Harness.Connector.OpenWriter(f.T.Context(), f.App.Config())
	if err != nil {
		f.T.Fatalf("OpenWriter: %v", err)
	}
	f.T.Cleanup(func() {
		if err := w.Close(); err != nil {
			f.T.Errorf("Close: %v", err)
		}
	})
	return w
}

// Name returns a connection's name.
func (f *Fixture) Name(typ, word string) schemas.Name {
	return schemas.Name{Type: typ, SourceName: f.App.Name(word)}
}

// Scope selects everything that belongs to this application.
func (f *Fixture) Scope() schemas.Selection {
	s := schemas.Selection{Scope: map[string][]string{}}
	for _, typ := range f.Description.Types {
		s.Scope[typ.Name] = []string{f.App.Name("*")}
	}
	return s
}

// Payload returns the i-th payload of the harness for the type.
func (f *Fixture) Payload(typ string, i int) map[string]any {
	return maps.Clone(f.Harness.Payloads[typ][i])
}

// Read reads a state that must be complete and well-formed.
func (f *Fixture) Read(sel schemas.Selection) []schemas.Connection {
	f.T.Helper()
	s, err := f.Writer.Read(f.T.Context(), sel)
	if err != nil {
		f.T.Fatalf("Read: %v", err)
	}
	if s.Incomplete != "" {
		f.T.Fatalf("Read is incomplete: %s", s.Incomplete)
	}
	for _, fault := range StateFaults(f.Description, s) {
		f.T.Error(fault)
	}
	return s.Connections
}

// One reads one connection; nil if it doesn't exist.
func (f *Fixture) One(c schemas.Name) *schemas.Connection {
	f.T.Helper()
	list := f.Read(schemas.Selection{Names: []schemas.Name{c}})
	switch {
	case len(list) == 0:
		return nil
	case len(list) > 1 || !f.Same(list[0].Name, c):
		f.T.Fatalf("Read of %q gave %d connections, the first is %q", c, len(list), list[0].Name)
	}
	return &list[0]
}

// Same reports whether two names are equivalent in the application.
func (f *Fixture) Same(a, b schemas.Name) bool {
	typ, _ := f.Description.Type(b.Type)
	return a == b || (typ.Names.FoldCase && a.Type == b.Type && strings.EqualFold(a.SourceName, b.SourceName))
}

// There reads a connection that must exist.
func (f *Fixture) There(c schemas.Name) *schemas.Connection {
	f.T.Helper()
	got := f.One(c)
	if got == nil {
		f.T.Fatalf("%q is not there", c)
	}
	return got
}

// Gone fails if the connection exists.
func (f *Fixture) Gone(c schemas.Name) {
	f.T.Helper()
	if f.One(c) != nil {
		f.T.Errorf("%q still exists", c)
	}
}

// Holds fails unless the connection has exactly these entitlements.
func (f *Fixture) Holds(c schemas.Name, want ...schemas.Entitlement) {
	f.T.Helper()
	state, err := f.Writer.Normalize(schemas.State{Connections: []schemas.Connection{{Name: c, Entitlements: want}}})
	if err != nil {
		f.T.Fatalf("Normalize: %v", err)
	}
	if diff := cmp.Diff(state.Connections[0].Entitlements, f.There(c).Entitlements, Compare()...); diff != "" {
		f.T.Errorf("entitlements of %q (-want +got):\n%s", c, diff)
	}
}

// Make creates a connection, with the connector if it can.
func (f *Fixture) Make(typ schemas.ConnectionType, word string) schemas.Name {
	f.T.Helper()
	c := f.Name(typ.Name, word)
	if typ.Create {
		f.Must(f.Create(c, f.Payload(typ.Name, 0)))
	} else {
		f.App.AddConnection(f.T, c)
	}
	return c
}

// Target creates a target for a grant. It returns false for resources that the harness can't create.
func (f *Fixture) Target(g schemas.GrantableType, word string) (schemas.Name, bool) {
	f.T.Helper()
	switch g.Edge {
	case schemas.EdgeResource:
		return f.App.AddResource(f.T, g.Type, word)
	case schemas.EdgeIdentity:
		return f.App.AddIdentity(f.T, g.Type, word), true
	}
	c := f.Name(g.Type, word)
	if f.One(c) == nil {
		typ, _ := f.Description.Type(g.Type)
		f.Make(typ, word)
	}
	return c, true
}

// Somebody returns an entitlement that can be granted and revoked: the first of the type, members first.
func (f *Fixture) Somebody(typ schemas.ConnectionType, c schemas.Name, word string) schemas.Key {
	f.T.Helper()
	list := slices.Clone(typ.Grantable)
	slices.SortStableFunc(list, func(a, b schemas.GrantableType) int { return rank(a.Edge) - rank(b.Edge) })
	for _, g := range list {
		if !g.Grant || !g.Revoke {
			continue
		}
		if target, ok := f.Target(g, word); ok {
			return schemas.Key{Connection: c, Target: target, Privilege: g.Privileges[0]}
		}
	}
	f.T.Skipf("no entitlement can be granted and revoked in %s", typ.Name)
	return schemas.Key{}
}

func rank(e schemas.Edge) int {
	return slices.Index([]schemas.Edge{schemas.EdgeIdentity, schemas.EdgeResource, schemas.EdgeMember, schemas.EdgeConnection}, e)
}

// Entitlement returns a key's entitlement, without its connection.
func Entitlement(k schemas.Key) schemas.Entitlement {
	return schemas.Entitlement{Target: k.Target, Privilege: k.Privilege}
}

// Sweep revokes the unresolved members of a connection. The raw reference of a deleted account or group can outlive it: it
// stays in the state, and is revocable.
func (f *Fixture) Sweep(c schemas.Name) {
	f.T.Helper()
	for _, e := range f.There(c).Entitlements {
		if e.State == schemas.StateUnresolved {
			op := f.Revoke(schemas.Key{Connection: c, Target: e.Target, Privilege: e.Privilege})
			op.TargetID = e.TargetID
			f.Twice(op)
		}
	}
}

// List gets all pages and checks their order.
func (f *Fixture) List(q connectors.Query) []schemas.Item {
	f.T.Helper()
	var items []schemas.Item
	for range 10_000 {
		p, err := f.Writer.List(f.T.Context(), q)
		if err != nil {
			f.T.Fatalf("List of %s: %v", q.Type, err)
		}
		if q.Limit > 0 && len(p.Items) > q.Limit {
			f.T.Errorf("a page has %d items, want at most %d", len(p.Items), q.Limit)
		}
		items = append(items, p.Items...)
		if p.Next == "" {
			for i, item := range items {
				if item.Type != q.Type {
					f.T.Errorf("%q was listed as %s", item.Name, q.Type)
				}
				if i > 0 && (items[i-1].SourceName > item.SourceName || items[i-1].Name == item.Name && items[i-1].NativeID >= item.NativeID) {
					f.T.Errorf("the list of %s is not sorted, or has a duplicate: %q before %q", q.Type, items[i-1].SourceName, item.SourceName)
				}
			}
			return items
		}
		q.Cursor = p.Next
	}
	f.T.Fatalf("the pages of %s do not end", q.Type)
	return nil
}
