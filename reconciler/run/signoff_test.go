package run

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/schemas"
)

// TestMemberships lists who is a member of a connection that is to be deleted: at either end, but not the server's own
// roles, nor countersign's credential, which is a member of what it made.
func TestMemberships(t *testing.T) {
	t.Parallel()
	name := func(typ, s string) schemas.Name { return schemas.Name{Type: typ, SourceName: s} }
	membership := func(target schemas.Name) []schemas.Entitlement {
		return []schemas.Entitlement{{Target: target, Privilege: schemas.PrivilegeMember}, {Target: target, Privilege: schemas.PrivilegeAdmin}}
	}
	reader, member, own := name("role", "reader"), name("role", "analyst"), name("role", "countersign_apply")
	state := schemas.State{Connections: []schemas.Connection{
		{Name: member, Entitlements: membership(reader)},
		{Name: own, Foreign: true, Protected: "countersign logs in with it", Entitlements: membership(reader)},
		{Name: reader, Entitlements: append(membership(name("user", "dave")), schemas.Entitlement{Target: name("table", "orders"), Privilege: "SELECT"})},
	}}
	description := schemas.Description{Types: []schemas.ConnectionType{{Name: "role", Grantable: []schemas.GrantableType{
		{Type: "role", Edge: schemas.EdgeConnection}, {Type: "user", Edge: schemas.EdgeIdentity}, {Type: "table", Edge: schemas.EdgeResource},
	}}}}
	want := map[schemas.Key]schemas.Name{
		{Connection: member, Target: reader, Privilege: schemas.PrivilegeMember}:               member,
		{Connection: reader, Target: name("user", "dave"), Privilege: schemas.PrivilegeMember}: name("user", "dave"),
	}
	if diff := cmp.Diff(want, memberships(description, state, reader)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
