package audit

import (
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/schemas"
)

// place is one item of an application.
type place struct{ application, item string }

// connection is one side of an entitlement.
type connection struct {
	application string
	name        schemas.Name
}

// holding is an item that the records show in place, as requests want it.
type holding struct {
	schemas.BaselineItem
	since    time.Time
	sequence int64
	source   schemas.AuditSource
}

// sighting is an open difference between live and approved access.
type sighting struct {
	schemas.Sighting
	since    time.Time
	sequence int64
}

// lapse is an item that is wanted and was found missing.
type lapse struct {
	since time.Time
	// seen means that an observation has it. One that only a run's plan shows ends with the first plan without it.
	seen bool
	run  string
}

// world is what the records show of the applications at one place in the ledger.
type world struct {
	tokens  map[place]string // the last verified statement, also of items that are to be absent
	items   map[place]*holding
	missing map[place]*lapse
	extras  map[place]*sighting // unmanaged and returned
	changed map[place]*sighting
	sides   map[connection]map[place]bool
	reads   map[string]schemas.AuditRead
	failing map[string][]schemas.Finding // by application: why requests can't be carried out
	// gone and back are told of items that were found missing, and that are there again without an operation of ours.
	gone, back func(p place, at time.Time)
}

func newWorld() *world {
	nothing := func(place, time.Time) {}
	return &world{tokens: map[place]string{}, items: map[place]*holding{}, missing: map[place]*lapse{}, extras: map[place]*sighting{}, changed: map[place]*sighting{},
		sides: map[connection]map[place]bool{}, reads: map[string]schemas.AuditRead{}, failing: map[string][]schemas.Finding{}, gone: nothing, back: nothing}
}

// take moves on by one record.
func (w *world) take(r *schemas.Record) {
	switch r.Type {
	case schemas.RecordHeld, schemas.RecordIntent:
		for i := range r.Planned {
			w.planned(r, &r.Planned[i])
		}
	case schemas.RecordVerification:
		w.baseline(r, schemas.SourceOperation)
		if o := r.Operation; o.Kind == schemas.OperationDelete && inEffect(r.Verification.Status) {
			w.deleted(connection{r.Application, o.Connection})
		}
	case schemas.RecordAdoption:
		w.baseline(r, schemas.SourceAdoption)
	case schemas.RecordObservation:
		w.observed(r)
	case schemas.RecordRunEnd:
		if r.RunInfo.Counts[countIncomplete] == 0 {
			w.ended(r)
		}
	}
}

// countIncomplete is the count that a run's end has when it did not read everything.
const countIncomplete = "incomplete"

func inEffect(v schemas.VerificationState) bool {
	return v == schemas.VerificationVerified || v == schemas.VerificationAttested
}

// planned notes what a plan shows: what it grants again was verified before and is missing.
func (w *world) planned(r *schemas.Record, o *schemas.Operation) {
	if o.Kind != schemas.OperationGrant && o.Kind != schemas.OperationCreate {
		return
	}
	p := place{r.Application, operationItem(o)}
	if w.items[p] == nil {
		return
	}
	if l := w.missing[p]; l != nil {
		l.run = r.Run
		return
	}
	w.missing[p] = &lapse{since: r.Time, run: r.Run}
	w.gone(p, r.Time)
}

// baseline takes in what a read-back or an adoption establishes.
func (w *world) baseline(r *schemas.Record, source schemas.AuditSource) {
	for _, b := range r.Baseline {
		p := place{r.Application, b.Item}
		w.tokens[p] = b.Token
		if !isPresent(b.Token) {
			delete(w.missing, p)
			w.drop(p)
			if c, ok := connectionOf(b.Item); ok && strings.HasPrefix(b.Token, "absent") {
				w.deleted(connection{r.Application, c})
			}
			continue
		}
		h := w.items[p]
		if h == nil || w.missing[p] != nil || source == schemas.SourceOperation {
			h = &holding{since: r.Time, sequence: r.Sequence, source: source}
			if x := w.extras[p]; x != nil { // it was live before, by hand
				h.since, h.sequence = x.since, x.sequence
			}
		}
		h.BaselineItem = b
		delete(w.missing, p)
		delete(w.extras, p)
		w.put(p, h)
	}
}

func (w *world) put(p place, h *holding) {
	w.items[p] = h
	w.join(p)
}

// join files an entitlement under the connections on both its sides.
func (w *world) join(p place) {
	for _, n := range sidesOf(p.item) {
		c := connection{p.application, n}
		if w.sides[c] == nil {
			w.sides[c] = map[place]bool{}
		}
		w.sides[c][p] = true
	}
}

func (w *world) drop(p place) {
	delete(w.items, p)
	delete(w.extras, p)
	delete(w.changed, p)
	for _, n := range sidesOf(p.item) {
		delete(w.sides[connection{p.application, n}], p)
	}
}

// deleted removes a connection with everything that it has and that it is given to.
func (w *world) deleted(c connection) {
	for p := range w.sides[c] {
		delete(w.missing, p)
		delete(w.tokens, p)
		w.drop(p)
	}
	delete(w.sides, c)
	for _, kind := range []string{"c", "p"} {
		p := place{c.application, strings.Join([]string{kind, c.name.Type, c.name.SourceName}, separatorOfItems)}
		delete(w.missing, p)
		w.drop(p)
	}
}

func (w *world) observed(r *schemas.Record) {
	o := r.Observation
	for _, s := range o.Closed {
		p := place{r.Application, s.Item}
		switch s.Kind {
		case schemas.SightingMissing:
			if w.missing[p] != nil {
				delete(w.missing, p)
				w.back(p, o.ReadAt)
				if h := w.items[p]; h != nil {
					h.since, h.sequence = o.ReadAt, r.Sequence
				}
			}
		case schemas.SightingChanged:
			delete(w.changed, p)
		default:
			if w.extras[p] != nil {
				delete(w.extras, p)
			}
		}
	}
	for _, s := range o.Opened {
		p, seen := place{r.Application, s.Item}, &sighting{s, o.ReadAt, r.Sequence}
		switch s.Kind {
		case schemas.SightingMissing:
			if l := w.missing[p]; l != nil {
				l.seen = true
				continue
			}
			w.missing[p] = &lapse{since: o.ReadAt, seen: true}
			w.gone(p, o.ReadAt)
		case schemas.SightingChanged:
			w.changed[p] = seen
		default:
			if w.items[p] == nil {
				w.extras[p] = seen
				w.join(p)
			}
		}
	}
	w.failing[r.Application] = o.Findings
	w.reads[r.Application] = schemas.AuditRead{Application: r.Application, At: o.ReadAt, Sequence: r.Sequence, NotRead: append([]schemas.NotRead{}, o.NotRead...),
		UnmanagedIgnored: o.Unmanaged == schemas.UnmanagedIgnore}
}

// ended notes a run that read everything: what its plan did not list is not missing.
func (w *world) ended(r *schemas.Record) {
	for p, l := range w.missing {
		if p.application == r.Application && !l.seen && l.run != r.Run {
			delete(w.missing, p)
			w.back(p, r.Time)
			if h := w.items[p]; h != nil {
				h.since, h.sequence = r.Time, r.Sequence
			}
		}
	}
	read := w.reads[r.Application]
	if read.NotRead == nil {
		read.NotRead = []schemas.NotRead{}
	}
	read.Application, read.At, read.Sequence = r.Application, r.Time, r.Sequence
	w.reads[r.Application] = read
}

// live reports whether the records show an item in place.
func (w *world) live(p place) bool { return w.items[p] != nil && w.missing[p] == nil }

func (w *world) lastReads(application string) []schemas.AuditRead {
	out := []schemas.AuditRead{}
	for _, name := range sortedKeys(w.reads) {
		if application == "" || name == application {
			out = append(out, w.reads[name])
		}
	}
	return out
}

// separatorOfItems joins the parts of an item: no name holds it.
const separatorOfItems = "\x1f"

func isPresent(token string) bool { return strings.HasPrefix(token, "present") }

// sidesOf are the connection and the target of an entitlement; none for other items.
func sidesOf(item string) []schemas.Name {
	p := strings.Split(item, separatorOfItems)
	if len(p) != 6 || p[0] != "e" {
		return nil
	}
	return []schemas.Name{{Type: p[1], SourceName: p[2]}, {Type: p[3], SourceName: p[4]}}
}

// connectionOf is the connection whose existence an item is about.
func connectionOf(item string) (schemas.Name, bool) {
	p := strings.Split(item, separatorOfItems)
	if len(p) != 3 || p[0] != "c" {
		return schemas.Name{}, false
	}
	return schemas.Name{Type: p[1], SourceName: p[2]}, true
}

// operationItem is the item that an operation changes, by the names in the requests.
func operationItem(o *schemas.Operation) string {
	k := o.Key()
	if o.WrittenConnection != nil {
		k.Connection = *o.WrittenConnection
	}
	if o.WrittenTarget != nil {
		k.Target = *o.WrittenTarget
	}
	switch o.Kind {
	case schemas.OperationGrant, schemas.OperationRevoke:
		return itemOf(k)
	case schemas.OperationUpdate:
		return strings.Join([]string{"p", o.Connection.Type, o.Connection.SourceName}, separatorOfItems)
	}
	return strings.Join([]string{"c", k.Connection.Type, k.Connection.SourceName}, separatorOfItems)
}

// words are a token's word and the marks of its documents.
func words(token string) (word string, marks []string) {
	word, rest, _ := strings.Cut(token, ":")
	if rest == "" {
		return word, nil
	}
	return word, strings.Split(rest, ",")
}

// marks are the documents that a token of the baseline names where something is there: a word,
// a colon, and for each document the first eight bytes of its mark.
func marks(token string) []string {
	word, list := words(token)
	if word != "present" {
		return nil
	}
	return list
}

// added are the documents that a token names and the one before it does not.
func added(before, after string) []string {
	_, old := words(before)
	_, list := words(after)
	return slices.DeleteFunc(slices.Clone(list), func(m string) bool { return slices.Contains(old, m) })
}
