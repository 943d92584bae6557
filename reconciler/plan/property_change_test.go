package plan_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/countersign/countersign/reconciler/graph"
	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/schemas"
)

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
