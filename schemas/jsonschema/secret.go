package jsonschema

import (
	"encoding/json"
	"maps"
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

// referToSecrets replaces each subschema that has "x-secret": true by a reference to the schema of
// secrets, whatever else it contains.
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
