package report

import (
	"slices"

	"github.com/countersign/countersign/reconciler/report/layout"
	"github.com/countersign/countersign/schemas"
)

// termKind is how a grant's period changes.
type termKind uint8

const (
	termScheduled termKind = iota
	termExtended
	termShortened
	termMoved
	termCancelled
)

// termWords names the kinds, alone and counted.
var termWords = [...]struct{ verb, one, many literal }{
	termScheduled: {"schedule", "scheduled grant", "scheduled grants"},
	termExtended:  {"extend", "extended grant", "extended grants"},
	termShortened: {"shorten", "shortened grant", "shortened grants"},
	termMoved:     {"reschedule", "rescheduled grant", "rescheduled grants"},
	termCancelled: {"cancel", "cancelled grant", "cancelled grants"},
}

func kindOfTerm(t *schemas.TermChange) termKind {
	covered := func(by, list []schemas.Window) bool {
		return !slices.ContainsFunc(list, func(w schemas.Window) bool {
			return !slices.ContainsFunc(by, func(b schemas.Window) bool { return covers(b, w) })
		})
	}
	switch {
	case len(t.Before) == 0:
		return termScheduled
	case len(t.After) == 0:
		return termCancelled
	case covered(t.After, t.Before):
		return termExtended
	case covered(t.Before, t.After):
		return termShortened
	}
	return termMoved
}

// covers reports whether the window a contains all of b.
func covers(a, b schemas.Window) bool {
	return (a.Starts == nil || b.Starts != nil && !b.Starts.Before(*a.Starts)) &&
		(a.Expires == nil || b.Expires != nil && !b.Expires.After(*a.Expires))
}

// termCounts is "1 scheduled grant, 2 extended grants", or nothing.
func termCounts(terms []schemas.TermChange) line {
	n := map[termKind]int{}
	for i := range terms {
		n[kindOfTerm(&terms[i])]++
	}
	var parts []line
	for k, w := range termWords {
		if c := n[termKind(k)]; c > 0 {
			parts = append(parts, plural(c, w.one, w.many))
		}
	}
	return join(", ", parts...)
}

// terms is the table of the grants of an application that begin later, or begin or end at other times than before:
// the privileged ones first.
func (b *builder) terms(application string, all []schemas.TermChange) []block {
	var list []*schemas.TermChange
	for i := range all {
		if all[i].Application == application {
			list = append(list, &all[i])
		}
	}
	if len(list) == 0 {
		return nil
	}
	slices.SortStableFunc(list, func(x, y *schemas.TermChange) int {
		switch {
		case x.Privileged == y.Privileged:
			return 0
		case x.Privileged:
			return -1
		}
		return 1
	})
	t := table{Head: []literal{"Change", "Risk", "Connection", "What", "When"}, More: "Effect"}
	for i, c := range list {
		if i >= b.rows && !b.everyone {
			b.lacking.terms++
			continue
		}
		kind := kindOfTerm(c)
		r := row{Mark: layout.MarkChange, Cells: []line{say("{}", termWords[kind].verb), nil, b.of(c.Connection), b.what(c.Privilege, c.Target), nil}}
		if c.Privileged {
			r.Cells[1] = say("privileged").In(bad)
		}
		switch kind {
		case termScheduled:
			r.Cells[4] = windows(c.After)
			if !b.markdown { // listed by person
				r.More = b.bound(b.effect(c.Gained, "will gain", "will gain", "will become a member", "will become members", good))
			}
		case termCancelled:
			r.Cells[4] = say("no longer {}", windows(c.Before))
		default:
			r.Cells[4] = say("{} → {}", windows(c.Before), windows(c.After))
			if ends(c.Before) && ends(c.After) {
				r.Cells[4] = say("until {} → {}", instant(*c.Before[0].Expires), instant(*c.After[0].Expires))
			}
			if kind != termShortened && !b.markdown {
				r.More = b.bound(b.effect(c.Gained, "keeps", "keep", "stays a member", "stay members", good))
			}
		}
		if len(c.Documents) > 0 {
			var docs []line
			for _, d := range c.Documents {
				docs = append(docs, source(d))
			}
			r.More = append(r.More, say("requested in {}", layout.List(docs, b.names)).In(faint))
		}
		t.Rows = append(t.Rows, r)
	}
	out := []block{t}
	if n := len(list) - len(t.Rows); n > 0 {
		out = append(out, para(more(n, "changes of a start or an end")))
	}
	return out
}

// ends reports whether the windows are one that is open and has an end.
func ends(list []schemas.Window) bool {
	return len(list) == 1 && list[0].Starts == nil && list[0].Expires != nil
}

// orNever is windows, where there may be none.
func orNever(list []schemas.Window) line {
	if len(list) == 0 {
		return say("never")
	}
	return windows(list)
}

// windows is "until 2026-12-07" or "from 2026-12-07 until 2027-01-31".
func windows(list []schemas.Window) line {
	var parts []line
	for _, w := range list {
		switch {
		case w.Starts == nil && w.Expires == nil:
			parts = append(parts, say("no end"))
		case w.Starts == nil:
			parts = append(parts, say("until {}", instant(*w.Expires)))
		case w.Expires == nil:
			parts = append(parts, say("from {}", instant(*w.Starts)))
		default:
			parts = append(parts, say("from {} until {}", instant(*w.Starts), instant(*w.Expires)))
		}
	}
	return layout.List(parts, 0)
}
