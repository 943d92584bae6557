package ldap_test

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest"
	"github.com/countersign/countersign/connectors/connectortest/servers"
	"github.com/countersign/countersign/connectors/ldap"
	"github.com/countersign/countersign/schemas"
)

// TestOpenLDAP has all tests that need a slapd: one for all of them.
func TestOpenLDAP(t *testing.T) {
	t.Parallel()
	server := servers.OpenLDAP(t, servers.Slapd{Overlays: true})
	for _, kind := range []string{"groupOfNames", "groupOfUniqueNames", "posixGroup"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			connectortest.Run(t, harness(server, kind))
		})
	}
	t.Run("special", func(t *testing.T) {
		t.Parallel()
		special(t, server)
	})
	t.Run("faults", func(t *testing.T) {
		t.Parallel()
		faults(t, server, harness(server, "groupOfNames"))
	})
}

// TestBareOpenLDAP is on a server that leaves the names of deleted entries in groups.
func TestBareOpenLDAP(t *testing.T) {
	t.Parallel()
	server := servers.OpenLDAP(t, servers.Slapd{})
	connectortest.Run(t, harness(server, "groupOfNames"))
}

func harness(server *servers.Directory, kind string) connectortest.Harness {
	with := func(key string, value any) func(connectortest.TB, connectors.Config) connectors.Config {
		return func(_ connectortest.TB, cfg connectors.Config) connectors.Config { return changed(cfg, key, value) }
	}
	canary := connectors.NewSecret(connectortest.Canary)
	return connectortest.Harness{
		Connector: ldap.New(),
		// The config has pages of 20.
		BeyondPages: 45,
		Payloads:    map[string][2]map[string]any{"group": {{"description": ""}, {"description": "Readers (all) of \\ \"sales\" * – näh\nand more"}}},
		Start:       func(t connectortest.TB) connectortest.Application { return newTree(t, server, kind) },
		Faulty: []connectortest.Faulty{
			{Name: "wrong password", Code: connectors.Denied, Config: with("password", canary)},
			{Name: "no such account", Code: connectors.Denied, Config: func(_ connectortest.TB, cfg connectors.Config) connectors.Config {
				return changed(changed(cfg, "bind_dn", "cn=nobody,ou=services,dc=example,dc=test"), "password", canary)
			}},
			{Name: "nobody listens", Code: connectors.Unavailable, Config: with("url", "ldap://127.0.0.1:1")},
			{Name: "no server", Code: connectors.Invalid, Config: with("url", "ldap:///")},
			{Name: "another protocol", Code: connectors.Invalid, Config: with("url", "http://127.0.0.1")},
			{Name: "a password in the URL", Code: connectors.Invalid, Config: with("url", "ldap://x:secret@127.0.0.1")},
			{Name: "no TLS to another host", Code: connectors.Invalid, Config: with("url", "ldap://directory.example.test")},
			{Name: "TLS twice", Code: connectors.Invalid, Config: func(_ connectortest.TB, cfg connectors.Config) connectors.Config {
				return changed(changed(cfg, "url", "ldaps://127.0.0.1"), "start_tls", true)
			}},
			{Name: "an empty password", Code: connectors.Invalid, Config: with("password", connectors.NewSecret(""))},
			{Name: "no base", Code: connectors.Invalid, Config: with("base_dn", "ou=absent,dc=example,dc=test")},
			{Name: "a base that is no DN", Code: connectors.Invalid, Config: with("base_dn", "groups")},
			{Name: "a filter that is none", Code: connectors.Invalid, Config: with("user_filter", "(objectClass=person")},
			{Name: "a CA file that is not there", Code: connectors.Invalid, Config: with("ca_file", "/nowhere/ca.pem")},
			{Name: "a CA file out of the repository", Code: connectors.Invalid, Config: with("ca_file", "../ca.pem")},
			{Name: "a group that no class makes", Code: connectors.Invalid, Config: with("create", map[string]any{"object_classes": []any{"device"}})},
			{Name: "a posixGroup without a number", Code: connectors.Invalid, Config: with("create", map[string]any{"object_classes": []any{"posixGroup"}})},
			{Name: "new groups elsewhere", Code: connectors.Invalid, Config: with("create", map[string]any{"parent_dn": "ou=people,dc=example,dc=test"})},
			{Name: "members in the template", Code: connectors.Invalid, Config: with("create", map[string]any{"attributes": map[string]any{"member": []any{"cn=x"}}})},
			{Name: "an unknown flavour", Code: connectors.Invalid, Config: with("flavour", "novell")},
			{Name: "an endless timeout", Code: connectors.Invalid, Config: with("timeout", "0s")},
			{Name: "an unknown setting", Code: connectors.Invalid, Config: with("dsn", canary)},
		},
	}
}

func changed(cfg connectors.Config, key string, value any) connectors.Config {
	cfg.Values = maps.Clone(cfg.Values)
	cfg.Values[key] = value
	return cfg
}

// tree is a part of a directory that one test has for itself, and an administrator who works in it.
type tree struct {
	server                       *servers.Directory
	hand                         *goldap.Conn
	kind                         string
	top, groups, people, outside string // DNs
	values                       map[string]any
}

var (
	_ connectortest.Application    = (*tree)(nil)
	_ connectortest.Breaker        = (*tree)(nil)
	_ connectortest.IdentityStater = (*tree)(nil)
	_ connectortest.Protector      = (*tree)(nil)
	_ connectortest.Hider          = (*tree)(nil)
)

// nobody stands for a member in groups that an administrator empties, and is ignored by the config.
const nobody = "cn=nobody,dc=example,dc=test"

var trees atomic.Int64 //nolint:gochecknoglobals // numbers the trees of all tests in this binary

func newTree(t connectortest.TB, server *servers.Directory, kind string) *tree {
	t.Helper()
	a := &tree{server: server, hand: server.Dial(t), kind: kind}
	ou := fmt.Sprintf("t%d", trees.Add(1))
	a.top = "ou=" + ou + "," + server.Suffix
	a.add(t, a.top, map[string][]string{"objectClass": {"organizationalUnit"}, "ou": {ou}})
	for name, dn := range map[string]*string{"groups": &a.groups, "people": &a.people, "elsewhere": &a.outside} {
		*dn = "ou=" + name + "," + a.top
		a.add(t, *dn, map[string][]string{"objectClass": {"organizationalUnit"}, "ou": {name}})
	}
	a.user(t, "somebody-else") // a directory without any account is one whose accounts cannot be seen
	create := map[string]any{"object_classes": []any{kind}}
	if kind == "posixGroup" {
		create["gid_numbers"] = map[string]any{"min": 20000, "max": 29999}
	}
	a.values = map[string]any{
		"url": "ldap://" + server.Address, "timeout": "20s",
		"bind_dn": "cn=countersign-plan,ou=services,dc=example,dc=test", "password": connectors.NewSecret("countersign-plan"),
		"apply_bind_dn": "cn=countersign-apply,ou=services,dc=example,dc=test", "apply_password": connectors.NewSecret("countersign-apply"),
		"base_dn": a.groups, "user_base_dn": a.people, "create": create, "ignored_members": []any{nobody, "cn=nothing,dc=example,dc=test"}, "page_size": 20,
	}
	return a
}

func (a *tree) Config() connectors.Config {
	return connectors.Config{Application: "corp", Values: a.values, Now: time.Now, Logger: slog.New(slog.DiscardHandler)}
}

func (a *tree) Name(word string) string { return word }

func (a *tree) add(t connectortest.TB, dn string, attributes map[string][]string) {
	t.Helper()
	req := goldap.NewAddRequest(dn, nil)
	for k, v := range attributes {
		req.Attribute(k, v)
	}
	if err := a.hand.Add(req); err != nil && !goldap.IsErrorWithCode(err, goldap.LDAPResultEntryAlreadyExists) {
		t.Fatalf("add %s: %v", dn, err)
	}
}

func (a *tree) modify(t connectortest.TB, dn string, change func(*goldap.ModifyRequest)) {
	t.Helper()
	if err := a.try(dn, change); err != nil {
		t.Fatalf("modify %s: %v", dn, err)
	}
}

func (a *tree) try(dn string, change func(*goldap.ModifyRequest)) error {
	req := goldap.NewModifyRequest(dn, nil)
	change(req)
	return a.hand.Modify(req)
}

// raw is an attribute's values as an administrator sees them.
func (a *tree) raw(t connectortest.TB, dn, attribute string) []string {
	t.Helper()
	res, err := a.hand.Search(goldap.NewSearchRequest(dn, goldap.ScopeBaseObject, goldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)", []string{attribute}, nil))
	if err != nil || len(res.Entries) != 1 {
		t.Fatalf("read %s: %v", dn, err)
	}
	return slices.Sorted(slices.Values(res.Entries[0].GetAttributeValues(attribute)))
}

func (a *tree) groupDN(name string) string { return "cn=" + goldap.EscapeDN(name) + "," + a.groups }
func (a *tree) userDN(name string) string  { return "uid=" + goldap.EscapeDN(name) + "," + a.people }

// attribute holds the members of the tree's kind of groups.
func (a *tree) attribute() string {
	return map[string]string{"groupOfNames": "member", "groupOfUniqueNames": "uniqueMember", "posixGroup": "memberUid"}[a.kind]
}

func (a *tree) AddIdentity(t connectortest.TB, typ, word string) schemas.Name {
	if typ == "foreign" {
		dn := "cn=" + goldap.EscapeDN(word) + "," + a.outside
		a.add(t, dn, map[string][]string{"objectClass": {"applicationProcess"}, "cn": {word}})
		return schemas.Name{Type: typ, SourceName: strings.ToLower(dn)}
	}
	a.user(t, word)
	return schemas.Name{Type: typ, SourceName: strings.ToLower(word)}
}

func (a *tree) user(t connectortest.TB, name string) {
	t.Helper()
	a.add(t, a.userDN(name), map[string][]string{"objectClass": {"inetOrgPerson", "posixAccount", "shadowAccount"}, "uid": {name}, "cn": {"Somebody"}, "sn": {"Somebody"},
		"uidNumber": {"1000"}, "gidNumber": {"1000"}, "homeDirectory": {"/"}})
}

func (a *tree) RemoveIdentity(t connectortest.TB, n schemas.Name) {
	if err := a.hand.Del(goldap.NewDelRequest(a.userDN(n.SourceName), nil)); err != nil {
		t.Fatal(err)
	}
	if a.kind != "posixGroup" {
		return // refint takes it out of groups
	}
	// What manages accounts takes their names out of posixGroups.
	res, err := a.hand.Search(goldap.NewSearchRequest(a.groups, goldap.ScopeWholeSubtree, goldap.NeverDerefAliases, 0, 0, false,
		"(memberUid="+goldap.EscapeFilter(n.SourceName)+")", []string{"1.1"}, nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range res.Entries {
		a.modify(t, e.DN, func(m *goldap.ModifyRequest) { m.Delete("memberUid", []string{n.SourceName}) })
	}
}

func (a *tree) AddResource(connectortest.TB, string, string) (schemas.Name, bool) {
	return schemas.Name{}, false
}

func (a *tree) AddConnection(t connectortest.TB, n schemas.Name) {
	a.group(t, a.groupDN(n.SourceName), n.SourceName)
}

func (a *tree) group(t connectortest.TB, dn, name string, members ...string) {
	t.Helper()
	attributes := map[string][]string{"objectClass": {a.kind}, "cn": {name}}
	if a.kind == "posixGroup" {
		attributes["gidNumber"] = []string{fmt.Sprint(50000 + trees.Add(1))}
	}
	if members != nil {
		attributes[a.attribute()] = members
	} else if a.kind != "posixGroup" {
		attributes[a.attribute()] = []string{nobody}
	}
	a.add(t, dn, attributes)
}

func (a *tree) DropConnection(t connectortest.TB, n schemas.Name) {
	if err := a.hand.Del(goldap.NewDelRequest(a.groupDN(n.SourceName), nil)); err != nil {
		t.Fatal(err)
	}
}

// value is what stands in a group for a member.
func (a *tree) value(n schemas.Name) string {
	switch {
	case n.Type == "foreign":
		return n.SourceName
	case n.Type == "group":
		return a.groupDN(n.SourceName)
	case a.kind == "posixGroup":
		return n.SourceName
	}
	return a.userDN(n.SourceName)
}

// attributeFor is the attribute that has a target. A posixGroup has accounts by name, and others where an administrator
// extends its entry.
func (a *tree) attributeFor(n schemas.Name) string {
	if n.Type == "foreign" && a.kind == "posixGroup" {
		return "member"
	}
	return a.attribute()
}

func (a *tree) Grant(t connectortest.TB, k schemas.Key) {
	dn := a.groupDN(k.Connection.SourceName)
	if a.attributeFor(k.Target) != a.attribute() {
		if err := a.try(dn, func(m *goldap.ModifyRequest) { m.Add("objectClass", []string{"extensibleObject"}) }); err != nil &&
			!goldap.IsErrorWithCode(err, goldap.LDAPResultAttributeOrValueExists) {
			t.Fatal(err)
		}
	}
	a.modify(t, dn, func(m *goldap.ModifyRequest) { m.Add(a.attributeFor(k.Target), []string{a.value(k.Target)}) })
}

func (a *tree) Revoke(t connectortest.TB, k schemas.Key) {
	dn, gone := a.groupDN(k.Connection.SourceName), func(m *goldap.ModifyRequest) { m.Delete(a.attributeFor(k.Target), []string{a.value(k.Target)}) }
	err := a.try(dn, gone)
	if goldap.IsErrorWithCode(err, goldap.LDAPResultObjectClassViolation) {
		err = a.try(dn, func(m *goldap.ModifyRequest) { m.Add(a.attribute(), []string{nobody}); gone(m) })
	}
	if err != nil {
		t.Fatalf("take %s out of %s: %v", a.value(k.Target), dn, err)
	}
}

func (a *tree) SetIdentityState(t connectortest.TB, n schemas.Name, state schemas.EntitlementState) bool {
	switch state {
	case schemas.StateBlocked:
		a.modify(t, a.userDN(n.SourceName), func(m *goldap.ModifyRequest) { m.Replace("pwdAccountLockedTime", []string{"000001010000Z"}) })
	case schemas.StateExpired:
		a.modify(t, a.userDN(n.SourceName), func(m *goldap.ModifyRequest) { m.Replace("shadowExpire", []string{"19000"}) })
	default:
		return false
	}
	return true
}

// Hide moves an account out of the accounts' base. Where the server keeps references whole, groups name its new entry,
// otherwise the one that is gone.
func (a *tree) Hide(t connectortest.TB, n schemas.Name, hidden bool) bool {
	t.Helper()
	if n.Type != "user" {
		return false
	}
	rdn := "uid=" + goldap.EscapeDN(n.SourceName)
	from, to := a.people, a.outside
	if !hidden {
		from, to = to, from
	}
	if err := a.hand.ModifyDN(goldap.NewModifyDNRequest(rdn+","+from, rdn, true, to)); err != nil {
		t.Fatalf("move %s to %s: %v", rdn, to, err)
	}
	if a.kind == "groupOfUniqueNames" {
		a.awaitRename(t, rdn+","+from)
	}
	return true
}

// awaitRename waits until no group names an entry that was moved: OpenLDAP's overlay refint changes the values after it has
// answered. The overlay memberof, which looks after groupOfNames, changes them before.
func (a *tree) awaitRename(t connectortest.TB, dn string) {
	t.Helper()
	for {
		res, err := a.hand.Search(goldap.NewSearchRequest(a.groups, goldap.ScopeWholeSubtree, goldap.NeverDerefAliases, 0, 0, false,
			"(uniqueMember="+goldap.EscapeFilter(dn)+")", []string{"1.1"}, nil))
		if err != nil {
			t.Fatal(err)
		}
		if len(res.Entries) == 0 {
			return
		}
		select {
		case <-t.Context().Done():
			t.Fatalf("groups still name %s", dn)
		case <-time.After(time.Millisecond):
		}
	}
}

func (a *tree) Protected(t connectortest.TB) schemas.Name {
	member := "cn=countersign-apply,ou=services,dc=example,dc=test"
	if a.kind == "posixGroup" {
		member = "countersign-apply"
	}
	a.group(t, a.groupDN("directory-managers"), "directory-managers", member)
	return schemas.Name{Type: "group", SourceName: "directory-managers"}
}

func (a *tree) Break(t connectortest.TB) []connectortest.Broken {
	as := func(name string) func(connectortest.TB) connectors.Config {
		return func(connectortest.TB) connectors.Config {
			return changed(changed(a.Config(), "bind_dn", "cn="+name+",ou=services,dc=example,dc=test"), "password", connectors.NewSecret(name))
		}
	}
	with := func(key string, value any) func(connectortest.TB) connectors.Config {
		return func(connectortest.TB) connectors.Config { return changed(a.Config(), key, value) }
	}
	broken := []connectortest.Broken{
		{Name: "the groups cannot be seen", Start: as("blind")},
		{Name: "the accounts cannot be seen", Start: as("peopleless")},
		{Name: "the base is gone", Start: with("base_dn", "ou=gone,"+a.groups)},
		{Name: "the accounts are elsewhere", Start: with("user_base_dn", "ou=gone,"+a.people)},
		{Name: "the server is gone", Start: with("url", "ldap://127.0.0.1:1")},
	}
	if a.kind != "posixGroup" {
		broken = append(broken, connectortest.Broken{Name: "members cannot be seen", Start: as("memberless")})
	}
	return append(broken,
		connectortest.Broken{Name: "size limit", Start: func(t connectortest.TB) connectors.Config {
			for i := range 30 {
				name := fmt.Sprintf("more_%02d", i)
				a.group(t, a.groupDN(name), name)
				a.user(t, name)
			}
			for i := range 30 {
				a.modify(t, a.groupDN("whole"), func(m *goldap.ModifyRequest) {
					m.Add(a.attribute(), []string{a.value(schemas.Name{Type: "user", SourceName: fmt.Sprintf("more_%02d", i)})})
				})
			}
			return as("bounded")(t)
		}},
		connectortest.Broken{Name: "another server has a part", Start: func(t connectortest.TB) connectors.Config {
			for _, base := range []string{a.groups, a.people} {
				req := goldap.NewAddRequest("cn=moved,"+base, []goldap.Control{goldap.NewControlManageDsaIT(true)})
				req.Attribute("objectClass", []string{"referral", "extensibleObject"})
				req.Attribute("cn", []string{"moved"})
				req.Attribute("ref", []string{"ldap://elsewhere.example.test/" + base})
				if err := a.hand.Add(req); err != nil {
					t.Fatal(err)
				}
			}
			return a.Config()
		}})
}
