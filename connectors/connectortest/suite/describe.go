package suite

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/countersign/countersign/connectors"
)

// payloadSchema is what the suite needs of a JSON Schema.
type payloadSchema struct {
	Schema     string         `json:"$schema"`
	Type       string         `json:"type"`
	Additional *bool          `json:"additionalProperties"`
	Properties map[string]any `json:"properties"`
}

func parsePayload(schema json.RawMessage) (payloadSchema, error) {
	var s payloadSchema
	if err := json.Unmarshal(schema, &s); err != nil {
		return s, fmt.Errorf("the schema does not parse: %w", err)
	}
	return s, nil
}

func (s payloadSchema) names() []string { return slices.Sorted(maps.Keys(s.Properties)) }

// defaultOf returns the default of a property.
func (s payloadSchema) defaultOf(name string) (any, bool) {
	p, ok := s.Properties[name].(map[string]any)
	if !ok {
		return nil, false
	}
	v, ok := p["default"]
	return v, ok
}

// compileSchema compiles a schema as draft 2020-12 with assertion of formats.
func compileSchema(schema json.RawMessage) (*jsonschema.Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		return nil, fmt.Errorf("parse: %w", err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	const url = "urn:connectortest:schema"
	if err := c.AddResource(url, doc); err != nil {
		return nil, fmt.Errorf("add: %w", err)
	}
	return c.Compile(url)
}

// validate holds a Go value to a schema, by way of JSON.
func validate(s *jsonschema.Schema, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		return err
	}
	return s.Validate(doc)
}

func testDescribe[X T[X]](t X, h Harness[X]) {
	static := h.Connector.Describe()
	if static.Version != "" {
		t.Errorf("Describe without a server has the version %q", static.Version)
	}
	for _, fault := range descriptionFaults(static) {
		t.Errorf("static: %s", fault)
	}
	if !reflect.DeepEqual(static, h.Connector.Describe()) {
		t.Error("Describe differs from one call to the next")
	}
	for _, typ := range static.Types {
		checkPayloads(t, typ, h.Payloads)
	}
	f := start(t, h)
	for _, fault := range descriptionFaults(f.d) {
		t.Errorf("installed: %s", fault)
	}
	for _, fault := range narrowFaults(static, f.d) {
		t.Error(fault)
	}
	s, err := compileSchema(stripSecrets(static.Config))
	if err != nil {
		t.Fatalf("config schema: %v", err)
	}
	// Secrets are references in the file and resolved here, so they are not held to the schema.
	values := maps.Clone(f.app.Config().Values)
	for k, v := range values {
		if _, ok := v.(connectors.Secret); ok {
			values[k] = map[string]any{"env": "NAME"}
		}
	}
	if err := validate(s, values); err != nil {
		t.Errorf("the harness's own config does not fit the schema: %v", err)
	}
}

// stripSecrets replaces each property with x-secret by one that takes anything.
func stripSecrets(schema json.RawMessage) json.RawMessage {
	var walk func(any) any
	walk = func(v any) any {
		switch v := v.(type) {
		case map[string]any:
			if v["x-secret"] == true {
				return true
			}
			for k := range v {
				v[k] = walk(v[k])
			}
		case []any:
			for i := range v {
				v[i] = walk(v[i])
			}
		}
		return v
	}
	var v any
	if json.Unmarshal(schema, &v) != nil {
		return schema
	}
	b, err := json.Marshal(walk(v))
	if err != nil {
		return schema
	}
	return b
}

func checkPayloads[X T[X]](t X, typ connectors.ConnectionType, payloads map[string][2]map[string]any) {
	t.Helper()
	s, err := compileSchema(typ.Payload)
	if err != nil {
		return // reported as a fault of the description
	}
	schema, err := parsePayload(typ.Payload)
	if err != nil {
		return
	}
	for i, p := range payloads[typ.Name] {
		if err := validate(s, p); err != nil {
			t.Errorf("payload %d of %s in the harness: %v", i, typ.Name, err)
		}
		if got := slices.Sorted(maps.Keys(p)); !slices.Equal(got, schema.names()) {
			t.Errorf("payload %d of %s in the harness has %v, want every attribute: %v", i, typ.Name, got, schema.names())
		}
	}
}

// descriptionFaults says what is wrong with a description by itself.
func descriptionFaults(d connectors.Description) []string {
	var faults []string
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	if !regexp.MustCompile(`^[a-z][a-z0-9_]*$`).MatchString(d.Name) {
		fault("the name %q is not a plain word", d.Name)
	}
	if d.Title == "" {
		fault("there is no title")
	}
	if strings.TrimSpace(d.PlanScript) == "" || strings.TrimSpace(d.ApplyScript) == "" {
		fault("a script of least privileges is empty")
	}
	closed := func(what string, schema json.RawMessage) {
		s, err := parsePayload(schema)
		if err != nil {
			fault("%s: %v", what, err)
			return
		}
		if s.Schema != "" && s.Schema != "https://json-schema.org/draft/2020-12/schema" {
			fault("%s: $schema is %q, want draft 2020-12", what, s.Schema)
		}
		if s.Type != "object" || s.Additional == nil || *s.Additional {
			fault("%s: want type object and additionalProperties false", what)
		}
		compiled, err := compileSchema(stripSecrets(schema))
		if err != nil {
			fault("%s: %v", what, err)
			return
		}
		for _, name := range s.names() {
			if v, ok := s.defaultOf(name); ok {
				if err := validate(compiled.Properties[name], v); err != nil {
					fault("%s: the default of %s does not fit: %v", what, name, err)
				}
			}
			if p, ok := s.Properties[name].(map[string]any); ok && p["description"] == nil && p["title"] == nil {
				fault("%s: %s has neither title nor description", what, name)
			}
		}
	}
	closed("config", d.Config)
	patterns := func(what string, list []string) {
		for _, p := range list {
			if p == "" || strings.HasSuffix(strings.ReplaceAll(p, `\\`, ""), `\`) {
				fault("%s: the pattern %q is malformed", what, p)
			}
		}
	}
	rule := func(what string, r connectors.NameRule) {
		patterns(what, r.Reserved)
		if _, err := regexp.Compile(r.Pattern); err != nil {
			fault("%s: %v", what, err)
		}
		if r.MaxBytes < 0 {
			fault("%s: MaxBytes is %d", what, r.MaxBytes)
		}
	}
	if len(d.Types) == 0 {
		fault("there is no connection type")
	}
	for i, typ := range d.Types {
		what := "type " + typ.Name
		if i > 0 && d.Types[i-1].Name >= typ.Name {
			fault("%s: types are not sorted by name, or one stands twice", what)
		}
		if typ.Title == "" {
			fault("%s has no title", what)
		}
		closed(what+" payload", typ.Payload)
		rule(what+" names", typ.Names)
		patterns(what+" privileged", typ.Privileged)
		if s, err := parsePayload(typ.Payload); err == nil {
			for _, f := range typ.PrivilegedFields {
				if !slices.Contains(s.names(), f) {
					fault("%s: the privileged field %q is not in the payload", what, f)
				}
			}
		}
		if typ.Reassign && !typ.Delete {
			fault("%s can reassign and not delete", what)
		}
		seen := map[string]bool{}
		for _, g := range typ.Grantable {
			what := what + " target " + g.Type
			if seen[g.Type] {
				fault("%s stands twice", what)
			}
			seen[g.Type] = true
			_, isConnection := d.Type(g.Type)
			switch g.Edge {
			case connectors.EdgeResource, connectors.EdgeIdentity:
				if isConnection {
					fault("%s is a connection type, and its edge is %s", what, g.Edge)
				}
			case connectors.EdgeConnection, connectors.EdgeMember:
				if !isConnection {
					fault("%s is no connection type, and its edge is %s", what, g.Edge)
				}
			default:
				fault("%s has the edge %q", what, g.Edge)
			}
			if len(g.Privileges) == 0 {
				fault("%s has no privilege", what)
			}
			if g.Edge != connectors.EdgeResource {
				for _, p := range g.Privileges {
					if p != "MEMBER" && p != "ADMIN" {
						fault("%s is a membership with the privilege %q", what, p)
					}
				}
			}
			for i, p := range g.Privileges {
				if p == "" || slices.Contains(g.Privileges[:i], p) {
					fault("%s: the privilege %q is empty or stands twice", what, p)
				}
			}
			for _, p := range g.Default {
				if !slices.Contains(g.Privileges, p) {
					fault("%s: the default %q is not among the privileges", what, p)
				}
			}
			for _, p := range g.PrivilegedPrivileges {
				if !slices.Contains(g.Privileges, p) {
					fault("%s: the privileged %q is not among the privileges", what, p)
				}
			}
			patterns(what+" privileged", g.Privileged)
			rule(what+" names", g.Names)
		}
	}
	return faults
}

// narrowFaults says where an installation claims more than its connector.
func narrowFaults(static, d connectors.Description) []string {
	var faults []string
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	if d.Name != static.Name || d.Title != static.Title || !bytes.Equal(d.Config, static.Config) {
		fault("the installation has another name, title or config schema than the connector")
	}
	for _, typ := range d.Types {
		all, ok := static.Type(typ.Name)
		if !ok {
			fault("the installation has the type %s, the connector has not", typ.Name)
			continue
		}
		for _, c := range []struct {
			what      string
			here, all bool
		}{
			{"create", typ.Create, all.Create}, {"update", typ.Update, all.Update},
			{"delete", typ.Delete, all.Delete}, {"reassign", typ.Reassign, all.Reassign},
		} {
			if c.here && !c.all {
				fault("the installation can %s %s, the connector cannot", c.what, typ.Name)
			}
		}
		here, errHere := parsePayload(typ.Payload)
		there, errThere := parsePayload(all.Payload)
		if errHere == nil && errThere == nil {
			for _, n := range here.names() {
				if !slices.Contains(there.names(), n) {
					fault("the installation's %s has the attribute %s, the connector's has not", typ.Name, n)
				}
			}
		}
		for _, g := range typ.Grantable {
			// Privileges may go beyond: some applications let a config name its own.
			wide, ok := all.Target(g.Type)
			if !ok || wide.Edge != g.Edge || (g.Grant && !wide.Grant) || (g.Revoke && !wide.Revoke) {
				fault("%s: the installation claims more than the connector", path.Join(typ.Name, g.Type))
			}
		}
	}
	return faults
}
