package history_test

import (
	"context"
	"fmt"
	"path"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/countersign/countersign/reconciler/history"
	"github.com/countersign/countersign/reconciler/history/historytest"
)

// controls is a filter like the reconciler's: the settings, people and three folders.
type controls struct{}

func (controls) Dir(p string) bool {
	top, _, _ := strings.Cut(p, "/")
	return top == "requests" || top == "applications" || top == "policy"
}

func (c controls) File(p string) bool {
	return p == "countersign.yaml" || p == "people.yaml" || c.Dir(p) && (path.Ext(p) == ".yaml" || !strings.Contains(p, "/"))
}

func BenchmarkWalk(b *testing.B) {
	for _, size := range []struct {
		merges, requests int
		layout           historytest.Layout
	}{{1000, 1, historytest.Day}, {10_000, 1, historytest.Day}, {10_000, 1, historytest.Month}, {1000, 100, historytest.Day}} {
		b.Run(fmt.Sprintf("merges=%d/requests=%d/%s", size.merges, size.merges*size.requests, size.layout), func(b *testing.B) {
			dir := historytest.Synthetic(b, size.merges, size.requests, size.layout)
			for _, with := range []string{"changes", "commits", "blobs"} {
				b.Run(with, func(b *testing.B) {
					b.ReportAllocs()
					before := cpu(b)
					for b.Loop() {
						walkAll(b, dir, size.merges*size.requests, with)
					}
					b.ReportMetric(float64((cpu(b)-before).Milliseconds())/float64(b.N), "cpu-ms/op")
				})
			}
		})
	}
}

// cpu is the time that this process had: on a shared machine it says more than the clock.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func walkAll(b *testing.B, dir string, want int, with string) {
	ctx := context.Background()
	r, err := history.Open(dir)
	if err != nil {
		b.Fatal(err)
	}
	to, err := r.Resolve("main")
	if err != nil {
		b.Fatal(err)
	}
	got := 0
	err = r.Walk(ctx, "", to, controls{}, func(c *history.Commit) error {
		for _, x := range c.Changes {
			if strings.HasPrefix(x.Path, "requests/") {
				got++
			}
			if with == "blobs" {
				if _, err := r.Blob(x.After.Blob, 1<<20); err != nil {
					return err
				}
			}
		}
		if with != "commits" {
			return nil
		}
		merged, err := r.MergedCommits(ctx, c)
		if err == nil && len(merged) != 1 {
			return fmt.Errorf("%d commits merged", len(merged))
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	if got != want {
		b.Fatalf("%d changes, want %d", got, want)
	}
}
