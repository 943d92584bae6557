package strict

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	validator "github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/text/unicode/norm"
	"gopkg.in/yaml.v3"
	"pgregory.net/rapid"

	"github.com/countersign/countersign/schemas"
	"github.com/countersign/countersign/schemas/jsonschema"
)

// publishedSchema compiles a published schema by itself, as anybody else would.
func publishedSchema(t testing.TB, name string) *validator.Schema {
	t.Helper()
	raw, err := jsonschema.Get(name)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := validator.UnmarshalJSON(strings.NewReader(string(raw)))
	if err != nil {
		t.Fatal(err)
	}
	c := validator.NewCompiler()
	c.UseLoader(validator.SchemeURLLoader{}) // which knows no scheme
	c.AssertFormat()
	if err := c.AddResource("https://countersign.dev/schemas/v1/"+name+".json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("https://countersign.dev/schemas/v1/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// plainJSON reads YAML as a program without our decoder would: timestamps become text.
func plainJSON(t testing.TB, n *yaml.Node) any {
	t.Helper()
	switch n.Kind {
	case yaml.MappingNode:
		m := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			m[n.Content[i].Value] = plainJSON(t, n.Content[i+1])
		}
		return m
	case yaml.SequenceNode:
		list := []any{}
		for _, c := range n.Content {
			list = append(list, plainJSON(t, c))
		}
		return list
	}
	if n.Tag == "!!timestamp" || n.Tag == "!!merge" {
		return n.Value
	}
	var v any
	if err := n.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// schemaAccepts says what the published schemas (the kind's own, and document) say of a file's documents.
func schemaAccepts(t testing.TB, set map[string]*validator.Schema, content []byte, docs []schemas.Document) error {
	t.Helper()
	i := 0
	for c := range split(content) {
		root, err := parse(c.text)
		if err != nil || root == nil {
			continue
		}
		v := plainJSON(t, root)
		for _, name := range []string{string(docs[i].Kind), "document"} {
			if err := set[name].Validate(v); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		i++
	}
	return nil
}

func publishedSet(t testing.TB) map[string]*validator.Schema {
	set := map[string]*validator.Schema{}
	for _, name := range jsonschema.Names() {
		set[name] = publishedSchema(t, name)
	}
	return set
}

// TestDecodedIsValid: what the decoder accepts, the published schemas accept.
func TestDecodedIsValid(t *testing.T) {
	t.Parallel()
	set := publishedSet(t)
	for _, file := range testFiles(t, "good") {
		path, content := readCase(t, file)
		if err := schemaAccepts(t, set, content, mustDecode(t, path, string(content))); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// TestInvalidIsRefused is the other way: what the published schemas refuse, the decoder refuses. Each
// document of the good corpus is spoilt in one place, everywhere in turn.
func TestInvalidIsRefused(t *testing.T) {
	t.Parallel()
	set := publishedSet(t)
	refused := 0
	for _, file := range testFiles(t, "good") {
		path, content := readCase(t, file)
		docs := mustDecode(t, path, string(content))
		i := -1
		for c := range split(content) {
			root, err := parse(c.text)
			if err != nil || root == nil {
				continue
			}
			i++
			spoil(root, func() {
				text, err := yaml.Marshal(root)
				if err != nil {
					t.Fatal(err)
				}
				again, err := parse(text)
				if err != nil {
					t.Fatal(err)
				}
				invalid := set[string(docs[i].Kind)].Validate(plainJSON(t, again))
				got, errs := Decode(path, text)
				switch {
				case invalid != nil && len(errs) == 0:
					t.Errorf("%s: the schema refuses what the decoder accepts: %v\n%s", file, invalid, text)
				case len(errs) == 0:
					if err := schemaAccepts(t, set, text, got); err != nil {
						t.Errorf("%s: the decoder accepts what the schema refuses: %v\n%s", file, err, text)
					}
				default:
					refused++
					checkErrors(t, path, text, errs)
				}
			})
		}
	}
	if refused < 500 {
		t.Errorf("only %d spoilt documents were refused: the test has lost its teeth", refused)
	}
}

// spoil changes a tree in one place after the other, calls try each time, and puts it back.
func spoil(n *yaml.Node, try func()) {
	before := *n
	if n.Kind != yaml.DocumentNode {
		for _, other := range []yaml.Node{
			{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"},
			{Kind: yaml.ScalarNode, Tag: "!!int", Value: "7"},
			{Kind: yaml.ScalarNode, Tag: "!!bool", Value: "true"},
			{Kind: yaml.ScalarNode, Tag: "!!str", Value: ""},
			{Kind: yaml.ScalarNode, Tag: "!!str", Value: "No Such"},
			{Kind: yaml.MappingNode, Tag: "!!map"},
			{Kind: yaml.SequenceNode, Tag: "!!seq"},
		} {
			*n = other
			try()
		}
		*n = before
	}
	if n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i].Value
			n.Content[i].Value = "strange_" + key
			try()
			n.Content[i].Value = key
			content := n.Content
			n.Content = append(append([]*yaml.Node(nil), content[:i]...), content[i+2:]...)
			try()
			n.Content = content
		}
	}
	for i, c := range n.Content {
		if n.Kind != yaml.MappingNode || i%2 == 1 {
			spoil(c, try)
		}
	}
}

// TestGeneratedIsDecoded makes requests at random, writes them as YAML and reads them back.
func TestGeneratedIsDecoded(t *testing.T) {
	t.Parallel()
	set := publishedSet(t)
	rapid.Check(t, func(r *rapid.T) {
		// The writer leaves a number that overflows unquoted, and the decoder refuses it.
		exact := func(s string) bool {
			_, err := strconv.ParseFloat(s, 64)
			return !errors.Is(err, strconv.ErrRange)
		}
		name := rapid.StringMatching(`[a-z0-9]([a-z0-9._-]{0,20}[a-z0-9])?`).Filter(exact)
		application := rapid.StringMatching(`[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?`).Filter(exact)
		typ := rapid.StringMatching(`[a-z][a-z0-9_]{0,10}`)
		source := rapid.OneOf(rapid.StringMatching(`[ -~]{1,30}`), rapid.String(), rapid.SampledFrom([]string{"yes", "null", "1", "0x10", "2027-01-31", "<<", "*", "&a", "!b", "ü", "- x", "a: b", "#"})).
			Filter(func(s string) bool {
				// The writer escapes some characters as hexadecimal: an accent behind one would join its last letter.
				written, err := yaml.Marshal(s)
				return s != "" && len([]rune(s)) <= 1024 && schemas.NameFault(s) == "" && exact(s) && err == nil && norm.NFC.IsNormal(written)
			})
		var entries []map[string]any
		seen := map[string]bool{}
		for range rapid.IntRange(1, 5).Draw(r, "entries") {
			e := map[string]any{"type": typ.Draw(r, "type"), "source_name": source.Draw(r, "name")}
			if key := fmt.Sprint(e["type"], "/", e["source_name"]); seen[key] {
				continue
			} else {
				seen[key] = true
			}
			if rapid.Bool().Draw(r, "privileged") {
				e["privileges"] = rapid.SliceOfNDistinct(rapid.StringMatching(`[A-Z]{1,8}`), 1, 3, rapid.ID).Draw(r, "privileges")
			}
			if rapid.Bool().Draw(r, "temporary") {
				e["expires"] = time.Unix(rapid.Int64Range(0, 4e9).Draw(r, "expires"), 0).UTC().Format(time.RFC3339)
			}
			entries = append(entries, e)
		}
		doc := map[string]any{
			"apiVersion": schemas.APIVersion, "kind": "ConnectionAssignment",
			"metadata": map[string]any{"name": name.Draw(r, "metadata.name")},
			"spec": map[string]any{
				"application": application.Draw(r, "application"),
				"connection":  map[string]any{"type": typ.Draw(r, "connection.type"), "source_name": source.Draw(r, "connection.name")},
				"grants":      entries,
			},
		}
		text, err := yaml.Marshal(doc)
		if err != nil {
			r.Fatal(err)
		}
		docs, errs := Decode("requests/a.yaml", text)
		if len(errs) > 0 {
			r.Fatalf("%v\n%s", errs, text)
		}
		if err := schemaAccepts(t, set, text, docs); err != nil {
			r.Fatal(err)
		}
		request := docs[0].Value.(*schemas.Request)
		for i, e := range request.Grants {
			if e.SourceName != entries[i]["source_name"] || e.Type != entries[i]["type"] {
				r.Fatalf("grant %d is %+v, want %v", i, e, entries[i])
			}
			if p := docs[0].At(fmt.Sprintf("spec.grants[%d].source_name", i)); p.Line <= docs[0].At("spec.grants").Line {
				r.Fatalf("grant %d stands at %v", i, p)
			}
		}
	})
}

func TestCheckPlaces(t *testing.T) {
	t.Parallel()
	request := string(benchDocument(1))
	app := "apiVersion: countersign.dev/v1\nkind: Application\nmetadata: {name: warehouse}\nspec: {connector: c, owners: [user:a], scope: {}}\n"
	for _, c := range []struct{ path, content, want string }{
		{"requests/a.yaml", request, ""},
		{"applications/warehouse.yaml", app, ""},
		{"applications/deep/warehouse.yml", app, ""},
		{"requests/warehouse.yaml", app, "requests/warehouse.yaml:2:1: kind: Application documents don't belong in requests/ (expected requests, Admission, BudgetOverride or Acknowledgement); move it to applications/"},
		{"applications/a.yaml", request, "applications/a.yaml:2:1: kind: ConnectionAssignment documents don't belong in applications/ (expected Application); move it to requests/"},
		{"applications/other.yaml", app, `applications/other.yaml:3:12: metadata.name: the application is not called as its file (expected "other"); rename the file or the application`},
		{"applications/warehouse.yaml", app + "---\n" + app, "applications/warehouse.yaml:6:1: a second application in one file; give each application a file of its own"},
		{"elsewhere/a.yaml", request, "elsewhere/a.yaml:1:1: ConnectionAssignment documents don't belong here (expected requests/ or applications/)"},
	} {
		if got := CheckPlaces(c.path, mustDecode(t, c.path, c.content), nil).Error(); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.path, got, c.want)
		}
	}
}

// FuzzDecode: no input makes Decode panic, slip through what it promises to refuse, misplace an error or
// print a secret.
func FuzzDecode(f *testing.F) {
	for _, folder := range []string{"good", "bad"} {
		for _, file := range testFiles(f, folder) {
			if filepath.Base(file) == "large-document.yaml" {
				continue
			}
			path, content := readCase(f, file)
			f.Add(path, content)
		}
	}
	// A canary is no identifier, as a secret seldom is: a key that looks like a name may be printed.
	const secret = "C4nary-Secret/9!"
	checker := NewChecker()
	f.Fuzz(func(t *testing.T, path string, content []byte) {
		if schemas.CheckPath(path) != nil {
			path = "requests/a.yaml" // paths are checked before files are read
		}
		docs, errs := Decode(path, content)
		if (len(docs) == 0) == (len(errs) == 0) {
			t.Fatalf("%d documents and %d errors", len(docs), len(errs))
		}
		checkErrors(t, path, content, errs)
		fast, fastErrs := DecodeFast(path, content)
		if len(fast) != len(docs) || fastErrs.Error() != errs.Error() {
			t.Errorf("DecodeFast says otherwise: %v, %v", fastErrs, errs)
		}
		if len(errs) == 0 {
			for c := range split(content) {
				root, err := parse(c.text)
				if err != nil {
					t.Fatal(err)
				}
				if root != nil {
					checkAccepted(t, root, 1)
				}
			}
			for _, d := range docs {
				d.At("spec.grants[0].expires")
				if _, err := schemas.Canonical(d.Value); err != nil {
					t.Error(err)
				}
				checker.Payload(d, []byte(`{"properties": {"a": {"type": "string"}}}`))
			}
		}
		// The same bytes around a secret, in the places where one might be written.
		for _, form := range []string{"%s", "'%s'", "\"%s\"", "{%s: }", "[%s]", "{env: %s}", "*%s", "&%s x", "!%s x", "postgres://u:%s@h/db", "|\n      %s", "%s: a: b", "\"%s"} {
			text := "apiVersion: countersign.dev/v1\nkind: Application\nmetadata: {name: w}\nspec:\n  connector: c\n  owners: [user:a]\n  scope: {}\n  config:\n    dsn: " +
				fmt.Sprintf(form, secret) + "\n" + string(content)
			docs, errs := Decode("applications/w.yaml", []byte(text))
			if strings.Contains(errs.Error(), "C4nary") {
				t.Fatalf("the secret is printed: %s", errs)
			}
			checkErrors(t, "applications/w.yaml", []byte(text), errs)
			for _, d := range docs {
				if d.Kind != schemas.KindApplication {
					continue
				}
				if errs := checker.Config(d, []byte(configSchema)); strings.Contains(errs.Error(), "C4nary") {
					t.Fatalf("the secret is printed: %s", errs)
				}
			}
		}
	})
}

// checkAccepted fails for what no accepted document may have.
func checkAccepted(t *testing.T, n *yaml.Node, depth int) {
	if depth > schemas.MaxDepth+1 || n.Kind == yaml.AliasNode || n.Anchor != "" || n.Style&yaml.TaggedStyle != 0 {
		t.Fatalf("accepted: depth %d, node %+v", depth, n)
	}
	if n.Kind == yaml.ScalarNode {
		if f := schemas.TextFault(n.Value, true); f != "" {
			t.Fatalf("accepted: %s", f)
		}
	}
	seen := map[string]bool{}
	for i, c := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 {
			if seen[schemas.FoldKey(c.Value)] || c.Value == "<<" {
				t.Fatalf("accepted: key %q", c.Value)
			}
			seen[schemas.FoldKey(c.Value)] = true
		}
		checkAccepted(t, c, depth+1)
	}
}
