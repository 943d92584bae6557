package exec

import (
	"encoding/json"
	"fmt"
	"slices"
	"unicode"
	"unicode/utf8"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// description is what a child says of itself, under the operator's name for it.
func description(name string, w *schemas.ConnectorDescription) (connectors.Description, error) {
	d := connectors.Description{Name: name, Title: w.Title, Version: w.Version, PlanScript: w.PlanScript, ApplyScript: w.ApplyScript}
	var err error
	if d.Config, err = json.Marshal(w.Config); err != nil {
		return d, fmt.Errorf("config: %w", err)
	}
	for _, t := range w.Types {
		typ := connectors.ConnectionType{Name: t.Name, Title: t.Title, Create: t.Create, Update: t.Update, Delete: t.Delete, Reassign: t.Reassign,
			Names: nameRule(t.Names), Privileged: t.Privileged, PrivilegedFields: t.PrivilegedFields}
		if typ.Payload, err = json.Marshal(t.Payload); err != nil {
			return d, fmt.Errorf("payload of %s: %w", t.Name, err)
		}
		for _, g := range t.Grantable {
			typ.Grantable = append(typ.Grantable, connectors.GrantableType{Type: g.Type, Edge: connectors.Edge(g.Edge), Privileges: g.Privileges, Default: g.Default, Implies: g.Implies, Single: g.Single,
				Names: nameRule(g.Names), Privileged: g.Privileged, PrivilegedPrivileges: g.PrivilegedPrivileges, Grant: g.Grant, Revoke: g.Revoke})
		}
		d.Types = append(d.Types, typ)
	}
	return d, nil
}

func nameRule(n schemas.ConnectorNames) connectors.NameRule {
	return connectors.NameRule{MaxBytes: n.MaxBytes, Pattern: n.Pattern, Reserved: n.Reserved, FoldCase: n.FoldCase}
}

// wireDescription is the other way.
func wireDescription(d connectors.Description) (*schemas.ConnectorDescription, error) {
	w := &schemas.ConnectorDescription{Title: d.Title, Version: d.Version, PlanScript: d.PlanScript, ApplyScript: d.ApplyScript}
	if err := json.Unmarshal(d.Config, &w.Config); err != nil {
		return nil, fmt.Errorf("config schema: %w", err)
	}
	names := func(r connectors.NameRule) schemas.ConnectorNames {
		return schemas.ConnectorNames{MaxBytes: r.MaxBytes, Pattern: r.Pattern, Reserved: r.Reserved, FoldCase: r.FoldCase}
	}
	for _, t := range d.Types {
		typ := schemas.ConnectorType{Name: t.Name, Title: t.Title, Create: t.Create, Update: t.Update, Delete: t.Delete, Reassign: t.Reassign,
			Names: names(t.Names), Privileged: t.Privileged, PrivilegedFields: t.PrivilegedFields}
		if err := json.Unmarshal(t.Payload, &typ.Payload); err != nil {
			return nil, fmt.Errorf("payload schema of %s: %w", t.Name, err)
		}
		for _, g := range t.Grantable {
			typ.Grantable = append(typ.Grantable, schemas.ConnectorTarget{Type: g.Type, Edge: string(g.Edge), Privileges: g.Privileges, Default: g.Default, Implies: g.Implies, Single: g.Single,
				Names: names(g.Names), Privileged: g.Privileged, PrivilegedPrivileges: g.PrivilegedPrivileges, Grant: g.Grant, Revoke: g.Revoke})
		}
		w.Types = append(w.Types, typ)
	}
	return w, nil
}

func wireConnection(c connectors.Connection) schemas.ConnectorConnection {
	w := schemas.ConnectorConnection{Name: c.Name, NativeID: c.NativeID, Payload: c.Payload, Protected: c.Protected}
	for _, e := range c.Entitlements {
		w.Entitlements = append(w.Entitlements, schemas.ConnectorEntitlement{Target: e.Target, TargetID: e.TargetID, Privilege: e.Privilege, State: e.State})
	}
	return w
}

func connection(w schemas.ConnectorConnection) connectors.Connection {
	return connectors.Connection{Name: w.Name, NativeID: w.NativeID, Payload: w.Payload, Protected: w.Protected, Entitlements: entitlements(w.Entitlements)}
}

func entitlements(list []schemas.ConnectorEntitlement) []connectors.Entitlement {
	if len(list) == 0 {
		return nil
	}
	out := make([]connectors.Entitlement, len(list))
	for i, e := range list {
		out[i] = connectors.Entitlement{Target: e.Target, TargetID: e.TargetID, Privilege: e.Privilege, State: e.State}
	}
	return out
}

func wireOperation(o *schemas.Operation) schemas.ConnectorOperation {
	return schemas.ConnectorOperation{ID: o.ID, Kind: string(o.Kind), Connection: o.Connection, NativeID: o.NativeID, Target: o.Target, TargetID: o.TargetID,
		Privilege: o.Privilege, Before: o.Before, After: o.After, ReassignTo: o.ReassignTo}
}

func operation(application string, w schemas.ConnectorOperation) schemas.Operation {
	return schemas.Operation{ID: w.ID, Kind: schemas.OperationKind(w.Kind), Application: application, Connection: w.Connection, NativeID: w.NativeID,
		Target: w.Target, TargetID: w.TargetID, Privilege: w.Privilege, Before: w.Before, After: w.After, ReassignTo: w.ReassignTo}
}

// textFault says why a name or id that a child gives cannot be one, or "".
func textFault(s string) string {
	for _, r := range s {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return fmt.Sprintf("the character U+%04X", r)
		}
	}
	return ""
}

// sayable says whether JSON can hold all of a request's names as they are.
func sayable(names ...string) bool {
	return !slices.ContainsFunc(names, func(s string) bool { return !utf8.ValidString(s) })
}

// generic is a value as a JSON Schema wants it.
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
