package strict

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"strconv"
	"sync"

	"github.com/countersign/countersign/schemas"
	"github.com/countersign/countersign/schemas/jsonschema"
)

// maxCheckerSchemas bounds how many compiled schemas a Checker keeps.
const maxCheckerSchemas = 256

// Checker holds config and payloads to the JSON Schemas of connectors. It keeps compiled schemas by
// their content. It is safe for concurrent use.
type Checker struct {
	mu       sync.Mutex
	compiled map[[sha256.Size]byte]*connectorSchema
}

// NewChecker returns a Checker that has compiled nothing yet.
func NewChecker() *Checker {
	return &Checker{compiled: map[[sha256.Size]byte]*connectorSchema{}}
}

type connectorSchema struct {
	*jsonschema.Schema
	err error
}

// Config holds an Application's spec.config to its connector's schema: a property with "x-secret": true
// must be {env: NAME} or {file: /absolute/path}. No error holds a value of the config.
func (c *Checker) Config(doc schemas.Document, schema []byte) schemas.ErrorList {
	app, ok := doc.Value.(*schemas.Application)
	if !ok {
		return schemas.ErrorList{{Position: doc.Position, Msg: fmt.Sprintf("a %s document can't have a config", doc.Kind)}}
	}
	return c.check(doc, schema, app.Spec.Config, "config", false)
}

// Payload holds a ConnectionCreation's spec.payload to its connection type's schema. A declared property
// may always be null, which leaves the attribute as it is. Requests without a payload pass.
func (c *Checker) Payload(doc schemas.Document, schema []byte) schemas.ErrorList {
	request, ok := doc.Value.(*schemas.Request)
	if !ok {
		return schemas.ErrorList{{Position: doc.Position, Msg: fmt.Sprintf("a %s document can't have a payload", doc.Kind)}}
	}
	if !schemas.ByRequestKind(request.Kind, true, false, false) {
		return nil
	}
	return c.check(doc, schema, request.Payload, "payload", true)
}

func (c *Checker) check(doc schemas.Document, schema []byte, value map[string]any, field string, nulls bool) schemas.ErrorList {
	root := &step{up: &step{key: "spec", index: -1}, key: field, index: -1}
	s := c.compile(schema)
	if s.err != nil {
		return schemas.ErrorList{{Position: doc.At(root.String()), Field: root.String(), Msg: "cannot be checked: the connector's schema is broken", Hint: "tell the connector's maker"}}
	}
	instance := make(map[string]any, len(value))
	left := map[string]bool{}
	for key, v := range value {
		if nulls && v == nil && s.Declares(key) {
			left[key] = true
			continue
		}
		instance[key] = v
	}
	var list schemas.ErrorList
	for _, f := range s.Findings(instance) {
		if f.Msg == "is missing" && len(f.Way) == 1 && left[f.Way[0]] {
			continue
		}
		at := stepsIn(root, value, f.Way)
		shown := at
		if len(f.Way) > 0 && (f.Unnamed || (f.Msg != "is missing" && f.OnKey && f.Hint == "")) {
			// The name of an unknown field may be anything, a secret written as {secret} too.
			shown = at.up
		}
		hint := f.Hint
		if hint == "" {
			hint = jsonschema.ValueHint(f.Msg, "", "")
		}
		list = append(list, schemas.Error{Position: doc.At(at.String()), Field: shown.shown(), Msg: f.Msg, Hint: hint})
	}
	if len(list) == 0 {
		return nil
	}
	return list.Bounded(0)
}

// stepsIn is the way into a decoded value below root.
func stepsIn(root *step, value any, way []string) *step {
	at := root
	for _, token := range way {
		switch v := value.(type) {
		case []any:
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(v) {
				return at
			}
			at, value = &step{up: at, index: i}, v[i]
		case map[string]any:
			at, value = &step{up: at, key: token, index: -1}, v[token]
		default:
			at, value = &step{up: at, key: token, index: -1}, nil
		}
	}
	return at
}

// compile returns the compiled form of a connector's schema. An empty schema allows no field.
func (c *Checker) compile(schema []byte) *connectorSchema {
	if len(bytes.TrimSpace(schema)) == 0 {
		schema = []byte(`{"type": "object", "additionalProperties": false}`)
	}
	key := sha256.Sum256(schema)
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := c.compiled[key]; ok {
		return s
	}
	compiled, err := jsonschema.OfConnector(schema)
	s := &connectorSchema{compiled, err}
	if len(c.compiled) >= maxCheckerSchemas {
		clear(c.compiled)
	}
	c.compiled[key] = s
	return s
}
