package scim_test

import (
	"testing"

	"github.com/countersign/countersign/connectors"
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
			if s, err := b.w.Read(t.Context(), connectors.Selection{}); connectors.CodeOf(err) != connectors.Unavailable {
				t.Errorf("%s answers %v: %+v, %v; want %s", path, body, s, err, connectors.Unavailable)
			}
		}
	}
}
