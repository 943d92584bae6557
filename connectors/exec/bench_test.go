package exec_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign/countersign/connectors/exec"
	"github.com/countersign/countersign/schemas"
)

// BenchmarkRead reads connections with a member each from casbin's connector, out of process.
func BenchmarkRead(b *testing.B) {
	for _, n := range []int{1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var policy strings.Builder
			policy.WriteString("p3, alice\n")
			for i := range n {
				fmt.Fprintf(&policy, "p2, role_%05d, role, , , false\ng, alice, role_%05d\n", i, i)
			}
			path := filepath.Join(b.TempDir(), "policy.csv")
			if err := os.WriteFile(path, []byte(policy.String()), 0o600); err != nil {
				b.Fatal(err)
			}
			k, err := exec.New(b.Context(), self(b, "store", "casbin"))
			if err != nil {
				b.Fatal(err)
			}
			r, err := k.OpenReader(b.Context(), store(path).Config())
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				s, err := r.Read(b.Context(), schemas.Selection{})
				if err != nil || len(s.Connections) != n {
					b.Fatalf("%d connections, %v", len(s.Connections), err)
				}
			}
			b.ReportMetric(1, "calls/read") // one request line, whatever the number
			if err := r.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkOpen starts a child, opens an application and ends it.
func BenchmarkOpen(b *testing.B) {
	k, err := exec.New(b.Context(), self(b, "liar", "good"))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		r, err := k.OpenReader(b.Context(), config())
		if err != nil {
			b.Fatal(err)
		}
		if err := r.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
