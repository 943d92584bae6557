package report

import (
	"fmt"

	"github.com/countersign/countersign/reconciler/report/layout"
)

// bounds are how much of a report is shown.
type bounds struct {
	rows    int // of a table
	names   int // of identities in one sentence
	effects int // sentences about one operation
	list    int // of a list
	clip    int // bytes of one foreign text, 0 for no limit
	exact   bool
	drift   bool
	grouped bool // rows are connections, not operations
	tables  bool
	denials bool // complete, not just codes and counts
	// complete shows the differences of privileged operations without a cut.
	complete bool
	// everyone shows all people who gain or lose, all privileged operations, deletions and changes of terms, whatever the
	// other bounds are: what an approval is about.
	everyone bool
	markdown bool
}

var textBounds = bounds{rows: 50, names: 3, effects: 6, list: 20, drift: true, tables: true, denials: true, complete: true}

// rungs are the steps in which Markdown gets shorter. The last is a few thousand bytes whatever is shown.
var rungs = []bounds{
	{rows: 1000, names: 10, effects: 10, list: 50, clip: 4000, exact: true, drift: true, tables: true, denials: true, complete: true, everyone: true, markdown: true},
	{rows: 1000, names: 10, effects: 10, list: 50, clip: 4000, drift: true, tables: true, denials: true, complete: true, everyone: true, markdown: true},
	{rows: 1000, names: 10, effects: 10, list: 50, clip: 4000, tables: true, denials: true, complete: true, everyone: true, markdown: true},
	{rows: 1000, names: 3, effects: 3, list: 50, clip: 500, grouped: true, tables: true, denials: true, complete: true, everyone: true, markdown: true},
	{rows: 50, names: 3, effects: 3, list: 50, clip: 500, grouped: true, tables: true, denials: true, complete: true, everyone: true, markdown: true},
	{rows: 50, names: 3, effects: 3, list: 10, clip: 120, grouped: true, tables: true, denials: true, markdown: true},
	{rows: 10, names: 2, effects: 2, list: 10, clip: 80, denials: false, markdown: true},
	{rows: 3, names: 1, effects: 1, list: 3, clip: 60, denials: false, markdown: true},
}

// budget is how long Markdown may become: GitHub's limit of a comment is 65,536 characters, and the caller
// adds a marker. It is in bytes, of which a text has at least as many as UTF-16 units.
const budget = 60_000

// ladder renders with ever tighter bounds until the result fits. The last rung always does. lacking explains what approvals
// of a preview can't be about, "" for nothing.
func ladder(v any, o Options, limit int) (text, lacking string, err error) {
	size := 0
	for _, b := range rungs {
		d, words, lacking, err := build(v, o, b)
		if err != nil {
			return "", "", err
		}
		s := layout.Markdown(d, layout.Options{Clip: b.clip, Hide: words.Hide, Limit: limit})
		if size = len(s); size <= limit {
			return s, lacking, nil
		}
	}
	return "", "", fmt.Errorf("a report of %d bytes does not fit into %d", size, limit)
}
