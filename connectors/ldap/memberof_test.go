package ldap_test

import (
	"testing"

	"github.com/countersign/countersign/connectors/connectortest/servers"
	"github.com/countersign/countersign/schemas"
)

// testMemberOf reads memberOf, which many applications ask for instead of the groups. The overlay memberof updates it
// with the controls of our modification.
func testMemberOf(t *testing.T, server *servers.Directory) {
	a := newTree(t, server, "groupOfNames")
	w := openWriter(t, a.Config())
	a.user(t, "alice")
	a.user(t, "bob")
	must(t, w, create("g"), create("inner"), create("short lived"))
	inner := operation(schemas.OperationGrant, group("g"), group("inner"))
	must(t, w, grant("g", "alice"), grant("g", "bob"), inner, grant("short lived", "alice"))
	check := func(what, dn string, groups ...string) {
		t.Helper()
		var want []string
		for _, g := range groups {
			want = append(want, a.groupDN(g))
		}
		same(t, what, a.raw(t, dn, "memberOf"), want)
	}
	check("alice after the grants", a.userDN("alice"), "g", "short lived")
	check("bob after the grants", a.userDN("bob"), "g")
	check("the inner group after the grants", a.groupDN("inner"), "g")

	inner.Kind = schemas.OperationRevoke
	must(t, w, revoke("g", "alice"), inner)
	check("alice after the revokes", a.userDN("alice"), "short lived")
	check("the inner group after the revokes", a.groupDN("inner"))
	must(t, w, revoke("g", "bob"), operation(schemas.OperationDelete, group("short lived"), schemas.Name{}))
	check("bob after the last revoke", a.userDN("bob"))
	check("alice after the deletion", a.userDN("alice"))
}
