package postgres_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest/servers"
	"github.com/countersign/countersign/connectors/postgres"
	"github.com/countersign/countersign/schemas"
)

// TestHands changes roles by hand in ways that stopped or misled the connector.
func TestHands(t *testing.T) {
	t.Parallel()
	server := servers.PostgreSQL(t)
	d := postgres.New().Describe()
	server.Exec(t, "postgres", d.PlanScript, d.ApplyScript, "CREATE ROLE objects_owner", "GRANT objects_owner TO countersign_apply")
	a := newApplication(t, server, 1, credentials{"countersign_plan", "countersign_apply", "objects_owner"})
	// odd is out of scope. The password of such a role expired before time began.
	a.exec(t, "CREATE ROLE odd LOGIN VALID UNTIL '-infinity'; CREATE ROLE reader; CREATE ROLE erin; GRANT reader TO countersign_apply WITH ADMIN OPTION")
	a.exec(t, `SET ROLE objects_owner; CREATE TABLE sales.orders (id int); GRANT USAGE ON SCHEMA sales TO reader; GRANT SELECT, UPDATE ON sales.orders TO reader;
GRANT SELECT (id) ON sales.orders TO reader; GRANT INSERT ON sales.orders TO reader WITH GRANT OPTION; SET ROLE reader; GRANT INSERT ON sales.orders TO erin`)
	a.exec(t, "ALTER DEFAULT PRIVILEGES FOR ROLE objects_owner GRANT SELECT ON TABLES TO reader")
	w, err := postgres.New().OpenWriter(t.Context(), a.config)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	role := schemas.Name{Type: "role", SourceName: "reader"}
	revoke := func(privilege string) error {
		t.Helper()
		op := schemas.Operation{ID: privilege, Kind: schemas.OperationRevoke, Connection: role,
			Target: &schemas.Name{Type: "table", SourceName: "sales.orders"}, Privilege: privilege}
		var out error
		if err := w.Apply(t.Context(), []schemas.Operation{op}, func(o connectors.Outcome) { out = o.Err }); err != nil {
			t.Fatal(err)
		}
		return out
	}
	if err := revoke("SELECT"); err != nil {
		t.Fatal(err)
	}
	if err := revoke("INSERT"); connectors.CodeOf(err) != connectors.Conflict || !strings.Contains(err.Error(), "erin") {
		t.Errorf("revoking a privilege that was granted on: %v, want a conflict that names erin", err)
	}
	s, err := w.Read(t.Context(), schemas.Selection{Names: []schemas.Name{role}})
	if err != nil || len(s.Connections) != 1 {
		t.Fatalf("Read: %+v, %v", s, err)
	}
	var got []string
	for _, e := range s.Connections[0].Entitlements {
		got = append(got, e.Target.String()+" "+e.Privilege)
	}
	want := []string{"column/sales.orders.id SELECT", "schema/sales USAGE", "table/sales.orders INSERT", "table/sales.orders INSERT WITH GRANT OPTION", "table/sales.orders UPDATE"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if !slices.Equal(s.NotRead, []schemas.NotRead{{What: "default privilege", Count: 1, Connection: role}}) {
		t.Errorf("not read: %+v, want one default privilege", s.NotRead)
	}
}
