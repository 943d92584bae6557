package judge

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/countersign/countersign/schemas"
	"github.com/countersign/countersign/schemas/jsonschema"
)

// TypeErrors reports names in an application's scope, grantable and privileged that are not types of its connector. A
// misspelt type there would silently restrict nothing: every identity could be granted, and no second sign-off asked for.
// d is the application's document.
func TypeErrors(d schemas.Document, spec *schemas.ApplicationSpec, desc schemas.Description) schemas.ErrorList {
	return slices.Concat(scopeErrors(d, spec, desc), listErrors(d, spec, desc))
}

// scopeErrors reports unknown types of the scope, whose keys are types of connections.
func scopeErrors(d schemas.Document, spec *schemas.ApplicationSpec, desc schemas.Description) schemas.ErrorList {
	return typeErrors(d, "spec.scope", spec.Scope, connectionTypes(desc))
}

// listErrors reports unknown types of grantable, whose keys are types of targets, and of privileged, whose keys are
// either.
func listErrors(d schemas.Document, spec *schemas.ApplicationSpec, desc schemas.Description) schemas.ErrorList {
	targets := targetTypes(desc)
	either := slices.Concat(connectionTypes(desc), targets)
	slices.Sort(either)
	return slices.Concat(
		typeErrors(d, "spec.grantable", spec.Grantable, targets),
		typeErrors(d, "spec.privileged", spec.Privileged, slices.Compact(either)),
	)
}

func typeErrors(d schemas.Document, field string, patterns map[string][]string, types []string) schemas.ErrorList {
	var list schemas.ErrorList
	for _, t := range slices.Sorted(maps.Keys(patterns)) {
		if !slices.Contains(types, t) {
			list = append(list, UnknownName(d, field+"."+t, field, "type", t, types))
		}
	}
	return list
}

// UnknownName returns the error for a name in a document that is not one of the known names. at is the place of the name,
// and field the field that the error shows.
func UnknownName(d schemas.Document, at, field, kind, name string, known []string) schemas.Error {
	e := schemas.Error{Position: d.At(at), Field: field, Msg: fmt.Sprintf("unknown %s %q", kind, name)}
	if e.Hint = jsonschema.DidYouMean(name, known); e.Hint == "" && len(known) > 0 {
		e.Msg += " (expected one of " + strings.Join(known, ", ") + ")"
	}
	return e
}

// connectionTypes returns the types of connections, sorted.
func connectionTypes(desc schemas.Description) []string {
	var out []string
	for i := range desc.Types {
		out = append(out, desc.Types[i].Name)
	}
	slices.Sort(out)
	return out
}

// targetTypes returns the types of everything that can be granted, sorted.
func targetTypes(desc schemas.Description) []string {
	var out []string
	for i := range desc.Types {
		for j := range desc.Types[i].Grantable {
			out = append(out, desc.Types[i].Grantable[j].Type)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
