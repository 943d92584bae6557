package rest_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/countersign/countersign/connectors/rest"
)

func TestNextPage(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		link, want string
		bad        bool
	}{
		{"", "", false},
		{", ,", "", false},
		{`<https://h/x?page=2>; rel="next", <https://h/x?page=9>; rel="last"`, "https://h/x?page=2", false},
		{`<https://h/x?page=9>; rel="last",<https://h/x?page=2>; title="a"; rel=next`, "https://h/x?page=2", false},
		{`<https://h/x?page=9>; title="a, b; c \" <d>"; rel="last", <https://h/x?page=2>; REL = "prev NEXT"`, "https://h/x?page=2", false},
		{`<https://h/x?a=1,2>; rel="next"`, "https://h/x?a=1,2", false},
		{`<https://h/x?page=1>; rel="prev"`, "", false},
		{`<https://h/x?page=1>; rel="prev"; rel="next"`, "", false},
		{`<https://h/x?page=2>; rel="next", <https://h/x?page=2>; rel="next"`, "https://h/x?page=2", false},
		{`<https://h/x?page=2>; rel="next", <https://h/x?page=3>; rel="next"`, "", true},
		{`</x?page=2>; rel="next"`, "", true},
		{`<https://%zz>; rel="next"`, "", true},
		{`<https://h/x`, "", true},
		{`<https://h/x?page=2>; title="a; rel="next"`, "", true},
		{`nonsense`, "", true},
		{`<https://h/x?page=1>; rel="prev", nonsense`, "", true},
	} {
		got, err := rest.NextPage(http.Header{"Link": {tt.link}})
		if got != tt.want || (err != nil) != tt.bad {
			t.Errorf("%s: got %q, %v, want %q", tt.link, got, err, tt.want)
		}
	}
	got, err := rest.NextPage(http.Header{"Link": {`<https://h/x?page=1>; rel="prev"`, `<https://h/x?page=3>; rel="next"`}})
	if want := "https://h/x?page=3"; got != want || err != nil {
		t.Errorf("two lines: got %q, %v, want %q", got, err, want)
	}
}

func FuzzNextPage(f *testing.F) {
	for _, s := range []string{"", `<https://h/x?page=2>; rel="next", <https://h/x?page=9>; rel="last"`, `<`, `<>;rel=next`, `, ,`, `<a>;;;rel`, `<https://h>;a="\`} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, one, two string) {
		next, err := rest.NextPage(http.Header{"Link": {one, two}})
		if err != nil && next != "" {
			t.Errorf("both %q and %v", next, err)
		}
		if next == "" {
			return
		}
		if u, err := url.Parse(next); err != nil || u.Host == "" || !strings.Contains(one+two, "<"+next+">") {
			t.Errorf("%q and %q lead to %q", one, two, next)
		}
	})
}
