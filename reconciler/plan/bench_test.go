package plan_test

import (
	"fmt"
	"testing"

	"github.com/countersign/countersign/reconciler/graph"
	"github.com/countersign/countersign/reconciler/hold"
	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/schemas"
)

// many is n connections with one creation and one assignment of three entitlements each, as admitted, as
// live, and as remembered.
func many(n int) (docs []*plan.Document, live schemas.State) {
	for i := range n {
		role := fmt.Sprintf("reader_%06d", i)
		path := fmt.Sprintf("requests/2026/11/%02d/%s.yaml", i%28+1, role)
		blob := fmt.Sprintf("%040x", i)
		ref := schemas.ConnectionRef{Type: "role", SourceName: role}
		entries := []schemas.Entry{
			{Type: "table", SourceName: fmt.Sprintf("sales.orders_%d", i%500), Privileges: []string{"SELECT"}},
			{Type: "user", SourceName: fmt.Sprintf("user_%d", i%2000)},
			{Type: "user", SourceName: fmt.Sprintf("user_%d", (i+7)%2000)},
		}
		docs = append(docs,
			&plan.Document{Place: schemas.Place{Commit: i, Path: path}, Current: &plan.Version{Blob: blob, Request: &schemas.Request{
				Kind: schemas.KindConnectionCreation, Application: "app", Connection: ref, Payload: map[string]any{"login": false, "comment": "Readers"}}}},
			&plan.Document{Place: schemas.Place{Commit: i, Path: path, Index: 1}, Current: &plan.Version{Blob: blob, Request: &schemas.Request{
				Kind: schemas.KindConnectionAssignment, Application: "app", Connection: ref, Grants: entries}}})
		c := schemas.Connection{Name: ref.Name(), NativeID: fmt.Sprint(i), Payload: map[string]any{"login": false, "comment": "Readers", "limit": -1}}
		for _, e := range entries {
			p := "MEMBER"
			if e.Type == "table" {
				p = "SELECT"
			}
			c.Entitlements = append(c.Entitlements, schemas.Entitlement{Target: e.Name(), TargetID: e.SourceName, Privilege: p})
		}
		sortEntitlements(c.Entitlements)
		live.Connections = append(live.Connections, c)
	}
	return docs, live
}

func remembered(res plan.Result) func(string) (schemas.BaselineItem, bool) {
	m := make(map[string]schemas.BaselineItem, len(res.Settled))
	for _, s := range res.Settled {
		m[s.Item] = s
	}
	return func(item string) (schemas.BaselineItem, bool) { b, ok := m[item]; return b, ok }
}

func BenchmarkFold(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 100_000} {
		b.Run(fmt.Sprintf("documents=%d", n), func(b *testing.B) {
			docs, _ := many(n / 2)
			desc := description()
			b.ReportAllocs()
			for b.Loop() {
				if d := plan.Fold(docs, desc, day(0)); len(d.Connections) != n/2 {
					b.Fatal(len(d.Connections))
				}
			}
		})
	}
}

func BenchmarkDiff(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 100_000} {
		docs, live := many(n)
		desc := description()
		in := plan.Input{Application: application(), Description: desc, Desired: plan.Fold(docs, desc, day(0)), Live: live, Now: day(0)}
		first := plan.Diff(in)
		if len(first.Plan.Operations) > 0 || len(first.Settled) != 5*n {
			b.Fatal(len(first.Plan.Operations), len(first.Settled))
		}
		run := func(name string, in plan.Input, operations int) {
			b.Run(fmt.Sprintf("connections=%d/%s", n, name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if r := plan.Diff(in); len(r.Plan.Operations) != operations || operations == 0 && len(r.Settled) > 0 {
						b.Fatal(len(r.Plan.Operations), len(r.Settled))
					}
				}
			})
		}
		in.Baseline = remembered(first)
		run("same", in, 0)
		in.Normalize = func(s schemas.State) (schemas.State, error) { return s, nil }
		run("same-normalized", in, 0)
		in.Live, in.Baseline = schemas.State{}, nil
		run("all-new", in, 4*n)
	}
}

func BenchmarkEffects(b *testing.B) {
	docs, _ := many(2_500)
	desc := description()
	desired := plan.Fold(docs, desc, day(0))
	res := plan.Diff(plan.Input{Application: application(), Description: desc, Desired: desired, Now: day(0)})
	if len(res.Plan.Operations) != 10_000 {
		b.Fatal(len(res.Plan.Operations))
	}
	b.ReportAllocs()
	for b.Loop() {
		before, after := graph.New("app", desc, schemas.State{}), graph.New("app", desc, schemas.State{})
		for i := range res.Plan.Operations {
			after.Apply(&res.Plan.Operations[i])
		}
		if gained, _ := graph.Effects(res.Plan.Operations, before, after); len(gained) == 0 {
			b.Fatal("nothing is gained")
		}
	}
}

func BenchmarkBetween(b *testing.B) {
	docs, _ := many(10_000)
	desc := description()
	app := application()
	before, after := plan.Fold(docs[:len(docs)-2], desc, day(0)), plan.Fold(docs, desc, day(0))
	b.ReportAllocs()
	for b.Loop() {
		if c := plan.Between(app, app, desc, before, after, day(0)); len(c.Operations) != 4 {
			b.Fatal(len(c.Operations))
		}
	}
}

func BenchmarkHoldAndDigest(b *testing.B) {
	docs, _ := many(2_500)
	desc := description()
	res := plan.Diff(plan.Input{Application: application(), Description: desc, Desired: plan.Fold(docs, desc, day(0)), Now: day(0)})
	b.ReportAllocs()
	for b.Loop() {
		p := res.Plan
		hold.Operations(&p, hold.Rules{Enforce: true})
		if _, err := plan.Digest([]schemas.ApplicationPlan{p}); err != nil {
			b.Fatal(err)
		}
	}
}
