package plan

import (
	"slices"
	"strings"

	"github.com/countersign/countersign/schemas"
)

// statement is one entry of one document about one entitlement.
type statement struct {
	target schemas.Name
	priv   string
	event  *event
	entry  *schemas.Entry
	at     int // the order of the statements
	revoke bool
	ended  bool // in a life that a deletion ended
}

// entitlements decides about every entitlement that the documents name. It returns the earliest document
// with a grant that is in force or will be, nil when there is none.
func (x *folding) entitlements(c *Connection, g *group) *event {
	info := x.types.get(c.Type)
	list := x.statements[:0]
	lived := false // a creation that was undone since opened a life after the last deletion
	for i := range g.events {
		e := &g.events[i]
		r := e.request()
		if !Assigns(r.Kind) {
			lived = lived || i > g.life.end && Opens(r.Kind)
			continue
		}
		ended := i < g.life.end
		// After a deletion nothing is assigned before the next creation opened a life.
		if !ended && g.life.end >= 0 && e.before(g.life.opening) {
			if e.standing {
				x.find(e, "no-life", "assigns to "+c.String()+" before "+g.life.opening.doc.Place.Path+" recreated it",
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
				x.find(e, "no-privilege", "grants "+entry.Name().String()+" without naming a privilege, and it doesn't have a default", "name the privileges")
			}
			for _, p := range privs {
				list = append(list, statement{target: entry.Name(), priv: p, event: e, entry: entry, at: len(list), ended: ended})
			}
		}
		if !e.standing || ended {
			continue // an undone revoke does not count, and a life's revokes end with it
		}
		for j := range r.Revokes {
			entry := &r.Revokes[j]
			for _, p := range info.privileges(entry, true) {
				list = append(list, statement{target: entry.Name(), priv: p, event: e, entry: entry, at: len(list), revoke: true})
			}
		}
	}
	x.statements = list
	slices.SortFunc(list, func(a, b statement) int {
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

// decide holds the rule: desired when some started, unexpired, standing grant lies after the latest
// standing revoke of this life, and after the latest deletion of the target. words are all about one
// entitlement, in merge order; left bounds how many more entitlements may follow.
func (x *folding) decide(c *Connection, g *group, words []statement, left int) *event {
	var revoke, last *statement
	for i := range words {
		if words[i].revoke {
			revoke = &words[i]
		}
	}
	target := words[0].target
	gone := x.ended[target]
	ent := Entitlement{Target: target, Privilege: words[0].priv, Started: true}
	var named *statement // the grant whose source_id selects one of several with the name
	var past, expired, undone []schemas.DocumentID
	var pastAt, expiredAt, undoneAt *statement
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
		t.Revoked = true
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

// lives reports whether the target of a grant has a life that the grant lies in.
func (x *folding) lives(w *statement, target *group) bool {
	end := &target.events[target.life.end]
	switch {
	case w.event.before(end):
		return false
	case target.life.creation == nil:
		x.find(w.event, "no-life", "grants "+target.name.String()+", which "+end.doc.Place.Path+" deleted",
			"recreate it with a ConnectionCreation first, or remove this grant")
		return false
	case w.event.before(target.life.opening):
		x.find(w.event, "no-life", "grants "+target.name.String()+" before "+target.life.opening.doc.Place.Path+" recreated it",
			"repeat the grant in a new request")
		return false
	}
	return true
}

func compareTarget(a schemas.Name, pa string, b schemas.Name, pb string) int {
	if c := a.Compare(b); c != 0 {
		return c
	}
	return strings.Compare(pa, pb)
}
