package scim_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/countersign/countersign/connectors/connectortest"
)

// answer is what a server, or a quirk in front of it, says.
type answer struct {
	status int
	header http.Header
	body   any // decoded JSON; nil is none
}

func refusal(status int, scimType, detail string) answer {
	return answer{status: status, body: map[string]any{"schemas": []any{"urn:ietf:params:scim:api:messages:2.0:Error"},
		"status": strconv.Itoa(status), "scimType": scimType, "detail": detail}}
}

// request is what the connector asks.
type request struct {
	method, path string // below the API's root, without the slash before it
	query        url.Values
	header       http.Header
	body         any
}

func (r request) list() bool {
	return r.method == http.MethodGet && !strings.Contains(r.path, "/") && r.path != "ServiceProviderConfig"
}
func (r request) single() bool { return r.method == http.MethodGet && strings.Contains(r.path, "/") }

// quirk makes a real server do as another one does: it may change the request, ask the server, and change the answer.
type quirk func(r request, ask func(request) answer) answer

// front puts quirks before a server, the first outermost, and returns where the API begins.
func front(t connectortest.TB, upstream string, quirks ...quirk) string {
	t.Helper()
	ask := func(r request) answer {
		var body io.Reader
		if r.body != nil {
			b, err := json.Marshal(r.body)
			if err != nil {
				return refusal(500, "", err.Error())
			}
			body = bytes.NewReader(b)
		}
		address := upstream + "/" + r.path
		if len(r.query) > 0 {
			address += "?" + r.query.Encode()
		}
		req, err := http.NewRequest(r.method, address, body)
		if err != nil {
			return refusal(500, "", err.Error())
		}
		req.Header = r.header.Clone()
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return refusal(502, "", err.Error())
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			return refusal(502, "", err.Error())
		}
		a := answer{status: resp.StatusCode, header: http.Header{}}
		if v := resp.Header.Get("ETag"); v != "" {
			a.header.Set("ETag", v)
		}
		if len(bytes.TrimSpace(b)) > 0 {
			d := json.NewDecoder(bytes.NewReader(b))
			d.UseNumber()
			if err := d.Decode(&a.body); err != nil {
				return refusal(502, "", err.Error())
			}
		}
		return a
	}
	for _, q := range slices.Backward(quirks) {
		inner := ask
		ask = func(r request) answer { return q(r, inner) }
	}
	srv := network.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, hr *http.Request) {
		r := request{method: hr.Method, path: strings.TrimPrefix(hr.URL.EscapedPath(), "/"), query: hr.URL.Query(), header: http.Header{}}
		for _, k := range []string{"Authorization", "Content-Type", "Accept", "If-Match"} {
			if v := hr.Header.Get(k); v != "" {
				r.header.Set(k, v)
			}
		}
		b, err := io.ReadAll(hr.Body)
		if err == nil && len(b) > 0 {
			err = json.Unmarshal(b, &r.body)
		}
		a := refusal(400, "invalidSyntax", "no JSON")
		if err == nil {
			a = ask(r)
		}
		for k, v := range a.header {
			w.Header()[k] = v
		}
		w.Header().Set("Content-Type", "application/scim+json")
		w.WriteHeader(a.status)
		if a.body != nil && a.status != http.StatusNoContent {
			if err := json.NewEncoder(w).Encode(a.body); err != nil {
				t.Logf("answer: %v", err)
			}
		}
	}))
	return srv.URL
}

// object is a decoded JSON object; nil is something else.
func object(v any) map[string]any {
	m, _ := v.(map[string]any)
	return m
}

// resources are those of a list, or the one of a single answer.
func resources(a answer) []map[string]any {
	m := object(a.body)
	list, ok := m["Resources"].([]any)
	if !ok {
		if m["id"] != nil {
			return []map[string]any{m}
		}
		return nil
	}
	var out []map[string]any
	for _, r := range list {
		out = append(out, object(r))
	}
	return out
}

// says replaces an entry of the ServiceProviderConfig.
func says(key string, value any) quirk {
	return func(r request, ask func(request) answer) answer {
		a := ask(r)
		if m := object(a.body); r.path == "ServiceProviderConfig" && a.status == 200 {
			m[key] = value
		}
		return a
	}
}

// keepsToItself has no ServiceProviderConfig.
func keepsToItself(r request, ask func(request) answer) answer {
	if r.path == "ServiceProviderConfig" {
		return refusal(404, "", "no such endpoint")
	}
	return ask(r)
}

func refuses(methods ...string) quirk {
	return func(r request, ask func(request) answer) answer {
		if slices.Contains(methods, r.method) {
			return refusal(501, "", "not implemented")
		}
		return ask(r)
	}
}

// filters lets only those filters pass that match one of the patterns.
func filters(patterns ...string) quirk {
	return func(r request, ask func(request) answer) answer {
		f := r.query.Get("filter")
		if f != "" && !slices.ContainsFunc(patterns, func(p string) bool { return regexp.MustCompile(`^(?:` + p + `)$`).MatchString(f) }) {
			return refusal(400, "invalidFilter", "this filter is not supported")
		}
		return ask(r)
	}
}

// listsWithoutMembers leaves the members out of lists.
func listsWithoutMembers(r request, ask func(request) answer) answer {
	a := ask(r)
	if r.list() {
		for _, g := range resources(a) {
			delete(g, "members")
		}
	}
	return a
}

// listsNothing answers to filters only.
func listsNothing(r request, ask func(request) answer) answer {
	if r.list() && r.query.Get("filter") == "" {
		return refusal(400, "tooMany", "say a filter")
	}
	r.query.Del("startIndex")
	r.query.Del("count")
	return ask(r)
}

// everythingAtOnce ignores paging.
func everythingAtOnce(r request, ask func(request) answer) answer {
	if r.list() {
		return whole(r, ask)
	}
	return ask(r)
}

// whole gathers all pages of a list.
func whole(r request, ask func(request) answer) answer {
	var all []any
	for {
		r.query = maps.Clone(r.query)
		r.query.Set("startIndex", strconv.Itoa(len(all)+1))
		r.query.Set("count", "50")
		a := ask(r)
		list, _ := object(a.body)["Resources"].([]any)
		all = append(all, list...)
		if a.status != 200 || len(list) == 0 || fmt.Sprint(object(a.body)["totalResults"]) == strconv.Itoa(len(all)) {
			if a.status == 200 {
				object(a.body)["Resources"], object(a.body)["totalResults"] = all, len(all)
			}
			return a
		}
	}
}

// pagesByCursor knows cursors and no startIndex (RFC 9865).
func pagesByCursor(most int) quirk {
	return func(r request, ask func(request) answer) answer {
		if !r.list() {
			return ask(r)
		}
		cursor, cursors := r.query["cursor"]
		from, count := 0, most
		if cursors && cursor[0] != "" {
			from, _ = strconv.Atoi(cursor[0])
		}
		if n, err := strconv.Atoi(r.query.Get("count")); err == nil {
			count = min(count, n)
		}
		r.query.Del("cursor")
		a := whole(r, ask)
		if a.status != 200 {
			return a
		}
		m := object(a.body)
		list, _ := m["Resources"].([]any)
		from = min(from, len(list))
		end := min(from+count, len(list))
		m["Resources"], m["itemsPerPage"] = list[from:end], end-from
		if cursors {
			delete(m, "totalResults")
			delete(m, "startIndex")
			if end < len(list) {
				m["nextCursor"] = strconv.Itoa(end)
			}
		}
		return a
	}
}

var inFilter = regexp.MustCompile(`^id eq "([^"]*)" and members eq "([^"]*)"$`)

// membersByFilter shows members nowhere, and answers who is in a group by a filter, as AWS IAM Identity Center.
func membersByFilter(r request, ask func(request) answer) answer {
	if m := inFilter.FindStringSubmatch(r.query.Get("filter")); m != nil && r.path == "Groups" {
		g := ask(request{method: http.MethodGet, path: "Groups/" + url.PathEscape(m[1]), header: r.header})
		list := []any{}
		if g.status == 200 {
			members, _ := object(g.body)["members"].([]any)
			if slices.ContainsFunc(members, func(v any) bool { return object(v)["value"] == m[2] }) {
				object(g.body)["members"] = []any{}
				list = append(list, g.body)
			}
		}
		return answer{status: 200, body: map[string]any{"Resources": list, "totalResults": len(list), "itemsPerPage": len(list)}}
	}
	a := ask(r)
	if strings.HasPrefix(r.path, "Groups") && a.body != nil {
		for _, g := range resources(a) {
			g["members"] = []any{}
		}
	}
	if r.method == http.MethodPatch && a.status == 200 {
		return answer{status: 204}
	}
	return a
}

// changesAtMost refuses a PATCH with more membership changes.
func changesAtMost(most int) quirk {
	return func(r request, ask func(request) answer) answer {
		ops, _ := object(r.body)["Operations"].([]any)
		n := 0
		for _, op := range ops {
			switch v := object(op)["value"].(type) {
			case []any:
				n += len(v)
			default:
				n++
			}
		}
		if r.method == http.MethodPatch && n > most {
			return refusal(400, "tooMany", "too many changes")
		}
		return ask(r)
	}
}

// ignoresMembersOnPOST makes groups without members, whatever is sent.
func ignoresMembersOnPOST(r request, ask func(request) answer) answer {
	if r.method == http.MethodPost {
		delete(object(r.body), "members")
	}
	return ask(r)
}

// tellsNoID leaves the id out of the answer to POST.
func tellsNoID(r request, ask func(request) answer) answer {
	a := ask(r)
	if r.method == http.MethodPost {
		delete(object(a.body), "id")
	}
	return a
}

// slugifies makes names of lower case and dashes.
func slugifies(r request, ask func(request) answer) answer {
	if b := object(r.body); r.method == http.MethodPost && b["displayName"] != nil {
		b["displayName"] = strings.ToLower(strings.ReplaceAll(fmt.Sprint(b["displayName"]), " ", "-"))
	}
	return ask(r)
}

// keepsNoExternalID has no externalId of groups.
func keepsNoExternalID(r request, ask func(request) answer) answer {
	delete(object(r.body), "externalId")
	ops, _ := object(r.body)["Operations"].([]any)
	for _, op := range ops {
		if object(op)["path"] == "externalId" {
			return refusal(400, "invalidPath", "no such attribute")
		}
	}
	a := ask(r)
	for _, g := range resources(a) {
		delete(g, "externalId")
	}
	return a
}

// needsExternalID refuses to make a group without.
func needsExternalID(r request, ask func(request) answer) answer {
	if r.method == http.MethodPost && r.path == "Groups" && object(r.body)["externalId"] == nil {
		return refusal(400, "invalidValue", "externalId is required")
	}
	return ask(r)
}

// showsAtMost cuts the members that it shows of a group.
func showsAtMost(most int) quirk {
	return func(r request, ask func(request) answer) answer {
		a := ask(r)
		for _, g := range resources(a) {
			if list, ok := g["members"].([]any); ok && len(list) > most {
				g["members"] = list[:most]
			}
		}
		return a
	}
}

// lowersUserNames keeps user names in lower case, and finds them whatever their case.
func lowersUserNames(r request, ask func(request) answer) answer {
	if b := object(r.body); b["userName"] != nil {
		b["userName"] = strings.ToLower(fmt.Sprint(b["userName"]))
	}
	if f := r.query.Get("filter"); strings.HasPrefix(f, "userName") {
		r.query.Set("filter", "userName"+strings.ToLower(strings.TrimPrefix(f, "userName")))
	}
	return ask(r)
}

// counting counts requests by method and the first part of the path.
type counting struct {
	mu  sync.Mutex
	of  map[string]int
	all atomic.Int64
}

func (c *counting) quirk(r request, ask func(request) answer) answer {
	what := r.method + " " + r.path
	if end, _, one := strings.Cut(r.path, "/"); one {
		what = r.method + " " + end + "/ID"
	}
	c.mu.Lock()
	if c.of == nil {
		c.of = map[string]int{}
	}
	c.of[what]++
	c.mu.Unlock()
	c.all.Add(1)
	return ask(r)
}

func (c *counting) count(what string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.of[what]
}
