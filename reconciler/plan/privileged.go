package plan

import (
	"slices"
	"strings"

	"github.com/countersign/countersign/schemas"
)

// PrivilegedConnection reports whether a connection is powerful by the connector's list or the application's.
func PrivilegedConnection(app *schemas.Application, typ schemas.ConnectionType, n schemas.Name) bool {
	return powerful(typ.Names, typ.Privileged, n) || powerful(typ.Names, app.Spec.Privileged[n.Type], n)
}

// powerful matches as the application compares names, so that another spelling is not another name.
func powerful(rule schemas.NameRule, patterns []string, n schemas.Name) bool {
	if schemas.Match(patterns, n.SourceName) {
		return true
	}
	if !rule.FoldCase {
		return false
	}
	lower := strings.ToLower(n.SourceName)
	return slices.ContainsFunc(patterns, func(p string) bool { return schemas.Match([]string{strings.ToLower(p)}, lower) })
}

// PrivilegedFields are the attributes of a payload that are powerful: those that the connector lists and
// that are true, or set to something else than their default. Sorted.
func PrivilegedFields(typ schemas.ConnectionType, payload map[string]any) []string {
	return privilegedFields(&typeInfo{typ: &typ}, payload)
}

func privilegedFields(info *typeInfo, payload map[string]any) []string {
	var out []string
	for _, f := range info.typ.PrivilegedFields {
		v, ok := payload[f]
		if !ok || v == nil {
			continue
		}
		def, has := info.payloadDefaults()[f]
		if v == true || (has && !equalValue(v, def)) || (!has && v != false) {
			out = append(out, f)
		}
	}
	slices.Sort(out)
	return out
}

// PrivilegedGrant reports whether an entitlement is powerful: by its connection, its target or its privilege.
func PrivilegedGrant(app *schemas.Application, typ schemas.ConnectionType, target schemas.GrantableType, c, t schemas.Name, privilege string) bool {
	return PrivilegedConnection(app, typ, c) ||
		powerful(target.Names, target.Privileged, t) ||
		powerful(target.Names, app.Spec.Privileged[t.Type], t) ||
		slices.Contains(target.PrivilegedPrivileges, privilege)
}

// PrivilegedAccess reports whether an effective right is powerful: by what it is a membership in, or by its target or
// privilege wherever it may be granted.
func PrivilegedAccess(app *schemas.Application, description schemas.Description, a schemas.Access) bool {
	if a.Privilege == schemas.PrivilegeSuperuser {
		return true
	}
	for _, typ := range description.Types {
		if typ.Name == a.Target.Type && PrivilegedConnection(app, typ, a.Target) {
			return true
		}
		target, ok := typ.Target(a.Target.Type)
		if !ok || slices.Contains(target.ReadOnly, a.Privilege) {
			continue
		}
		if powerful(target.Names, target.Privileged, a.Target) || powerful(target.Names, app.Spec.Privileged[a.Target.Type], a.Target) ||
			slices.Contains(target.PrivilegedPrivileges, a.Privilege) {
			return true
		}
	}
	return false
}
