package strict

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/countersign/countersign/schemas"
	"github.com/countersign/countersign/schemas/jsonschema"
)

// fieldPlan is one field of a struct: the name that it has in documents, and its index.
type fieldPlan struct {
	name  string
	index int
	// inline means that the field's own fields are inlined.
	inline bool
}

// structPlans are the fields of every struct that documents are decoded into. Reflection over struct
// tags for each document would cost more than all the rest of assigning.
type structPlans map[reflect.Type][]fieldPlan

func (p structPlans) add(t reflect.Type) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || t == reflect.TypeFor[time.Time]() || p[t] != nil {
		return
	}
	plan := make([]fieldPlan, 0, t.NumField())
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		plan = append(plan, fieldPlan{name: name, index: i, inline: strings.Contains(options, "inline")})
	}
	p[t] = plan
	for i := range t.NumField() {
		p.add(t.Field(i).Type)
	}
}

// set puts a decoded value into a Go value. The schema has vouched for the types; an error means that
// schema and Go type disagree, which a test excludes.
func (p structPlans) set(to reflect.Value, from any) error {
	if to.Kind() == reflect.Pointer {
		to.Set(reflect.New(to.Type().Elem()))
		to = to.Elem()
	}
	switch to.Kind() {
	case reflect.String:
		if s, ok := from.(string); ok {
			to.SetString(s)
			return nil
		}
	case reflect.Bool:
		if b, ok := from.(bool); ok {
			to.SetBool(b)
			return nil
		}
	case reflect.Int, reflect.Int64:
		switch n := from.(type) {
		case int:
			to.SetInt(int64(n))
			return nil
		case float64: // 5.0 is an integer to JSON Schema
			if n == float64(int64(n)) {
				to.SetInt(int64(n))
				return nil
			}
		}
	case reflect.Slice:
		list, ok := from.([]any)
		if !ok {
			break
		}
		to.Set(reflect.MakeSlice(to.Type(), len(list), len(list)))
		for i, item := range list {
			if err := p.set(to.Index(i), item); err != nil {
				return err
			}
		}
		return nil
	case reflect.Map:
		m, ok := from.(map[string]any)
		if !ok {
			break
		}
		if to.Type() == reflect.TypeFor[map[string]any]() {
			to.Set(reflect.ValueOf(m))
			return nil
		}
		to.Set(reflect.MakeMapWithSize(to.Type(), len(m)))
		for key, value := range m {
			item := reflect.New(to.Type().Elem()).Elem()
			if err := p.set(item, value); err != nil {
				return err
			}
			to.SetMapIndex(reflect.ValueOf(key), item)
		}
		return nil
	case reflect.Struct:
		if t, ok := to.Addr().Interface().(*time.Time); ok {
			s, ok := from.(string)
			if !ok {
				break
			}
			instant, err := jsonschema.ParseInstant(s)
			*t = instant
			return err
		}
		m, ok := from.(map[string]any)
		if !ok {
			break
		}
		for _, f := range p[to.Type()] {
			if f.inline {
				if err := p.set(to.Field(f.index), m); err != nil {
					return err
				}
				continue
			}
			value, ok := m[f.name]
			if !ok {
				continue
			}
			if err := p.set(to.Field(f.index), value); err != nil {
				return fmt.Errorf("%s: %w", f.name, err)
			}
		}
		return nil
	}
	return fmt.Errorf("the schema lets %s pass where %s belongs", typeName(from), to.Type())
}

// assign fills in the document's metadata and value and checks what no schema can express.
func (d *decoder) assign(set *schemaSet, doc *schemas.Document, fields map[string]any) {
	if m, ok := fields["metadata"]; ok {
		if err := set.plans.set(reflect.ValueOf(&doc.Metadata).Elem(), m); err != nil {
			d.fail(d.root, nil, err.Error(), "this is a fault of countersign itself")
			return
		}
		d.checkMetadata(&doc.Metadata)
	}
	doc.Value = set.kinds[doc.Kind].decode(d, set, doc, fields)
}
