package exec

import (
	"encoding/json"
	"fmt"
	"slices"
	"unicode"
	"unicode/utf8"

	"github.com/countersign/countersign/schemas"
)

// description returns a child's description of itself, under the operator's name for it. Its schemas are put into one
// form, so that those of two answers can be compared.
func description(name string, w *schemas.Description) (schemas.Description, error) {
	d := *w
	d.Name = name
	d.Types = slices.Clone(w.Types)
	var err error
	if d.Config, err = sortedKeys(w.Config); err != nil {
		return d, fmt.Errorf("config: %w", err)
	}
	for i := range d.Types {
		if d.Types[i].Payload, err = sortedKeys(d.Types[i].Payload); err != nil {
			return d, fmt.Errorf("payload of %s: %w", d.Types[i].Name, err)
		}
	}
	return d, nil
}

// sortedKeys returns a schema with its keys sorted and without white space.
func sortedKeys(schema json.RawMessage) (json.RawMessage, error) {
	var v map[string]any
	if err := json.Unmarshal(schema, &v); err != nil {
		return nil, err
	}
	return json.Marshal(v)
}

// wireDescription returns a description in the protocol's form, without the name, which the operator chooses.
func wireDescription(d schemas.Description) *schemas.Description {
	d.Name = ""
	return &d
}

func wireOperation(o *schemas.Operation) schemas.ConnectorOperation {
	return schemas.ConnectorOperation{ID: o.ID, Kind: string(o.Kind), Connection: o.Connection, NativeID: o.NativeID, Target: o.Target, TargetID: o.TargetID,
		Privilege: o.Privilege, Before: o.Before, After: o.After, ReassignTo: o.ReassignTo}
}

func operation(application string, w schemas.ConnectorOperation) schemas.Operation {
	return schemas.Operation{ID: w.ID, Kind: schemas.OperationKind(w.Kind), Application: application, Connection: w.Connection, NativeID: w.NativeID,
		Target: w.Target, TargetID: w.TargetID, Privilege: w.Privilege, Before: w.Before, After: w.After, ReassignTo: w.ReassignTo}
}

// textFault returns the reason why a name or id from a child is invalid, or "".
func textFault(s string) string {
	for _, r := range s {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return fmt.Sprintf("the character U+%04X", r)
		}
	}
	return ""
}

// sayable reports whether JSON can represent all of a request's names exactly.
func sayable(names ...string) bool {
	return !slices.ContainsFunc(names, func(s string) bool { return !utf8.ValidString(s) })
}

// generic returns a value in the form that a JSON Schema validates.
func generic(v any) any {
	b, err := json.Marshal(v)
	if err != nil {
		return v // the schema will refuse it
	}
	var out any
	if json.Unmarshal(b, &out) != nil {
		return v
	}
	return out
}
