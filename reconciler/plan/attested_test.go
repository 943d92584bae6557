package plan_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/schemas"
)

func named(typ, name string) schemas.Name { return schemas.Name{Type: typ, SourceName: name} }

func opOf(kind schemas.OperationKind, target string) *schemas.Operation {
	o := &schemas.Operation{ID: "o", Kind: kind, Connection: named("role", "a")}
	if target != "" {
		n := named("user", target)
		o.Target, o.Privilege = &n, schemas.PrivilegeMember
	}
	return o
}

func TestSameEffect(t *testing.T) {
	t.Parallel()
	base := func() *schemas.Operation {
		o := opOf(schemas.OperationUpdate, "")
		o.NativeID, o.After = "7", map[string]any{"limit": 1, "comment": "x"}
		return o
	}
	for name, c := range map[string]struct {
		change func(*schemas.Operation)
		same   bool
	}{
		"itself":              {func(*schemas.Operation) {}, true},
		"other documents":     {func(o *schemas.Operation) { o.Documents = []schemas.DocumentID{{Path: "x"}} }, true},
		"one and one point":   {func(o *schemas.Operation) { o.After = map[string]any{"limit": 1.0, "comment": "x"} }, true},
		"an id that is known": {func(o *schemas.Operation) { o.NativeID = "" }, true},
		"another id":          {func(o *schemas.Operation) { o.NativeID = "8" }, false},
		"another value":       {func(o *schemas.Operation) { o.After = map[string]any{"limit": 2, "comment": "x"} }, false},
		"one value more":      {func(o *schemas.Operation) { o.After = map[string]any{"limit": 1, "comment": "x", "y": 1} }, false},
		"another heir":        {func(o *schemas.Operation) { o.ReassignTo = "b" }, false},
		"another kind":        {func(o *schemas.Operation) { o.Kind = schemas.OperationCreate }, false},
	} {
		o := base()
		c.change(o)
		if got := plan.SameEffect(base(), o); got != c.same {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestSeen(t *testing.T) {
	t.Parallel()
	role := func(id string, entitlements ...schemas.Entitlement) schemas.Connection {
		return schemas.Connection{Name: named("role", "a"), NativeID: id, Payload: map[string]any{"comment": "x"}, Entitlements: entitlements}
	}
	alice := schemas.Entitlement{Target: named("user", "alice"), TargetID: "1", Privilege: schemas.PrivilegeMember}
	invited := alice
	invited.State = schemas.StateInvited
	live := func(c ...schemas.Connection) schemas.State { return schemas.State{Connections: c} }
	update := func(v string) *schemas.Operation {
		o := opOf(schemas.OperationUpdate, "")
		o.After = map[string]any{"comment": v}
		return o
	}
	with := func(o *schemas.Operation, native, target string) *schemas.Operation {
		o.NativeID, o.TargetID = native, target
		return o
	}
	for name, c := range map[string]struct {
		o    *schemas.Operation
		live schemas.State
		want bool
	}{
		"created":                        {opOf(schemas.OperationCreate, ""), live(role("7")), true},
		"not created":                    {opOf(schemas.OperationCreate, ""), live(), false},
		"deleted":                        {opOf(schemas.OperationDelete, ""), live(), true},
		"not deleted":                    {opOf(schemas.OperationDelete, ""), live(role("7")), false},
		"deleted, another of that name":  {with(opOf(schemas.OperationDelete, ""), "7", ""), live(role("8")), true},
		"updated":                        {update("x"), live(role("7")), true},
		"not updated":                    {update("y"), live(role("7")), false},
		"granted":                        {opOf(schemas.OperationGrant, "alice"), live(role("7", alice)), true},
		"granted to another alice":       {with(opOf(schemas.OperationGrant, "alice"), "7", "2"), live(role("7", alice)), false},
		"granted in another of the name": {with(opOf(schemas.OperationGrant, "alice"), "8", ""), live(role("7", alice)), false},
		"invited is not granted":         {opOf(schemas.OperationGrant, "alice"), live(role("7", invited)), false},
		"not granted":                    {opOf(schemas.OperationGrant, "bob"), live(role("7", alice)), false},
		"revoked":                        {opOf(schemas.OperationRevoke, "bob"), live(role("7", alice)), true},
		"revoked with the connection":    {opOf(schemas.OperationRevoke, "bob"), live(), true},
		"not revoked":                    {opOf(schemas.OperationRevoke, "alice"), live(role("7", alice)), false},
		"an invitation is not revoked":   {opOf(schemas.OperationRevoke, "alice"), live(role("7", invited)), false},
		"two of the name":                {opOf(schemas.OperationGrant, "alice"), live(role("7", alice), role("8", alice)), false},
	} {
		if got := plan.Seen(c.o, c.live); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestAttested is the live state of what nobody can read: what was said, and what has to be taken to be there.
func TestAttested(t *testing.T) {
	t.Parallel()
	docs := []schemas.DocumentID{{Path: "r.yaml", Blob: "b"}}
	a := named("role", "a")
	entitled := func(who string) plan.Entitlement {
		return plan.Entitlement{Target: named("user", who), Privilege: schemas.PrivilegeMember, Documents: docs}
	}
	gone := func(who string, cause schemas.Cause) plan.Tombstone {
		return plan.Tombstone{Target: named("user", who), Privilege: schemas.PrivilegeMember, Cause: cause, Documents: docs}
	}
	grant, revoke := func(who string) *schemas.Operation { return opOf(schemas.OperationGrant, who) }, func(who string) *schemas.Operation { return opOf(schemas.OperationRevoke, who) }
	create := opOf(schemas.OperationCreate, "")
	create.After = map[string]any{"limit": 1}
	for name, c := range map[string]struct {
		said []*schemas.Operation
		want plan.Connection
		has  []string // nil: it is not there
	}{
		"nothing said":                    {nil, plan.Connection{Existence: plan.Present}, nil},
		"created":                         {[]*schemas.Operation{create}, plan.Connection{Existence: plan.Present}, []string{}},
		"granted":                         {[]*schemas.Operation{create, grant("alice")}, plan.Connection{Existence: plan.Present, Entitlements: []plan.Entitlement{entitled("alice"), entitled("bob")}}, []string{"alice"}},
		"granted and taken":               {[]*schemas.Operation{create, grant("alice"), revoke("alice")}, plan.Connection{Existence: plan.Present}, []string{}},
		"deleted":                         {[]*schemas.Operation{create, grant("alice"), opOf(schemas.OperationDelete, "")}, plan.Connection{Existence: plan.Present}, nil},
		"made anew":                       {[]*schemas.Operation{create, grant("alice"), opOf(schemas.OperationDelete, ""), create}, plan.Connection{Existence: plan.Present}, []string{}},
		"assigned to, and nobody made it": {nil, plan.Connection{Entitlements: []plan.Entitlement{entitled("alice")}}, []string{}},
		"to be revoked, and nobody knows": {nil, plan.Connection{Tombstones: []plan.Tombstone{gone("old", schemas.CauseRequest)}}, []string{"old"}},
		"to be revoked, and said":         {[]*schemas.Operation{revoke("old")}, plan.Connection{Tombstones: []plan.Tombstone{gone("old", schemas.CauseRequest)}}, []string{}},
		"undone before it was said":       {nil, plan.Connection{Tombstones: []plan.Tombstone{gone("alice", schemas.CauseUndo)}}, []string{}},
		"to be deleted, and nobody knows": {nil, plan.Connection{Existence: plan.Deleted, Documents: docs}, []string{}},
		"to be deleted, and said":         {[]*schemas.Operation{opOf(schemas.OperationDelete, "")}, plan.Connection{Existence: plan.Deleted, Documents: docs}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var said plan.Attested
			for _, o := range c.said {
				said.Add(o, time.Time{})
			}
			c.want.Name = a
			s := said.State(&plan.Desired{Connections: []*plan.Connection{&c.want}}, func(string) (schemas.BaselineItem, bool) { return schemas.BaselineItem{}, false })
			var got []string
			for _, l := range s.Connections {
				got = []string{}
				for _, e := range l.Entitlements {
					got = append(got, e.Target.SourceName)
				}
			}
			if diff := cmp.Diff(c.has, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
