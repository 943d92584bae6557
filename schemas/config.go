package schemas

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// secretURL is the schema of a reference to a secret; properties with "x-secret": true refer to it.
const secretURL = baseURL + "secret.json"

const (
	envPattern  = `^[A-Za-z_][A-Za-z0-9_]*$`
	filePattern = `^/.*[^/]$`
)

// secretSchema is the form of a reference to a secret.
func secretSchema() map[string]any {
	return map[string]any{
		"$schema": "https://json-schema.org/draft/2020-12/schema",
		"type":    "object",
		"properties": map[string]any{
			"env":  map[string]any{"type": "string", "pattern": envPattern},
			"file": map[string]any{"type": "string", "pattern": filePattern},
		},
		"additionalProperties": false,
		"minProperties":        json.Number("1"),
		"maxProperties":        json.Number("1"),
	}
}

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
	schema *jsonschema.Schema
	index  schemaIndex
	// declared are the properties that the top level knows.
	declared map[string]bool
	err      error
}

// Config holds an Application's spec.config to its connector's schema: a property with "x-secret": true
// must be {env: NAME} or {file: /absolute/path}. No error holds a value of the config.
func (c *Checker) Config(doc Document, schema []byte) ErrorList {
	app, ok := doc.Value.(*Application)
	if !ok {
		return ErrorList{{Position: doc.Position, Msg: fmt.Sprintf("a %s document has no config", doc.Kind)}}
	}
	return c.check(doc, schema, app.Spec.Config, "config", false)
}

// Payload holds a ConnectionCreation's spec.payload to its connection type's schema. A declared property
// may always be null, which leaves the attribute as it is. Other requests have no payload and pass.
func (c *Checker) Payload(doc Document, schema []byte) ErrorList {
	request, ok := doc.Value.(*Request)
	if !ok {
		return ErrorList{{Position: doc.Position, Msg: fmt.Sprintf("a %s document has no payload", doc.Kind)}}
	}
	if request.Kind != KindConnectionCreation {
		return nil
	}
	return c.check(doc, schema, request.Payload, "payload", true)
}

func (c *Checker) check(doc Document, schema []byte, value map[string]any, field string, nulls bool) ErrorList {
	root := &step{up: &step{key: "spec", index: -1}, key: field, index: -1}
	s := c.compile(schema)
	if s.err != nil {
		return ErrorList{{Position: doc.At(root.String()), Field: root.String(), Msg: "cannot be checked: the connector's schema is broken", Hint: "tell the connector's maker"}}
	}
	instance := make(map[string]any, len(value))
	left := map[string]bool{}
	for key, v := range value {
		if nulls && v == nil && s.declared[key] {
			left[key] = true
			continue
		}
		instance[key] = v
	}
	err := s.schema.Validate(instance)
	if err == nil {
		return nil
	}
	var list ErrorList
	for _, f := range findings(s.index, instance, err) {
		if f.msg == "is missing" && len(f.way) == 1 && left[f.way[0]] {
			continue
		}
		at := stepsIn(root, value, f.way)
		shown := at
		if len(f.way) > 0 && (f.unnamed || (f.msg != "is missing" && f.onKey && f.hint == "")) {
			// The name of an unknown field may be anything, a secret written as {secret} too.
			shown = at.up
		}
		hint := f.hint
		if hint == "" {
			hint = valueHint(f.msg, "", "")
		}
		list = append(list, Error{Position: doc.At(at.String()), Field: shown.shown(), Msg: f.msg, Hint: hint})
	}
	if len(list) == 0 {
		return nil
	}
	return list.bounded(0)
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
	s := newConnectorSchema(schema)
	if len(c.compiled) >= maxCheckerSchemas {
		clear(c.compiled)
	}
	c.compiled[key] = s
	return s
}

func newConnectorSchema(schema []byte) *connectorSchema {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		return &connectorSchema{err: fmt.Errorf("parse schema: %w", err)}
	}
	compiler := newCompiler()
	if err := compiler.AddResource(secretURL, secretSchema()); err != nil {
		return &connectorSchema{err: fmt.Errorf("add schema of secrets: %w", err)}
	}
	const url = "urn:countersign:connector"
	if err := compiler.AddResource(url, referToSecrets(doc)); err != nil {
		return &connectorSchema{err: fmt.Errorf("add schema: %w", err)}
	}
	compiled, err := compiler.Compile(url)
	if err != nil {
		return &connectorSchema{err: fmt.Errorf("compile schema: %w", err)}
	}
	s := &connectorSchema{schema: compiled, index: schemaIndex{}, declared: map[string]bool{}}
	s.index.add(compiled)
	for top := compiled; top != nil; top = top.Ref {
		for name := range top.Properties {
			s.declared[name] = true
		}
		for _, part := range top.AllOf {
			for name := range part.Properties {
				s.declared[name] = true
			}
		}
		if top.Ref == top {
			break
		}
	}
	return s
}

// referToSecrets replaces each subschema that has "x-secret": true by a reference to the schema of
// secrets, whatever else it says.
func referToSecrets(v any) any {
	switch v := v.(type) {
	case map[string]any:
		if secret, ok := v["x-secret"].(bool); ok && secret {
			return map[string]any{"$ref": secretURL}
		}
		out := maps.Clone(v)
		for key, sub := range v {
			out[key] = referToSecrets(sub)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, sub := range v {
			out[i] = referToSecrets(sub)
		}
		return out
	}
	return v
}

var (
	urlPassword   = regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://[^/\s@]*:[^/\s]*@`)
	assignedValue = regexp.MustCompile(`(?i)(^|[^a-z0-9])(password|passwd|passphrase|pwd|secret|token|api_?key|access_?key|account_?key|shared_?access_?key)\s*=\s*\S`)
	knownToken    = regexp.MustCompile(`(^|[^A-Za-z0-9])((ghp|gho|ghu|ghs|ghr|github_pat|glpat|xox[abeoprs]|sk_live|sk_test|rk_live|npm|hf|dop_v1|pypi|shpat|sk-ant|sk-proj)[_-][A-Za-z0-9_-]{10,}|(AKIA|ASIA)[A-Z0-9]{16}|AIza[A-Za-z0-9_-]{30,}|hv[sb]\.[A-Za-z0-9_-]{10,}|SG\.[A-Za-z0-9_-]{10,}\.|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.|AGE-SECRET-KEY-)`)
	secretKey     = regexp.MustCompile(`(?i)^(.*[_-])?(password|passwd|passphrase|pwd|secret|token|api[_-]?key|private[_-]?key|access[_-]?key|secret[_-]?key|credentials?)$`)
)

// credentialFault says why a text of a config or payload looks like a secret, or "". It is a net for
// what no schema has marked: the mark, not this, is what makes a property secret.
func credentialFault(key, value string) string {
	const belongs = " (expected a reference to a secret)"
	switch {
	case value == "":
		return ""
	case strings.Contains(value, "://") && urlPassword.MatchString(value):
		return "a URL with a password in it" + belongs
	case strings.Contains(value, "-----BEGIN"):
		return "a key or certificate block" + belongs
	case strings.Contains(value, "=") && assignedValue.MatchString(value):
		return "a connection string with a password or token in it" + belongs
	case len(value) >= 14 && knownToken.MatchString(value):
		return "what looks like an access token" + belongs
	case len(key) >= 3 && secretKey.MatchString(key):
		return "a literal where a secret belongs" + belongs
	}
	return ""
}
