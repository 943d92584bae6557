package graph_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/reconciler/graph"
	"github.com/countersign/countersign/schemas"
)

// description has roles, which are granted to roles and users and may use tables.
func description() schemas.Description {
	return schemas.Description{Types: []schemas.ConnectionType{{Name: "role", Grantable: []schemas.GrantableType{
		{Type: "table", Edge: schemas.EdgeResource}, {Type: "role", Edge: schemas.EdgeConnection}, {Type: "user", Edge: schemas.EdgeIdentity},
	}}}}
}

func name(s string) schemas.Name {
	typ, source, _ := strings.Cut(s, "/")
	return schemas.Name{Type: typ, SourceName: source}
}

// connection is written as "role/a table/t:SELECT user/x:MEMBER".
func connection(s string) schemas.Connection {
	words := strings.Fields(s)
	c := schemas.Connection{Name: name(words[0])}
	for _, w := range words[1:] {
		target, privilege, _ := strings.Cut(w, ":")
		c.Entitlements = append(c.Entitlements, schemas.Entitlement{Target: name(target), Privilege: privilege})
	}
	return c
}

func accessLine(a schemas.Access) string {
	s := a.Identity.String() + " " + a.Target.String() + " " + a.Privilege
	for _, v := range a.Via {
		s += " via " + v.String()
	}
	return s
}

func TestGraph(t *testing.T) {
	t.Parallel()
	g := graph.New("app", description(), schemas.State{Connections: []schemas.Connection{
		connection("role/a role/b:MEMBER user/x:MEMBER user/z:ADMIN"), connection("role/b role/a:MEMBER role/c:MEMBER role/c:ADMIN table/t:SELECT"),
		connection("role/c table/t:SELECT table/u:SELECT user/y:MEMBER"),
	}})
	lines := func(n string) []string {
		var out []string
		for _, a := range g.AccessOf(name(n)) {
			out = append(out, accessLine(a))
		}
		return out
	}
	want := []string{
		"user/x role/a MEMBER", "user/x role/b MEMBER via role/a", "user/x role/c ADMIN via role/a via role/b", "user/x role/c MEMBER via role/a via role/b",
		"user/x table/t SELECT via role/a via role/b", "user/x table/u SELECT via role/a via role/b via role/c",
	}
	if diff := cmp.Diff(want, lines("user/x")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]schemas.Name{name("user/x"), name("user/y")}, g.Members(name("role/c"))); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]schemas.Name{name("role/b"), name("user/y")}, g.DirectMembers(name("role/c"))); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]schemas.Name{name("user/x"), name("user/y"), name("user/z")}, g.Identities()); diff != "" {
		t.Error(diff)
	}
	if len(g.AccessOf(name("user/nobody"))) > 0 || len(g.Members(name("role/none"))) > 0 || len(g.DirectMembers(name("role/none"))) > 0 {
		t.Error("a name that is not there has access or members")
	}
	ops := []schemas.Operation{{ID: "1", Kind: schemas.OperationDelete, Connection: name("role/a")}}
	after := graph.New("app", description(), schemas.State{Connections: []schemas.Connection{
		connection("role/b role/c:MEMBER role/c:ADMIN table/t:SELECT"), connection("role/c table/t:SELECT table/u:SELECT user/y:MEMBER"),
	}})
	_, lost := graph.Effects(ops, g, after)
	var got []string
	for _, a := range lost {
		got = append(got, accessLine(a))
	}
	// Whoever could only hand it on loses that too.
	if diff := cmp.Diff(append(want, "user/z role/a ADMIN"), got); diff != "" {
		t.Error(diff)
	}
	g.Apply(&ops[0])
	if g.Exists(name("role/a")) || !g.Exists(name("role/b")) || !g.Exists(name("user/x")) || len(g.AccessOf(name("user/x"))) > 0 || len(g.AccessOf(name("user/z"))) > 0 {
		t.Errorf("after the deletion: %q, %q", lines("user/x"), lines("user/z"))
	}
}
