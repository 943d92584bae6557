package github

import (
	"net/http"
	"strings"
	"testing"
)

func TestNextPage(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		link, want string
		bad        bool
	}{
		{"", "", false},
		{`<https://h/x?page=2>; rel="next", <https://h/x?page=9>; rel="last"`, "https://h/x?page=2", false},
		{`<https://h/x?page=9>; rel="last",<https://h/x?page=2>; title="a"; rel=next`, "https://h/x?page=2", false},
		{`<https://h/x?a=1,2>; rel="next"`, "https://h/x?a=1,2", false},
		{`<https://h/x?page=1>; rel="prev"`, "", false},
		{`</x?page=2>; rel="next"`, "", true},
		{`<https://h/x`, "", true},
		{`nonsense`, "", true},
	} {
		got, err := nextPage(http.Header{"Link": {tt.link}})
		if got != tt.want || (err != nil) != tt.bad {
			t.Errorf("%s: got %q, %v, want %q", tt.link, got, err, tt.want)
		}
	}
}

func FuzzNextPage(f *testing.F) {
	for _, s := range []string{"", `<https://h/x?page=2>; rel="next", <https://h/x?page=9>; rel="last"`, `<`, `<>;rel=next`, `, ,`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, link string) {
		next, err := nextPage(http.Header{"Link": {link}})
		if err == nil && next != "" && !strings.Contains(link, "<"+next+">") {
			t.Errorf("%q leads to %q, which does not stand in it", link, next)
		}
	})
}

func FuzzExplain(f *testing.F) {
	for _, s := range []string{`{"message": "Validation Failed", "errors": [{"field": "name", "code": "custom", "message": "x"}, "y", {"field": "z", "code": "missing"}]}`, `[]`, `{"errors": 1}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(_ *testing.T, body []byte) { explain(body) })
}
