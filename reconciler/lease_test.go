package reconciler_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/casbin"
	"github.com/countersign/countersign/reconciler"
	"github.com/countersign/countersign/reconciler/history"
	"github.com/countersign/countersign/reconciler/history/historytest"
	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/schemas"
)

// A run that finds a later one over its application in the ledger writes nothing more.
func TestLaterRunTakesOver(t *testing.T) {
	t.Parallel()
	w := settled(t, nil)
	w.land(files{"requests/erin.yaml": assignment("authz", "sales_reader", grants(user("erin")))}, historytest.Bob())
	repo, err := history.Open(w.Dir)
	if err != nil {
		t.Fatal(err)
	}
	registry, err := connectors.NewRegistry(casbin.New())
	if err != nil {
		t.Fatal(err)
	}
	now := func() time.Time { return w.Now }
	var failed error
	r, err := reconciler.New(reconciler.Config{Repository: repo, State: w.state, Connectors: registry, Version: w.version, Now: now, Step: func(step string) {
		if step != "intent" {
			return
		}
		// As another process would, after this one was stopped for long.
		l, err := ledger.Open(t.Context(), ledger.Config{Path: reconciler.LedgerPath(w.state), Now: now})
		if err == nil {
			_, err = l.Append(t.Context(), schemas.Record{Type: schemas.RecordRun, Application: "authz", Run: "later", RunInfo: &schemas.RunRecord{}})
			err = errors.Join(err, l.Close())
		}
		failed = errors.Join(failed, err)
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	rep, err := r.RunOnce(t.Context(), reconciler.RunOptions{To: "main"})
	if err := errors.Join(err, failed); err != nil {
		t.Fatal(err)
	}
	if got := outcome(t, rep, "authz").Error; !strings.Contains(got, "later run has taken over") {
		t.Errorf("the error is %q", got)
	}
	w.wantHolds("authz", "sales_reader", "sales_reader read sales.orders")
}
