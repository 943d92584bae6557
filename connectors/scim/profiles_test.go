package scim_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/scim"
	"github.com/countersign/countersign/schemas"
)

// Each profile is tried on a server with the habits that it describes: the whole suite runs on those of AWS IAM
// Identity Center and Databricks, and here is what differs in the others.

func (b *bench) describe() schemas.ConnectionType {
	b.t.Helper()
	d, err := b.w.Describe(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	return d.Types[0]
}

func TestProfileWithoutNesting(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"atlassian", "aws_identity_center", "datadog", "github_enterprise", "new_relic", "sentry", "slack", "snowflake", "zoom"} {
		b := elimityBench(t, map[string]any{"profile": name})
		if _, ok := b.describe().Target("group"); ok {
			t.Errorf("%s: groups can be members", name)
		}
		b.refused(connectors.Unsupported, b.grant("a", groupNamed("b")))
	}
	for _, name := range []string{"generic", "databricks"} {
		if _, ok := elimityBench(t, map[string]any{"profile": name}).describe().Target("group"); !ok {
			t.Errorf("%s: groups cannot be members", name)
		}
	}
}

// What another hand nested is shown, although it cannot be asked for.
func TestNestedByAnotherHand(t *testing.T) {
	t.Parallel()
	b := elimityBench(t, map[string]any{"profile": "slack"})
	b.seed("outer")
	b.seed("inner")
	b.Grant(t, schemas.Key{Connection: groupNamed("outer"), Target: groupNamed("inner")})
	b.holds("outer", "group/inner")
}

func TestProfileGitHub(t *testing.T) {
	t.Parallel()
	b := elimityBench(t, map[string]any{"profile": "github_enterprise"}, needsExternalID, keepsToItself,
		filters(`(externalId|id|displayName|userName) eq "[^"]*"`))
	b.refused(connectors.Invalid, b.create("team", nil))
	b.refused(connectors.Invalid, b.create("team", map[string]any{"external_id": ""}))
	b.add(t, userNamed("ann"))
	b.must(b.create("team", map[string]any{"external_id": "e-1"}), b.grant("team", userNamed("ann")))
	b.holds("team", "user/ann")
	b.must(b.op(schemas.OperationUpdate, "team", func(o *schemas.Operation) { o.After = map[string]any{"external_id": "e-2"} }))
	if got := b.read("team").Connections[0].Payload["external_id"]; got != "e-2" {
		t.Errorf("external_id %q, want e-2", got)
	}
}

func TestProfileWithoutExternalID(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"new_relic", "slack"} {
		b := elimityBench(t, map[string]any{"profile": name}, keepsNoExternalID, keepsToItself)
		if typ := b.describe(); typ.Update || len(typ.Attributes()) > 0 {
			t.Errorf("%s: groups have the attributes %v", name, typ.Attributes())
		}
		b.refused(connectors.Invalid, b.create("team", map[string]any{"external_id": "e"}))
		b.add(t, userNamed("ann"))
		b.must(b.create("team", nil), b.grant("team", userNamed("ann")))
		b.holds("team", "user/ann")
		if p := b.read("team").Connections[0].Payload; len(p) > 0 {
			t.Errorf("%s: payload %v, want none", name, p)
		}
	}
}

// Snowflake answers about one name or id at a time.
func TestProfileSnowflake(t *testing.T) {
	t.Parallel()
	b := elimityBench(t, map[string]any{"profile": "snowflake"}, keepsToItself, listsNothing, refuses(http.MethodPut), listsWithoutMembers, keepsNoExternalID,
		filters(`(displayName|userName) eq "(?:[^"\\]|\\.)*"`))
	b.add(t, userNamed("ann"))
	b.add(t, userNamed("BOB"))
	b.must(b.create("SALES EU", nil), b.create("SALES", nil), b.grant("SALES EU", userNamed("ann")), b.grant("SALES EU", userNamed("BOB")))
	b.holds("SALES EU", "user/BOB", "user/ann")
	b.must(b.revoke("SALES EU", userNamed("BOB")))
	b.holds("SALES EU", "user/ann")
	s, err := b.w.Read(t.Context(), schemas.Selection{Scope: map[string][]string{"group": {"SALES", "SALES EU"}}})
	if err != nil || s.Incomplete != "" || len(s.Connections) != 2 {
		t.Errorf("a scope of names: %+v, %v", s, err)
	}
	for _, sel := range []schemas.Selection{{}, {Scope: map[string][]string{"group": {"SALES*"}}}} {
		if s, err := b.w.Read(t.Context(), sel); err != nil || !strings.Contains(s.Incomplete, "full names") {
			t.Errorf("a scope of patterns: incomplete %q, %v", s.Incomplete, err)
		}
	}
	if _, err := b.w.List(t.Context(), connectors.Query{Type: "user"}); connectors.CodeOf(err) != connectors.Unsupported {
		t.Errorf("List of all users: %v, want %s", err, connectors.Unsupported)
	}
	p, err := b.w.List(t.Context(), connectors.Query{Type: "user", Names: []string{"ann", "nobody"}})
	if err != nil || len(p.Items) != 1 || p.Items[0].SourceName != "ann" {
		t.Errorf("List of names: %+v, %v", p, err)
	}
	// A filter's answer about quotes is not to be trusted, and there is no list to look through.
	b.refused(connectors.Invalid, b.create(`SALES "US"`, nil))
	b.refused(connectors.Unsupported, b.grant("SALES", userNamed(`the "boss"`)))
	if s := b.read(`SALES "US"`); s.Incomplete == "" {
		t.Errorf("a name with quotes is read as whole: %+v", s)
	}
	b.refused(connectors.Invalid, b.create("ACCOUNTADMIN", nil))
	b.seed("SYSADMIN")
	if got := b.read("SYSADMIN").Connections[0]; got.Protected == "" {
		t.Errorf("SYSADMIN is not protected: %+v", got)
	}
	b.refused(connectors.Denied, b.op(schemas.OperationDelete, "SYSADMIN", nil))
}

// Sentry shows so many members and no more: who else is in the group is not known.
func TestProfileSentry(t *testing.T) {
	t.Parallel()
	many := func(r request, ask func(request) answer) answer {
		a := ask(r)
		for _, g := range resources(a) {
			if g["displayName"] == "crowd" {
				var list []any
				for i := range 10_000 {
					list = append(list, map[string]any{"value": fmt.Sprint("user/x", i)})
				}
				g["members"] = list
			}
		}
		return a
	}
	b := elimityBench(t, map[string]any{"profile": "sentry"}, keepsToItself, refuses(http.MethodPut), slugifies, ignoresMembersOnPOST, keepsNoExternalID,
		changesAtMost(100), filters(`(displayName|userName) eq "[^"]*"`), showsAtMost(10_000), many)
	b.seed("crowd", "ann")
	b.seed("team")
	if s := b.read("crowd"); !strings.Contains(s.Incomplete, "10000 members") {
		t.Errorf("incomplete: %q, want a word about the 10000", s.Incomplete)
	}
	b.refused(connectors.Unsupported, b.grant("crowd", userNamed("ann")))
	b.must(b.grant("team", userNamed("ann")))
	for _, bad := range []string{"Team", "a team", "téam", "123", strings.Repeat("x", 51)} {
		b.refused(connectors.Invalid, b.create(bad, nil))
	}
	b.must(b.create("team-2", nil), b.grant("team-2", userNamed("ann")))
	b.holds("team-2", "user/ann")
}

// AWS IAM Identity Center takes so many changes a request, and pages by cursor.
func TestProfileAWS(t *testing.T) {
	t.Parallel()
	var calls counting
	b := elimityBench(t, map[string]any{"profile": "aws_identity_center"}, calls.quirk, membersByFilter, pagesByCursor(100), changesAtMost(100), refuses(http.MethodPut))
	b.seed("team")
	var ops []schemas.Operation
	for i := range 120 {
		ops = append(ops, b.grant("team", b.add(t, userNamed(fmt.Sprintf("u%03d", i)))))
	}
	b.must(ops...)
	if got := calls.count("PATCH Groups/ID"); got != 2 {
		t.Errorf("120 grants took %d PATCH requests, want 2", got)
	}
	before := calls.all.Load()
	if got := len(b.members("team")); got != 120 {
		t.Errorf("%d members, want 120", got)
	}
	// The documented cost: a request for each group and user, and the pages of both.
	if got := calls.all.Load() - before; got < 120 || got > 125 {
		t.Errorf("reading one group of 120 users took %d requests, want one for each user and a few", got)
	}
	s, err := b.w.Read(t.Context(), schemas.Selection{})
	if err != nil || s.Incomplete != "" || len(s.Connections) != 1 || len(s.Connections[0].Entitlements) != 120 {
		t.Errorf("%+v, %v", s, err)
	}
}

// Where user names are one whatever their case, they are shown in lower case, and asked for in any.
func TestProfileFolding(t *testing.T) {
	t.Parallel()
	b := elimityBench(t, map[string]any{"profile": "databricks"}, listsWithoutMembers, lowersUserNames)
	b.seed("team", "ann@example.test")
	b.must(b.grant("team", userNamed("Ann@Example.Test")))
	b.holds("team", "user/ann@example.test")
	s, err := b.w.Normalize(schemas.State{Connections: []schemas.Connection{{Name: groupNamed("team"),
		Entitlements: []schemas.Entitlement{{Target: userNamed("Ann@Example.Test"), Privilege: "MEMBER"}}}}})
	if err != nil || s.Connections[0].Entitlements[0].Target != userNamed("ann@example.test") {
		t.Errorf("Normalize: %+v, %v", s, err)
	}
	p, err := b.w.List(t.Context(), connectors.Query{Type: "user", Names: []string{"ANN@example.test"}})
	if err != nil || len(p.Items) != 1 {
		t.Errorf("List: %+v, %v", p, err)
	}
	b.must(b.revoke("team", userNamed("ANN@EXAMPLE.TEST")))
	b.holds("team")
	// By config, where the server itself tells cases apart.
	c := elimityBench(t, map[string]any{"fold_user_names": true})
	c.seed("team", "Bob")
	c.must(c.grant("team", userNamed("bob")))
	c.holds("team", "user/bob")
	// Without folding, another case is another name.
	d := elimityBench(t, nil)
	d.seed("team", "Bob")
	d.refused(connectors.NotFound, d.grant("team", userNamed("bob")))
}

// The other flags of config that stand in for what an application does not say of itself.
func TestConfigOverrides(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		values map[string]any
		quirks []quirk
		method string
	}{
		{"patch by itself", nil, nil, "PATCH Groups/ID"},
		{"patch that is not told of", map[string]any{"write": "patch"}, []quirk{says("patch", map[string]any{"supported": false})}, "PATCH Groups/ID"},
		{"put", map[string]any{"write": "put", "settle": "0s"}, []quirk{refuses(http.MethodPatch)}, "PUT Groups/ID"},
		{"no filters", map[string]any{"filter": "never"}, []quirk{filters()}, "PATCH Groups/ID"},
		{"filters that are not told of", map[string]any{"filter": "always"}, []quirk{says("filter", map[string]any{"supported": false}), listsNothing}, "PATCH Groups/ID"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var calls counting
			b := elimityBench(t, c.values, append([]quirk{calls.quirk}, c.quirks...)...)
			b.seed("team", "ann")
			b.must(b.grant("team", userNamed("ann")))
			if calls.count(c.method) != 1 {
				t.Errorf("%s was not used", c.method)
			}
			list, _ := b.do(t, http.MethodGet, "Groups/"+strings.ReplaceAll(b.id(t, groupNamed("team")), "/", "%2F"), nil)["members"].([]any)
			if len(list) != 1 {
				t.Errorf("%d members, want 1", len(list))
			}
		})
	}
}

// What the application says of its pages bounds what is asked for.
func TestPageSizes(t *testing.T) {
	t.Parallel()
	var counts []string
	watch := func(r request, ask func(request) answer) answer {
		if r.list() {
			counts = append(counts, r.query.Get("count"))
		}
		return ask(r)
	}
	for _, c := range []struct {
		values map[string]any
		quirks []quirk
		want   string
	}{
		{nil, []quirk{watch}, "50"}, // the server's maxResults
		{nil, []quirk{watch, keepsToItself}, "100"},
		{map[string]any{"page_size": 7}, []quirk{watch}, "7"},
	} {
		counts = nil
		b := elimityBench(t, c.values, c.quirks...)
		b.read()
		if len(counts) == 0 || slices.ContainsFunc(counts, func(s string) bool { return s != c.want }) {
			t.Errorf("asked for %q, want %s", counts, c.want)
		}
	}
}

// Each profile says where its lines come from, and how its credential is made.
func TestProfilesAreDocumented(t *testing.T) {
	t.Parallel()
	d := scim.New().Describe()
	var schema struct {
		Properties struct {
			Profile struct{ Enum []string }
		}
	}
	if err := json.Unmarshal(d.Config, &schema); err != nil {
		t.Fatal(err)
	}
	names := schema.Properties.Profile.Enum
	if len(names) < 10 || !slices.IsSorted(names) {
		t.Fatalf("the profiles are %q", names)
	}
	for _, n := range names {
		if !strings.Contains(d.PlanScript, "profile: "+n) || !strings.Contains(d.ApplyScript, "profile: "+n) {
			t.Errorf("the scripts say nothing about %s", n)
		}
		if n == "generic" {
			continue
		}
		if sources := scim.Sources(n); len(sources) == 0 {
			t.Errorf("%s rests on nothing", n)
		}
	}
}
