package reconciler

import (
	"context"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/reconciler/validate"
	"github.com/countersign/countersign/schemas"
)

// Validate checks all control files of a folder offline, without Git or any application, and without a policy decision.
// It follows no symbolic link.
func Validate(ctx context.Context, dir string, registry connectors.Registry) (*schemas.ValidateReport, error) {
	return validate.Folder(ctx, dir, registry)
}

// ReadPolicy reads the policy folder of a work tree as it is on disk, for testing it.
func ReadPolicy(dir string) (modules map[string][]byte, data map[string]any, err error) {
	return validate.Policy(dir)
}
