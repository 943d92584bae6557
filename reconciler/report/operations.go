package report

import (
	"cmp"
	"maps"
	"slices"

	"github.com/countersign/countersign/reconciler/report/layout"
	"github.com/countersign/countersign/schemas"
)

func operationMark(o *schemas.Operation) mark {
	switch o.Kind {
	case schemas.OperationCreate, schemas.OperationGrant:
		return layout.MarkAdd
	case schemas.OperationRevoke:
		return layout.MarkRemove
	case schemas.OperationDelete:
		return layout.MarkDelete
	}
	return layout.MarkChange
}

// subject is what an operation does to its connection.
func (b *builder) subject(o *schemas.Operation) line {
	switch o.Kind {
	case schemas.OperationGrant, schemas.OperationRevoke:
		if o.Target == nil {
			return say("{}", name(o.Privilege))
		}
		return b.what(o.Privilege, *o.Target)
	case schemas.OperationDelete:
		if o.ReassignTo != "" {
			return say("objects it owns go to {}", name(o.ReassignTo))
		}
		return nil
	}
	var parts []line
	for _, k := range slices.Sorted(maps.Keys(o.After)) {
		before, had := o.Before[k]
		if structured(before, o.After[k]) {
			parts = append(parts, say("{}: {}", name(k), differenceCounts(differences(k, before, o.After[k]))))
		} else if had {
			parts = append(parts, say("{}: {} → {}", name(k), value(before), value(o.After[k])))
		} else {
			parts = append(parts, say("{}: {}", name(k), value(o.After[k])))
		}
	}
	for _, k := range slices.Sorted(maps.Keys(o.Before)) {
		if _, stays := o.After[k]; stays {
			continue
		}
		if structured(o.Before[k], nil) {
			parts = append(parts, say("{}: {}", name(k), differenceCounts(differences(k, o.Before[k], nil))))
		} else {
			parts = append(parts, say("{}: {} → unset", name(k), value(o.Before[k])))
		}
	}
	if n := len(parts) - b.list; n > 0 && !(b.everyone && o.Privileged) {
		if o.Privileged {
			b.lacking.fields += n
		}
		return say("{}, and {} more", join(", ", parts[:b.list]...), n)
	}
	return join(", ", parts...)
}

// written is what the request names, where the application has another name for it by now, or lists the membership at its
// other end.
func (b *builder) written(o *schemas.Operation) line {
	if o.WrittenTarget == nil && o.WrittenConnection == nil {
		return nil
	}
	k := schemas.Key{Connection: o.Connection, Privilege: o.Privilege}
	if o.WrittenConnection != nil {
		k.Connection = *o.WrittenConnection
	}
	if o.Target == nil {
		return say("requested as {}", b.of(k.Connection))
	}
	k.Target = *o.Target
	if o.WrittenTarget != nil {
		k.Target = *o.WrittenTarget
	}
	return say("requested as {}", b.key(k))
}

// details are the differences of attributes that have no room in the row. Those of deletions are left out.
func (b *builder) details(o *schemas.Operation) []line {
	if o.Kind != schemas.OperationCreate && o.Kind != schemas.OperationUpdate || !b.complete {
		return nil
	}
	keys := slices.Collect(maps.Keys(o.After))
	for k := range o.Before {
		if _, ok := o.After[k]; !ok {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	var out []line
	for _, k := range keys {
		if structured(o.Before[k], o.After[k]) {
			out = append(out, b.difference(k, o.Before[k], o.After[k], o.Privileged)...)
		}
	}
	return out
}

// danger orders operations: deletions, then what is privileged, then what takes access away, then the rest.
func danger(o *schemas.Operation) int {
	switch {
	case o.Kind == schemas.OperationDelete:
		return 0
	case o.Privileged:
		return 1
	case o.Kind == schemas.OperationRevoke:
		return 2
	}
	return 3
}

// byDanger sorts the most dangerous first; within what first, if any, ranks alike.
func byDanger(ops []schemas.Operation, first func(*schemas.Operation) int) []*schemas.Operation {
	out := make([]*schemas.Operation, len(ops))
	for i := range ops {
		out[i] = &ops[i]
	}
	slices.SortStableFunc(out, func(x, y *schemas.Operation) int {
		if first != nil {
			if c := cmp.Compare(first(x), first(y)); c != 0 {
				return c
			}
		}
		return cmp.Compare(danger(x), danger(y))
	})
	return out
}

var kindWords = []struct {
	kind      schemas.OperationKind
	one, many literal
}{
	{schemas.OperationDelete, "deletion", "deletions"},
	{schemas.OperationCreate, "creation", "creations"},
	{schemas.OperationUpdate, "update", "updates"},
	{schemas.OperationGrant, "grant", "grants"},
	{schemas.OperationRevoke, "revoke", "revokes"},
}

// common is the documents of all operations, when they are the same for all and there is more than one operation.
func common(ops []schemas.Operation) []schemas.DocumentID {
	if len(ops) < 2 {
		return nil
	}
	for i := range ops {
		if ops[i].Cause != schemas.CauseRequest || !slices.Equal(ops[i].Documents, ops[0].Documents) {
			return nil
		}
	}
	return ops[0].Documents
}

// progress adds the results of operations: what to show for each, and which to show first. The zero value is for
// operations that are only planned.
type progress struct {
	state func(*schemas.Operation) (line, []line)
	rank  func(*schemas.Operation) int
	// apart leaves out who gains and loses by an operation, since that is listed by person.
	apart bool
}

// The columns of operations, in previews, comments and runs. A column without text in any row is left out.
const (
	columnOperation = iota
	columnState
	columnRisk
	columnConnection
	columnWhat
	columnUntil
)

var operationColumns = []literal{columnOperation: "Operation", columnState: "State", columnRisk: "Risk", columnConnection: "Connection", columnWhat: "What", columnUntil: "Until"}

// changes is the table of operations, the most dangerous first. noEffect marks operations that
// change nobody's access, which is only known with the live state.
func (b *builder) changes(ops []schemas.Operation, noEffect bool, p progress) []block {
	if len(ops) == 0 {
		return nil
	}
	if b.grouped {
		return b.connections(ops)
	}
	t := table{Head: operationColumns, More: "Effect"}
	shared := common(ops)
	sorted := byDanger(ops, p.rank)
	for i, o := range sorted {
		if i >= b.rows && !(b.everyone && matters(o)) {
			b.skip(o)
			continue
		}
		r := row{Mark: operationMark(o), Cells: make([]line, len(operationColumns))}
		r.Cells[columnOperation], r.Cells[columnConnection], r.Cells[columnWhat] = word(o.Kind), b.of(o.Connection), b.subject(o)
		if o.Expires != nil {
			r.Cells[columnUntil] = say("until {}", instant(*o.Expires))
		}
		if o.Privileged {
			r.Cells[columnRisk] = say("privileged").In(bad)
		}
		effects := b.effects(o.Gained, o.Lost)
		if p.apart && len(effects) > 0 {
			effects = nil
		} else if len(effects) == 0 && noEffect && o.Kind != schemas.OperationCreate && o.Kind != schemas.OperationUpdate {
			effects = []line{say("no effective access changes").In(faint)}
		}
		if l := b.written(o); !l.Empty() {
			r.More = append(r.More, l)
		}
		r.More = append(append(r.More, b.details(o)...), effects...)
		if shared == nil {
			if w := b.why(o); !w.Empty() {
				r.More = append(r.More, w.In(faint))
			}
		}
		if o.Hold != schemas.HoldNone {
			r.Cells[columnState] = waits(o.Hold).In(caution)
		}
		if p.state != nil {
			s, detail := p.state(o)
			if !s.Empty() {
				r.Cells[columnState] = s
			}
			r.More = append(r.More, detail...)
		}
		t.Rows = append(t.Rows, r)
	}
	out := []block{t}
	if n := len(sorted) - len(t.Rows); n > 0 {
		out = append(out, para(more(n, "operations")))
	}
	if shared != nil {
		var docs []line
		for _, d := range shared {
			docs = append(docs, source(d))
		}
		out = append(out, para(say("All requested in {}", list(docs, b.names)).In(faint)))
	}
	if !b.complete {
		out = append(out, b.privileged(ops)...)
	}
	if h := b.holds(ops); len(h) > 0 {
		out = append(out, h)
	}
	return out
}

// connections is the table of operations counted by connection, for when there is no room for each.
func (b *builder) connections(ops []schemas.Operation) []block {
	if !b.tables {
		for i := range ops {
			b.skip(&ops[i])
		}
		n, _, _ := tally([]schemas.ApplicationPlan{{Operations: ops}}, nil)
		return []block{para(say("{}; --format json lists all", counts(n)))}
	}
	type group struct {
		name           schemas.Name
		kinds          map[schemas.OperationKind]int
		danger         int
		privileged     bool
		held           int
		gained, losing map[schemas.Name]bool
	}
	groups := map[schemas.Name]*group{}
	var order []*group
	for _, o := range byDanger(ops, nil) {
		g := groups[o.Connection]
		if g == nil {
			g = &group{name: o.Connection, kinds: map[schemas.OperationKind]int{}, danger: danger(o), gained: map[schemas.Name]bool{}, losing: map[schemas.Name]bool{}}
			groups[o.Connection] = g
			order = append(order, g)
		}
		g.kinds[o.Kind]++
		g.privileged = g.privileged || o.Privileged
		if o.Hold != schemas.HoldNone {
			g.held++
		}
		for _, a := range o.Gained {
			g.gained[a.Identity] = true
		}
		for _, a := range o.Lost {
			g.losing[a.Identity] = true
		}
	}
	t := table{Head: []literal{"Connection", "Operations", "Identities", "Risk", "State"}}
	for i, g := range order {
		if i >= b.rows {
			if !b.complete {
				b.lacking.operations += g.kinds[schemas.OperationDelete]
			}
			continue
		}
		r := row{Mark: layout.MarkChange, Cells: []line{b.of(g.name), counts(g.kinds), nil, nil, nil}}
		if g.danger == 0 {
			r.Mark = layout.MarkDelete
		}
		var who []line
		if len(g.losing) > 0 {
			who = append(who, say("{} lose access", len(g.losing)))
		}
		if len(g.gained) > 0 {
			who = append(who, say("{} gain access", len(g.gained)))
		}
		r.Cells[2] = join(", ", who...)
		if g.privileged {
			r.Cells[3] = say("privileged").In(bad)
		}
		if g.held > 0 {
			r.Cells[4] = say("{} held", g.held).In(caution)
		}
		t.Rows = append(t.Rows, r)
	}
	out := []block{t}
	if n := len(order) - len(t.Rows); n > 0 {
		out = append(out, para(more(n, "connections")))
	}
	out = append(out, b.privileged(ops)...)
	if h := b.holds(ops); len(h) > 0 {
		out = append(out, h)
	}
	return out
}

// privileged is the table of the privileged operations, which are shown one by one even where others are counted.
func (b *builder) privileged(ops []schemas.Operation) []block {
	var list []schemas.Operation
	for i := range ops {
		if ops[i].Privileged || b.everyone && matters(&ops[i]) {
			list = append(list, ops[i])
		}
	}
	if len(list) == 0 {
		return nil
	}
	if !b.complete {
		b.lacking.operations += len(list) // their attributes aren't shown
		return []block{items{entry(layout.MarkWarn, say("{} not shown one by one: run countersign preview to see them before you sign off", plural(len(list), "privileged operation is", "privileged operations are")).In(caution))}}
	}
	single := *b
	single.grouped = false
	blocks := single.changes(list, false, progress{})
	out := blocks[:1]
	if n := len(list) - b.rows; n > 0 && !b.everyone {
		out = append(out, para(more(n, "privileged operations")))
	}
	return out
}
