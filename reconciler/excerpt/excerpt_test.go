package excerpt_test

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/countersign/countersign/reconciler/excerpt"
	"github.com/countersign/countersign/reconciler/graph"
	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/schemas"
)

// descriptions are applications of several kinds, by name.
func descriptions() map[string]schemas.Description {
	full := []string{schemas.PrivilegeMember, schemas.PrivilegeAdmin}
	table := schemas.GrantableType{Type: "table", Edge: schemas.EdgeResource, Privileges: []string{"SELECT", "INSERT"}, Grant: true, Revoke: true}
	user := schemas.GrantableType{Type: "user", Edge: schemas.EdgeIdentity, Privileges: full, Grant: true, Revoke: true}
	schema := schemas.GrantableType{Type: "schema", Edge: schemas.EdgeResource, Privileges: []string{"SELECT", "INSERT"}, Grant: true, Revoke: true,
		Contains: []schemas.Containment{{Type: "table", Separator: "."}}}
	role := func(edge schemas.Edge) schemas.GrantableType {
		return schemas.GrantableType{Type: "role", Edge: edge, Privileges: full, Grant: true, Revoke: true}
	}
	of := func(types ...schemas.ConnectionType) schemas.Description {
		for i := range types {
			types[i].Create, types[i].Update, types[i].Delete, types[i].Reassign = true, true, true, true
		}
		return schemas.Description{Title: "An application", Types: types}
	}
	alias := user
	alias.Alias = "role"
	derived := schema
	derived.Contains = []schemas.Containment{{Type: "table", Separator: ".", Derived: true}}
	parent := role(schemas.EdgeConnection)
	parent.Type, parent.Alias = "parent", "role"
	return map[string]schemas.Description{
		"upward":     of(schemas.ConnectionType{Name: "role", Grantable: []schemas.GrantableType{table, role(schemas.EdgeConnection), user}}),
		"downward":   of(schemas.ConnectionType{Name: "role", Grantable: []schemas.GrantableType{table, schema, role(schemas.EdgeMember), user}}),
		"aliases":    of(schemas.ConnectionType{Name: "role", Grantable: []schemas.GrantableType{table, derived, role(schemas.EdgeConnection), alias}}),
		"both ends":  of(schemas.ConnectionType{Name: "role", Grantable: []schemas.GrantableType{table, role(schemas.EdgeMember), parent, user}}),
		"two types":  of(schemas.ConnectionType{Name: "role", Grantable: []schemas.GrantableType{table, user}}, schemas.ConnectionType{Name: "team", Grantable: []schemas.GrantableType{schema, role(schemas.EdgeMember), user}}),
		"containers": of(schemas.ConnectionType{Name: "role", Grantable: []schemas.GrantableType{table, schema, user, role(schemas.EdgeConnection)}}),
	}
}

// documents are the documents of an application in memory.
type documents map[schemas.Name][]*plan.Document

func (d documents) Documents(_ context.Context, n schemas.Name) ([]*plan.Document, error) {
	return d[n], nil
}

// Mentioning finds them by looking at all.
func (d documents) Mentioning(_ context.Context, n schemas.Name) ([]schemas.Name, error) {
	var out []schemas.Name
	for c, docs := range d {
		if slices.ContainsFunc(docs, func(doc *plan.Document) bool {
			return slices.ContainsFunc(append(slices.Clone(doc.Former), doc.Current), func(v *plan.Version) bool {
				return v != nil && slices.ContainsFunc(append(slices.Clone(v.Request.Grants), v.Request.Revokes...), func(e schemas.Entry) bool { return e.Name() == n })
			})
		}) {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, schemas.Name.Compare)
	return out, nil
}

func (d documents) all() []*plan.Document {
	var out []*plan.Document
	for _, n := range slices.SortedFunc(maps.Keys(d), schemas.Name.Compare) {
		out = append(out, d[n]...)
	}
	return out
}

// story draws a history.
type story struct {
	*rapid.T
	desc   schemas.Description
	app    *schemas.Application
	now    time.Time
	commit int
	docs   documents
	heirs  []schemas.Name
}

func (s *story) pick(label string, list ...string) string {
	return rapid.SampledFrom(list).Draw(s.T, label)
}

func (s *story) connection() schemas.ConnectionRef {
	typ := s.desc.Types[rapid.IntRange(0, len(s.desc.Types)-1).Draw(s.T, "type")].Name
	return schemas.ConnectionRef{Type: typ, SourceName: s.pick("connection", "a", "b", "c", "d")}
}

// entry draws an entry for a connection.
func (s *story) entry(c schemas.ConnectionRef) schemas.Entry {
	typ, _ := s.desc.Type(c.Type)
	g := typ.Grantable[rapid.IntRange(0, len(typ.Grantable)-1).Draw(s.T, "target type")]
	e := schemas.Entry{Type: g.Type}
	switch g.Type {
	case "table":
		e.SourceName = s.pick("table", "s.t", "s.u", "r.t")
	case "schema":
		e.SourceName = s.pick("schema", "s", "r")
	case "user":
		e.SourceName = s.pick("user", "x", "y", "a")
	default:
		e.SourceName = s.pick("role", "a", "b", "c", "d")
	}
	if g.Edge == schemas.EdgeResource || s.pick("privileges", "default", "default", "named") == "named" {
		e.Privileges = []string{s.pick("privilege", g.Privileges...)}
	}
	return e
}

func (s *story) instant() *time.Time {
	t := s.now.Add(time.Duration(rapid.IntRange(-1, 6).Draw(s.T, "days")) * 24 * time.Hour)
	return &t
}

func (s *story) request() *schemas.Request {
	r := &schemas.Request{Application: s.app.Name, Connection: s.connection(), Kind: schemas.KindConnectionAssignment}
	switch s.pick("kind", "assignment", "assignment", "assignment", "assignment", "creation", "creation", "deletion") {
	case "creation":
		r.Kind, r.Payload = schemas.KindConnectionCreation, map[string]any{"comment": s.pick("comment", "one", "two")}
		return r
	case "deletion":
		r.Kind = schemas.KindConnectionDeletion
		if s.pick("heir", "none", "some") == "some" {
			r.ReassignTo = s.pick("to", "a", "b", "c")
			s.heirs = append(s.heirs, schemas.Name{Type: r.Connection.Type, SourceName: r.ReassignTo})
		}
		return r
	}
	for range rapid.IntRange(1, 3).Draw(s.T, "entries") {
		e := s.entry(r.Connection)
		if s.pick("word", "grant", "grant", "grant", "revoke") == "revoke" {
			r.Revokes = append(r.Revokes, e)
			continue
		}
		if s.pick("bounded", "no", "no", "no", "yes") == "yes" {
			e.Expires = s.instant()
		}
		if s.pick("later", "no", "no", "no", "yes") == "yes" {
			if t := s.instant(); e.Expires == nil || e.Expires.After(*t) {
				e.Starts = t
			}
		}
		r.Grants = append(r.Grants, e)
	}
	return r
}

// set replaces the document at a place of a connection, as the index does.
func (s *story) set(n schemas.Name, at schemas.Place, r *schemas.Request) {
	docs := slices.Clone(s.docs[n])
	v := &plan.Version{Blob: fmt.Sprint(s.commit, at.Path), Request: r}
	if r == nil {
		v = nil
	}
	i := slices.IndexFunc(docs, func(d *plan.Document) bool { return d.Place == at })
	if i < 0 {
		if v != nil {
			docs = append(docs, &plan.Document{Place: at, Current: v})
		}
	} else {
		d := *docs[i]
		if d.Current != nil {
			former := *d.Current
			former.Until = s.commit
			d.Former = append(slices.Clone(d.Former), &former)
		}
		d.Current = v
		docs[i] = &d
	}
	slices.SortFunc(docs, func(a, b *plan.Document) int { return a.Place.Compare(b.Place) })
	s.docs = maps.Clone(s.docs)
	s.docs[n] = docs
}

// step makes one change, and returns the connections whose documents it touches.
func (s *story) step() map[schemas.Name]bool {
	s.commit++
	s.heirs = nil
	touched := map[schemas.Name]bool{}
	for i := range rapid.IntRange(1, 2).Draw(s.T, "documents") {
		var standing []*plan.Document
		for _, d := range s.docs.all() {
			if d.Current != nil {
				standing = append(standing, d)
			}
		}
		what := s.pick("step", "new", "new", "new", "undo", "edit")
		if what == "new" || len(standing) == 0 {
			r := s.request()
			touched[r.Connection.Name()] = true
			s.set(r.Connection.Name(), schemas.Place{Commit: s.commit, Path: fmt.Sprintf("%03d-%d.yaml", s.commit, i)}, r)
			continue
		}
		d := rapid.SampledFrom(standing).Draw(s.T, "document")
		n := d.Current.Request.Connection.Name()
		touched[n] = true
		if what == "undo" {
			s.set(n, d.Place, nil)
			continue
		}
		r := s.request()
		if r.Connection.Name() != n {
			s.set(n, d.Place, nil)
			touched[r.Connection.Name()] = true
		}
		s.set(r.Connection.Name(), d.Place, r)
	}
	return touched
}

// holders are those of the named connections that each identity which gains is in.
func holders(c plan.Change, asked []schemas.Name) map[schemas.Name][]schemas.Name {
	out := map[schemas.Name][]schemas.Name{}
	for _, g := range c.Gained {
		out[g.Identity] = nil
		for _, a := range c.After.AccessOf(g.Identity) {
			if a.Privilege == schemas.PrivilegeMember && slices.Contains(asked, a.Target) {
				out[g.Identity] = append(out[g.Identity], a.Target)
			}
		}
	}
	return out
}

// TestMain draws a fifth of rapid's usual histories: each is compared after every step, in six descriptions. -rapid.checks=N
// draws N.
func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "rapid.checks" })
	if !given {
		if err := flag.Set("rapid.checks", "20"); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// The change between excerpts is the change between the complete states, whatever happened before, in worlds that were kept
// from change to change, that were made for this change alone, and that go on from a change that another one replaced.
func TestExcerptIsTheCompleteChange(t *testing.T) {
	t.Parallel()
	for name, desc := range descriptions() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(r *rapid.T) {
				s := &story{T: r, desc: desc, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), docs: documents{}, app: &schemas.Application{Name: "app"}}
				s.app.Spec.Scope = map[string][]string{"role": {"a", "b", "c"}, "team": {"*"}}
				s.app.Spec.Grantable = map[string][]string{"table": {"s.*"}, "schema": {"*"}, "role": {s.pick("grantable", "*", "d")}, "parent": {"*"}}
				asked := []schemas.Name{{Type: "role", SourceName: "a"}, {Type: "role", SourceName: "c"}, {Type: "team", SourceName: "b"}}
				world := excerpt.New(s.app, desc, s.now)
				for range rapid.IntRange(3, 25).Draw(r, "steps") {
					s.now = s.now.Add(time.Duration(rapid.IntRange(0, 2).Draw(r, "later")) * 24 * time.Hour)
					was := s.docs
					touched := slices.SortedFunc(maps.Keys(s.step()), schemas.Name.Compare)
					before, after := plan.Fold(was.all(), desc, s.now), plan.Fold(s.docs.all(), desc, s.now)
					want := plan.Between(s.app, s.app, desc, before, after, s.now)
					// What is planned without any change, because requests contradict each other, is none of the change's.
					none := plan.Between(s.app, s.app, desc, before, plan.Fold(was.all(), desc, s.now), s.now)
					if len(none.Operations) > 0 {
						r.Skip()
					}
					request := excerpt.Request{Application: s.app, Before: was, After: s.docs, Touched: touched, Heirs: s.heirs, Asked: asked, Now: s.now}
					var next *excerpt.World
					for kind, w := range map[string]*excerpt.World{"kept": world, "fresh": excerpt.New(s.app, desc, s.now)} {
						x, err := w.Change(t.Context(), request)
						if err != nil {
							r.Fatal(err)
						}
						if kind == "kept" {
							next = x.World
						}
						s.compare(kind, was, want, plan.Between(s.app, s.app, desc, x.Before, x.After, s.now), asked)
					}
					if s.pick("admitted", "yes", "yes", "yes", "no") == "no" {
						s.docs = was // quarantined: the world is still the one before
						continue
					}
					world = next
				}
			})
		})
	}
}

// outOfScope separates the findings about connections as such. They name a document, which in the complete state may be one of
// before the change, or another one than in the excerpt: only the first document of a connection is sure to be found.
func outOfScope(c *plan.Change) map[schemas.Name]bool {
	out := map[schemas.Name]bool{}
	c.Findings = slices.DeleteFunc(slices.Clone(c.Findings), func(f schemas.Finding) bool {
		if f.Code == "out-of-scope" {
			out[f.Connection] = true
		}
		return f.Code == "out-of-scope"
	})
	return out
}

func (s *story) compare(kind string, was documents, want, got plan.Change, asked []schemas.Name) {
	s.Helper()
	found := outOfScope(&got)
	for n := range outOfScope(&want) {
		if !found[n] && !slices.ContainsFunc(was[n], func(d *plan.Document) bool { return d.Current != nil }) {
			s.Fatalf("%s: %s is not found to be out of scope", kind, n)
		}
	}
	diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmp.Transformer("graph", func(*graph.Graph) string { return "" }),
		cmpopts.SortSlices(func(a, b schemas.Finding) bool { return fmt.Sprint(a) < fmt.Sprint(b) }))
	diff += cmp.Diff(holders(want, asked), holders(got, asked), cmpopts.EquateEmpty())
	for _, h := range s.heirs {
		diff += cmp.Diff(want.After.Members(h), got.After.Members(h), cmpopts.EquateEmpty())
	}
	for i := range want.Operations {
		if o := &want.Operations[i]; o.Kind == schemas.OperationDelete {
			diff += cmp.Diff(want.Before.DirectMembers(o.Connection), got.Before.DirectMembers(o.Connection), cmpopts.EquateEmpty())
			for _, m := range want.Before.DirectMembers(o.Connection) {
				diff += cmp.Diff(want.After.Exists(m), got.After.Exists(m))
			}
		}
	}
	if diff == "" {
		return
	}
	var story strings.Builder
	for _, d := range s.docs.all() {
		fmt.Fprintf(&story, "%s", d.Place.Path)
		for _, v := range append(slices.Clone(d.Former), d.Current) {
			if v == nil {
				story.WriteString(" undone")
				continue
			}
			fmt.Fprintf(&story, " | %s %s +%v -%v until %d", v.Request.Kind, v.Request.Connection.Name(), lines(v.Request.Grants), lines(v.Request.Revokes), v.Until)
		}
		story.WriteString("\n")
	}
	s.Fatalf("%s, at %s, commit %d:\n%s%s", kind, s.now.Format(time.DateOnly), s.commit, story.String(), diff)
}

func lines(list []schemas.Entry) []string {
	var out []string
	for _, e := range list {
		s := e.Name().String() + fmt.Sprint(e.Privileges)
		if e.Starts != nil {
			s += " from " + e.Starts.Format(time.DateOnly)
		}
		if e.Expires != nil {
			s += " until " + e.Expires.Format(time.DateOnly)
		}
		out = append(out, s)
	}
	return out
}
