package suite

import (
	"context"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest/harness"
	"github.com/countersign/countersign/schemas"
)

// RunReduced checks a connector without an outside hand, and changes nothing: it checks the description and, if cfg
// isn't nil, reads of a real application with that config.
func RunReduced(t harness.T, c connectors.Connector, cfg *connectors.Config) {
	t.Run("describe", func(t harness.T) {
		static := c.Describe()
		for _, fault := range connectors.Faults(static) {
			t.Errorf("static: %s", fault)
		}
		if !reflect.DeepEqual(static, c.Describe()) {
			t.Error("Describe differs from one call to the next")
		}
	})
	if cfg == nil {
		return
	}
	for _, k := range []struct {
		name string
		run  func(harness.T, *reading)
	}{
		{"open", reducedOpen},
		{"read", reducedRead},
		{"selection", reducedSelection},
		{"list", reducedList},
		{"normalize", reducedNormalize},
		{"bad input", reducedBadInput},
		{"cancellation", reducedCancellation},
		{"closed", reducedClosed},
	} {
		t.Run(k.name, func(t harness.T) {
			r, err := c.OpenReader(t.Context(), *cfg)
			if err != nil {
				t.Fatalf("OpenReader: %v", err)
			}
			t.Cleanup(func() {
				if err := r.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			})
			d, err := r.Describe(t.Context())
			if err != nil {
				t.Fatalf("Describe: %v", err)
			}
			k.run(t, &reading{t: t, c: c, cfg: *cfg, r: r, d: d})
		})
	}
}

// reading is an open reader of an application that must not be changed.
type reading struct {
	t   harness.T
	c   connectors.Connector
	cfg connectors.Config
	r   connectors.Reader
	d   schemas.Description
}

func (f *reading) read(sel schemas.Selection) []schemas.Connection {
	f.t.Helper()
	s, err := f.r.Read(f.t.Context(), sel)
	if err != nil {
		f.t.Fatalf("Read: %v", err)
	}
	if s.Incomplete != "" {
		f.t.Fatalf("Read is incomplete: %s", s.Incomplete)
	}
	for _, fault := range harness.StateFaults(f.d, s) {
		f.t.Error(fault)
	}
	return s.Connections
}

func reducedOpen(t harness.T, f *reading) {
	for _, fault := range connectors.Faults(f.d) {
		t.Errorf("installed: %s", fault)
	}
	for _, fault := range connectors.Exceeds(f.d, f.c.Describe()) {
		t.Error(fault)
	}
}

func reducedRead(t harness.T, f *reading) {
	once := f.read(schemas.Selection{})
	if len(once) == 0 {
		t.Logf("the application has no connections: this run shows little")
	}
	if diff := cmp.Diff(once, f.read(schemas.Selection{}), harness.Compare()...); diff != "" {
		t.Errorf("two reads differ (-first +second); does somebody else change the application?\n%s", diff)
	}
}

func reducedSelection(t harness.T, f *reading) {
	all := f.read(schemas.Selection{})
	byType := map[string][]schemas.Connection{}
	for _, c := range all {
		byType[c.Type] = append(byType[c.Type], c)
	}
	check := func(what string, sel schemas.Selection, want []schemas.Connection) {
		t.Helper()
		if diff := cmp.Diff(want, f.read(sel), harness.Compare()...); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	for _, typ := range f.d.Types {
		check("scope * of "+typ.Name, schemas.Selection{Scope: map[string][]string{typ.Name: {"*"}}}, byType[typ.Name])
		check("an empty scope", schemas.Selection{Scope: map[string][]string{typ.Name: {}}}, nil)
		check("what is not there", schemas.Selection{Names: []schemas.Name{{Type: typ.Name, SourceName: "no such thing"}}}, nil)
	}
	if len(all) > 0 {
		one := all[len(all)/2]
		same := slices.DeleteFunc(slices.Clone(all), func(c schemas.Connection) bool { return c.Name != one.Name })
		check("one by name", schemas.Selection{Names: []schemas.Name{one.Name, one.Name}}, same)
	}
}

func reducedList(t harness.T, f *reading) {
	types := map[string]bool{}
	for _, typ := range f.d.Types {
		types[typ.Name] = true
		for _, g := range typ.Grantable {
			types[g.Type] = true
		}
	}
	all := func(q connectors.Query) []schemas.Item {
		t.Helper()
		var items []schemas.Item
		for range 10_000 {
			p, err := f.r.List(t.Context(), q)
			if err != nil {
				t.Fatalf("List of %s: %v", q.Type, err)
			}
			if q.Limit > 0 && len(p.Items) > q.Limit {
				t.Errorf("a page has %d items, want at most %d", len(p.Items), q.Limit)
			}
			items = append(items, p.Items...)
			if p.Next == "" {
				return items
			}
			q.Cursor = p.Next
		}
		t.Fatalf("the pages of %s do not end", q.Type)
		return nil
	}
	for _, typ := range slices.Sorted(maps.Keys(types)) {
		whole := all(connectors.Query{Type: typ})
		if !slices.IsSortedFunc(whole, func(a, b schemas.Item) int { return strings.Compare(a.SourceName, b.SourceName) }) {
			t.Errorf("the list of %s is not sorted", typ)
		}
		if n := len(whole); n > 1 && n <= 2000 {
			if diff := cmp.Diff(whole, all(connectors.Query{Type: typ, Limit: (n + 1) / 2})); diff != "" {
				t.Errorf("%s in two pages differs from one (-one +two):\n%s", typ, diff)
			}
		}
		if got := all(connectors.Query{Type: typ, Names: []string{"no such thing"}}); len(got) > 0 {
			t.Errorf("%s of an unknown name: %d items", typ, len(got))
		}
	}
}

func reducedNormalize(t harness.T, f *reading) {
	var live schemas.State
	for _, c := range f.read(schemas.Selection{}) {
		typ, _ := f.d.Type(c.Type)
		ok := typ.Names.Check(c.SourceName) == nil
		for _, e := range c.Entitlements {
			g, known := typ.Target(e.Target.Type)
			ok = ok && known && g.Names.Check(e.Target.SourceName) == nil
		}
		if ok { // requests can't contain names that only others can create
			live.Connections = append(live.Connections, c)
		}
	}
	got, err := f.r.Normalize(live)
	if err != nil {
		t.Fatalf("Normalize of the read state: %v", err)
	}
	if diff := cmp.Diff(live.Connections, got.Connections, harness.Compare()...); diff != "" {
		t.Errorf("Normalize changes the read state (-read +normalized):\n%s", diff)
	}
}

func reducedBadInput(t harness.T, f *reading) {
	for _, q := range []connectors.Query{{Type: "no_such_type"}, {}} {
		_, err := f.r.List(t.Context(), q)
		if err == nil {
			t.Errorf("List of the type %q has no error", q.Type)
			continue
		}
		for _, fault := range harness.ErrorFaults(err) {
			t.Error(fault)
		}
	}
	for _, typ := range f.d.Types {
		for _, word := range awkward() {
			c := schemas.Name{Type: typ.Name, SourceName: word}
			_, err := f.r.Normalize(schemas.State{Connections: []schemas.Connection{{Name: c}}})
			if refused := typ.Names.Check(word) != nil; refused != (err != nil) {
				t.Errorf("Normalize of the name %q: %v; does the rule refuse it: %v", word, err, refused)
			}
		}
	}
	bad := f.cfg
	bad.Values = maps.Clone(bad.Values)
	bad.Values["no_such_setting"] = "x"
	if r, err := f.c.OpenReader(t.Context(), bad); err == nil {
		t.Error("a setting that is not described was accepted")
		if err := r.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	} else if connectors.CodeOf(err) != connectors.Invalid {
		t.Errorf("a setting that is not described: code %q (%v), want %s", connectors.CodeOf(err), err, connectors.Invalid)
	}
}

func reducedCancellation(t harness.T, f *reading) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.r.Read(ended, schemas.Selection{}); err == nil {
		t.Error("Read with an ended context has no error")
	}
	if _, err := f.r.List(ended, connectors.Query{Type: f.d.Types[0].Name}); err == nil {
		t.Error("List with an ended context has no error")
	}
	f.read(schemas.Selection{})
}

func reducedClosed(t harness.T, f *reading) {
	for range 2 {
		if err := f.r.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	_, describe := f.r.Describe(t.Context())
	_, read := f.r.Read(t.Context(), schemas.Selection{})
	_, list := f.r.List(t.Context(), connectors.Query{Type: f.d.Types[0].Name})
	for name, err := range map[string]error{"Describe": describe, "Read": read, "List": list} {
		if err == nil {
			t.Errorf("%s after Close has no error", name)
		} else if faults := harness.ErrorFaults(err); len(faults) > 0 {
			t.Errorf("%s after Close: %v", name, faults)
		}
	}
}
