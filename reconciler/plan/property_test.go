package plan_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/countersign/countersign/reconciler/hold"
	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/schemas"
)

// drawn is a world whose steps are drawn.
type drawn struct {
	*world
	r     *rapid.T
	roles []string
	// foreign lets somebody else change the application now and then.
	foreign bool
	history []string
}

func draw(r *rapid.T, t *testing.T, foreign bool) *drawn {
	d := &drawn{world: newWorld(t), r: r, roles: []string{"role/a", "role/b", "role/c"}, foreign: foreign}
	// What is granted must be there, as a reconciler finds out before it applies.
	d.adjust = func(in *plan.Input) {
		in.Targets = map[schemas.Name][]schemas.Item{}
		for _, s := range []string{"user/x", "user/y", "table/t", "table/u"} {
			in.Targets[name(s)] = []schemas.Item{{Name: name(s), NativeID: s}}
		}
		for n, c := range d.live {
			in.Targets[n] = []schemas.Item{{Name: n, NativeID: c.NativeID}}
		}
	}
	return d
}

func (d *drawn) oneOf(label string, list ...string) string {
	return rapid.SampledFrom(list).Draw(d.r, label)
}

// target is anything but the role itself.
func (d *drawn) target(role string) string {
	list := []string{"user/x", "user/y", "table/t", "table/t:SELECT,INSERT", "table/u", "role/a", "role/b", "role/c", "role/b:ADMIN", "user/x:ADMIN"}
	return d.oneOf("target", slices.DeleteFunc(list, func(s string) bool { return strings.HasPrefix(s, role) })...)
}

func (d *drawn) request() string {
	role := d.oneOf("role", d.roles...)
	switch d.oneOf("kind", "C", "C", "A", "A", "A", "A", "A", "D") {
	case "C":
		return "C " + role + d.oneOf("payload", "", " login=true", " limit=3", " limit=null")
	case "D":
		return "D " + role
	}
	s := "A " + role
	for range rapid.IntRange(1, 3).Draw(d.r, "entries") {
		if d.oneOf("word", "+", "+", "+", "-") == "-" {
			s += " -" + d.target(role)
		} else {
			s += " +" + d.target(role) + d.oneOf("window", "", "", "", "@..2", "@..5", "@1..", "@2..4", "@4..6")
		}
	}
	return s
}

func (d *drawn) draw() {
	kinds := []string{"request", "request", "request", "undo", "edit", "day", "run"}
	if d.foreign {
		kinds = append(kinds, "live", "gone")
	}
	s := ""
	switch d.oneOf("step", kinds...) {
	case "undo":
		if len(d.docs) > 0 {
			s = fmt.Sprintf("undo %d", rapid.IntRange(1, len(d.docs)).Draw(d.r, "document"))
		}
	case "edit":
		if len(d.docs) > 0 {
			i := rapid.IntRange(1, len(d.docs)).Draw(d.r, "document")
			if d.docs[i-1].Current != nil {
				s = fmt.Sprintf("edit %d %s", i, d.request())
			}
		}
	case "day":
		s = fmt.Sprintf("day %d", rapid.IntRange(0, 7).Draw(d.r, "day"))
	case "run":
		s = "run"
	case "live":
		s = "live " + d.oneOf("role", d.roles...) + d.oneOf("has", "", " login=true", " user/x:MEMBER", " user/y:MEMBER user/x:ADMIN", " table/t:SELECT table/t:INSERT")
	case "gone":
		s = "live -" + d.oneOf("role", d.roles...)
	}
	if s == "" {
		s = d.request()
	}
	d.history = append(d.history, s)
	d.step(s)
	// Several documents come in one commit.
	if rapid.IntRange(0, 4).Draw(d.r, "same commit") == 0 && !strings.HasPrefix(s, "undo") && !strings.HasPrefix(s, "edit") && d.commit > 1 {
		d.commit--
	}
}

func (d *drawn) draws(n int) *drawn {
	for range rapid.IntRange(0, n).Draw(d.r, "steps") {
		d.draw()
	}
	return d
}

func check(t *testing.T, fn func(*testing.T, *rapid.T)) {
	t.Helper()
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) { fn(t, r) })
}

// Applying a plan makes the next plan empty, and what was remembered is remembered.
func TestPropertyPlansConverge(t *testing.T) {
	check(t, func(t *testing.T, r *rapid.T) {
		d := draw(r, t, true)
		d.app.Spec.Unmanaged = schemas.Unmanaged(d.oneOf("unmanaged", "ignore", "report", "revoke"))
		d.draws(25)
		executable(r, d.diff().Plan.Operations)
		d.run()
		if d.app.Spec.Unmanaged == schemas.UnmanagedRevoke {
			d.run() // what was unmanaged and is named by an undone request is remembered as such only now
		}
		again := d.diff()
		hold.Operations(&again.Plan, d.rules)
		for i := range again.Plan.Operations {
			if o := &again.Plan.Operations[i]; o.Hold == schemas.HoldNone {
				r.Errorf("after %q and a run: %s", d.history, line(o))
			}
		}
		if len(again.Settled) > 0 {
			r.Errorf("after %q and a run: settled %v", d.history, again.Settled)
		}
		// Nothing of what countersign did comes back after its memory is lost.
		clear(d.baseline)
		if lost := d.diff(); len(again.Plan.Operations) == 0 && d.app.Spec.Unmanaged != schemas.UnmanagedRevoke {
			for i := range lost.Plan.Operations {
				if o := &lost.Plan.Operations[i]; o.Cause != schemas.CauseUndo {
					r.Errorf("after %q, without a baseline: %s", d.history, line(o))
				}
			}
		}
	})
}

// A revoke of one privilege is settled by the run that settles the end of another on the same target, not by the next.
func TestRevokeBesideADeletionConverges(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.adjust = func(in *plan.Input) {
		in.Targets = map[schemas.Name][]schemas.Item{name("user/x"): {{Name: name("user/x"), NativeID: "x"}}}
	}
	for _, s := range []string{"A role/c -role/b:ADMIN +user/x", "A role/c +user/x +role/b", "C role/c", "D role/b"} {
		w.step(s)
	}
	w.run()
	if again := w.diff(); len(again.Settled) > 0 || len(again.Plan.Findings) > 0 {
		t.Errorf("after a run: settled %v, findings %v", again.Settled, again.Plan.Findings)
	}
}

// Documents fold in any order of arrival, and a prefix and the rest are the whole.
func TestPropertyFoldIsIncremental(t *testing.T) {
	check(t, func(t *testing.T, r *rapid.T) {
		d := draw(r, t, false).draws(25)
		want := d.fold()
		var f plan.Folder
		i := rapid.IntRange(0, len(d.docs)).Draw(r, "prefix")
		f.Add(d.docs[:i]...)
		f.Fold(d.desc, d.now)
		f.Add(d.docs[i:]...)
		if diff := cmp.Diff(want, f.Fold(d.desc, d.now)); diff != "" {
			r.Errorf("after %q: %s", d.history, diff)
		}
		if diff := cmp.Diff(want, plan.Fold(rapid.Permutation(d.docs).Draw(r, "order"), d.desc, d.now)); diff != "" {
			r.Errorf("after %q, in another order: %s", d.history, diff)
		}
	})
}

// naive is the rule in its own words, for assignments to one connection without lives.
func naive(w *world, target schemas.Name, priv string) bool {
	typ, _ := w.desc.Type("role")
	latest := 0
	for _, d := range w.docs {
		if d.Current != nil {
			for _, e := range d.Current.Request.Revokes {
				if e.Name() == target && slices.Contains(plan.Privileges(typ, e, true), priv) {
					latest = d.Place.Commit
				}
			}
		}
	}
	for _, d := range w.docs {
		if d.Current == nil || d.Place.Commit <= latest {
			continue
		}
		for _, e := range d.Current.Request.Grants {
			if e.Name() == target && slices.Contains(plan.Privileges(typ, e, false), priv) && e.Window().Started(w.now) && !e.Window().Expired(w.now) {
				return true
			}
		}
	}
	return false
}

func TestPropertyFoldIsTheRule(t *testing.T) {
	check(t, func(t *testing.T, r *rapid.T) {
		d := draw(r, t, false)
		for range rapid.IntRange(1, 12).Draw(r, "steps") {
			s := "A role/a +user/x"
			switch d.oneOf("step", "grant", "grant", "revoke", "undo", "day") {
			case "grant":
				s = "A role/a +" + d.oneOf("target", "user/x", "user/x:ADMIN", "table/t:SELECT") + d.oneOf("window", "", "@..2", "@1..", "@2..4")
			case "revoke":
				s = "A role/a -" + d.oneOf("target", "user/x", "user/x:ADMIN", "table/t")
			case "undo":
				if len(d.docs) > 0 {
					s = fmt.Sprintf("undo %d", rapid.IntRange(1, len(d.docs)).Draw(r, "document"))
				}
			case "day":
				s = fmt.Sprintf("day %d", rapid.IntRange(0, 5).Draw(r, "day"))
			}
			d.history = append(d.history, s)
			d.step(s)
		}
		state := plan.StateOf(d.fold(), d.desc)
		for _, k := range []struct{ target, priv string }{{"user/x", "MEMBER"}, {"user/x", "ADMIN"}, {"table/t", "SELECT"}, {"table/t", "INSERT"}} {
			got := len(state.Connections) > 0 && slices.ContainsFunc(state.Connections[0].Entitlements, func(e schemas.Entitlement) bool {
				return e.Target == name(k.target) && e.Privilege == k.priv
			})
			if want := naive(d.world, name(k.target), k.priv); got != want {
				r.Errorf("after %q: %v is desired: %v, want %v", d.history, k, got, want)
			}
		}
	})
}

// Requests about connections that have nothing to do with each other may come in any order.
func TestPropertyIndependentRequestsCommute(t *testing.T) {
	check(t, func(t *testing.T, r *rapid.T) {
		g := draw(r, t, false)
		sequence := func(role, user, table string) []string {
			var out []string
			n := 0
			for range rapid.IntRange(0, 8).Draw(r, "steps") {
				switch g.oneOf("step", "C", "A", "A", "R", "D", "undo") {
				case "C":
					out = append(out, "C "+role)
				case "A":
					out = append(out, "A "+role+" +"+user+" +"+table+g.oneOf("window", "", "@..2", "@1.."))
				case "R":
					out = append(out, "A "+role+" -"+user)
				case "D":
					out = append(out, "D "+role)
				case "undo":
					if n > 0 {
						out = append(out, fmt.Sprintf("undo %d", rapid.IntRange(1, n).Draw(r, "document")))
					}
					continue
				}
				n++
			}
			return out
		}
		one, two := sequence("role/a", "user/x", "table/t"), sequence("role/b", "user/y", "table/u")
		fold := func(order []bool) *plan.Desired {
			w := newWorld(t)
			w.now = day(1)
			at := map[bool][]int{} // the documents of each sequence
			i, j := 0, 0
			step := func(first bool, s string) {
				if n, ok := strings.CutPrefix(s, "undo "); ok {
					var k int
					fmt.Sscan(n, &k)
					w.undo(at[first][k-1])
					return
				}
				w.step(s)
				d := w.docs[len(w.docs)-1]
				at[first] = append(at[first], len(w.docs)-1)
				d.Place.Path = fmt.Sprintf("%v/%d", first, len(at[first]))
				d.Current.Blob = d.Place.Path
			}
			for _, first := range order {
				switch {
				case first && i < len(one):
					step(true, one[i])
					i++
				case !first && j < len(two):
					step(false, two[j])
					j++
				}
			}
			for ; i < len(one); i++ {
				step(true, one[i])
			}
			for ; j < len(two); j++ {
				step(false, two[j])
			}
			return w.fold()
		}
		a := fold(rapid.SliceOfN(rapid.Bool(), 0, 16).Draw(r, "order"))
		b := fold(rapid.SliceOfN(rapid.Bool(), 0, 16).Draw(r, "order"))
		a.Findings, b.Findings = nil, nil // they are sorted by place
		if diff := cmp.Diff(a, b); diff != "" {
			r.Errorf("%q and %q: %s", one, two, diff)
		}
	})
}

func bare(live map[schemas.Name]schemas.Connection) map[schemas.Name]schemas.Connection {
	out := maps.Clone(live)
	for n, c := range out {
		c.NativeID = ""
		c.Entitlements = slices.Clone(c.Entitlements)
		for i := range c.Entitlements {
			c.Entitlements[i].TargetID = ""
		}
		if len(c.Entitlements) == 0 {
			c.Entitlements = nil
		}
		out[n] = c
	}
	return out
}

// stated is the desired state without connections of which only revokes and what was undone speak.
func stated(desired *plan.Desired, desc schemas.Description) []schemas.Connection {
	return append([]schemas.Connection{}, slices.DeleteFunc(plan.StateOf(desired, desc).Connections, func(c schemas.Connection) bool {
		return c.Payload == nil && len(c.Entitlements) == 0
	})...)
}

// forgetAttributes leaves attributes out: a null leaves them as an undone request had them.
func forgetAttributes(live map[schemas.Name]schemas.Connection) {
	for n, c := range live {
		c.Payload = nil
		live[n] = c
	}
}

// Anything folds and diffs, and what comes out is in order.
func TestPropertyAnythingFolds(t *testing.T) {
	check(t, func(t *testing.T, r *rapid.T) {
		w := newWorld(t)
		text := rapid.SampledFrom([]string{"", "a", "b", "role", "user", "table", "schema", "team", "ADMIN", "MEMBER", "SELECT", "\x00", "ä", "…"})
		entryOf := rapid.Custom(func(r *rapid.T) schemas.Entry {
			e := schemas.Entry{Type: text.Draw(r, "type"), SourceName: text.Draw(r, "name"), SourceID: text.Draw(r, "id"), Privileges: rapid.SliceOfN(text, 0, 3).Draw(r, "privileges")}
			if rapid.Bool().Draw(r, "starts") {
				x := day(rapid.IntRange(-3, 3).Draw(r, "from"))
				e.Starts = &x
			}
			if rapid.Bool().Draw(r, "expires") {
				x := day(rapid.IntRange(-3, 3).Draw(r, "to"))
				e.Expires = &x
			}
			return e
		})
		version := rapid.Custom(func(r *rapid.T) *plan.Version {
			return &plan.Version{Blob: text.Draw(r, "blob"), Until: rapid.IntRange(0, 5).Draw(r, "until"), Request: &schemas.Request{
				Kind:       rapid.SampledFrom([]schemas.Kind{schemas.KindConnectionCreation, schemas.KindConnectionAssignment, schemas.KindConnectionDeletion, schemas.KindPeople, ""}).Draw(r, "kind"),
				Connection: schemas.ConnectionRef{Type: text.Draw(r, "type"), SourceName: text.Draw(r, "name"), SourceID: text.Draw(r, "id")},
				Payload:    map[string]any{text.Draw(r, "key"): rapid.SampledFrom([]any{nil, true, 1, 1.5, "x", []any{1}, map[string]any{"a": 1}}).Draw(r, "value")},
				Grants:     rapid.SliceOfN(entryOf, 0, 3).Draw(r, "grants"), Revokes: rapid.SliceOfN(entryOf, 0, 2).Draw(r, "revokes"),
			}}
		})
		document := rapid.Custom(func(r *rapid.T) *plan.Document {
			d := &plan.Document{Place: schemas.Place{Commit: rapid.IntRange(0, 5).Draw(r, "commit"), Path: text.Draw(r, "path"), Index: rapid.IntRange(0, 2).Draw(r, "index")}}
			d.Former = rapid.SliceOfN(version, 0, 2).Draw(r, "former")
			if rapid.Bool().Draw(r, "stands") {
				d.Current = version.Draw(r, "current")
			}
			return d
		})
		w.docs = rapid.SliceOfN(document, 0, 12).Draw(r, "documents")
		got := w.fold()
		for i, c := range got.Connections {
			if i > 0 && got.Connections[i-1].Compare(c.Name) >= 0 {
				r.Errorf("connections are not sorted: %v", wanted(got))
			}
			keys := []schemas.Key{}
			for _, e := range c.Entitlements {
				keys = append(keys, schemas.Key{Target: e.Target, Privilege: e.Privilege})
			}
			for _, e := range c.Tombstones {
				keys = append(keys, schemas.Key{Target: e.Target, Privilege: e.Privilege})
			}
			if !slices.IsSortedFunc(keys[:len(c.Entitlements)], schemas.Key.Compare) || !slices.IsSortedFunc(keys[len(c.Entitlements):], schemas.Key.Compare) {
				r.Errorf("not sorted: %v", wanted(got))
			}
			slices.SortFunc(keys, schemas.Key.Compare)
			if len(slices.Compact(slices.Clone(keys))) != len(keys) {
				r.Errorf("an entitlement stands twice: %v", wanted(got))
			}
		}
		w.adjust = func(in *plan.Input) { in.Normalize = lower }
		res := w.diff()
		executable(r, res.Plan.Operations)
		plan.Between(nil, w.app, w.desc, &plan.Desired{}, got, w.now)
		plan.ItemsOf(got)
	})
}
