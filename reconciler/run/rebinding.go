package run

import (
	"context"
	"fmt"
	"slices"

	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/schemas"
)

// rebinding is the Acknowledgement by which this run binds the names of a restored application to their new ids.
type rebinding struct {
	note  string // "" for none
	items []schemas.BaselineItem
}

// records are the use of the acknowledgement with what it makes of the baseline, written at once: a run that is cut short
// uses it up and binds, or does neither.
func (r rebinding) records() []schemas.Record {
	if r.note == "" {
		return nil
	}
	out := []schemas.Record{{Type: schemas.RecordAcknowledged, Note: r.note}}
	for part := range slices.Chunk(r.items, ledger.MaxPlanned) {
		out = append(out, schemas.Record{Type: schemas.RecordAcknowledged, Note: r.note, Baseline: part})
	}
	return out
}

// rebind plans again with the new ids where an admitted Acknowledgement names exactly them. Without one the operations
// stay held, and their reason names the way on.
func (a *application) rebind(ctx context.Context) error {
	list := a.result.Rebound
	if len(list) == 0 {
		return nil // not everything was read
	}
	want := schemas.Rebinding{Application: a.app.Name, Digest: plan.RebindingDigest(a.app.Name, list)}
	used, err := a.usedAcknowledgements(ctx, a.app.Name)
	if err != nil {
		return err
	}
	for _, c := range a.base.Controls {
		if c.Acknowledgement == nil || c.Acknowledgement.Rebind == nil || *c.Acknowledgement.Rebind != want {
			continue
		}
		note := fmt.Sprintf("rebind: %s#%d@%s", c.ID.Path, c.ID.Index, c.ID.Blob)
		if used[note] {
			continue
		}
		return a.bind(ctx, note, list)
	}
	way := fmt.Sprintf("after a restore of %s, its owners sign off an Acknowledgement with rebind: {application: %s, digest: %s}", a.app.Name, a.app.Name, want.Digest)
	for i := range a.result.Plan.Operations {
		if o := &a.result.Plan.Operations[i]; o.Hold == schemas.HoldIdentity && o.HoldExplained {
			o.HoldReason += "; or, " + way
		}
	}
	a.result.Plan.Findings = append(a.result.Plan.Findings, schemas.Finding{Code: "other-ids", Severity: schemas.SeverityError, Application: a.app.Name,
		Message: rebindingText(a.app.Name, list), Fix: way})
	return nil
}

// bind replaces what was remembered, and plans again.
func (a *application) bind(ctx context.Context, note string, list []plan.Rebound) error {
	items := make([]schemas.BaselineItem, len(list))
	byItem := make(map[string]schemas.BaselineItem, len(list))
	for i := range list {
		items[i] = list[i].BaselineItem
		byItem[items[i].Item] = items[i]
	}
	remembered := a.remembered
	a.remembered = func(item string) (schemas.BaselineItem, bool) {
		if b, ok := byItem[item]; ok {
			return b, true
		}
		return remembered(item)
	}
	a.rebound, a.input.Baseline = rebinding{note, items}, a.remembered
	var err error
	a.result, err = a.live.diff(ctx, a.input)
	return err
}

// rebindingText counts what an Acknowledgement would rebind.
func rebindingText(app string, list []plan.Rebound) string {
	other, gone := 0, 0
	for i := range list {
		switch r := &list[i]; {
		case r.Gone():
			gone++
		case r.NativeID != r.Was:
			other++
		}
	}
	text := fmt.Sprintf("the names behind %d entries that were verified in %s have other ids now", other, app)
	if gone > 0 {
		text += fmt.Sprintf(", and the names behind %d are gone", gone)
	}
	return text
}
