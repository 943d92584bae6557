package forge

import (
	"io"

	"github.com/countersign/countersign/schemas"
)

// Job is the CI job that this program runs in. Outside of one its methods do nothing.
type Job interface {
	// URL leads to the job's log; "" outside of a job.
	URL() string
	// Report leaves a published preview to the steps that follow, and in the job's summary. redact
	// leaves out who the identities are.
	Report(p *schemas.Preview, out *Published, redact bool) error
	// Guard wraps an output so that nothing in it is taken for a command of the CI; outside of a job it returns w. isJSON
	// reports whether the output is JSON, which must decode to the same text. Call flush at the end.
	Guard(w io.Writer, isJSON func() bool) (guarded io.Writer, flush func())
}
