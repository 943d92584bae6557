package judge

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/reconciler/index"
	"github.com/countersign/countersign/schemas"
)

// Documents keep their place in the merge order through edits and moves within their file; a new one has the place of
// the commit that adds it, so that a revoke at the end of an old file comes after the grants made since.
func TestPlacesOfDocuments(t *testing.T) {
	t.Parallel()
	documents := func(names string) []schemas.Document {
		var out []schemas.Document
		for i, n := range names {
			out = append(out, schemas.Document{Index: i, Value: &schemas.Request{Metadata: schemas.Metadata{Name: string(n)}}})
		}
		return out
	}
	for _, tt := range []struct {
		name     string
		old, new string
		was      *index.File
		want     []int
	}{
		{"a new file", "", "ab", nil, []int{9, 9}},
		{"appended", "ab", "abc", &index.File{Place: 3}, []int{3, 3, 9}},
		{"appended again", "abc", "abcd", &index.File{Place: 3, Places: []int{3, 3, 5}}, []int{3, 3, 5, 9}},
		{"edited", "abc", "axc", &index.File{Place: 3, Places: []int{3, 5, 6}}, []int{3, 5, 6}},
		{"inserted before", "ab", "xab", &index.File{Place: 3, Places: []int{3, 5}}, []int{9, 3, 5}},
		{"the first removed", "abc", "bc", &index.File{Place: 3, Places: []int{3, 5, 6}}, []int{5, 6}},
		{"swapped", "ab", "ba", &index.File{Place: 3, Places: []int{3, 5}}, []int{5, 3}},
		{"a copy appended", "a", "aa", &index.File{Place: 3}, []int{3, 9}},
		{"two edited and one appended", "ab", "xyz", &index.File{Place: 3, Places: []int{3, 5}}, []int{3, 5, 9}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := &file{was: tt.was, old: documents(tt.old), new: documents(tt.new)}
			if tt.was != nil {
				f.before = "blob"
			}
			if diff := cmp.Diff(tt.want, f.places(9)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
