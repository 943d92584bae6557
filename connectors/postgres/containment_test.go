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

// hands is a connector with least privileges on a database in which others change things by hand.
type hands struct {
	*application
	t      *testing.T
	writer connectors.Writer
}

func newHands(t *testing.T, server *servers.Postgres) *hands {
	t.Helper()
	d := postgres.New().Describe()
	server.Exec(t, "postgres", d.PlanScript, d.ApplyScript, "CREATE ROLE objects_owner", "GRANT objects_owner TO countersign_apply")
	a := newApplication(t, server, 1, credentials{"countersign_plan", "countersign_apply", "objects_owner"})
	return &hands{a, t, nil}
}

func (h *hands) open() *hands {
	h.t.Helper()
	w, err := postgres.New().OpenWriter(h.t.Context(), h.config)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = w.Close() })
	h.writer = w
	return h
}

// apply carries out "grant" or "revoke" of a privilege on a target for the role reader.
func (h *hands) apply(kind schemas.OperationKind, target, privilege string) error {
	h.t.Helper()
	typ, name, _ := strings.Cut(target, "/")
	op := schemas.Operation{ID: "1", Kind: kind, Connection: schemas.Name{Type: "role", SourceName: "reader"},
		Target: &schemas.Name{Type: typ, SourceName: name}, Privilege: privilege}
	var out error
	if err := h.writer.Apply(h.t.Context(), []schemas.Operation{op}, func(o connectors.Outcome) { out = o.Err }); err != nil {
		h.t.Fatal(err)
	}
	return out
}

// held lists what reader holds.
func (h *hands) held() []string {
	h.t.Helper()
	s, err := h.writer.Read(h.t.Context(), schemas.Selection{Names: []schemas.Name{{Type: "role", SourceName: "reader"}}})
	if err != nil || len(s.Connections) != 1 {
		h.t.Fatalf("Read: %+v, %v", s, err)
	}
	var out []string
	for _, e := range s.Connections[0].Entitlements {
		out = append(out, e.Target.String()+" "+e.Privilege)
	}
	return out
}

func (h *hands) holds(want ...string) {
	h.t.Helper()
	if got := h.held(); !slices.Equal(got, want) {
		h.t.Errorf("reader holds %q, want %q", got, want)
	}
}

// TestWholeSchemas grants and revokes on all objects of a schema, one of which belongs to a stranger.
func TestWholeSchemas(t *testing.T) {
	t.Parallel()
	wholeSchemas(t, servers.PostgreSQL(t))
}

func wholeSchemas(t *testing.T, server *servers.Postgres) {
	t.Helper()
	h := newHands(t, server)
	h.exec(t, "CREATE ROLE reader; CREATE ROLE intern; GRANT USAGE, CREATE ON SCHEMA sales TO intern")
	h.exec(t, "SET ROLE objects_owner; CREATE TABLE sales.orders (id int); CREATE VIEW sales.recent AS SELECT 1 AS one; CREATE SEQUENCE sales.numbers; CREATE PROCEDURE sales.tidy() LANGUAGE sql AS ''")
	h.open()
	const whole = "schema_tables/sales"
	all := []string{"default_tables/sales.objects_owner SELECT", "schema_tables/sales SELECT", "table/sales.orders SELECT", "view/sales.recent SELECT"}
	if err := h.apply(schemas.OperationGrant, whole, "SELECT"); err != nil {
		t.Fatal(err)
	}
	h.holds(all...)

	h.exec(t, "SET ROLE intern; CREATE TABLE sales.scratch (id int)")
	left := []string{"default_tables/sales.objects_owner SELECT", "table/sales.orders SELECT", "view/sales.recent SELECT"}
	h.holds(left...)
	h.exec(t, "REVOKE SELECT ON sales.orders FROM reader")
	err := h.apply(schemas.OperationGrant, whole, "SELECT")
	if connectors.CodeOf(err) != connectors.Denied || !strings.Contains(err.Error(), "sales.scratch (owner intern), what intern creates later") {
		t.Errorf("granting with a stranger's table: %v, want a denial that names it", err)
	}
	h.holds(left...)

	if err := h.apply(schemas.OperationRevoke, whole, "SELECT"); err != nil {
		t.Errorf("revoking beside a stranger's table: %v", err)
	}
	h.holds()

	h.exec(t, "SET ROLE intern; GRANT SELECT ON sales.scratch TO reader; ALTER DEFAULT PRIVILEGES IN SCHEMA sales GRANT SELECT ON TABLES TO reader")
	if err := h.apply(schemas.OperationGrant, whole, "SELECT"); err != nil {
		t.Errorf("granting beside what the stranger granted: %v", err)
	}
	if got := h.held(); !slices.Contains(got, "schema_tables/sales SELECT") {
		t.Errorf("reader holds %q, want all tables", got)
	}
	err = h.apply(schemas.OperationRevoke, whole, "SELECT")
	if connectors.CodeOf(err) != connectors.Denied || !strings.Contains(err.Error(), "sales.scratch") {
		t.Errorf("revoking what a stranger granted: %v, want a denial that names it", err)
	}
	h.holds("default_tables/sales.intern SELECT", "table/sales.scratch SELECT")
	h.exec(t, "DROP OWNED BY intern")

	for target, privilege := range map[string]string{"schema_sequences/sales": "USAGE", "schema_functions/sales": "EXECUTE"} {
		if err := h.apply(schemas.OperationGrant, target, privilege); err != nil {
			t.Errorf("%s: %v", target, err)
		}
	}
	h.holds("default_functions/sales.objects_owner EXECUTE", "default_sequences/sales.objects_owner USAGE", "function/sales.tidy() EXECUTE",
		"schema_functions/sales EXECUTE", "schema_sequences/sales USAGE", "sequence/sales.numbers USAGE")
}

// TestDefaultPrivileges grants what roles get on objects that are created later.
func TestDefaultPrivileges(t *testing.T) {
	t.Parallel()
	defaultPrivileges(t, servers.PostgreSQL(t))
}

func defaultPrivileges(t *testing.T, server *servers.Postgres) {
	t.Helper()
	h := newHands(t, server)
	h.exec(t, `CREATE ROLE reader; CREATE ROLE "We.ird"; CREATE SCHEMA "a.b"; GRANT "We.ird" TO countersign_apply; SET ROLE objects_owner; CREATE TABLE sales.orders (id int)`)
	h.open()
	for target, privilege := range map[string]string{`default_tables/"a.b"."We.ird"`: "SELECT", "default_tables/objects_owner": "INSERT", "default_schemas/objects_owner": "USAGE",
		"default_sequences/sales.objects_owner": "UPDATE", "default_functions/objects_owner": "EXECUTE"} {
		if err := h.apply(schemas.OperationGrant, target, privilege); err != nil {
			t.Errorf("%s: %v", target, err)
		}
	}
	want := []string{"default_functions/objects_owner EXECUTE", "default_schemas/objects_owner USAGE", "default_sequences/sales.objects_owner UPDATE",
		`default_tables/"a.b"."We.ird" SELECT`, "default_tables/objects_owner INSERT", "schema_sequences/sales UPDATE"} // the owner of a.b is another, whose tables are not covered
	h.holds(want...)
	for _, name := range []string{"nobody", "sales.nobody", "nowhere.objects_owner", `"sales".objects_owner`, "a.b.c", `"`, ""} {
		if err := h.apply(schemas.OperationGrant, "default_tables/"+name, "SELECT"); connectors.CodeOf(err) != connectors.NotFound {
			t.Errorf("%s: %v, want not found", name, err)
		}
	}
	for _, e := range h.held() {
		target, privilege, _ := strings.Cut(e, " ")
		if err := h.apply(schemas.OperationRevoke, target, privilege); err != nil {
			t.Errorf("revoke %s: %v", e, err)
		}
	}
	h.holds()
}
