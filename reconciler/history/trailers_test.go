package history_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/reconciler/history"
)

func messages() map[string][]history.Trailer {
	bob := history.Trailer{Key: "Approved-by", Value: "Bob <bob@acme.test>"}
	return map[string][]history.Trailer{
		"":      nil,
		"title": nil,
		"title\n\nApproved-by: Bob <bob@acme.test>":                                            {bob},
		"title\r\n\r\nApproved-by: Bob <bob@acme.test>\r\n":                                    {bob},
		"title\n\nApproved-by: Bob\n  <bob@acme.test>\n\n\n":                                   {bob},
		"title\n \t\nApproved-by: Bob <bob@acme.test>":                                         {bob},
		"title\n\nApproved-by : Bob <bob@acme.test>\nX-y:z":                                    {bob, {Key: "X-y", Value: "z"}},
		"Approved-by: Bob <bob@acme.test>":                                                     nil,
		"\n\nApproved-by: Bob <bob@acme.test>\n":                                               nil,
		"title\nApproved-by: Bob <bob@acme.test>":                                              nil,
		"title\n\nApproved-by: Bob <bob@acme.test>\n\nmore":                                    nil,
		"title\n\nprose\nApproved-by: Bob <bob@acme.test>":                                     nil,
		"title\n\n  Approved-by: Bob <bob@acme.test>":                                          nil,
		"title\n\nApproved by: Bob <bob@acme.test>":                                            nil,
		"title\n\nprose\nSigned-off-by: A <a@acme.test>\nApproved-by: Bob <bob@acme.test>":     {{Key: "Signed-off-by", Value: "A <a@acme.test>"}, bob},
		"title\n\na\nb\nc\nd\ne\nf\ng\nSigned-off-by: A <a@acme.test>\nApproved-by: B <b@b.c>": nil,
		"title\n\n(cherry picked from commit 1234)\nApproved-by: Bob <bob@acme.test>":          {bob},
		"title\n\nApproved-by: Bob <bob@acme.test>\n---\n":                                     nil,
	}
}

func TestTrailers(t *testing.T) {
	t.Parallel()
	repo := begun(t)
	for message, want := range messages() {
		if diff := cmp.Diff(want, history.Trailers(message)); diff != "" {
			t.Errorf("Trailers(%q) (-want +got):\n%s", message, diff)
		}
		if message == "" {
			continue
		}
		hash := repo.CommitTree(repo.Git("rev-parse", "HEAD^{tree}"), strings.ReplaceAll(message, "\r\n", "\n"))
		theirs := repo.Git("log", "-1", "--format=%(trailers:only,unfold)", hash)
		var ours []string
		for _, x := range history.Trailers(message) {
			ours = append(ours, x.Key+": "+x.Value)
		}
		if diff := cmp.Diff(strings.TrimSpace(theirs), strings.Join(ours, "\n")); diff != "" {
			t.Errorf("Trailers(%q) (-git +ours):\n%s", message, diff)
		}
	}
}

func TestCoAuthors(t *testing.T) {
	t.Parallel()
	for message, want := range map[string][]history.Person{
		"title\n\nCo-authored-by: Bob <bob@acme.test>":                         {{Name: "Bob", Email: "bob@acme.test"}},
		"title\n\nCO-AUTHORED-BY:Bob<bob@acme.test>":                           {{Name: "Bob", Email: "bob@acme.test"}},
		"title\n\n  co-authored-by : Bob\n  <bob@acme.test>\n\nand more prose": {{Name: "Bob", Email: "bob@acme.test"}},
		"Co-authored-by: Bob <bob@acme.test>":                                  {{Name: "Bob", Email: "bob@acme.test"}},
		"title\n\nCo-authored-by: Bob":                                         {{Name: "Bob"}},
		"title\n\nCo-authored-by: A <a@b.c> <d@e.f>":                           {{Name: "A", Email: "a@b.c> <d@e.f"}},
		"title\n\nCo-authored-bye: Bob <bob@acme.test>":                        nil,
	} {
		if diff := cmp.Diff(want, history.CoAuthors(message)); diff != "" {
			t.Errorf("CoAuthors(%q) (-want +got):\n%s", message, diff)
		}
	}
}

func FuzzTrailers(f *testing.F) {
	for m := range messages() {
		f.Add(m)
	}
	f.Fuzz(func(t *testing.T, m string) {
		got := history.Trailers(m)
		for _, x := range got {
			if x.Key == "" || strings.ContainsAny(x.Key, " \t\n:") || strings.Contains(x.Value, "\n") {
				t.Errorf("Trailers(%q) has %+v", m, x)
			}
		}
		// What is not in the last paragraph has no say: prose after it takes every trailer away.
		if late := history.Trailers(m + "\n\nThis is prose"); late != nil {
			t.Errorf("Trailers(%q) before prose = %v", m, late)
		}
		history.CoAuthors(m)
	})
}
