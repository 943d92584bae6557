package run

import (
	"context"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/gofrs/flock"

	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/schemas"
)

// Observation is what a complete read of one application showed beside what was verified.
type Observation struct {
	Application string
	// Head is the last record of the ledger when the read began.
	Head    int64
	Header  schemas.ObservationRecord
	Current []schemas.Sighting
	// unread reports whether an item could not be read, so that nothing is known of it.
	unread func(item string) bool
}

// observation compares a read with what was verified. It is nil where the read was not complete, and where nothing can
// be read.
func (a *application) observation(ctx context.Context, seen *plan.Result) (*Observation, error) {
	if seen.Plan.Incomplete != "" || seen.Shrunken || a.live == nil || a.live.attested != nil {
		return nil, nil
	}
	baseline := map[string]schemas.BaselineItem{}
	missing := func(f schemas.Finding) bool { return f.Code == noConnection }
	if len(seen.Plan.Operations) > 0 || slices.ContainsFunc(seen.Plan.Findings, missing) {
		err := a.base.Ledger.AllBaseline(ctx, a.app.Name, func(b schemas.BaselineItem) error {
			baseline[b.Item] = b
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("read what was verified of %s: %w", a.app.Name, err)
		}
	}
	unmanaged := a.app.Spec.Unmanaged
	if unmanaged == "" {
		unmanaged = schemas.UnmanagedReport
	}
	out := &Observation{Application: a.app.Name, Head: a.head, Current: sightings(seen, baseline, &a.live.state),
		Header: schemas.ObservationRecord{ReadAt: a.readAt, NotRead: seen.Plan.NotRead, Unmanaged: unmanaged}}
	for _, f := range seen.Plan.Findings {
		if f.Severity == schemas.SeverityError && f.Document.Path != "" && len(out.Header.Findings) < maxFindings {
			f.Position = schemas.Position{} // edits of other documents move it
			out.Header.Findings = append(out.Header.Findings, f)
		}
	}
	state := a.live.state
	if len(state.Unread) > 0 {
		out.unread = func(item string) bool {
			k, ok := keyOf(item)
			return ok && plan.Unread(state, &schemas.Operation{Kind: schemas.OperationGrant, Connection: k.Connection, Target: &k.Target, Privilege: k.Privilege})
		}
	}
	return out, nil
}

// noConnection is the finding about a connection that requests grant to and that is not there.
const noConnection = "no-connection"

// maxFindings is how many findings one observation keeps.
const maxFindings = 200

// sightings lists the differences between a complete read and the baseline, sorted. Operations that bring about what
// was never verified are not among them: these are pending.
//
//	operation                  baseline   sighting
//	grant, create              present    missing
//	update                     present    changed
//	revoke, delete             present    none: it is still there, and its removal is pending
//	revoke, delete             absent     returned
//	revoke, delete             none       unmanaged
//	unmanaged access           any        unmanaged
//	the connection is missing  present    missing, for each entitlement of it
func sightings(seen *plan.Result, baseline map[string]schemas.BaselineItem, state *schemas.State) []schemas.Sighting {
	found := map[[2]string]schemas.Sighting{}
	add := func(s schemas.Sighting) { found[[2]string{string(s.Kind), s.Item}] = s }
	var details map[string]schemas.Entitlement
	if len(seen.Plan.Operations) > 0 || len(seen.Plan.Unmanaged) > 0 {
		details = liveDetails(state)
	}
	for i := range seen.Plan.Operations {
		o := &seen.Plan.Operations[i]
		item := plan.OperationItem(o)
		base, known := baseline[item]
		present := strings.HasPrefix(base.Token, "present")
		s := schemas.Sighting{Item: item, NativeID: o.TargetID, Documents: o.Documents}
		switch o.Kind {
		case schemas.OperationGrant, schemas.OperationCreate:
			if present {
				s.Kind, s.NativeID = schemas.SightingMissing, base.NativeID
				add(s)
			}
		case schemas.OperationUpdate:
			if present {
				s.Kind, s.NativeID = schemas.SightingChanged, o.NativeID
				add(s)
			}
		case schemas.OperationRevoke, schemas.OperationDelete:
			if present || strings.HasPrefix(base.Token, "foreign") || o.Cause == schemas.CauseUnmanaged {
				continue
			}
			s.Kind = schemas.SightingReturned
			if !known {
				s.Kind = schemas.SightingUnmanaged
			}
			if s.Item = plan.ConnectionItem(o.Connection); o.Kind == schemas.OperationRevoke {
				s.Item = plan.EntitlementItem(o.Key()) // by the name that it has today
				s.Foreign = details[s.Item].Foreign
			} else {
				s.NativeID = o.NativeID
			}
			add(s)
		}
	}
	for _, k := range seen.Plan.Unmanaged {
		item := plan.EntitlementItem(k)
		e := details[item]
		add(schemas.Sighting{Kind: schemas.SightingUnmanaged, Item: item, NativeID: e.TargetID, Foreign: e.Foreign})
	}
	gone := map[schemas.Name]bool{}
	for _, f := range seen.Plan.Findings {
		if f.Code == noConnection {
			gone[f.Connection] = true
		}
	}
	if len(gone) > 0 {
		for item, b := range baseline {
			if k, ok := keyOf(item); ok && gone[k.Connection] && strings.HasPrefix(b.Token, "present") {
				add(schemas.Sighting{Kind: schemas.SightingMissing, Item: item, NativeID: b.NativeID})
			}
		}
	}
	out := make([]schemas.Sighting, 0, len(found))
	for _, s := range found {
		out = append(out, s)
	}
	slices.SortFunc(out, bySighting)
	return out
}

func bySighting(a, b schemas.Sighting) int {
	if c := strings.Compare(string(a.Kind), string(b.Kind)); c != 0 {
		return c
	}
	return strings.Compare(a.Item, b.Item)
}

// liveDetails are the live entitlements by item.
func liveDetails(state *schemas.State) map[string]schemas.Entitlement {
	out := map[string]schemas.Entitlement{}
	for i := range state.Connections {
		c := &state.Connections[i]
		if c.Foreign {
			continue // it was read because nesting leads to it
		}
		for _, e := range c.Entitlements {
			item := plan.EntitlementItem(schemas.Key{Connection: c.Name, Target: e.Target, Privilege: e.Privilege})
			e.Foreign = e.Foreign || e.State == schemas.StateUnresolved
			out[item] = e
		}
	}
	return out
}

// keyOf is the entitlement that an item is about; false for a connection and its payload.
func keyOf(item string) (schemas.Key, bool) {
	p := strings.Split(item, "\x1f")
	if len(p) != 6 || p[0] != "e" {
		return schemas.Key{}, false
	}
	return schemas.Key{Connection: schemas.Name{Type: p[1], SourceName: p[2]}, Target: schemas.Name{Type: p[3], SourceName: p[4]}, Privilege: p[5]}, true
}

// records returns what the ledger doesn't have of an observation yet; none where nothing changed.
func (o *Observation) records(ctx context.Context, l *ledger.Ledger) ([]schemas.Record, error) {
	before, known, err := l.LastObservation(ctx, o.Application)
	if err != nil {
		return nil, err
	}
	open, err := l.Sightings(ctx, o.Application)
	if err != nil {
		return nil, err
	}
	was, is := map[[2]string]bool{}, map[[2]string]bool{}
	id := func(s *schemas.Sighting) [2]string { return [2]string{string(s.Kind), s.Item} }
	for i := range o.Current {
		is[id(&o.Current[i])] = true
	}
	var opened, closed []schemas.Sighting
	for i := range open {
		s := &open[i].Sighting
		was[id(s)] = true
		if !is[id(s)] && (o.unread == nil || !o.unread(s.Item)) {
			closed = append(closed, *s)
		}
	}
	for i := range o.Current {
		if !was[id(&o.Current[i])] {
			opened = append(opened, o.Current[i])
		}
	}
	if known && len(opened) == 0 && len(closed) == 0 && before.Unmanaged == o.Header.Unmanaged &&
		sameOrEmpty(before.NotRead, o.Header.NotRead) && sameOrEmpty(before.Findings, o.Header.Findings) {
		return nil, nil
	}
	var out []schemas.Record
	for first := true; first || len(opened) > 0 || len(closed) > 0; first = false {
		part := o.Header
		n, m := min(len(opened), chunk), min(len(closed), chunk)
		part.Opened, part.Closed = opened[:n], closed[:m]
		opened, closed = opened[n:], closed[m:]
		out = append(out, schemas.Record{Type: schemas.RecordObservation, Application: o.Application, Observation: &part})
	}
	return out, nil
}

func sameOrEmpty[T any](a, b []T) bool { return len(a) == 0 && len(b) == 0 || reflect.DeepEqual(a, b) }

// observe records what the last read of this run showed, if that is new.
func (a *application) observe(ctx context.Context, seen *plan.Result) error {
	o, err := a.observation(ctx, seen)
	if err != nil || o == nil {
		return err
	}
	records, err := o.records(ctx, a.base.Ledger)
	if err != nil {
		return err
	}
	return a.append(ctx, records...)
}

// Unrecorded returns the observations that differ from what the ledger has.
func (r *Runner) Unrecorded(ctx context.Context, l *ledger.Ledger, list []Observation) ([]Observation, error) {
	var out []Observation
	for i := range list {
		records, err := list[i].records(ctx, l)
		if err != nil {
			return nil, err
		}
		if len(records) > 0 {
			out = append(out, list[i])
		}
	}
	return out, nil
}

// RecordObservations adds to the ledger what read-only passes saw. It leaves out an application that another run
// works on or has worked on since: that run records what it saw itself.
func (r *Runner) RecordObservations(ctx context.Context, l *ledger.Ledger, list []Observation) error {
	for i := range list {
		if err := r.recordObservation(ctx, l, &list[i]); err != nil {
			return fmt.Errorf("record what was read of %s: %w", list[i].Application, err)
		}
	}
	return nil
}

func (r *Runner) recordObservation(ctx context.Context, l *ledger.Ledger, o *Observation) (err error) {
	if o.Head == 0 {
		return nil // nothing is on record yet, and a look begins no ledger
	}
	lock := flock.New(filepath.Join(r.config.State, "leases", o.Application+".lock"))
	if ok, err := lock.TryLock(); err != nil || !ok {
		return nil //nolint:nilerr // no folder of leases means that no run ever wrote here
	}
	defer func() {
		if free := lock.Unlock(); err == nil {
			err = free
		}
	}()
	later := false
	err = l.Records(ctx, ledger.Filter{Application: o.Application, FromSequence: o.Head + 1}, func(schemas.Record) error {
		later = true
		return nil
	})
	if err != nil || later {
		return err
	}
	records, err := o.records(ctx, l)
	if err != nil || len(records) == 0 {
		return err
	}
	_, err = l.Append(ctx, records...)
	return err
}
