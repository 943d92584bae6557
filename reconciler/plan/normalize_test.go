package plan_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/schemas"
)

// lower is an application that does not tell upper from lower case and refuses names with a bang.
func lower(s schemas.State) (schemas.State, error) {
	out := schemas.State{}
	for _, c := range s.Connections {
		c.SourceName = strings.ToLower(c.SourceName)
		if c.Payload["comment"] == "bad" {
			return s, errors.New("a bad comment")
		}
		if v, ok := c.Payload["comment"].(string); ok {
			c.Payload = map[string]any{"comment": strings.Trim(v, "_"), "login": c.Payload["login"], "limit": c.Payload["limit"]}
		}
		c.Entitlements = slices.Clone(c.Entitlements)
		for i := range c.Entitlements {
			e := &c.Entitlements[i]
			if strings.HasSuffix(e.Target.SourceName, "!") {
				return s, errors.New("no bangs in names")
			}
			e.Target.SourceName = strings.ToLower(e.Target.SourceName)
		}
		sortEntitlements(c.Entitlements)
		out.Connections = append(out.Connections, c)
	}
	return out, nil
}

func TestNormalize(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		steps []string
		want  []string
	}{
		{"as the application has it", []string{"C role/a", "A role/a +user/x -user/y", "live role/a user/x:MEMBER user/y:MEMBER"}, []string{"revoke role/a user/y MEMBER, request"}},
		{"a grant in another spelling", []string{"A role/a +user/X", "live role/a user/x:MEMBER"}, []string{}},
		{"a missing grant in another spelling", []string{"A role/a +user/X", "live role/a"}, []string{"grant role/a user/x MEMBER, request"}},
		{"a revoke in another spelling, all else as it is", []string{"A role/a +user/y", "A role/a -user/X", "live role/a user/x:MEMBER user/y:MEMBER"}, []string{"revoke role/a user/x MEMBER, request"}},
		{"an expiry in another spelling", []string{"A role/a +user/X@..1", "day 1", "live role/a user/x:MEMBER"}, []string{"revoke role/a user/x MEMBER, expiry"}},
		{"two grants in two spellings", []string{"A role/a +user/X", "A role/a +user/x", "live role/a"}, []string{"grant role/a user/x MEMBER, request"}},
		{"one of them undone", []string{"A role/a +user/X", "A role/a +user/x", "undo 1", "live role/a user/x:MEMBER"}, []string{}},
		{"a grant and a revoke in two spellings", []string{"A role/a +user/X", "A role/a -user/x", "live role/a user/x:MEMBER"},
			[]string{"revoke role/a user/x MEMBER, request", "! two-spellings role/a"}},
		{"a connection in another spelling", []string{"C role/A limit=1", "A role/A +user/x", "live role/a"}, []string{"update role/a limit=1, request", "grant role/a user/x MEMBER, request"}},
		{"a deletion in another spelling", []string{"D role/A", "live role/a"}, []string{"delete role/a, request"}},
		{"one connection in two spellings", []string{"C role/A", "A role/a +user/x", "live role/a user/y:MEMBER"}, []string{"! two-spellings role/a", "! two-spellings role/a"}},
		{"a payload in another spelling", []string{"C role/a comment=_x", "live role/a comment=x"}, []string{}},
		{"a refused connection stops only itself", []string{"C role/a comment=bad", "A role/a +user/x", "C role/b"},
			[]string{"create role/b limit=-1 login=false, request", "! refused-by-application role/a"}},
		{"a refused grant stops only itself", []string{"A role/a +user/x! +user/y", "live role/a"}, []string{"grant role/a user/y MEMBER, request", "! refused-by-application role/a"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.adjust = func(in *plan.Input) { in.Normalize = lower }
			w.steps(tt.steps...)
			res := w.diff()
			if diff := cmp.Diff(tt.want, lines(&res.Plan)); diff != "" {
				t.Errorf("after %q (-want +got):\n%s", tt.steps, diff)
			}
			w.run()
			if again := w.diff(); len(again.Plan.Operations) > 0 || len(again.Settled) > 0 {
				t.Errorf("after a run: %q, settled %v", lines(&again.Plan), again.Settled)
			}
		})
	}
}

// What the status of a document is asked by, its items, must be found in the baseline in the spelling of the document.
func TestItemsOfAnotherSpelling(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.adjust = func(in *plan.Input) { in.Normalize = lower }
	w.steps("live role/a user/z:MEMBER", "A role/a +user/X -user/Z", "run", "run")
	for doc, items := range plan.ItemsOf(w.fold()) {
		for _, i := range items {
			if got := w.baseline[i.Item].Token; got != i.Token {
				t.Errorf("document %s: item %q has token %q, want %q", doc.Path, i.Item, got, i.Token)
			}
		}
	}
}
