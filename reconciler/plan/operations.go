package plan

import (
	"slices"

	"github.com/countersign/countersign/schemas"
)

func (d *differ) op(kind schemas.OperationKind, c schemas.Name, docs []schemas.DocumentID) *schemas.Operation {
	return &schemas.Operation{
		Kind: kind, Application: d.in.Application.Name, Connection: c, Documents: docs, Cause: schemas.CauseRequest,
		Provisioning: d.in.Application.Spec.Provisioning,
	}
}

// plan adds the operation with its id. It is drift when everything that asks for it was verified before; access that
// approved documents ended and that is seen again is removed for the same cause as the first time.
func (d *differ) plan(op *schemas.Operation, word string, docs []schemas.DocumentID, base schemas.BaselineItem, known bool) {
	if op.Provisioning == "" {
		op.Provisioning = d.in.Application.Spec.Provisioning
	}
	id := OperationItem(op)
	if op.WrittenTarget != nil || op.WrittenConnection != nil {
		id = item(id, op.Connection.Type, op.Connection.SourceName) // beside that of the written name
		if op.Target != nil {
			id = item(id, op.Target.Type, op.Target.SourceName)
		}
	}
	op.ID = operationID(op.Application, op.Kind, id)
	// A connection's entitlements went with it: when it is recreated, they are granted again.
	if op.Cause != schemas.CauseUnmanaged && op.Kind != schemas.OperationRevoke && !d.made[op.Connection] && !d.assert.changed(base, known, word, docs) {
		op.Cause = schemas.CauseDrift
	}
	d.out.Tokens[op.ID] = d.assert.token(word, docs)
	d.out.Plan.Operations = append(d.out.Plan.Operations, *op)
}

// settle remembers an item that is as desired, unless the baseline has it so already.
func (d *differ) settle(item, word string, docs []schemas.DocumentID, native string, base schemas.BaselineItem, known bool) {
	tok := d.assert.token(word, docs)
	if d.owned || known && base.Token == tok && (native == "" || base.NativeID != "") {
		return
	}
	s := schemas.BaselineItem{Item: item, Token: tok, NativeID: native}
	if known && word != foreign && hasWord(base.Token, present) == (word == present) && !hasWord(base.Token, foreign) {
		// An item's origin is kept through later requests about it. Having made it absent does not tell
		// who makes it present again.
		s.Made = base.Made
	}
	if base.NativeID != "" && (hasWord(word, absent) || !d.assert.changed(base, known, word, docs)) {
		s.NativeID = base.NativeID // the id that was bound first, until somebody approves it again; an absent item keeps it
	}
	d.out.Settled = append(d.out.Settled, s)
}

// depend links each operation to those that must come first: a grant to the creations of both its ends, a
// deletion to the revokes that name the connection and to the deletions that hand over to it.
func (d *differ) depend() {
	ops := d.out.Plan.Operations
	if len(ops) == 0 {
		return
	}
	creates := map[schemas.Name]string{}
	deletes := map[schemas.Name]int{}
	for i := range ops {
		switch ops[i].Kind {
		case schemas.OperationCreate:
			creates[ops[i].Connection] = ops[i].ID
		case schemas.OperationDelete:
			deletes[ops[i].Connection] = i
		}
	}
	for i := range ops {
		o := &ops[i]
		switch o.Kind {
		case schemas.OperationGrant:
			for _, n := range []schemas.Name{o.Connection, *o.Target} {
				if id, ok := creates[n]; ok {
					o.DependsOn = append(o.DependsOn, id)
				}
			}
		case schemas.OperationRevoke:
			for _, n := range []schemas.Name{o.Connection, *o.Target} {
				// The deletion takes the edge away all the same: one that waits for somebody's leave must not
				// keep back a deletion that has it.
				if j, ok := deletes[n]; ok && (Named(o) || !Named(&ops[j])) {
					ops[j].DependsOn = append(ops[j].DependsOn, o.ID)
				}
			}
		case schemas.OperationDelete:
			if o.ReassignTo == "" {
				continue
			}
			heir := schemas.Name{Type: o.Connection.Type, SourceName: o.ReassignTo}
			if id, ok := creates[heir]; ok {
				o.DependsOn = append(o.DependsOn, id)
			}
			if j, ok := deletes[heir]; ok && !inherits(ops, deletes, j, o.Connection) {
				ops[j].DependsOn = append(ops[j].DependsOn, o.ID)
			}
		}
	}
	for i := range ops {
		slices.Sort(ops[i].DependsOn)
		ops[i].DependsOn = slices.Compact(ops[i].DependsOn)
	}
}

// inherits reports whether what the deletion at i leaves goes, by further deletions, to the connection: a
// circle, in which none can wait for the other.
func inherits(ops []schemas.Operation, deletes map[schemas.Name]int, i int, c schemas.Name) bool {
	for range len(deletes) {
		heir := schemas.Name{Type: ops[i].Connection.Type, SourceName: ops[i].ReassignTo}
		if heir == c {
			return true
		}
		next, ok := deletes[heir]
		if !ok {
			return false
		}
		i = next
	}
	return true
}

func kindOrder(k schemas.OperationKind) int {
	switch k {
	case schemas.OperationCreate:
		return 0
	case schemas.OperationUpdate:
		return 1
	case schemas.OperationRevoke:
		return 2
	case schemas.OperationGrant:
		return 3
	}
	return 4
}

// sortOperations puts them in the order of execution: creations, updates, revokes, grants, deletions, each
// by name. Every operation comes after those it depends on.
func sortOperations(ops []schemas.Operation) {
	slices.SortFunc(ops, func(a, b schemas.Operation) int {
		if c := kindOrder(a.Kind) - kindOrder(b.Kind); c != 0 {
			return c
		}
		return a.Key().Compare(b.Key())
	})
	// Only deletions depend on operations of their own kind, where one hands over to the next.
	first := slices.IndexFunc(ops, func(o schemas.Operation) bool { return o.Kind == schemas.OperationDelete })
	if first < 0 {
		return
	}
	deletes := ops[first:]
	at := make(map[string]int, len(deletes))
	linked := false
	for i := range deletes {
		at[deletes[i].ID] = i
		linked = linked || deletes[i].ReassignTo != ""
	}
	if !linked {
		return
	}
	sorted := make([]schemas.Operation, 0, len(deletes))
	done := make([]bool, len(deletes))
	var visit func(int)
	visit = func(i int) {
		if done[i] {
			return
		}
		done[i] = true
		for _, id := range deletes[i].DependsOn {
			if j, ok := at[id]; ok {
				visit(j)
			}
		}
		sorted = append(sorted, deletes[i])
	}
	for i := range deletes {
		visit(i)
	}
	copy(deletes, sorted)
}

// Named reports whether an approved document names the operation's effect: a revoke, a deletion or an expiry
// that reviewers saw. Such removals pass the first run's hold and the budget.
func Named(o *schemas.Operation) bool {
	switch o.Cause {
	case schemas.CauseRequest, schemas.CauseExpiry, schemas.CauseStart:
		return true
	}
	return false
}
