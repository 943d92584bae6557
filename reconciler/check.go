package reconciler

import (
	"context"
	"errors"

	"github.com/countersign/countersign/schemas"
)

// Check examines the applications admitted at a revision: scopes that overlap on one server, and the members of the
// credentials that countersign logs in with. It changes nothing.
func (r *Reconciler) Check(ctx context.Context, to string) (_ []schemas.Check, err error) {
	b, err := r.open(ctx, to, true)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	names, err := b.names("")
	if err != nil {
		return nil, err
	}
	return r.runner.Check(ctx, b.runs(nil), names), nil
}
