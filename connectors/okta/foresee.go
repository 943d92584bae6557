package okta

import (
	"context"
	"errors"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// Foresee finds removals of members whom a group rule adds, and deletions of groups that rules name.
func (r *reader) Foresee(ctx context.Context, ops []schemas.Operation) ([]schemas.Finding, error) {
	look := newRun(&writer{r})
	var out []schemas.Finding
	for i := range ops {
		o := &ops[i]
		member := o.Kind == schemas.OperationRevoke && o.Target.Type == typeUser && r.settings.OnRule != "remove"
		if !member && o.Kind != schemas.OperationDelete {
			continue
		}
		refused := look.foresee(ctx, o, member)
		var e *connectors.Error
		switch {
		case refused == nil:
		case errors.As(refused, &e) && e.Code == connectors.Conflict && len(e.Dependents) > 0:
			out = append(out, connectors.Foresaw(o, "%s", e.Message))
		default:
			return nil, refused
		}
	}
	return out, nil
}

func (r *run) foresee(ctx context.Context, o *schemas.Operation, member bool) error {
	g, err := r.resolve(ctx, o)
	if err != nil || g == nil {
		return err
	}
	if !member {
		return r.unruled(ctx, g)
	}
	u, err := r.who(ctx, o)
	if err != nil || u == nil {
		return err
	}
	return r.ruled(ctx, g, u)
}
