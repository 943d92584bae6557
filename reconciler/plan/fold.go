package plan

import (
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/schemas"
)

// The fold's decisions about an entitlement, by the statements in its connection's documents in merge order.
// G is a grant, R a revoke, C a creation and D a deletion; a stroke (G̶) marks what was undone.
//
//	documents              the instant               desired   otherwise
//	G                      any                       yes
//	G G                    any                       yes       both documents grant it
//	G̶ G                    any                       yes       a reference is left
//	G̶                      any                       no        tombstone, undo
//	G R                    any                       no        tombstone, request
//	G G R                  any                       no        tombstone, request: a revoke beats them all
//	G R̶                    any                       yes       undoing a revoke brings the grant back
//	R̶                      any                       no        nothing: access that was not ours is not recreated
//	G R G                  any                       yes       the latest word
//	G until t              before t, from t          yes, no   tombstone, expiry
//	G, G until t           from t                    yes       a temporary grant takes no permanent one away
//	G from t               before t, from t          no, yes   scheduled
//	G, G from t            before t                  yes       a future start suspends nothing
//	G D                    any                       no        the connection is deleted, with all that it has
//	G D C                  any                       no        tombstone, request: a new life begins empty
//	G D C G                any                       yes
//	G D̶                    any                       yes       undoing a deletion reopens the life
//	G D C D̶                any                       no        unless a later life exists: a finding
//	D G                    any                       no        a finding: no life to grant in
//	G D(target)            any                       no        tombstone, request: edges end on both sides
//
// And of the connection itself:
//
//	documents              existence
//	G                      unspecified: it is for others to make and to end
//	C                      present
//	C C                    present, with the later payload
//	C C̶                    present, with the earlier payload; the opening keeps its place
//	C̶                      undone: it goes if we made it
//	C̶ G                    unspecified, and a finding: it is in use
//	C D                    deleted
//	C D C                  present
//	C D C̶                  deleted, Reverted: what undoing left of a later life goes by the earlier deletion

// Folder accumulates documents. Adding a prefix and then the rest is the same as adding all.
// The zero Folder is empty and ready.
type Folder struct {
	docs []*Document
}

// Add takes further documents of one application, in any order. The Folder keeps them; they must not
// change afterwards.
func (f *Folder) Add(docs ...*Document) { f.docs = append(f.docs, docs...) }

// Fold returns what the documents want at the instant now. They are those of one application: a version that
// is about another one must have been left out. The description gives the privileges that an entry without
// any means and which targets are connections. Whatever decodes folds.
func Fold(docs []*Document, description schemas.Description, now time.Time) *Desired {
	f := Folder{docs: docs}
	return f.Fold(description, now)
}

// Fold is the fold of everything added so far.
func (f *Folder) Fold(description schemas.Description, now time.Time) *Desired {
	out, _ := f.fold(description, now)
	return out
}

// fold is Fold. entangled reports whether one connection's statements decide about another: a membership was written in
// several ways, or a creation was undone, and what others hold of the connection tells whether it goes.
func (f *Folder) fold(description schemas.Description, now time.Time) (_ *Desired, entangled bool) {
	x := folding{now: now, types: newTypes(description)}
	groups := groupEvents(f.docs)
	for i := range groups {
		g := &groups[i]
		x.live(g)
		if g.life.end >= 0 {
			if x.ended == nil {
				x.ended = map[schemas.Name]*group{}
			}
			x.ended[g.name] = g
		}
	}
	out := &Desired{Connections: make([]*Connection, 0, len(groups))}
	undone := map[schemas.Name]*Connection{}
	for i := range groups {
		c := x.connection(&groups[i])
		if c.Existence == Undone {
			undone[c.Name] = c
		}
		out.Connections = append(out.Connections, c)
	}
	x.inUse(out.Connections, groups, undone)
	x.contain(out.Connections, groups)
	entangled = x.oneSpelling(out.Connections, groups) || len(undone) > 0
	slices.SortStableFunc(x.findings, func(a, b placedFinding) int {
		if c := a.place.Compare(b.place); c != 0 {
			return c
		}
		if c := strings.Compare(a.finding.Code, b.finding.Code); c != 0 {
			return c
		}
		return strings.Compare(a.finding.Message, b.finding.Message)
	})
	for i, f := range x.findings {
		if i == 0 || f != x.findings[i-1] {
			out.Findings = append(out.Findings, f.finding)
		}
	}
	out.Next = x.next
	return out, entangled
}

type placedFinding struct {
	place   schemas.Place
	finding schemas.Finding
}

type folding struct {
	now   time.Time
	types types
	// ended has the connections of which a life has ended: it ends edges on both sides.
	ended      map[schemas.Name]*group
	next       time.Time
	findings   []placedFinding
	statements []statement // scratch of entitlements
}

func (x *folding) find(e *event, code, message, fix string) {
	x.findings = append(x.findings, placedFinding{e.doc.Place, schemas.Finding{
		Code: code, Severity: schemas.SeverityError, Message: message, Fix: fix,
		Document: e.id(), Connection: e.version.connection(), Application: e.request().Application,
	}})
}

// instant notes that the answer changes at t, when that lies ahead.
func (x *folding) instant(t *time.Time) {
	if t != nil && t.After(x.now) && (x.next.IsZero() || t.Before(x.next)) {
		x.next = *t
	}
}

// live finds the present life of a connection.
func (x *folding) live(g *group) {
	g.life.end = -1
	for i := len(g.events) - 1; i >= 0; i-- {
		e := &g.events[i]
		if !Ends(e.request().Kind) {
			continue
		}
		if e.standing {
			g.life.end = i
			break
		}
		if laterLife(g.events[i+1:], e) {
			g.life.end = i
			x.find(e, "later-life", "undoing the deletion of "+g.name.String()+" has no effect: it was recreated before that",
				"delete it with a new ConnectionDeletion, and request what you want of it")
			break
		}
	}
	last := -1 // the latest commit at which a creation of this life was removed; -1 while one is in force
	for i := g.life.end + 1; i < len(g.events); i++ {
		e := &g.events[i]
		if !Opens(e.request().Kind) {
			continue
		}
		// The opening keeps its place while any creation is in force, and a rename removes and adds in one commit.
		if g.life.opening == nil || (last >= 0 && e.doc.Place.Commit > last) {
			g.life.opening, last = e, 0
		}
		switch {
		case e.standing:
			g.life.creation, last = e, -1
		case e.version.Until == 0:
			g.life.reverted, last = true, -1
		default:
			g.life.reverted = true
			if last >= 0 {
				last = max(last, e.version.Until)
			}
		}
	}
	g.life.undone = max(last, 0)
}

func (x *folding) connection(g *group) *Connection {
	c := &Connection{Name: g.name}
	present := g.events[g.life.end+1:]
	var end *event
	if g.life.end >= 0 {
		end = &g.events[g.life.end]
	}
	switch {
	case g.life.creation != nil:
		e := g.life.creation
		r := e.request()
		c.Existence, c.Payload, c.SourceID, c.Provisioning = Present, r.Payload, r.Connection.SourceID, r.Provisioning
		c.Documents = standingCreations(present, e)
	case end != nil:
		r := end.request()
		c.Existence, c.ReassignTo, c.SourceID, c.Provisioning = Deleted, r.ReassignTo, r.Connection.SourceID, r.Provisioning
		c.Documents, c.Reverted = end.list(), g.life.reverted
		for i := range present {
			if e := &present[i]; e.standing && Assigns(e.request().Kind) {
				x.find(e, "no-life", "assigns to "+g.name.String()+", which "+end.doc.Place.Path+" deleted",
					"recreate it with a ConnectionCreation first, or remove this assignment")
			}
		}
		return c
	case g.life.opening != nil:
		c.Existence, c.Documents = Undone, g.life.opening.list()
	}
	x.twice(present)
	if used := x.entitlements(c, g); used != nil && c.Existence == Undone {
		// An assignment that came after the undoing is for a connection that exists all the same.
		if g.life.undone == 0 || used.doc.Place.Commit <= g.life.undone {
			x.find(used, "undone-in-use", inUse(c), inUseFix)
		}
		c.Existence, c.Documents = Unspecified, nil
	}
	return c
}

const inUseFix = "remove this assignment too, or delete the connection with a ConnectionDeletion"

func inUse(c *Connection) string {
	return "uses " + c.String() + ", whose creation in " + c.Documents[0].Path + " is undone"
}

// inUse is for connections whose creations are undone while others hold them. The preview refuses that, and
// a merge that did so all the same deletes nothing.
func (x *folding) inUse(all []*Connection, groups []group, undone map[schemas.Name]*Connection) {
	if len(undone) == 0 {
		return
	}
	kept := map[*Connection]bool{}
	for i, c := range all {
		for _, list := range [][]Entitlement{c.Entitlements, c.Scheduled} {
			for j := range list {
				u := undone[list[j].Target]
				if u == nil || u.Existence != Undone || c == u {
					continue
				}
				kept[u] = true
				// c and its group are at the same place, and so is u and its own.
				at, _ := slices.BinarySearchFunc(groups, u.Name, func(g group, n schemas.Name) int { return g.name.Compare(n) })
				e := groups[i].find(list[j].Documents[0])
				if last := groups[at].life.undone; last == 0 || e.doc.Place.Commit <= last {
					x.find(e, "undone-in-use", inUse(u), inUseFix)
				}
			}
		}
	}
	for u := range kept {
		u.Existence, u.Documents = Unspecified, nil
	}
}

// revokesGranted reports whether a request revokes what another one grants.
func revokesGranted(a, b *schemas.Request) bool {
	return slices.ContainsFunc(a.Revokes, func(r schemas.Entry) bool {
		return slices.ContainsFunc(b.Grants, func(g schemas.Entry) bool { return g.Name() == r.Name() })
	})
}

// twice finds duplicate documents under different paths with nothing in between that would give the
// second a meaning of its own.
func (x *folding) twice(present []event) {
	for i := 1; i < len(present); i++ {
		e := &present[i]
		if !e.standing || e.version.Blob == "" {
			continue
		}
		// A copy is usually near its original; looking further would cost the square of the documents.
		for j := i - 1; j >= max(0, i-64); j-- {
			o := &present[j]
			if !o.standing {
				continue
			}
			if o.version.Blob == e.version.Blob && o.doc.Place.Index == e.doc.Place.Index && o.doc.Place.Path != e.doc.Place.Path {
				x.find(e, CodeTwice, "is the same document as "+o.doc.Place.Path, "remove one of them")
				break
			}
			if revokesGranted(o.request(), e.request()) {
				break
			}
		}
	}
}
