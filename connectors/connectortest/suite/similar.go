package suite

import (
	"strings"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest/harness"
	"github.com/countersign/countersign/schemas"
)

// testCase checks a connector that declares fold_case: the outside hand must reach a connection under another case.
// Otherwise the application tells the two apart, and the connector merges access of different connections.
func testCase(t harness.T, h harness.Harness) {
	each(t, h, func(c schemas.ConnectionType) bool { return c.Create && c.Names.FoldCase }, func(t harness.T, f *harness.Fixture, typ schemas.ConnectionType) {
		if h.ExactCalls {
			t.Skip("the application's requests need the exact case")
		}
		c := f.Make(typ, "Case")
		other := schemas.Name{Type: c.Type, SourceName: strings.ToUpper(c.SourceName)}
		if typ.Names.Check(other.SourceName) != nil {
			t.Skip("the rule of names refuses upper case")
		}
		key := f.Somebody(typ, other, "member")
		f.App.Grant(t, key)
		f.Holds(c, harness.Entitlement(key))
	})
}

// similar are pairs of names that a careless comparison takes for one: by case, or as a pattern of SQL, LDAP or globs.
var similar = [][2]string{{"Mixed", "mixed"}, {"a_b", "axb"}, {"a%b", "a1b"}, {"a*b", "a2b"}, {"a.b", "a-b"}}

// testSimilar grants one of two similar targets, and revokes the other, which must change nothing. It deletes one of
// two similar connections, and the other must remain.
func testSimilar(t harness.T, h harness.Harness) {
	each(t, h, canCreate, func(t harness.T, f *harness.Fixture, typ schemas.ConnectionType) {
		c := f.Make(typ, "holder")
		for _, g := range typ.Grantable {
			for _, pair := range similar {
				if g.Grant && g.Revoke && !refuses(f, g.Names, pair) {
					similarTargets(t, f, c, g, pair)
				}
			}
		}
		for _, pair := range similar {
			if !refuses(f, typ.Names, pair) {
				similarConnections(t, f, typ, pair)
			}
		}
	})
}

// refuses reports whether the rule refuses one of two names, or takes both for one.
func refuses(f *harness.Fixture, rule schemas.NameRule, pair [2]string) bool {
	a, b := f.App.Name(pair[0]), f.App.Name(pair[1])
	return rule.Check(a) != nil || rule.Check(b) != nil || rule.FoldCase && strings.EqualFold(a, b)
}

func similarTargets(t harness.T, f *harness.Fixture, c schemas.Name, g schemas.GrantableType, pair [2]string) {
	t.Helper()
	absent, ok := f.Target(g, pair[0]+"-"+g.Type)
	if !ok {
		return
	}
	held, _ := f.Target(g, pair[1]+"-"+g.Type)
	key := schemas.Key{Connection: c, Target: held, Privilege: single(g)}
	f.Must(f.Grant(key))
	f.Twice(f.Revoke(schemas.Key{Connection: c, Target: absent, Privilege: key.Privilege}))
	f.Holds(c, harness.Entitlement(key))
	if items := f.List(connectors.Query{Type: g.Type, Names: []string{absent.SourceName}}); len(items) != 1 || items[0].SourceName != absent.SourceName {
		t.Errorf("List of %s by the name %q: %v", g.Type, absent.SourceName, items)
	}
	f.Must(f.Revoke(key))
}

func similarConnections(t harness.T, f *harness.Fixture, typ schemas.ConnectionType, pair [2]string) {
	t.Helper()
	gone, stays := f.Make(typ, pair[0]), f.Make(typ, pair[1])
	if got := f.Read(schemas.Selection{Names: []schemas.Name{gone}}); len(got) != 1 || got[0].Name != gone {
		t.Errorf("Read of %q: %d connections, want this one", gone, len(got))
	}
	if typ.Delete {
		f.Must(f.Delete(gone))
		f.Gone(gone)
		f.There(stays)
		f.Must(f.Delete(stays))
	}
}
