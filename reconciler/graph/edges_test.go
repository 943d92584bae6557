package graph_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/countersign/countersign/reconciler/graph"
)

// A way is found where there is one, whichever end has more edges, and each of its edges leads to the next.
func TestWay(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		var edges graph.Edges
		node := func(label string) graph.Node { return graph.Node(rapid.IntRange(1, 60).Draw(r, label)) }
		var all []graph.Edge
		strength := map[graph.Edge]graph.Strength{}
		for range rapid.IntRange(0, 120).Draw(r, "edges") {
			e := graph.Edge{From: node("from"), To: node("to"), Privilege: "MEMBER", Identity: rapid.Bool().Draw(r, "identity")}
			s := graph.Strength{Passes: true, Bounded: rapid.IntRange(0, 4).Draw(r, "bounded") == 0}
			if rapid.IntRange(0, 4).Draw(r, "privilege") == 0 {
				e.Privilege, s.Passes = "ADMIN", false
			}
			if rapid.IntRange(0, 9).Draw(r, "popular") == 0 {
				e.To = 1
			}
			e.Connection, e.Target = e.To, e.From
			edges = edges.With(e, s)
			all, strength[e] = append(all, e), s
		}
		for _, e := range all[:len(all)/4] {
			edges = edges.Without(e)
			delete(strength, e)
		}
		from, right := node("start"), graph.Right{To: node("end"), Privilege: rapid.SampledFrom([]string{"MEMBER", "ADMIN"}).Draw(r, "right")}
		allow := func(_ graph.Edge, s graph.Strength) bool { return !s.Bounded }
		reached, want := map[graph.Node]bool{from: true}, false
		for range strength {
			for e, s := range strength {
				if reached[e.From] && !s.Bounded {
					reached[e.To] = reached[e.To] || s.Passes
					want = want || e.To == right.To && e.Privilege == right.Privilege
				}
			}
		}
		way, got := edges.Way(from, right, allow)
		if got != want {
			r.Fatalf("a way is %v, want %v", got, want)
		}
		if !got {
			return
		}
		// From the start by edges of the way alone, in whatever order they are.
		at, ended := map[graph.Node]bool{from: true}, false
		for range way {
			for _, e := range way {
				if at[e.From] {
					at[e.To] = at[e.To] || strength[e].Passes
					ended = ended || e.To == right.To && e.Privilege == right.Privilege
				}
			}
		}
		if !ended {
			r.Fatalf("%v is not a way from %d to %v", way, from, right)
		}
	})
}
