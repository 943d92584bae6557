package plan

import (
	"maps"
	"slices"

	"github.com/countersign/countersign/schemas"
)

// SameEffect reports whether two operations of one id bring about the same: what somebody outside was asked for need not
// be asked for again. An id that became known since then is not a difference.
func SameEffect(a, b *schemas.Operation) bool {
	id := func(x, y string) bool { return x == "" || y == "" || x == y }
	return a.ID == b.ID && a.Kind == b.Kind && a.Connection == b.Connection && a.Key() == b.Key() && a.ReassignTo == b.ReassignTo &&
		id(a.NativeID, b.NativeID) && id(a.TargetID, b.TargetID) && equalAttributes(a.After, b.After)
}

func equalAttributes(a, b map[string]any) bool { return maps.EqualFunc(a, b, equalValue) }

// Seen reports whether the live state shows what an operation was to bring about. Of several of one name, an id decides;
// without one nothing is seen.
func Seen(o *schemas.Operation, live schemas.State) bool {
	var found []*schemas.Connection
	for i := range live.Connections {
		if c := &live.Connections[i]; c.Name == o.Connection && (o.NativeID == "" || c.NativeID == "" || c.NativeID == o.NativeID) {
			found = append(found, c)
		}
	}
	if len(found) != 1 {
		return len(found) == 0 && o.Removes()
	}
	c := found[0]
	switch o.Kind {
	case schemas.OperationCreate:
		return true
	case schemas.OperationUpdate:
		for k, v := range o.After {
			if have, ok := c.Payload[k]; !ok || !equalValue(v, have) {
				return false
			}
		}
		return true
	case schemas.OperationGrant, schemas.OperationRevoke:
		there := slices.ContainsFunc(c.Entitlements, func(e schemas.Entitlement) bool {
			return e.Target == *o.Target && e.Privilege == o.Privilege && (o.TargetID == "" || e.TargetID == "" || e.TargetID == o.TargetID) &&
				(o.Kind == schemas.OperationRevoke || e.State == "")
		})
		return there == (o.Kind == schemas.OperationGrant)
	}
	return false
}
