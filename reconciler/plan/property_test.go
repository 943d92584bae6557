package plan_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/reconciler/graph"
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
		in.Targets = map[schemas.Name][]connectors.Item{}
		for _, s := range []string{"user/x", "user/y", "table/t", "table/u"} {
			in.Targets[name(s)] = []connectors.Item{{Name: name(s), NativeID: s}}
		}
		for n, c := range d.live {
			in.Targets[n] = []connectors.Item{{Name: n, NativeID: c.NativeID}}
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
			got := len(state.Connections) > 0 && slices.ContainsFunc(state.Connections[0].Entitlements, func(e connectors.Entitlement) bool {
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

func bare(live map[schemas.Name]connectors.Connection) map[schemas.Name]connectors.Connection {
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

// Undoing the last request restores what was desired before it, and, where all was made by us, what was there.
func TestPropertyUndoRestores(t *testing.T) {
	check(t, func(t *testing.T, r *rapid.T) {
		d := draw(r, t, false).draws(12)
		d.run()
		d.run()
		before, live := d.fold(), bare(d.live)
		s := d.request()
		if strings.HasSuffix(s, "null") {
			s = strings.TrimSuffix(s, " limit=null")
		}
		d.commit++
		d.step(s)
		after := d.fold()
		d.run()
		d.undo(len(d.docs) - 1)
		undone := d.fold()
		if slices.ContainsFunc(undone.Findings, func(f schemas.Finding) bool { return f.Code == "undone-in-use" }) {
			return // the preview refuses that
		}
		if diff := cmp.Diff(stated(before, d.desc), stated(undone, d.desc)); diff != "" {
			r.Errorf("after %q, %s and its undoing, desired: %s", d.history, s, diff)
		}
		d.run()
		// What nobody knows to be ours, and what only assignments speak of, is not made or deleted again.
		if slices.ContainsFunc(d.diff().Plan.Findings, func(f schemas.Finding) bool { return f.Code == "undone-unknown" || f.Code == "no-connection" }) {
			return
		}
		forgetAttributes(live)
		now := bare(d.live)
		forgetAttributes(now)
		if diff := cmp.Diff(live, now); diff != "" {
			r.Errorf("after %q, %s (wanted %q) and its undoing, live: %s", d.history, s, wanted(after), diff)
		}
	})
}

// stated is the desired state without connections of which only revokes and what was undone speak.
func stated(desired *plan.Desired, desc connectors.Description) []connectors.Connection {
	return append([]connectors.Connection{}, slices.DeleteFunc(plan.StateOf(desired, desc).Connections, func(c connectors.Connection) bool {
		return c.Payload == nil && len(c.Entitlements) == 0
	})...)
}

// forgetAttributes leaves attributes out: a null leaves them as an undone request had them.
func forgetAttributes(live map[schemas.Name]connectors.Connection) {
	for n, c := range live {
		c.Payload = nil
		live[n] = c
	}
}

// Nothing outside the scope is in any operation, and nothing that no request names is taken away unless the
// application says so.
func TestPropertyOperationsStayInside(t *testing.T) {
	check(t, func(t *testing.T, r *rapid.T) {
		d := draw(r, t, true)
		d.app.Spec.Unmanaged = schemas.Unmanaged(d.oneOf("unmanaged", "ignore", "report"))
		d.app.Spec.Scope["role"] = []string{d.oneOf("scope", "a", "b", "[ab]", "c*")}
		d.draws(20)
		res := d.diff()
		for i := range res.Plan.Operations {
			o := &res.Plan.Operations[i]
			if !plan.InScope(d.app, o.Connection) {
				r.Errorf("after %q, outside the scope: %s", d.history, line(o))
			}
			if o.Cause == schemas.CauseUnmanaged || len(o.Documents) == 0 {
				r.Errorf("after %q, asked for by nobody: %s", d.history, line(o))
			}
			named := slices.ContainsFunc(d.docs, func(doc *plan.Document) bool {
				for _, v := range append(slices.Clone(doc.Former), doc.Current) {
					if v != nil && v.Request.Connection.Name() == o.Connection && slices.ContainsFunc(o.Documents, func(id schemas.DocumentID) bool { return id.Blob == v.Blob }) {
						return true
					}
				}
				return false
			})
			if o.Target == nil && !named {
				r.Errorf("after %q, no document names the connection: %s", d.history, line(o))
			}
		}
	})
}

// A temporary grant beside a permanent one changes nothing, neither while it lasts nor when it ends.
func TestPropertyTemporaryTakesNothing(t *testing.T) {
	check(t, func(t *testing.T, r *rapid.T) {
		d := draw(r, t, false).draws(15)
		d.commit++
		role := d.oneOf("role", d.roles...)
		target := d.target(role)
		d.step("A " + role + " +" + target)
		for _, n := range []int{0, 3, 9} {
			d.step(fmt.Sprintf("day %d", n))
			want := plan.StateOf(d.fold(), d.desc)
			kept := slices.Clone(d.docs)
			d.step("A " + role + " +" + target + d.oneOf("window", "@..2", "@1..4", "@4.."))
			if diff := cmp.Diff(want, plan.StateOf(d.fold(), d.desc)); diff != "" {
				r.Errorf("after %q, a temporary grant of %s to %s on day %d: %s", d.history, target, role, n, diff)
			}
			d.docs = kept
		}
	})
}

// Between says of every identity what it gains and loses, each at one operation, and says it every time.
func TestPropertyBetweenTellsAllEffects(t *testing.T) {
	check(t, func(t *testing.T, r *rapid.T) {
		d := draw(r, t, false).draws(12)
		before := d.fold()
		d.draws(6)
		after := d.fold()
		c := plan.Between(d.app, d.app, d.desc, before, after, d.now)
		executable(r, c.Operations)
		var lost []schemas.Access
		ids := append(c.Before.Identities(), c.After.Identities()...)
		slices.SortFunc(ids, schemas.Name.Compare)
		has := func(list []schemas.Access, a schemas.Access) bool {
			return slices.ContainsFunc(list, func(b schemas.Access) bool {
				return a.Identity == b.Identity && a.Target == b.Target && a.Privilege == b.Privilege
			})
		}
		for _, id := range slices.Compact(ids) {
			was, will := c.Before.AccessOf(id), c.After.AccessOf(id)
			for _, a := range will {
				if !has(was, a) && !has(c.Gained, a) {
					r.Errorf("after %q, nobody says that %s", d.history, accessLine(a))
				}
			}
			for _, a := range was {
				if !has(will, a) {
					lost = append(lost, a)
				}
			}
		}
		if diff := cmp.Diff(lost, c.Lost); diff != "" {
			r.Errorf("after %q, lost: %s", d.history, diff)
		}
		g, l := 0, 0
		for _, o := range c.Operations {
			g += len(o.Gained)
			l += len(o.Lost)
		}
		if g != len(c.Gained) || l != len(lost) {
			r.Errorf("after %q: %d gains and %d losses stand at operations, there are %d and %d", d.history, g, l, len(c.Gained), len(lost))
		}
		again := plan.Between(d.app, d.app, d.desc, before, after, d.now)
		if diff := cmp.Diff(changeLines(c), changeLines(again)); diff != "" {
			r.Errorf("after %q, a second time: %s", d.history, diff)
		}
	})
}

// Whoever gains something between two states gains it by an operation of the change: nobody gains in silence.
func TestPropertyNobodyGainsInSilence(t *testing.T) {
	check(t, func(t *testing.T, r *rapid.T) {
		d := draw(r, t, false).draws(12)
		day := d.now
		before := slices.Clone(d.docs)
		for i, doc := range before {
			c := *doc
			c.Former = slices.Clone(doc.Former)
			before[i] = &c
		}
		for range rapid.IntRange(1, 4).Draw(r, "changes") {
			d.commit++
			s := d.request()
			d.history = append(d.history, "! "+s)
			d.step(s)
		}
		change := plan.Between(d.app, d.app, d.desc, plan.Fold(before, d.desc, day), plan.Fold(d.docs, d.desc, day), day)
		told := func(id schemas.Name, a schemas.Access) bool {
			return slices.ContainsFunc(change.Gained, func(b schemas.Access) bool {
				return b.Identity == id && b.Target == a.Target && b.Privilege == a.Privilege
			})
		}
		// On every later day, whoever can do more by the change than without it was told of.
		for n := range 8 {
			at := day.AddDate(0, 0, n)
			without := graph.New("app", d.desc, plan.StateOf(plan.Fold(before, d.desc, at), d.desc))
			with := graph.New("app", d.desc, plan.StateOf(plan.Fold(d.docs, d.desc, at), d.desc))
			for _, id := range with.Identities() {
				was := without.AccessOf(id)
				for _, a := range with.AccessOf(id) {
					if !told(id, a) && !slices.ContainsFunc(was, func(b schemas.Access) bool { return a.Target == b.Target && a.Privilege == b.Privilege }) {
						r.Errorf("after %q: %s gains %s %s on day %d, and nobody was told", d.history, id, a.Target, a.Privilege, n)
					}
				}
			}
		}
	})
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

// Folding only what a change touches, and comparing only that, is folding and comparing everything.
func TestPropertyPairIsFoldTwice(t *testing.T) {
	shared, whole := 0, 0
	t.Run("worlds", func(t *testing.T) {
		rapid.Check(t, func(r *rapid.T) {
			d := draw(r, t, false).draws(12)
			before := byConnection(d.docs)
			for range rapid.IntRange(0, 3).Draw(r, "changes") {
				d.draw()
			}
			after := byConnection(d.docs)
			var unchanged, was, is, all, wasAll []*plan.Document
			for n, docs := range after {
				all, wasAll = append(all, docs...), append(wasAll, before[n]...)
				if cmp.Equal(docs, before[n]) {
					unchanged = append(unchanged, before[n]...)
				} else {
					was, is = append(was, before[n]...), append(is, docs...)
				}
			}
			first, second := plan.Pair(unchanged, was, is, d.desc, d.now)
			wantFirst, wantSecond := plan.Fold(wasAll, d.desc, d.now), plan.Fold(all, d.desc, d.now)
			if !second.Next.Equal(wantSecond.Next) && (second.Next.IsZero() || second.Next.After(wantSecond.Next) && !wantSecond.Next.IsZero()) {
				r.Errorf("after %q: next is %v, want %v or sooner", d.history, second.Next, wantSecond.Next)
			}
			second.Next = wantSecond.Next
			if diff := cmp.Diff([]*plan.Desired{wantFirst, wantSecond}, []*plan.Desired{first, second}, cmpopts.EquateEmpty()); diff != "" {
				r.Errorf("after %q: %s", d.history, diff)
			}
			for _, c := range second.Connections {
				if slices.Contains(first.Connections, c) {
					shared++
				} else {
					whole++
				}
			}
			narrow := *d.app
			if rapid.Bool().Draw(r, "scope") {
				narrow.Spec.Scope = map[string][]string{"role": {"a", "b"}}
			}
			want := plan.Between(&narrow, d.app, d.desc, wantFirst, wantSecond, d.now)
			got := plan.Between(&narrow, d.app, d.desc, first, second, d.now)
			if diff := cmp.Diff(changeLines(want), changeLines(got)); diff != "" {
				r.Errorf("after %q: %s", d.history, diff)
			}
			for i, g := range []*graph.Graph{got.Before, got.After} {
				w := []*graph.Graph{want.Before, want.After}[i]
				if diff := cmp.Diff(w.Identities(), g.Identities()); diff != "" {
					r.Fatalf("after %q: identities: %s", d.history, diff)
				}
				for _, n := range append(w.Identities(), name("role/a"), name("role/b"), name("role/c")) {
					if diff := cmp.Diff(w.AccessOf(n), g.AccessOf(n)); diff != "" || w.Exists(n) != g.Exists(n) {
						r.Errorf("after %q: access of %s: %s", d.history, n, diff)
					}
					if diff := cmp.Diff(w.DirectMembers(n), g.DirectMembers(n)); diff != "" {
						r.Errorf("after %q: members of %s: %s", d.history, n, diff)
					}
				}
			}
		})
	})
	if shared == 0 || whole == 0 {
		t.Errorf("%d connections shared and %d not: the worlds show nothing", shared, whole)
	}
}

// byConnection has the documents of each connection by themselves, as the order index keeps them.
func byConnection(docs []*plan.Document) map[schemas.Name][]*plan.Document {
	out := map[schemas.Name][]*plan.Document{}
	for _, d := range docs {
		of := map[schemas.Name]*plan.Document{}
		at := func(v *plan.Version) *plan.Document {
			n := v.Request.Connection.Name()
			if of[n] == nil {
				of[n] = &plan.Document{Place: d.Place}
				out[n] = append(out[n], of[n])
			}
			return of[n]
		}
		for _, v := range d.Former {
			x := at(v)
			x.Former = append(x.Former, v)
		}
		if d.Current != nil {
			// A copy: later steps write to it.
			v := *d.Current
			at(&v).Current = &v
		}
	}
	return out
}
