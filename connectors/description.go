package connectors

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/countersign/countersign/schemas"
)

// outline holds the parts of a JSON Schema that a description's checks need.
type outline struct {
	Schema     string         `json:"$schema"`
	Type       string         `json:"type"`
	Additional *bool          `json:"additionalProperties"`
	Properties map[string]any `json:"properties"`
}

func outlineOf(schema json.RawMessage) (outline, error) {
	var s outline
	if err := json.Unmarshal(schema, &s); err != nil {
		return s, fmt.Errorf("the schema does not parse: %w", err)
	}
	return s, nil
}

func (s outline) names() []string { return slices.Sorted(maps.Keys(s.Properties)) }

// defaultOf returns the default of a property.
func (s outline) defaultOf(name string) (any, bool) {
	p, ok := s.Properties[name].(map[string]any)
	if !ok {
		return nil, false
	}
	v, ok := p["default"]
	return v, ok
}

// CompileSchema compiles a schema as draft 2020-12 and asserts formats. It fetches nothing. The result is shared with
// other callers: don't change it.
func CompileSchema(schema json.RawMessage) (*jsonschema.Schema, error) {
	return compiledSchemas.Of(string(schema), func() (*jsonschema.Schema, error) { return compileSchema(schema) })
}

// compiledSchemas keeps the schemas that were compiled: a connector has a few, and each opening and Apply uses them.
var compiledSchemas schemas.Kept[string, *jsonschema.Schema]

func compileSchema(schema json.RawMessage) (*jsonschema.Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		return nil, fmt.Errorf("parse: %w", err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(noLoader{})
	c.AssertFormat()
	const url = "urn:countersign:schema"
	if err := c.AddResource(url, doc); err != nil {
		return nil, fmt.Errorf("add: %w", err)
	}
	return c.Compile(url)
}

// noLoader refuses to fetch: a schema that refers to a file or a host is broken, or hostile.
type noLoader struct{}

func (noLoader) Load(string) (any, error) {
	return nil, errors.New("a schema refers to something outside of it")
}

// WithoutSecrets replaces each property with x-secret by one that accepts anything: secrets in a Config are resolved.
func WithoutSecrets(schema json.RawMessage) json.RawMessage { return replaceSecrets(schema, true) }

// replaceSecrets replaces each property with x-secret.
func replaceSecrets(schema json.RawMessage, by any) json.RawMessage {
	var walk func(any) any
	walk = func(v any) any {
		switch v := v.(type) {
		case map[string]any:
			if v["x-secret"] == true {
				return by
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

// SecretSettings returns the top-level settings that a config schema marks with x-secret.
func SecretSettings(schema json.RawMessage) map[string]bool {
	s, err := outlineOf(schema)
	if err != nil {
		return nil
	}
	out := map[string]bool{}
	for name, p := range s.Properties {
		if p, ok := p.(map[string]any); ok && p["x-secret"] == true {
			out[name] = true
		}
	}
	return out
}

// WithSecrets wraps the strings among values that a config schema marks with x-secret, for configs that are already
// resolved.
func WithSecrets(schema json.RawMessage, values map[string]any) map[string]any {
	out := maps.Clone(values)
	for name := range SecretSettings(schema) {
		if text, ok := out[name].(string); ok {
			out[name] = NewSecret(text)
		}
	}
	return out
}

// Faults lists the errors in a description that are errors for any application.
func Faults(d schemas.Description) []string {
	var faults []string
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	if !regexp.MustCompile(`^[a-z][a-z0-9_]*$`).MatchString(d.Name) {
		fault("the name %q is invalid (expected lower-case letters, digits and underscores)", d.Name)
	}
	if d.Title == "" {
		fault("the title is required")
	}
	if strings.TrimSpace(d.PlanScript) == "" || strings.TrimSpace(d.ApplyScript) == "" {
		fault("PlanScript and ApplyScript are required")
	}
	closed := func(what string, schema json.RawMessage) {
		s, err := outlineOf(schema)
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
		compiled, err := CompileSchema(WithoutSecrets(schema))
		if err != nil {
			fault("%s: %v", what, err)
			return
		}
		for _, name := range s.names() {
			if v, ok := s.defaultOf(name); ok {
				if err := compiled.Properties[name].Validate(plainJSON(v)); err != nil {
					fault("%s: the default of %s is invalid: %v", what, name, err)
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
				fault("%s: the pattern %q is invalid", what, p)
			}
		}
	}
	rule := func(what string, r schemas.NameRule) {
		patterns(what, r.Reserved)
		if _, err := regexp.Compile(r.Pattern); err != nil {
			fault("%s: %v", what, err)
		}
		if r.MaxBytes < 0 {
			fault("%s: MaxBytes is %d", what, r.MaxBytes)
		}
	}
	if len(d.Types) == 0 {
		fault("at least one connection type is required")
	}
	for i, typ := range d.Types {
		what := "type " + typ.Name
		if i > 0 && d.Types[i-1].Name >= typ.Name {
			fault("%s: types are not sorted by name, or one is a duplicate", what)
		}
		if typ.Title == "" {
			fault("%s: the title is required", what)
		}
		closed(what+" payload", typ.Payload)
		rule(what+" names", typ.Names)
		patterns(what+" privileged", typ.Privileged)
		if s, err := outlineOf(typ.Payload); err == nil {
			for _, f := range typ.PrivilegedFields {
				if !slices.Contains(s.names(), f) {
					fault("%s: the privileged field %q is not in the payload", what, f)
				}
			}
		}
		if typ.Reassign && !typ.Delete {
			fault("%s can reassign but not delete", what)
		}
		seen := map[string]bool{}
		for _, g := range typ.Grantable {
			what := what + " target " + g.Type
			if seen[g.Type] {
				fault("%s is a duplicate", what)
			}
			seen[g.Type] = true
			_, isConnection := d.Type(g.Type)
			switch g.Edge {
			case schemas.EdgeResource, schemas.EdgeIdentity:
				if isConnection {
					fault("%s is a connection type, and its edge is %s", what, g.Edge)
				}
			case schemas.EdgeConnection, schemas.EdgeMember:
				if !isConnection {
					fault("%s isn't a connection type, and its edge is %s", what, g.Edge)
				}
			default:
				fault("%s has the edge %q", what, g.Edge)
			}
			if len(g.Privileges) == 0 {
				fault("%s: at least one privilege is required", what)
			}
			if g.Edge != schemas.EdgeResource {
				for _, p := range g.Privileges {
					if p != "MEMBER" && p != "ADMIN" {
						fault("%s is a membership with the privilege %q", what, p)
					}
				}
			}
			for i, p := range g.Privileges {
				if p == "" || slices.Contains(g.Privileges[:i], p) {
					fault("%s: the privilege %q is empty or a duplicate", what, p)
				}
			}
			for _, fault := range impliedFaults(g) {
				faults = append(faults, what+": "+fault)
			}
			for _, c := range g.Contains {
				switch {
				case g.Edge != schemas.EdgeResource:
					fault("%s contains %s: only resources have parts", what, c.Type)
				case c.Derived && c.Privileges != nil:
					fault("%s contains %s: a derived one has the same privileges", what, c.Type)
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

// impliedFaults lists the errors in the order among privileges.
func impliedFaults(g schemas.GrantableType) []string {
	var faults []string
	if len(g.Implies) > 0 && g.Edge != schemas.EdgeResource {
		faults = append(faults, "only privileges on resources may imply others")
	}
	for _, p := range slices.Sorted(maps.Keys(g.Implies)) {
		at := slices.Index(g.Privileges, p)
		if at < 0 {
			faults = append(faults, fmt.Sprintf("%q implies others and isn't a privilege", p))
		}
		for _, lower := range g.Implies[p] {
			if slices.Index(g.Privileges, lower) <= at {
				faults = append(faults, fmt.Sprintf("%q implies %q, which is not listed after it", p, lower))
			}
			for _, lowest := range g.Implies[lower] {
				if !slices.Contains(g.Implies[p], lowest) {
					faults = append(faults, fmt.Sprintf("%q implies %q but not %q, which %[2]q implies", p, lower, lowest))
				}
			}
		}
	}
	return faults
}

// Exceeds lists the abilities that an installation's description has and its connector's static one lacks.
func Exceeds(d, static schemas.Description) []string {
	var faults []string
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	if d.Name != static.Name || d.Title != static.Title || !bytes.Equal(d.Config, static.Config) {
		fault("the installation has another name, title or config schema than the connector")
	}
	for _, typ := range d.Types {
		all, ok := static.Type(typ.Name)
		if !ok {
			fault("the installation has the type %s, which the connector lacks", typ.Name)
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
				fault("the installation can %s %s, but the connector can't", c.what, typ.Name)
			}
		}
		here, errHere := outlineOf(typ.Payload)
		there, errThere := outlineOf(all.Payload)
		if errHere == nil && errThere == nil {
			for _, n := range here.names() {
				if !slices.Contains(there.names(), n) {
					fault("the installation's %s has the attribute %s, which the connector's lacks", typ.Name, n)
				}
			}
		}
		for _, g := range typ.Grantable {
			// Privileges may go beyond: some applications let a config name its own.
			wide, ok := all.Target(g.Type)
			if !ok || wide.Edge != g.Edge || (g.Grant && !wide.Grant) || (g.Revoke && !wide.Revoke) {
				fault("%s: the installation offers more than the connector", path.Join(typ.Name, g.Type))
			}
		}
	}
	return faults
}
