package run

import (
	"testing"

	"github.com/countersign/countersign/schemas"
)

func TestIDOf(t *testing.T) {
	t.Parallel()
	sales, staff := schemas.Name{Type: "role", SourceName: "sales"}, schemas.Name{Type: "role", SourceName: "staff"}
	alice := schemas.Name{Type: "user", SourceName: "alice"}
	member := func(id string) schemas.Entitlement {
		return schemas.Entitlement{Target: alice, TargetID: id, Privilege: schemas.PrivilegeMember}
	}
	admin := schemas.Entitlement{Target: alice, TargetID: "a9", Privilege: schemas.PrivilegeAdmin}
	connection := func(n schemas.Name, id string, list ...schemas.Entitlement) schemas.Connection {
		return schemas.Connection{Name: n, NativeID: id, Entitlements: list}
	}
	create := schemas.Operation{Kind: schemas.OperationCreate, Connection: sales}
	grant := schemas.Operation{Kind: schemas.OperationGrant, Connection: sales, Target: &alice, Privilege: schemas.PrivilegeMember}
	of := func(o schemas.Operation, kind schemas.OperationKind) schemas.Operation { o.Kind = kind; return o }
	for name, c := range map[string]struct {
		live []schemas.Connection
		op   schemas.Operation
		want string
	}{
		"created":                  {[]schemas.Connection{connection(sales, "s1"), connection(staff, "s2")}, create, "s1"},
		"created, others before":   {[]schemas.Connection{connection(schemas.Name{Type: "role", SourceName: "admins"}, "s0"), connection(sales, "s1")}, create, "s1"},
		"created, another type":    {[]schemas.Connection{connection(schemas.Name{Type: "group", SourceName: "sales"}, "g1")}, create, ""},
		"created, not there":       {[]schemas.Connection{connection(staff, "s2")}, create, ""},
		"created, nothing there":   {nil, create, ""},
		"created, there twice":     {[]schemas.Connection{connection(sales, "s1"), connection(sales, "s3")}, create, ""},
		"created, without ids":     {[]schemas.Connection{connection(sales, "")}, create, ""},
		"granted":                  {[]schemas.Connection{connection(sales, "s1", member("a1"))}, grant, "a1"},
		"granted, beside another":  {[]schemas.Connection{connection(sales, "s1", member("a1"), admin)}, grant, "a1"},
		"granted, another alone":   {[]schemas.Connection{connection(sales, "s1", admin)}, grant, ""},
		"granted, of another":      {[]schemas.Connection{connection(sales, "s1"), connection(staff, "s2", member("a2"))}, grant, ""},
		"granted, to two":          {[]schemas.Connection{connection(sales, "s1", member("a1"), member("a2"))}, grant, ""},
		"granted, connection gone": {nil, grant, ""},
		// One of two connections of the name has it: the target is known all the same.
		"granted, one of two": {[]schemas.Connection{connection(sales, "s1"), connection(sales, "s3", member("a1"))}, grant, "a1"},
		"both of two":         {[]schemas.Connection{connection(sales, "s1", member("a1")), connection(sales, "s3", member("a1"))}, grant, ""},
		"revoked":             {[]schemas.Connection{connection(sales, "s1", member("a1"))}, of(grant, schemas.OperationRevoke), ""},
		"deleted":             {[]schemas.Connection{connection(sales, "s1")}, of(create, schemas.OperationDelete), ""},
		"updated":             {[]schemas.Connection{connection(sales, "s1")}, of(create, schemas.OperationUpdate), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := &liveApplication{state: schemas.State{Connections: c.live}}
			if got := l.idOf(&c.op); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
