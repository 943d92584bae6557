package jsonschema

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// noLoader refuses to fetch: a schema that refers to a file or a host is broken, or hostile.
type noLoader struct{}

func (noLoader) Load(url string) (any, error) {
	return nil, errors.New("a schema refers to something outside of it")
}

// newCompiler returns a compiler of draft 2020-12 that asserts formats and fetches nothing.
func newCompiler() *jsonschema.Compiler {
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(noLoader{})
	c.AssertFormat()
	c.RegisterFormat(&jsonschema.Format{Name: "date-time", Validate: func(v any) error {
		s, ok := v.(string)
		if !ok {
			return nil
		}
		_, err := ParseInstant(s)
		return err
	}})
	return c
}

// ParseInstant reads an instant of RFC 3339 with its zone, and returns it in UTC. The error does not contain the text.
func ParseInstant(s string) (time.Time, error) {
	var t time.Time
	// UnmarshalText is strict where Parse is not (single digits, a comma before the fraction).
	if err := t.UnmarshalText([]byte(s)); err != nil {
		return time.Time{}, errors.New("not an instant of RFC 3339")
	}
	// Beyond these years an instant cannot be written in UTC as RFC 3339 has it.
	if t = t.UTC(); t.Year() < 1 || t.Year() > 9999 {
		return time.Time{}, errors.New("not an instant of RFC 3339")
	}
	return t, nil
}

// schemaIndex finds a schema by its location.
type schemaIndex map[string]*jsonschema.Schema

func (x schemaIndex) add(s *jsonschema.Schema) {
	if s == nil || x[s.Location] == s {
		return
	}
	x[s.Location] = s
	x.add(s.Ref)
	x.add(s.Not)
	x.add(s.If)
	x.add(s.Then)
	x.add(s.Else)
	x.add(s.Items2020)
	x.add(s.Contains)
	x.add(s.PropertyNames)
	for _, list := range [][]*jsonschema.Schema{s.AllOf, s.AnyOf, s.OneOf, s.PrefixItems} {
		for _, sub := range list {
			x.add(sub)
		}
	}
	for _, sub := range s.Properties {
		x.add(sub)
	}
	for _, sub := range s.PatternProperties {
		x.add(sub)
	}
	if sub, ok := s.AdditionalProperties.(*jsonschema.Schema); ok {
		x.add(sub)
	}
}

// fields are the property names that the schema at a location knows, sorted.
func (x schemaIndex) fields(location string) []string {
	s := x[location]
	if s == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(s.Properties))
}

// Value reads one JSON value as Schema.Findings takes it.
func Value(text []byte) (any, error) { return jsonschema.UnmarshalJSON(bytes.NewReader(text)) }

// Schema is a compiled schema. It is not changed after it was made, and is safe for concurrent use.
type Schema struct {
	compiled *jsonschema.Schema
	index    schemaIndex
}

// Findings are the faults of a value as encoding/json and package strict decode it (numbers as json.Number, int or
// float64); nil for one that is valid.
func (s *Schema) Findings(value any) []Finding {
	if err := s.compiled.Validate(value); err != nil {
		return findings(s.index, value, err)
	}
	return nil
}

// Declares reports whether the schema's top level, or an allOf of it, names the property.
func (s *Schema) Declares(property string) bool {
	for top := s.compiled; top != nil; top = top.Ref {
		if top.Properties[property] != nil {
			return true
		}
		for _, part := range top.AllOf {
			if part.Properties[property] != nil {
				return true
			}
		}
		if top.Ref == top {
			break
		}
	}
	return false
}

// Published compiles published schemas, by their names.
func Published(names ...string) (map[string]*Schema, error) {
	c := newCompiler()
	for _, name := range names {
		raw, err := files.ReadFile(name + ".json")
		if err != nil {
			return nil, fmt.Errorf("read the schema of %s: %w", name, err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
		if err != nil {
			return nil, fmt.Errorf("parse the schema of %s: %w", name, err)
		}
		if err := c.AddResource(baseURL+name+".json", doc); err != nil {
			return nil, fmt.Errorf("add the schema of %s: %w", name, err)
		}
	}
	set := make(map[string]*Schema, len(names))
	for _, name := range names {
		compiled, err := c.Compile(baseURL + name + ".json")
		if err != nil {
			return nil, fmt.Errorf("compile the schema of %s: %w", name, err)
		}
		s := &Schema{compiled: compiled, index: schemaIndex{}}
		s.index.add(compiled)
		set[name] = s
	}
	return set, nil
}

// OfConnector compiles a connector's schema of its config or of a payload: a property with "x-secret": true takes a
// reference to a secret, {env: NAME} or {file: /absolute/path}. It may refer to nothing outside of itself.
func OfConnector(schema []byte) (*Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		return nil, fmt.Errorf("parse schema: %w", err)
	}
	c := newCompiler()
	if err := c.AddResource(secretURL, secretSchema()); err != nil {
		return nil, fmt.Errorf("add schema of secrets: %w", err)
	}
	const url = "urn:countersign:connector"
	if err := c.AddResource(url, referToSecrets(doc)); err != nil {
		return nil, fmt.Errorf("add schema: %w", err)
	}
	compiled, err := c.Compile(url)
	if err != nil {
		return nil, fmt.Errorf("compile schema: %w", err)
	}
	s := &Schema{compiled: compiled, index: schemaIndex{}}
	s.index.add(compiled)
	return s, nil
}
