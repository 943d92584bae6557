package schemas

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"gopkg.in/yaml.v3"
)

// baseURL is where the schemas' $id lie; nothing is ever fetched from there.
const baseURL = "https://countersign.dev/schemas/v1/"

//go:embed jsonschema/*.json
var schemaFiles embed.FS

// documentKinds are the kinds that Decode knows, sorted.
func documentKinds() []Kind {
	return []Kind{
		KindAcknowledgement, KindAdmission, KindApplication, KindBudgetOverride, KindConnectionAssignment,
		KindConnectionCreation, KindConnectionDeletion, KindPeople, KindSettings,
	}
}

func kindNames() []string {
	var names []string
	for _, k := range documentKinds() {
		names = append(names, string(k))
	}
	return names
}

// SchemaNames are the names that JSONSchema knows, sorted: the kinds of documents, document (any of
// them, for editors), and the outputs plan, decision, policy-input and record.
func SchemaNames() []string {
	files, err := fs.Glob(schemaFiles, "jsonschema/*.json")
	if err != nil {
		return nil // the pattern is constant and well-formed
	}
	var names []string
	for _, f := range files {
		names = append(names, strings.TrimSuffix(strings.TrimPrefix(f, "jsonschema/"), ".json"))
	}
	slices.Sort(names)
	return names
}

// JSONSchema returns the JSON Schema (draft 2020-12) of that name. Case, dashes and underscores make no
// difference. The error for a name that is not known lists the names.
func JSONSchema(name string) ([]byte, error) {
	plain := func(s string) string {
		return strings.ToLower(strings.NewReplacer("-", "", "_", "").Replace(s))
	}
	names := SchemaNames()
	for _, n := range names {
		if plain(n) == plain(name) {
			return schemaFiles.ReadFile("jsonschema/" + n + ".json")
		}
	}
	hint := ""
	if h := didYouMean(name, names); h != "" {
		hint = "; " + h
	}
	return nil, fmt.Errorf("no schema is named %q (expected one of %s)%s", name, strings.Join(names, ", "), hint)
}

// schemaSet is what decoding needs of the schemas. It is not changed after it was made.
type schemaSet struct {
	kinds map[Kind]*kindSchema
	index schemaIndex
	plans structPlans
}

type kindSchema struct {
	kind   Kind
	schema *jsonschema.Schema
}

// compiled compiles the embedded schemas at the first use.
var compiled = sync.OnceValues(func() (*schemaSet, error) {
	set := &schemaSet{kinds: map[Kind]*kindSchema{}, index: schemaIndex{}, plans: newStructPlans()}
	c := newCompiler()
	for _, k := range documentKinds() {
		raw, err := schemaFiles.ReadFile("jsonschema/" + string(k) + ".json")
		if err != nil {
			return nil, fmt.Errorf("read the schema of %s: %w", k, err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
		if err != nil {
			return nil, fmt.Errorf("parse the schema of %s: %w", k, err)
		}
		if err := c.AddResource(baseURL+string(k)+".json", doc); err != nil {
			return nil, fmt.Errorf("add the schema of %s: %w", k, err)
		}
	}
	for _, k := range documentKinds() {
		s, err := c.Compile(baseURL + string(k) + ".json")
		if err != nil {
			return nil, fmt.Errorf("compile the schema of %s: %w", k, err)
		}
		set.kinds[k] = &kindSchema{kind: k, schema: s}
		set.index.add(s)
	}
	return set, nil
})

// noLoader refuses to fetch: a schema that refers to a file or a host is broken, or hostile.
type noLoader struct{}

func (noLoader) Load(url string) (any, error) {
	return nil, errors.New("a schema refers to something outside of it")
}

// newCompiler returns a compiler of draft 2020-12 that asserts formats and fetches nothing.
func newCompiler() *jsonschema.Compiler {
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(noLoader{})
	c.AssertFormat()
	c.RegisterFormat(&jsonschema.Format{Name: "date-time", Validate: func(v any) error {
		s, ok := v.(string)
		if !ok {
			return nil
		}
		_, err := parseInstant(s)
		return err
	}})
	return c
}

// parseInstant reads an instant of RFC 3339 with its zone, and returns it in UTC.
func parseInstant(s string) (time.Time, error) {
	var t time.Time
	// UnmarshalText is strict where Parse is not (single digits, a comma before the fraction).
	if err := t.UnmarshalText([]byte(s)); err != nil {
		return time.Time{}, errors.New("not an instant of RFC 3339")
	}
	// Beyond these years an instant cannot be written in UTC as RFC 3339 has it.
	if t = t.UTC(); t.Year() < 1 || t.Year() > 9999 {
		return time.Time{}, errors.New("not an instant of RFC 3339")
	}
	return t, nil
}

// schemaIndex finds a schema by its location.
type schemaIndex map[string]*jsonschema.Schema

func (x schemaIndex) add(s *jsonschema.Schema) {
	if s == nil || x[s.Location] == s {
		return
	}
	x[s.Location] = s
	x.add(s.Ref)
	x.add(s.Not)
	x.add(s.If)
	x.add(s.Then)
	x.add(s.Else)
	x.add(s.Items2020)
	x.add(s.Contains)
	x.add(s.PropertyNames)
	for _, list := range [][]*jsonschema.Schema{s.AllOf, s.AnyOf, s.OneOf, s.PrefixItems} {
		for _, sub := range list {
			x.add(sub)
		}
	}
	for _, sub := range s.Properties {
		x.add(sub)
	}
	for _, sub := range s.PatternProperties {
		x.add(sub)
	}
	if sub, ok := s.AdditionalProperties.(*jsonschema.Schema); ok {
		x.add(sub)
	}
}

// fields are the property names that the schema at a location knows, sorted.
func (x schemaIndex) fields(location string) []string {
	s := x[location]
	if s == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(s.Properties))
}

// finding is one fault that validation against a schema found: where in the instance, and whether the
// key or the value is at fault.
type finding struct {
	way   []string
	onKey bool
	// unnamed says that the last key of the way must not be printed.
	unnamed   bool
	msg, hint string
}

// findings turns a validation error into what people understand. No value of the instance is in it.
func findings(index schemaIndex, instance any, err error) []finding {
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return []finding{{msg: "cannot be checked against its schema"}}
	}
	var list []finding
	var missing []finding
	malformed := map[string]int{}
	// A key that looks like a missing one is reported as the misspelling that it is, not as two faults.
	misspelt := map[string]bool{}
	var visit func(e *jsonschema.ValidationError)
	visit = func(e *jsonschema.ValidationError) {
		at := e.InstanceLocation
		add := func(msg, hint string) { list = append(list, finding{way: at, msg: msg, hint: hint}) }
		if isSecret(e.SchemaURL) && !under(e.SchemaURL, "env") && !under(e.SchemaURL, "file") {
			add("a literal where a reference to a secret belongs (expected {env: NAME} or {file: /path})",
				"secrets never stand in Git: change it if this was ever pushed")
			return
		}
		switch k := e.ErrorKind.(type) {
		case *kind.Required:
			for _, name := range k.Missing {
				missing = append(missing, finding{way: append(slices.Clone(at), name), msg: "is missing"})
			}
		case *kind.AdditionalProperties:
			known := index.fields(e.SchemaURL)
			for _, name := range k.Properties {
				f := finding{way: append(slices.Clone(at), name), onKey: true, msg: "unknown field", hint: didYouMean(name, known)}
				if f.hint != "" {
					misspelt[strings.Join(append(slices.Clone(at), nearest(name, known)), "\x00")] = true
				}
				if f.hint == "" && len(known) > 0 {
					f.msg += " (expected " + oneOf(known) + ")"
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
			add("not an allowed value (expected "+oneOf(want)+")", didYouMean(got, want))
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
			list = append(list, finding{way: append(slices.Clone(at), strconv.Itoa(k.Duplicates[1])),
				msg: fmt.Sprintf("the same as item %d", k.Duplicates[0]), hint: "remove one"})
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
			list = append(list, finding{way: append(slices.Clone(at), k.Property), onKey: true, unnamed: true, msg: msg})
		case *kind.AnyOf, *kind.OneOf, *kind.Not, *kind.Contains, *kind.MinContains, *kind.MaxContains:
			add("has none of the allowed forms", "")
		case *kind.FalseSchema:
			list = append(list, finding{way: at, onKey: true, msg: "is not allowed here"})
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
		if !misspelt[strings.Join(f.way, "\x00")] {
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

// isSecret says whether a schema location is that of a reference to a secret: a connector's, or one of our own.
func isSecret(location string) bool {
	return strings.HasPrefix(location, secretURL) || strings.Contains(location, "#/$defs/SecretReference")
}

// under says whether a schema location lies in a property of that name.
func under(location, property string) bool {
	return strings.Contains(location, "/properties/"+property)
}

// translate reports a validation error at the nodes that it is about. What was reported already at a
// place is not reported there again: it is what the schema stumbled over.
func (d *decoder) translate(index schemaIndex, instance any, err error) {
	type place struct{ line, column int }
	seen := map[place]bool{}
	for _, e := range d.errs[d.before:] {
		seen[place{e.Line, e.Column}] = true
	}
	for _, f := range findings(index, instance, err) {
		value, key := d.lookup(f.way)
		n := value
		if key != nil && (f.onKey || isImplicitNull(value) || f.msg == "is missing") {
			n = key
		}
		if seen[place{n.Line + d.line, n.Column}] && f.msg != "is missing" {
			continue
		}
		at := d.steps(f.way)
		hint := f.hint
		if hint == "" {
			hint = valueHint(f.msg, value.Value, value.Tag)
		}
		d.fail(n, at, f.msg, hint)
	}
}

// isImplicitNull says whether the value is one that nobody wrote: the parser places it at the next line.
func isImplicitNull(n *yaml.Node) bool { return n.Tag == "!!null" && n.Value == "" }

// valueHint says how to mend a value of the wrong type.
func valueHint(msg, value, tag string) string {
	switch {
	case strings.HasPrefix(msg, "expected text, got a number"), strings.HasPrefix(msg, "expected text, got true or false"):
		return "quote it"
	case strings.HasSuffix(msg, "got nothing"):
		return "remove the field, or give it a value"
	case strings.HasPrefix(msg, "expected true or false, got text"):
		switch strings.ToLower(value) {
		case "yes", "on", "y":
			return "write true"
		case "no", "off", "n":
			return "write false"
		}
	case strings.HasPrefix(msg, "expected a number, got text"), strings.HasPrefix(msg, "expected a whole number, got text"):
		if _, err := strconv.ParseFloat(value, 64); err == nil {
			return "remove the quotation marks"
		}
	case strings.HasPrefix(msg, "not an instant"):
		if tag == "!!timestamp" || len(value) == len("2027-01-31") {
			return "write it as 2027-01-31T00:00:00Z"
		}
	}
	return ""
}

func wantedTypes(types []string) string {
	var want []string
	for _, t := range types {
		want = append(want, jsonTypeName(t))
	}
	return strings.Join(want, " or ")
}

// jsonTypeName says in words what JSON calls a type.
func jsonTypeName(t string) string {
	switch t {
	case "null":
		return "nothing"
	case "boolean":
		return "true or false"
	case "number":
		return "a number"
	case "integer":
		return "a whole number"
	case "string":
		return "text"
	case "array":
		return "a list"
	case "object":
		return "a mapping"
	}
	return t
}

func number(r *big.Rat) string {
	if r.IsInt() {
		return r.Num().String()
	}
	f, _ := r.Float64()
	return strconv.FormatFloat(f, 'g', -1, 64)
}

func oneOf(list []string) string {
	if len(list) == 1 {
		return list[0]
	}
	return "one of " + strings.Join(list, ", ")
}

// patternText says in words what a pattern asks for.
func patternText(pattern string) string {
	switch pattern {
	case `^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$`:
		return "lower-case letters, digits, dots, dashes and underscores, with a letter or digit at both ends"
	case `^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`:
		return "lower-case letters, digits and dashes, with a letter or digit at both ends"
	case `^[a-z][a-z0-9_]*$`:
		return "lower-case letters, digits and underscores, beginning with a letter"
	case `^[0-9a-f]{40}$`:
		return "a full Git hash of 40 hexadecimal digits"
	case `^([0-9a-f]{40})?$`:
		return "a full Git hash of 40 hexadecimal digits, or nothing"
	case `^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$`:
		return "owner/name"
	case `^(user|team):\S.*$`:
		return "user:LOGIN-OR-EMAIL or team:NAME"
	case `^[1-9][0-9]*(s|m|h)$`:
		return "a time like 30s, 10m or 1h"
	case envPattern:
		return "the name of an environment variable"
	case filePattern:
		return "an absolute path"
	}
	return "what matches " + pattern
}

// nearest returns the candidate that a word is most likely a misspelling of, or "".
func nearest(word string, candidates []string) string {
	if len(word) > 64 {
		return ""
	}
	best, distance := "", 0
	for _, c := range candidates {
		d := Distance(strings.ToLower(word), strings.ToLower(c))
		// A third of the letters may differ, and one even in short words.
		if d <= max(1, len(c)/3) && (best == "" || d < distance) {
			best, distance = c, d
		}
	}
	return best
}

func didYouMean(word string, candidates []string) string {
	if n := nearest(word, candidates); n != "" && n != word {
		return "did you mean " + n + "?"
	}
	return ""
}
