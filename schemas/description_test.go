package schemas

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestDescription is a description as everybody reads it: by its methods, and as JSON.
func TestDescription(t *testing.T) {
	t.Parallel()
	d := Description{Name: "memory", Title: "Memory", Config: json.RawMessage(`{}`), Types: []ConnectionType{{
		Name: "team", Title: "Team", Create: true, Update: true, Delete: true, Reassign: true,
		Payload: json.RawMessage(`{"type":"object","properties":{"comment":{"type":"string"},"secret":{"type":"boolean"}}}`),
		Grantable: []GrantableType{
			{Type: "repo", Edge: EdgeResource, Privileges: []string{"pull", "push"}, Grant: true, Revoke: true},
			{Type: "team", Edge: EdgeMember, Privileges: []string{"MEMBER"}, Grant: true, Revoke: true},
			{Type: "user", Edge: EdgeIdentity, Privileges: []string{"MEMBER", "ADMIN"}, Grant: true, Revoke: true},
		},
	}}}
	typ, ok := d.Type("team")
	if !ok {
		t.Fatal("there is no team")
	}
	if diff := cmp.Diff(map[string]bool{"comment": true, "secret": true}, typ.Attributes()); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
	if g, ok := typ.Target("user"); !ok || g.Edge != EdgeIdentity {
		t.Errorf("user is %+v", g)
	}
	raw, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	var back Description
	if err := json.Unmarshal(raw, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(d, back); diff != "" {
		t.Errorf("as JSON (-want +got):\n%s", diff)
	}
}
