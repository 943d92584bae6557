package strict

import (
	"testing"

	"github.com/countersign/countersign/schemas"
)

// Every kind has a valid example, is decoded, and belongs to exactly one group, whose visitors know it.
func TestKinds(t *testing.T) {
	t.Parallel()
	seen := map[schemas.Kind]bool{}
	for _, file := range testFiles(t, "good") {
		path, content := readCase(t, file)
		for _, doc := range mustDecode(t, path, string(content)) {
			seen[doc.Kind] = true
			request, control, configuration, calls := false, false, false, 0
			schemas.VisitContent(doc.Value,
				func(*schemas.Request) { request = true },
				func(*schemas.Application) { configuration = true },
				func(*schemas.Settings) { configuration = true },
				func(*schemas.People) { configuration = true },
				func(c schemas.Control) {
					control = true
					schemas.VisitControl(c,
						func(*schemas.AdmissionSpec) { calls++ },
						func(*schemas.BudgetOverrideSpec) { calls++ },
						func(*schemas.AcknowledgementSpec) { calls++ })
				})
			if request != doc.Kind.IsRequest() || control != doc.Kind.IsControl() || configuration == (request || control) || control != (calls == 1) {
				t.Errorf("%s: request %t, control %t, configuration %t, %d calls of VisitControl", doc.Kind, request, control, configuration, calls)
			}
		}
	}
	for _, kind := range schemas.DocumentKinds() {
		if !seen[kind] {
			t.Errorf("no file in testdata/good has a document of kind %s", kind)
		}
	}
}
