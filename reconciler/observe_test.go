package reconciler_test

import (
	"slices"
	"testing"
	"time"

	"github.com/countersign/countersign/reconciler"
	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/schemas"
)

// A drift report records what somebody changed by hand once, when it appears, and once more when it ends. A dry run
// records nothing.
func TestDriftIsOnRecord(t *testing.T) {
	t.Parallel()
	w := settled(t, nil)
	before := w.content("authz")
	look := func(when string, records int, want ...schemas.SightingKind) {
		t.Helper()
		l, err := ledger.Open(t.Context(), ledger.Config{Path: reconciler.LedgerPath(w.state), ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}()
		open, err := l.Sightings(t.Context(), "authz")
		if err != nil {
			t.Fatal(err)
		}
		var got []schemas.SightingKind
		for _, s := range open {
			got = append(got, s.Kind)
		}
		n := 0
		err = l.Records(t.Context(), ledger.Filter{Types: []schemas.RecordType{schemas.RecordObservation}}, func(schemas.Record) error {
			n++
			return nil
		})
		if err != nil || n != records || !slices.Equal(got, want) {
			t.Errorf("%s: %v in %d records, %v; want %v in %d", when, got, n, err, want, records)
		}
	}
	look("after the first run", 1)
	w.overwrite("authz", before+"g, mallory, sales_reader\n")
	w.runWith(reconciler.RunOptions{Drift: true, DryRun: true})
	look("after a dry run", 1)
	for range 2 {
		w.later(time.Minute)
		w.runWith(reconciler.RunOptions{Drift: true})
		look("given by hand", 2, schemas.SightingUnmanaged)
	}
	w.overwrite("authz", before)
	w.run()
	look("taken by hand", 3)
	w.run()
	look("nothing changed", 3)
}
