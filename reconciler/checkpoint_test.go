package reconciler_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/connectors/all"
	"github.com/countersign/countersign/reconciler"
	"github.com/countersign/countersign/reconciler/history"
	"github.com/countersign/countersign/reconciler/history/historytest"
)

// A judgement of a long history that is killed goes on from where it last saved its verdicts, every twenty seconds.
func TestKilledJudgementResumes(t *testing.T) {
	t.Parallel()
	repo, state := historytest.Synthetic(t, 150, 1, historytest.Day), t.TempDir()
	registry, err := all.Registry()
	if err != nil {
		t.Fatal(err)
	}
	// A slow machine: every look at the clock is two seconds later.
	var looks atomic.Int64
	clock := func() time.Time {
		return time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(looks.Add(2)) * time.Second)
	}
	judged := 0
	judge := func(ctx context.Context, progress func()) error {
		judged = 0
		r, err := history.Open(repo)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		rec, err := reconciler.New(reconciler.Config{Repository: r, State: state, Connectors: registry, Version: "test", Now: clock, Progress: func(what string, done, _ int) {
			if strings.Contains(what, "judge") {
				judged = done
				progress()
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer rec.Close()
		_, err = rec.Preview(ctx, reconciler.PreviewOptions{Base: "main", Head: "main", Blind: true})
		return err
	}
	ctx, kill := context.WithCancel(t.Context())
	if err := judge(ctx, kill); !errors.Is(err, context.Canceled) || judged != 100 {
		t.Fatalf("killed after %d merges: %v", judged, err)
	}
	if err := judge(t.Context(), func() {}); err != nil || judged != 0 {
		t.Fatalf("%d merges or more are judged again after a hundred of 150 were: %v", judged, err)
	}
}
