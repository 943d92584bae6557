package schemas

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"
	"pgregory.net/rapid"
)

func TestSchemaNames(t *testing.T) {
	t.Parallel()
	want := []string{
		"Acknowledgement", "Admission", "Application", "BudgetOverride", "ConnectionAssignment", "ConnectionCreation",
		"ConnectionDeletion", "People", "Settings", "access", "conformance", "connector-answer", "connector-request", "connectors", "decision", "doctor", "document", "fulfil", "fulfilment-answer", "fulfilment-request", "plan", "policy-input", "preview", "record",
		"run", "status", "validate",
	}
	if diff := cmp.Diff(want, SchemaNames()); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	for _, name := range append(SchemaNames(), "connection-assignment", "PolicyInput", "APPLICATION") {
		raw, err := JSONSchema(name)
		if err != nil {
			t.Error(err)
			continue
		}
		var s struct {
			ID     string `json:"$id"`
			Schema string `json:"$schema"`
		}
		if err := json.Unmarshal(raw, &s); err != nil {
			t.Error(err)
		}
		if !strings.HasPrefix(s.ID, baseURL) || s.Schema != "https://json-schema.org/draft/2020-12/schema" {
			t.Errorf("%s is %+v", name, s)
		}
	}
	_, err := JSONSchema("aplication")
	if err == nil || !strings.Contains(err.Error(), "did you mean Application?") || !strings.Contains(err.Error(), "policy-input") {
		t.Errorf("unknown name: %v", err)
	}
}

// publishedSchema compiles a published schema by itself, as anybody else would.
func publishedSchema(t testing.TB, name string) *jsonschema.Schema {
	t.Helper()
	raw, err := JSONSchema(name)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(raw)))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.UseLoader(noLoader{})
	c.AssertFormat()
	if err := c.AddResource(baseURL+name+".json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(baseURL + name + ".json")
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
func schemaAccepts(t testing.TB, set map[string]*jsonschema.Schema, content []byte, docs []Document) error {
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

func publishedSet(t testing.TB) map[string]*jsonschema.Schema {
	set := map[string]*jsonschema.Schema{}
	for _, name := range SchemaNames() {
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
		name := rapid.StringMatching(`[a-z0-9]([a-z0-9._-]{0,20}[a-z0-9])?`)
		application := rapid.StringMatching(`[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?`)
		typ := rapid.StringMatching(`[a-z][a-z0-9_]{0,10}`)
		source := rapid.OneOf(rapid.StringMatching(`[ -~]{1,30}`), rapid.String(), rapid.SampledFrom([]string{"yes", "null", "1", "0x10", "2027-01-31", "<<", "*", "&a", "!b", "ü", "- x", "a: b", "#"})).
			Filter(func(s string) bool { return s != "" && len([]rune(s)) <= 1024 && nameFault(s) == "" })
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
			"apiVersion": APIVersion, "kind": "ConnectionAssignment",
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
		request := docs[0].Value.(*Request)
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

// TestOutputsAreValid holds outputs as they are written to their schemas.
func TestOutputsAreValid(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	for name, v := range map[string]any{
		"plan": Plan{APIVersion: APIVersion, Applications: []ApplicationPlan{{
			Application: "w", Operations: []Operation{{ID: "x", Kind: OperationGrant, Target: &Name{"table", "t"}, Expires: &now}}, ReadAt: now,
		}}},
		"decision": Decision{APIVersion: APIVersion, Denials: []RuleResult{}, Warnings: []RuleResult{}, Required: []Requirement{{From: []string{"user:a"}}}},
		"policy-input": PolicyInput{APIVersion: APIVersion, Change: []ChangedDocument{{Request: &Request{Kind: KindConnectionCreation, Payload: map[string]any{"a": nil}}}}, ControlFiles: []string{}, Plan: []PolicyOperation{},
			Applications: map[string]*PolicyApplication{}, Holdings: map[string][]string{}, Signoffs: []PolicySignoff{}, Now: now,
			PullRequest: PolicyPullRequest{Contributors: []string{}, Beneficiaries: []string{}}, Settings: PolicySettings{Owners: []string{}}},
		"preview":  Preview{APIVersion: APIVersion, Kind: "Preview", Files: []FileChange{{Path: "a"}}, Errors: []Finding{}, Plan: Plan{APIVersion: APIVersion, Applications: []ApplicationPlan{}}, Gained: []Access{}, Lost: []Access{}, Unmet: []Requirement{}},
		"run":      RunReport{APIVersion: APIVersion, Kind: "Drift", Admissions: []AdmissionRecord{}, Quarantined: []QuarantinedFile{}, Applications: []ApplicationOutcome{}, Next: &now},
		"status":   StatusReport{APIVersion: APIVersion, Kind: "Status", Requests: []RequestStatus{{}}, Quarantined: []QuarantinedFile{}},
		"access":   AccessReport{APIVersion: APIVersion, Kind: "Access", Entries: []AccessEntry{{Access: Access{Via: []Name{}}, Steps: []AccessStep{{}}}}},
		"doctor":   DoctorReport{APIVersion: APIVersion, Kind: "Doctor", Checks: []Check{{State: CheckOpen, Name: "a", Detail: "b", Fix: "c"}}},
		"validate": ValidateReport{APIVersion: APIVersion, Kind: "Validate", Errors: []Finding{{Code: "a"}}},
		"record":   Record{APIVersion: APIVersion, Time: now, Verification: &VerificationRecord{Before: 1}, Finding: &Finding{}},
	} {
		raw, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(raw)))
		if err != nil {
			t.Fatal(err)
		}
		if err := publishedSchema(t, name).Validate(doc); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

const configSchema = `{
	"$schema": "https://json-schema.org/draft/2020-12/schema",
	"type": "object",
	"required": ["dsn"],
	"properties": {
		"dsn": {"$ref": "#/$defs/secret"},
		"apply_dsn": {"type": "string", "x-secret": true, "description": "for apply"},
		"timeout": {"type": "integer", "minimum": 1, "default": 10},
		"sslmode": {"enum": ["disable", "require"]},
		"nested": {"type": "object", "properties": {"key_file": {"x-secret": true}}, "additionalProperties": false},
		"labels": {"type": "object", "propertyNames": {"pattern": "^[a-z]+$"}}
	},
	"$defs": {"secret": {"type": "object", "x-secret": true}},
	"additionalProperties": false
}`

func TestCheckerConfig(t *testing.T) {
	t.Parallel()
	checker := NewChecker()
	for _, c := range []struct {
		name, config string
		want         []string
	}{
		{"env", `{dsn: {env: WAREHOUSE_DSN}}`, nil},
		{"file", `{dsn: {file: /run/secrets/dsn}, apply_dsn: {env: B}, timeout: 5, nested: {key_file: {file: /k}}}`, nil},
		{"absent", `{}`, []string{"spec.config.dsn: is missing"}},
		{"literal", `{dsn: hunter2}`, []string{"spec.config.dsn: a literal where a reference to a secret belongs (expected {env: NAME} or {file: /path}); secrets never stand in Git: change it if this was ever pushed"}},
		{"literal number", `{dsn: {env: A}, apply_dsn: 22222}`, []string{"spec.config.apply_dsn: a literal where"}},
		{"literal as key", `{dsn: {hunter2: }}`, []string{"spec.config.dsn: a literal where"}},
		{"literal in list", `{dsn: [hunter2]}`, []string{"spec.config.dsn: a literal where"}},
		{"neither", `{dsn: {}}`, []string{"spec.config.dsn: a literal where"}},
		{"both", `{dsn: {env: A, file: /b}}`, []string{"spec.config.dsn: a literal where"}},
		{"null", `{dsn: null}`, []string{"spec.config.dsn: a literal where"}},
		{"bad env", `{dsn: {env: "hunter2!"}}`, []string{"spec.config.dsn: malformed (expected the name of an environment variable)"}},
		{"relative file", `{dsn: {file: hunter2}}`, []string{"spec.config.dsn: malformed (expected an absolute path)"}},
		{"nested literal", `{dsn: {env: A}, nested: {key_file: hunter2}}`, []string{"spec.config.nested: a literal where"}},
		{"unknown", `{dsn: {env: A}, hunter2: x}`, []string{"spec.config: unknown field (expected one of apply_dsn, dsn, labels, nested, sslmode, timeout)"}},
		{"misspelt", `{dns: {env: A}}`, []string{"spec.config.dns: unknown field; did you mean dsn?"}},
		{"type", `{dsn: {env: A}, timeout: hunter2}`, []string{"spec.config.timeout: expected a whole number, got text"}},
		{"enum", `{dsn: {env: A}, sslmode: hunter2}`, []string{"spec.config.sslmode: not an allowed value (expected one of disable, require)"}},
		{"minimum", `{dsn: {env: A}, timeout: 0}`, []string{"spec.config.timeout: too small (expected at least 1)"}},
		{"key", `{dsn: {env: A}, labels: {hunter2: a}}`, []string{"spec.config.labels: a malformed key"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			doc := mustDecode(t, "applications/w.yaml", "apiVersion: countersign.dev/v1\nkind: Application\nmetadata: {name: w}\nspec:\n  connector: c\n  owners: [user:a]\n  scope: {}\n  config: "+c.config+"\n")[0]
			errs := checker.Config(doc, []byte(configSchema))
			if len(errs) != len(c.want) {
				t.Fatalf("%d errors, want %d: %v", len(errs), len(c.want), errs)
			}
			for i, e := range errs {
				if !strings.Contains(e.Error(), " "+c.want[i]) || e.Line != 8 {
					t.Errorf("got %s, want %s at line 8", e, c.want[i])
				}
				if strings.Contains(e.Error(), canary) || strings.Contains(e.Error(), "22222") {
					t.Errorf("a value is printed: %s", e)
				}
			}
		})
	}
}

func TestCheckerPayload(t *testing.T) {
	t.Parallel()
	schema := `{"type": "object", "additionalProperties": false, "required": ["login"], "properties": {
		"login": {"type": "boolean"}, "connection_limit": {"type": "integer", "minimum": -1}, "comment": {"type": "string"},
		"valid_until": {"type": "string", "format": "date-time"}}}`
	checker := NewChecker()
	for _, c := range []struct {
		name, payload, schema string
		want                  []string
	}{
		{"good", `{login: true, connection_limit: -1, valid_until: 2027-01-31T00:00:00Z}`, schema, nil},
		{"null", `{login: null, comment: null, connection_limit: }`, schema, nil},
		{"null unknown", `{login: true, super: null}`, schema, []string{"spec.payload: unknown field (expected one of comment, connection_limit, login, valid_until)"}},
		{"missing", `{}`, schema, []string{"spec.payload.login: is missing"}},
		{"types", `{login: yes, connection_limit: -2, comment: 5}`, schema, []string{
			"spec.payload.login: expected true or false, got text", "spec.payload.connection_limit: too small (expected at least -1)", "spec.payload.comment: expected text, got a number; quote it"}},
		{"misspelt", `{login: true, coment: x}`, schema, []string{"spec.payload.coment: unknown field; did you mean comment?"}},
		{"no schema", `{login: true}`, "", []string{"spec.payload: unknown field"}},
		{"no schema, no payload", `{}`, "", nil},
		{"broken schema", `{}`, `{"type": 5}`, []string{"spec.payload: cannot be checked: the connector's schema is broken"}},
		{"no JSON", `{}`, `{`, []string{"spec.payload: cannot be checked"}},
		{"fetching schema", `{}`, `{"$ref": "file:///etc/passwd"}`, []string{"spec.payload: cannot be checked"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			doc := mustDecode(t, "requests/w.yaml", "apiVersion: countersign.dev/v1\nkind: ConnectionCreation\nmetadata: {name: w}\nspec:\n  application: w\n  connection: {type: role, source_name: r}\n  payload: "+c.payload+"\n")[0]
			errs := checker.Payload(doc, []byte(c.schema))
			if len(errs) != len(c.want) {
				t.Fatalf("%d errors, want %d: %v", len(errs), len(c.want), errs)
			}
			for i, e := range errs {
				if !strings.Contains(e.Error(), " "+c.want[i]) || e.Line != 7 {
					t.Errorf("got %s, want %s at line 7", e, c.want[i])
				}
			}
		})
	}
	other := mustDecode(t, SettingsPath, "apiVersion: countersign.dev/v1\nkind: Settings\nspec: {forge: {kind: local}, owners: [user:a]}\n")[0]
	if len(checker.Payload(other, nil)) == 0 || len(checker.Config(other, nil)) == 0 {
		t.Error("settings pass as something else")
	}
}

func TestCheckerIsConcurrent(t *testing.T) {
	t.Parallel()
	checker := NewChecker()
	doc := mustDecode(t, "requests/w.yaml", "apiVersion: countersign.dev/v1\nkind: ConnectionCreation\nmetadata: {name: w}\nspec:\n  application: w\n  connection: {type: role, source_name: r}\n  payload: {a: 1}\n")[0]
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 100 {
				schema := fmt.Sprintf(`{"properties": {"a": {"type": "string", "maxLength": %d}}}`, (i*j)%(2*maxCheckerSchemas))
				if errs := checker.Payload(doc, []byte(schema)); len(errs) != 1 || doc.At("spec.payload.a").Line != 7 {
					t.Error(errs)
				}
			}
		})
	}
	wg.Wait()
	if len(checker.compiled) > maxCheckerSchemas {
		t.Errorf("%d schemas are kept", len(checker.compiled))
	}
}

func TestCredentialFault(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		key, value string
		want       bool
	}{
		{"host", "db.acme.test", false},
		{"url", "https://user@example.test/?x=1", false},
		{"url", "https://example.test:8443/a@b", false},
		{"url", "https://example.test/login?to=a:b@c", false},
		{"url", "postgres://u:p@h/db", true},
		{"url", "redis://:p@h", true},
		{"note", "host=db password=x", true},
		{"note", "Server=db;Pwd=x", true},
		{"note", "password = x", true},
		{"note", "the password is elsewhere", false},
		{"note", "-----BEGIN RSA PRIVATE KEY-----", true},
		{"note", "ghp_0123456789abcdefghij", true},
		{"note", "token is glpat-0123456789abcdefghij", true},
		{"note", "AKIAIOSFODNN7EXAMPLE", true},
		{"note", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.sig", true},
		{"note", "npm_config", false},
		{"password", "x", true},
		{"client_secret", "x", true},
		{"api-key", "x", true},
		{"token_url", "https://example.test", false},
		{"primary_key", "id", false},
		{"env", "WAREHOUSE_PASSWORD", false},
		{"password", "", false},
	} {
		if got := credentialFault(c.key, c.value) != ""; got != c.want {
			t.Errorf("credentialFault(%q, %q) = %v, want %v", c.key, c.value, got, c.want)
		}
	}
}

func TestCheckPath(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ path, want string }{
		{"requests/2026/a.yaml", ""},
		{"requests/ü with space.yaml", ""},
		{"countersign.yaml", ""},
		{"", "is empty"},
		{strings.Repeat("a", maxPath+1), "bytes"},
		{"requests/\xff.yaml", "UTF-8"},
		{"requests/a\x00.yaml", "NUL"},
		{"requests/a\n.yaml", "control character U+000A"},
		{"requests/\u202eyaml", "bidirectional control character U+202E"},
		{"requests/a\u200b.yaml", "zero-width character U+200B"},
		{"requests/a\u2028.yaml", "line separator"},
		{"requests/cafe\u0301.yaml", "NFC"},
		{`requests\a.yaml`, "backslash"},
		{"/requests/a.yaml", "absolute"},
		{"C:/a.yaml", "drive"},
		{"requests/../a.yaml", "may leave"},
		{"..", "may leave"},
		{"./a.yaml", "not clean"},
		{"requests//a.yaml", "not clean"},
		{"requests/", "not clean"},
		{"a/.GIT/config", "Git's own"},
		{"requests/a.yaml ", "white space"},
	} {
		err := CheckPath(c.path)
		if (err == nil) != (c.want == "") || (err != nil && !strings.Contains(err.Error(), c.want)) {
			t.Errorf("CheckPath(%q) = %v, want %q", c.path, err, c.want)
		}
		if err != nil && strings.ContainsAny(err.Error(), "\x00\n\u202e\u200b") {
			t.Errorf("CheckPath(%q) prints what it refuses", c.path)
		}
	}
}

func TestIsControlFile(t *testing.T) {
	t.Parallel()
	own := &SettingsSpec{Folders: Folders{Requests: "access/r"}, AllowedSigners: "keys/signers"}
	for _, c := range []struct {
		path     string
		settings *SettingsSpec
		want     FileClass
	}{
		{"countersign.yaml", nil, ClassSettings},
		{"people.yaml", nil, ClassPeople},
		{"requests/a.yaml", nil, ClassRequest},
		{"requests/2026/11/a.yml", nil, ClassRequest},
		{"requests/a.json", nil, ""},
		{"requests.yaml", nil, ""},
		{"requests/\u202e.yaml", nil, ClassRequest},
		{"applications/w.yaml", nil, ClassApplication},
		{"applications/team/w.yaml", nil, ClassApplication},
		{"policy/a.rego", nil, ClassPolicy},
		{"policy/deep/data.yaml", nil, ClassPolicy},
		{"policy/data.json", nil, ClassPolicy},
		{"policy/other.yaml", nil, ""},
		{"README.md", nil, ""},
		{"sub/countersign.yaml", nil, ""},
		{"requests/a.yaml", own, ""},
		{"access/r/a.yaml", own, ClassRequest},
		{"applications/w.yaml", own, ClassApplication},
		{"keys/signers", own, ClassSigners},
		{"keys/signers", nil, ""},
	} {
		got, ok := IsControlFile(c.path, c.settings)
		if got != c.want || ok != (c.want != "") {
			t.Errorf("IsControlFile(%q) = %q, %v, want %q", c.path, got, ok, c.want)
		}
	}
}

func TestCheckPlaces(t *testing.T) {
	t.Parallel()
	request := string(benchDocument(1))
	app := "apiVersion: countersign.dev/v1\nkind: Application\nmetadata: {name: warehouse}\nspec: {connector: c, owners: [user:a], scope: {}}\n"
	for _, c := range []struct{ path, content, want string }{
		{"requests/a.yaml", request, ""},
		{"applications/warehouse.yaml", app, ""},
		{"applications/deep/warehouse.yml", app, ""},
		{"requests/warehouse.yaml", app, "requests/warehouse.yaml:2:1: kind: Application documents do not stand in requests/ (expected requests, Admission, BudgetOverride or Acknowledgement); move it to applications/"},
		{"applications/a.yaml", request, "applications/a.yaml:2:1: kind: ConnectionAssignment documents do not stand in applications/ (expected Application); move it to requests/"},
		{"applications/other.yaml", app, `applications/other.yaml:3:12: metadata.name: the application is not called as its file (expected "other"); rename the file or the application`},
		{"applications/warehouse.yaml", app + "---\n" + app, "applications/warehouse.yaml:6:1: a second application in one file; give each application a file of its own"},
		{"elsewhere/a.yaml", request, "elsewhere/a.yaml:1:1: ConnectionAssignment documents do not stand here (expected requests/ or applications/)"},
	} {
		if got := CheckPlaces(c.path, mustDecode(t, c.path, c.content), nil).Error(); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.path, got, c.want)
		}
	}
}

func TestCheckPattern(t *testing.T) {
	t.Parallel()
	for pattern, ok := range map[string]bool{"*": true, "a?b": true, `a\*`: true, `a\\`: true, "": false, `a\`: false, `a\\\`: false} {
		if err := CheckPattern(pattern); (err == nil) != ok {
			t.Errorf("CheckPattern(%q) = %v", pattern, err)
		}
	}
}

func TestErrorList(t *testing.T) {
	t.Parallel()
	if err := (ErrorList{}).Err(); err != nil {
		t.Errorf("an empty list is %v", err)
	}
	list := ErrorList{
		{Position: Position{"b", 1, 1}, Msg: "m"}, {Position: Position{"a", 2, 1}, Field: "f", Msg: "m", Hint: "h"},
		{Position: Position{"a", 1, 9}, Msg: "m"}, {Position: Position{"a", 1, 9}, Msg: "m"}, {Msg: "whole"},
	}.Sort()
	want := "whole\na:1:9: m\na:2:1: f: m; h\nb:1:1: m"
	if got := list.Err().Error(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := (Error{Position: Position{"a\u202e", 1, 0}, Msg: "m"}).Error(); got != `"a\u202e":1:1: m` {
		t.Errorf("got %s", got)
	}
}

// TestCanonical has the examples of RFC 8785.
func TestCanonical(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, in, want string }{
		{"section 3.2.2", `{"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001], "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/", "literals": [null, true, false]}`,
			`{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}`},
		{"section 3.2.3", `{"\u20ac": "Euro Sign", "\r": "Carriage Return", "\ufb33": "Hebrew Letter Dalet With Dagesh", "1": "One", "\ud83d\ude00": "Emoji: Grinning Face", "\u0080": "Control", "\u00f6": "Latin Small Letter O With Diaeresis"}`,
			"{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u0080\":\"Control\",\"ö\":\"Latin Small Letter O With Diaeresis\",\"€\":\"Euro Sign\",\"😀\":\"Emoji: Grinning Face\",\"\ufb33\":\"Hebrew Letter Dalet With Dagesh\"}"},
		{"html", `{"a": "<&>\u2028"}`, "{\"a\":\"<&>\u2028\"}"},
		{"empty", `[{}, [], "", 0, -0, -0.0, 1.0]`, `[{},[],"",0,0,0,1]`},
		{"escaped backslash", `"\\ufffd"`, `"\\ufffd"`},
	} {
		var v any
		if err := json.Unmarshal([]byte(c.in), &v); err != nil {
			t.Fatal(err)
		}
		got, err := Canonical(v)
		if err != nil || string(got) != c.want {
			t.Errorf("%s: got %s, %v\nwant %s", c.name, got, err, c.want)
		}
	}
	// Appendix B.
	for bits, want := range map[uint64]string{
		0x0000000000000000: "0", 0x8000000000000000: "0", 0x0000000000000001: "5e-324", 0x8000000000000001: "-5e-324",
		0x7fefffffffffffff: "1.7976931348623157e+308", 0xffefffffffffffff: "-1.7976931348623157e+308",
		0x4340000000000000: "9007199254740992", 0xc340000000000000: "-9007199254740992", 0x4430000000000000: "295147905179352830000",
		0x44b52d02c7e14af5: "9.999999999999997e+22", 0x44b52d02c7e14af6: "1e+23", 0x44b52d02c7e14af7: "1.0000000000000001e+23",
		0x444b1ae4d6e2ef4e: "999999999999999700000", 0x444b1ae4d6e2ef4f: "999999999999999900000", 0x444b1ae4d6e2ef50: "1e+21",
		0x3eb0c6f7a0b5ed8c: "9.999999999999997e-7", 0x3eb0c6f7a0b5ed8d: "0.000001", 0x41b3de4355555553: "333333333.3333332",
		0x41b3de4355555554: "333333333.33333325", 0x41b3de4355555555: "333333333.3333333", 0x41b3de4355555556: "333333333.3333334",
		0x41b3de4355555557: "333333333.33333343", 0xbecbf647612f3696: "-0.0000033333333333333333", 0x43143ff3c1cb0959: "1424953923781206.2",
	} {
		if got, err := Canonical(math.Float64frombits(bits)); err != nil || string(got) != want {
			t.Errorf("%#x: got %s, %v, want %s", bits, got, err, want)
		}
	}
	for _, v := range []any{int64(math.MaxInt64), int64(1<<53 + 1), uint64(math.MaxUint64), json.Number("1e999")} {
		if got, err := Canonical(v); !errors.Is(err, ErrInexact) {
			t.Errorf("Canonical(%v) = %s, %v, want ErrInexact", v, got, err)
		}
	}
	for _, v := range []any{math.NaN(), math.Inf(1), "\xff", map[string]any{"\xff": 1}, func() {}} {
		if got, err := Canonical(v); err == nil {
			t.Errorf("Canonical(%v) = %s, want an error", v, got)
		}
	}
	if got, err := Canonical(int64(1 << 53)); err != nil || string(got) != "9007199254740992" {
		t.Errorf("2^53: %s, %v", got, err)
	}
}

// TestCanonicalIsStable: what is read back has the same canonical form.
func TestCanonicalIsStable(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 1, 2, 3, 4, time.UTC)
	r := Record{APIVersion: APIVersion, Sequence: 1<<53 - 1, Time: now, Note: "<ü\u2028\x01>", Operation: &Operation{After: map[string]any{"b": 1.5, "a": nil, "n": -1}}}
	first, err := Canonical(r)
	if err != nil {
		t.Fatal(err)
	}
	var again Record
	if err := json.Unmarshal(first, &again); err != nil {
		t.Fatal(err)
	}
	second, err := Canonical(again)
	if err != nil || string(first) != string(second) {
		t.Errorf("%s\n%s\n%v", first, second, err)
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
		if CheckPath(path) != nil {
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
				if _, err := Canonical(d.Value); err != nil {
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
				if d.Kind != KindApplication {
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
	if depth > MaxDepth+1 || n.Kind == yaml.AliasNode || n.Anchor != "" || n.Style&yaml.TaggedStyle != 0 {
		t.Fatalf("accepted: depth %d, node %+v", depth, n)
	}
	if n.Kind == yaml.ScalarNode {
		if f := textFault(n.Value, true); f != "" {
			t.Fatalf("accepted: %s", f)
		}
	}
	seen := map[string]bool{}
	for i, c := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 {
			if seen[foldKey(c.Value)] || c.Value == "<<" {
				t.Fatalf("accepted: key %q", c.Value)
			}
			seen[foldKey(c.Value)] = true
		}
		checkAccepted(t, c, depth+1)
	}
}
