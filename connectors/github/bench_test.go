package github_test

import (
	"fmt"
	"testing"

	"github.com/countersign/countersign/connectors/github"
	"github.com/countersign/countersign/schemas"
)

// BenchmarkRead reads teams of one member each. Most of the time is the hub's, which answers GraphQL out of its state.
func BenchmarkRead(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			h := newHub(b)
			h.page, h.strict = 100, false
			for i := range n {
				h.team(fmt.Sprintf("team-%05d", i)).members[h.user("their-user-1")] = "member"
			}
			r, err := github.New().OpenReader(b.Context(), h.config())
			if err != nil {
				b.Fatal(err)
			}
			reads := 0
			for b.Loop() {
				s, err := r.Read(b.Context(), schemas.Selection{})
				if err != nil || s.Incomplete != "" || len(s.Connections) != n+1 {
					b.Fatalf("%d teams, %v %s", len(s.Connections), err, s.Incomplete)
				}
				reads++
			}
			b.ReportMetric(float64(len(h.calls))/float64(reads), "calls/op")
			if err := r.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}
