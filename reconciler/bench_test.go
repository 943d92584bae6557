package reconciler_test

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/countersign/countersign/connectors/all"
	"github.com/countersign/countersign/connectors/connectortest/servers"
	"github.com/countersign/countersign/reconciler"
	"github.com/countersign/countersign/reconciler/history"
	"github.com/countersign/countersign/reconciler/history/historytest"
)

// The benchmarks are whole passes over synthetic repositories: N requests, each with a role, a membership of
// a user and a privilege on a table. What a figure is bound by stands beside it.
var sizes = []int{1000, 10_000, 100_000}

// open makes a reconciler with a state folder of its own.
func open(b *testing.B, repo, state string) *reconciler.Reconciler {
	b.Helper()
	r, err := history.Open(repo)
	if err != nil {
		b.Fatal(err)
	}
	registry, err := all.Registry()
	if err != nil {
		b.Fatal(err)
	}
	rec, err := reconciler.New(reconciler.Config{Repository: r, State: state, Connectors: registry, Version: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := rec.Close(); err != nil {
			b.Error(err)
		}
		if err := r.Close(); err != nil {
			b.Error(err)
		}
	})
	return rec
}

// measure times fn and reports the processor time beside the clock's: on a shared machine it says more.
func measure(b *testing.B, fn func()) {
	b.Helper()
	b.ReportAllocs()
	before := processorTime(b)
	for b.Loop() {
		fn()
	}
	b.ReportMetric(float64((processorTime(b)-before).Milliseconds())/float64(b.N), "cpu-ms/op")
}

func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// pull puts a branch with one more request beside main.
func pull(b *testing.B, repo string) {
	b.Helper()
	r := historytest.Reopen(b, repo)
	blob := r.GitInput(strings.ReplaceAll(historytest.SyntheticRequest(0), "r00000", "r_new"), "hash-object", "-w", "--stdin")
	r.Git("read-tree", "main")
	r.Git("update-index", "--add", "--cacheinfo", "100644,"+blob+",requests/new.yaml")
	tree := r.Git("write-tree")
	r.Git("update-ref", "refs/heads/new", r.CommitTree(tree, "Ask for more", r.Git("rev-parse", "main")))
}

func preview(b *testing.B, r *reconciler.Reconciler) {
	p, err := r.Preview(b.Context(), reconciler.PreviewOptions{Base: "main", Head: "new", Blind: true})
	if err != nil || p.Verdict != "sign-off" || len(p.Quarantined) != 0 || len(p.Gained) == 0 {
		b.Fatalf("%v: %+v", err, p)
	}
}

// BenchmarkPreviewCold judges every merge of the branch, and then the change: bound by the rules' evaluation,
// the YAML parser and Git.
func BenchmarkPreviewCold(b *testing.B) {
	for _, n := range sizes {
		// Above 10,000 a merge brings 100 requests.
		merges := min(n, 10_000)
		if n > merges {
			merges = n / 100
		}
		b.Run(fmt.Sprintf("requests=%d/merges=%d", n, merges), func(b *testing.B) {
			repo := historytest.Synthetic(b, merges, n/merges, historytest.Day)
			pull(b, repo)
			measure(b, func() { preview(b, open(b, repo, b.TempDir())) })
		})
	}
}

// BenchmarkPreviewColdHub is BenchmarkPreviewCold where every role is a member of one, by a merge each.
func BenchmarkPreviewColdHub(b *testing.B) {
	for _, n := range sizes[:2] {
		b.Run(fmt.Sprintf("requests=%d", n), func(b *testing.B) {
			repo := historytest.SyntheticOf(b, n, 1, historytest.Day, historytest.HubRequest)
			pull(b, repo)
			measure(b, func() { preview(b, open(b, repo, b.TempDir())) })
		})
	}
}

// BenchmarkPreviewWarm previews one new request where all merges were judged before: it should not depend on
// how many there are.
func BenchmarkPreviewWarm(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprintf("requests=%d", n), func(b *testing.B) {
			repo, state := historytest.Synthetic(b, n/100, 100, historytest.Day), b.TempDir()
			pull(b, repo)
			preview(b, open(b, repo, state))
			measure(b, func() { preview(b, open(b, repo, state)) })
		})
	}
}

// warehouse starts the server that the synthetic requests are for.
func warehouse(b *testing.B) {
	b.Helper()
	pg := servers.PostgreSQL(b)
	pg.Exec(b, "postgres", "CREATE DATABASE warehouse")
	var sql []string
	for i := range 100 {
		sql = append(sql, fmt.Sprintf("CREATE SCHEMA s%02[1]d; CREATE TABLE s%02[1]d.t%02[1]d (id int); CREATE ROLE u%02[1]d LOGIN", i))
	}
	pg.Exec(b, "warehouse", sql...)
	b.Setenv("WAREHOUSE_PLAN_DSN", pg.DSN("admin", "warehouse"))
	b.Setenv("WAREHOUSE_APPLY_DSN", pg.DSN("admin", "warehouse"))
}

func runOnce(b *testing.B, r *reconciler.Reconciler, o reconciler.RunOptions, operations int) {
	o.To = "main"
	report, err := r.RunOnce(b.Context(), o)
	if err != nil || len(report.Applications) != 1 {
		b.Fatalf("%v: %+v", err, report)
	}
	out := report.Applications[0]
	if out.Error != "" || len(out.Outcomes) != operations || out.Remaining != 0 {
		b.Fatalf("%s: %d operations carried out (want %d), %d remain", out.Error, len(out.Outcomes), operations, out.Remaining)
	}
}

// BenchmarkApplyFirst carries out everything that was ever asked for, where all merges were judged before:
// bound by the server and by the ledger, which has three records of each operation.
func BenchmarkApplyFirst(b *testing.B) {
	for _, n := range slices.Clip(sizes[:2]) {
		b.Run(fmt.Sprintf("requests=%d", n), func(b *testing.B) {
			repo := historytest.Synthetic(b, n/100, 100, historytest.Day)
			pull(b, repo)
			b.ReportAllocs()
			var took time.Duration
			for b.Loop() {
				b.StopTimer()
				state := b.TempDir()
				warehouse(b)
				r := open(b, repo, state)
				preview(b, r)
				before := processorTime(b)
				b.StartTimer()
				runOnce(b, r, reconciler.RunOptions{}, 3*n)
				took += processorTime(b) - before
			}
			b.ReportMetric(float64(took.Milliseconds())/float64(b.N), "cpu-ms/op")
		})
	}
}

// BenchmarkDrift reads and compares where nothing is to be done: bound by decoding the requests and by the
// server's catalogue.
func BenchmarkDrift(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprintf("requests=%d", n), func(b *testing.B) {
			repo, state := historytest.Synthetic(b, n/100, 100, historytest.Day), b.TempDir()
			warehouse(b)
			runOnce(b, open(b, repo, state), reconciler.RunOptions{}, 3*n)
			measure(b, func() { runOnce(b, open(b, repo, state), reconciler.RunOptions{Drift: true}, 0) })
		})
	}
}
