package plan

import (
	"slices"

	"github.com/countersign/countersign/schemas"
)

// Privileges are the single privileges that an entry speaks of: those named, or the type's default. For
// memberships ADMIN includes MEMBER, so granting ADMIN grants both and revoking MEMBER revokes both; privileges
// on resources include those that the connector lists as implied. A resource without a default yields none.
func Privileges(typ schemas.ConnectionType, e schemas.Entry, revoke bool) []string {
	target, known := typ.Target(e.Type)
	return privileges(&target, known, &e, revoke)
}

func privileges(target *schemas.GrantableType, known bool, e *schemas.Entry, revoke bool) []string {
	list := e.Privileges
	if len(list) == 0 {
		list = target.Default
		// The preview refuses an unknown type; the fold is total.
		if len(list) == 0 && (!known || target.Edge != schemas.EdgeResource) {
			list = []string{schemas.PrivilegeMember}
		}
	}
	if known && target.Edge == schemas.EdgeResource {
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
func implied(target *schemas.GrantableType, list []string, revoke bool) []string {
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
