package strict

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/countersign/countersign/schemas"
)

// canary stands where a secret would, in every file of testdata/bad that has one.
var update = flag.Bool("update", false, "rewrite golden files")

const canary = "hunter2"

// readCase returns a file of testdata and the path that its first line says ("# path: …"), or one in
// the requests folder.
func readCase(t testing.TB, file string) (path string, content []byte) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	path = "requests/" + filepath.Base(file)
	if first, _, _ := bytes.Cut(content, []byte("\n")); bytes.HasPrefix(first, []byte("# path: ")) {
		path = strings.TrimSpace(string(first[len("# path: "):]))
	}
	return path, content
}

func testFiles(t testing.TB, folder string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", folder, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases in %s: %v", folder, err)
	}
	return files
}

func TestBad(t *testing.T) {
	t.Parallel()
	for _, file := range testFiles(t, "bad") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			path, content := readCase(t, file)
			var docs []schemas.Document
			var errs schemas.ErrorList
			if took := work(t, func() { docs, errs = Decode(path, content) }); took > 2*time.Second {
				t.Errorf("took %s", took)
			}
			if docs != nil || len(errs) == 0 {
				t.Fatalf("got %d documents and %d errors, want errors and no document", len(docs), len(errs))
			}
			got := errs.Error() + "\n"
			golden := strings.TrimSuffix(file, ".yaml") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
			checkErrors(t, path, content, errs)
			if strings.Contains(got, canary) {
				t.Errorf("a secret is printed:\n%s", got)
			}
			if _, fast := DecodeFast(path, content); fast.Error() != errs.Error() {
				t.Errorf("DecodeFast says otherwise:\n%s", fast)
			}
		})
	}
}

// checkErrors holds errors to what every error promises.
func checkErrors(t testing.TB, path string, content []byte, errs schemas.ErrorList) {
	t.Helper()
	lines := bytes.Count(content, []byte("\n")) + 1
	for _, e := range errs {
		if e.Path != path || e.Line < 1 || e.Line > lines || e.Column < 1 {
			t.Errorf("the error stands at %s:%d:%d, which is not in the file of %d lines: %s", e.Path, e.Line, e.Column, lines, e)
		}
		if e.Msg == "" {
			t.Errorf("an error without message at line %d", e.Line)
		}
	}
}

func TestGood(t *testing.T) {
	t.Parallel()
	for _, file := range testFiles(t, "good") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			path, content := readCase(t, file)
			docs, errs := Decode(path, content)
			if len(errs) > 0 {
				t.Fatal(errs)
			}
			fast, errs := DecodeFast(path, content)
			if len(errs) > 0 {
				t.Fatal(errs)
			}
			if diff := cmp.Diff(docs, fast, cmpopts.IgnoreFields(schemas.Document{}, "Places")); diff != "" {
				t.Errorf("DecodeFast differs (-Decode +DecodeFast):\n%s", diff)
			}
			for i, doc := range docs {
				if doc.Index != i || doc.Position.Path != path || doc.Position.Line < 1 {
					t.Errorf("document %d has index %d at %v", i, doc.Index, doc.Position)
				}
				if errs := CheckPlaces(path, docs, nil); len(errs) > 0 {
					t.Error(errs)
				}
				if _, err := schemas.Canonical(doc.Value); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func mustDecode(t testing.TB, path, content string) []schemas.Document {
	t.Helper()
	docs, errs := Decode(path, []byte(content))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	return docs
}

func TestDecodeValues(t *testing.T) {
	t.Parallel()
	_, content := readCase(t, "testdata/good/design.yaml")
	docs := mustDecode(t, "requests/design.yaml", string(content))
	expires := time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC)
	sales := schemas.ConnectionRef{Type: "role", SourceName: "sales_reader"}
	want := []any{
		&schemas.Request{
			Kind:        schemas.KindConnectionCreation,
			Metadata:    schemas.Metadata{Name: "sales-reader", Reason: "Quarterly revenue dashboards read the sales schema", Ticket: "DATA-412"},
			Application: "warehouse", Connection: sales,
			Payload: map[string]any{"login": false, "comment": "Readers of sales"},
		},
		&schemas.Request{
			Kind:        schemas.KindConnectionAssignment,
			Metadata:    schemas.Metadata{Name: "sales-reader-access", Reason: "Quarterly revenue dashboards"},
			Application: "warehouse", Provisioning: schemas.ProvisioningDirect, Connection: sales,
			Grants: []schemas.Entry{
				{Type: "schema", SourceName: "sales", Privileges: []string{"USAGE"}},
				{Type: "table", SourceName: "sales.orders", Privileges: []string{"SELECT"}},
				{Type: "role", SourceName: "base_reader"},
				{Type: "user", SourceName: "alice", Expires: &expires},
			},
			Revokes: []schemas.Entry{{Type: "table", SourceName: "sales.payroll", Privileges: []string{"SELECT"}}},
		},
		&schemas.Request{
			Kind:        schemas.KindConnectionDeletion,
			Metadata:    schemas.Metadata{Name: "retire-old-reader", Reason: "Replaced by sales_reader"},
			Application: "warehouse", Connection: schemas.ConnectionRef{Type: "role", SourceName: "old_reader"},
		},
	}
	var got []any
	for _, d := range docs {
		got = append(got, d.Value)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
}

func TestDecodeScalars(t *testing.T) {
	t.Parallel()
	_, content := readCase(t, "testdata/good/scalars.yaml")
	docs := mustDecode(t, "requests/scalars.yaml", string(content))
	got := docs[0].Value.(*schemas.Request)
	want := map[string]any{
		"login": true, "inherit": false, "connection_limit": -1, "ratio": 0.25, "exponent": 1000.0,
		"nothing": nil, "also_nothing": nil, "valid_until": "2027-01-31T00:00:00Z", "comment": `a "quoted" é text`,
		"star": "*", "bang": "x ! y", "list": []any{"a", map[string]any{"b": []any{"c"}}}, "url": "https://user@example.test/?x=1",
	}
	if diff := cmp.Diff(want, got.Payload); diff != "" {
		t.Errorf("payload (-want +got):\n%s", diff)
	}
	if got.Connection.SourceName != "yes" || got.Metadata.Ticket != "2027-01-31" {
		t.Errorf("text was read as something else: %+v", got)
	}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	settings := mustDecode(t, schemas.SettingsPath, "apiVersion: countersign.dev/v1\nkind: Settings\nspec: {forge: {kind: local}, owners: [user:a], folders: {policy: rules}}\n")[0].Value.(*schemas.Settings)
	wantSettings := schemas.SettingsSpec{
		Branch: "main", Folders: schemas.Folders{Requests: "requests", Applications: "applications", Policy: "rules"},
		Forge: schemas.Forge{Kind: "local"}, Signoff: "signed", Owners: []string{"user:a"},
	}
	if diff := cmp.Diff(wantSettings, settings.Spec); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
	doc := mustDecode(t, "applications/w.yaml", "apiVersion: countersign.dev/v1\nkind: Application\nmetadata: {name: w}\nspec: {connector: c, owners: [user:a], scope: {}}\n")[0]
	app := doc.Value.(*schemas.Application)
	wantApp := schemas.Application{Name: "w", Position: schemas.Position{Path: "applications/w.yaml", Line: 1, Column: 1}, Spec: schemas.ApplicationSpec{
		Connector: "c", Owners: []string{"user:a"}, Scope: map[string][]string{},
		Provisioning: schemas.ProvisioningDirect, Mode: schemas.ModeFull, Unmanaged: schemas.UnmanagedReport, Drift: schemas.Drift{Mode: schemas.DriftReport},
	}}
	if diff := cmp.Diff(&wantApp, app); diff != "" {
		t.Errorf("application (-want +got):\n%s", diff)
	}
	if doc.Metadata.Name != "w" {
		t.Errorf("metadata %+v", doc.Metadata)
	}
}

func TestAt(t *testing.T) {
	t.Parallel()
	docs := mustDecode(t, "requests/a.yaml", `# first
apiVersion: countersign.dev/v1
kind: ConnectionAssignment
metadata: {name: a}
spec:
  application: warehouse
  connection: {type: role, source_name: r}
  grants:
    - type: user
      source_name: ü
      expires: 2027-01-31T00:00:00Z
    - {type: table, source_name: ü, privileges: [SELECT, INSERT]}
---
apiVersion: countersign.dev/v1
kind: ConnectionCreation
metadata: {name: b}
spec:
  application: warehouse
  connection: {type: role, source_name: r}
  payload: {"a b": {"c\"]": 1}, d.e: 2}
`)
	for _, c := range []struct {
		doc          int
		field        string
		line, column int
	}{
		{0, "", 2, 1},
		{0, "kind", 3, 1},
		{0, "spec.grants", 8, 3},
		{0, "spec.grants[0]", 9, 7},
		{0, "spec.grants[0].expires", 11, 7},
		{0, "spec.grants[1].privileges[1]", 12, 58},
		{0, "spec.grants[7].privileges", 8, 3},
		{0, "spec.connection.source_id", 7, 3},
		{0, "nothing.here", 2, 1},
		{1, "", 14, 1},
		{1, "metadata.name", 16, 12},
		{1, `spec.payload["a b"]`, 20, 13},
		{1, `spec.payload["a b"]["c\"]"]`, 20, 21},
		{1, `spec.payload["a b"]["nope"]`, 20, 13},
		{1, `spec.payload["d.e"]`, 20, 33},
		{1, `spec.payload["x"].y`, 20, 3},
	} {
		got := docs[c.doc].At(c.field)
		want := schemas.Position{Path: "requests/a.yaml", Line: c.line, Column: c.column}
		if got != want {
			t.Errorf("document %d At(%q) = %v, want %v", c.doc, c.field, got, want)
		}
	}
	fast, _ := DecodeFast("requests/a.yaml", benchDocument(1))
	if got := fast[0].At("spec.grants"); got.Line != 1 {
		t.Errorf("DecodeFast At = %v", got)
	}
}

// TestBounds holds the limits to the byte.
func TestBounds(t *testing.T) {
	t.Parallel()
	doc := string(benchDocument(1))
	fill := func(n int) string { return doc + "#" + strings.Repeat("x", n-len(doc)-2) + "\n" }
	for _, c := range []struct {
		name, content string
		ok            bool
	}{
		{"document of 64 KiB", fill(schemas.MaxDocumentBytes), true},
		{"document above", fill(schemas.MaxDocumentBytes + 1), false},
		{"file of 1 MiB", strings.Repeat("---\n"+fill(schemas.MaxDocumentBytes-4), 16), true},
		{"file above", strings.Repeat("---\n"+fill(schemas.MaxDocumentBytes-4), 16) + "\n", false},
		{"most documents", strings.Repeat("---\n"+doc, schemas.MaxDocuments), true},
		{"more documents", strings.Repeat("---\n"+doc, schemas.MaxDocuments+1), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if _, errs := DecodeFast("requests/a.yaml", []byte(c.content)); (len(errs) == 0) != c.ok {
				t.Errorf("ok %v, want %v: %v", len(errs) == 0, c.ok, errs)
			}
		})
	}
	for _, c := range []struct {
		path   string
		people int
		ok     bool
	}{
		{schemas.PeoplePath, 20_000, true},
		{schemas.PeoplePath, 100_000, false},
		{"requests/people.yaml", 2000, false},
	} {
		var people strings.Builder
		people.WriteString("apiVersion: countersign.dev/v1\nkind: People\nspec:\n  people:\n")
		for i := range c.people {
			fmt.Fprintf(&people, "    - {login: user%d, emails: [user%d@acme.test]}\n", i, i)
		}
		if _, errs := DecodeFast(c.path, []byte(people.String())); (len(errs) == 0) != c.ok {
			t.Errorf("%d people in %s: ok %v, want %v: %v", c.people, c.path, len(errs) == 0, c.ok, errs)
		}
	}
	depth := func(n int) string {
		return fmt.Sprintf("apiVersion: countersign.dev/v1\nkind: ConnectionCreation\nmetadata: {name: a}\nspec:\n  application: w\n  connection: {type: role, source_name: r}\n  payload: %s1%s\n",
			strings.Repeat("{a: ", n), strings.Repeat("}", n))
	}
	if _, errs := Decode("requests/a.yaml", []byte(depth(schemas.MaxDepth-2))); len(errs) > 0 {
		t.Error(errs)
	}
	if _, errs := Decode("requests/a.yaml", []byte(depth(schemas.MaxDepth-1))); len(errs) == 0 {
		t.Error("a document that is too deep is accepted")
	}
}

// TestTwinAmongManyKeys covers mappings with so many keys that they are looked up in a map.
func TestTwinAmongManyKeys(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ last, want string }{
		{"k100", ""},
		{"k7", "duplicate key"},
		{"K7", "differs from another only by case or Unicode form"},
	} {
		var payload strings.Builder
		for i := range 100 {
			fmt.Fprintf(&payload, "    k%d: v\n", i)
		}
		_, errs := Decode("requests/a.yaml", []byte("apiVersion: countersign.dev/v1\nkind: ConnectionCreation\nmetadata: {name: a}\nspec:\n  application: w\n"+
			"  connection: {type: role, source_name: r}\n  payload:\n"+payload.String()+"    "+c.last+": v\n"))
		if got := fmt.Sprint(errs); (len(errs) > 0) != (c.want != "") || !strings.Contains(got, c.want) {
			t.Errorf("last key %s: got %s, want %q", c.last, got, c.want)
		}
	}
}

func TestManyErrorsAreBounded(t *testing.T) {
	t.Parallel()
	_, errs := Decode("requests/a.yaml", bytes.Repeat([]byte("\u202e\n"), 5000))
	if len(errs) != schemas.MaxErrors+1 {
		t.Errorf("%d errors, want %d", len(errs), schemas.MaxErrors+1)
	}
}
