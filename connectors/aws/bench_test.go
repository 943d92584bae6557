package aws_test

import (
	"fmt"
	"testing"

	"github.com/countersign/countersign/schemas"
)

// BenchmarkRead reads groups of one member each, in pages as large as IAM allows. The server is the tests' own, so
// the time says what the connector and the server in the same process cost; the calls are what AWS would see.
func BenchmarkRead(b *testing.B) {
	for _, n := range []int{1_000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			a := start(b)
			for i := range n {
				user, group := fmt.Sprintf("u-%05d", i), fmt.Sprintf("t-%05d", i)
				a.srv.set(func() {
					a.srv.users[user] = a.srv.newThing("user", "AIDA", user, "/")
					g := a.srv.newThing("group", "AGPA", group, teamPath)
					g.members[user] = true
					a.srv.groups[group] = g
					a.srv.groupsOf[user] = []string{group}
				})
			}
			w := writer(b, with(map[string]any{"page_size": 1000})(nil, a.config))
			sent := func() int {
				n := 0
				a.srv.set(func() {
					for _, calls := range a.srv.calls {
						n += calls
					}
				})
				return n
			}
			before := sent()
			for b.Loop() {
				s, err := w.Read(b.Context(), schemas.Selection{Scope: map[string][]string{"group": {"t-*"}}})
				if err != nil || s.Incomplete != "" || len(s.Connections) != n {
					b.Fatalf("%d connections, %s, %v", len(s.Connections), s.Incomplete, err)
				}
			}
			b.ReportMetric(float64(sent()-before)/float64(b.N), "calls/op")
		})
	}
}
