package github

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

const opForesee = "check what GitHub would refuse"

// Foresee finds grants of ADMIN to owners of the organisation, and grants on archived repositories. It makes one call for
// the owners, and one for each repository that is granted.
func (r *reader) Foresee(ctx context.Context, ops []schemas.Operation) ([]schemas.Finding, error) {
	var out []schemas.Finding
	var owners map[string]bool
	archived := map[string]bool{}
	for i := range ops {
		o := &ops[i]
		if o.Connection.Type != TypeTeam || o.Kind != schemas.OperationGrant && o.Kind != schemas.OperationRevoke {
			continue
		}
		switch {
		case o.Target.Type == TypeUser && o.Privilege == maintainer && o.Kind == schemas.OperationGrant:
			if owners == nil {
				var err error
				if owners, err = r.owners(ctx, opForesee); err != nil {
					return nil, err
				}
			}
			if owners[strings.ToLower(o.Target.SourceName)] {
				out = append(out, connectors.Foresaw(o, "an owner of the organisation maintains each of their teams: grant %s", member))
			}
		case o.Target.Type == TypeRepository:
			name := strings.ToLower(o.Target.SourceName)
			if _, known := archived[name]; !known {
				var repo struct {
					Archived bool `json:"archived"`
				}
				_, _, err := r.client.send(ctx, opForesee, http.MethodGet, path("repos", r.client.organisation, name), nil, nil, &repo)
				if err != nil && !slices.Contains([]connectors.Code{connectors.NotFound, connectors.Denied, connectors.Conflict}, connectors.CodeOf(err)) {
					return nil, err // one that can't be seen or has another name now is found elsewhere
				}
				archived[name] = repo.Archived
			}
			if archived[name] {
				out = append(out, connectors.Foresaw(o, "the repository is archived, and nobody's access to it can be changed: unarchive it first"))
			}
		}
	}
	return out, nil
}
