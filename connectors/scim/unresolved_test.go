package scim_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// shortPages limits pages to so many resources, whatever is asked for, and gives their number as the total.
func shortPages(most int) quirk {
	return func(r request, ask func(request) answer) answer {
		if !r.list() {
			return ask(r)
		}
		start, err := strconv.Atoi(r.query.Get("startIndex"))
		if err != nil || start < 1 {
			start = 1
		}
		a := whole(r, ask)
		list := object(a.body)
		all, _ := list["Resources"].([]any)
		from := min(start-1, len(all))
		page := all[from:min(from+most, len(all))]
		list["Resources"], list["totalResults"], list["itemsPerPage"], list["startIndex"] = page, len(page), len(page), start
		return a
	}
}

// A server that limits pages and counts each of them as the total is read to the end.
func TestPagesThatCountThemselves(t *testing.T) {
	t.Parallel()
	for _, n := range []int{4, 5, 7, 12} {
		b := elimityBench(t, nil, shortPages(5))
		for i := range n {
			b.seed(fmt.Sprintf("g%02d", i), fmt.Sprintf("u%02d", i))
		}
		b.must(b.grant(fmt.Sprintf("g%02d", n-1), userNamed(fmt.Sprintf("u%02d", n-1))))
		s := b.read()
		if s.Incomplete != "" || len(s.Connections) != n || len(s.Connections[n-1].Entitlements) != 1 {
			t.Errorf("%d groups: got %d, incomplete: %q", n, len(s.Connections), s.Incomplete)
		}
		for typ, name := range map[string]string{"group": "g", "user": "u"} {
			page, err := b.w.List(t.Context(), connectors.Query{Type: typ})
			if got := slices.IndexFunc(page.Items, func(i schemas.Item) bool { return i.SourceName == fmt.Sprintf("%s%02d", name, n-1) }); err != nil || got < 0 {
				t.Errorf("List of each %s: %d items, %v, want the last of %d", typ, len(page.Items), err, n)
			}
		}
	}
}

// A list that leaves out the members of one group, or some members of a large one, isn't believed.
func TestMembersLeftOutOfTheList(t *testing.T) {
	t.Parallel()
	b := elimityBench(t, nil, func(r request, ask func(request) answer) answer {
		a := ask(r)
		for _, g := range resources(a) {
			members, _ := g["members"].([]any)
			switch {
			case !r.list():
			case g["displayName"] == "unlisted":
				delete(g, "members")
			case g["displayName"] == "none":
				g["members"] = []any{}
			case len(members) > 50:
				g["members"] = members[:50]
			}
		}
		return a
	})
	b.seed("large")
	b.seed("none")
	b.seed("unlisted")
	b.seed("usual", "ann")
	ops := []schemas.Operation{b.grant("usual", userNamed("ann")), b.grant("none", userNamed("ann")), b.grant("unlisted", userNamed("ann"))}
	for i := range 60 {
		name := fmt.Sprintf("u%02d", i)
		b.add(t, userNamed(name))
		ops = append(ops, b.grant("large", userNamed(name)))
	}
	b.must(ops...)
	s := b.read()
	got := map[string]int{}
	for _, c := range s.Connections {
		got[c.SourceName] = len(c.Entitlements)
	}
	if want := map[string]int{"large": 60, "none": 1, "unlisted": 1, "usual": 1}; s.Incomplete != "" || !maps.Equal(got, want) {
		t.Errorf("got %v, incomplete: %q, want %v", got, s.Incomplete, want)
	}
}

// A group that no request can name is counted.
func TestGroupsWithoutName(t *testing.T) {
	t.Parallel()
	b := elimityBench(t, nil, func(r request, ask func(request) answer) answer {
		a := ask(r)
		for _, g := range resources(a) {
			if g["displayName"] == "nameless" {
				delete(g, "displayName")
			}
		}
		return a
	})
	b.seed("nameless")
	b.seed("team")
	s := b.read()
	if want := []schemas.NotRead{{What: "group without a displayName", Count: 1}}; !slices.Equal(s.NotRead, want) || len(s.Connections) != 1 {
		t.Errorf("got %+v, want %v", s, want)
	}
}

// hiding leaves out the user with an id, "" for nobody: lists lack it, and it is answered with the status.
func hiding(hidden *atomic.Value, status int) quirk {
	return func(r request, ask func(request) answer) answer {
		id, _ := hidden.Load().(string)
		if id != "" && r.path == "Users/"+url.PathEscape(id) {
			return refusal(status, "", "hidden")
		}
		a := ask(r)
		if list, ok := object(a.body)["Resources"].([]any); ok && id != "" && r.path == "Users" {
			list = slices.DeleteFunc(list, func(v any) bool { return object(v)["id"] == id })
			object(a.body)["Resources"], object(a.body)["totalResults"] = list, len(list)
		}
		return a
	}
}

// A member that is neither listed nor found, as with services that hide deactivated users, stays in the state, and is
// revoked by its id.
func TestHiddenMembers(t *testing.T) {
	t.Parallel()
	for status, incomplete := range map[int]string{http.StatusNotFound: "", http.StatusForbidden: "", http.StatusBadGateway: "fails"} {
		var hidden atomic.Value
		hidden.Store("")
		b := elimityBench(t, map[string]any{"retries": 0}, hiding(&hidden, status))
		b.seed("team", "ann", "vip")
		b.must(b.grant("team", userNamed("ann")), b.grant("team", userNamed("vip")))
		c := b.read("team").Connections[0]
		id := c.Entitlements[1].TargetID
		hidden.Store(id)
		if incomplete != "" {
			if _, err := b.w.Read(t.Context(), schemas.Selection{}); connectors.CodeOf(err) != connectors.Unavailable {
				t.Errorf("status %d: got %v, want %s", status, err, connectors.Unavailable)
			}
			continue
		}
		b.holds("team", slices.Sorted(slices.Values([]string{"user/" + id, "user/ann"}))...)
		want := schemas.Entitlement{Target: userNamed(id), TargetID: id, Privilege: "MEMBER", State: schemas.StateUnresolved, Foreign: true}
		for _, s := range []schemas.State{b.read(), b.read("team")} {
			if s.Incomplete != "" || !slices.Contains(s.Connections[0].Entitlements, want) {
				t.Errorf("status %d: got %+v, want %+v", status, s, want)
			}
		}
		o := b.revoke("team", userNamed("vip"))
		o.TargetID = id
		b.must(o)
		hidden.Store("")
		b.holds("team", "user/ann")

		// What has an id is read and listed under its present name.
		g := b.do(t, http.MethodGet, "Groups/"+url.PathEscape(c.NativeID), nil)
		delete(g, "meta")
		g["displayName"] = "crew"
		b.do(t, http.MethodPut, "Groups/"+url.PathEscape(c.NativeID), g)
		s, err := b.w.Read(t.Context(), schemas.Selection{Names: []schemas.Name{groupNamed("team")}, IDs: map[string][]string{"group": {c.NativeID}}})
		if err != nil || len(s.Connections) != 1 || s.Connections[0].SourceName != "crew" {
			t.Errorf("Read by id: got %+v, %v, want crew", s.Connections, err)
		}
		var names []string
		for typ, of := range map[string]string{"group": c.NativeID, "user": id} {
			page, err := b.w.List(t.Context(), connectors.Query{Type: typ, Names: []string{}, IDs: []string{of}})
			if err != nil {
				t.Error(err)
			}
			for _, i := range page.Items {
				names = append(names, i.String())
			}
		}
		slices.Sort(names)
		if got := strings.Join(names, " "); got != "group/crew user/vip" {
			t.Errorf("List by id: got %s, want group/crew user/vip", got)
		}
	}
}
