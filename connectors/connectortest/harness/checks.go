package harness

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// OutcomeFaults lists the faults of an Apply's outcomes that are faults in any case.
func OutcomeFaults(ops []schemas.Operation, out []connectors.Outcome) []string {
	var faults []string
	seen := map[string]int{}
	for _, o := range out {
		seen[o.Operation]++
		if o.Attempts < 1 && connectors.CodeOf(o.Err) != connectors.Blocked {
			faults = append(faults, fmt.Sprintf("outcome of %s has %d attempts, want at least 1", o.Operation, o.Attempts))
		}
		if o.Started.IsZero() || o.Finished.Before(o.Started) {
			faults = append(faults, fmt.Sprintf("outcome of %s starts at %v and finishes at %v", o.Operation, o.Started, o.Finished))
		}
		if o.Err != nil {
			faults = append(faults, ErrorFaults(o.Err)...)
		}
	}
	for _, op := range ops {
		if seen[op.ID] != 1 {
			faults = append(faults, fmt.Sprintf("operation %s (%s) has %d outcomes, want 1", op.ID, op.Kind, seen[op.ID]))
		}
		delete(seen, op.ID)
	}
	for _, id := range slices.Sorted(maps.Keys(seen)) {
		faults = append(faults, fmt.Sprintf("unknown operation %q in an outcome", id))
	}
	return faults
}

// ErrorFaults lists the faults of a connector's error that are faults in any case.
func ErrorFaults(err error) []string {
	var faults []string
	if connectors.CodeOf(err) == "" {
		faults = append(faults, fmt.Sprintf("the error has no code: %v", err))
	}
	if strings.Contains(err.Error(), Canary) {
		faults = append(faults, "an error contains a secret")
	}
	if err.Error() == "" {
		faults = append(faults, "an error's message is empty")
	}
	return faults
}

// StateFaults lists the faults in a state's form.
func StateFaults(d schemas.Description, s schemas.State) []string {
	var faults []string
	for i, c := range s.Connections {
		if i > 0 && s.Connections[i-1].Name.Compare(c.Name) > 0 {
			faults = append(faults, fmt.Sprintf("connections are not sorted: %q is before %q", s.Connections[i-1].Name, c.Name))
		}
		typ, ok := d.Type(c.Type)
		if !ok {
			faults = append(faults, fmt.Sprintf("%q has a type that is not described", c.Name))
			continue
		}
		schema, err := ParsePayload(typ.Payload)
		if err != nil {
			faults = append(faults, err.Error())
			continue
		}
		for _, k := range slices.Sorted(maps.Keys(c.Payload)) {
			if !slices.Contains(schema.Names(), k) {
				faults = append(faults, fmt.Sprintf("%q has the attribute %q, which isn't in its schema", c.Name, k))
			}
		}
		for j, e := range c.Entitlements {
			if j > 0 && c.Entitlements[j-1].Compare(e) >= 0 {
				faults = append(faults, fmt.Sprintf("entitlements of %q are not sorted, or one is a duplicate: %q %s", c.Name, e.Target, e.Privilege))
			}
			if !slices.Contains([]schemas.EntitlementState{"", schemas.StateInvited, schemas.StateExpired, schemas.StateBlocked, schemas.StateUnresolved}, e.State) {
				faults = append(faults, fmt.Sprintf("an entitlement of %q has the state %q", c.Name, e.State))
			}
			if e.State == schemas.StateUnresolved && !e.Foreign {
				faults = append(faults, fmt.Sprintf("an unresolved entitlement of %q isn't foreign: %q", c.Name, e.Target))
			}
		}
	}
	return faults
}

// Compare ignores native ids and differences without meaning (nil and empty, kinds of numbers).
func Compare() []cmp.Option {
	return []cmp.Option{
		cmpopts.EquateEmpty(),
		cmpopts.IgnoreFields(schemas.Connection{}, "NativeID"),
		cmpopts.IgnoreFields(schemas.Entitlement{}, "TargetID"),
		cmp.FilterPath(func(p cmp.Path) bool { return p.Last().Type() == nil || p.Last().Type().Kind().String() == "interface" },
			cmp.Transformer("json", Plain)),
	}
}

// Plain returns a value in JSON's form.
func Plain(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprintf("%#v", v)
	}
	return string(b)
}

// PayloadSchema holds the parts of a JSON Schema that the suite needs.
type PayloadSchema struct {
	Schema     string         `json:"$schema"`
	Type       string         `json:"type"`
	Additional *bool          `json:"additionalProperties"`
	Properties map[string]any `json:"properties"`
}

// ParsePayload reads the schema of a connection type's payload.
func ParsePayload(schema json.RawMessage) (PayloadSchema, error) {
	var s PayloadSchema
	if err := json.Unmarshal(schema, &s); err != nil {
		return s, fmt.Errorf("the schema does not parse: %w", err)
	}
	return s, nil
}

// Names returns the attributes, sorted.
func (s PayloadSchema) Names() []string { return slices.Sorted(maps.Keys(s.Properties)) }

// Default returns the default of a property.
func (s PayloadSchema) Default(name string) (any, bool) {
	p, ok := s.Properties[name].(map[string]any)
	if !ok {
		return nil, false
	}
	v, ok := p["default"]
	return v, ok
}
