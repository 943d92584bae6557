package aws

import (
	"context"
	"slices"
	"strconv"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/aws"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// Foresee finds changes of what IAM never changes (the path of a role or policy, the description of a policy), deletions
// of roles in instance profiles, and deletions of policies that limit somebody as a permissions boundary. It reads the
// account once, and only for updates and deletions.
func (r *reader) Foresee(ctx context.Context, ops []schemas.Operation) ([]schemas.Finding, error) {
	ops = slices.DeleteFunc(slices.Clone(ops), func(o schemas.Operation) bool {
		return o.Kind != schemas.OperationDelete && o.Kind != schemas.OperationUpdate || o.Connection.Type == typeGroup
	})
	if len(ops) == 0 {
		return nil, nil
	}
	a, err := r.read(ctx)
	if err != nil {
		return nil, err
	}
	var out []schemas.Finding
	for i := range ops {
		o := &ops[i]
		e := map[string]index{typeRole: a.roles, typePolicy: a.policies}[o.Connection.Type][fold(o.Connection.SourceName)]
		switch {
		case e == nil:
		case o.Kind == schemas.OperationUpdate:
			for _, x := range []struct {
				key, live string
				known     bool
			}{{"path", e.path, true}, {"description", sdk.ToString(e.description), e.typ == typePolicy && e.description != nil}} {
				if want, ok := o.After[x.key].(string); ok && x.known && want != x.live {
					out = append(out, connectors.Foresaw(o, "IAM can't change the %s of a %s (it is %s)", x.key, e.typ, strconv.QuoteToASCII(x.live)))
				}
			}
		case len(e.profiles) > 0:
			out = append(out, connectors.Foresaw(o, "machines may run with the role: it is in the instance profile %s", strings.Join(e.profiles, ", ")))
		case e.typ == typePolicy:
			var bound []string
			for _, holders := range []index{a.users, a.roles} {
				for _, h := range holders {
					if h.boundary == e.arn {
						bound = append(bound, h.typ+" "+h.name)
					}
				}
			}
			if slices.Sort(bound); len(bound) > 0 {
				out = append(out, connectors.Foresaw(o, "it is the permissions boundary of %s", strings.Join(bound, ", ")))
			}
		}
	}
	return out, nil
}
