package postgres_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest/servers"
	"github.com/countersign/countersign/schemas"
)

// newDatabases is an application over db1 and "My/db".
func newDatabases(t *testing.T, server *servers.Postgres) *hands {
	t.Helper()
	h := newHands(t, server)
	h.server.Exec(t, "postgres", `CREATE DATABASE "My/db" OWNER objects_owner`, "CREATE DATABASE apart OWNER objects_owner")
	for _, db := range []string{"db1", "My/db", "apart"} {
		h.server.Exec(t, db, "SET ROLE objects_owner; CREATE SCHEMA IF NOT EXISTS shop; CREATE TABLE shop.orders (id int, who text)")
	}
	h.config.Values["databases"] = []any{"db1", "My/db"}
	h.exec(t, "CREATE ROLE reader; GRANT reader TO countersign_apply WITH ADMIN OPTION")
	return h.open()
}

// TestDatabases covers two databases of one cluster as one application.
func TestDatabases(t *testing.T) {
	t.Parallel()
	databases(t, servers.PostgreSQL(t))
}

func databases(t *testing.T, server *servers.Postgres) {
	t.Helper()
	h := newDatabases(t, server)
	for target, privilege := range map[string]string{"table/db1/shop.orders": "SELECT", `table/"My/db"/shop.orders`: "INSERT", `column/"My/db"/shop.orders.who`: "SELECT",
		`schema_tables/"My/db"/shop`: "SELECT", `default_tables/db1/objects_owner`: "SELECT", "database/apart": "CONNECT"} {
		if err := h.apply(schemas.OperationGrant, target, privilege); err != nil {
			t.Errorf("%s: %v", target, err)
		}
	}
	want := []string{`column/"My/db"/shop.orders.who SELECT`, "database/apart CONNECT", `default_tables/"My/db"/shop.objects_owner SELECT`, "default_tables/db1/objects_owner SELECT",
		`schema_tables/"My/db"/shop SELECT`, `table/"My/db"/shop.orders INSERT`, `table/"My/db"/shop.orders SELECT`, "table/db1/shop.orders SELECT"}
	h.holds(want...)
	if err := h.apply(schemas.OperationGrant, "table/shop.orders", "SELECT"); connectors.CodeOf(err) != connectors.Invalid || !strings.Contains(err.Error(), "db1/shop.orders") {
		t.Errorf("a name without its database: %v, want invalid, with the names that it may have", err)
	}
	role := schemas.Name{Type: "role", SourceName: "reader"}
	_, err := h.writer.Normalize(schemas.State{Connections: []schemas.Connection{{Name: role,
		Entitlements: []schemas.Entitlement{{Target: schemas.Name{Type: "table", SourceName: "shop.orders"}, Privilege: "SELECT"}}}}})
	if connectors.CodeOf(err) != connectors.Invalid {
		t.Errorf("Normalize of a name without its database: %v, want invalid", err)
	}
	page, err := h.writer.List(t.Context(), connectors.Query{Type: "table", Names: []string{"db1/shop.orders", `"My/db"/shop.orders`, "shop.orders", "db1/no.where"}})
	if err != nil || len(page.Items) != 2 || page.Items[0].NativeID == page.Items[1].NativeID {
		t.Errorf("List: %+v, %v; want both tables, with ids of their own", page.Items, err)
	}
	var ids []string
	s, err := h.writer.Read(t.Context(), schemas.Selection{Names: []schemas.Name{role}})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range s.Connections[0].Entitlements {
		if e.Target.Type == "table" && e.Privilege == "SELECT" {
			ids = append(ids, e.TargetID)
		}
	}
	if want := []string{page.Items[0].NativeID, page.Items[1].NativeID}; !slices.Equal(ids, want) {
		t.Errorf("the tables have the ids %q, and %q in a list", ids, want)
	}

	// What is in a database that the application doesn't cover is counted, and goes with the role.
	h.server.Exec(t, "apart", "SET ROLE objects_owner; GRANT SELECT ON shop.orders TO reader")
	if s, err = h.writer.Read(t.Context(), schemas.Selection{Names: []schemas.Name{role}}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]schemas.NotRead{{What: "object in another database", Count: 1, Connection: role}}, s.NotRead); diff != "" {
		t.Errorf("not read (-want +got):\n%s", diff)
	}
	for _, e := range s.Connections[0].Entitlements[:2] {
		if err := h.apply(schemas.OperationRevoke, e.Target.String(), e.Privilege); err != nil {
			t.Errorf("revoke %s: %v", e.Target, err)
		}
	}
	h.holds(want[2:]...)
	op := schemas.Operation{ID: "1", Kind: schemas.OperationDelete, Connection: role}
	if err := h.writer.Apply(t.Context(), []schemas.Operation{op}, func(o connectors.Outcome) { err = o.Err }); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Errorf("deleting a role with privileges in three databases: %v", err)
	}
}

// TestUnreadDatabase has one of two databases out of reach: it is unknown, and the rest goes on.
func TestUnreadDatabase(t *testing.T) {
	t.Parallel()
	h := newDatabases(t, servers.PostgreSQL(t))
	for _, target := range []string{"table/db1/shop.orders", `table/"My/db"/shop.orders`} {
		if err := h.apply(schemas.OperationGrant, target, "SELECT"); err != nil {
			t.Fatal(err)
		}
	}
	h.server.Exec(t, "postgres", `ALTER DATABASE "My/db" ALLOW_CONNECTIONS false`,
		`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'My/db'`)
	h.open()
	s, err := h.writer.Read(t.Context(), schemas.Selection{Names: []schemas.Name{{Type: "role", SourceName: "reader"}}})
	if err != nil || s.Incomplete != "" || len(s.Unread) != 1 || s.Unread[0].Prefix != `"My/db"/` {
		t.Errorf("Read: %+v, %v; want My/db alone to be unread", s, err)
	}
	h.holds("table/db1/shop.orders SELECT")
	if err := h.apply(schemas.OperationGrant, `table/"My/db"/shop.orders`, "INSERT"); connectors.CodeOf(err) == "" {
		t.Errorf("granting out of reach: %v, want an error with a code", err)
	}
	if err := h.apply(schemas.OperationRevoke, "table/db1/shop.orders", "SELECT"); err != nil {
		t.Errorf("revoking within reach: %v", err)
	}
	h.holds()
}
