package connectors_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// What a description says of privileges that bring others has to make sense by itself.
func TestImpliedPrivileges(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, want string
		edge       schemas.Edge
		implies    map[string][]string
	}{
		{"levels", "", schemas.EdgeResource, map[string][]string{"admin": {"push", "pull"}, "push": {"pull"}}},
		{"not all below", "but not \"pull\", which \"push\" implies", schemas.EdgeResource, map[string][]string{"admin": {"push"}, "push": {"pull"}}},
		{"the lower first", "which is not listed after it", schemas.EdgeResource, map[string][]string{"pull": {"push"}}},
		{"itself", "which is not listed after it", schemas.EdgeResource, map[string][]string{"pull": {"pull"}}},
		{"of no privilege", "isn't a privilege", schemas.EdgeResource, map[string][]string{"write": {"pull"}}},
		{"to no privilege", "which is not listed after it", schemas.EdgeResource, map[string][]string{"admin": {"read"}}},
		{"in a membership", "only privileges on resources", schemas.EdgeIdentity, map[string][]string{"admin": {"pull"}}},
	} {
		d := schemas.Description{Types: []schemas.ConnectionType{{Name: "team", Grantable: []schemas.GrantableType{
			{Type: "x", Edge: tt.edge, Privileges: []string{"admin", "push", "pull"}, Implies: tt.implies}}}}}
		faults := slices.DeleteFunc(connectors.Faults(d), func(f string) bool { return !strings.Contains(f, "impl") })
		if got := strings.Join(faults, "; "); (tt.want == "") != (got == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}
