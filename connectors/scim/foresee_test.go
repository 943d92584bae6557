package scim_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/scim"
	"github.com/countersign/countersign/schemas"
)

// TestForesee finds changes that the application's schema of groups rules out.
func TestForesee(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		answer answer
		want   string
		fails  bool
	}{
		"members can be changed": {answer: schemaOfGroups("readWrite")},
		"members are read-only":  {answer: schemaOfGroups("readOnly"), want: "members of groups readOnly"},
		"members are immutable":  {answer: schemaOfGroups("immutable"), want: "members of groups immutable"},
		"no schemas":             {answer: refusal(http.StatusNotFound, "", "none")},
		"out of order":           {answer: refusal(http.StatusBadGateway, "", "later"), fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newApplication(t, elimityServer(t), testToken, map[string]any{"retries": 0}, func(r request, ask func(request) answer) answer {
				if strings.HasPrefix(r.path, "Schemas/") {
					return tt.answer
				}
				return ask(r)
			})
			r, err := scim.New().OpenReader(t.Context(), a.Config())
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			var ops []schemas.Operation
			for _, kind := range []schemas.OperationKind{schemas.OperationGrant, schemas.OperationRevoke, schemas.OperationDelete} {
				ops = append(ops, schemas.Operation{ID: string(kind), Kind: kind, Connection: groupNamed("team"), Target: &schemas.Name{Type: "user", SourceName: "ann"}, Privilege: "MEMBER"})
			}
			found, err := r.(connectors.Foreseer).Foresee(t.Context(), ops)
			if (err != nil) != tt.fails {
				t.Fatal(err)
			}
			if (tt.want == "" && len(found) > 0) || tt.want != "" && (len(found) != 2 || !strings.Contains(found[0].Message, tt.want)) {
				t.Errorf("found %+v, want %q", found, tt.want)
			}
		})
	}
}

func schemaOfGroups(mutability string) answer {
	return answer{status: http.StatusOK, body: map[string]any{"id": "urn:ietf:params:scim:schemas:core:2.0:Group", "name": "Group",
		"attributes": []any{map[string]any{"name": "members", "multiValued": true, "mutability": mutability}}}}
}
