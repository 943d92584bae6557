package judge

import (
	"context"
	"slices"

	"github.com/countersign/countersign/reconciler/history"
	"github.com/countersign/countersign/reconciler/index"
	"github.com/countersign/countersign/schemas"
)

// strays returns the control files that earlier commits changed, whose trees could not be read, and that the commit's own
// branch does not account for. They are quarantined, whatever the verdict on the commit.
func (j *Judge) strays(ctx context.Context, e *Examination, c *history.Commit) ([]*index.File, error) {
	var out []*index.File
	for _, x := range c.Unaccounted {
		if slices.ContainsFunc(e.files, func(f *file) bool { return f.path == x.Path }) {
			continue
		}
		class, ok := schemas.IsControlFile(x.Path, &e.trust.Settings.Spec)
		was, err := e.base.File(ctx, x.Path)
		if err != nil {
			return nil, err
		}
		if !ok && was == nil {
			continue
		}
		f := &index.File{Path: x.Path, Class: string(class)}
		if was != nil {
			*f = *was
		}
		f.Raw, f.Quarantine = x.After.Blob, c.Hash
		f.Reasons = []string{"a commit before this one changed the file in a folder that could not be read, and the merge's own branch did not"}
		if f.Admitted == f.Raw && (f.Raw == "" || x.After.Mode == regularFile) {
			f.Quarantine, f.Reasons = "", nil // it is back to what was admitted
		}
		out = append(out, f)
	}
	return out, nil
}
