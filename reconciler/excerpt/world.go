package excerpt

import (
	"cmp"
	"context"
	"iter"
	"reflect"
	"time"

	"github.com/countersign/countersign/reconciler/graph"
	"github.com/countersign/countersign/reconciler/ordered"
	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/schemas"
)

// Source has the documents of one application.
type Source interface {
	// Documents returns a connection's documents, in merge order.
	Documents(ctx context.Context, connection schemas.Name) ([]*plan.Document, error)
	// Mentioning returns the connections whose documents name a target. One too many costs a look.
	Mentioning(ctx context.Context, target schemas.Name) ([]schemas.Name, error)
}

// World is what the documents of an application want, as far as changes have asked about it.
type World struct {
	app  *schemas.Application
	now  time.Time
	desc *description
	// statements are the documents by connection and target. Creations and deletions have the target 0.
	statements ordered.Map[statement, *plan.Document]
	loaded     ordered.Map[number, loaded]
	edges      graph.Edges
	// due are the entries that begin or end later.
	due ordered.Map[due, struct{}]
}

// New returns a World that knows nothing yet.
func New(app *schemas.Application, desc schemas.Description, now time.Time) *World {
	return &World{app: app, now: now, desc: newDescription(desc)}
}

// Fits reports whether the world is that of an application at an instant: with another scope, other documents have an
// effect, and time never goes back.
func (w *World) Fits(app *schemas.Application, now time.Time) bool {
	return (w.app == app || reflect.DeepEqual(w.app.Spec, app.Spec)) && !now.Before(w.now)
}

// number is a name's number as a key.
type number graph.Node

func (a number) Compare(b number) int { return cmp.Compare(a, b) }

// loaded tells how much of a name was read.
type loaded struct {
	documents bool // its own documents
	up        bool // the edges of these, and everything that it is nested in
	below     bool // everything that is nested in it, and all that the identities there are in
	mentioned bool // the connections that name it, and everything that they are nested in
}

type statement struct {
	connection, target graph.Node
	place              schemas.Place
}

func (a statement) Compare(b statement) int {
	return cmp.Or(cmp.Compare(a.connection, b.connection), cmp.Compare(a.target, b.target), a.place.Compare(b.place))
}

// key is an entry: a connection with a target that its documents name.
type key struct{ connection, target graph.Node }

type due struct {
	at int64 // Unix nanoseconds
	key
}

func (a due) Compare(b due) int {
	return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.connection, b.connection), cmp.Compare(a.target, b.target))
}

// of iterates over the statements of a connection, from a target on.
func (w *World) of(connection, from graph.Node) iter.Seq2[statement, *plan.Document] {
	return func(yield func(statement, *plan.Document) bool) {
		for s, d := range w.statements.From(statement{connection: connection, target: from, place: schemas.Place{Commit: -1 << 62}}) {
			if s.connection != connection || !yield(s, d) {
				return
			}
		}
	}
}

// about iterates over the documents of a key, in merge order.
func (w *World) about(k key) iter.Seq[*plan.Document] {
	return func(yield func(*plan.Document) bool) {
		for s, d := range w.of(k.connection, k.target) {
			if s.target != k.target || !yield(d) {
				return
			}
		}
	}
}

// targets are those that a connection's documents name, sorted.
func (w *World) targets(connection graph.Node) []graph.Node {
	var out []graph.Node
	for s := range w.of(connection, 1) {
		if n := len(out); n == 0 || out[n-1] != s.target {
			out = append(out, s.target)
		}
	}
	return out
}

// versions calls fn with all versions of a document.
func versions(d *plan.Document, fn func(v *plan.Version, current bool)) {
	for _, v := range d.Former {
		if v != nil && v.Request != nil {
			fn(v, false)
		}
	}
	if d.Current != nil && d.Current.Request != nil {
		fn(d.Current, true)
	}
}

// set replaces a document by another at its place; nil is none.
func (w *World) set(connection graph.Node, was, is *plan.Document) {
	if was != nil {
		for _, t := range w.desc.namedBy(was) {
			w.statements = w.statements.Without(statement{connection, t, was.Place})
		}
	}
	if is != nil {
		for _, t := range w.desc.namedBy(is) {
			w.statements = w.statements.With(statement{connection, t, is.Place}, is)
		}
	}
}

// life is what the creations and deletions of a connection tell.
type life struct {
	any    bool // there are any
	ends   bool // there are deletions, in force or not
	undone bool // there are creations, none of them in force, and no deletions
}

func (w *World) life(connection graph.Node) (l life) {
	opened := false
	for d := range w.about(key{connection, 0}) {
		versions(d, func(v *plan.Version, current bool) {
			l.any = true
			l.ends = l.ends || plan.Ends(v.Request.Kind)
			if plan.Opens(v.Request.Kind) {
				opened = opened || current
				l.undone = true
			}
		})
	}
	l.undone = l.undone && !opened
	return l
}
