package jsonschema

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/invopop/jsonschema"

	"github.com/countersign/countersign/schemas"
)

var update = flag.Bool("update", false, "rewrite golden files and JSON Schemas")

// envelope is what stands around the spec of a document with metadata.
type envelope[M, S any] struct {
	APIVersion string       `json:"apiVersion" jsonschema_description:"The version of this format."`
	Kind       schemas.Kind `json:"kind" jsonschema_description:"What the document asks for."`
	Metadata   M            `json:"metadata" jsonschema_description:"What the document is called, and why it was made."`
	Spec       S            `json:"spec" jsonschema_description:"What is asked for."`
}

// bare is what stands around the spec of a document without metadata.
type bare[S any] struct {
	APIVersion string       `json:"apiVersion" jsonschema_description:"The version of this format."`
	Kind       schemas.Kind `json:"kind" jsonschema_description:"What the document is."`
	Spec       S            `json:"spec" jsonschema_description:"What it says."`
}

type published struct {
	name, title, description string
	value                    any
	document                 bool
	message                  bool // a line of the connectors' protocol
}

func publishedSchemas() []published {
	return []published{
		{"ConnectionCreation", "ConnectionCreation", "Asks for a group, role or policy in an application, or for another payload of one.", envelope[schemas.Metadata, schemas.ConnectionCreationSpec]{}, true, false},
		{"ConnectionAssignment", "ConnectionAssignment", "Grants and revokes entitlements of a group, role or policy.", envelope[schemas.Metadata, schemas.ConnectionAssignmentSpec]{}, true, false},
		{"ConnectionDeletion", "ConnectionDeletion", "Ends a group, role or policy and everything granted to it.", envelope[schemas.Metadata, schemas.ConnectionDeletionSpec]{}, true, false},
		{"Application", "Application", "One installation of a system that holds access. Its file in the applications folder has its name.", envelope[schemas.ApplicationMetadata, schemas.ApplicationSpec]{}, true, false},
		{"Settings", "Settings", "The settings of an access repository: countersign.yaml.", bare[schemas.SettingsSpec]{}, true, false},
		{"People", "People", "Who is who on the forge, in commits and in each application: people.yaml.", bare[schemas.PeopleSpec]{}, true, false},
		{"Admission", "Admission", "Admits quarantined content as it is.", envelope[schemas.Metadata, schemas.AdmissionSpec]{}, true, false},
		{"BudgetOverride", "BudgetOverride", "Lifts the removal budget of one application until an instant.", envelope[schemas.Metadata, schemas.BudgetOverrideSpec]{}, true, false},
		{"Acknowledgement", "Acknowledgement", "Accepts what only a person may accept: a rewritten branch, the removals of a first run, operations held for another sign-off, or the new ids of a restored application.", envelope[schemas.Metadata, schemas.AcknowledgementSpec]{}, true, false},
		{"plan", "Plan", "The ordered operations that take the applications from live to desired.", schemas.Plan{}, false, false},
		{"decision", "Decision", "The decision of policy about a change.", schemas.Decision{}, false, false},
		{"policy-input", "PolicyInput", "What a policy sees as input.", schemas.PolicyInput{}, false, false},
		{"record", "Record", "One record of the ledger.", schemas.Record{}, false, false},
		{"preview", "Preview", "The answer of countersign preview.", schemas.Preview{}, false, false},
		{"run", "Run", "The answer of countersign apply and drift.", schemas.RunReport{}, false, false},
		{"status", "Status", "The answer of countersign status.", schemas.StatusReport{}, false, false},
		{"access", "Access", "The answer of countersign access.", schemas.AccessReport{}, false, false},
		{"doctor", "Doctor", "The answer of countersign doctor.", schemas.DoctorReport{}, false, false},
		{"connector", "Connector", "The answer of countersign schema with the name of a connector.", schemas.ConnectorReport{}, false, false},
		{"version", "Version", "The answer of countersign version.", schemas.VersionReport{}, false, false},
		{"policy-rules", "PolicyRules", "The answer of countersign policy rules.", schemas.PolicyRules{}, false, false},
		{"policy-test", "PolicyTest", "The answer of countersign policy test.", schemas.PolicyTestReport{}, false, false},
		{"audit-verify", "AuditVerify", "The answer of countersign audit verify.", schemas.AuditVerification{}, false, false},
		{"audit-entitlements", "AuditEntitlements", "The answer of countersign audit entitlements.", schemas.AuditEntitlements{}, false, false},
		{"audit-manifest", "AuditManifest", "The manifest of countersign audit export.", schemas.AuditManifest{}, false, false},
		{"audit-row", "AuditRow", "A line of countersign audit export.", schemas.AuditRow{}, false, false},
		{"connectors", "Connectors", "The answer of countersign connector list.", schemas.ConnectorList{}, false, false},
		{"conformance", "Conformance", "The answer of countersign connector test.", schemas.ConformanceReport{}, false, false},
		{"connector-request", "ConnectorRequest", "A line to a connector in a process of its own.", schemas.ConnectorRequest{}, false, true},
		{"connector-answer", "ConnectorAnswer", "A line from a connector in a process of its own.", schemas.ConnectorAnswer{}, false, true},
		{"validate", "Validate", "The answer of countersign validate.", schemas.ValidateReport{}, false, false},
		{"fulfil", "Fulfil", "The answer of countersign fulfil.", schemas.FulfilReport{}, false, false},
		{"fulfilment-request", "FulfilmentRequest", "What a webhook is sent to carry out.", schemas.FulfilmentRequest{}, false, false},
		{"fulfilment-answer", "FulfilmentAnswer", "What a webhook says became of it.", schemas.FulfilmentAnswer{}, false, false},
	}
}

func reflector(t *testing.T) *jsonschema.Reflector {
	t.Helper()
	r := &jsonschema.Reflector{Anonymous: true, ExpandedStruct: true}
	if err := r.AddGoComments("github.com/countersign/countersign/schemas/jsonschema", "../"); err != nil {
		t.Fatal(err)
	}
	for key, text := range r.CommentMap {
		r.CommentMap[key] = strings.Join(strings.Fields(text), " ")
	}
	return r
}

func generate(t *testing.T) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	var all []*jsonschema.Schema
	definitions := jsonschema.Definitions{}
	var kinds []any
	for _, p := range publishedSchemas() {
		s := reflector(t).ReflectFromType(reflect.TypeOf(p.value))
		s.ID, s.Title, s.Description = jsonschema.ID(baseURL+p.name+".json"), p.title, p.description
		if p.document {
			constant(s, "apiVersion", schemas.APIVersion)
			constant(s, "kind", p.name)
			refine(s)
			kinds = append(kinds, p.name)
			all = append(all, s)
			for name, def := range s.Definitions {
				if before, ok := definitions[name]; ok && !reflect.DeepEqual(marshal(t, before), marshal(t, def)) {
					t.Fatalf("two definitions are named %s", name)
				}
				definitions[name] = def
			}
		} else if p.message {
			bodies(s, connectorBodies(p.name))
			if d := s.Definitions["Description"]; d != nil {
				// A child has no name of its own, and can be read.
				d.Properties.Delete("name")
				d.Properties.Delete("attested")
			}
		} else {
			if _, ok := s.Properties.Get("apiVersion"); ok {
				constant(s, "apiVersion", schemas.APIVersion)
			}
			switch kind, ok := s.Properties.Get("kind"); {
			case p.name == "audit-row": // the operation's
			case p.name == "run":
				kind.Enum = []any{"Apply", "Drift"}
			case ok && p.name != "record":
				constant(s, "kind", p.title)
			}
			relax(s)
		}
		files[p.name] = marshal(t, s)
	}
	// Any document, for editors: the kind decides. Everything is inline, since many editors follow no $id.
	var rules []*jsonschema.Schema
	for _, s := range all {
		part := *s
		part.ID, part.Version, part.Definitions = "", "", nil
		definitions[s.Title] = &part
		kind := jsonschema.NewProperties()
		kind.Set("kind", &jsonschema.Schema{Const: s.Title})
		rules = append(rules, &jsonschema.Schema{
			If:   &jsonschema.Schema{Properties: kind, Required: []string{"kind"}},
			Then: &jsonschema.Schema{Ref: "#/$defs/" + s.Title},
		})
	}
	slices.SortFunc(kinds, func(a, b any) int { return strings.Compare(a.(string), b.(string)) })
	properties := jsonschema.NewProperties()
	properties.Set("apiVersion", &jsonschema.Schema{Const: schemas.APIVersion, Description: "The version of this format."})
	properties.Set("kind", &jsonschema.Schema{Enum: kinds, Description: "What the document is."})
	files["document"] = marshal(t, &jsonschema.Schema{
		Version: jsonschema.Version, ID: baseURL + "document.json", Title: "Document", Type: "object",
		Description: "Any document of an access repository.",
		Properties:  properties, Required: []string{"apiVersion", "kind"}, AllOf: rules, Definitions: definitions,
	})
	return files
}

func constant(s *jsonschema.Schema, property, value string) {
	p, _ := s.Properties.Get(property)
	p.Type, p.Const = "string", value
}

// bodies adds to a message that its type decides which one field stands beside it.
func bodies(s *jsonschema.Schema, byType map[string]string) {
	for _, typ := range slices.Sorted(maps.Keys(byType)) {
		n := uint64(2)
		then := &jsonschema.Schema{MaxProperties: &n}
		if body := byType[typ]; body != "" {
			n = 3
			then.Required = []string{body}
		}
		is := jsonschema.NewProperties()
		is.Set("type", &jsonschema.Schema{Const: typ})
		s.AllOf = append(s.AllOf, &jsonschema.Schema{If: &jsonschema.Schema{Properties: is}, Then: then})
	}
}

// refine adds what struct tags cannot say: rules for the keys of mappings and the items of lists.
func refine(s *jsonschema.Schema) {
	one, long := uint64(1), uint64(1024)
	for name, def := range s.Definitions {
		if def.Properties == nil {
			continue
		}
		if name == "SecretReference" {
			def.MinProperties, def.MaxProperties = &one, &one
			env, _ := def.Properties.Get("env")
			file, _ := def.Properties.Get("file")
			env.Pattern, file.Pattern = envPattern, filePattern
		}
		for pair := def.Properties.Oldest(); pair != nil; pair = pair.Next() {
			switch pair.Key {
			case "scope", "grantable", "privileged":
				pair.Value.PropertyNames = &jsonschema.Schema{Pattern: `^[a-z][a-z0-9_]*$`}
				pair.Value.AdditionalProperties.Items.MinLength, pair.Value.AdditionalProperties.Items.MaxLength = &one, &long
			case "owners", "closers":
				pair.Value.Items.Pattern, pair.Value.Items.MaxLength = `^(user|team):\S.*$`, &long
			case "privileges", "emails", "labels", "assignees":
				pair.Value.Items.MinLength, pair.Value.Items.MaxLength = &one, &long
			case "teams":
				pair.Value.AdditionalProperties.Items.MinLength, pair.Value.AdditionalProperties.Items.MaxLength = &one, &long
			case "identities":
				pair.Value.PropertyNames = &jsonschema.Schema{Pattern: `^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`}
				pair.Value.AdditionalProperties.Items.MinLength, pair.Value.AdditionalProperties.Items.MaxLength = &one, &long
			}
		}
	}
}

// relax drops from an output what binds only those who write documents: settings have no metadata, and
// a policy sees them with an empty name.
func relax(s *jsonschema.Schema) {
	for _, def := range s.Definitions {
		if def.Properties == nil {
			continue
		}
		for pair := def.Properties.Oldest(); pair != nil; pair = pair.Next() {
			p := pair.Value
			p.MinLength, p.MaxLength, p.Pattern, p.MinItems, p.MaxItems, p.UniqueItems, p.Default = nil, nil, "", nil, nil, false, nil
		}
	}
}

func marshal(t *testing.T, v any) []byte {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestSchemasAreGenerated holds the published schemas to the Go types.
func TestSchemasAreGenerated(t *testing.T) {
	want := generate(t)
	if *update {
		for name, data := range want {
			if err := os.WriteFile(name+".json", data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	files, err := filepath.Glob("*.json")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != len(want) {
		t.Errorf("%d schema files, want %d", len(files), len(want))
	}
	for name, data := range want {
		got, err := os.ReadFile(name + ".json")
		if err != nil {
			t.Error(err)
			continue
		}
		if diff := cmp.Diff(string(data), string(got)); diff != "" {
			t.Errorf("%s differs from the Go type; run go test ./schemas/jsonschema -run TestSchemasAreGenerated -update (-want +got):\n%s", name, diff)
		}
	}
}

// connectorBodies says which field of a message each of its types has; "" is none.
func connectorBodies(message string) map[string]string {
	if message == "connector-request" {
		return map[string]string{"hello": "hello", "describe": "", "open": "open", "describe_installation": "", "read": "read", "list": "list",
			"normalize": "connections", "apply": "operations", "cancel": "cancel", "close": "", "test": "test"}
	}
	return map[string]string{"hello": "hello", "description": "description", "connections": "connections", "entitlements": "entitlements",
		"items": "items", "outcome": "outcome", "test": "test", "done": "done", "error": "error"}
}

// TestOutputsHaveSchemas holds the list of outputs to the types that are outputs, and each to a schema of its own.
func TestOutputsHaveSchemas(t *testing.T) {
	t.Parallel()
	types := map[string]any{}
	for _, p := range publishedSchemas() {
		types[p.name] = p.value
	}
	var listed []string
	for _, o := range schemas.Outputs() {
		name, typ := schemas.SchemaOf(o), reflect.TypeOf(o).Elem()
		listed = append(listed, typ.Name())
		if v, ok := types[name]; !ok || reflect.TypeOf(v) != typ {
			t.Errorf("the schema %s of %s is of %T", name, typ.Name(), v)
		}
	}
	text, err := os.ReadFile("../output.go")
	if err != nil {
		t.Fatal(err)
	}
	var implemented []string
	for _, m := range regexp.MustCompile(`func \(\*(\w+)\) schema\(\)`).FindAllSubmatch(text, -1) {
		implemented = append(implemented, string(m[1]))
	}
	slices.Sort(listed)
	slices.Sort(implemented)
	if diff := cmp.Diff(implemented, listed); diff != "" {
		t.Errorf("Outputs (-types that are outputs +listed):\n%s", diff)
	}
}
