package scim_test

import (
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest"
	"github.com/countersign/countersign/connectors/connectortest/virtual"
	"github.com/countersign/countersign/connectors/scim"
	"github.com/countersign/countersign/schemas"
)

// bench is an application with a writer opened on it.
type bench struct {
	*application
	t connectortest.TB
	w connectors.Writer
	n int
}

func onBench(t connectortest.TB, app *application) *bench {
	t.Helper()
	w, err := scim.New().OpenWriter(t.Context(), app.cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return &bench{application: app, t: t, w: w}
}

// elimityBench is a bench on elimity-com/scim, seen through quirks.
func elimityBench(t connectortest.TB, values map[string]any, quirks ...quirk) *bench {
	t.Helper()
	return onBench(t, newApplication(t, elimityServer(t), testToken, values, quirks...))
}

func groupNamed(name string) schemas.Name { return schemas.Name{Type: "group", SourceName: name} }
func userNamed(name string) schemas.Name  { return schemas.Name{Type: "user", SourceName: name} }

func (b *bench) op(kind schemas.OperationKind, c string, change func(*schemas.Operation)) schemas.Operation {
	b.n++
	o := schemas.Operation{ID: fmt.Sprintf("op-%03d", b.n), Kind: kind, Connection: groupNamed(c)}
	if change != nil {
		change(&o)
	}
	return o
}

func (b *bench) grant(c string, target schemas.Name) schemas.Operation {
	return b.op(schemas.OperationGrant, c, func(o *schemas.Operation) { o.Target, o.Privilege = &target, "MEMBER" })
}

func (b *bench) revoke(c string, target schemas.Name) schemas.Operation {
	return b.op(schemas.OperationRevoke, c, func(o *schemas.Operation) { o.Target, o.Privilege = &target, "MEMBER" })
}

func (b *bench) create(c string, payload map[string]any) schemas.Operation {
	return b.op(schemas.OperationCreate, c, func(o *schemas.Operation) { o.After = payload })
}

// apply returns the errors by operation.
func (b *bench) apply(ops ...schemas.Operation) []error {
	b.t.Helper()
	out := map[string]error{}
	if err := b.w.Apply(b.t.Context(), ops, func(o connectors.Outcome) { out[o.Operation] = o.Err }); err != nil {
		b.t.Fatalf("Apply: %v", err)
	}
	var list []error
	for _, o := range ops {
		err, ok := out[o.ID]
		if !ok {
			b.t.Fatalf("%s has no outcome", o.ID)
		}
		list = append(list, err)
	}
	return list
}

func (b *bench) must(ops ...schemas.Operation) {
	b.t.Helper()
	for i, err := range b.apply(ops...) {
		if err != nil {
			b.t.Fatalf("%s: %v", ops[i].ID, err)
		}
	}
}

// refused applies one operation that has to end in a code.
func (b *bench) refused(code connectors.Code, o schemas.Operation) *connectors.Error {
	b.t.Helper()
	err := b.apply(o)[0]
	if connectors.CodeOf(err) != code {
		b.t.Fatalf("%s: code %q (%v), want %q", connectors.Title(&o), connectors.CodeOf(err), err, code)
	}
	var typed *connectors.Error
	errors.As(err, &typed)
	return typed
}

func (b *bench) read(names ...string) schemas.State {
	b.t.Helper()
	var sel schemas.Selection
	for _, n := range names {
		sel.Names = append(sel.Names, groupNamed(n))
	}
	s, err := b.w.Read(b.t.Context(), sel)
	if err != nil {
		b.t.Fatalf("Read: %v", err)
	}
	return s
}

// members reads one group's members, which must all be known.
func (b *bench) members(name string) []string {
	b.t.Helper()
	s := b.read(name)
	if s.Incomplete != "" || len(s.Connections) != 1 {
		b.t.Fatalf("Read of %q: %d connections, incomplete: %q", name, len(s.Connections), s.Incomplete)
	}
	var list []string
	for _, e := range s.Connections[0].Entitlements {
		list = append(list, e.Target.String())
	}
	return list
}

func (b *bench) holds(name string, want ...string) {
	b.t.Helper()
	if got := b.members(name); !slices.Equal(got, want) {
		b.t.Errorf("members of %q: %q, want %q", name, got, want)
	}
}

// seed makes a group and users by hand.
func (b *bench) seed(name string, users ...string) {
	b.t.Helper()
	b.add(b.t, groupNamed(name))
	for _, u := range users {
		b.add(b.t, userNamed(u))
	}
}

func TestTwoGroupsOfOneName(t *testing.T) {
	t.Parallel()
	b := elimityBench(t, nil)
	b.seed("twin", "ann")
	b.do(t, http.MethodPost, "Groups", map[string]any{"schemas": []any{"urn:ietf:params:scim:schemas:core:2.0:Group"}, "displayName": "twin"})
	s := b.read("twin")
	if len(s.Connections) != 2 || s.Connections[0].NativeID == s.Connections[1].NativeID || s.Incomplete != "" {
		t.Fatalf("got %+v, want two connections with ids of their own", s)
	}
	ids := []string{s.Connections[0].NativeID, s.Connections[1].NativeID}
	for _, o := range []schemas.Operation{b.grant("twin", userNamed("ann")), b.create("twin", nil), b.op(schemas.OperationDelete, "twin", nil),
		b.op(schemas.OperationUpdate, "twin", func(o *schemas.Operation) { o.After = map[string]any{"external_id": "x"} })} {
		err := b.refused(connectors.Conflict, o)
		if got := slices.Sorted(slices.Values(err.Dependents)); !slices.Equal(got, ids) || !strings.Contains(err.Message, "source_id") {
			t.Errorf("%s: %v with %v, want the ids and a word about source_id", o.Kind, err, err.Dependents)
		}
	}
	with := func(o schemas.Operation) schemas.Operation { o.NativeID = ids[1]; return o }
	b.must(with(b.grant("twin", userNamed("ann"))))
	s = b.read("twin")
	if len(s.Connections[0].Entitlements) != 0 || len(s.Connections[1].Entitlements) != 1 {
		t.Errorf("the grant went to the wrong one: %+v", s.Connections)
	}
	// As a member, an ambiguous name needs the id as well.
	b.seed("outer")
	nested := b.grant("outer", groupNamed("twin"))
	b.refused(connectors.Conflict, nested)
	nested.TargetID = ids[0]
	b.must(nested, with(b.op(schemas.OperationDelete, "twin", nil)))
	if s = b.read("twin"); len(s.Connections) != 1 || s.Connections[0].NativeID != ids[0] {
		t.Errorf("left is %+v, want the other one", s.Connections)
	}
}

func TestIdentifiers(t *testing.T) {
	t.Parallel()
	b := elimityBench(t, nil)
	b.seed("team", "ann", "bob")
	b.must(b.grant("team", userNamed("ann")))
	c := b.read("team").Connections[0]
	// Renamed in the application: the name is gone, and what it stood for is not.
	g := b.do(t, http.MethodGet, "Groups/"+url.PathEscape(c.NativeID), nil)
	delete(g, "meta")
	g["displayName"] = "crew"
	b.do(t, http.MethodPut, "Groups/"+url.PathEscape(c.NativeID), g)
	for _, kind := range []schemas.OperationKind{schemas.OperationDelete, schemas.OperationUpdate} {
		b.refused(connectors.Conflict, b.op(kind, "team", func(o *schemas.Operation) { o.NativeID = c.NativeID }))
	}
	o := b.revoke("team", userNamed("ann"))
	o.NativeID = c.NativeID
	b.refused(connectors.Conflict, o)
	// A target that has another id, or lives on under another name.
	o = b.grant("crew", userNamed("bob"))
	o.TargetID = c.Entitlements[0].TargetID
	b.refused(connectors.Conflict, o)
	o = b.grant("crew", userNamed("carol"))
	o.TargetID = c.Entitlements[0].TargetID
	b.refused(connectors.Conflict, o)
	b.holds("crew", "user/ann")
	b.refused(connectors.Invalid, b.grant("crew", groupNamed("crew")))
	// A revoke with the id removes the member, whatever its name is now.
	o = b.revoke("crew", userNamed("carol"))
	o.TargetID = c.Entitlements[0].TargetID
	b.must(o)
	b.holds("crew")
}

// SCIMMY stores a member as often as it is added, and keeps one who is deleted.
func TestMembersOfSCIMMY(t *testing.T) {
	t.Parallel()
	server := scimmy(t)
	b := onBench(t, newApplication(t, server.URL("members"), server.Token, nil))
	b.seed("team", "ann", "bob", "dan")
	key := func(u string) schemas.Key { return schemas.Key{Connection: groupNamed("team"), Target: userNamed(u)} }
	raw := func() int {
		list, _ := b.do(t, http.MethodGet, "Groups/"+b.id(t, groupNamed("team")), nil)["members"].([]any)
		return len(list)
	}
	for range 2 {
		b.Grant(t, key("ann"))
	}
	b.Grant(t, key("dan"))
	if raw() != 3 {
		t.Fatalf("the server stores %d members, want 3: a test of nothing", raw())
	}
	b.holds("team", "user/ann", "user/dan")
	b.must(b.grant("team", userNamed("ann")), b.grant("team", userNamed("bob")))
	if raw() != 4 {
		t.Errorf("%d members are stored, want 4: who was there is not added again", raw())
	}
	b.must(b.revoke("team", userNamed("ann")))
	if raw() != 2 {
		t.Errorf("%d members are stored, want 2: both of ann's entries go", raw())
	}
	gone := b.read("team").Connections[0].Entitlements[1]
	b.RemoveIdentity(t, userNamed("dan"))
	if raw() != 2 {
		t.Fatal("the server took the deleted one out by itself: a test of nothing")
	}
	b.holds("team", "user/"+gone.TargetID, "user/bob")
	if e := b.read("team").Connections[0].Entitlements[0]; e.State != schemas.StateUnresolved || !e.Foreign || e.TargetID != gone.TargetID {
		t.Errorf("the deleted one is %+v, want it unresolved, foreign and with its id", e)
	}
	o := b.revoke("team", userNamed("dan"))
	o.TargetID = gone.TargetID
	b.must(o)
	b.holds("team", "user/bob")
	if raw() != 1 {
		t.Errorf("%d members are stored, want 1: the entry of one who is gone can be cleared away", raw())
	}
}

// An answer that is lost after the change was made must not lead to the change being made twice.
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	server := scimmy(t)
	var lose atomic.Int64
	lost := func(r request, ask func(request) answer) answer {
		a := ask(r)
		if r.method != http.MethodGet && lose.Add(-1) >= 0 {
			return refusal(502, "", "the answer was lost")
		}
		return a
	}
	b := onBench(t, newApplication(t, server.URL("lost"), server.Token, nil, lost))
	b.add(t, userNamed("ann"))
	lose.Store(1)
	b.must(b.create("team", map[string]any{"external_id": "e"}))
	if s := b.read("team"); len(s.Connections) != 1 || s.Connections[0].Payload["external_id"] != "e" {
		t.Errorf("got %+v, want the one group", s.Connections)
	}
	lose.Store(1)
	b.must(b.grant("team", userNamed("ann")))
	list, _ := b.do(t, http.MethodGet, "Groups/"+b.id(t, groupNamed("team")), nil)["members"].([]any)
	if len(list) != 1 {
		t.Errorf("%d members are stored, want 1", len(list))
	}
	lose.Store(1)
	b.must(b.op(schemas.OperationDelete, "team", nil))
	if s := b.read("team"); len(s.Connections) != 0 {
		t.Errorf("got %+v, want no group", s.Connections)
	}
}

func TestBatches(t *testing.T) {
	t.Parallel()
	var calls counting
	var refused atomic.Value
	refused.Store("")
	picky := func(r request, ask func(request) answer) answer {
		if b, _ := json.Marshal(r.body); r.method == http.MethodPatch && refused.Load() != "" && strings.Contains(string(b), refused.Load().(string)+`\"`) {
			return refusal(400, "invalidValue", "not this one")
		}
		return ask(r)
	}
	b := elimityBench(t, nil, calls.quirk, changesAtMost(100), picky)
	b.seed("team")
	var grants, revokes []schemas.Operation
	for i := range 250 {
		u := b.add(t, userNamed(fmt.Sprintf("u%03d", i)))
		grants, revokes = append(grants, b.grant("team", u)), append(revokes, b.revoke("team", u))
	}
	b.must(grants...)
	if got := calls.count("PATCH Groups/ID"); got != 3 {
		t.Errorf("250 grants took %d PATCH requests, want 3", got)
	}
	if got := len(b.members("team")); got != 250 {
		t.Errorf("%d members, want 250", got)
	}
	if all := calls.all.Load(); all > 25 {
		t.Errorf("250 grants and a reading took %d requests, want at most 25", all)
	}
	// One whom the application refuses harms nobody else.
	refused.Store(b.id(t, userNamed("u007")))
	for i, err := range b.apply(revokes[:20]...) {
		if want := i == 7; (err != nil) != want || want && connectors.CodeOf(err) != connectors.Invalid {
			t.Errorf("revoke of u%03d: %v", i, err)
		}
	}
	if got := len(b.members("team")); got != 231 {
		t.Errorf("%d members, want 231", got)
	}
}

// Operations on the same member keep their order.
func TestOrder(t *testing.T) {
	t.Parallel()
	b := elimityBench(t, nil)
	b.seed("team", "ann", "bob")
	b.must(b.grant("team", userNamed("ann")), b.revoke("team", userNamed("ann")), b.grant("team", userNamed("bob")), b.revoke("team", userNamed("bob")), b.grant("team", userNamed("bob")))
	b.holds("team", "user/bob")
	first := b.grant("team", userNamed("nobody"))
	second := b.grant("team", userNamed("ann"))
	second.DependsOn = []string{first.ID}
	got := b.apply(first, second)
	if connectors.CodeOf(got[0]) != connectors.NotFound || connectors.CodeOf(got[1]) != connectors.Blocked {
		t.Errorf("got %v", got)
	}
	b.holds("team", "user/bob")
}

// Lists are held against their own totals.
func TestPaging(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	lists := func(change func(m map[string]any, call int64)) quirk {
		return func(r request, ask func(request) answer) answer {
			a := ask(r)
			if r.path == "Groups" && a.status == 200 {
				change(object(a.body), n.Add(1))
			}
			return a
		}
	}
	for _, c := range []struct {
		name string
		q    quirk
		want string // "" is a whole reading
	}{
		{"as it should be", lists(func(map[string]any, int64) {}), ""},
		{"everything at once", everythingAtOnce, ""},
		{"a total that changes once", lists(func(m map[string]any, call int64) {
			if call == 2 {
				m["totalResults"] = 8
			}
		}), ""},
		{"a group that moves to another page once", lists(func(m map[string]any, call int64) {
			if call == 1 {
				list := m["Resources"].([]any)
				list[0] = list[1]
			}
		}), ""},
		{"a total that always changes", lists(func(m map[string]any, call int64) { m["totalResults"] = call }), "the number of groups changed"},
		{"a startIndex that is ignored", func(r request, ask func(request) answer) answer {
			r.query.Del("startIndex")
			return ask(r)
		}, "the same 3 of 7 groups"},
		{"a total that is the page's", lists(func(m map[string]any, _ int64) {
			page, _ := m["Resources"].([]any) // null beyond the end
			m["totalResults"] = len(page)
		}), ""},
		{"fewer than the total", lists(func(m map[string]any, _ int64) {
			if list := m["Resources"].([]any); len(list) < 3 {
				m["Resources"] = []any{}
			}
		}), "returned 6 of 7 groups"},
	} {
		t.Run(c.name, func(t *testing.T) { // not parallel: they count calls
			n.Store(0)
			b := elimityBench(t, map[string]any{"page_size": 3}, c.q)
			for i := range 7 {
				b.seed(fmt.Sprintf("g%d", i))
			}
			s, err := b.w.Read(t.Context(), schemas.Selection{})
			if err != nil {
				t.Fatal(err)
			}
			if c.want == "" && (s.Incomplete != "" || len(s.Connections) != 7) || c.want != "" && !strings.Contains(s.Incomplete, c.want) {
				t.Errorf("%d groups, incomplete: %q, want %q", len(s.Connections), s.Incomplete, c.want)
			}
			if _, err := b.w.List(t.Context(), connectors.Query{Type: "group"}); c.want != "" && connectors.CodeOf(err) != connectors.Unavailable {
				t.Errorf("List: %v, want %s", err, connectors.Unavailable)
			}
		})
	}
}

// Beyond the end of a list SCIMMY answers with its first page, which happens where a page ends at the end.
func TestPagesThatEndAtTheEnd(t *testing.T) {
	t.Parallel()
	server := scimmy(t)
	b := onBench(t, newApplication(t, server.URL("ends"), server.Token, map[string]any{"page_size": 3}))
	for i := range 6 {
		b.seed(fmt.Sprintf("g%d", i))
	}
	s, err := b.w.Read(t.Context(), schemas.Selection{})
	if err != nil || s.Incomplete != "" || len(s.Connections) != 6 {
		t.Errorf("%d groups, incomplete: %q, %v", len(s.Connections), s.Incomplete, err)
	}
}

// Groups whose members the list doesn't show are read one by one, and so are large groups.
func TestMembersInLists(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		quirks  []quirk
		singles int
	}{{"shown", nil, 4}, {"left out", []quirk{listsWithoutMembers}, 5}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var calls counting
			b := elimityBench(t, nil, append([]quirk{calls.quirk}, c.quirks...)...)
			for i := range 5 {
				b.seed(fmt.Sprintf("g%d", i), "ann")
			}
			b.must(b.grant("g3", userNamed("ann")))
			before := calls.count("GET Groups/ID")
			s := b.read()
			if got := calls.count("GET Groups/ID") - before; got != c.singles {
				t.Errorf("%d groups were read by themselves, want %d", got, c.singles)
			}
			for _, g := range s.Connections {
				if (len(g.Entitlements) == 1) != (g.SourceName == "g3") {
					t.Errorf("members of %s: %v", g.SourceName, g.Entitlements)
				}
			}
		})
	}
}

func TestLookupsAreBounded(t *testing.T) {
	t.Parallel()
	b := elimityBench(t, map[string]any{"max_lookups": 4}, listsWithoutMembers)
	for i := range 5 {
		b.seed(fmt.Sprintf("g%d", i))
	}
	if s := b.read(); !strings.Contains(s.Incomplete, "max_lookups") {
		t.Errorf("incomplete: %q, want a word about max_lookups", s.Incomplete)
	}
}

// A member whom no list names is looked up, and what is no user and no group is shown all the same.
func TestMembersNobodyLists(t *testing.T) {
	t.Parallel()
	hidden := func(r request, ask func(request) answer) answer {
		a := ask(r)
		if m := object(a.body); r.path == "Users" && a.status == 200 && r.query.Get("filter") == "" {
			list, _ := m["Resources"].([]any)
			list = slices.DeleteFunc(list, func(v any) bool { return object(v)["userName"] == "hidden" })
			m["Resources"], m["totalResults"] = list, len(list)
		}
		return a
	}
	b := elimityBench(t, nil, hidden)
	b.seed("team", "ann", "hidden")
	p := b.add(t, schemas.Name{Type: "service_principal", SourceName: "robot"})
	b.must(b.grant("team", userNamed("ann")))
	b.Grant(t, schemas.Key{Connection: groupNamed("team"), Target: userNamed("hidden")})
	b.Grant(t, schemas.Key{Connection: groupNamed("team"), Target: p})
	robot := b.id(t, p)
	want := []string{"other/" + robot, "user/ann", "user/hidden"}
	b.holds("team", want...)
	if s := b.read(); len(s.Connections) != 1 || len(s.Connections[0].Entitlements) != 3 || s.Incomplete != "" {
		t.Errorf("got %+v", s)
	}
	b.refused(connectors.Unsupported, b.revoke("team", schemas.Name{Type: "other", SourceName: robot}))
	b.must(b.revoke("team", userNamed("ann")))
	b.holds("team", "other/"+robot, "user/hidden")
}

// What a server answers to POST is not always the group that was asked for.
func TestMadeGroups(t *testing.T) {
	t.Parallel()
	t.Run("no id is told", func(t *testing.T) {
		t.Parallel()
		b := elimityBench(t, nil, tellsNoID)
		b.add(t, userNamed("ann"))
		made := b.create("team", nil)
		g := b.grant("team", userNamed("ann"))
		g.DependsOn = []string{made.ID}
		b.must(made, g)
		b.holds("team", "user/ann")
	})
	t.Run("another name", func(t *testing.T) {
		t.Parallel()
		b := elimityBench(t, nil, slugifies)
		err := b.refused(connectors.Invalid, b.create("Sales Team", nil))
		if !strings.Contains(err.Message, `"sales-team"`) {
			t.Errorf("the message does not say the name: %v", err)
		}
	})
	t.Run("a name that is taken by what is not shown", func(t *testing.T) {
		t.Parallel()
		b := elimityBench(t, nil, func(r request, ask func(request) answer) answer {
			if r.method == http.MethodPost {
				return refusal(409, "uniqueness", "taken")
			}
			return ask(r)
		})
		b.seed("team")
		b.refused(connectors.Conflict, b.create("Team", nil))
		b.must(b.create("team", map[string]any{"external_id": "e"}))
		if got := b.read("team").Connections[0].Payload["external_id"]; got != "e" {
			t.Errorf("external_id %q, want e", got)
		}
	})
}

// PUT sends back everything that was read, under the version that was read.
func TestReplace(t *testing.T) {
	t.Parallel()
	var cross atomic.Int64
	var sent atomic.Value
	var app *application
	crossing := func(r request, ask func(request) answer) answer {
		if r.method == http.MethodPut {
			sent.Store(r)
			if cross.Add(-1) >= 0 { // somebody else is a moment faster
				app.do(t, http.MethodPatch, r.path, map[string]any{"schemas": []any{"urn:ietf:params:scim:api:messages:2.0:PatchOp"},
					"Operations": []any{map[string]any{"op": "replace", "path": "externalId", "value": fmt.Sprint("crossed ", cross.Load())}}})
			}
		}
		return ask(r)
	}
	foreign := func(r request, ask func(request) answer) answer {
		a := ask(r)
		if r.single() && a.status == 200 {
			object(a.body)["urn:example:extension"] = map[string]any{"colour": "blue"}
			if list, ok := object(a.body)["members"].([]any); ok {
				object(list[0])["display"] = "Ann"
			}
		}
		return a
	}
	b := elimityBench(t, nil, append(patchOff(), crossing, foreign, says("etag", map[string]any{"supported": true}))...)
	app = b.application
	b.seed("team", "ann", "bob")
	b.must(b.grant("team", userNamed("ann")))
	cross.Store(2)
	b.must(b.grant("team", userNamed("bob")))
	b.holds("team", "user/ann", "user/bob")
	r := sent.Load().(request)
	body := object(r.body)
	first := object(body["members"].([]any)[0])
	if r.header.Get("If-Match") == "" || object(body["urn:example:extension"])["colour"] != "blue" || first["display"] != "Ann" || body["meta"] != nil {
		t.Errorf("sent %v with If-Match %q, want everything that was read but meta", body, r.header.Get("If-Match"))
	}
	if got := b.read("team").Connections[0].Payload["external_id"]; got != "crossed 0" {
		t.Errorf("external_id %q: what the other one wrote is lost", got)
	}
	cross.Store(100)
	b.refused(connectors.Conflict, b.revoke("team", userNamed("bob")))
	cross.Store(0)
	b.must(b.revoke("team", userNamed("bob")))
}

// Without versions, a writer who read before our PUT and wrote after it undoes it. That is seen, and done again.
func TestReplaceWithoutVersions(t *testing.T) {
	t.Parallel()
	var undo atomic.Int64
	undoing := func(r request, ask func(request) answer) answer {
		if r.method != http.MethodPut || undo.Add(-1) < 0 {
			return ask(r)
		}
		stale := ask(request{method: http.MethodGet, path: r.path, header: r.header})
		a := ask(r)
		delete(object(stale.body), "meta")
		ask(request{method: http.MethodPut, path: r.path, header: r.header, body: stale.body})
		return a
	}
	b := elimityBench(t, map[string]any{"settle": "1ms"}, append(patchOff(), undoing)...)
	b.seed("team", "ann")
	undo.Store(3)
	b.must(b.grant("team", userNamed("ann")))
	b.holds("team", "user/ann")
	undo.Store(100)
	b.refused(connectors.Conflict, b.revoke("team", userNamed("ann")))
}

// PATCH that nobody promised, or that was promised and is refused, gives way to PUT.
func TestPATCHIsRefused(t *testing.T) {
	t.Parallel()
	for name, q := range map[string]quirk{"assumed": keepsToItself, "promised": says("patch", map[string]any{"supported": true})} {
		var calls counting
		b := elimityBench(t, map[string]any{"settle": "0s"}, calls.quirk, q, refuses(http.MethodPatch))
		b.seed("team", "ann", "bob")
		b.must(b.grant("team", userNamed("ann")), b.create("crew", nil), b.grant("team", userNamed("bob")))
		b.holds("team", "user/ann", "user/bob")
		if got := calls.count("PATCH Groups/ID"); got != 1 {
			t.Errorf("%s: PATCH was tried %d times, want once", name, got)
		}
		fixed := elimityBench(t, map[string]any{"write": "patch"}, q, refuses(http.MethodPatch))
		fixed.seed("team", "ann")
		fixed.refused(connectors.Unsupported, fixed.grant("team", userNamed("ann")))
	}
}

// A server that ignores the filter for members would make everybody a member of everything.
func TestMemberFilterIsIgnored(t *testing.T) {
	t.Parallel()
	b := elimityBench(t, map[string]any{"profile": "aws_identity_center"}, func(r request, ask func(request) answer) answer {
		if inFilter.MatchString(r.query.Get("filter")) {
			r.query.Del("filter")
		}
		return ask(r)
	}, pagesByCursor(100))
	b.seed("team", "ann")
	b.seed("crew")
	if s, err := b.w.Read(t.Context(), schemas.Selection{}); err == nil {
		t.Errorf("read %+v", s)
	}
	if err := b.apply(b.grant("team", userNamed("ann")))[0]; err == nil {
		t.Error("the grant was applied")
	}
}

func TestNeitherPATCHNorPUT(t *testing.T) {
	t.Parallel()
	b := elimityBench(t, map[string]any{"profile": "aws_identity_center"}, append(patchOff(), membersByFilter, pagesByCursor(100))...)
	d, err := b.w.Describe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if g := d.Types[0].Grantable[0]; g.Grant || g.Revoke || d.Types[0].Update {
		t.Errorf("got %+v, want what can only be made and deleted", d.Types[0])
	}
	b.seed("team", "ann")
	b.refused(connectors.Unsupported, b.grant("team", userNamed("ann")))
}

// The two credentials are used for what they are for.
func TestCredentials(t *testing.T) {
	t.Parallel()
	var seen atomic.Value
	watch := func(r request, ask func(request) answer) answer {
		seen.Store(r.header.Get("Authorization"))
		r.header.Set("Authorization", "Bearer "+testToken)
		return ask(r)
	}
	app := newApplication(t, elimityServer(t), testToken, nil, watch)
	secret := connectors.NewSecret
	for _, c := range []struct {
		name         string
		values       map[string]any
		plan, applyH string
	}{
		{"one token", map[string]any{"token": secret("p")}, "Bearer p", "Bearer p"},
		{"two tokens", map[string]any{"token": secret("p"), "apply_token": secret("a")}, "Bearer p", "Bearer a"},
		{"users", map[string]any{"token": nil, "username": "u", "password": secret("p"), "apply_username": "v", "apply_password": secret("q")}, "Basic dTpw", "Basic djpx"},
		{"a user and a token", map[string]any{"token": nil, "username": "u", "password": secret("p"), "apply_token": secret("a")}, "Basic dTpw", "Bearer a"},
	} {
		cfg := app.with(c.values)
		r, err := scim.New().OpenReader(t.Context(), cfg)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		w, err := scim.New().OpenWriter(t.Context(), cfg)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		for _, is := range []struct {
			r    connectors.Reader
			want string
		}{{r, c.plan}, {w, c.applyH}} {
			if _, err := is.r.Read(t.Context(), schemas.Selection{}); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			if got := seen.Load(); got != is.want {
				t.Errorf("%s: sent %q, want %q", c.name, got, is.want)
			}
			if err := is.r.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestOAuth(t *testing.T) {
	t.Parallel()
	const secretText = connectortest.Canary
	var fetched atomic.Int64
	var form atomic.Value
	status := http.StatusOK
	auth := network.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fetched.Add(1)
		id, password, _ := r.BasicAuth()
		if err := r.ParseForm(); err != nil || id != "client" || password != secretText || r.URL.Path != "/oauth/token" {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprintf(w, `{"detail": "%s is wrong"}`, password)
			return
		}
		form.Store(r.PostForm)
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"access_token": "%s", "expires_in": 3600, "token_type": "bearer"}`, testToken)
	}))
	app := newApplication(t, elimityServer(t), testToken, map[string]any{"token": nil, "oauth": map[string]any{"token_url": auth.URL + "/oauth/token",
		"client_id": "client", "client_secret": connectors.NewSecret(secretText), "grant": "account_credentials", "account_id": "acc", "scope": "scim2"}})
	now := time.Now()
	app.cfg.Now = func() time.Time { return now }
	b := onBench(t, app)
	b.seed("team")
	for range 3 {
		b.read()
	}
	if got := fetched.Load(); got != 1 {
		t.Errorf("%d tokens were fetched, want 1", got)
	}
	if got, want := form.Load().(url.Values).Encode(), "account_id=acc&grant_type=account_credentials&scope=scim2"; got != want {
		t.Errorf("asked for %q, want %q", got, want)
	}
	now = now.Add(time.Hour)
	b.read()
	if got := fetched.Load(); got != 2 {
		t.Errorf("%d tokens were fetched after an hour, want 2", got)
	}
	cfg := app.with(map[string]any{"oauth": map[string]any{"token_url": auth.URL + "/wrong", "client_id": "client", "client_secret": connectors.NewSecret(secretText)}})
	r, err := scim.New().OpenReader(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = r.Read(t.Context(), schemas.Selection{}); connectors.CodeOf(err) != connectors.Denied || strings.Contains(err.Error(), secretText) {
		t.Errorf("got %v, want %s without the secret", err, connectors.Denied)
	}
	for name, oauth := range map[string]any{
		"no form":                "x",
		"no secret":              map[string]any{"token_url": auth.URL + "/t", "client_id": "c"},
		"a secret in plain text": map[string]any{"token_url": auth.URL + "/t", "client_id": "c", "client_secret": "s"},
		"an account too many":    map[string]any{"token_url": auth.URL + "/t", "client_id": "c", "client_secret": connectors.NewSecret("s"), "account_id": "a"},
		"an unknown setting":     map[string]any{"token_url": auth.URL + "/t", "client_id": "c", "client_secret": connectors.NewSecret("s"), "user": "a"},
		"no address":             map[string]any{"token_url": "nowhere", "client_id": "c", "client_secret": connectors.NewSecret("s")},
	} {
		if _, err := scim.New().OpenReader(t.Context(), app.with(map[string]any{"oauth": oauth})); connectors.CodeOf(err) != connectors.Invalid {
			t.Errorf("%s: %v, want %s", name, err, connectors.Invalid)
		}
	}
}

// The server's certificate is checked, against the authorities of ca_file where there is one.
func TestCertificates(t *testing.T) {
	t.Parallel()
	upstream, err := url.Parse(elimityServer(t))
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(upstream) }}
	srv := virtual.ServeTLS(t, proxy)
	dir := t.TempDir()
	file := filepath.Join(dir, "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	if err := os.WriteFile(file, block, 0o600); err != nil {
		t.Fatal(err)
	}
	app := newApplication(t, srv.URL, testToken, map[string]any{"retries": 0})
	app.cfg.Directory = dir
	for _, c := range []struct {
		name string
		ca   any
		code connectors.Code
	}{{"no authority", nil, connectors.Unavailable}, {"absolute", file, ""}, {"relative", "ca.pem", ""},
		{"outside", "../ca.pem", connectors.Invalid}, {"missing", "none.pem", connectors.Invalid}} {
		r, err := scim.New().OpenReader(t.Context(), app.with(map[string]any{"ca_file": c.ca}))
		if err == nil {
			_, err = r.Read(t.Context(), schemas.Selection{})
		}
		if connectors.CodeOf(err) != c.code || (c.code == "") != (err == nil) {
			t.Errorf("%s: %v, want %q", c.name, err, c.code)
		}
	}
}

// An address that holds a password by mistake is not repeated.
func TestAddressIsNotRepeated(t *testing.T) {
	t.Parallel()
	app := newApplication(t, "https://u:"+connectortest.Canary+"@scim.example.test", testToken, nil)
	_, err := scim.New().OpenReader(t.Context(), app.cfg)
	if err == nil || strings.Contains(err.Error(), connectortest.Canary) || strings.Contains(fmt.Sprintf("%+v", errors.Unwrap(err)), connectortest.Canary) {
		t.Errorf("got %v", err)
	}
}

// What is sent is held to RFC 7644's forms here; elimity-com/scim holds it to RFC 7643's schemas.
func TestMessages(t *testing.T) {
	t.Parallel()
	strict := func(r request, ask func(request) answer) answer {
		if r.header.Get("Accept") != "application/scim+json, application/json;q=0.9" {
			t.Errorf("%s %s: Accept is %q", r.method, r.path, r.header.Get("Accept"))
		}
		if (r.body != nil) != (r.header.Get("Content-Type") == "application/scim+json") {
			t.Errorf("%s %s: Content-Type is %q", r.method, r.path, r.header.Get("Content-Type"))
		}
		b := object(r.body)
		switch r.method {
		case http.MethodPost:
			if !reflect.DeepEqual(b["schemas"], []any{"urn:ietf:params:scim:schemas:core:2.0:Group"}) || len(b) > 3 {
				t.Errorf("POST of %v", b)
			}
		case http.MethodPatch:
			if !reflect.DeepEqual(b["schemas"], []any{"urn:ietf:params:scim:api:messages:2.0:PatchOp"}) || len(b) != 2 {
				t.Errorf("PATCH of %v", b)
			}
			for _, op := range b["Operations"].([]any) {
				op := object(op)
				_, value := op["value"]
				if !slices.Contains([]any{"add", "remove", "replace"}, op["op"]) || op["path"] == "" || value == (op["op"] == "remove") {
					t.Errorf("the operation %v", op)
				}
			}
		}
		return ask(r)
	}
	b := elimityBench(t, nil, strict)
	b.seed("inner", "ann", "bob")
	b.must(b.create("team", map[string]any{"external_id": "e"}), b.grant("team", userNamed("ann")), b.grant("team", groupNamed("inner")))
	b.must(b.revoke("team", userNamed("ann")), b.grant("team", userNamed("bob")))
	for _, v := range []string{"f", ""} {
		b.must(b.op(schemas.OperationUpdate, "team", func(o *schemas.Operation) { o.After = map[string]any{"external_id": v} }))
		if got := b.read("team").Connections[0].Payload["external_id"]; got != v {
			t.Errorf("external_id %q, want %q", got, v)
		}
	}
	b.holds("team", "group/inner", "user/bob")
	b.must(b.op(schemas.OperationDelete, "team", nil))
}

// A handful of names costs a handful of requests, however large the application is.
func TestReadByName(t *testing.T) {
	t.Parallel()
	var calls counting
	b := elimityBench(t, nil, calls.quirk)
	for i := range 120 {
		b.seed(fmt.Sprintf("g%d", i), fmt.Sprintf("u%d", i))
	}
	b.must(b.grant("g7", userNamed("u7")))
	before := calls.all.Load()
	b.holds("g7", "user/u7")
	if got := calls.all.Load() - before; got > 2 {
		t.Errorf("one group took %d requests, want 2", got)
	}
	// A scope without patterns is names, too.
	before = calls.all.Load()
	s, err := b.w.Read(t.Context(), schemas.Selection{Scope: map[string][]string{"group": {"g7", "g8"}}})
	if err != nil || len(s.Connections) != 2 {
		t.Fatalf("%+v, %v", s, err)
	}
	if got := calls.all.Load() - before; got > 4 {
		t.Errorf("two groups took %d requests, want 4", got)
	}
}
