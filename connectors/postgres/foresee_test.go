package postgres_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest/servers"
	"github.com/countersign/countersign/connectors/postgres"
	"github.com/countersign/countersign/schemas"
)

// TestForesee finds what the server would refuse, with the planning credential alone.
func TestForesee(t *testing.T) {
	t.Parallel()
	foresee(t, servers.PostgreSQL(t))
}

func foresee(t *testing.T, server *servers.Postgres) {
	t.Helper()
	h := newHands(t, server)
	server.Exec(t, "postgres", "CREATE DATABASE mart", "CREATE DATABASE closed")
	h.exec(t, "CREATE ROLE reader; CREATE ROLE owning; CREATE ROLE hidden; CREATE ROLE intern; GRANT USAGE, CREATE ON SCHEMA sales TO intern; GRANT reader TO countersign_apply WITH ADMIN OPTION")
	h.exec(t, "SET ROLE objects_owner; CREATE TABLE sales.orders (id int); GRANT SELECT ON sales.orders TO hidden")
	h.exec(t, "SET ROLE intern; CREATE TABLE sales.scratch (id int)")
	server.Exec(t, "mart", "CREATE TABLE public.mine (id int); ALTER TABLE public.mine OWNER TO owning")
	server.Exec(t, "closed", "CREATE TABLE public.theirs (id int); GRANT SELECT ON public.theirs TO hidden")
	server.Exec(t, "postgres", "REVOKE CONNECT ON DATABASE closed FROM PUBLIC")
	server.Exec(t, h.database, "CREATE SCHEMA countersign AUTHORIZATION countersign_apply; SET ROLE countersign_apply; CREATE TABLE countersign.lease (one boolean)")
	delete(h.config.Values, "apply_dsn") // a preview runs without it
	r, err := postgres.New().OpenReader(t.Context(), h.config)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var ops []schemas.Operation
	op := func(kind schemas.OperationKind, role, target, privilege string) {
		o := schemas.Operation{Kind: kind, Connection: schemas.Name{Type: "role", SourceName: role}, Privilege: privilege}
		if typ, name, ok := strings.Cut(target, "/"); ok {
			o.Target = &schemas.Name{Type: typ, SourceName: name}
		}
		ops = append(ops, o)
	}
	op(schemas.OperationDelete, "reader", "", "")
	op(schemas.OperationDelete, "owning", "", "")
	op(schemas.OperationDelete, "hidden", "", "")
	for _, target := range []string{"table/sales.orders", "table/sales.scratch", "table/sales.nowhere", "column/sales.orders.id", "column/sales.scratch.id",
		"schema_tables/sales", "default_tables/sales.objects_owner", "default_tables/sales.intern"} {
		op(schemas.OperationGrant, "reader", target, "SELECT")
	}
	op(schemas.OperationRevoke, "reader", "table/sales.scratch", "INSERT WITH GRANT OPTION")
	op(schemas.OperationGrant, "reader", "user/intern", "MEMBER")
	op(schemas.OperationGrant, "reader", "role/owning", "MEMBER")
	found, err := r.(connectors.Foreseer).Foresee(t.Context(), ops)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range found {
		got = append(got, f.Message)
	}
	const needs = "the applying credential countersign_apply needs membership in the owner: "
	want := []string{
		`delete role "owning": it owns objects (1 in the database mart): set reassign_to`,
		`delete role "hidden": it has privileges or objects in the database closed, to which the applying credential can't connect`,
	}
	var number int
	h.query(t, "SELECT current_setting('server_version_num')::int", &number)
	if number >= 160000 {
		lacks := func(role string) string {
			return "the applying credential countersign_apply lacks ADMIN on " + role + ` (GRANT "` + role + `" TO "countersign_apply" WITH ADMIN OPTION)`
		}
		want = append(want, `delete role "hidden": `+lacks("hidden"), `delete role "owning": `+lacks("owning"), `grant role "reader": "MEMBER" on role "owning": `+lacks("owning"))
	}
	want = append(want,
		`grant role "reader": "SELECT" on column "sales.scratch.id": `+needs+"intern",
		`grant role "reader": "SELECT" on default_tables "sales.intern": `+needs+"intern",
		`grant role "reader": "SELECT" on schema_tables "sales": `+needs+"intern (sales.scratch)",
		`grant role "reader": "SELECT" on table "sales.scratch": `+needs+"intern",
		`revoke role "reader": "INSERT WITH GRANT OPTION" on table "sales.scratch": `+needs+"intern")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
