package plan

import (
	"slices"

	"github.com/countersign/countersign/schemas"
)

// event is one version of a document as the fold of one connection sees it.
type event struct {
	doc      *Document
	version  *Version
	standing bool
	ids      []schemas.DocumentID // the document's id as a list of one, made when it is asked for
}

func (e *event) request() *schemas.Request { return e.version.Request }

func (e *event) id() schemas.DocumentID { return e.doc.id(e.version) }

func (e *event) list() []schemas.DocumentID {
	if e.ids == nil {
		e.ids = []schemas.DocumentID{e.id()}
	}
	return e.ids[:1:1]
}

func (e *event) before(o *event) bool { return e.doc.Place.Compare(o.doc.Place) < 0 }

// group is every version of every document about one connection, in merge order.
type group struct {
	name   schemas.Name
	events []event
	life   life
}

// life is the present life of a connection, as its creations and deletions tell.
type life struct {
	end      int    // the index of the event that ended the life before, -1 when none did
	opening  *event // the creation that opened the present life; nil when nothing did
	creation *event // the latest standing creation of the present life; nil when none is in force
	reverted bool   // creations of the present life were undone
	undone   int    // the commit that removed the last of them, 0 when one is in force or it is unknown
}

// groupEvents sorts every version of every document by connection, then by merge order; the former
// versions of a document come before the current one.
func groupEvents(docs []*Document) []group {
	count := func(d *Document, fn func(*Version, bool)) {
		for _, v := range d.Former {
			if v != nil && v.Request != nil && v.Request.Kind.IsRequest() {
				fn(v, false)
			}
		}
		if v := d.Current; v != nil && v.Request != nil && v.Request.Kind.IsRequest() {
			fn(v, true)
		}
	}
	index := make(map[schemas.Name]int, len(docs)/2)
	var groups []group
	var sizes []int
	var at []int // the group of each event, in the order of visit
	for _, d := range docs {
		count(d, func(v *Version, _ bool) {
			n := v.connection()
			i, ok := index[n]
			if !ok {
				i = len(groups)
				index[n] = i
				groups = append(groups, group{name: n})
				sizes = append(sizes, 0)
			}
			sizes[i]++
			at = append(at, i)
		})
	}
	events := make([]event, len(at))
	start := 0
	for i := range groups {
		groups[i].events = events[start : start : start+sizes[i]]
		start += sizes[i]
	}
	next := 0
	for _, d := range docs {
		count(d, func(v *Version, standing bool) {
			g := &groups[at[next]]
			g.events = append(g.events, event{doc: d, version: v, standing: standing})
			next++
		})
	}
	order := func(a, b event) int { return a.doc.Place.Compare(b.doc.Place) }
	for i := range groups {
		if e := groups[i].events; !slices.IsSortedFunc(e, order) {
			slices.SortStableFunc(e, order) // stable: versions keep their order
		}
	}
	byName := func(a, b group) int { return a.name.Compare(b.name) }
	if !slices.IsSortedFunc(groups, byName) {
		slices.SortFunc(groups, byName)
	}
	return groups
}

// find returns the event of a document in force.
func (g *group) find(id schemas.DocumentID) *event {
	return &g.events[slices.IndexFunc(g.events, func(e event) bool { return e.standing && e.id() == id })]
}

func standingCreations(present []event, last *event) []schemas.DocumentID {
	var out []schemas.DocumentID
	for i := range present {
		e := &present[i]
		if !e.standing || !Opens(e.request().Kind) {
			continue
		}
		if e == last && out == nil {
			return e.list()
		}
		out = append(out, e.id())
	}
	return out
}

// laterLife reports whether a creation was in force when the deletion was undone.
func laterLife(later []event, deletion *event) bool {
	until := deletion.version.Until
	return until > 0 && slices.ContainsFunc(later, func(e event) bool {
		return Opens(e.request().Kind) && e.doc.Place.Commit < until &&
			(e.standing || e.version.Until > until)
	})
}

// appendID adds the event's document, unless it is the last one already.
func appendID(list []schemas.DocumentID, e *event) []schemas.DocumentID {
	if list == nil {
		return e.list()
	}
	if id := e.id(); list[len(list)-1] != id {
		return append(list, id)
	}
	return list
}
