package scim

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// Whatever a server answers, it is decoded or refused, and what is decoded can be sent back.
func FuzzDecodeGroup(f *testing.F) {
	for _, s := range []string{
		`{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"id":"1","displayName":"a","members":[{"value":"2","type":"User","$ref":"../Users/2"}],"meta":{"version":"W/\"1\""}}`,
		`{"id":7,"displayName":"a","externalId":null,"members":[{"value":8},{"value":"8"},{"value":""},{}],"x":{"y":[1,2.50,1e400]}}`,
		`{"ID":"1","DisplayName":"a","Members":[]}`, `{"id":"1","members":null}`, `{}`, `null`, `[]`, `"x"`, `{"members":{"value":"1"}}`, `{"id":true}`,
	} {
		f.Add([]byte(s), "9", "8")
	}
	f.Fuzz(func(t *testing.T, b []byte, add, remove string) {
		g, err := decodeGroup(b)
		if err != nil || !utf8.ValidString(add) || !utf8.ValidString(remove) { // ids come out of JSON
			return
		}
		for _, m := range g.members {
			m.kind()
		}
		if !json.Valid([]byte(quoted(remove))) {
			t.Fatalf("%q is no JSON string", quoted(remove))
		}
		sent, err := replaced(g, change{add: []entry{{id: add}}, remove: []string{remove}})
		if err != nil {
			return
		}
		back, err := decodeGroup(sent)
		if err != nil {
			t.Fatalf("what is sent does not decode: %v: %s", err, sent)
		}
		if back.id != g.id || back.name != g.name || back.external != g.external {
			t.Fatalf("sent %s for %s", sent, b)
		}
		for _, m := range g.members {
			if id := string(m.Value); id != remove && !back.has(id) {
				t.Fatalf("%q is lost: %s became %s", id, b, sent)
			}
		}
		if add != "" && add != remove && !back.has(add) {
			t.Fatalf("%q is not added: %s", add, sent)
		}
		if remove != add && back.has(remove) {
			t.Fatalf("%q is still there: %s", remove, sent)
		}
	})
}

func FuzzDecodeOthers(f *testing.F) {
	for _, s := range []string{`{"id":"1","userName":"a","active":false}`, `{"id":1,"applicationId":5,"active":"True"}`, `{"totalResults":1,"Resources":[{}]}`,
		`{"patch":{"supported":"true"},"filter":{"supported":true,"maxResults":10}}`, `{"detail":"x","scimType":"y"}`, `null`, `{"active":7}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, err := decodeUser(b); err == nil && a.state != "" && a.state != "blocked" {
			t.Fatalf("the state %q", a.state)
		}
		_, _ = decodePrincipal(b) // must not panic
		explain(b)
		var p page
		_ = json.Unmarshal(b, &p) // must not panic
		var a abilities
		_ = json.Unmarshal(b, &a) // must not panic
	})
}

func TestKind(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		m    member
		want string
	}{
		{member{Value: "1"}, ""},
		{member{Value: "1", Type: "User"}, "user"},
		{member{Value: "1", Type: "group"}, "group"},
		{member{Value: "1", Type: "direct"}, ""},
		{member{Value: "1", Ref: "Users/1"}, "user"},
		{member{Value: "1", Ref: "https://a.example.test/scim/v2/Groups/1"}, "group"},
		{member{Value: "1", Ref: "ServicePrincipals/1"}, "service_principal"},
		{member{Value: "1", Ref: "https://a.example.test/Devices/1"}, "other"},
		{member{Value: "1", Type: "Device"}, "other"},
	} {
		if got := c.m.kind(); got != c.want {
			t.Errorf("%+v is a %q, want %q", c.m, got, c.want)
		}
	}
}

// Only names that no server reads in its own way stand in filters.
func TestPlain(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{"a": true, "A b.c_d@e+f-g": true, "": false, " a": false, `a"b`: false, `a\b`: false, "é": false, "a(b)": false, "a[b]": false, "a%": false, "a'b": false} {
		if got := plain(name); got != want {
			t.Errorf("plain(%q) is %v", name, got)
		}
	}
	if list := profiles(); !slices.IsSortedFunc(list, func(a, b profile) int { return strings.Compare(a.name, b.name) }) {
		t.Error("the profiles are not sorted")
	}
}
