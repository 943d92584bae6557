package audit

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/schemas"
)

// AsOf returns the access that the records show at an instant (inclusive), sorted by application and item: what was
// verified or adopted and not found missing since, and what a complete read showed beside it. It is judged by the last
// complete reads before the instant, which the answer names. application narrows it; "" is all.
func AsOf(ctx context.Context, l *ledger.Ledger, t time.Time, application string) (schemas.AuditEntitlements, error) {
	out := schemas.AuditEntitlements{APIVersion: schemas.APIVersion, Kind: "AuditEntitlements", AsOf: t.UTC(), Entitlements: []schemas.AuditEntitlement{}}
	w, documents := newWorld(), map[string]schemas.DocumentID{}
	// Records are precise to the microsecond, and a filter's end is exclusive.
	end := t.UTC().Truncate(time.Microsecond).Add(time.Microsecond)
	err := l.Records(ctx, ledger.Filter{Until: end}, func(r schemas.Record) error {
		noteDocuments(documents, &r)
		w.take(&r)
		return nil
	})
	if err == nil {
		out.Entitlements, err = w.entitlements(documents, application)
	}
	if err != nil {
		return out, fmt.Errorf("entitlements as of %s: %w", t.UTC().Format(time.RFC3339), err)
	}
	out.Reads = w.lastReads(application)
	return out, nil
}

// noteDocuments remembers the documents that tokens may name.
func noteDocuments(documents map[string]schemas.DocumentID, r *schemas.Record) {
	if r.Type == schemas.RecordAdmission && r.Admission.Verdict.Admits() {
		for _, q := range r.Admission.Requests {
			documents[markOf(q.Document)] = q.Document
		}
	}
	for i := range r.Planned {
		for _, d := range r.Planned[i].Documents {
			documents[markOf(d)] = d
		}
	}
	if r.Operation != nil {
		for _, d := range r.Operation.Documents {
			documents[markOf(d)] = d
		}
	}
}

// entitlements lists what is in place.
func (w *world) entitlements(documents map[string]schemas.DocumentID, application string) ([]schemas.AuditEntitlement, error) {
	places := make([]place, 0, len(w.items)+len(w.extras))
	for p := range w.items {
		if w.live(p) {
			places = append(places, p)
		}
	}
	for p := range w.extras {
		places = append(places, p)
	}
	slices.SortFunc(places, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.application, b.application), cmp.Compare(a.item, b.item))
	})
	out := make([]schemas.AuditEntitlement, 0, len(places))
	for _, p := range places {
		if application != "" && p.application != application {
			continue
		}
		e := schemas.AuditEntitlement{Application: p.application, Origin: schemas.OriginUnmanaged, Requests: []schemas.DocumentID{}}
		if h := w.items[p]; h != nil {
			e.NativeID, e.Made, e.Since, e.Sequence, e.Source = h.NativeID, h.Made, h.since, h.sequence, h.source
			for _, m := range marks(h.Token) {
				if d, ok := documents[m]; ok {
					e.Origin = schemas.OriginRequest
					e.Requests = append(e.Requests, d)
				}
			}
			if w.changed[p] != nil {
				e.Sighting = schemas.SightingChanged
			}
		} else {
			x := w.extras[p]
			e.NativeID, e.Since, e.Sequence, e.Source, e.Sighting, e.Foreign = x.NativeID, x.since, x.sequence, schemas.SourceRead, x.Kind, x.Foreign
		}
		if err := nameEntitlement(&e, p.item); err != nil {
			return nil, fmt.Errorf("record %d: %w", e.Sequence, err)
		}
		slices.SortFunc(e.Requests, func(a, b schemas.DocumentID) int {
			return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Index, b.Index), cmp.Compare(a.Blob, b.Blob))
		})
		out = append(out, e)
	}
	return out, nil
}

// nameEntitlement takes a baseline's item apart: c, p or e, and names, joined by a character that no name holds.
func nameEntitlement(e *schemas.AuditEntitlement, item string) error {
	parts := strings.Split(item, separatorOfItems)
	switch {
	case parts[0] == "e" && len(parts) == 6:
		e.Kind, e.Target, e.Privilege = schemas.AuditItemEntitlement, &schemas.Name{Type: parts[3], SourceName: parts[4]}, parts[5]
	case parts[0] == "c" && len(parts) == 3:
		e.Kind = schemas.AuditItemConnection
	case parts[0] == "p" && len(parts) == 3:
		e.Kind = schemas.AuditItemPayload
	default:
		return fmt.Errorf("the item %q is of an unknown kind", item)
	}
	e.Connection = schemas.Name{Type: parts[1], SourceName: parts[2]}
	return nil
}

// itemOf is the baseline's item of an entitlement.
func itemOf(k schemas.Key) string {
	return strings.Join([]string{"e", k.Connection.Type, k.Connection.SourceName, k.Target.Type, k.Target.SourceName, k.Privilege}, separatorOfItems)
}

// markOf is how a token of the baseline names a document.
func markOf(d schemas.DocumentID) string {
	sum := sha256.Sum256([]byte(d.Path + separatorOfItems + strconv.Itoa(d.Index) + separatorOfItems + d.Blob))
	return hex.EncodeToString(sum[:8])
}
