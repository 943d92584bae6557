package ldap_test

import (
	"strings"
	"testing"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest/servers"
	"github.com/countersign/countersign/connectors/ldap"
	"github.com/countersign/countersign/schemas"
)

// TestForesee finds what the directory would refuse, and nothing where it wouldn't.
func TestForesee(t *testing.T) {
	t.Parallel()
	server := servers.OpenLDAP(t, servers.Slapd{})
	group := func(n string) schemas.Name { return schemas.Name{Type: "group", SourceName: n} }
	create := schemas.Operation{ID: "1", Kind: schemas.OperationCreate, Connection: group("new"), After: map[string]any{"description": ""}}
	revoke := func(n, who string) schemas.Operation {
		return schemas.Operation{ID: who, Kind: schemas.OperationRevoke, Connection: group(n), Target: &schemas.Name{Type: "user", SourceName: who}, Privilege: "MEMBER"}
	}
	for _, tt := range []struct {
		name, kind string
		before     func(a *tree)
		ops        []schemas.Operation
		want       string
	}{
		{"a new group", "groupOfNames", nil, []schemas.Operation{create}, ""},
		{"a new group with a number", "posixGroup", nil, []schemas.Operation{create}, ""},
		{"no number is free", "posixGroup", func(a *tree) {
			a.values["create"] = map[string]any{"object_classes": []any{"posixGroup"}, "gid_numbers": map[string]any{"min": 1000, "max": 1000}} // that of the accounts
		}, []schemas.Operation{create}, "all numbers are in use"},
		{"no folder for new groups", "groupOfNames", func(a *tree) {
			a.values["create"] = map[string]any{"object_classes": []any{"groupOfNames"}, "parent_dn": "ou=missing," + a.groups}
		}, []schemas.Operation{create}, "entry not found"},
		{"the name of another entry", "groupOfNames", func(a *tree) {
			a.add(t, a.groupDN("new"), map[string][]string{"objectClass": {"applicationProcess"}, "cn": {"new"}})
		}, []schemas.Operation{create}, "another entry"},
		{"the last member", "groupOfNames", func(a *tree) { a.group(t, a.groupDN("g"), "g", a.userDN("ann")) }, []schemas.Operation{revoke("g", "ann")}, ""},
		{"the last member, and an entry in the placeholder's place", "groupOfNames", func(a *tree) {
			a.group(t, a.groupDN("g"), "g", a.userDN("ann"))
			a.add(t, "cn=countersign-placeholder,"+a.groups, map[string][]string{"objectClass": {"applicationProcess"}, "cn": {"countersign-placeholder"}})
		}, []schemas.Operation{revoke("g", "ann")}, "as its placeholder"},
		{"one of two members", "groupOfNames", func(a *tree) {
			a.group(t, a.groupDN("g"), "g", a.userDN("ann"), a.userDN("bob"))
			a.add(t, "cn=countersign-placeholder,"+a.groups, map[string][]string{"objectClass": {"applicationProcess"}, "cn": {"countersign-placeholder"}})
		}, []schemas.Operation{revoke("g", "ann")}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := newTree(t, server, tt.kind)
			a.user(t, "ann")
			a.user(t, "bob")
			if tt.before != nil {
				tt.before(a)
			}
			r, err := ldap.New().OpenReader(t.Context(), a.Config())
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			found, err := r.(connectors.Foreseer).Foresee(t.Context(), tt.ops)
			if err != nil {
				t.Fatal(err)
			}
			if len(found) > 1 || (len(found) == 1) != (tt.want != "") || len(found) == 1 && !strings.Contains(found[0].Message, tt.want) {
				t.Errorf("found %+v, want %q", found, tt.want)
			}
			res, err := a.hand.Search(goldap.NewSearchRequest(a.groups, goldap.ScopeWholeSubtree, goldap.NeverDerefAliases, 0, 0, false, "(&(cn=new)(!(objectClass=applicationProcess)))", []string{"1.1"}, nil))
			if err != nil || len(res.Entries) > 0 {
				t.Errorf("something was written: %v, %v", res, err)
			}
		})
	}
}
