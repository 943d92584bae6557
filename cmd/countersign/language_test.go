package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/cmd/countersign/internal/cli"
)

// The limits of TestLanguage: listed words per 10,000 words of each kind of text. They may only fall: lower one
// when its text got better, never raise one. The count began at help 180.2, docs 117.8, messages 170.0 and
// comments 218.4; the aim is a tenth of that for the first three and a third for comments.
const (
	limitHelp     = 0.0
	limitDocs     = 1.5
	limitMessages = 8.8
	limitComments = 3.9
)

// family is a habit of speech that reads badly in English. A habit costs nothing to avoid: a file sets, requires,
// allows, lists or contains; only people say.
type family struct {
	name    string
	pattern *regexp.Regexp
	// words are lower-case: a text that contains none of them doesn't match the pattern. Looking for them is a lot faster.
	words []string
}

var families = []family{
	{"say", regexp.MustCompile(`(?i)\b(?:say|says|said)\b`), []string{"say", "said"}},
	{"stand", regexp.MustCompile(`(?i)\b(?:stand|stands|stood)\b`), []string{"stand", "stood"}},
	{"is no", regexp.MustCompile(`(?i)\b(?:is|are|has|have) no\b`), []string{" no"}},
	{"what or who clause", regexp.MustCompile(`(?:^|[.!?]\s+|\n\s*\n\s*|\n\s*[-*] )(?i:what|who|whoever)\b`), []string{"what", "who"}},
	{"whoever", regexp.MustCompile(`(?i)\bwhoever\b`), []string{"whoever"}},
	{"anew", regexp.MustCompile(`(?i)\banew\b`), []string{"anew"}},
	{"mend", regexp.MustCompile(`(?i)\bmend(?:s|ed|ing)?\b`), []string{"mend"}},
	{"shall", regexp.MustCompile(`(?i)\bshall\b`), []string{"shall"}},
	{"whole", regexp.MustCompile(`(?i)\bwhole\b`), []string{"whole"}},
	{"nobody has such", regexp.MustCompile(`(?i)\b(?:nobody|nothing|none|no one) has such\b`), []string{"has such"}},
	{"any more", regexp.MustCompile(`(?i)\bany more\b`), []string{"any more"}},
	{"lest", regexp.MustCompile(`(?i)\blest\b`), []string{"lest"}},
	{"bears on", regexp.MustCompile(`(?i)\bbears? on\b`), []string{"bear"}},
}

// piece is a text with the place where it begins.
type piece struct {
	file string
	line int
	text string
}

// offender is one listed word at its place.
type offender struct {
	file   string
	line   int
	family string
	text   string
}

// count returns the number of words of the pieces, and each listed word among them.
func count(pieces []piece) (words int, found []offender) {
	for _, p := range pieces {
		words += len(strings.Fields(p.text))
		lower := strings.ToLower(p.text)
		for _, f := range families {
			if !slices.ContainsFunc(f.words, func(w string) bool { return strings.Contains(lower, w) }) {
				continue
			}
			for _, at := range f.pattern.FindAllStringIndex(p.text, -1) {
				if !listed(f.name, p.text, at) {
					continue
				}
				from, to := max(0, at[0]-40), min(len(p.text), at[1]+40)
				found = append(found, offender{
					file: p.file, line: p.line + strings.Count(strings.TrimRight(p.text[:at[1]], " \n"), "\n"),
					family: f.name, text: strings.Join(strings.Fields(p.text[from:to]), " "),
				})
			}
		}
	}
	slices.SortStableFunc(found, func(a, b offender) int {
		if a.file != b.file {
			return strings.Compare(a.file, b.file)
		}
		return a.line - b.line
	})
	return words, found
}

// listed excludes "is no longer", which is English, and questions, which begin with What or Who by right.
func listed(family, text string, at []int) bool {
	rest := text[at[1]:]
	switch family {
	case "is no":
		return !strings.HasPrefix(strings.TrimSpace(rest), "longer")
	case "what or who clause":
		end := strings.IndexAny(rest, ".!?;")
		return end < 0 || rest[end] != '?'
	}
	return true
}

// TestLanguage counts words of a private dialect in all that people read, and holds them to limits that may only fall.
func TestLanguage(t *testing.T) {
	t.Parallel()
	messages, comments := goTexts(t)
	messages = append(messages, regoTexts(t)...)
	for _, g := range []struct {
		name   string
		limit  float64
		pieces []piece
	}{
		{"help", limitHelp, helpTexts(t)},
		{"docs", limitDocs, markdownTexts(t)},
		{"messages", limitMessages, messages},
		{"comments", limitComments, comments},
	} {
		t.Run(g.name, func(t *testing.T) {
			words, found := count(g.pieces)
			if words < 1000 {
				t.Fatalf("only %d words were found: the test looks in the wrong place", words)
			}
			rate := 10_000 * float64(len(found)) / float64(words)
			byFamily := map[string]int{}
			for _, o := range found {
				byFamily[o.family]++
			}
			var summary []string
			for _, f := range families {
				if n := byFamily[f.name]; n > 0 {
					summary = append(summary, fmt.Sprintf("%s %d", f.name, n))
				}
			}
			t.Logf("%s: %.1f listed words per 10,000 (%d of %d; limit %.1f): %s", g.name, rate, len(found), words, g.limit, strings.Join(summary, ", "))
			switch {
			case rate > g.limit+0.05:
				for i, o := range found {
					if i == 40 && !testing.Verbose() {
						t.Logf("… and %d more: -v lists all", len(found)-i)
						break
					}
					t.Logf("%s:%d: %s: %s", o.file, o.line, o.family, o.text)
				}
				t.Errorf("%s: %.1f listed words per 10,000, and the limit is %.1f: reword what you added", g.name, rate, g.limit)
			case rate < g.limit/2:
				t.Errorf("%s: %.1f listed words per 10,000, far below the limit of %.1f: lower the limit to %.1f", g.name, rate, g.limit, rate)
			}
		})
	}
}

// TestLanguageCount pins what is counted.
func TestLanguageCount(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{
		"The file says that roles stand here.":           2,
		"is no role; there is no longer a role":          1,
		"What was merged is judged. Who pushed is asked": 2,
		"What does it do? Who may approve?":              0,
		"Whoever pushed is an author":                    2, // the word, and the clause
		"mends and is mended anew, amended":              3,
		"Understand the standard, recommend it":          0,
	} {
		if _, found := count([]piece{{text: text}}); len(found) != want {
			t.Errorf("%q: got %d listed words, want %d: %v", text, len(found), want, found)
		}
	}
}

// helpTexts is the help of every command, found by following the lists of commands from the root.
func helpTexts(t *testing.T) []piece {
	t.Helper()
	var pieces []piece
	for command, text := range helpPages(t) {
		pieces = append(pieces, piece{file: strings.Join(append([]string{"countersign"}, strings.Fields(command)...), " ") + " --help", line: 1, text: text})
	}
	return pieces
}

// helpPages has the help of every command by its words after "countersign".
func helpPages(t *testing.T) map[string]string {
	t.Helper()
	pages := map[string]string{}
	line := regexp.MustCompile(`(?m)^  ([a-z-]+) +\S`)
	var visit func(path []string)
	visit = func(path []string) {
		var out bytes.Buffer
		env := cli.Environment{Stdin: strings.NewReader(""), Stdout: &out, Stderr: io.Discard, Now: time.Now,
			Getenv: func(string) string { return "" }, Width: 80}
		if code := cli.Main(t.Context(), append(slices.Clone(path), "--help"), env); code != 0 {
			t.Fatalf("%v --help: exit code %d", path, code)
		}
		text := out.String()
		pages[strings.Join(path, " ")] = text
		_, list, ok := strings.Cut(text, "Commands:\n")
		if !ok {
			return
		}
		list, _, _ = strings.Cut(list, "\n\n")
		for _, m := range line.FindAllStringSubmatch(list, -1) {
			visit(append(slices.Clone(path), m[1]))
		}
	}
	visit(nil)
	return pages
}

// markdownCode matches fenced blocks, indented lines and code within a line.
var markdownCode = regexp.MustCompile("(?ms)^[ \t]*```.*?^[ \t]*```|^    [^\n]*$|`[^`\n]*`")

// markdownTexts is the README, the guides and the pages of .github, without code: output in them comes from
// messages, which are counted on their own.
func markdownTexts(t *testing.T) []piece {
	t.Helper()
	files := []string{filepath.Join(root, "README.md")}
	for _, dir := range []string{"cmd/countersign/guides", ".github"} {
		files = append(files, filesBelow(t, dir, ".md")...)
	}
	var pieces []piece
	for _, file := range files {
		text := markdownCode.ReplaceAllStringFunc(readText(t, file), func(s string) string { return strings.Repeat("\n", strings.Count(s, "\n")) })
		pieces = append(pieces, piece{file: relative(file), line: 1, text: text})
	}
	return pieces
}

// goTexts returns the messages and the comments of the product's Go files. A message is any string of three words.
func goTexts(t *testing.T) (messages, comments []piece) {
	t.Helper()
	for _, file := range filesBelow(t, ".", ".go") {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, file, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		at := func(p token.Pos) int { return set.Position(p).Line }
		for _, c := range f.Comments {
			comments = append(comments, piece{file: relative(file), line: at(c.Pos()), text: c.Text()})
		}
		ast.Inspect(f, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				return true
			}
			if text, err := strconv.Unquote(lit.Value); err == nil && len(strings.Fields(text)) >= 3 {
				messages = append(messages, piece{file: relative(file), line: at(lit.Pos()), text: text})
			}
			return true
		})
	}
	return messages, comments
}

// regoTexts is the text of the library's rules that people read: descriptions and messages.
func regoTexts(t *testing.T) []piece {
	t.Helper()
	comment, literal := regexp.MustCompile(`(?m)^\s*#(.*)$`), regexp.MustCompile("\"(?:[^\"\\\\\n]|\\\\.)*\"")
	var pieces []piece
	for _, file := range filesBelow(t, "policy/library", ".rego") {
		if strings.HasSuffix(file, "_test.rego") {
			continue
		}
		for i, line := range strings.Split(readText(t, file), "\n") {
			texts := literal.FindAllString(line, -1)
			if m := comment.FindStringSubmatch(line); m != nil {
				texts = m[1:]
			}
			for _, text := range texts {
				if len(strings.Fields(text)) >= 3 {
					pieces = append(pieces, piece{file: relative(file), line: i + 1, text: strings.Trim(text, `"# `)})
				}
			}
		}
	}
	return pieces
}

// root is the top of the source tree, from this package.
const root = "../.."

func relative(file string) string {
	r, err := filepath.Rel(root, file)
	if err != nil {
		return file
	}
	return filepath.ToSlash(r)
}

func readText(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// filesBelow lists files by their ending, without test data, other modules' files and what npm installed.
func filesBelow(t *testing.T, dir, ending string) []string {
	t.Helper()
	top := filepath.Join(root, dir)
	if _, err := os.Stat(top); os.IsNotExist(err) {
		return nil
	}
	var files []string
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != top && (d.Name() == "testdata" || d.Name() == "node_modules" || d.Name() == ".git"):
			return fs.SkipDir
		case !d.IsDir() && strings.HasSuffix(path, ending):
			files = append(files, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
