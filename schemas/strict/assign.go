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

func newStructPlans() structPlans {
	p := structPlans{}
	for _, v := range []any{
		schemas.Metadata{}, schemas.ConnectionCreationSpec{}, schemas.ConnectionAssignmentSpec{}, schemas.ConnectionDeletionSpec{}, schemas.ApplicationSpec{},
		schemas.SettingsSpec{}, schemas.PeopleSpec{}, schemas.AdmissionSpec{}, schemas.BudgetOverrideSpec{}, schemas.AcknowledgementSpec{},
	} {
		p.add(reflect.TypeOf(v))
	}
	return p
}

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
	case reflect.Int:
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

// specOf decodes a document's spec into T.
func specOf[T any](d *decoder, set *schemaSet, fields map[string]any) *T {
	spec := new(T)
	if err := set.plans.set(reflect.ValueOf(spec).Elem(), fields["spec"]); err != nil {
		d.fail(d.root, nil, err.Error(), "this is a fault of countersign itself")
	}
	return spec
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
	switch doc.Kind {
	case schemas.KindConnectionCreation:
		s := specOf[schemas.ConnectionCreationSpec](d, set, fields)
		doc.Value = d.checkRequest(&schemas.Request{Kind: doc.Kind, Metadata: doc.Metadata, Application: s.Application,
			Provisioning: s.Provisioning, Connection: s.Connection, Payload: s.Payload})
	case schemas.KindConnectionAssignment:
		s := specOf[schemas.ConnectionAssignmentSpec](d, set, fields)
		doc.Value = d.checkRequest(&schemas.Request{Kind: doc.Kind, Metadata: doc.Metadata, Application: s.Application,
			Provisioning: s.Provisioning, Connection: s.Connection, Grants: s.Grants, Revokes: s.Revokes})
	case schemas.KindConnectionDeletion:
		s := specOf[schemas.ConnectionDeletionSpec](d, set, fields)
		doc.Value = d.checkRequest(&schemas.Request{Kind: doc.Kind, Metadata: doc.Metadata, Application: s.Application,
			Provisioning: s.Provisioning, Connection: s.Connection, ReassignTo: s.ReassignTo})
	case schemas.KindApplication:
		a := &schemas.Application{Name: doc.Metadata.Name, Spec: *specOf[schemas.ApplicationSpec](d, set, fields), Position: doc.Position}
		a.Spec.SetDefaults()
		d.checkApplication(&a.Spec)
		doc.Value = a
	case schemas.KindSettings:
		s := &schemas.Settings{Spec: *specOf[schemas.SettingsSpec](d, set, fields), Position: doc.Position}
		s.Spec.SetDefaults()
		d.checkSettings(&s.Spec)
		doc.Value = s
	case schemas.KindPeople:
		p := &schemas.People{Spec: *specOf[schemas.PeopleSpec](d, set, fields), Position: doc.Position}
		d.checkPeople(&p.Spec)
		doc.Value = p
	case schemas.KindAdmission:
		s := specOf[schemas.AdmissionSpec](d, set, fields)
		if err := schemas.CheckPath(s.Path); err != nil {
			d.failPath(err.Error(), "", "spec", "path")
		}
		doc.Value = s
	case schemas.KindBudgetOverride:
		s := specOf[schemas.BudgetOverrideSpec](d, set, fields)
		if (s.Limits == schemas.LimitSet{}) {
			d.failPath("names no limit (expected at least one of attributes, deletions, grants, members, revokes)", "", "spec", "limits")
		}
		doc.Value = s
	case schemas.KindAcknowledgement:
		s := specOf[schemas.AcknowledgementSpec](d, set, fields)
		given := 0
		for _, is := range []bool{s.RewrittenFrom != "", s.FirstRun != "", s.Held != nil} {
			if is {
				given++
			}
		}
		if given != 1 {
			d.failPath("acknowledges not exactly one thing (expected one of first_run, held, rewritten_from)", "write one document for each", "spec")
		}
		doc.Value = s
	}
}
