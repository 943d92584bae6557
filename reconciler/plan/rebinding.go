package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/countersign/countersign/schemas"
)

// Rebound is a baseline item as it would be if its name were bound to the id that it has now, or to one that nothing has
// where the name is gone.
type Rebound struct {
	schemas.BaselineItem
	// Was is the id that the item was verified with.
	Was string
}

// Gone reports whether nothing has the name now.
func (r *Rebound) Gone() bool { return lost(r.NativeID) }

// rebound is the token of a grant that was verified before its application was restored and isn't in force now: it is
// granted again as if for the first time.
const rebound = "rebound"

// beforeRestore marks the id of a name that was gone after a restore. No id of an application is like it: the id may belong to
// somebody else now, and a new holder of the name is another one too.
const beforeRestore = " before the restore"

func lost(id string) bool { return strings.HasSuffix(id, beforeRestore) }

func lose(id string) string {
	if id == "" || lost(id) {
		return id
	}
	return id + beforeRestore
}

// RebindingDigest is of the names of an application whose ids changed, with the ids before and now.
func RebindingDigest(application string, list []Rebound) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00", application)
	for i := range list {
		fmt.Fprintf(h, "%s\x00%s\x00%s\n", list[i].Item, list[i].Was, list[i].NativeID)
	}
	return hex.EncodeToString(h.Sum(nil)[:12])
}

// rebinding lists the items that a restored application has under other ids. It is asked for where some name has another
// id than it was verified with. Ids from before a restore may belong to others now, so a name that is gone loses its id. Names that nothing in the live state answers are looked up.
func (d *differ) rebinding() {
	if d.owned || d.in.Live.Incomplete != "" {
		return
	}
	for i := range d.items {
		d.rebindConnection(&d.items[i])
	}
	slices.SortFunc(d.out.Rebound, func(a, b Rebound) int { return strings.Compare(a.Item, b.Item) })
	d.out.Rebound = slices.CompactFunc(d.out.Rebound, func(a, b Rebound) bool { return a.Item == b.Item })
}

func (d *differ) rebindConnection(it *subject) {
	c := it.connection
	if it.info == nil || !it.info.known || len(it.live) > 1 {
		return
	}
	var live *schemas.Connection
	id := ""
	if len(it.live) == 1 {
		live = it.live[0]
		id = live.NativeID
	}
	base, known := d.baseline(ConnectionItem(c.Name))
	replaced := known && base.NativeID != "" && base.NativeID != id
	if replaced && live != nil {
		d.rebind(base, base.Token, id)
	} else if replaced {
		d.rebind(base, base.Token, lose(base.NativeID))
	}
	again := replaced && live != nil // its grants went with the former one
	for i := range c.Entitlements {
		e := &c.Entitlements[i]
		d.rebindTarget(it, live, e.Target, e.Privilege, again)
	}
	for i := range c.Tombstones {
		t := &c.Tombstones[i]
		d.rebindTarget(it, live, t.Target, t.Privilege, again)
	}
}

func (d *differ) rebindTarget(it *subject, live *schemas.Connection, target schemas.Name, privilege string, again bool) {
	items := append([]string{EntitlementItem(schemas.Key{Connection: it.connection.Name, Target: target, Privilege: privilege})}, it.form.written(target, privilege)...)
	for _, name := range items {
		base, known := d.baseline(name)
		if !known || base.NativeID == "" && !again {
			continue
		}
		id, where := d.idToday(live, target, privilege)
		tok := base.Token
		switch {
		case where == targetUnknown:
			continue
		case where == targetGone:
			id = lose(base.NativeID)
		case where == targetThere && hasWord(tok, present) && (again || id != "" && base.NativeID != id):
			tok = rebound
		}
		d.rebind(base, tok, id)
	}
}

// whereabouts is where a target's name was found.
type whereabouts int

const (
	targetUnknown whereabouts = iota // several have the name, or nobody asked yet
	targetGone                       // nothing has the name
	targetThere                      // something has it, and the connection lacks the edge
	targetJoined                     // the connection has the edge
)

// idToday is the id that a target's name has now.
func (d *differ) idToday(live *schemas.Connection, target schemas.Name, privilege string) (id string, where whereabouts) {
	if live != nil {
		for i := range live.Entitlements {
			if l := &live.Entitlements[i]; l.Target == target && l.Privilege == privilege {
				if where == targetJoined {
					return "", targetUnknown
				}
				id, where = l.TargetID, targetJoined
			}
		}
	}
	if where == targetJoined {
		return id, where
	}
	items, asked := d.in.Targets[target]
	switch {
	case !asked:
		d.out.Lookups = append(d.out.Lookups, target)
		return "", targetUnknown
	case len(items) == 0:
		return "", targetGone
	case len(items) > 1:
		return "", targetUnknown
	}
	return items[0].NativeID, targetThere
}

func (d *differ) rebind(base schemas.BaselineItem, tok, id string) {
	if tok == base.Token && id == base.NativeID {
		return
	}
	r := Rebound{BaselineItem: base, Was: base.NativeID}
	r.Token, r.NativeID = tok, id
	d.out.Rebound = append(d.out.Rebound, r)
}
