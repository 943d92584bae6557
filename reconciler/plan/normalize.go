package plan

import (
	"fmt"
	"slices"

	"github.com/countersign/countersign/schemas"
)

// form is how the application spells what the requests of one connection name otherwise. A nil form is
// that of requests that are spelt as the application has it.
type form struct {
	err     error                 // the connector refuses the connection itself
	refuses map[wordKey]error     // by the application's spelling
	aliases map[wordKey][]wordKey // the application's spelling to those written
	name    schemas.Name          // the connection as written
	to      map[wordKey]wordKey   // as written to the application's spelling
}

type wordKey struct {
	target schemas.Name
	priv   string
}

func (f *form) refused(target schemas.Name, priv string) error {
	if f == nil || f.refuses == nil {
		return nil
	}
	return f.refuses[wordKey{target, priv}]
}

// written are the items of an entitlement as the requests write it, where that differs.
func (f *form) written(target schemas.Name, priv string) []string {
	if f == nil {
		return nil
	}
	var out []string
	for _, k := range f.aliases[wordKey{target, priv}] {
		out = append(out, EntitlementItem(schemas.Key{Connection: f.name, Target: k.target, Privilege: k.priv}))
	}
	return out
}

// normalize makes the items: the desired connections in the application's own spelling, sorted by it.
// Almost always requests are spelt as the application has it, and one call to the connector shows so. Where
// not, each entry is asked about by itself, so that a bad one is a finding of its own.
func (d *differ) normalize() {
	d.items = make([]subject, len(d.in.Desired.Connections))
	for i, c := range d.in.Desired.Connections {
		d.items[i] = subject{connection: c, info: d.types.get(c.Type)}
	}
	if d.in.Normalize == nil || len(d.items) == 0 {
		return
	}
	whole := d.states()
	got, err := d.in.Normalize(schemas.State{Connections: whole})
	aligned := err == nil && len(got.Connections) == len(whole)
	renamed := false
	for i := range d.items {
		it := &d.items[i]
		if aligned && sameConnection(&whole[i], &got.Connections[i]) {
			it.want, it.has = got.Connections[i].Payload, it.connection.Existence == Present
			continue
		}
		renamed = d.spell(it, whole[i]) || renamed
	}
	if renamed {
		d.merge()
	}
}

// states are the desired connections as states: what is to be gone beside what is wanted, since both have
// to be found in live state.
func (d *differ) states() []schemas.Connection {
	total := 0
	for _, it := range d.items {
		total += len(it.connection.Entitlements) + len(it.connection.Tombstones)
	}
	all := make([]schemas.Entitlement, 0, total)
	out := make([]schemas.Connection, len(d.items))
	for i, it := range d.items {
		c := it.connection
		start := len(all)
		for j, k := 0, 0; j < len(c.Entitlements) || k < len(c.Tombstones); {
			if k == len(c.Tombstones) || j < len(c.Entitlements) &&
				compareTarget(c.Entitlements[j].Target, c.Entitlements[j].Privilege, c.Tombstones[k].Target, c.Tombstones[k].Privilege) < 0 {
				all = append(all, schemas.Entitlement{Target: c.Entitlements[j].Target, Privilege: c.Entitlements[j].Privilege})
				j++
			} else {
				all = append(all, schemas.Entitlement{Target: c.Tombstones[k].Target, Privilege: c.Tombstones[k].Privilege})
				k++
			}
		}
		out[i] = schemas.Connection{Name: c.Name, Entitlements: all[start:len(all):len(all)]}
		if c.Existence == Present {
			out[i].Payload = it.info.complete(c.Payload)
		}
	}
	return out
}

// sameConnection reports whether the connector gave back what it was given; empty and nil are the same.
func sameConnection(a, b *schemas.Connection) bool {
	if a.Name != b.Name || len(a.Payload) != len(b.Payload) || len(a.Entitlements) != len(b.Entitlements) {
		return false
	}
	for i := range a.Entitlements {
		if x, y := &a.Entitlements[i], &b.Entitlements[i]; x.Privilege != y.Privilege || x.Target != y.Target {
			return false
		}
	}
	for k, v := range a.Payload {
		w, ok := b.Payload[k]
		if !ok || !equalValue(v, w) {
			return false
		}
	}
	return true
}

// spell asks for one connection's own form, and for that of each entry where they are not all as written.
// It reports whether the connection has another name.
func (d *differ) spell(it *subject, state schemas.Connection) bool {
	f := &form{name: it.connection.Name}
	it.form = f
	bare := state
	bare.Entitlements = nil
	one, err := d.one(bare)
	if err != nil {
		f.err = err
		return false
	}
	it.want, it.has = one.Payload, it.connection.Existence == Present
	c := *it.connection
	c.Name = one.Name
	it.connection = &c
	if with, err := d.one(state); err == nil {
		expected := state
		expected.Name, expected.Payload = one.Name, one.Payload
		if sameConnection(&expected, &with) {
			return c.Name != f.name
		}
	}
	f.refuses, f.aliases, f.to = map[wordKey]error{}, map[wordKey][]wordKey{}, map[wordKey]wordKey{}
	for _, e := range state.Entitlements {
		bare.Entitlements = []schemas.Entitlement{e}
		k := wordKey{e.Target, e.Privilege}
		one, err := d.one(bare)
		switch {
		case err != nil:
			f.refuses[k] = err
		case len(one.Entitlements) == 1:
			// More than one is an implied privilege, which the fold has spelt out by itself.
			if to := (wordKey{one.Entitlements[0].Target, one.Entitlements[0].Privilege}); to != k {
				f.to[k] = to
				f.aliases[to] = append(f.aliases[to], k)
			}
		}
	}
	d.respell(&c, f)
	return c.Name != f.name
}

func (d *differ) one(c schemas.Connection) (schemas.Connection, error) {
	got, err := d.in.Normalize(schemas.State{Connections: []schemas.Connection{c}})
	if err != nil {
		return schemas.Connection{}, err
	}
	if len(got.Connections) != 1 {
		return schemas.Connection{}, fmt.Errorf("the connector gave %d connections for one", len(got.Connections))
	}
	return got.Connections[0], nil
}

// respell puts the connection's entitlements and tombstones into the application's spelling. An entitlement
// written in two ways is one: granted twice it has both documents; granted and revoked, the
// revoke holds, since which came last was decided for each spelling by itself.
func (d *differ) respell(c *Connection, f *form) {
	of := func(t schemas.Name, p string) wordKey {
		if k, ok := f.to[wordKey{t, p}]; ok {
			return k
		}
		return wordKey{t, p}
	}
	tombs := slices.Clone(c.Tombstones)
	revoked := map[wordKey]int{}
	for i := range tombs {
		t := &tombs[i]
		k := of(t.Target, t.Privilege)
		t.Target, t.Privilege = k.target, k.priv
		if t.Cause == schemas.CauseRequest {
			revoked[k] = i
		}
	}
	var ents []Entitlement
	at := map[wordKey]int{}
	for _, e := range c.Entitlements {
		k := of(e.Target, e.Privilege)
		e.Target, e.Privilege = k.target, k.priv
		if _, ok := revoked[k]; ok {
			d.find(c.Name, e.Documents, schemas.SeverityError, "two-spellings", fmt.Sprintf("%s %s is revoked in another spelling: the revoke holds", e.Target, e.Privilege),
				"write it in new requests as the application does")
			continue
		}
		if i, ok := at[k]; ok {
			ents[i] = mergeGrants(ents[i], e)
			continue
		}
		at[k] = len(ents)
		ents = append(ents, e)
	}
	kept := tombs[:0]
	seen := map[wordKey]bool{}
	// A revoke comes first, so that it is the one of several that stays.
	slices.SortStableFunc(tombs, func(a, b Tombstone) int {
		if c := compareTarget(a.Target, a.Privilege, b.Target, b.Privilege); c != 0 {
			return c
		}
		return causeOrder(a.Cause) - causeOrder(b.Cause)
	})
	for _, t := range tombs {
		k := wordKey{t.Target, t.Privilege}
		_, wanted := at[k]
		if wanted || seen[k] {
			continue // a grant in force wins over the end of another
		}
		seen[k] = true
		kept = append(kept, t)
	}
	slices.SortFunc(ents, func(a, b Entitlement) int { return compareTarget(a.Target, a.Privilege, b.Target, b.Privilege) })
	c.Entitlements, c.Tombstones = ents, kept
}

func causeOrder(c schemas.Cause) int {
	switch c {
	case schemas.CauseRequest:
		return 0
	case schemas.CauseExpiry:
		return 1
	}
	return 2
}

func mergeGrants(a, b Entitlement) Entitlement {
	docs := slices.Clone(a.Documents)
	for _, id := range b.Documents {
		if !slices.Contains(docs, id) {
			docs = append(docs, id)
		}
	}
	a.Documents = docs
	switch {
	case a.Expires == nil || b.Expires == nil:
		a.Expires = nil
	case b.Expires.After(*a.Expires):
		a.Expires = b.Expires
	}
	a.Started = a.Started && b.Started
	if b.TargetID != "" {
		a.TargetID = b.TargetID
	}
	return a
}

// merge sorts the items by the application's spelling. Two connections that it holds for one are a fault
// of the requests: which of them would win, nobody approved.
func (d *differ) merge() {
	slices.SortStableFunc(d.items, func(a, b subject) int { return a.connection.Name.Compare(b.connection.Name) })
	for i := range d.items {
		same := i > 0 && d.items[i-1].connection.Name == d.items[i].connection.Name || i+1 < len(d.items) && d.items[i+1].connection.Name == d.items[i].connection.Name
		if !same {
			continue
		}
		it := &d.items[i]
		d.find(it.connection.Name, it.connection.documents(), schemas.SeverityError, "two-spellings", it.connection.String()+" is spelt in two ways, and is one connection to the application",
			"write it as the application does in all requests")
		it.info = nil // nothing is planned for it
	}
}
