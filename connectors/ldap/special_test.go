package ldap_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	goldap "github.com/go-ldap/ldap/v3"
	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest"
	"github.com/countersign/countersign/connectors/connectortest/servers"
	"github.com/countersign/countersign/connectors/ldap"
	"github.com/countersign/countersign/schemas"
)

func openWriter(t connectortest.TB, cfg connectors.Config) connectors.Writer {
	t.Helper()
	w, err := ldap.New().OpenWriter(t.Context(), cfg)
	if err != nil {
		t.Fatalf("OpenWriter: %v", err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return w
}

func group(name string) schemas.Name   { return schemas.Name{Type: "group", SourceName: name} }
func account(name string) schemas.Name { return schemas.Name{Type: "user", SourceName: name} }

func operation(kind schemas.OperationKind, c, target schemas.Name) schemas.Operation {
	o := schemas.Operation{ID: fmt.Sprintf("%s %s %s", kind, c, target), Kind: kind, Application: "corp", Connection: c}
	if target != (schemas.Name{}) {
		o.Target, o.Privilege = &target, "MEMBER"
	}
	return o
}

func grant(c, target string) schemas.Operation {
	return operation(schemas.OperationGrant, group(c), account(target))
}

func revoke(c, target string) schemas.Operation {
	return operation(schemas.OperationRevoke, group(c), account(target))
}

func create(c string) schemas.Operation {
	return operation(schemas.OperationCreate, group(c), schemas.Name{})
}

// outcomes are the errors of operations, in order.
func outcomes(t connectortest.TB, w connectors.Writer, ops ...schemas.Operation) []error {
	t.Helper()
	var out []error
	if err := w.Apply(context.WithoutCancel(t.Context()), ops, func(o connectors.Outcome) { out = append(out, o.Err) }); err != nil {
		t.Fatalf("Apply: %v", err)
	}
	if len(out) != len(ops) {
		t.Fatalf("%d outcomes of %d operations", len(out), len(ops))
	}
	return out
}

func must(t connectortest.TB, w connectors.Writer, ops ...schemas.Operation) {
	t.Helper()
	for i, err := range outcomes(t, w, ops...) {
		if err != nil {
			t.Fatalf("%s: %v", ops[i].ID, err)
		}
	}
}

func refused(t connectortest.TB, w connectors.Writer, code connectors.Code, says string, op schemas.Operation) {
	t.Helper()
	err := outcomes(t, w, op)[0]
	if connectors.CodeOf(err) != code || !strings.Contains(fmt.Sprint(err), says) {
		t.Errorf("%s: %v (%s), want %s and %q", op.ID, err, connectors.CodeOf(err), code, says)
	}
}

func read(t connectortest.TB, r connectors.Reader, names ...string) []schemas.Connection {
	t.Helper()
	var sel schemas.Selection
	for _, n := range names {
		sel.Names = append(sel.Names, group(n))
	}
	s, err := r.Read(t.Context(), sel)
	if err != nil || s.Incomplete != "" {
		t.Fatalf("Read: %v %s", err, s.Incomplete)
	}
	return s.Connections
}

// held are the members of a group, as type/name.
func held(t connectortest.TB, r connectors.Reader, name string) []string {
	t.Helper()
	list := read(t, r, name)
	if len(list) != 1 {
		t.Fatalf("%d groups are called %s, want 1", len(list), name)
	}
	out := []string{}
	for _, e := range list[0].Entitlements {
		out = append(out, e.Target.String())
	}
	return out
}

func same(t connectortest.TB, what string, got, want []string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// special has what is peculiar to OpenLDAP, or was learnt from it.
func special(t *testing.T, server *servers.Directory) {
	for name, run := range map[string]func(*testing.T, *servers.Directory){
		"placeholder":               testPlaceholder,
		"emptied by two":            testEmptiedByTwo,
		"spellings":                 testSpellings,
		"departed":                  testDeparted,
		"moved account":             testMovedAccount,
		"memberOf":                  testMemberOf,
		"taken placeholder":         testTakenPlaceholder,
		"unknown uid":               testUnknownUID,
		"foreign":                   testForeignMembers,
		"ambiguous groups":          testAmbiguousGroups,
		"ambiguous accounts":        testAmbiguousAccounts,
		"renamed":                   testRenamed,
		"outside of the base":       testOutside,
		"one of many is refused":    testOneRefused,
		"another kind of entry":     testOtherKind,
		"primary group":             testPrimary,
		"numbers of two writers":    testNumbers,
		"a number given out twice":  testNumberTwice,
		"replaced in between":       testReplaced,
		"TLS":                       testTLS,
		"own accounts":              testOwnAccounts,
		"several descriptions":      testDescriptions,
		"template":                  testTemplate,
		"the reader cannot write":   testReaderCannotWrite,
		"a lost connection is made": testReconnect,
		"more members than a page":  testManyMembers,
		"gone after a refusal":      testGoneAfterRefusal,
		"letters that look alike":   testLetters,
		"nobody's name":             testNobodysName,
		"the number of an account":  testNumberOfAccount,
		"one uid of two accounts":   testUIDTwice,
		"no members are seen":       testMembersHidden,
	} {
		t.Run(name, func(t *testing.T) { t.Parallel(); run(t, server) })
	}
}

const placeholder = "cn=countersign-placeholder,"

func testPlaceholder(t *testing.T, server *servers.Directory) {
	for _, kind := range []string{"groupOfNames", "groupOfUniqueNames"} {
		a := newTree(t, server, kind)
		w := openWriter(t, a.Config())
		raw := func() []string { return a.raw(t, a.groupDN("g"), a.attribute()) }
		a.user(t, "alice")
		a.user(t, "bob")
		must(t, w, create("g"))
		same(t, "a new group", raw(), []string{placeholder + a.groups})
		same(t, "a new group is read", held(t, w, "g"), []string{})
		must(t, w, grant("g", "alice"), grant("g", "bob"))
		same(t, "with members", raw(), []string{a.userDN("alice"), a.userDN("bob")})
		must(t, w, revoke("g", "alice"), revoke("g", "bob"))
		same(t, "emptied", raw(), []string{placeholder + a.groups})
		must(t, w, grant("g", "bob"))
		// Whoever looks at the directory in between, or leaves the placeholder there, changes nothing for us.
		a.modify(t, a.groupDN("g"), func(m *goldap.ModifyRequest) { m.Add(a.attribute(), []string{placeholder + a.groups}) })
		same(t, "beside a member", held(t, w, "g"), []string{"user/bob"})
		must(t, w, grant("g", "alice"))
		same(t, "taken out again", raw(), []string{a.userDN("alice"), a.userDN("bob")})
	}
}

// Two writers who each take one of the last two members must leave a group that is there, and empty.
func testEmptiedByTwo(t *testing.T, server *servers.Directory) {
	a := newTree(t, server, "groupOfNames")
	a.user(t, "alice")
	a.user(t, "bob")
	one, other := openWriter(t, a.Config()), openWriter(t, a.Config())
	must(t, one, create("g"))
	for range 30 {
		must(t, one, grant("g", "alice"), grant("g", "bob"))
		var both sync.WaitGroup
		for w, name := range map[connectors.Writer]string{one: "alice", other: "bob"} {
			both.Go(func() {
				for _, err := range outcomes(t, w, revoke("g", name)) {
					if err != nil {
						t.Errorf("revoke %s: %v", name, err)
					}
				}
			})
		}
		both.Wait()
		same(t, "emptied by two", held(t, one, "g"), []string{})
		// One who gives and one who takes the last.
		must(t, one, grant("g", "alice"))
		both.Go(func() {
			if err := outcomes(t, one, revoke("g", "alice"))[0]; err != nil {
				t.Errorf("revoke alice: %v", err)
			}
		})
		both.Go(func() {
			if err := outcomes(t, other, grant("g", "bob"))[0]; err != nil {
				t.Errorf("grant bob: %v", err)
			}
		})
		both.Wait()
		same(t, "given and taken", held(t, one, "g"), []string{"user/bob"})
	}
}

func testSpellings(t *testing.T, server *servers.Directory) {
	a := newTree(t, server, "groupOfNames")
	a.user(t, "alice smith")
	spelling := strings.ToUpper("UID=alice   smith, OU=people , ") + strings.TrimPrefix(a.people, "ou=people,")
	a.group(t, a.groupDN("g"), "g", spelling, nobody)
	w := openWriter(t, a.Config())
	same(t, "another spelling", held(t, w, "g"), []string{"user/alice smith"})
	must(t, w, grant("g", "Alice Smith"))
	// slapd writes the separators its own way, and leaves case and spaces of the values.
	pretty := "uid=ALICE   SMITH,ou=PEOPLE," + a.top
	same(t, "granted again", a.raw(t, a.groupDN("g"), "member"), []string{nobody, pretty})
	must(t, w, revoke("G", "ALICE SMITH"))
	same(t, "revoked", a.raw(t, a.groupDN("g"), "member"), []string{nobody})
	if got := read(t, w, "G"); len(got) != 1 || got[0].SourceName != "g" {
		t.Errorf("a group by another spelling: %v", got)
	}
	s, err := w.Read(t.Context(), schemas.Selection{Scope: map[string][]string{"group": {"G*"}}})
	if err != nil || len(s.Connections) != 1 {
		t.Errorf("a scope in another spelling has %d groups (%v), want 1", len(s.Connections), err)
	}
}

// The value of a deleted entry stays in the state until it is revoked: a new entry of the name would be a member.
func testDeparted(t *testing.T, server *servers.Directory) {
	a := newTree(t, server, "groupOfNames")
	a.user(t, "alice")
	gone := a.userDN("gone")
	a.group(t, a.groupDN("g"), "g", gone, a.groupDN("lost group"), a.userDN("alice"))
	w := openWriter(t, a.Config())
	same(t, "with a deleted account", held(t, w, "g"), []string{"group/lost group", "user/alice", "user/gone"})
	wantUnresolved(t, w, "g", "user/gone")
	wantUnresolved(t, w, "g", "group/lost group")
	must(t, w, revoke("g", "alice"))
	same(t, "after another change", a.raw(t, a.groupDN("g"), "member"), []string{a.groupDN("lost group"), gone})
	refused(t, w, connectors.NotFound, "account not found", grant("g", "gone"))
	must(t, w, revoke("g", "gone"), operation(schemas.OperationRevoke, group("g"), group("lost group")))
	same(t, "revoked", a.raw(t, a.groupDN("g"), "member"), []string{placeholder + a.groups})
}

func testForeignMembers(t *testing.T, server *servers.Directory) {
	a := newTree(t, server, "groupOfNames")
	a.user(t, "alice")
	a.add(t, "cn=printer,"+a.people, map[string][]string{"objectClass": {"device"}, "cn": {"printer"}})
	outside := "cn=Somebody Else,dc=elsewhere,dc=test"
	a.group(t, a.groupDN("g"), "g", outside, "cn=printer,"+a.people)
	w := openWriter(t, a.Config())
	want := []string{"foreign/cn=printer," + a.people, "foreign/" + strings.ToLower(outside)}
	same(t, "foreign members", held(t, w, "g"), want)
	must(t, w, grant("g", "alice"))
	must(t, w, revoke("g", "alice"))
	same(t, "after changes", a.raw(t, a.groupDN("g"), "member"), []string{outside, "cn=printer," + a.people})
	must(t, w, operation(schemas.OperationRevoke, group("g"), schemas.Name{Type: "foreign", SourceName: strings.ToLower(outside)}))
	same(t, "one taken away", held(t, w, "g"), want[:1])
	same(t, "the placeholder is not needed", a.raw(t, a.groupDN("g"), "member"), []string{"cn=printer," + a.people})

	// A uniqueMember may carry a bit string, and is the same member.
	u := newTree(t, server, "groupOfUniqueNames")
	u.user(t, "alice")
	u.group(t, u.groupDN("g"), "g", u.userDN("alice")+"#'0101'B")
	uw := openWriter(t, u.Config())
	same(t, "with a bit string", held(t, uw, "g"), []string{"user/alice"})
	must(t, uw, revoke("g", "alice"))
	same(t, "with a bit string, revoked", held(t, uw, "g"), []string{})
}

func testAmbiguousGroups(t *testing.T, server *servers.Directory) {
	a := newTree(t, server, "groupOfNames")
	a.user(t, "alice")
	inner := "ou=inner," + a.groups
	a.add(t, inner, map[string][]string{"objectClass": {"organizationalUnit"}, "ou": {"inner"}})
	a.group(t, a.groupDN("g"), "g")
	a.group(t, "cn=G,"+inner, "G")
	w := openWriter(t, a.Config())
	list := read(t, w, "g")
	if len(list) != 2 || list[0].NativeID == list[1].NativeID || list[0].NativeID == "" {
		t.Fatalf("two groups of one name: %v", list)
	}
	for _, op := range []schemas.Operation{grant("g", "alice"), revoke("g", "alice"), operation(schemas.OperationDelete, group("g"), schemas.Name{}), create("g")} {
		refused(t, w, connectors.Conflict, "source_id", op)
	}
	byID := grant("g", "alice")
	byID.NativeID = a.raw(t, "cn=G,"+inner, "entryUUID")[0]
	must(t, w, byID)
	same(t, "the one that was meant", a.raw(t, "cn=G,"+inner, "member"), []string{nobody, a.userDN("alice")})
	same(t, "the other one", a.raw(t, a.groupDN("g"), "member"), []string{nobody})
}

func testAmbiguousAccounts(t *testing.T, server *servers.Directory) {
	a := newTree(t, server, "groupOfNames")
	a.user(t, "alice")
	second := "cn=Second," + a.people
	a.add(t, second, map[string][]string{"objectClass": {"inetOrgPerson"}, "cn": {"Second"}, "sn": {"S"}, "uid": {"Alice"}})
	w := openWriter(t, a.Config())
	must(t, w, create("g"))
	refused(t, w, connectors.Conflict, "source_id", grant("g", "alice"))
	byID := grant("g", "alice")
	byID.TargetID = a.raw(t, second, "entryUUID")[0]
	must(t, w, byID)
	same(t, "the one that was meant", a.raw(t, a.groupDN("g"), "member"), []string{second})
	byID.TargetID = "another"
	refused(t, w, connectors.Conflict, "another entry", byID)
	page, err := w.List(t.Context(), connectors.Query{Type: "user", Names: []string{"ALICE"}})
	if err != nil || len(page.Items) != 2 {
		t.Errorf("List of an ambiguous name: %v, %v, want two", page.Items, err)
	}
}

func testRenamed(t *testing.T, server *servers.Directory) {
	a := newTree(t, server, "groupOfNames")
	a.user(t, "alice")
	w := openWriter(t, a.Config())
	must(t, w, create("old"), grant("old", "alice"))
	id := read(t, w, "old")[0].NativeID
	if err := a.hand.ModifyDN(goldap.NewModifyDNRequest(a.groupDN("old"), "cn=new", true, "")); err != nil {
		t.Fatal(err)
	}
	if got := read(t, w, "old", "new"); len(got) != 1 || got[0].SourceName != "new" || got[0].NativeID != id {
		t.Errorf("after the renaming: %v, want new with the id %s", got, id)
	}
	for _, op := range []schemas.Operation{revoke("old", "alice"), operation(schemas.OperationDelete, group("old"), schemas.Name{}), grant("old", "alice")} {
		op.NativeID = id
		refused(t, w, connectors.Conflict, `"new"`, op)
	}
	must(t, w, create("old"))
	stale := grant("old", "alice")
	stale.NativeID = id
	refused(t, w, connectors.Conflict, "another group", stale)
	same(t, "the new one of the name", held(t, w, "old"), []string{})
}

func testOutside(t *testing.T, server *servers.Directory) {
	a := newTree(t, server, "groupOfNames")
	a.user(t, "alice")
	outside := "cn=g," + a.outside
	a.group(t, outside, "g")
	for _, setting := range []string{"base_dn", "user_base_dn"} {
		cfg := a.Config()
		cfg.Values = maps.Clone(cfg.Values)
		cfg.Values[setting] = "ou=nowhere," + a.outside
		if _, err := ldap.New().OpenReader(t.Context(), cfg); connectors.CodeOf(err) != connectors.Invalid || !strings.Contains(err.Error(), "config."+setting+": entry not found") {
			t.Errorf("with a %s that is not there: %v", setting, err)
		}
	}
	w := openWriter(t, a.Config())
	if got := read(t, w); len(got) != 0 {
		t.Errorf("groups outside of the base are read: %v", got)
	}
	refused(t, w, connectors.NotFound, "below base_dn", grant("g", "alice"))
	must(t, w, operation(schemas.OperationDelete, group("g"), schemas.Name{}), revoke("g", "alice"))
	must(t, w, create("g"), grant("g", "alice"), operation(schemas.OperationDelete, group("g"), schemas.Name{}))
	same(t, "outside of the base", a.raw(t, outside, "member"), []string{nobody})
}

// A batch of which the server refuses one value is carried out but for that one.
func testOneRefused(t *testing.T, server *servers.Directory) {
	a := newTree(t, server, "groupOfNames")
	a.add(t, "cn=hosts,"+a.groups, map[string][]string{"objectClass": {"posixGroup"}, "cn": {"hosts"}, "gidNumber": {"4711"}})
	for _, name := range []string{"alice", "bob", "zoë"} {
		a.user(t, name)
	}
	w := openWriter(t, a.Config())
	must(t, w, create("inner"))
	nested := operation(schemas.OperationGrant, group("hosts"), group("inner"))
	got := outcomes(t, w, grant("hosts", "alice"), grant("hosts", "zoë"), nested, grant("hosts", "nobody"), grant("hosts", "bob"))
	for i, want := range []connectors.Code{"", connectors.Invalid, connectors.Unsupported, connectors.NotFound, ""} {
		if connectors.CodeOf(got[i]) != want || (want == "") != (got[i] == nil) {
			t.Errorf("operation %d: %v, want %q", i, got[i], want)
		}
	}
	same(t, "members", a.raw(t, "cn=hosts,"+a.groups, "memberUid"), []string{"alice", "bob"})
}

func testOtherKind(t *testing.T, server *servers.Directory) {
	a := newTree(t, server, "groupOfNames")
	a.add(t, a.groupDN("thing"), map[string][]string{"objectClass": {"device"}, "cn": {"thing"}})
	w := openWriter(t, a.Config())
	refused(t, w, connectors.Conflict, "another entry has this name", create("thing"))
	a.add(t, a.groupDN("parent"), map[string][]string{"objectClass": {"groupOfNames"}, "cn": {"parent"}, "member": {nobody}})
	a.add(t, "cn=child,"+a.groupDN("parent"), map[string][]string{"objectClass": {"device"}, "cn": {"child"}})
	refused(t, w, connectors.Conflict, "entries below", operation(schemas.OperationDelete, group("parent"), schemas.Name{}))
}

// An account is in the posixGroup that its own gidNumber names, whatever stands in the group.
func testPrimary(t *testing.T, server *servers.Directory) {
	a := newTree(t, server, "posixGroup")
	a.user(t, "alice")
	w := openWriter(t, a.Config())
	must(t, w, create("g"))
	gid := a.raw(t, a.groupDN("g"), "gidNumber")
	a.modify(t, a.userDN("alice"), func(m *goldap.ModifyRequest) { m.Replace("gidNumber", gid) })
	same(t, "by the account", held(t, w, "g"), []string{"user/alice"})
	must(t, w, grant("g", "alice"))
	same(t, "granted", a.raw(t, a.groupDN("g"), "memberUid"), nil)
	refused(t, w, connectors.Conflict, "primary", revoke("g", "alice"))
	same(t, "still there", held(t, w, "g"), []string{"user/alice"})
}

func testNumbers(t *testing.T, server *servers.Directory) {
	a := newTree(t, server, "posixGroup")
	cfg := changed(a.Config(), "create", map[string]any{"object_classes": []any{"posixGroup"}, "gid_numbers": map[string]any{"min": 100, "max": 139}})
	var both sync.WaitGroup
	for i := range 2 {
		w := openWriter(t, cfg)
		both.Go(func() {
			for n := range 20 {
				if err := outcomes(t, w, create(fmt.Sprintf("g%d-%02d", i, n)))[0]; err != nil {
					t.Errorf("create: %v", err)
				}
			}
		})
	}
	both.Wait()
	seen := map[string]string{}
	for i := range 2 {
		for n := range 20 {
			name := fmt.Sprintf("g%d-%02d", i, n)
			gid := a.raw(t, a.groupDN(name), "gidNumber")[0]
			if seen[gid] != "" {
				t.Errorf("%s and %s have the number %s", seen[gid], name, gid)
			}
			seen[gid] = name
		}
	}
	refused(t, openWriter(t, cfg), connectors.Conflict, "all numbers are in use", create("one too many"))
}

func testNumberTwice(t *testing.T, server *servers.Directory) {
	a := newTree(t, server, "posixGroup")
	for _, name := range []string{"theirs", "ours"} {
		a.add(t, a.groupDN(name), map[string][]string{"objectClass": {"posixGroup"}, "cn": {name}, "gidNumber": {"20000"}})
	}
	w := openWriter(t, a.Config())
	must(t, w, create("ours")) // again, after somebody was stopped in the middle of it
	same(t, "theirs", a.raw(t, a.groupDN("theirs"), "gidNumber"), []string{"20000"})
	if got := a.raw(t, a.groupDN("ours"), "gidNumber"); len(got) != 1 || got[0] == "20000" {
		t.Errorf("ours has the number %v still", got)
	}
}

// A change reaches the entry that was read, or none: somebody who deletes it and makes another of the same name in
// between is noticed.
func testReplaced(t *testing.T, server *servers.Directory) {
	a := newTree(t, server, "groupOfNames")
	w := openWriter(t, a.Config())
	must(t, w, create("g"))
	err := ldap.ChangeLate(t, w, "g", a.userDN("alice"), func() {
		if err := a.hand.Del(goldap.NewDelRequest(a.groupDN("g"), nil)); err != nil {
			t.Fatal(err)
		}
		a.group(t, a.groupDN("g"), "g")
	})
	if !goldap.IsErrorWithCode(err, goldap.LDAPResultAssertionFailed) || connectors.CodeOf(err) != connectors.Conflict {
		t.Errorf("a change of what was replaced: %v, want %s by the assertion", err, connectors.Conflict)
	}
	same(t, "the new group", a.raw(t, a.groupDN("g"), "member"), []string{nobody})
}

func testTLS(t *testing.T, server *servers.Directory) {
	a := newTree(t, server, "groupOfNames")
	a.group(t, a.groupDN("g"), "g")
	for _, c := range []struct {
		name, url, ca string
		startTLS      bool
		code          connectors.Code
	}{
		{"ldaps", "ldaps://" + server.TLSAddress, server.CAFile, false, ""},
		{"StartTLS", "ldap://" + server.Address, server.CAFile, true, ""},
		{"ldaps by name", "ldaps://" + strings.Replace(server.TLSAddress, "127.0.0.1", "localhost", 1), server.CAFile, false, ""},
		{"ldaps, another authority", "ldaps://" + server.TLSAddress, server.OtherCAFile, false, connectors.Denied},
		{"StartTLS, another authority", "ldap://" + server.Address, server.OtherCAFile, true, connectors.Denied},
		{"ldaps, the system's authorities", "ldaps://" + server.TLSAddress, "", false, connectors.Denied},
		{"ldaps where there is none", "ldaps://" + server.Address, server.CAFile, false, connectors.Unavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := changed(changed(changed(a.Config(), "url", c.url), "start_tls", c.startTLS), "timeout", "5s")
			if c.ca != "" {
				cfg = changed(cfg, "ca_file", c.ca)
			}
			r, err := ldap.New().OpenReader(t.Context(), cfg)
			if connectors.CodeOf(err) != c.code {
				t.Fatalf("OpenReader: %v (%s), want %q", err, connectors.CodeOf(err), c.code)
			}
			if err != nil {
				return
			}
			same(t, "over TLS", held(t, r, "g"), []string{})
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func testOwnAccounts(t *testing.T, server *servers.Directory) {
	a := newTree(t, server, "groupOfNames")
	a.user(t, "robot")
	a.modify(t, a.userDN("robot"), func(m *goldap.ModifyRequest) { m.Add("userPassword", []string{"robot-secret"}) })
	cfg := changed(changed(a.Config(), "bind_dn", a.userDN("robot")), "password", connectors.NewSecret("robot-secret"))
	w := openWriter(t, cfg)
	must(t, w, create("g"))
	refused(t, w, connectors.Denied, "logs in with this account", grant("g", "robot"))
	page, err := w.List(t.Context(), connectors.Query{Type: "user", Names: []string{"robot"}})
	if err != nil || len(page.Items) != 1 || page.Items[0].Protected == "" {
		t.Errorf("List of our own account: %v, %v, want it protected", page.Items, err)
	}
	// Where every group has it as a stopgap, the config says that it is none.
	a.group(t, a.groupDN("stopgap"), "stopgap", "cn=countersign-apply,ou=services,dc=example,dc=test")
	if got := read(t, w, "stopgap"); got[0].Protected == "" {
		t.Error("a group with our own account in it is not protected")
	}
	ignoring := openWriter(t, changed(cfg, "ignored_members", []any{"cn=countersign-apply,ou=services,dc=example,dc=test"}))
	if got := read(t, ignoring, "stopgap"); got[0].Protected != "" || len(got[0].Entitlements) > 0 {
		t.Errorf("a group with an ignored member: %+v", got[0])
	}
}

func testDescriptions(t *testing.T, server *servers.Directory) {
	a := newTree(t, server, "groupOfNames")
	a.group(t, a.groupDN("g"), "g")
	a.modify(t, a.groupDN("g"), func(m *goldap.ModifyRequest) { m.Add("description", []string{"second", "first"}) })
	w := openWriter(t, a.Config())
	if got := read(t, w, "g")[0].Payload["description"]; got != "first\nsecond" {
		t.Errorf("two descriptions are read as %q", got)
	}
	change := operation(schemas.OperationUpdate, group("g"), schemas.Name{})
	for _, text := range []string{"first\nsecond", "First\nSecond", "only", "ONLY", ""} {
		change.After = map[string]any{"description": text}
		must(t, w, change)
		if got := read(t, w, "g")[0].Payload["description"]; got != text {
			t.Errorf("the description is %q, want %q", got, text)
		}
	}
}

func testTemplate(t *testing.T, server *servers.Directory) {
	a := newTree(t, server, "groupOfNames")
	inner := "ou=made here," + a.groups
	a.add(t, inner, map[string][]string{"objectClass": {"organizationalUnit"}, "ou": {"made here"}})
	owner := "uid=boss," + a.people
	w := openWriter(t, changed(changed(a.Config(), "create", map[string]any{"parent_dn": inner, "object_classes": []any{"groupOfNames"},
		"attributes": map[string]any{"owner": []any{owner}}}), "placeholder_dn", "cn=nobody at all"))
	must(t, w, create("g, with + signs"))
	dn := `cn=g\, with \+ signs,` + inner
	same(t, "owner", a.raw(t, dn, "owner"), []string{owner})
	same(t, "placeholder", a.raw(t, dn, "member"), []string{"cn=nobody at all"})
	a.modify(t, dn, func(m *goldap.ModifyRequest) { m.Replace("owner", []string{nobody}) })
	a.user(t, "alice")
	must(t, w, create("g, with + signs"), grant("g, with + signs", "alice"))
	same(t, "the owner is left alone", a.raw(t, dn, "owner"), []string{nobody})
	missing := openWriter(t, changed(a.Config(), "create", map[string]any{"parent_dn": "ou=absent," + a.groups}))
	refused(t, missing, connectors.Invalid, "parent_dn", create("g"))
}

func testReaderCannotWrite(t *testing.T, server *servers.Directory) {
	a := newTree(t, server, "groupOfNames")
	r, err := ldap.New().OpenReader(t.Context(), a.Config())
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := r.(connectors.Writer); ok {
		t.Error("what OpenReader returns can write")
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	// Nor may the account for planning, as the script makes it.
	a.group(t, a.groupDN("g"), "g")
	a.user(t, "alice")
	cfg := changed(changed(a.Config(), "apply_bind_dn", a.values["bind_dn"]), "apply_password", a.values["password"])
	w := openWriter(t, cfg)
	for _, op := range []schemas.Operation{create("new"), grant("g", "alice"), operation(schemas.OperationDelete, group("g"), schemas.Name{})} {
		refused(t, w, connectors.Denied, "lacks the right", op)
	}
}

// A server ends sessions that are idle, and restarts.
func testReconnect(t *testing.T, server *servers.Directory) {
	a := newTree(t, server, "groupOfNames")
	w := openWriter(t, a.Config())
	must(t, w, create("g"))
	for range 3 {
		ldap.Drop(w)
		same(t, "after the connection was lost", held(t, w, "g"), []string{})
		ldap.Drop(w)
		must(t, w, create("g"))
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.Read(ended, schemas.Selection{}); connectors.CodeOf(err) != connectors.Unavailable || !errors.Is(err, context.Canceled) {
		t.Errorf("Read with an ended context: %v", err)
	}
	same(t, "after an ended context", held(t, w, "g"), []string{})
}

// More members than the server gives entries at once, than stand in one filter, and than are changed at once.
func testManyMembers(t *testing.T, server *servers.Directory) {
	a := newTree(t, server, "groupOfNames")
	w := openWriter(t, a.Config())
	ops := []schemas.Operation{create("g")}
	var want []string
	for i := range 620 {
		name := fmt.Sprintf("m%03d", i)
		a.user(t, name)
		ops = append(ops, grant("g", name))
		want = append(want, "user/"+name)
	}
	// An account without a primary group is in none, least of all in a group that has no number.
	a.add(t, a.userDN("bystander"), map[string][]string{"objectClass": {"inetOrgPerson"}, "uid": {"bystander"}, "cn": {"B"}, "sn": {"B"}})
	before := ldap.Calls(w)
	must(t, w, ops...)
	if n := ldap.Calls(w) - before; n > 150 {
		t.Errorf("%d requests for %d grants", n, len(ops))
	}
	same(t, "granted", held(t, w, "g"), want)
	for i := range ops[1:] {
		ops[i+1].Kind = schemas.OperationRevoke
	}
	must(t, w, ops[1:]...)
	same(t, "revoked", held(t, w, "g"), []string{})
	if !slices.Equal(a.raw(t, a.groupDN("g"), "member"), []string{placeholder + a.groups}) {
		t.Error("the placeholder is not in the emptied group")
	}
}

// TestScripts runs the scripts of least privileges on a server that gives nothing to anybody, and finds that they
// are enough, and no more.
func TestScripts(t *testing.T) {
	t.Parallel()
	server := servers.OpenLDAP(t, servers.Slapd{Overlays: true, Closed: true})
	a := newTree(t, server, "groupOfNames")
	a.user(t, "alice")
	a.user(t, "bob")
	a.modify(t, a.userDN("bob"), func(m *goldap.ModifyRequest) { m.Replace("pwdAccountLockedTime", []string{"000001010000Z"}) })
	if _, err := ldap.New().OpenReader(t.Context(), a.Config()); err == nil {
		t.Error("the account for planning can read before the script ran")
	}
	d := ldap.New().Describe()
	for name, script := range map[string]string{"plan": d.PlanScript, "apply": d.ApplyScript} {
		servers.Shell(t, script, []string{"ACCOUNT=cn=countersign-" + name + ",ou=services," + server.Suffix, "BASE=" + a.groups, "USER_BASE=" + a.people,
			"DATABASE=" + servers.ConfigDatabase, "PPOLICY=yes"}, "-x", "-H", "ldap://"+server.Address, "-D", servers.ConfigAdmin, "-w", server.Password)
	}
	w := openWriter(t, a.Config())
	r, err := ldap.New().OpenReader(t.Context(), a.Config())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}()
	var ops []schemas.Operation
	for i := range 60 {
		ops = append(ops, create(fmt.Sprintf("g%02d", i)))
	}
	must(t, w, append(ops, grant("g00", "alice"), grant("g00", "bob"), operation(schemas.OperationGrant, group("g01"), group("g00")))...)
	list := read(t, r)
	if len(list) != 60 || len(list[0].Entitlements) != 2 || list[0].Entitlements[1].State != schemas.StateBlocked {
		t.Errorf("%d groups, the first is %+v, want 60, with a blocked member", len(list), list[0])
	}
	must(t, w, revoke("g00", "alice"), operation(schemas.OperationDelete, group("g00"), schemas.Name{}))

	// No more than that.
	for _, account := range []string{"countersign-plan", "countersign-apply"} {
		conn, err := goldap.DialURL("ldap://" + server.Address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.Bind("cn="+account+",ou=services,"+server.Suffix, account); err != nil {
			t.Fatal(err)
		}
		change := goldap.NewModifyRequest(a.userDN("alice"), nil)
		change.Replace("uidNumber", []string{"0"})
		if err := conn.Modify(change); !goldap.IsErrorWithCode(err, goldap.LDAPResultInsufficientAccessRights) {
			t.Errorf("%s changes an account: %v", account, err)
		}
		change = goldap.NewModifyRequest(a.groupDN("g02"), nil)
		change.Replace("description", []string{"x"})
		if err := conn.Modify(change); account == "countersign-plan" && !goldap.IsErrorWithCode(err, goldap.LDAPResultInsufficientAccessRights) {
			t.Errorf("%s changes a group: %v", account, err)
		}
		res, err := conn.Search(goldap.NewSearchRequest(a.userDN("alice"), goldap.ScopeBaseObject, goldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)", []string{"userPassword", "homeDirectory"}, nil))
		if err != nil || len(res.Entries) != 1 || len(res.Entries[0].Attributes) > 0 {
			t.Errorf("%s sees more of an account than it needs: %v %v", account, res, err)
		}
	}
}

// testLetters has pairs of names that some foldings take for one, and the server does not.
func testLetters(t *testing.T, server *servers.Directory) {
	a := newTree(t, server, "groupOfNames")
	w := openWriter(t, a.Config())
	for _, pair := range [][2]string{{"weiß", "weiss"}, {"νίκος", "νίκοσ"}} {
		for _, name := range pair {
			dn := a.userDN(name)
			req := goldap.NewAddRequest(dn, nil)
			req.Attribute("objectClass", []string{"inetOrgPerson"})
			req.Attribute("uid", []string{name})
			req.Attribute("cn", []string{"x"})
			req.Attribute("sn", []string{"x"})
			if err := a.hand.Add(req); err != nil {
				t.Fatalf("the server takes %q for one: %v", pair, err)
			}
		}
		g := "g-" + pair[1]
		a.group(t, a.groupDN(g), g, a.userDN(pair[0]))
		same(t, "one of them", held(t, w, g), []string{"user/" + pair[0]})
		must(t, w, revoke(g, pair[1]))
		same(t, "the other was taken", a.raw(t, a.groupDN(g), "member"), []string{a.userDN(pair[0])})
		must(t, w, grant(g, pair[1]))
		if got := a.raw(t, a.groupDN(g), "member"); len(got) != 2 {
			t.Errorf("after the grant of %q: %q", pair[1], got)
		}
	}
}

// testNobodysName makes a group whose DN is that of the placeholder: it would be in every empty group, unseen.
func testNobodysName(t *testing.T, server *servers.Directory) {
	a := newTree(t, server, "groupOfNames")
	w := openWriter(t, a.Config())
	must(t, w, create("empty"))
	refused(t, w, connectors.Denied, "is reserved", create("Countersign-Placeholder"))
	a.group(t, placeholder+a.groups, "countersign-placeholder")
	a.user(t, "alice")
	refused(t, w, connectors.Denied, "is reserved", grant("countersign-placeholder", "alice"))
	if got := read(t, w, "countersign-placeholder"); len(got) != 1 || got[0].Protected == "" {
		t.Errorf("Read of it: %v, want it protected", got)
	}
	// What stands for nobody is not given: nobody would see it.
	a.user(t, "quiet")
	v := openWriter(t, changed(a.Config(), "ignored_members", []any{nobody, a.userDN("quiet")}))
	refused(t, v, connectors.Denied, "is reserved", grant("empty", "quiet"))
}

// testNumberOfAccount leaves accounts with the number of a group that was deleted: the next group must not get it.
func testNumberOfAccount(t *testing.T, server *servers.Directory) {
	a := newTree(t, server, "posixGroup")
	w := openWriter(t, changed(a.Config(), "create", map[string]any{"object_classes": []any{"posixGroup"}, "gid_numbers": map[string]any{"min": 300, "max": 301}}))
	a.user(t, "alice")
	a.modify(t, a.userDN("alice"), func(m *goldap.ModifyRequest) { m.Replace("gidNumber", []string{"300"}) })
	must(t, w, create("g"))
	same(t, "the number", a.raw(t, a.groupDN("g"), "gidNumber"), []string{"301"})
	same(t, "who is in it", held(t, w, "g"), []string{})
	refused(t, w, connectors.Conflict, "all numbers are in use", create("h"))
}

// testUIDTwice has two accounts of one uid: a posixGroup cannot tell them apart.
func testUIDTwice(t *testing.T, server *servers.Directory) {
	a := newTree(t, server, "posixGroup")
	a.user(t, "alice")
	second := "cn=Second," + a.people
	a.add(t, second, map[string][]string{"objectClass": {"inetOrgPerson"}, "cn": {"Second"}, "sn": {"S"}, "uid": {"alice"}})
	w := openWriter(t, a.Config())
	must(t, w, create("g"))
	byID := grant("g", "alice")
	byID.TargetID = a.raw(t, a.userDN("alice"), "entryUUID")[0]
	refused(t, w, connectors.Conflict, "uid", byID)
	a.modify(t, a.groupDN("g"), func(m *goldap.ModifyRequest) { m.Replace("memberUid", []string{"alice"}) })
	same(t, "both are in it", held(t, w, "g"), []string{"user/alice", "user/alice"})
}

// testMembersHidden has groups that may be empty, read by an account that may not see who is in them.
func testMembersHidden(t *testing.T, server *servers.Directory) {
	a := newTree(t, server, "posixGroup")
	a.user(t, "alice")
	w := openWriter(t, a.Config())
	must(t, w, create("g"), grant("g", "alice"))
	cfg := changed(changed(a.Config(), "bind_dn", "cn=memberless,ou=services,dc=example,dc=test"), "password", connectors.NewSecret("memberless"))
	r, err := ldap.New().OpenReader(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	s, err := r.Read(t.Context(), schemas.Selection{})
	if err == nil && s.Incomplete == "" {
		t.Errorf("the state passes for whole: %v", s.Connections)
	}
	// A revoke by such an account must not pass for done.
	blind := changed(changed(cfg, "apply_bind_dn", cfg.Values["bind_dn"]), "apply_password", cfg.Values["password"])
	refused(t, openWriter(t, blind), connectors.Denied, "can't see the members", revoke("g", "alice"))
}

// testGoneAfterRefusal has a server that refuses many changes at once, and is gone before each is tried by itself.
func testGoneAfterRefusal(t *testing.T, server *servers.Directory) {
	a := newTree(t, server, "groupOfNames")
	a.add(t, "cn=hosts,"+a.groups, map[string][]string{"objectClass": {"posixGroup"}, "cn": {"hosts"}, "gidNumber": {"4711"}})
	a.user(t, "zoë")
	ops := []schemas.Operation{grant("hosts", "zoë")}
	for i := range 20 {
		name := fmt.Sprintf("user%02d", i)
		a.user(t, name)
		ops = append(ops, grant("hosts", name))
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var dead atomic.Bool
	var late atomic.Int64
	var running sync.WaitGroup
	serve := func(client net.Conn) {
		defer client.Close()
		if dead.Load() {
			late.Add(1)
			return
		}
		up, err := net.Dial("tcp", server.Address)
		if err != nil {
			t.Error(err)
			return
		}
		defer up.Close()
		running.Go(func() { _, _ = io.Copy(up, client) }) // ends with either
		buf := make([]byte, 64*1024)
		for {
			n, err := up.Read(buf)
			if err != nil {
				return
			}
			if _, err := client.Write(buf[:n]); err != nil {
				return
			}
			// A short message whose operation is a modifyResponse (RFC 4511, 4.6).
			if n > 5 && buf[0] == 0x30 && buf[1] < 0x80 && buf[2] == 0x02 && buf[4+buf[3]] == 0x67 {
				dead.Store(true)
				return
			}
		}
	}
	running.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { serve(client) })
		}
	})
	w := openWriter(t, changed(a.Config(), "url", "ldap://"+l.Addr().String()))
	err = w.Apply(t.Context(), ops, func(o connectors.Outcome) { t.Errorf("%s has an outcome: %v", o.Operation, o.Err) })
	if connectors.CodeOf(err) != connectors.Unavailable || !dead.Load() {
		t.Errorf("Apply: %v, want %s", err, connectors.Unavailable)
	}
	if n := late.Load(); n == 0 || n > 6 {
		t.Errorf("the server that is gone was asked %d times", n)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	running.Wait()
}
