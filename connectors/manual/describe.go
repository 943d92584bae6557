package manual

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

const configSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "required": ["types"],
  "properties": {
    "title": {"type": "string", "minLength": 1, "maxLength": 100, "description": "The application's name for people; default: the connector's name."},
    "types": {
      "type": "array", "minItems": 1, "maxItems": 50,
      "description": "Its types of groups, roles and policies.",
      "items": {
        "type": "object", "additionalProperties": false, "required": ["name"],
        "properties": {
          "name": {"type": "string", "pattern": "^[a-z][a-z0-9_]*$", "maxLength": 64},
          "title": {"type": "string", "maxLength": 100},
          "create": {"type": "boolean", "default": true},
          "update": {"type": "boolean", "default": true},
          "delete": {"type": "boolean", "default": true},
          "reassign": {"type": "boolean", "default": false},
          "payload": {"type": "object", "description": "The attributes: a JSON Schema for each."},
          "names": {"$ref": "#/$defs/names"},
          "privileged": {"$ref": "#/$defs/texts", "description": "Glob patterns of privileged ones."},
          "privileged_fields": {"$ref": "#/$defs/texts", "description": "Attributes that are privileged unless they have their default."},
          "grantable": {
            "type": "array", "maxItems": 50,
            "description": "What it can be granted.",
            "items": {
              "type": "object", "additionalProperties": false, "required": ["type", "edge"],
              "properties": {
                "type": {"type": "string", "pattern": "^[a-z][a-z0-9_]*$", "maxLength": 64},
                "edge": {"enum": ["identity", "member", "connection", "resource"], "description": "identity and member: the target becomes a member of it. connection: it becomes a member of the target. resource: it can use the target."},
                "privileges": {"$ref": "#/$defs/texts", "description": "For resources: all privileges. For memberships: MEMBER, and ADMIN if listed."},
                "default": {"$ref": "#/$defs/texts", "description": "The privileges of an entry that lists none."},
                "names": {"$ref": "#/$defs/names"},
                "privileged": {"$ref": "#/$defs/texts"},
                "privileged_privileges": {"$ref": "#/$defs/texts"},
                "grant": {"type": "boolean", "default": true},
                "revoke": {"type": "boolean", "default": true}
              }
            }
          }
        }
      }
    }
  },
  "$defs": {
    "texts": {"type": "array", "maxItems": 200, "items": {"type": "string", "minLength": 1, "maxLength": 1024}},
    "names": {
      "type": "object", "additionalProperties": false,
      "properties": {
        "max_bytes": {"type": "integer", "minimum": 1},
        "pattern": {"type": "string", "maxLength": 1000, "description": "A regular expression (RE2) that must match the entire name."},
        "reserved": {"$ref": "#/$defs/texts", "description": "Glob patterns of names that the application reserves."}
      }
    }
  }
}`

// config is spec.config.
type config struct {
	Title string           `json:"title"`
	Types []connectionType `json:"types"`
}

type connectionType struct {
	Name             string                     `json:"name"`
	Title            string                     `json:"title"`
	Create           bool                       `json:"create"`
	Update           bool                       `json:"update"`
	Delete           bool                       `json:"delete"`
	Reassign         bool                       `json:"reassign"`
	Payload          map[string]json.RawMessage `json:"payload"`
	Names            names                      `json:"names"`
	Privileged       []string                   `json:"privileged"`
	PrivilegedFields []string                   `json:"privileged_fields"`
	Grantable        []grantable                `json:"grantable"`
}

type grantable struct {
	Type                 string       `json:"type"`
	Edge                 schemas.Edge `json:"edge"`
	Privileges           []string     `json:"privileges"`
	Default              []string     `json:"default"`
	Names                names        `json:"names"`
	Privileged           []string     `json:"privileged"`
	PrivilegedPrivileges []string     `json:"privileged_privileges"`
	Grant                bool         `json:"grant"`
	Revoke               bool         `json:"revoke"`
}

type names struct {
	MaxBytes int      `json:"max_bytes"`
	Pattern  string   `json:"pattern"`
	Reserved []string `json:"reserved"`
}

// Describe describes what all such applications have in common. Types come from the config.
func (Connector) Describe() schemas.Description {
	return schemas.Description{Name: "manual", Title: "An application that is attested", Config: json.RawMessage(configSchema), Attested: true,
		PlanScript: "# countersign reads nothing, so it needs no credential.", ApplyScript: "# countersign changes nothing: the people or service that carry requests out use their own credentials."}
}

func invalid(field, format string, args ...any) error {
	return connectors.Config{}.Invalid(field, format, args...)
}

// DescribeConfig describes an application by its configuration.
func (c Connector) DescribeConfig(values map[string]any) (schemas.Description, error) {
	d := c.Describe()
	var cfg config
	if err := connectors.Bind(connectors.Config{Values: values}, d.Config, &cfg); err != nil {
		return d, err
	}
	if cfg.Title != "" {
		d.Title = cfg.Title
	}
	seen := map[string]bool{}
	for i := range cfg.Types {
		t := &cfg.Types[i]
		if seen[t.Name] {
			return d, invalid(fmt.Sprintf("types[%d].name", i), "duplicate type %s", t.Name)
		}
		seen[t.Name] = true
	}
	for i := range cfg.Types {
		typ, err := cfg.Types[i].describe(fmt.Sprintf("types[%d]", i), seen)
		if err != nil {
			return d, err
		}
		d.Types = append(d.Types, typ)
	}
	slices.SortFunc(d.Types, func(a, b schemas.ConnectionType) int { return strings.Compare(a.Name, b.Name) })
	return d, nil
}

func (t *connectionType) describe(at string, types map[string]bool) (schemas.ConnectionType, error) {
	out := schemas.ConnectionType{Name: t.Name, Title: t.Title, Create: t.Create, Update: t.Update && len(t.Payload) > 0, Delete: t.Delete, Reassign: t.Reassign,
		Privileged: t.Privileged, PrivilegedFields: t.PrivilegedFields}
	if out.Title == "" {
		out.Title = t.Name
	}
	var err error
	if out.Payload, err = payload(at+".payload", t.Payload); err != nil {
		return out, err
	}
	for _, f := range t.PrivilegedFields {
		if _, ok := t.Payload[f]; !ok {
			return out, invalid(at+".privileged_fields", "unknown attribute %q (expected one of payload)", f)
		}
	}
	if out.Names, err = t.Names.rule(at + ".names"); err != nil {
		return out, err
	}
	if err := patterns(at+".privileged", t.Privileged); err != nil {
		return out, err
	}
	for i := range t.Grantable {
		g, err := t.Grantable[i].describe(fmt.Sprintf("%s.grantable[%d]", at, i), types)
		if err != nil {
			return out, err
		}
		if _, twice := out.Target(g.Type); twice {
			return out, invalid(fmt.Sprintf("%s.grantable[%d].type", at, i), "duplicate type %s", g.Type)
		}
		out.Grantable = append(out.Grantable, g)
	}
	return out, nil
}

// payload builds the schema of a type's attributes.
func payload(at string, attributes map[string]json.RawMessage) (json.RawMessage, error) {
	if attributes == nil {
		attributes = map[string]json.RawMessage{}
	}
	raw, err := json.Marshal(map[string]any{"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "additionalProperties": false, "properties": attributes})
	if err != nil {
		return nil, invalid(at, "invalid JSON")
	}
	var doc any
	if doc, err = jsonschema.UnmarshalJSON(bytes.NewReader(raw)); err != nil {
		return nil, invalid(at, "invalid JSON")
	}
	if key := refers(doc, true); key != "" {
		return nil, invalid(at, "%s: not supported (expected a schema without references)", key)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(nothing{})
	const url = "urn:countersign:payload"
	if err := c.AddResource(url, doc); err != nil {
		return nil, invalid(at, "invalid JSON Schema")
	}
	if _, err := c.Compile(url); err != nil {
		return nil, invalid(at, "invalid JSON Schema (expected draft 2020-12 for each attribute)")
	}
	return raw, nil
}

// nothing is a loader that refuses every reference.
type nothing struct{}

func (nothing) Load(string) (any, error) { return nil, errors.New("external reference") }

// refers finds a keyword that refers to another schema. The outermost schema is ours.
func refers(v any, ours bool) string {
	switch v := v.(type) {
	case map[string]any:
		for k, sub := range v {
			if !ours && strings.HasPrefix(k, "$") {
				return k
			}
			if found := refers(sub, false); found != "" {
				return found
			}
		}
	case []any:
		for _, sub := range v {
			if found := refers(sub, false); found != "" {
				return found
			}
		}
	}
	return ""
}

func (n *names) rule(at string) (schemas.NameRule, error) {
	if n.Pattern != "" {
		if _, err := regexp.Compile(n.Pattern); err != nil {
			return schemas.NameRule{}, invalid(at+".pattern", "invalid regular expression (expected RE2)")
		}
	}
	return schemas.NameRule{MaxBytes: n.MaxBytes, Pattern: n.Pattern, Reserved: n.Reserved}, patterns(at+".reserved", n.Reserved)
}

func patterns(at string, list []string) error {
	for _, p := range list {
		if err := schemas.CheckPattern(p); err != nil {
			return invalid(at, "%v", err)
		}
	}
	return nil
}

func (g *grantable) describe(at string, types map[string]bool) (schemas.GrantableType, error) {
	out := schemas.GrantableType{Type: g.Type, Edge: g.Edge, Privileges: g.Privileges, Default: g.Default, Privileged: g.Privileged, PrivilegedPrivileges: g.PrivilegedPrivileges,
		Grant: g.Grant, Revoke: g.Revoke}
	switch g.Edge {
	case schemas.EdgeIdentity, schemas.EdgeMember, schemas.EdgeConnection:
		if g.Edge == schemas.EdgeIdentity == types[g.Type] {
			return out, invalid(at+".edge", "%s: invalid for this type (identity is for accounts, member and connection are for types listed under types)", g.Edge)
		}
		for _, p := range g.Privileges {
			if p != schemas.PrivilegeMember && p != schemas.PrivilegeAdmin {
				return out, invalid(at+".privileges", "invalid privilege of a membership (expected %s or %s)", schemas.PrivilegeMember, schemas.PrivilegeAdmin)
			}
		}
		if len(g.Privileges) == 0 {
			out.Privileges = []string{schemas.PrivilegeMember}
		}
		if len(g.Default) == 0 {
			out.Default = []string{schemas.PrivilegeMember}
		}
	case schemas.EdgeResource:
		if len(g.Privileges) == 0 {
			return out, invalid(at+".privileges", "required: list what can be done with a %s", g.Type)
		}
		if types[g.Type] {
			return out, invalid(at+".edge", "%s is a type of connections, not a resource", g.Type)
		}
	}
	for _, list := range [][]string{out.Default, g.PrivilegedPrivileges} {
		for _, p := range list {
			if !slices.Contains(out.Privileges, p) {
				return out, invalid(at, "unknown privilege %q (expected one of privileges)", p)
			}
		}
	}
	var err error
	if out.Names, err = g.Names.rule(at + ".names"); err != nil {
		return out, err
	}
	return out, patterns(at+".privileged", g.Privileged)
}
