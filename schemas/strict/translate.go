package strict

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"

	"gopkg.in/yaml.v3"

	"github.com/countersign/countersign/schemas"
	"github.com/countersign/countersign/schemas/jsonschema"
)

// schemaSet is what decoding needs of the schemas. It is not changed after it was made.
type schemaSet struct {
	kinds map[schemas.Kind]*kindSchema
	plans structPlans
}

// kindSchema is the schema of a kind. The kind is the constant: text of the file would keep all of it in memory.
type kindSchema struct {
	*jsonschema.Schema
	decoding
	kind schemas.Kind
}

// compiled compiles the embedded schemas at the first use.
var compiled = sync.OnceValues(func() (*schemaSet, error) {
	published, err := jsonschema.Published(kindNames()...)
	if err != nil {
		return nil, err
	}
	set := &schemaSet{kinds: map[schemas.Kind]*kindSchema{}, plans: structPlans{}}
	set.plans.add(reflect.TypeFor[schemas.Metadata]())
	known := decodings()
	for _, k := range schemas.DocumentKinds() {
		decoding, ok := known[k]
		if !ok {
			return nil, fmt.Errorf("%s documents can't be decoded", k)
		}
		set.plans.add(decoding.spec)
		set.kinds[k] = &kindSchema{published[string(k)], decoding, k}
	}
	return set, nil
})

func kindNames() []string {
	var names []string
	for _, k := range schemas.DocumentKinds() {
		names = append(names, string(k))
	}
	return names
}

// translate reports a validation error at the nodes that it is about. A place that already
// has a report gets no second one: the first is what the schema stumbled over.
func (d *decoder) translate(list []jsonschema.Finding) {
	type place struct{ line, column int }
	seen := map[place]bool{}
	for _, e := range d.errs[d.before:] {
		seen[place{e.Line, e.Column}] = true
	}
	for _, f := range list {
		value, key := d.lookup(f.Way)
		n := value
		if key != nil && (f.OnKey || isImplicitNull(value) || f.Msg == "is missing") {
			n = key
		}
		if seen[place{n.Line + d.line, n.Column}] && f.Msg != "is missing" {
			continue
		}
		at := d.steps(f.Way)
		hint := f.Hint
		if hint == "" {
			hint = jsonschema.ValueHint(f.Msg, value.Value, value.Tag)
		}
		msg := f.Msg
		if rest, ok := strings.CutPrefix(msg, unknownField); ok && f.OnKey && key != nil {
			if isImplicitNull(value) && hint == "" {
				hint = "if it is part of a text with a comma, quote the text"
			}
			if !isIdentifier(key.Value) && !at.freeForm() && credentialFault("", key.Value) == "" {
				msg = unknownField + " " + quoted(key.Value) + rest
			}
		}
		d.fail(n, at, msg, hint)
	}
}

// unknownField begins the finding about a field that the schema does not have.
const unknownField = "unknown field"

// quoted returns the beginning of a key in quotes.
func quoted(key string) string {
	const most = 64
	if runes := []rune(key); len(runes) > most {
		key = string(runes[:most]) + "…"
	}
	return strconv.Quote(key)
}

// isImplicitNull reports whether the value is one that nobody wrote: the parser places it at the next line.
func isImplicitNull(n *yaml.Node) bool { return n.Tag == "!!null" && n.Value == "" }
