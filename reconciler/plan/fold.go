package plan

import (
	"slices"
	"time"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// Document is one admitted request document with its place in the merge order.
//
// Current is the version that stands, nil when the document was undone (its file or the document in it is
// gone). Former are admitted versions that stand no more: what they granted leaves tombstones. A path that
// was deleted and added again is two documents: the former undone, the latter at its new place.
type Document struct {
	Place   schemas.Place
	Current *Version
	Former  []*Version
}

// Version is the content of a document at one blob.
type Version struct {
	Blob    string
	Request *schemas.Request
}

func (d *Document) id(v *Version) schemas.DocumentID {
	return schemas.DocumentID{Path: d.Place.Path, Index: d.Place.Index, Blob: v.Blob}
}

// connection is the connection that the document is about; every version of a document counts for its own.
func (v *Version) connection() schemas.Name { return v.Request.Connection.Name() }

// Existence says what the requests want of a connection itself.
type Existence int

// The wishes about a connection's existence.
const (
	// Unspecified: only assignments speak of it. It is for others to make and to end.
	Unspecified Existence = iota
	// Present: a standing creation opened the present life.
	Present
	// Deleted: a standing deletion ended the last life.
	Deleted
	// Undone: there were creations, and none stands. It goes only if we made it.
	Undone
)

// Desired is what the requests want of one application at one instant.
type Desired struct {
	// Connections are sorted by name; only those that a request speaks of.
	Connections []*Connection
	// Findings are requests that make no sense, sorted by place.
	Findings []schemas.Finding
	// Next is the next instant at which a start or an expiry changes the answer; zero when none does.
	Next time.Time
}

// Connection is what the requests want of one connection.
type Connection struct {
	schemas.Name
	SourceID  string
	Existence Existence
	// Documents are those that decide about existence, in merge order: the standing creations, or the deletion.
	Documents []schemas.DocumentID
	// Payload is that of the latest standing creation, as written: without defaults, nulls included.
	Payload    map[string]any
	ReassignTo string
	// Provisioning is what the deciding request says; "" leaves it to the application.
	Provisioning schemas.Provisioning
	Entitlements []Entitlement // desired now; sorted by target, privilege
	Tombstones   []Tombstone   // to be taken away when present; sorted likewise, disjoint from Entitlements
}

// Entitlement is one desired entitlement of a connection.
type Entitlement struct {
	Target    schemas.Name
	TargetID  string
	Privilege string
	// Documents are the standing requests that grant it now, in merge order.
	Documents []schemas.DocumentID
	// Expires is when the last of them ends; nil when one has no end.
	Expires *time.Time
	// Started says that every one of them had a start.
	Started      bool
	Provisioning schemas.Provisioning
}

// Tombstone is an entitlement that was granted once, or is revoked, and is desired no more.
type Tombstone struct {
	Target    schemas.Name
	TargetID  string
	Privilege string
	// Cause is request (a revoke, or a deletion of the target), expiry or undo.
	Cause     schemas.Cause
	Documents []schemas.DocumentID
}

// Folder accumulates documents. Adding a prefix and then the rest is adding the whole.
// The zero Folder is empty and ready.
type Folder struct {
	docs []*Document
}

// Add takes further documents, in any order. The Folder keeps them; they must not change afterwards.
func (f *Folder) Add(docs ...*Document) { f.docs = append(f.docs, docs...) }

// Fold says what the documents want at the instant now. The description gives the privileges that an
// entry without any means and which targets are connections.
func Fold(docs []*Document, description connectors.Description, now time.Time) *Desired {
	f := Folder{}
	f.Add(docs...)
	return f.Fold(description, now)
}

// event is one version of a document as the fold of one connection sees it.
type event struct {
	doc      *Document
	version  *Version
	standing bool
}

// Fold is the fold of everything added so far.
func (f *Folder) Fold(description connectors.Description, now time.Time) *Desired {
	byName := make(map[schemas.Name][]event, len(f.docs))
	for _, d := range f.docs {
		if d.Current != nil {
			n := d.Current.connection()
			byName[n] = append(byName[n], event{d, d.Current, true})
		}
		for _, v := range d.Former {
			n := v.connection()
			byName[n] = append(byName[n], event{d, v, false})
		}
	}
	x := folding{now: now, description: description, deleted: map[schemas.Name]*event{}}
	names := make([]schemas.Name, 0, len(byName))
	for n, events := range byName {
		names = append(names, n)
		// Stable, so that the former versions of a document keep their order.
		slices.SortStableFunc(events, func(a, b event) int { return a.doc.Place.Compare(b.doc.Place) })
		for i := range events {
			e := &events[i]
			if e.standing && e.version.Request.Kind == schemas.KindConnectionDeletion {
				x.deleted[n] = e
			}
		}
	}
	slices.SortFunc(names, schemas.Name.Compare)
	out := &Desired{Connections: make([]*Connection, 0, len(names))}
	for _, n := range names {
		out.Connections = append(out.Connections, x.connection(n, byName[n]))
	}
	slices.SortStableFunc(x.findings, func(a, b placedFinding) int { return a.place.Compare(b.place) })
	for _, f := range x.findings {
		out.Findings = append(out.Findings, f.finding)
	}
	out.Next = x.next
	return out
}

type placedFinding struct {
	place   schemas.Place
	finding schemas.Finding
}

type folding struct {
	now         time.Time
	description connectors.Description
	// deleted has the latest standing deletion of each connection: it ends edges on both sides.
	deleted  map[schemas.Name]*event
	next     time.Time
	findings []placedFinding
}

func (x *folding) find(e *event, code, message, fix string) {
	x.findings = append(x.findings, placedFinding{e.doc.Place, schemas.Finding{
		Code: code, Severity: "error", Message: message, Fix: fix,
		Document: e.doc.id(e.version), Connection: e.version.connection(), Application: e.version.Request.Application,
	}})
}

// instant notes that the answer changes at t, when that lies ahead.
func (x *folding) instant(t *time.Time) {
	if t != nil && t.After(x.now) && (x.next.IsZero() || t.Before(x.next)) {
		x.next = *t
	}
}

func (x *folding) connection(name schemas.Name, events []event) *Connection {
	c := &Connection{Name: name}
	// The present life is what follows the latest standing deletion.
	end := x.deleted[name]
	life := events
	if end != nil {
		i := slices.IndexFunc(events, func(e event) bool { return e.doc == end.doc && e.standing })
		life = events[i+1:]
	}
	var opening *event // the earliest creation of this life, standing or not: it keeps the opening's place
	var creation *event
	for i := range life {
		e := &life[i]
		if e.version.Request.Kind != schemas.KindConnectionCreation {
			continue
		}
		if opening == nil {
			opening = e
		}
		if e.standing {
			creation = e
			c.Documents = append(c.Documents, e.doc.id(e.version))
		}
	}
	switch {
	case creation != nil:
		r := creation.version.Request
		c.Existence, c.Payload, c.SourceID, c.Provisioning = Present, r.Payload, r.Connection.SourceID, r.Provisioning
	case end != nil:
		r := end.version.Request
		c.Existence, c.ReassignTo, c.SourceID, c.Provisioning = Deleted, r.ReassignTo, r.Connection.SourceID, r.Provisioning
		c.Documents = []schemas.DocumentID{end.doc.id(end.version)}
	case opening != nil:
		c.Existence = Undone
		c.Documents = []schemas.DocumentID{opening.doc.id(opening.version)}
	}
	if creation == nil && end != nil {
		for i := range life {
			if e := &life[i]; e.standing && e.version.Request.Kind == schemas.KindConnectionAssignment {
				x.find(e, "no-life", "assigns to "+name.String()+", which "+end.doc.Place.Path+" deleted",
					"create it anew with a ConnectionCreation first, or remove this assignment")
			}
		}
		return c
	}
	x.entitlements(c, life, opening, end != nil)
	return c
}

// word is everything that the life says about one entitlement.
type word struct {
	target  schemas.Name
	id      string
	priv    string
	revoke  *event // the latest standing one
	granted bool   // by an admitted version whose start has come, standing or not
	undone  []schemas.DocumentID
	expired []schemas.DocumentID
	grants  []grant // standing, in merge order
}

type grant struct {
	event *event
	entry *schemas.Entry
}

type wordKey struct {
	target schemas.Name
	priv   string
}

func (x *folding) entitlements(c *Connection, life []event, opening *event, reopened bool) {
	typ, _ := x.description.Type(c.Type)
	words := map[wordKey]*word{}
	get := func(e *schemas.Entry, p string) *word {
		k := wordKey{e.Name(), p}
		w := words[k]
		if w == nil {
			w = &word{target: k.target, priv: p}
			words[k] = w
		}
		if e.SourceID != "" {
			w.id = e.SourceID
		}
		return w
	}
	for i := range life {
		e := &life[i]
		r := e.version.Request
		if r.Kind != schemas.KindConnectionAssignment {
			continue
		}
		// After a deletion nothing is assigned before the next creation opened a life.
		if reopened && e.doc.Place.Compare(opening.doc.Place) < 0 {
			if e.standing {
				x.find(e, "no-life", "assigns to "+c.String()+" before "+opening.doc.Place.Path+" created it anew",
					"repeat the assignment in a new request")
			}
			continue
		}
		for j := range r.Grants {
			g := &r.Grants[j]
			started := g.Window().Started(x.now)
			if e.standing {
				x.instant(g.Starts)
				x.instant(g.Expires)
			}
			for _, p := range Privileges(typ, *g, false) {
				w := get(g, p)
				w.granted = w.granted || started
				switch {
				case e.standing && started:
					w.grants = append(w.grants, grant{e, g})
				case !e.standing && started:
					w.undone = append(w.undone, e.doc.id(e.version))
				}
			}
		}
		if !e.standing {
			continue // an undone revoke says nothing
		}
		for j := range r.Revokes {
			g := &r.Revokes[j]
			for _, p := range Privileges(typ, *g, true) {
				get(g, p).revoke = e
			}
		}
	}
	for _, w := range words {
		x.decide(c, w)
	}
	slices.SortFunc(c.Entitlements, func(a, b Entitlement) int { return compareTarget(a.Target, a.Privilege, b.Target, b.Privilege) })
	slices.SortFunc(c.Tombstones, func(a, b Tombstone) int { return compareTarget(a.Target, a.Privilege, b.Target, b.Privilege) })
}

func compareTarget(a schemas.Name, pa string, b schemas.Name, pb string) int {
	return schemas.Key{Target: a, Privilege: pa}.Compare(schemas.Key{Target: b, Privilege: pb})
}

// decide holds the rule: desired when some started, unexpired, standing grant lies after the latest
// standing revoke of this life, and after the latest deletion of the target.
func (x *folding) decide(c *Connection, w *word) {
	gone := x.deleted[w.target]
	var live []grant
	var ended bool
	for _, g := range w.grants {
		switch {
		case w.revoke != nil && g.event.doc.Place.Compare(w.revoke.doc.Place) < 0:
		case gone != nil && g.event.doc.Place.Compare(gone.doc.Place) < 0:
			ended = true
		case g.entry.Window().Expired(x.now):
			w.expired = append(w.expired, g.event.doc.id(g.event.version))
		default:
			live = append(live, g)
		}
	}
	if len(live) > 0 {
		e := Entitlement{Target: w.target, TargetID: w.id, Privilege: w.priv, Started: true}
		endless := false
		for _, g := range live {
			e.Documents = append(e.Documents, g.event.doc.id(g.event.version))
			e.Started = e.Started && g.entry.Starts != nil
			e.Provisioning = g.event.version.Request.Provisioning
			switch {
			case g.entry.Expires == nil:
				endless = true
			case e.Expires == nil || g.entry.Expires.After(*e.Expires):
				e.Expires = g.entry.Expires
			}
		}
		if endless {
			e.Expires = nil
		}
		e.Documents = slices.Compact(e.Documents)
		c.Entitlements = append(c.Entitlements, e)
		return
	}
	t := Tombstone{Target: w.target, TargetID: w.id, Privilege: w.priv}
	switch {
	case w.revoke != nil:
		t.Cause, t.Documents = schemas.CauseRequest, []schemas.DocumentID{w.revoke.doc.id(w.revoke.version)}
	case ended:
		t.Cause, t.Documents = schemas.CauseRequest, []schemas.DocumentID{gone.doc.id(gone.version)}
	case len(w.expired) > 0:
		t.Cause, t.Documents = schemas.CauseExpiry, w.expired
	case len(w.undone) > 0:
		t.Cause, t.Documents = schemas.CauseUndo, w.undone
	default:
		return // a future start: nothing was ever in force
	}
	t.Documents = slices.Compact(t.Documents)
	c.Tombstones = append(c.Tombstones, t)
}

// Privileges are the single privileges that an entry speaks of: those named, or the type's default. For
// memberships ADMIN includes MEMBER, so granting ADMIN grants both and revoking MEMBER revokes both.
func Privileges(typ connectors.ConnectionType, e schemas.Entry, revoke bool) []string {
	list := e.Privileges
	target, known := typ.Target(e.Type)
	if len(list) == 0 {
		list = target.Default
		if !known {
			list = []string{schemas.PrivilegeMember} // the preview refuses it; the fold is total
		}
	}
	if known && target.Edge == connectors.EdgeResource {
		return list
	}
	from, to := schemas.PrivilegeAdmin, schemas.PrivilegeMember
	if revoke {
		from, to = to, from
		if known && !slices.Contains(target.Privileges, schemas.PrivilegeAdmin) {
			return list
		}
	}
	if slices.Contains(list, from) && !slices.Contains(list, to) {
		list = append(slices.Clone(list), to)
	}
	return list
}
