package ldap_test

import (
	"fmt"
	"strings"
	"testing"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest"
	"github.com/countersign/countersign/connectors/connectortest/servers"
	"github.com/countersign/countersign/connectors/ldap"
	"github.com/countersign/countersign/schemas"
)

// member returns a group's entitlement with a target.
func member(t connectortest.TB, r connectors.Reader, name, target string) schemas.Entitlement {
	t.Helper()
	for _, g := range read(t, r, name) {
		for _, e := range g.Entitlements {
			if e.Target.String() == target {
				return e
			}
		}
	}
	t.Fatalf("%s is not a member of %s: %v", target, name, held(t, r, name))
	return schemas.Entitlement{}
}

func wantUnresolved(t connectortest.TB, r connectors.Reader, name, target string) {
	t.Helper()
	if e := member(t, r, name, target); e.State != schemas.StateUnresolved || !e.Foreign || e.TargetID != "" {
		t.Errorf("%s in %s: got %+v, want it unresolved, foreign and without an id", target, name, e)
	}
}

// A member whose entry is hidden from countersign's accounts is in the state, and a revoke removes it.
func TestMembersOutOfSight(t *testing.T) {
	t.Parallel()
	server := servers.OpenLDAP(t, servers.Slapd{Closed: true})
	a := newTree(t, server, "groupOfNames")
	for _, name := range []string{"alice", "vip"} {
		a.user(t, name)
	}
	a.group(t, a.groupDN("secret"), "secret", a.userDN("alice"))
	hidden := "cn=Hidden Person," + a.people
	a.add(t, hidden, map[string][]string{"objectClass": {"inetOrgPerson"}, "cn": {"Hidden Person"}, "sn": {"P"}, "uid": {"hidden"}})
	a.group(t, a.groupDN("g"), "g", a.userDN("alice"), a.userDN("vip"), hidden, a.groupDN("secret"))
	d := ldap.New().Describe()
	arguments := []string{"-x", "-H", "ldap://" + server.Address, "-D", servers.ConfigAdmin, "-w", server.Password}
	for name, script := range map[string]string{"plan": d.PlanScript, "apply": d.ApplyScript} {
		servers.Shell(t, script, []string{"ACCOUNT=cn=countersign-" + name + ",ou=services," + server.Suffix, "BASE=" + a.groups, "USER_BASE=" + a.people,
			"DATABASE=" + servers.ConfigDatabase}, arguments...)
	}
	var rules strings.Builder
	for i, dn := range []string{a.userDN("vip"), hidden, a.groupDN("secret")} {
		fmt.Fprintf(&rules, "olcAccess: {%d}to dn.exact=\"%s\" by * none\n", i, dn)
	}
	servers.Shell(t, "ldapmodify \"$@\" <<LDIF\ndn: "+servers.ConfigDatabase+"\nchangetype: modify\nadd: olcAccess\n"+rules.String()+"LDIF\n", nil, arguments...)

	w := openWriter(t, a.Config())
	raw := "foreign/" + strings.ToLower(hidden)
	same(t, "members", held(t, w, "g"), []string{raw, "group/secret", "user/alice", "user/vip"})
	for _, target := range []string{raw, "group/secret", "user/vip"} {
		wantUnresolved(t, w, "g", target)
	}
	byID := revoke("g", "vip")
	byID.TargetID = a.raw(t, a.userDN("vip"), "entryUUID")[0] // remembered from before it was hidden
	must(t, w, byID, operation(schemas.OperationRevoke, group("g"), group("secret")),
		operation(schemas.OperationRevoke, group("g"), schemas.Name{Type: "foreign", SourceName: strings.ToLower(hidden)}))
	same(t, "after the revokes", a.raw(t, a.groupDN("g"), "member"), []string{a.userDN("alice")})
}

// testMovedAccount moves and renames members. A revoke with their id removes them, wherever they are and whatever they are
// called now.
func testMovedAccount(t *testing.T, server *servers.Directory) {
	a := newTree(t, server, "groupOfNames")
	w := openWriter(t, a.Config())
	must(t, w, create("g"))
	ids := map[string]string{}
	move := func(name, rdn, parent string) {
		t.Helper()
		a.user(t, name)
		ids[name] = a.raw(t, a.userDN(name), "entryUUID")[0]
		must(t, w, grant("g", name))
		// The overlay refint changes the values in groups.
		if err := a.hand.ModifyDN(goldap.NewModifyDNRequest(a.userDN(name), rdn, true, parent)); err != nil {
			t.Fatal(err)
		}
	}
	// Another server has a part of the directory that isn't below the bases.
	referral := goldap.NewAddRequest("cn=away,"+a.outside, []goldap.Control{goldap.NewControlManageDsaIT(true)})
	referral.Attribute("objectClass", []string{"referral", "extensibleObject"})
	referral.Attribute("cn", []string{"away"})
	referral.Attribute("ref", []string{"ldap://elsewhere.example.test/" + a.outside})
	if err := a.hand.Add(referral); err != nil {
		t.Fatal(err)
	}
	move("alice", "uid=alice", a.outside)
	move("bob", "uid=robert", "")
	a.user(t, "carol")
	must(t, w, grant("g", "carol"))
	away := "foreign/" + strings.ToLower("uid=alice,"+a.outside)
	same(t, "members", held(t, w, "g"), []string{away, "user/carol", "user/robert"})
	for target, name := range map[string]string{away: "alice", "user/robert": "bob"} {
		if e := member(t, w, "g", target); e.TargetID != ids[name] || e.State != "" {
			t.Errorf("%s: got %+v, want the id %s and no state", target, e, ids[name])
		}
	}
	var ops []schemas.Operation
	for name, id := range ids {
		op := revoke("g", name)
		op.TargetID = id
		ops = append(ops, op)
	}
	must(t, w, ops...)
	same(t, "after the revokes", a.raw(t, a.groupDN("g"), "member"), []string{a.userDN("carol")})

	// What is read by id is found under its present name, and nothing else.
	g := read(t, w, "g")[0]
	if err := a.hand.ModifyDN(goldap.NewModifyDNRequest(a.groupDN("g"), "cn=h", true, "")); err != nil {
		t.Fatal(err)
	}
	must(t, w, create("other"))
	s, err := w.Read(t.Context(), schemas.Selection{Names: []schemas.Name{group("g")}, IDs: map[string][]string{"group": {strings.ToUpper(g.NativeID)}}})
	if err != nil || s.Incomplete != "" || len(s.Connections) != 1 || s.Connections[0].SourceName != "h" {
		t.Errorf("Read by id: got %+v, %v, want h", s, err)
	}
	for typ, want := range map[string]schemas.Name{"group": group("h"), "user": {Type: "user", SourceName: "robert"}} {
		page, err := w.List(t.Context(), connectors.Query{Type: typ, Names: []string{}, IDs: []string{g.NativeID, ids["bob"]}})
		if err != nil || len(page.Items) != 1 || page.Items[0].Name != want {
			t.Errorf("List by id: got %+v, %v, want %s", page.Items, err, want)
		}
	}
}

// testUnknownUID has a name in a posixGroup of which no account can be seen.
func testUnknownUID(t *testing.T, server *servers.Directory) {
	a := newTree(t, server, "posixGroup")
	a.user(t, "alice")
	a.group(t, a.groupDN("g"), "g", "alice", "Vip")
	w := openWriter(t, a.Config())
	same(t, "members", held(t, w, "g"), []string{"user/alice", "user/vip"})
	wantUnresolved(t, w, "g", "user/vip")
	must(t, w, revoke("g", "vip"))
	same(t, "after the revoke", a.raw(t, a.groupDN("g"), "memberUid"), []string{"alice"})
}

// testTakenPlaceholder makes an account with the DN of the placeholder: it is a member of every emptied group.
func testTakenPlaceholder(t *testing.T, server *servers.Directory) {
	a := newTree(t, server, "groupOfNames")
	w := openWriter(t, a.Config())
	a.user(t, "alice")
	must(t, w, create("empty"), create("g"), grant("g", "alice"))
	same(t, "before", held(t, w, "empty"), []string{})
	taken := placeholder + a.groups
	a.add(t, taken, map[string][]string{"objectClass": {"inetOrgPerson"}, "cn": {"countersign-placeholder"}, "sn": {"x"}})
	e := member(t, w, "empty", "foreign/"+taken)
	if e.TargetID != a.raw(t, taken, "entryUUID")[0] || e.State != "" {
		t.Errorf("got %+v, want its id", e)
	}
	// No group gets it as a member from us.
	refused(t, w, connectors.Denied, "placeholder_dn", revoke("g", "alice"))
	refused(t, w, connectors.Denied, "placeholder_dn", create("another"))
	same(t, "unchanged", a.raw(t, a.groupDN("g"), "member"), []string{a.userDN("alice")})
	must(t, w, grant("empty", "alice"))
	same(t, "replaced by a member", a.raw(t, a.groupDN("empty"), "member"), []string{a.userDN("alice")})

	// The same holds for ignored members.
	a.group(t, a.groupDN("ignoring"), "ignoring", a.userDN("alice"), nobody)
	v := openWriter(t, changed(a.Config(), "ignored_members", []any{nobody, a.userDN("alice")}))
	same(t, "an ignored member with an entry", held(t, v, "ignoring"), []string{"user/alice"})
}
