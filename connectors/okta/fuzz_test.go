package okta

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/schemas"
)

// FuzzNextPage holds what becomes of a Link header to what it may be: nothing, an error, or an address of the list.
func FuzzNextPage(f *testing.F) {
	for _, seed := range []string{"", `<https://acme.okta.com/api/v1/groups?after=1&limit=2>; rel="next"`, `<https://acme.okta.com/api/v1/groups?limit=2>; rel="self", <https://acme.okta.com/api/v1/groups?after=1>; rel=next`,
		`<https://acme.okta.com/api/v1/users?after=1>; rel="next"`, `<https://a/api/v1/groups?a>; rel="prev next"; title="x, y"`, `<`, `<>`, `;rel=next`, `<https://%zz>; rel="next"`, `<?after=1>; rel="next"`, ", ,", `<a>;;;rel`} {
		f.Add(seed, seed)
	}
	f.Fuzz(func(t *testing.T, one, two string) {
		const path = "/api/v1/groups"
		next, err := nextPage(http.Header{"Link": {one, two}}, path)
		if err != nil && next != "" {
			t.Errorf("both %q and %v", next, err)
		}
		if next == "" {
			return
		}
		u, err := url.Parse(next)
		if err != nil || u.Host == "" || u.RawQuery == "" || !strings.HasSuffix(u.EscapedPath(), path) {
			t.Errorf("%q is no page of %s", next, path)
		}
		if !strings.Contains(one+two, next) {
			t.Errorf("%q was not said", next)
		}
	})
}

// FuzzAnswers decodes what may come for each list, and asks of it all that a read asks.
func FuzzAnswers(f *testing.F) {
	for _, seed := range []string{`{"id": "00g1", "type": "OKTA_GROUP", "profile": {"name": "Sales", "description": null}, "_embedded": {"stats": {"hasAdminPrivilege": true}}}`,
		`{"id": "00u1", "status": "SUSPENDED", "profile": {"login": "Alice@Acme.Test"}, "groupRuleId": "0pr1"}`, `{"id": "irb1", "type": "CUSTOM", "label": "x", "role": "cr0", "resource-set": "iam0"}`,
		`{"id": "0pr1", "status": "ACTIVE", "name": "r", "conditions": {"expression": {"value": "isMemberOfGroupName(\"Sales\")"}}, "actions": {"assignUserToGroups": {"groupIds": ["00g1"]}}}`,
		`{"id": "0oa1", "label": "Wiki", "name": "saasure"}`, `{"errorCode": "E0000001", "errorSummary": "x", "errorCauses": [{"errorSummary": "already exists"}]}`, `{"error": "invalid_client"}`, `null`, `[]`, `{"profile": []}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var g group
		var u user
		var o role
		var r rule
		var a application
		if json.Unmarshal(body, &g) == nil && g.whole() {
			c := connection(&g)
			if _, text := c.Payload["description"].(string); !text || !schemas.Match([]string{literal(c.SourceName)}, c.SourceName) {
				t.Errorf("the group %+v has no description, or a pattern that is not its own", c)
			}
			if json.Unmarshal(body, &r) == nil && r.whole() {
				r.feeds(&g)
				r.mentions(&g)
			}
		}
		if json.Unmarshal(body, &u) == nil && u.whole() && fold(u.name()) != u.name() {
			t.Errorf("the login %q has two forms", u.Profile.Login)
		}
		if json.Unmarshal(body, &o) == nil && o.whole() && (o.name() == "" || o.key() == "") {
			t.Errorf("the role %+v has no name or no key", o)
		}
		if json.Unmarshal(body, &a) == nil && a.whole() {
			a.protected()
		}
		api := &api{tokens: &tokens{value: "t0k3n"}, now: time.Now}
		if said := api.explain(body); strings.Contains(said, "t0k3n") {
			t.Errorf("the token was said again: %s", said)
		}
		parseFailure(body).exists()
	})
}

// FuzzWindow holds the wait for a rate limit to the bound of a window.
func FuzzWindow(f *testing.F) {
	f.Add("600", "0", "1795693988", "Thu, 26 Nov 2026 10:53:08 GMT", 200)
	f.Add("600", "599", "9223372036854775807", "", 429)
	f.Add("-1", "-1", "-1", "x", 503)
	f.Add("0", "0", "-9223372036854775808", "", 200)
	f.Fuzz(func(t *testing.T, limit, left, reset, date string, status int) {
		a := &api{now: func() time.Time { return time.Unix(1795693900, 0) }}
		h := http.Header{"X-Rate-Limit-Limit": {limit}, "X-Rate-Limit-Remaining": {left}, "X-Rate-Limit-Reset": {reset}, "Date": {date}}
		resp := &http.Response{StatusCode: status, Header: h}
		if wait := a.pause(resp); wait < 0 || wait > maxWindow {
			t.Errorf("a pause of %v", wait)
		}
		if wait, ok := a.limited(resp); ok && (wait < 0 || wait > maxWindow) {
			t.Errorf("a wait of %v without Retry-After", wait)
		}
	})
}
