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

// AsOf returns the access that the records show at an instant (inclusive), sorted by application and item.
// Access that no request ever mentioned is in no record, and so not here: only a read of the application
// shows it.
func AsOf(ctx context.Context, l *ledger.Ledger, t time.Time) ([]schemas.AuditEntitlement, error) {
	type place struct{ application, item string }
	type seen struct {
		schemas.BaselineItem
		time     time.Time
		sequence int64
	}
	items := map[place]seen{}
	documents := map[string]schemas.DocumentID{}
	// Records are precise to the microsecond, and a filter's end is exclusive.
	end := t.UTC().Truncate(time.Microsecond).Add(time.Microsecond)
	err := l.Records(ctx, ledger.Filter{Until: end}, func(r schemas.Record) error {
		if r.Type == schemas.RecordAdmission && admits(r.Admission.Verdict) {
			for _, q := range r.Admission.Requests {
				documents[markOf(q.Document)] = q.Document
			}
		}
		for _, o := range slices.Concat(r.Planned, operationOf(&r)) {
			for _, d := range o.Documents {
				documents[markOf(d)] = d
			}
		}
		for _, b := range r.Baseline {
			p := place{r.Application, b.Item}
			switch was, ok := items[p]; {
			case !strings.HasPrefix(b.Token, "present"):
				delete(items, p)
			case ok && was.Token == b.Token && was.NativeID == b.NativeID:
				// Seen again.
			default:
				items[p] = seen{b, r.Time, r.Sequence}
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("entitlements as of %s: %w", t.UTC().Format(time.RFC3339), err)
	}
	places := make([]place, 0, len(items))
	for p := range items {
		places = append(places, p)
	}
	slices.SortFunc(places, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.application, b.application), cmp.Compare(a.item, b.item))
	})
	out := make([]schemas.AuditEntitlement, 0, len(places))
	for _, p := range places {
		s := items[p]
		e := schemas.AuditEntitlement{Application: p.application, NativeID: s.NativeID, Made: s.Made, Since: s.time, Sequence: s.sequence, Origin: schemas.OriginUnmanaged, Requests: []schemas.DocumentID{}}
		if err := nameEntitlement(&e, p.item); err != nil {
			return nil, fmt.Errorf("record %d: %w", s.sequence, err)
		}
		for _, m := range marks(s.Token) {
			if d, ok := documents[m]; ok {
				e.Origin = schemas.OriginRequest
				e.Requests = append(e.Requests, d)
			}
		}
		slices.SortFunc(e.Requests, func(a, b schemas.DocumentID) int {
			return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Index, b.Index), cmp.Compare(a.Blob, b.Blob))
		})
		out = append(out, e)
	}
	return out, nil
}

func operationOf(r *schemas.Record) []schemas.Operation {
	if r.Operation == nil {
		return nil
	}
	return []schemas.Operation{*r.Operation}
}

// nameEntitlement takes a baseline's item apart: c, p or e, and names, joined by a character that no name holds.
func nameEntitlement(e *schemas.AuditEntitlement, item string) error {
	parts := strings.Split(item, "\x1f")
	switch {
	case parts[0] == "e" && len(parts) == 6:
		e.Kind, e.Target, e.Privilege = "entitlement", &schemas.Name{Type: parts[3], SourceName: parts[4]}, parts[5]
	case parts[0] == "c" && len(parts) == 3:
		e.Kind = "connection"
	case parts[0] == "p" && len(parts) == 3:
		e.Kind = "payload"
	default:
		return fmt.Errorf("the item %q is of an unknown kind", item)
	}
	e.Connection = schemas.Name{Type: parts[1], SourceName: parts[2]}
	return nil
}

// itemOf is the baseline's item of an entitlement.
func itemOf(k schemas.Key) string {
	return strings.Join([]string{"e", k.Connection.Type, k.Connection.SourceName, k.Target.Type, k.Target.SourceName, k.Privilege}, "\x1f")
}

// marks are the documents that a token of the baseline names where something is there: a word,
// a colon, and for each document the first eight bytes of its mark.
func marks(token string) []string {
	word, rest, ok := strings.Cut(token, ":")
	if !ok || word != "present" || rest == "" {
		return nil
	}
	return strings.Split(rest, ",")
}

// markOf is how a token of the baseline names a document.
func markOf(d schemas.DocumentID) string {
	sum := sha256.Sum256([]byte(d.Path + "\x1f" + strconv.Itoa(d.Index) + "\x1f" + d.Blob))
	return hex.EncodeToString(sum[:8])
}
