package report_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/reconciler/report"
	"github.com/countersign/countersign/schemas"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func textOf(t *testing.T, v any, o report.Options) string {
	t.Helper()
	var b bytes.Buffer
	if err := report.Text(&b, v, o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func markdownOf(t *testing.T, v any, o report.Options) string {
	t.Helper()
	var b bytes.Buffer
	if err := report.Markdown(&b, v, o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

var sgr = regexp.MustCompile("\x1b\\[[0-9;]*m")

func TestGolden(t *testing.T) {
	t.Parallel()
	for name, v := range states() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plain := textOf(t, v, report.Options{Width: 80})
			golden(t, name+".txt", plain)
			coloured := textOf(t, v, report.Options{Width: 80, Color: true})
			golden(t, name+".color.txt", coloured)
			golden(t, name+".md", markdownOf(t, v, report.Options{}))
			if got := sgr.ReplaceAllString(coloured, ""); got != plain {
				t.Errorf("colour changes more than colour (-plain +stripped):\n%s", cmp.Diff(plain, got))
			}
			for l := range strings.Lines(plain) {
				if strings.TrimRight(l, " \n") != strings.TrimSuffix(l, "\n") {
					t.Errorf("white space at the end of %q", l)
				}
				// Only a path, a URL or a digest by itself may be longer.
				if n := utf8.RuneCountInString(strings.TrimSuffix(l, "\n")); n > 80 && len(strings.Fields(l)) > 1 {
					t.Errorf("%d columns: %q", n, l)
				}
			}
		})
	}
}

func TestRedactedPreview(t *testing.T) {
	t.Parallel()
	for name, v := range states() {
		p, ok := v.(*schemas.Preview)
		if !ok {
			continue
		}
		if p.Evidence != nil { // people who approve are named; here they have other names than identities
			p.Evidence.Approvals, p.Evidence.Authors = nil, nil
		}
		if p.Decision != nil {
			p.Decision.Warnings = append(p.Decision.Warnings, schemas.RuleResult{Code: "A-1", Msg: "Alice, bob@acme.test and carol. gain access"})
		}
		for _, got := range []string{textOf(t, v, report.Options{Redact: true}), markdownOf(t, v, report.Options{Redact: true})} {
			for _, who := range []string{"alice", "carol", "dan", "mallory", "zoe", "frank"} {
				if m := regexp.MustCompile(`(?i)\b` + who + `\b`).FindString(got); m != "" && strings.Contains(textOf(t, v, report.Options{}), "user/"+who) {
					t.Errorf("%s names %s:\n%s", name, m, got)
				}
			}
		}
	}
	golden(t, "preview-signoff.redacted.txt", textOf(t, signoffMissing(), report.Options{Redact: true, Width: 80}))
}

func TestJSON(t *testing.T) {
	t.Parallel()
	p := &schemas.Preview{Verdict: "<nothing> & \u009b31m \u202e \U000e0041 \x7f"}
	var b bytes.Buffer
	if err := report.JSON(&b, p); err != nil {
		t.Fatal(err)
	}
	got := b.String()
	if p.Kind != "" || p.Files != nil {
		t.Error("JSON changed its argument")
	}
	for _, want := range []string{`"apiVersion": "countersign.dev/v1"`, `"kind": "Preview"`, `"files": []`, `"unmet": []`, `"applications": []`,
		`<nothing> & \u009b31m \u202e \udb40\udc41 \u007f`} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
	if !strings.HasSuffix(got, "}\n") {
		t.Errorf("ends in %q", got[len(got)-5:])
	}
	var back schemas.Preview
	if err := json.Unmarshal(b.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	if back.Verdict != p.Verdict {
		t.Errorf("read back %q, want %q", back.Verdict, p.Verdict)
	}
	for name, state := range states() {
		v, ok := state.(schemas.Output)
		if !ok {
			continue // a part of a report
		}
		var one, two bytes.Buffer
		if err := report.JSON(&one, v); err != nil {
			t.Fatal(err)
		}
		if err := report.JSON(&two, v); err != nil {
			t.Fatal(err)
		}
		if one.String() != two.String() {
			t.Errorf("%s: not stable", name)
		}
		if strings.Contains(one.String(), "null") {
			t.Errorf("%s has null:\n%s", name, one.String())
		}
	}
}

func TestUnknownType(t *testing.T) {
	t.Parallel()
	if err := report.Text(&bytes.Buffer{}, 1, report.Options{}); err == nil {
		t.Error("Text of an int: no error")
	}
	if err := report.Markdown(&bytes.Buffer{}, schemas.Preview{}, report.Options{}); err == nil {
		t.Error("Markdown of a value: no error")
	}
}

func TestSafe(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, in, want string }{
		{"ascii", "role/sales_reader", "role/sales_reader"},
		{"letters", "Zoë 李 ещё", "Zoë 李 ещё"},
		{"escape", "a\x1b[31mb", "aU+001B[31mb"},
		{"8-bit escape", "a\u009b31m", "aU+009B31m"},
		{"line feed", "a\nb\r", "aU+000AbU+000D"},
		{"bidi", "a\u202eb", "aU+202Eb"},
		{"zero width", "a\u200bb\ufeff", "aU+200BbU+FEFF"},
		{"no-break space", "a\u00a0b", "aU+00A0b"},
		{"separator", "a\u2028b", "aU+2028b"},
		{"tag", "a\U000e0041", "aU+E0041"},
		{"blank letter", "a\u3164b\u2800", "aU+3164bU+2800"},
		{"bytes", "a\xff\xc0b", `a\xFF\xC0b`},
		{"mark first", "\u0301a", "U+0301a"},
		{"marks", "a\u0301\u0301\u0301\u0301", "a\u0301\u0301\u0301U+0301"},
	} {
		if got := report.Safe(c.in); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// Attested applications get a sentence of their own, whatever comes before.
func TestDriftOfWhatIsAttested(t *testing.T) {
	t.Parallel()
	mail := schemas.ApplicationOutcome{Application: "mail", Plan: schemas.ApplicationPlan{Application: "mail", Attested: true}}
	unread := schemas.ApplicationOutcome{Application: "hr", Error: "it is down"}
	const attested = "Unknown for mail: attested, not read"
	for _, tc := range []struct {
		report *schemas.RunReport
		want   string
	}{
		{run("Drift", mail), "No drift. " + attested},
		{run("Drift", mail, unread), "Drift unknown: could not read all of hr. " + attested},
	} {
		var b bytes.Buffer
		if err := report.Text(&b, tc.report, report.Options{}); err != nil {
			t.Fatal(err)
		}
		if got, _, _ := strings.Cut(b.String(), "\n"); got != tc.want {
			t.Errorf("got %q, want %q", got, tc.want)
		}
	}
}

// What isn't read is counted: "No drift" alone would cover it.
func TestDriftOfWhatIsNotRead(t *testing.T) {
	t.Parallel()
	shop := schemas.ApplicationOutcome{Application: "shop", Plan: schemas.ApplicationPlan{Application: "shop", NotRead: []schemas.NotRead{
		{What: "parameter", Count: 1}, {What: "default privilege", Count: 3}, {What: "parameter", Count: 2}}}}
	var b bytes.Buffer
	if err := report.Text(&b, run("Drift", shop), report.Options{}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"No drift. 6 rights and objects not read.", "default privilege (3), parameter (3)"} {
		if got := strings.Join(strings.Fields(b.String()), " "); !strings.Contains(got, want) {
			t.Errorf("got %q, want %q in it", got, want)
		}
	}
}

// A request that can't be carried out is still work to do.
func TestWhatCannotBeIsInTheTitle(t *testing.T) {
	t.Parallel()
	gone := schemas.Finding{Code: "target-not-found", Severity: "error", Message: "user/dave does not exist in files", Document: schemas.DocumentID{Path: "requests/a.yaml"}}
	files := schemas.ApplicationOutcome{Application: "files", Plan: schemas.ApplicationPlan{Application: "files", Findings: []schemas.Finding{gone, gone}}}
	for kind, want := range map[string]string{
		"Apply": "Nothing to apply; 1 request cannot be carried out",
		"Drift": "No drift. 1 request cannot be carried out.",
	} {
		var b bytes.Buffer
		if err := report.Text(&b, run(kind, files), report.Options{}); err != nil {
			t.Fatal(err)
		}
		if got, _, _ := strings.Cut(b.String(), "\n"); got != want {
			t.Errorf("%s: got %q, want %q", kind, got, want)
		}
	}
}

// Requests are in folders by day; a second document of a file lines up with the others.
func TestStatusLinesUp(t *testing.T) {
	t.Parallel()
	r := statusReport()
	r.Requests = r.Requests[:2]
	for i := range r.Requests {
		r.Requests[i].Document = schemas.DocumentID{Path: "requests/2026/11/23/sales-reader.yaml", Index: i}
		r.Requests[i].Approval = "admitted"
	}
	var b bytes.Buffer
	if err := report.Text(&b, r, report.Options{}); err != nil {
		t.Fatal(err)
	}
	at := map[int]bool{}
	for _, l := range strings.Split(b.String(), "\n") {
		if i := strings.Index(l, "admitted"); i > 0 && strings.Contains(l, "requests/2026") {
			at[len([]rune(l[:i]))] = true
		}
	}
	if len(at) != 1 {
		t.Errorf("the columns begin in different places:\n%s", b.String())
	}
}
