package jsonschema

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// Finding is one fault that validation against a schema found: where in the instance, and whether the
// key or the value is at fault.
type Finding struct {
	// Way leads to the fault: keys, and indexes in decimal.
	Way   []string
	OnKey bool
	// Unnamed means that the last key of Way must not be printed.
	Unnamed bool
	Msg     string
	Hint    string
}

// findings turns a validation error into what people understand. No value of the instance is in it.
func findings(index schemaIndex, instance any, err error) []Finding {
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return []Finding{{Msg: "cannot be checked against its schema"}}
	}
	var list []Finding
	var missing []Finding
	malformed := map[string]int{}
	// A key that looks like a missing one is reported as the misspelling that it is, not as two faults.
	misspelt := map[string]bool{}
	var visit func(e *jsonschema.ValidationError)
	visit = func(e *jsonschema.ValidationError) {
		at := e.InstanceLocation
		add := func(msg, hint string) { list = append(list, Finding{Way: at, Msg: msg, Hint: hint}) }
		if isSecret(e.SchemaURL) && !under(e.SchemaURL, "env") && !under(e.SchemaURL, "file") {
			add("a literal where a reference to a secret belongs (expected {env: NAME} or {file: /path})",
				"secrets never belong in Git: change it if this was ever pushed")
			return
		}
		switch k := e.ErrorKind.(type) {
		case *kind.Required:
			for _, name := range k.Missing {
				missing = append(missing, Finding{Way: append(slices.Clone(at), name), Msg: "is missing"})
			}
		case *kind.AdditionalProperties:
			known := index.fields(e.SchemaURL)
			for _, name := range k.Properties {
				f := Finding{Way: append(slices.Clone(at), name), OnKey: true, Msg: "unknown field", Hint: DidYouMean(name, known)}
				if f.Hint != "" {
					misspelt[strings.Join(append(slices.Clone(at), nearest(name, known)), "\x00")] = true
				}
				if f.Hint == "" && len(known) > 0 {
					f.Msg += " (expected " + oneOf(known) + ")"
				}
				list = append(list, f)
			}
		case *kind.Type:
			got := jsonTypeName(k.Got)
			if k.Got == "number" && slices.Contains(k.Want, "integer") {
				got = "a fraction"
			}
			add("expected "+wantedTypes(k.Want)+", got "+got, "")
		case *kind.Enum:
			var want []string
			for _, w := range k.Want {
				want = append(want, fmt.Sprint(w))
			}
			got, _ := k.Got.(string)
			add("not an allowed value (expected "+oneOf(want)+")", DidYouMean(got, want))
		case *kind.Const:
			add(fmt.Sprintf("not the allowed value (expected %v)", k.Want), "")
		case *kind.Pattern:
			if k.Got != "" { // an empty text is reported as such, where it may not be empty
				add("malformed (expected "+patternText(k.Want)+")", "")
			} else if s := index[e.SchemaURL]; s == nil || s.MinLength == nil {
				add("is empty (expected "+patternText(k.Want)+")", "")
			}
		case *kind.Format:
			if k.Want == "date-time" {
				add("not an instant (expected RFC 3339 with a zone)", "write it as 2027-01-31T00:00:00Z")
			} else {
				add("malformed (expected "+k.Want+")", "")
			}
		case *kind.MinLength:
			if k.Want == 1 {
				add("is empty", "")
			} else {
				add(fmt.Sprintf("has %d characters (expected at least %d)", k.Got, k.Want), "")
			}
		case *kind.MaxLength:
			add(fmt.Sprintf("has %d characters (expected at most %d)", k.Got, k.Want), "")
		case *kind.MinItems:
			if k.Want == 1 {
				add("the list is empty", "")
			} else {
				add(fmt.Sprintf("the list has %d items (expected at least %d)", k.Got, k.Want), "")
			}
		case *kind.MaxItems:
			add(fmt.Sprintf("the list has %d items (expected at most %d)", k.Got, k.Want), "")
		case *kind.UniqueItems:
			list = append(list, Finding{Way: append(slices.Clone(at), strconv.Itoa(k.Duplicates[1])),
				Msg: fmt.Sprintf("the same as item %d", k.Duplicates[0]), Hint: "remove one"})
		case *kind.MinProperties:
			add(fmt.Sprintf("has %d fields (expected at least %d)", k.Got, k.Want), "")
		case *kind.MaxProperties:
			add(fmt.Sprintf("has %d fields (expected at most %d)", k.Got, k.Want), "")
		case *kind.Minimum:
			add("too small (expected at least "+number(k.Want)+")", "")
		case *kind.Maximum:
			add("too large (expected at most "+number(k.Want)+")", "")
		case *kind.ExclusiveMinimum:
			add("too small (expected more than "+number(k.Want)+")", "")
		case *kind.ExclusiveMaximum:
			add("too large (expected less than "+number(k.Want)+")", "")
		case *kind.MultipleOf:
			add("expected a multiple of "+number(k.Want), "")
		case *kind.PropertyNames:
			msg := "a malformed key"
			if len(e.Causes) > 0 {
				if p, ok := e.Causes[0].ErrorKind.(*kind.Pattern); ok {
					msg += " (expected " + patternText(p.Want) + ")"
				}
			}
			// The location that the validator gives shares its memory with later ones: only its length holds.
			ways := keyWays(instance, nil, len(at), k.Property, namedProperty(e.SchemaURL))
			where := e.SchemaURL + "\x00" + k.Property
			if n := malformed[where]; n < len(ways) {
				at = ways[n]
				malformed[where]++
			} else {
				at = nil
			}
			list = append(list, Finding{Way: append(slices.Clone(at), k.Property), OnKey: true, Unnamed: true, Msg: msg})
		case *kind.AnyOf, *kind.OneOf, *kind.Not, *kind.Contains, *kind.MinContains, *kind.MaxContains:
			add("has none of the allowed forms", "")
		case *kind.FalseSchema:
			list = append(list, Finding{Way: at, OnKey: true, Msg: "is not allowed here"})
		case *kind.Dependency:
			add("stands without "+strings.Join(k.Missing, ", "), "")
		case *kind.DependentRequired:
			add("stands without "+strings.Join(k.Missing, ", "), "")
		default:
			if len(e.Causes) == 0 {
				add("is not as its schema wants it", "")
				return
			}
			for _, cause := range e.Causes {
				visit(cause)
			}
		}
	}
	visit(invalid)
	for _, f := range missing {
		if !misspelt[strings.Join(f.Way, "\x00")] {
			list = append(list, f)
		}
	}
	return list
}

// namedProperty is the property whose keys the schema at a location is about, or "".
func namedProperty(location string) string {
	rest, ok := strings.CutSuffix(location, "/propertyNames")
	if !ok {
		return ""
	}
	parts := strings.Split(rest, "/")
	if n := len(parts); n >= 2 && parts[n-2] == "properties" {
		return strings.NewReplacer("~1", "/", "~0", "~").Replace(parts[n-1])
	}
	return ""
}

// keyWays are the ways to the mappings that have the key, depth steps down; with name, only those that
// are the value of a property of that name. They are sorted.
func keyWays(v any, way []string, depth int, key, name string) [][]string {
	if depth == 0 {
		m, ok := v.(map[string]any)
		if !ok || (name != "" && (len(way) == 0 || way[len(way)-1] != name)) {
			return nil
		}
		if _, ok := m[key]; !ok {
			return nil
		}
		return [][]string{slices.Clone(way)}
	}
	var ways [][]string
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			ways = append(ways, keyWays(v[k], append(way, k), depth-1, key, name)...)
		}
	case []any:
		for i, item := range v {
			ways = append(ways, keyWays(item, append(way, strconv.Itoa(i)), depth-1, key, name)...)
		}
	}
	return ways
}

// isSecret reports whether a schema location is that of a reference to a secret: a connector's, or one of our own.
func isSecret(location string) bool {
	return strings.HasPrefix(location, secretURL) || strings.Contains(location, "#/$defs/SecretReference")
}

// under reports whether a schema location lies in a property of that name.
func under(location, property string) bool {
	return strings.Contains(location, "/properties/"+property)
}
