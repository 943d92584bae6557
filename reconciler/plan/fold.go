package plan

import (
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// What the fold makes of an entitlement, by what the documents of its connection say of it in merge order.
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
//	R̶                      any                       no        nothing: what was not ours is not made anew
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
//	D G                    any                       no        a finding: there is no life to grant in
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
	// Until is the sequence of the commit whose admission replaced or removed this version. It is 0 while
	// it stands, and where nobody knows: then a version counts as removed after all that we see, so that
	// undoing a deletion reopens its life whatever came later.
	Until int
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
	// Reverted says that Deleted is what undoing later creations came back to.
	Reverted bool
	// Documents are those that decide about existence, in merge order: the standing creations, or the deletion.
	Documents []schemas.DocumentID
	// Payload is that of the latest standing creation, as written: without defaults, nulls included.
	Payload    map[string]any
	ReassignTo string
	// Provisioning is what the deciding request says; "" leaves it to the application.
	Provisioning schemas.Provisioning
	Entitlements []Entitlement // desired now; sorted by target, privilege
	Tombstones   []Tombstone   // to be taken away when present; sorted likewise, disjoint from Entitlements
	// Scheduled are grants whose start lies ahead, one for each, sorted likewise, then in merge order. They
	// are what an approval of today lets happen later.
	Scheduled []Entitlement
}

// Entitlement is one desired entitlement of a connection.
type Entitlement struct {
	Target    schemas.Name
	TargetID  string
	Privilege string
	// Documents are the standing requests that grant it now, in merge order. They may share memory with
	// those of other entitlements: do not change them.
	Documents []schemas.DocumentID
	// Expires is when the last of them ends; nil when one has no end.
	Expires *time.Time
	// Started says that every one of them had a start.
	Started bool
	// Starts is when a scheduled grant begins, nil for what is in force.
	Starts       *time.Time
	Provisioning schemas.Provisioning
}

// Tombstone is an entitlement that was granted once, or is revoked, and is desired no more.
type Tombstone struct {
	Target    schemas.Name
	TargetID  string
	Privilege string
	// Cause is request (a revoke, or a deletion of either end), expiry or undo.
	Cause     schemas.Cause
	Documents []schemas.DocumentID
	// Scheduled says that every undone grant of it had a start, so that it may have been undone before it
	// was ever in force: then only the baseline can tell that it is ours.
	Scheduled bool
}

// Folder accumulates documents. Adding a prefix and then the rest is adding the whole.
// The zero Folder is empty and ready.
type Folder struct {
	docs []*Document
}

// Add takes further documents of one application, in any order. The Folder keeps them; they must not
// change afterwards.
func (f *Folder) Add(docs ...*Document) { f.docs = append(f.docs, docs...) }

// Fold says what the documents want at the instant now. They are those of one application: a version that
// is about another one must have been left out. The description gives the privileges that an entry without
// any means and which targets are connections. Whatever decodes folds.
func Fold(docs []*Document, description connectors.Description, now time.Time) *Desired {
	f := Folder{docs: docs}
	return f.Fold(description, now)
}

// Pair folds what stands before a change and what stands after it: unchanged are the documents of connections
// that the change leaves alone, before and after those of the others. It is Fold, twice, except that what
// is the same on both sides is mostly the same pointer, which spares Between to compare it, and that
// the second Next may be too early.
func Pair(unchanged, before, after []*Document, description connectors.Description, now time.Time) (first, second *Desired) {
	first = Fold(slices.Concat(unchanged, before), description, now)
	if len(first.Findings) == 0 && apart(first.Connections) && !deletes(unchanged) && !deletes(before) && !deletes(after) {
		part := Fold(after, description, now)
		if apart(part.Connections) {
			return first, splice(first, part, before)
		}
	}
	return first, Fold(slices.Concat(unchanged, after), description, now)
}

// apart says that none of the connections bears on others: one whose creation was undone goes or stays
// by what others hold of it.
func apart(list []*Connection) bool {
	return !slices.ContainsFunc(list, func(c *Connection) bool { return c.Existence == Undone })
}

// deletes says whether any version of a document is a deletion, which ends edges of others.
func deletes(docs []*Document) bool {
	deletion := func(v *Version) bool {
		return v != nil && v.Request != nil && v.Request.Kind == schemas.KindConnectionDeletion
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

// group is everything that was ever said of one connection, in merge order.
type group struct {
	name   schemas.Name
	events []event
	life   life
}

// life is the present life of a connection, as its creations and deletions tell.
type life struct {
	end      int    // the index of the event that ended the life before, -1 when none did
	opening  *event // the creation that opened the present life; nil when nothing did
	creation *event // the latest standing creation of the present life; nil when none stands
	reverted bool   // creations of the present life were undone
	undone   int    // the commit that removed the last of them, 0 when one stands or nobody knows
}

// Fold is the fold of everything added so far.
func (f *Folder) Fold(description connectors.Description, now time.Time) *Desired {
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
	return out
}

// groupEvents sorts every version of every document by connection, then by merge order; the former
// versions of a document come before the one that stands.
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

type placedFinding struct {
	place   schemas.Place
	finding schemas.Finding
}

type folding struct {
	now   time.Time
	types types
	// ended has the connections of which a life has ended: it ends edges on both sides.
	ended    map[schemas.Name]*group
	next     time.Time
	findings []placedFinding
	said     []said // scratch of entitlements
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
		if e.request().Kind != schemas.KindConnectionDeletion {
			continue
		}
		if e.standing {
			g.life.end = i
			break
		}
		if laterLife(g.events[i+1:], e) {
			g.life.end = i
			x.find(e, "later-life", "undoing the deletion of "+g.name.String()+" has no effect: it was created anew before that",
				"delete it with a new ConnectionDeletion, and request what you want of it")
			break
		}
	}
	last := -1 // the latest commit at which a creation of this life was removed; -1 while one stands
	for i := g.life.end + 1; i < len(g.events); i++ {
		e := &g.events[i]
		if e.request().Kind != schemas.KindConnectionCreation {
			continue
		}
		// The opening keeps its place while any creation stands, and a rename removes and adds in one commit.
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

// laterLife says whether a creation stood when the deletion was undone.
func laterLife(later []event, deletion *event) bool {
	until := deletion.version.Until
	return until > 0 && slices.ContainsFunc(later, func(e event) bool {
		return e.request().Kind == schemas.KindConnectionCreation && e.doc.Place.Commit < until &&
			(e.standing || e.version.Until > until)
	})
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
			if e := &present[i]; e.standing && e.request().Kind == schemas.KindConnectionAssignment {
				x.find(e, "no-life", "assigns to "+g.name.String()+", which "+end.doc.Place.Path+" deleted",
					"create it anew with a ConnectionCreation first, or remove this assignment")
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

func standingCreations(present []event, last *event) []schemas.DocumentID {
	var out []schemas.DocumentID
	for i := range present {
		e := &present[i]
		if !e.standing || e.request().Kind != schemas.KindConnectionCreation {
			continue
		}
		if e == last && out == nil {
			return e.list()
		}
		out = append(out, e.id())
	}
	return out
}

const inUseFix = "remove this assignment too, or delete the connection with a ConnectionDeletion"

func inUse(c *Connection) string {
	return "uses " + c.String() + ", whose creation in " + c.Documents[0].Path + " is undone"
}

// inUse is for connections whose creations are undone while others hold them. The preview refuses that, and
// what came to stand so all the same deletes nothing.
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

// find returns the event of a document that stands.
func (g *group) find(id schemas.DocumentID) *event {
	return &g.events[slices.IndexFunc(g.events, func(e event) bool { return e.standing && e.id() == id })]
}

// twice finds documents that stand twice under different paths with nothing in between that would give the
// second a meaning of its own.
func (x *folding) twice(present []event) {
	for i := 1; i < len(present); i++ {
		e := &present[i]
		if !e.standing || e.version.Blob == "" {
			continue
		}
		// A copy stands near its original; looking further would cost the square of the documents.
		for j := i - 1; j >= max(0, i-64); j-- {
			o := &present[j]
			if !o.standing {
				continue
			}
			if o.version.Blob == e.version.Blob && o.doc.Place.Index == e.doc.Place.Index && o.doc.Place.Path != e.doc.Place.Path {
				x.find(e, "twice", "is the same document as "+o.doc.Place.Path, "remove one of them")
				break
			}
			if len(o.request().Revokes) > 0 {
				break
			}
		}
	}
}

// said is what one entry of one document says of one entitlement.
type said struct {
	target schemas.Name
	priv   string
	event  *event
	entry  *schemas.Entry
	at     int // the order in which it was said
	revoke bool
	ended  bool // in a life that a deletion ended
}

// entitlements decides about every entitlement that the documents name. It returns the earliest document
// with a grant that is in force or will be, nil when there is none.
func (x *folding) entitlements(c *Connection, g *group) *event {
	info := x.types.get(c.Type)
	list := x.said[:0]
	lived := false // a creation that was undone since opened a life after the last deletion
	for i := range g.events {
		e := &g.events[i]
		r := e.request()
		if r.Kind != schemas.KindConnectionAssignment {
			lived = lived || i > g.life.end && r.Kind == schemas.KindConnectionCreation
			continue
		}
		ended := i < g.life.end
		// After a deletion nothing is assigned before the next creation opened a life.
		if !ended && g.life.end >= 0 && e.before(g.life.opening) {
			if e.standing {
				x.find(e, "no-life", "assigns to "+c.String()+" before "+g.life.opening.doc.Place.Path+" created it anew",
					"repeat the assignment in a new request")
			}
			if !lived {
				continue
			}
			ended = true
		}
		for j := range r.Grants {
			entry := &r.Grants[j]
			privs := info.privileges(entry, false)
			if len(privs) == 0 && e.standing && !ended {
				x.find(e, "no-privilege", "grants "+entry.Name().String()+" without naming a privilege, and it has no default", "name the privileges")
			}
			for _, p := range privs {
				list = append(list, said{target: entry.Name(), priv: p, event: e, entry: entry, at: len(list), ended: ended})
			}
		}
		if !e.standing || ended {
			continue // an undone revoke says nothing, and a life's revokes end with it
		}
		for j := range r.Revokes {
			entry := &r.Revokes[j]
			for _, p := range info.privileges(entry, true) {
				list = append(list, said{target: entry.Name(), priv: p, event: e, entry: entry, at: len(list), revoke: true})
			}
		}
	}
	x.said = list
	slices.SortFunc(list, func(a, b said) int {
		if c := compareTarget(a.target, a.priv, b.target, b.priv); c != 0 {
			return c
		}
		return a.at - b.at
	})
	var used *event
	for i := 0; i < len(list); {
		j := i + 1
		for j < len(list) && list[j].priv == list[i].priv && list[j].target == list[i].target {
			j++
		}
		if e := x.decide(c, g, list[i:j], len(list)-i); e != nil && (used == nil || e.before(used)) {
			used = e
		}
		i = j
	}
	return used
}

func compareTarget(a schemas.Name, pa string, b schemas.Name, pb string) int {
	if c := a.Compare(b); c != 0 {
		return c
	}
	return strings.Compare(pa, pb)
}

// decide holds the rule: desired when some started, unexpired, standing grant lies after the latest
// standing revoke of this life, and after the latest deletion of the target. words are all about one
// entitlement, in merge order; left bounds how many more entitlements may follow.
func (x *folding) decide(c *Connection, g *group, words []said, left int) *event {
	var revoke, last *said
	for i := range words {
		if words[i].revoke {
			revoke = &words[i]
		}
	}
	target := words[0].target
	gone := x.ended[target]
	ent := Entitlement{Target: target, Privilege: words[0].priv, Started: true}
	var named *said // the grant that says which of several of the name is meant
	var past, expired, undone []schemas.DocumentID
	var pastAt, expiredAt, undoneAt *said
	var used *event
	endless, ended, scheduled := false, false, true
	for i := range words {
		w := &words[i]
		if w.revoke {
			continue
		}
		started := w.entry.Window().Started(x.now)
		switch {
		case w.ended:
			ended = ended || started
			continue
		case !w.event.standing:
			if started {
				undone, undoneAt = appendID(undone, w.event), w
				scheduled = scheduled && w.entry.Starts != nil
			}
			continue
		case revoke != nil && !revoke.event.before(w.event):
			if revoke.event == w.event {
				x.find(w.event, "contradiction", "grants and revokes "+target.String()+" "+w.priv+": the revoke holds", "remove one of the two")
			}
			continue
		case gone != nil && !x.lives(w, gone):
			past, pastAt = gone.events[gone.life.end].list(), w
			continue
		case !started:
			x.instant(w.entry.Starts)
			if used == nil {
				used = w.event
			}
			c.Scheduled = append(c.Scheduled, Entitlement{
				Target: target, TargetID: w.entry.SourceID, Privilege: w.priv, Documents: w.event.list(), Starts: w.entry.Starts,
				Expires: w.entry.Expires, Started: true, Provisioning: w.event.request().Provisioning,
			})
			continue
		case w.entry.Window().Expired(x.now):
			expired, expiredAt = appendID(expired, w.event), w
			continue
		}
		x.instant(w.entry.Expires)
		last = w
		if used == nil {
			used = w.event
		}
		ent.Documents = appendID(ent.Documents, w.event)
		ent.Started = ent.Started && w.entry.Starts != nil
		if w.entry.SourceID != "" {
			if named != nil && named.entry.SourceID != w.entry.SourceID {
				x.find(w.event, "two-ids", "grants "+target.String()+" with another source_id than "+named.event.doc.Place.Path+": this one holds", "revoke the other first")
			}
			named = w
		}
		switch {
		case w.entry.Expires == nil:
			endless = true
		case ent.Expires == nil || w.entry.Expires.After(*ent.Expires):
			ent.Expires = w.entry.Expires
		}
	}
	if last != nil {
		if endless {
			ent.Expires = nil
		}
		if named != nil {
			ent.TargetID = named.entry.SourceID
		}
		ent.Provisioning = last.event.request().Provisioning
		if c.Entitlements == nil {
			c.Entitlements = make([]Entitlement, 0, left)
		}
		c.Entitlements = append(c.Entitlements, ent)
		return used
	}
	t := Tombstone{Target: target, Privilege: words[0].priv}
	switch {
	case expired != nil: // it came after the latest revoke, or it would not count
		t.Cause, t.Documents, t.TargetID = schemas.CauseExpiry, expired, expiredAt.entry.SourceID
	case revoke != nil:
		t.Cause, t.Documents, t.TargetID = schemas.CauseRequest, revoke.event.list(), revoke.entry.SourceID
	case past != nil:
		t.Cause, t.Documents, t.TargetID = schemas.CauseRequest, past, pastAt.entry.SourceID
	case undone != nil:
		t.Cause, t.Documents, t.TargetID, t.Scheduled = schemas.CauseUndo, undone, undoneAt.entry.SourceID, scheduled
	case ended:
		t.Cause, t.Documents = schemas.CauseRequest, g.events[g.life.end].list()
	default:
		return used // a future start, or an undone revoke: nothing was ever in force
	}
	c.Tombstones = append(c.Tombstones, t)
	return used
}

// lives says whether the target of a grant has a life that the grant lies in.
func (x *folding) lives(w *said, target *group) bool {
	end := &target.events[target.life.end]
	switch {
	case w.event.before(end):
		return false
	case target.life.creation == nil:
		x.find(w.event, "no-life", "grants "+target.name.String()+", which "+end.doc.Place.Path+" deleted",
			"create it anew with a ConnectionCreation first, or remove this grant")
		return false
	case w.event.before(target.life.opening):
		x.find(w.event, "no-life", "grants "+target.name.String()+" before "+target.life.opening.doc.Place.Path+" created it anew",
			"repeat the grant in a new request")
		return false
	}
	return true
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

// Privileges are the single privileges that an entry speaks of: those named, or the type's default. For
// memberships ADMIN includes MEMBER, so granting ADMIN grants both and revoking MEMBER revokes both; privileges
// on resources include what the connector says that they imply. There are none where a resource has no default.
func Privileges(typ connectors.ConnectionType, e schemas.Entry, revoke bool) []string {
	target, known := typ.Target(e.Type)
	return privileges(&target, known, &e, revoke)
}

func privileges(target *connectors.GrantableType, known bool, e *schemas.Entry, revoke bool) []string {
	list := e.Privileges
	if len(list) == 0 {
		list = target.Default
		// The preview refuses an unknown type; the fold is total.
		if len(list) == 0 && (!known || target.Edge != connectors.EdgeResource) {
			list = []string{schemas.PrivilegeMember}
		}
	}
	if known && target.Edge == connectors.EdgeResource {
		return implied(target, list, revoke)
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

// implied adds to privileges those that they imply, or, for a revoke, those that imply them.
func implied(target *connectors.GrantableType, list []string, revoke bool) []string {
	if len(target.Implies) == 0 {
		return list
	}
	out := slices.Clone(list)
	for _, p := range target.Privileges {
		if !slices.Contains(out, p) && slices.ContainsFunc(list, func(q string) bool {
			if revoke {
				return slices.Contains(target.Implies[p], q)
			}
			return slices.Contains(target.Implies[q], p)
		}) {
			out = append(out, p)
		}
	}
	return out
}
