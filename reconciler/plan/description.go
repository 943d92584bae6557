package plan

import (
	"encoding/json"

	"github.com/countersign/countersign/schemas"
)

// types are the connection types of a description with what is looked up in them once for every
// connection: Description.Type copies, and a payload schema takes longer to parse than a connection to diff.
type types struct{ list []*typeInfo }

type typeInfo struct {
	typ   *schemas.ConnectionType
	known bool
	// defaults are the schema's properties that have one, parsed when first asked for.
	defaults map[string]any
	parsed   bool
}

func newTypes(d schemas.Description) types {
	t := types{make([]*typeInfo, len(d.Types))}
	for i := range d.Types {
		t.list[i] = &typeInfo{typ: &d.Types[i], known: true}
	}
	return t
}

// get never returns nil: an unknown type has an empty list of targets.
func (t types) get(name string) *typeInfo {
	for _, i := range t.list {
		if i.typ.Name == name {
			return i
		}
	}
	return &typeInfo{typ: &schemas.ConnectionType{Name: name}}
}

// target returns the grantable type of that name, nil when there is none.
func (i *typeInfo) target(name string) *schemas.GrantableType {
	for j := range i.typ.Grantable {
		if g := &i.typ.Grantable[j]; g.Type == name {
			return g
		}
	}
	return nil
}

func (i *typeInfo) privileges(e *schemas.Entry, revoke bool) []string {
	if t := i.target(e.Type); t != nil {
		return privileges(t, true, e, revoke)
	}
	return privileges(&schemas.GrantableType{}, false, e, revoke)
}

// payloadDefaults are the defaults of the type's payload.
func (i *typeInfo) payloadDefaults() map[string]any {
	if !i.parsed {
		i.defaults, i.parsed = payloadDefaults(i.typ.Payload), true
	}
	return i.defaults
}

// payloadDefaults are the properties of a payload schema that have a default. A schema that does not parse
// has none: the connector's own suite holds that against it.
func payloadDefaults(schema json.RawMessage) map[string]any {
	var s struct {
		Properties map[string]struct {
			Default any `json:"default"`
		} `json:"properties"`
	}
	if len(schema) == 0 || json.Unmarshal(schema, &s) != nil {
		return nil
	}
	out := make(map[string]any, len(s.Properties))
	for name, p := range s.Properties {
		if p.Default != nil {
			out[name] = p.Default
		}
	}
	return out
}

// CompletePayload fills in the defaults of the type's payload schema and drops what is null. A property
// that is absent and without a default is left alone in the application, as is a null.
func CompletePayload(typ schemas.ConnectionType, payload map[string]any) map[string]any {
	i := typeInfo{typ: &typ}
	return i.complete(payload)
}

func (i *typeInfo) complete(payload map[string]any) map[string]any {
	defaults := i.payloadDefaults()
	out := make(map[string]any, len(payload)+len(defaults))
	for k, v := range defaults {
		out[k] = v
	}
	for k, v := range payload {
		if v == nil {
			delete(out, k)
			continue
		}
		out[k] = v
	}
	return out
}
