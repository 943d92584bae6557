package reconciler_test

import (
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/connectors/all"
	"github.com/countersign/countersign/reconciler"
	"github.com/countersign/countersign/reconciler/history"
	"github.com/countersign/countersign/reconciler/history/historytest"
	"github.com/countersign/countersign/reconciler/index"
)

// TestSlowJudgementIsKept looks at what another process would find of a judgement that takes long: one that is killed
// goes on from there.
func TestSlowJudgementIsKept(t *testing.T) {
	t.Parallel()
	repo, state := historytest.Synthetic(t, 220, 1, historytest.Day), t.TempDir()
	r, err := history.Open(repo)
	if err != nil {
		t.Fatal(err)
	}
	registry, err := all.Registry()
	if err != nil {
		t.Fatal(err)
	}
	var minutes atomic.Int64
	start, kept := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC), -1
	rec, err := reconciler.New(reconciler.Config{Repository: r, State: state, Connectors: registry, Version: "test",
		Now: func() time.Time { return start.Add(time.Duration(minutes.Load()) * time.Minute) },
		Progress: func(what string, done, _ int) {
			switch {
			case what != "judge merges":
			case done == 100:
				minutes.Add(1)
			case done == 200:
				x, err := index.Open(t.Context(), filepath.Join(state, "index.db"))
				if err != nil {
					t.Error(err)
					return
				}
				defer x.Close()
				kept = x.Head.Sequence
			}
		}})
	if err != nil {
		t.Fatal(err)
	}
	defer rec.Close()
	if _, err := rec.Preview(t.Context(), reconciler.PreviewOptions{Base: "main", Head: "main", Blind: true}); err != nil {
		t.Fatal(err)
	}
	if kept < 99 {
		t.Errorf("after 200 merges, %d of them are kept, want those of the first minute", kept)
	}
}
