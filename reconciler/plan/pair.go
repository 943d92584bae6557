package plan

import (
	"slices"
	"time"

	"github.com/countersign/countersign/schemas"
)

// Pair folds the documents before a change and after it: unchanged are the documents of connections
// that the change leaves alone, before and after those of the others. It is Fold, twice, except that what
// is the same on both sides is mostly the same pointer, which spares Between to compare it, and that
// the second Next may be too early.
func Pair(unchanged, before, after []*Document, description schemas.Description, now time.Time) (first, second *Desired) {
	f := Folder{docs: slices.Concat(unchanged, before)}
	first, entangled := f.fold(description, now)
	if !entangled && len(first.Findings) == 0 && !deletes(unchanged) && !deletes(before) && !deletes(after) {
		f := Folder{docs: after}
		part, entangled := f.fold(description, now)
		if !entangled && !newTypes(description).meets(part.Connections, first.Connections) {
			return first, splice(first, part, before)
		}
	}
	return first, Fold(slices.Concat(unchanged, after), description, now)
}

// deletes reports whether any version of a document is a deletion, which ends edges of others.
func deletes(docs []*Document) bool {
	deletion := func(v *Version) bool {
		return v != nil && v.Request != nil && Ends(v.Request.Kind)
	}
	return slices.ContainsFunc(docs, func(d *Document) bool { return deletion(d.Current) || slices.ContainsFunc(d.Former, deletion) })
}

// splice puts the fold of the changed connections in the place of what was folded of them before.
func splice(first, part *Desired, before []*Document) *Desired {
	out := &Desired{Findings: part.Findings, Next: first.Next, Connections: make([]*Connection, 0, len(first.Connections)+len(part.Connections))}
	if out.Next.IsZero() || !part.Next.IsZero() && part.Next.Before(out.Next) {
		out.Next = part.Next
	}
	replaced := map[schemas.Name]bool{}
	for _, d := range before {
		for _, v := range append(slices.Clone(d.Former), d.Current) {
			if v != nil && v.Request != nil {
				replaced[v.connection()] = true
			}
		}
	}
	for _, c := range part.Connections {
		replaced[c.Name] = true
	}
	for _, c := range first.Connections {
		if !replaced[c.Name] {
			out.Connections = append(out.Connections, c)
		}
	}
	out.Connections = append(out.Connections, part.Connections...)
	slices.SortFunc(out.Connections, func(a, b *Connection) int { return a.Compare(b.Name) })
	return out
}
