package reconciler

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/countersign/countersign/schemas"
)

// seenFile is a cache in the state folder: the requests that the last drift report found changed, by application. A
// report writes nothing to the ledger, and status must not call verified what a later read showed otherwise. A run that
// writes drops it: from then on the ledger has it.
const seenFile = "seen.json"

// seenApplication is what the last drift report found of an application.
type seenApplication struct {
	At      time.Time            `json:"at"`
	Changed []schemas.DocumentID `json:"changed"`
}

// lastSeen reads the cache. One that is missing or damaged is empty.
func (r *Reconciler) lastSeen() map[string]seenApplication {
	out := map[string]seenApplication{}
	b, err := os.ReadFile(filepath.Join(r.config.State, seenFile))
	if err != nil || json.Unmarshal(b, &out) != nil {
		return map[string]seenApplication{}
	}
	return out
}

// remember keeps what a pass found: a read-only one the requests that it found changed, another nothing.
func (r *Reconciler) remember(report *schemas.RunReport, readOnly bool) error {
	seen := r.lastSeen()
	changed := false
	for i := range report.Applications {
		a := &report.Applications[i]
		if a.Error != "" || a.Plan.Incomplete != "" {
			continue // nothing is known of it
		}
		var docs []schemas.DocumentID
		if readOnly {
			docs = changedDocuments(&a.Plan)
		}
		_, had := seen[a.Application]
		switch {
		case len(docs) > 0:
			seen[a.Application] = seenApplication{report.At, docs}
		case had:
			delete(seen, a.Application)
		default:
			continue
		}
		changed = true
	}
	if !changed {
		return nil
	}
	b, err := json.Marshal(seen)
	if err != nil {
		return fmt.Errorf("remember what was read: %w", err)
	}
	f, err := os.CreateTemp(r.config.State, seenFile+".*")
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) {
		return nil // a reader without a place of its own
	}
	if err != nil {
		return fmt.Errorf("remember what was read: %w", err)
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(r.config.State, seenFile))
	}
	if err != nil {
		return fmt.Errorf("remember what was read: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}

func changedDocuments(p *schemas.ApplicationPlan) []schemas.DocumentID {
	var out []schemas.DocumentID
	known := map[schemas.DocumentID]bool{}
	add := func(d schemas.DocumentID) {
		if d.Path != "" && !known[d] {
			known[d] = true
			out = append(out, d)
		}
	}
	for i := range p.Operations {
		for _, d := range p.Operations[i].Documents {
			add(d)
		}
	}
	for _, f := range p.Findings {
		if f.Severity == schemas.SeverityError {
			add(f.Document)
		}
	}
	return out
}
