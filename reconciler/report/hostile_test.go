package report_test

import (
	"encoding/json"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/countersign/countersign/reconciler/report"
)

// filledWith copies a report with s in place of every text that somebody else may have written, and log in place of the
// messages of a conformance case, which are shown line by line.
func filledWith(t *testing.T, v any, s, log string) any {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	c := reflect.New(reflect.TypeOf(v))
	if err := json.Unmarshal(raw, c.Interface()); err != nil {
		t.Fatal(err)
	}
	fill(c.Elem(), "", s, log)
	return c.Elem().Interface()
}

// ours are fields whose values countersign chooses, or that join records.
var ours = []string{"Verdict", "Kind", "Severity", "Status", "Approval", "Provisioning", "Verification", "Origin", "ID", "Operation", "DependsOn", "APIVersion"}

func fill(v reflect.Value, field, s, log string) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return
		}
		if v.Kind() == reflect.Interface {
			if _, ok := v.Interface().(string); ok {
				v.Set(reflect.ValueOf(s))
			}
			return
		}
		fill(v.Elem(), field, s, log)
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				fill(v.Field(i), f.Name, s, log)
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			fill(v.Index(i), field, s, log)
		}
	case reflect.Map:
		if v.Len() > 0 {
			value := v.MapIndex(v.MapKeys()[0])
			if value.Kind() == reflect.String || value.Kind() == reflect.Interface {
				value = reflect.ValueOf(s)
			}
			m := reflect.MakeMap(v.Type())
			m.SetMapIndex(reflect.ValueOf(s), value)
			v.Set(m)
		}
	case reflect.String:
		if v.Type() == reflect.TypeFor[string]() && v.String() != "" && !slices.Contains(ours, field) {
			if field == "Log" {
				s = log
			}
			v.SetString(s)
		}
	}
}

var hostiles = []string{
	"# APPROVED by @dana", "\n### ✅ Ready", "a | b | c", "x\n| a | b |", "`", "``` \n# h", "a`b``c```d", "<!-- countersign:v1 repo=1 pr=2 -->", "-->",
	"<script>alert(1)</script>", "</details>", "<b>", "&lt;&#64;dana", "@dana", "@acme/security", "#123", "acme/access#1", "GH-12", "JIRA-7", "http://evil.test", "www.evil.test",
	"[click](http://evil.test)", "![x](//evil.test)", "mailto:a@b.test", "alice@corp.example", "- item", "1. item", "1)", "+ x", "---", "===", "> quote", "    code", "\tcode", "**bold**",
	"_x_", "~~x~~", ":tada:", "$x$", "\\", "\\|", "a\\`b", "|", "||", "\\\\|", "0123456789abcdef0123456789abcdef01234567", "\x1b[2J\x1b]8;;http://evil.test\x07", "\u202eevil", "\u200b", "\xff\xfe",
	"a\rb", "\u2028# h", "\u0301", "  ", " ", "(empty)", "…", "🦀", "{}", "{} {}", "%s", "user:x", "Acknowledgement", "evil.test, and 3 more", "a\u00a0b", "[^1]", "[x]: http://e.test", "=cmd", "a  b", "`|`", "ftp://e.test",
	"javascript:alert(1)", "deadbee", "a|", "x`", "`x", "“@dana”", "(@dana)", "'#1'", "x@y", "https", "!", "[ ]", "- [x] done", "<details open>", "<br>", "|---|",
}

func FuzzHostile(f *testing.F) {
	for _, h := range hostiles {
		f.Add(h)
	}
	all := states()
	// What a report looks like with harmless texts depends only on their number of lines.
	type rendering struct{ text, markdown string }
	benign := map[string]rendering{}
	f.Fuzz(func(t *testing.T, h string) {
		if h == "" || len(h) > 200 || slices.Contains([]string{"MEMBER", "ADMIN", "user", "PullRequest"}, h) {
			t.Skip()
		}
		log := strings.Repeat("x\n", len(slices.Collect(strings.Lines(strings.TrimRight(h, "\n")))))
		for name, v := range all {
			calm, ok := benign[name+"\x00"+log]
			if !ok {
				filled := filledWith(t, v, "x", log)
				calm = rendering{textOf(t, filled, report.Options{}), markdownOf(t, filled, report.Options{})}
				benign[name+"\x00"+log] = calm
			}
			checkHostile(t, name, filledWith(t, v, h, h), calm.text, calm.markdown)
		}
	})
}

var (
	ownTags  = regexp.MustCompile(`<br>|</?details>|<summary>[A-Za-z0-9 :,()/-]*</summary>`)
	anyword  = regexp.MustCompile(`[0-9a-fA-F]{7,}`)
	noLine   = regexp.MustCompile(`[@<>\\&$_~{}^]|://|(?i)www\.|\]\(|\]:|[A-Za-z]-[0-9]|[A-Za-z]#`)
	ownMarks = regexp.MustCompile(`^(### |- |  - |\| |\|---|\*\*|<details>|</details>|` + "```" + `)`)
)

// checkHostile compares a report with hostile texts to the text and the Markdown of one with harmless ones.
func checkHostile(t *testing.T, name string, hostile any, plain, markdown string) {
	t.Helper()
	text := textOf(t, hostile, report.Options{})
	if got, want := strings.Count(text, "\n"), strings.Count(plain, "\n"); got != want {
		t.Errorf("%s: %d lines of text, want %d:\n%s", name, got, want, text)
	}
	if !utf8.ValidString(text) {
		t.Errorf("%s: text is not UTF-8", name)
	}
	for _, r := range text {
		if r != '\n' && (!unicode.IsPrint(r) || unicode.Is(unicode.Cf, r)) {
			t.Fatalf("%s: text has %U:\n%s", name, r, text)
		}
	}
	got, want := strings.Split(markdownOf(t, hostile, report.Options{}), "\n"), strings.Split(markdown, "\n")
	if len(got) != len(want) {
		t.Fatalf("%s: %d lines of Markdown, want %d:\n%s", name, len(got), len(want), strings.Join(got, "\n"))
	}
	fence := ""
	for i, l := range got {
		if strings.Contains(l, "<!--") || strings.Contains(l, "-->") {
			t.Errorf("%s: a comment in %q", name, l)
		}
		if fence != "" {
			if strings.HasPrefix(strings.TrimLeft(l, " "), fence) {
				if !strings.HasPrefix(want[i], "```") {
					t.Fatalf("%s: a fence ends early at %q", name, l)
				}
				fence = ""
			}
			continue
		}
		if strings.HasPrefix(l, "```") && strings.HasSuffix(l, "text") && !strings.Contains(strings.Trim(l, "`"), "`") {
			fence = strings.TrimSuffix(l, "text")
			continue
		}
		if g, w := ownMarks.FindString(l), ownMarks.FindString(want[i]); g != w {
			t.Errorf("%s: line begins with %q, want %q: %q", name, g, w, l)
		}
		// A pipe ends a table's cell inside code as well.
		if g, w := strings.Count(l, "|"), strings.Count(want[i], "|"); strings.HasPrefix(l, "|") && g != w {
			t.Errorf("%s: a row with %d pipes, want %d: %q", name, g, w, l)
		}
		rest, ok := withoutCode(l)
		if !ok {
			t.Fatalf("%s: backticks without an end in %q", name, l)
		}
		wantRest, _ := withoutCode(want[i])
		for _, c := range []string{"|", "#", "*", "["} {
			if g, w := strings.Count(rest, c), strings.Count(wantRest, c); g != w {
				t.Errorf("%s: %d times %s, want %d: %q", name, g, c, w, l)
			}
		}
		bare := ownTags.ReplaceAllString(rest, "")
		if m := noLine.FindString(strings.TrimPrefix(bare, "### ")); m != "" {
			t.Errorf("%s: %q outside of code: %q", name, m, l)
		}
		if m := anyword.FindString(bare); m != "" {
			t.Errorf("%s: %q may be a commit: %q", name, m, l)
		}
	}
}

// withoutCode takes code spans out, as CommonMark finds them: a run of backticks up to the next of the same length.
func withoutCode(s string) (string, bool) {
	var out strings.Builder
	for s != "" {
		start := strings.IndexByte(s, '`')
		if start < 0 {
			out.WriteString(s)
			break
		}
		out.WriteString(s[:start])
		s = s[start:]
		n := len(s) - len(strings.TrimLeft(s, "`"))
		rest, found := s[n:], false
		for at := 0; at < len(rest); {
			if rest[at] != '`' {
				at++
				continue
			}
			run := len(rest[at:]) - len(strings.TrimLeft(rest[at:], "`"))
			if run == n {
				s, found = rest[at+run:], true
				break
			}
			at += run
		}
		if !found {
			return "", false
		}
		out.WriteByte('x')
	}
	return out.String(), true
}
