package plan

import (
	"cmp"
	"slices"
	"time"

	"github.com/countersign/countersign/schemas"
)

// terms lists the entitlements that both states want at different times, and those that begin later in one of them. A
// grant that begins now, with or without an end, and a revoke are operations and not listed. operations are those of
// the change, for who gains.
func terms(was, app *schemas.Application, types types, before, after *Desired, operations []schemas.Operation) []schemas.TermChange {
	if !bounded(before) && !bounded(after) {
		return nil
	}
	changes := map[schemas.Key]*schemas.TermChange{}
	add := func(app *schemas.Application, d *Desired, into func(*schemas.TermChange) *[]schemas.Window) {
		if app == nil {
			return
		}
		for _, c := range d.Connections {
			if !InScope(app, c.Name) {
				continue
			}
			for _, list := range [][]Entitlement{c.Entitlements, c.Scheduled} {
				for _, e := range list {
					if target := types.get(c.Type).target(e.Target.Type); target == nil || !Grantable(app, *target, e.Target) {
						continue
					}
					k := schemas.Key{Connection: c.Name, Target: e.Target, Privilege: e.Privilege}
					t := changes[k]
					if t == nil {
						t = &schemas.TermChange{Application: app.Name, Key: k}
						changes[k] = t
					}
					w := into(t)
					*w = append(*w, schemas.Window{Starts: e.Starts, Expires: e.Expires})
					if d == after && len(t.After) == 1 {
						t.Documents = nil // of what is no longer wanted, until now
					}
					for _, id := range e.Documents {
						if !slices.Contains(t.Documents, id) {
							t.Documents = append(t.Documents, id)
						}
					}
				}
			}
		}
	}
	add(was, before, func(t *schemas.TermChange) *[]schemas.Window { return &t.Before })
	add(app, after, func(t *schemas.TermChange) *[]schemas.Window { return &t.After })
	var out []schemas.TermChange
	for k, t := range changes {
		t.Before, t.After = joined(t.Before), joined(t.After)
		if slices.EqualFunc(t.Before, t.After, sameWindow) || begins(t.Before, t.After) || begins(t.After, t.Before) {
			continue
		}
		for i := range operations {
			if o := &operations[i]; o.Kind == schemas.OperationGrant && o.Key() == k {
				t.Gained, t.Privileged = o.Gained, o.Privileged
			}
		}
		out = append(out, *t)
	}
	slices.SortFunc(out, func(a, b schemas.TermChange) int { return a.Key.Compare(b.Key) })
	return out
}

// begins reports whether b is a single window that is open now, and a none.
func begins(a, b []schemas.Window) bool { return len(a) == 0 && len(b) == 1 && b[0].Starts == nil }

func sameWindow(a, b schemas.Window) bool { return contains(a, b) && contains(b, a) }

// joined sorts windows, and joins those that touch.
func joined(list []schemas.Window) []schemas.Window {
	slices.SortFunc(list, func(a, b schemas.Window) int {
		return cmp.Or(compareInstant(a.Starts, b.Starts, -1), compareInstant(a.Expires, b.Expires, 1))
	})
	var out []schemas.Window
	for _, w := range list {
		if n := len(out) - 1; n >= 0 && (out[n].Expires == nil || w.Starts == nil || !w.Starts.After(*out[n].Expires)) {
			if compareInstant(w.Expires, out[n].Expires, 1) > 0 {
				out[n].Expires = w.Expires
			}
			continue
		}
		out = append(out, w)
	}
	return out
}

// compareInstant compares instants; one that is nil is open, and compares as open does with any other.
func compareInstant(a, b *time.Time, open int) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return open
	case b == nil:
		return -open
	}
	return a.Compare(*b)
}
