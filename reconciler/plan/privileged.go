package plan

import (
	"slices"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// PrivilegedConnection says whether a connection is powerful by the connector's list or the application's.
func PrivilegedConnection(app *schemas.Application, typ connectors.ConnectionType, n schemas.Name) bool {
	return connectors.Match(typ.Privileged, n.SourceName) || connectors.Match(app.Spec.Privileged[n.Type], n.SourceName)
}

// PrivilegedFields are the attributes of a payload that are powerful: those that the connector lists and
// that are true, or set to something else than their default. Sorted.
func PrivilegedFields(typ connectors.ConnectionType, payload map[string]any) []string {
	defaults := payloadDefaults(typ.Payload)
	var out []string
	for _, f := range typ.PrivilegedFields {
		v, ok := payload[f]
		if !ok || v == nil || v == false || (defaults[f] != nil && equalValue(v, defaults[f])) {
			continue
		}
		out = append(out, f)
	}
	slices.Sort(out)
	return out
}

// PrivilegedGrant says whether an entitlement is powerful: by its connection, its target or its privilege.
func PrivilegedGrant(app *schemas.Application, typ connectors.ConnectionType, target connectors.GrantableType, c, t schemas.Name, privilege string) bool {
	return PrivilegedConnection(app, typ, c) ||
		connectors.Match(target.Privileged, t.SourceName) ||
		connectors.Match(app.Spec.Privileged[t.Type], t.SourceName) ||
		slices.Contains(target.PrivilegedPrivileges, privilege)
}
