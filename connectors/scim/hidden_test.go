package scim_test

import (
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/scim"
	"github.com/countersign/countersign/schemas"
)

// What an answer leaves out is not taken for nothing.

// With cursors there need be no total: then an answer without resources is no list.
func TestNoListByCursor(t *testing.T) {
	t.Parallel()
	for _, body := range []map[string]any{{}, {"message": "welcome"}, {"Resources": nil}} {
		for _, path := range []string{"Groups", "Users"} {
			b := elimityBench(t, map[string]any{"profile": "aws_identity_center"}, func(r request, ask func(request) answer) answer {
				if r.path == path && r.query.Get("filter") == "" {
					return answer{status: 200, body: body}
				}
				return ask(r)
			}, membersByFilter, pagesByCursor(100))
			b.seed("team", "ann")
			if s, err := b.w.Read(t.Context(), schemas.Selection{}); connectors.CodeOf(err) != connectors.Unavailable {
				t.Errorf("%s answers %v: %+v, %v; want %s", path, body, s, err, connectors.Unavailable)
			}
		}
	}
}

// Where nothing can be listed, a filter that does not answer whole leaves the rest unknown.
func TestNamesThatNobodyAnswersFor(t *testing.T) {
	t.Parallel()
	for name, q := range map[string]quirk{
		"filters are not there": says("filter", map[string]any{"supported": false}),
		"a part": func(r request, ask func(request) answer) answer {
			a := ask(r)
			if strings.Contains(r.query.Get("filter"), "SALES") {
				object(a.body)["totalResults"] = 2
			}
			return a
		},
	} {
		b := elimityBench(t, map[string]any{"profile": "snowflake"}, q, listsNothing, listsWithoutMembers)
		b.seed("SALES")
		b.seed("OPS")
		s, err := b.w.Read(t.Context(), schemas.Selection{Scope: map[string][]string{"group": {"OPS", "SALES"}}})
		if err == nil && s.Incomplete == "" {
			t.Errorf("%s: %d groups, and the state is whole", name, len(s.Connections))
		}
	}
}

// A group that the list has, and that is not there, or is another, when it is read by itself, is not gone for that.
func TestListedGroupsThatAreNotThere(t *testing.T) {
	t.Parallel()
	for name, q := range map[string]quirk{
		"not there": func(r request, ask func(request) answer) answer {
			if r.single() && strings.HasPrefix(r.path, "Groups/") {
				return refusal(404, "", "not found")
			}
			return ask(r)
		},
		"another name": func(r request, ask func(request) answer) answer {
			a := ask(r)
			if r.single() && strings.HasPrefix(r.path, "Groups/") {
				object(a.body)["displayName"] = "other"
			}
			return a
		},
	} {
		b := elimityBench(t, nil, q, listsWithoutMembers)
		b.seed("team")
		if s := b.read(); s.Incomplete == "" {
			t.Errorf("%s: %d groups, and the state is whole", name, len(s.Connections))
		}
	}
}

// A member without an id is somebody.
func TestMembersWithoutID(t *testing.T) {
	t.Parallel()
	b := elimityBench(t, nil, func(r request, ask func(request) answer) answer {
		a := ask(r)
		for _, g := range resources(a) {
			if list, ok := g["members"].([]any); ok {
				for _, m := range list {
					delete(object(m), "value")
				}
			}
		}
		return a
	})
	b.seed("team", "ann")
	b.must(b.create("empty", nil))
	if s := b.read(); s.Incomplete != "" {
		t.Errorf("without members: %s", s.Incomplete)
	}
	b.do(t, http.MethodPatch, "Groups/"+url.PathEscape(b.id(t, groupNamed("team"))), map[string]any{
		"schemas":    []string{"urn:ietf:params:scim:api:messages:2.0:PatchOp"},
		"Operations": []any{map[string]any{"op": "add", "path": "members", "value": []any{map[string]any{"value": b.id(t, userNamed("ann"))}}}}})
	if s := b.read(); s.Incomplete == "" {
		t.Errorf("%+v is whole, and ann is in it", s.Connections)
	}
}

// A page of something in between says nothing about who is there.
func TestPagesOfSomethingInBetween(t *testing.T) {
	t.Parallel()
	b := elimityBench(t, nil)
	b.seed("team", "ann")
	b.must(b.grant("team", userNamed("ann")))
	upstream, err := url.Parse(b.direct)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(upstream) }}
	server := network.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.EscapedPath(), "/Users/") {
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, "\n<html>404</html>")
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	cfg := b.cfg
	cfg.Values["url"] = server.URL
	r, err := scim.New().OpenReader(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	s, err := r.Read(t.Context(), schemas.Selection{Names: []schemas.Name{groupNamed("team")}})
	if connectors.CodeOf(err) != connectors.Unavailable {
		t.Errorf("%+v, %v; want %s", s, err, connectors.Unavailable)
	}
}
