package plan

import (
	"slices"

	"github.com/countersign/countersign/schemas"
)

// leftover treats an entitlement that no request speaks of.
func (d *differ) leftover(name schemas.Name, info *typeInfo, l *schemas.Connection, e *schemas.Entitlement) {
	if d.in.Application.Spec.Unmanaged == schemas.UnmanagedIgnore {
		return
	}
	key := schemas.Key{Connection: name, Target: e.Target, Privilege: e.Privilege}
	if n := len(d.out.Plan.Unmanaged); n > 0 && d.out.Plan.Unmanaged[n-1] == key {
		return // two of one name: a plan has one operation for a key, and the next takes the second
	}
	d.out.Plan.Unmanaged = append(d.out.Plan.Unmanaged, key)
	target := info.target(e.Target.Type)
	if d.in.Application.Spec.Unmanaged != schemas.UnmanagedRevoke || target == nil || !target.Revoke || slices.Contains(target.ReadOnly, e.Privilege) {
		return
	}
	op := d.op(schemas.OperationRevoke, name, nil)
	op.Target, op.TargetID, op.Privilege, op.Cause, op.NativeID = &key.Target, e.TargetID, e.Privilege, schemas.CauseUnmanaged, l.NativeID
	op.Privileged = PrivilegedGrant(d.in.Application, *info.typ, *target, name, e.Target, e.Privilege)
	d.plan(op, absentFor(schemas.CauseUnmanaged), nil, schemas.BaselineItem{}, false)
}

// unmanaged looks at the live connections in scope of which no request speaks at all.
func (d *differ) unmanaged(spoken []bool) {
	if d.in.Application.Spec.Unmanaged == schemas.UnmanagedIgnore {
		return
	}
	for i, l := range d.live {
		if spoken[i] || l.Protected != "" || len(l.Entitlements) == 0 || !d.inScope(l.Name) {
			continue
		}
		// Two of one name cannot be told apart by the keys of entitlements: nothing is done to them.
		if i > 0 && d.live[i-1].Name == l.Name || i+1 < len(d.live) && d.live[i+1].Name == l.Name {
			continue
		}
		info := d.types.get(l.Type)
		if !info.known {
			continue
		}
		d.leftovers(&subject{info: info}, l)
	}
}
