package manual_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/manual"
	"github.com/countersign/countersign/schemas"
)

func values(t *testing.T, text string) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

const good = `{"title": "Ramp", "types": [
  {"name": "group", "payload": {"limit": {"type": "integer", "default": 0}}, "privileged": ["admins"], "privileged_fields": ["limit"], "grantable": [
    {"type": "user", "edge": "identity", "names": {"pattern": "[a-z.]+@acme\\.test", "max_bytes": 64}},
    {"type": "group", "edge": "member", "privileges": ["MEMBER", "ADMIN"]},
    {"type": "card", "edge": "resource", "privileges": ["USE", "APPROVE"], "default": ["USE"], "privileged_privileges": ["APPROVE"], "revoke": false}]}]}`

func TestDescribeConfig(t *testing.T) {
	t.Parallel()
	d, err := manual.New().DescribeConfig(values(t, good))
	if err != nil {
		t.Fatal(err)
	}
	if !d.Attested || d.Title != "Ramp" || len(d.Types) != 1 {
		t.Fatalf("described %+v", d)
	}
	want := []schemas.GrantableType{
		{Type: "user", Edge: schemas.EdgeIdentity, Privileges: []string{"MEMBER"}, Default: []string{"MEMBER"}, Names: schemas.NameRule{MaxBytes: 64, Pattern: `[a-z.]+@acme\.test`}, Grant: true, Revoke: true},
		{Type: "group", Edge: schemas.EdgeMember, Privileges: []string{"MEMBER", "ADMIN"}, Default: []string{"MEMBER"}, Grant: true, Revoke: true},
		{Type: "card", Edge: schemas.EdgeResource, Privileges: []string{"USE", "APPROVE"}, Default: []string{"USE"}, PrivilegedPrivileges: []string{"APPROVE"}, Grant: true},
	}
	if diff := cmp.Diff(want, d.Types[0].Grantable); diff != "" {
		t.Errorf("grantable (-want +got):\n%s", diff)
	}
	if typ := d.Types[0]; !typ.Create || !typ.Update || !typ.Delete || typ.Reassign {
		t.Errorf("the type can %+v", typ)
	}
	// A connector's checker takes it as any other's description.
	if _, err := connectors.NewChecker(d); err != nil {
		t.Error(err)
	}
}

// TestConfigSchema holds the schema to what DescribeConfig takes.
func TestConfigSchema(t *testing.T) {
	t.Parallel()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(manual.New().Describe().Config)))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("urn:config", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("urn:config")
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(good))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(v); err != nil {
		t.Error(err)
	}
}

func TestDescribeConfigRefuses(t *testing.T) {
	t.Parallel()
	of := func(typ string) string { return `{"types": [` + typ + `]}` }
	for name, c := range map[string]struct{ config, want string }{
		"no types":           {`{}`, "types: required"},
		"unknown field":      {of(`{"name": "group", "color": "red"}`), "types[0]: unknown setting"},
		"twice":              {of(`{"name": "group"}, {"name": "group"}`), "types[1].name: duplicate type group"},
		"no privileges":      {of(`{"name": "group", "grantable": [{"type": "card", "edge": "resource"}]}`), "grantable[0].privileges: required"},
		"odd membership":     {of(`{"name": "group", "grantable": [{"type": "user", "edge": "identity", "privileges": ["OWNER"]}]}`), "invalid privilege of a membership"},
		"member of no type":  {of(`{"name": "group", "grantable": [{"type": "team", "edge": "member"}]}`), "edge: member: invalid for this type"},
		"identity is a type": {of(`{"name": "group", "grantable": [{"type": "group", "edge": "identity"}]}`), "edge: identity: invalid for this type"},
		"edge":               {of(`{"name": "group", "grantable": [{"type": "user", "edge": "friend"}]}`), `edge: wrong form (expected one of "identity"`},
		"target twice":       {of(`{"name": "group", "grantable": [{"type": "user", "edge": "identity"}, {"type": "user", "edge": "identity"}]}`), "duplicate type user"},
		"pattern":            {of(`{"name": "group", "names": {"pattern": "("}}`), "invalid regular expression"},
		"glob":               {of(`{"name": "group", "privileged": ["a\\"]}`), "backslash"},
		"payload":            {of(`{"name": "group", "payload": {"limit": {"type": "money"}}}`), "invalid JSON Schema"},
		"payload refers":     {of(`{"name": "group", "payload": {"limit": {"$ref": "file:///etc/passwd"}}}`), "$ref: not supported"},
		"default":            {of(`{"name": "group", "grantable": [{"type": "card", "edge": "resource", "privileges": ["USE"], "default": ["SEE"]}]}`), "unknown privilege \"SEE\""},
		"privileged field":   {of(`{"name": "group", "privileged_fields": ["limit"]}`), "unknown attribute \"limit\""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := manual.New().DescribeConfig(values(t, c.config))
			if connectors.CodeOf(err) != connectors.Invalid || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// TestReader reads nothing, says so, and forms states as the configuration has it.
func TestReader(t *testing.T) {
	t.Parallel()
	cfg := connectors.Config{Application: "ramp", Values: values(t, good)}
	r, err := manual.New().OpenReader(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.Read(t.Context(), schemas.Selection{}); connectors.CodeOf(err) != connectors.Unsupported {
		t.Errorf("Read: %v", err)
	}
	if _, err := r.List(t.Context(), connectors.Query{Type: "user"}); connectors.CodeOf(err) != connectors.Unsupported {
		t.Errorf("List: %v", err)
	}
	if _, err := manual.New().OpenWriter(t.Context(), cfg); connectors.CodeOf(err) != connectors.Unsupported {
		t.Errorf("OpenWriter: %v", err)
	}
	user := schemas.Name{Type: "user", SourceName: "mallory@elsewhere.test"}
	_, err = r.Normalize(schemas.State{Connections: []schemas.Connection{{Name: schemas.Name{Type: "group", SourceName: "finance"}, Entitlements: []schemas.Entitlement{{Target: user, Privilege: "MEMBER"}}}}})
	if connectors.CodeOf(err) != connectors.Invalid {
		t.Errorf("Normalize of a name that it cannot hold: %v", err)
	}
}

func FuzzDescribeConfig(f *testing.F) {
	f.Add(good)
	f.Add(`{"types": [{"name": "group", "payload": {"a": true}}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		var v map[string]any
		if json.Unmarshal([]byte(text), &v) != nil {
			return
		}
		d, err := manual.New().DescribeConfig(v)
		if err == nil {
			if _, err := connectors.NewChecker(d); err != nil {
				t.Errorf("described, and not to be checked: %v", err)
			}
		}
	})
}
