package postgres_test

import (
	"strings"
	"testing"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest/servers"
	"github.com/countersign/countersign/schemas"
)

// A run that was stopped and wakes after a later one took over writes nothing: neither in a batch nor alone, and it
// deletes nothing.
func TestStaleRunWritesNothing(t *testing.T) {
	t.Parallel()
	h := newHands(t, servers.PostgreSQL(t))
	h.exec(t, "CREATE ROLE reader; CREATE ROLE erin LOGIN; CREATE ROLE dave LOGIN; GRANT reader TO countersign_apply WITH ADMIN OPTION")
	h.config.Epoch = 7
	stale := h.open().writer
	role := schemas.Name{Type: "role", SourceName: "reader"}
	grant := func(name string) schemas.Operation {
		return schemas.Operation{ID: name, Kind: schemas.OperationGrant, Connection: role, Target: &schemas.Name{Type: "user", SourceName: name}, Privilege: "MEMBER"}
	}
	apply := func(w connectors.Writer, ops ...schemas.Operation) (errs []error) {
		t.Helper()
		if err := w.Apply(t.Context(), ops, func(o connectors.Outcome) {
			if o.Err != nil {
				errs = append(errs, o.Err)
			}
		}); err != nil {
			errs = append(errs, err)
		}
		return errs
	}
	if errs := apply(stale, grant("erin")); len(errs) > 0 {
		t.Fatal(errs)
	}
	h.config.Epoch = 8
	if errs := apply(h.open().writer, grant("erin")); len(errs) > 0 {
		t.Fatal(errs)
	}
	for name, ops := range map[string][]schemas.Operation{
		"one": {grant("dave")}, "two": {grant("dave"), grant("erin")}, "a deletion": {{ID: "d", Kind: schemas.OperationDelete, Connection: role}},
	} {
		errs := apply(stale, ops...)
		if len(errs) == 0 || connectors.CodeOf(errs[0]) != connectors.Conflict || !strings.Contains(errs[0].Error(), "later run has taken over") {
			t.Errorf("%s: %v", name, errs)
		}
	}
	// The lease was taken while the stale run was within its work.
	h.config.Epoch = 9
	within := h.open().writer
	h.exec(t, "UPDATE countersign.lease SET epoch = 10")
	if errs := apply(within, grant("dave")); len(errs) == 0 {
		t.Error("a run that lost the lease meanwhile writes")
	}
	var members int
	h.query(t, "SELECT count(*) FROM pg_auth_members WHERE roleid = 'reader'::regrole AND member = 'dave'::regrole", &members)
	if members != 0 {
		t.Error("dave is in")
	}
}
