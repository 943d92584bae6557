package ldap_test

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest"
	"github.com/countersign/countersign/connectors/connectortest/servers"
	"github.com/countersign/countersign/connectors/ldap"
	"github.com/countersign/countersign/schemas"
)

// TestActiveDirectory has all tests that need a domain controller: one for all of them.
func TestActiveDirectory(t *testing.T) {
	t.Parallel()
	server := servers.SambaAD(t)
	prepareDomain(t, server)
	h := connectortest.Harness{
		Connector: ldap.New(),
		Payloads: map[string][2]map[string]any{"group": {{"description": "", "scope": "global", "security": true},
			{"description": "Readers (all) of \\ \"sales\" * – näh", "scope": "universal", "security": false}}},
		Start: func(t connectortest.TB) connectortest.Application { return newOU(t, server) },
		Faulty: []connectortest.Faulty{
			{Name: "wrong password", Code: connectors.Denied, Config: func(_ connectortest.TB, cfg connectors.Config) connectors.Config {
				return changed(cfg, "password", connectors.NewSecret(connectortest.Canary))
			}},
			{Name: "no base", Code: connectors.Invalid, Config: func(_ connectortest.TB, cfg connectors.Config) connectors.Config {
				return changed(cfg, "base_dn", "OU=absent,DC=example,DC=test")
			}},
		},
	}
	t.Run("conformance", func(t *testing.T) {
		t.Parallel()
		connectortest.Run(t, h)
	})
	t.Run("special", func(t *testing.T) {
		t.Parallel()
		for name, run := range map[string]func(*testing.T, *servers.Directory){
			"the domain's own":    testDomainsOwn,
			"administrators":      testAdminCount,
			"primary group":       testPrimaryAD,
			"scope":               testScope,
			"ranges":              testRanges,
			"not delegated":       testNotDelegated,
			"another name for it": testRenamedAD,
			"replaced in between": testReplacedAD,
			"hidden accounts":     testHiddenAD,
		} {
			t.Run(name, func(t *testing.T) { t.Parallel(); run(t, server) })
		}
	})
	t.Run("faults", func(t *testing.T) {
		t.Parallel()
		faults(t, server, h)
	})
}

const (
	planAccount   = "countersign-plan"
	applyAccount  = "countersign-apply"
	accountSecret = "Acc0unt-secret!"
)

// prepareDomain makes the accounts for planning and applying.
func prepareDomain(t connectortest.TB, server *servers.Directory) {
	t.Helper()
	o := &ou{server: server, hand: server.Dial(t), people: "CN=Users," + server.Suffix}
	for _, name := range []string{planAccount, applyAccount} {
		o.user(t, name)
		dn := "CN=" + name + "," + o.people
		// A password is set in UTF-16 within quotation marks ([MS-ADTS] 3.1.1.3.1.5), over TLS or where the server lets it.
		var password []byte
		for _, r := range `"` + accountSecret + `"` {
			password = binary.LittleEndian.AppendUint16(password, uint16(r))
		}
		o.modify(t, dn, func(m *goldap.ModifyRequest) { m.Replace("unicodePwd", []string{string(password)}) })
		o.modify(t, dn, func(m *goldap.ModifyRequest) { m.Replace("userAccountControl", []string{"512"}) })
	}
	o.add(t, delegated(server), map[string][]string{"objectClass": {"organizationalUnit"}})
	res, err := o.hand.Search(goldap.NewSearchRequest("CN="+applyAccount+","+o.people, goldap.ScopeBaseObject, goldap.NeverDerefAliases, 0, 0, false,
		"(objectClass=*)", []string{"objectSid"}, nil))
	if err != nil || len(res.Entries) != 1 {
		t.Fatalf("look up the account: %v", err)
	}
	// As the script for applying: to make and delete groups, and to write these attributes of them.
	const group = "bf967a9c-0de6-11d0-a285-00aa003049e2"
	who := sid(res.Entries[0].GetRawAttributeValue("objectSid"))
	rights := "(OA;CI;CCDC;" + group + ";;" + who + ")"
	for _, attribute := range []string{"bf9679c0-0de6-11d0-a285-00aa003049e2" /* member */, "bf967950-0de6-11d0-a285-00aa003049e2", /* description */
		"9a9a021e-4a5b-11d1-a9c3-0000f80367c1" /* groupType */} {
		rights += "(OA;CIIO;WP;" + attribute + ";" + group + ";" + who + ")"
	}
	server.Allow(t, delegated(server), rights)
}

// delegated is the entry below which groups are managed.
func delegated(server *servers.Directory) string { return "OU=Delegated," + server.Suffix }

// sid is the usual form of an objectSid ([MS-DTYP] 2.4.2.1).
func sid(b []byte) string {
	s := fmt.Sprintf("S-%d-%d", b[0], b[7])
	for i := 8; i < len(b); i += 4 {
		s += fmt.Sprintf("-%d", binary.LittleEndian.Uint32(b[i:]))
	}
	return s
}

// ou is an organisational unit that one test has for itself, and an administrator who works in it.
type ou struct {
	server                       *servers.Directory
	hand                         *goldap.Conn
	prefix                       string
	top, groups, people, outside string
	values                       map[string]any
}

var (
	_ connectortest.Application    = (*ou)(nil)
	_ connectortest.Breaker        = (*ou)(nil)
	_ connectortest.IdentityStater = (*ou)(nil)
	_ connectortest.Protector      = (*ou)(nil)
)

func newOU(t connectortest.TB, server *servers.Directory) *ou {
	t.Helper()
	o := &ou{server: server, hand: server.Dial(t)}
	n := trees.Add(1)
	// Names of accounts and groups are unique in a domain.
	o.prefix = fmt.Sprintf("t%d-", n)
	o.top = fmt.Sprintf("OU=t%d,%s", n, delegated(server))
	o.add(t, o.top, map[string][]string{"objectClass": {"organizationalUnit"}})
	for name, dn := range map[string]*string{"Groups": &o.groups, "People": &o.people, "Elsewhere": &o.outside} {
		*dn = "OU=" + name + "," + o.top
		o.add(t, *dn, map[string][]string{"objectClass": {"organizationalUnit"}})
	}
	o.values = map[string]any{
		"url": "ldap://" + server.Address, "timeout": "30s", "flavour": "active_directory",
		"bind_dn": planAccount + "@example.test", "password": connectors.NewSecret(accountSecret),
		"apply_bind_dn": `EXAMPLE\` + applyAccount, "apply_password": connectors.NewSecret(accountSecret),
		"base_dn": o.groups, "user_base_dn": o.people, "page_size": 20,
	}
	return o
}

func (o *ou) Config() connectors.Config {
	return connectors.Config{Application: "corp", Values: o.values, Now: time.Now, Logger: slog.New(slog.DiscardHandler)}
}

func (o *ou) Name(word string) string { return o.prefix + word }

func (o *ou) add(t connectortest.TB, dn string, attributes map[string][]string) {
	t.Helper()
	req := goldap.NewAddRequest(dn, nil)
	for k, v := range attributes {
		req.Attribute(k, v)
	}
	if err := o.hand.Add(req); err != nil && !goldap.IsErrorWithCode(err, goldap.LDAPResultEntryAlreadyExists) {
		t.Fatalf("add %s: %v", dn, err)
	}
}

func (o *ou) modify(t connectortest.TB, dn string, change func(*goldap.ModifyRequest)) {
	t.Helper()
	req := goldap.NewModifyRequest(dn, nil)
	change(req)
	if err := o.hand.Modify(req); err != nil {
		t.Fatalf("modify %s: %v", dn, err)
	}
}

func (o *ou) user(t connectortest.TB, name string) {
	t.Helper()
	o.add(t, "CN="+goldap.EscapeDN(name)+","+o.people, map[string][]string{"objectClass": {"user"}, "sAMAccountName": {name}, "userAccountControl": {"544"}})
}

func (o *ou) AddIdentity(t connectortest.TB, typ, word string) schemas.Name {
	name := o.Name(word)
	if typ == "foreign" {
		dn := "CN=" + goldap.EscapeDN(name) + "," + o.outside
		o.add(t, dn, map[string][]string{"objectClass": {"contact"}})
		return schemas.Name{Type: typ, SourceName: strings.ToLower(dn)}
	}
	o.user(t, name)
	return schemas.Name{Type: typ, SourceName: strings.ToLower(name)}
}

func (o *ou) RemoveIdentity(t connectortest.TB, n schemas.Name) {
	if err := o.hand.Del(goldap.NewDelRequest(o.dn(n), nil)); err != nil {
		t.Fatal(err)
	}
}

func (o *ou) AddResource(connectortest.TB, string, string) (schemas.Name, bool) {
	return schemas.Name{}, false
}

func (o *ou) dn(n schemas.Name) string {
	switch n.Type {
	case "foreign":
		return n.SourceName
	case "user":
		return "CN=" + goldap.EscapeDN(n.SourceName) + "," + o.people
	}
	return "CN=" + goldap.EscapeDN(n.SourceName) + "," + o.groups
}

func (o *ou) AddConnection(t connectortest.TB, n schemas.Name) {
	o.add(t, o.dn(n), map[string][]string{"objectClass": {"group"}, "sAMAccountName": {n.SourceName}})
}

func (o *ou) DropConnection(t connectortest.TB, n schemas.Name) { o.RemoveIdentity(t, n) }

func (o *ou) Grant(t connectortest.TB, k schemas.Key) {
	o.modify(t, o.dn(k.Connection), func(m *goldap.ModifyRequest) { m.Add("member", []string{o.dn(k.Target)}) })
}

func (o *ou) Revoke(t connectortest.TB, k schemas.Key) {
	o.modify(t, o.dn(k.Connection), func(m *goldap.ModifyRequest) { m.Delete("member", []string{o.dn(k.Target)}) })
}

func (o *ou) SetIdentityState(t connectortest.TB, n schemas.Name, state schemas.EntitlementState) bool {
	switch state {
	case schemas.StateBlocked:
		o.modify(t, o.dn(n), func(m *goldap.ModifyRequest) { m.Replace("userAccountControl", []string{"546"}) })
	case schemas.StateExpired:
		o.modify(t, o.dn(n), func(m *goldap.ModifyRequest) { m.Replace("accountExpires", []string{"130000000000000000"}) })
	default:
		return false
	}
	return true
}

func (o *ou) Protected(t connectortest.TB) schemas.Name {
	n := schemas.Name{Type: "group", SourceName: o.Name("directory-managers")}
	o.AddConnection(t, n)
	o.modify(t, o.dn(n), func(m *goldap.ModifyRequest) {
		m.Add("member", []string{"CN=" + applyAccount + ",CN=Users," + o.server.Suffix})
	})
	return n
}

func (o *ou) Break(t connectortest.TB) []connectortest.Broken {
	with := func(key string, value any) func(connectortest.TB) connectors.Config {
		return func(connectortest.TB) connectors.Config { return changed(o.Config(), key, value) }
	}
	return []connectortest.Broken{
		{Name: "the base is gone", Start: with("base_dn", "OU=gone,"+o.groups)},
		{Name: "the accounts are elsewhere", Start: with("user_base_dn", "OU=gone,"+o.people)},
		{Name: "the server is gone", Start: with("url", "ldap://127.0.0.1:1")},
	}
}

// wide is a config with the whole domain as base.
func (o *ou) wide() connectors.Config {
	return changed(changed(o.Config(), "base_dn", o.server.Suffix), "page_size", 200)
}

func testDomainsOwn(t *testing.T, server *servers.Directory) {
	o := newOU(t, server)
	o.user(t, o.Name("alice"))
	// The administrator may do everything, so that only we say no.
	cfg := changed(changed(o.wide(), "apply_bind_dn", server.Admin), "apply_password", connectors.NewSecret(server.Password))
	w := openWriter(t, cfg)
	for _, name := range []string{"domain admins", "enterprise admins", "schema admins", "administrators", "domain users", "domain computers", "users", "account operators", "dnsadmins"} {
		got := read(t, w, name)
		if name == "dnsadmins" && len(got) == 0 {
			continue // made with the DNS server only
		}
		if len(got) != 1 || got[0].Protected == "" {
			t.Errorf("%s is read as %+v, want it protected", name, got)
			continue
		}
		before := got[0]
		change := operation(schemas.OperationUpdate, group(name), schemas.Name{})
		change.After = map[string]any{"description": "mine now"}
		for _, op := range []schemas.Operation{grant(name, o.Name("alice")), change, create(name), operation(schemas.OperationDelete, group(name), schemas.Name{})} {
			refused(t, w, connectors.Denied, "is protected", op)
		}
		same(t, name, held(t, w, name), targets(before))
	}
	// Nor is such a group put into one of ours.
	c := o.Name("ours")
	must(t, w, create(c))
	refused(t, w, connectors.Denied, "can't grant it", operation(schemas.OperationGrant, group(c), group("domain admins")))
}

func targets(c schemas.Connection) []string {
	out := []string{}
	for _, e := range c.Entitlements {
		out = append(out, e.Target.String())
	}
	return out
}

func testAdminCount(t *testing.T, server *servers.Directory) {
	o := newOU(t, server)
	w := openWriter(t, o.Config())
	c := o.Name("g")
	must(t, w, create(c))
	o.modify(t, o.dn(group(c)), func(m *goldap.ModifyRequest) { m.Replace("adminCount", []string{"1"}) })
	if got := read(t, w, c); got[0].Protected == "" {
		t.Error("a group with adminCount is not protected")
	}
	refused(t, w, connectors.Denied, "adminCount", operation(schemas.OperationDelete, group(c), schemas.Name{}))
}

// An account is in its primary group, although the group does not say so.
func testPrimaryAD(t *testing.T, server *servers.Directory) {
	o := newOU(t, server)
	w := openWriter(t, o.Config())
	c, alice := o.Name("g"), o.Name("alice")
	o.user(t, alice)
	must(t, w, create(c), grant(c, alice))
	res, err := o.hand.Search(goldap.NewSearchRequest(o.dn(group(c)), goldap.ScopeBaseObject, goldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)", []string{"objectSid"}, nil))
	if err != nil || len(res.Entries) != 1 {
		t.Fatal(err)
	}
	id := res.Entries[0].GetRawAttributeValue("objectSid")
	rid := fmt.Sprint(binary.LittleEndian.Uint32(id[len(id)-4:]))
	o.modify(t, o.dn(account(alice)), func(m *goldap.ModifyRequest) { m.Replace("primaryGroupID", []string{rid}) })
	same(t, "by the account", held(t, w, c), []string{"user/" + alice})
	must(t, w, grant(c, alice))
	refused(t, w, connectors.Conflict, "primary", revoke(c, alice))
	same(t, "still there", held(t, w, c), []string{"user/" + alice})
}

// Between two scopes the directory may only let go over the third.
func testScope(t *testing.T, server *servers.Directory) {
	o := newOU(t, server)
	w := openWriter(t, o.Config())
	c := o.Name("g")
	must(t, w, create(c))
	change := operation(schemas.OperationUpdate, group(c), schemas.Name{})
	for _, scope := range []string{"domain_local", "global", "universal", "domain_local", "universal", "global"} {
		for _, security := range []bool{false, true} {
			change.After = map[string]any{"scope": scope, "security": security}
			must(t, w, change)
			if got := read(t, w, c)[0].Payload; got["scope"] != scope || got["security"] != security {
				t.Fatalf("the group is %v, want %v", got, change.After)
			}
		}
	}
}

// Active Directory gives no more than 1500 values at once. Samba gives them all, and parts when asked for: between
// the two stands what asks as if the server had a bound.
func testRanges(t *testing.T, server *servers.Directory) {
	o := newOU(t, server)
	w := openWriter(t, o.Config())
	c := o.Name("g")
	ops := []schemas.Operation{create(c)}
	var want []string
	for i := range 30 {
		name := fmt.Sprintf("%sm%02d", o.prefix, i)
		o.user(t, name)
		ops = append(ops, grant(c, name))
		want = append(want, "user/"+name)
	}
	must(t, w, ops...)
	for _, most := range []int{1, 7, 10, 29, 30, 31} {
		ldap.InRanges(w, most)
		same(t, fmt.Sprintf("in ranges of %d", most), held(t, w, c), want)
	}
}

// The account for applying can change groups where it was delegated, and nowhere else.
func testNotDelegated(t *testing.T, server *servers.Directory) {
	o := newOU(t, server)
	c, alice := o.Name("theirs"), o.Name("alice")
	o.user(t, alice)
	o.add(t, "CN="+c+",CN=Users,"+server.Suffix, map[string][]string{"objectClass": {"group"}, "sAMAccountName": {c}})
	w := openWriter(t, o.wide())
	for _, op := range []schemas.Operation{grant(c, alice), create(o.Name("new")), operation(schemas.OperationDelete, group(c), schemas.Name{})} {
		refused(t, w, connectors.Denied, "lacks the right", op)
	}
	same(t, "theirs", held(t, w, c), []string{})
}

func testRenamedAD(t *testing.T, server *servers.Directory) {
	o := newOU(t, server)
	w := openWriter(t, o.Config())
	old, now, alice := o.Name("old"), o.Name("new"), o.Name("alice")
	o.user(t, alice)
	must(t, w, create(old), grant(old, alice))
	id := read(t, w, old)[0].NativeID
	o.modify(t, o.dn(group(old)), func(m *goldap.ModifyRequest) { m.Replace("sAMAccountName", []string{now}) })
	if got := read(t, w, old, now); len(got) != 1 || got[0].SourceName != now || got[0].NativeID != id || len(id) != 36 {
		t.Errorf("after the renaming: %v, want %s with the id %s", got, now, id)
	}
	op := revoke(old, alice)
	op.NativeID = id
	refused(t, w, connectors.Conflict, now, op)
	op = revoke(now, alice)
	op.NativeID = strings.ToUpper(id)
	must(t, w, op)
	same(t, "by the new name", held(t, w, now), []string{})
}

// A change reaches the entry that was read, or none, and finds it under another name.
func testReplacedAD(t *testing.T, server *servers.Directory) {
	o := newOU(t, server)
	w := openWriter(t, o.Config())
	c, alice := o.Name("g"), o.Name("alice")
	o.user(t, alice)
	must(t, w, create(c))
	err := ldap.ChangeLate(t, w, c, o.dn(account(alice)), func() {
		o.DropConnection(t, group(c))
		o.AddConnection(t, group(c))
	})
	if connectors.CodeOf(err) != connectors.NotFound {
		t.Errorf("a change of what was replaced: %v, want %s", err, connectors.NotFound)
	}
	same(t, "the new group", held(t, w, c), []string{})
}

// testHiddenAD has members that do not say so, or are not seen at all.
func testHiddenAD(t *testing.T, server *servers.Directory) {
	o := newOU(t, server)
	w := openWriter(t, o.Config())
	c, alice, bob := o.Name("g"), o.Name("alice"), o.Name("bob")
	o.user(t, alice)
	o.user(t, bob)
	must(t, w, create(c), grant(c, alice), grant(c, bob))
	const memberOf = "bf967991-0de6-11d0-a285-00aa003049e2"
	server.Allow(t, o.dn(account(alice)), "(OD;;RP;"+memberOf+";;AU)")
	must(t, w, grant(c, alice), revoke(c, alice))
	server.Allow(t, o.dn(account(bob)), "(D;;RP;;;AU)")
	same(t, "who is left", held(t, w, c), []string{"foreign/" + strings.ToLower(o.dn(account(bob)))})
	must(t, w, operation(schemas.OperationRevoke, group(c), schemas.Name{Type: "foreign", SourceName: strings.ToLower(o.dn(account(bob)))}))
	res, err := o.hand.Search(goldap.NewSearchRequest(o.dn(group(c)), goldap.ScopeBaseObject, goldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)", []string{"member"}, nil))
	if err != nil || len(res.Entries) != 1 {
		t.Fatal(err)
	}
	same(t, "members", res.Entries[0].GetAttributeValues("member"), []string{})
}
