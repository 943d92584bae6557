package reconciler_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/connectors/connectortest/servers"
	"github.com/countersign/countersign/reconciler"
	"github.com/countersign/countersign/schemas"
)

// TestCheck examines an application whose credential somebody else may use, beside one that manages the same roles.
func TestCheck(t *testing.T) {
	t.Parallel()
	w := newWarehouse(t, servers.PostgreSQL(t), "checked")
	w.land(files{"requests/one.yaml": w.creation("eader")})
	w.mustRun()
	// open lists what is open, by name.
	open := func() map[string]string {
		t.Helper()
		checks, err := w.open().Check(t.Context(), "main")
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]string{}
		for _, c := range checks {
			if c.State == schemas.CheckUnknown {
				t.Errorf("%s is unknown: %s", c.Name, c.Detail)
			}
			if c.State == schemas.CheckOpen {
				out[c.Name] = c.Fix
			} else if c.Name == "crm: credential checked_apply" && !strings.Contains(c.Detail, "it is a member of role/checked_owner") {
				t.Errorf("the memberships of the credential aren't shown: %s", c.Detail)
			}
		}
		return out
	}
	if got := open(); len(got) > 0 {
		t.Errorf("at first, open: %v", got)
	}
	w.sql("CREATE ROLE checked_ops", "GRANT checked_apply TO checked_ops", "CREATE ROLE checked_mallory LOGIN", "GRANT checked_ops TO checked_mallory", "GRANT checked_plan TO checked_mallory")
	app := w.Git("show", "main:applications/crm.yaml") + "\n"
	other := strings.Replace(strings.Replace(app, "metadata: {name: crm}", "metadata: {name: hr}", 1), `["checked_r*"]`, `["checked_re*"]`, 1)
	w.land(files{"applications/hr.yaml": other})
	got := open()
	for name, want := range map[string][]string{
		"crm: scope": {"overlaps that of application hr", `checked_r`}, "hr: scope": {"overlaps that of application crm"},
		"crm: credential checked_apply": {"role/checked_ops", "user/checked_mallory"}, "crm: credential checked_plan": {"user/checked_mallory"},
		"hr: credential checked_apply": {"user/checked_mallory"}, "hr: credential checked_plan": {"user/checked_mallory"},
	} {
		for _, s := range want {
			if !strings.Contains(got[name], s) {
				t.Errorf("%s: %q, want %s in it", name, got[name], s)
			}
		}
		delete(got, name)
	}
	if len(got) > 0 {
		t.Errorf("open besides: %v", got)
	}
	rep, err := w.open().Access(t.Context(), reconciler.AccessOptions{To: "main", Application: "crm", Identity: "checked_apply"})
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	for _, e := range rep.Entries {
		shown[e.Target.String()+" "+e.Privilege] = true
	}
	if !shown["role/checked_owner MEMBER"] {
		t.Errorf("access doesn't show what the credential is a member of: %v", shown)
	}
}

// TestNotManaged counts in drift what nobody can request: ownership, and what everybody may use.
func TestNotManaged(t *testing.T) {
	t.Parallel()
	w := newWarehouse(t, servers.PostgreSQL(t), "besides")
	w.land(files{"requests/one.yaml": w.creation("eader")})
	w.mustRun()
	counts := func() map[string]int {
		out := map[string]int{}
		for _, n := range w.runWith(reconciler.RunOptions{Drift: true}).Plan.NotManaged {
			key := n.What
			if n.Connection.SourceName != "" {
				key += " of " + n.Connection.String()
			}
			out[key] = n.Count
		}
		return out
	}
	before := counts()
	w.sql("GRANT SELECT ON sales.payroll TO PUBLIC", "GRANT USAGE ON SCHEMA sales TO PUBLIC", "CREATE TABLE sales.mine (id int, name text)", "ALTER TABLE sales.mine OWNER TO besides_reader")
	want := map[string]int{"privilege of PUBLIC": before["privilege of PUBLIC"] + 2, "owned object of role/besides_reader": 1}
	if diff := cmp.Diff(want, counts()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
