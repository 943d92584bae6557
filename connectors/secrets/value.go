package secrets

import (
	"encoding/json"
	"reflect"
)

// Value returns a value whose texts are without the secrets, at any depth. A value without secrets is returned unchanged, and
// nothing is changed in place: values share parts. Values of the types that keep reports are left alone; nil keeps none.
func Value[T any](r *Redactor, v T, keep func(reflect.Type) bool) T {
	if !r.Knows() {
		return v
	}
	w := walker{r, keep}
	if out, changed := w.walk(reflect.ValueOf(&v).Elem()); changed {
		if clean, ok := out.Interface().(T); ok {
			return clean
		}
	}
	return v
}

// Knows reports whether there is a secret to look for.
func (r *Redactor) Knows() bool {
	if r == nil {
		return false
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.forms) > 0
}

type walker struct {
	redactor *Redactor
	keep     func(reflect.Type) bool
}

var rawJSON = reflect.TypeFor[json.RawMessage]()

// walk returns the value with what had to be replaced replaced, and whether anything was.
func (w walker) walk(v reflect.Value) (reflect.Value, bool) {
	if w.keep != nil && w.keep(v.Type()) {
		return v, false
	}
	switch v.Kind() {
	case reflect.String:
		s := v.String()
		clean := w.redactor.Redact(s)
		if clean == s {
			return v, false
		}
		return reflect.ValueOf(clean).Convert(v.Type()), true
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return v, false
		}
		inner, changed := w.walk(v.Elem())
		if !changed || v.Kind() == reflect.Interface {
			return inner, changed
		}
		p := reflect.New(v.Type().Elem())
		p.Elem().Set(inner)
		return p, true
	case reflect.Struct:
		return w.structure(v)
	case reflect.Slice, reflect.Array:
		return w.list(v)
	case reflect.Map:
		return w.mapping(v)
	}
	return v, false
}

func (w walker) structure(v reflect.Value) (reflect.Value, bool) {
	var out reflect.Value
	for i := range v.NumField() {
		if !v.Type().Field(i).IsExported() {
			continue
		}
		field, changed := w.walk(v.Field(i))
		if !changed {
			continue
		}
		if !out.IsValid() {
			out = reflect.New(v.Type()).Elem()
			out.Set(v)
		}
		out.Field(i).Set(field)
	}
	if !out.IsValid() {
		return v, false
	}
	return out, true
}

func (w walker) list(v reflect.Value) (reflect.Value, bool) {
	if v.Type() == rawJSON {
		s := string(v.Bytes())
		clean := w.redactor.Redact(s)
		return reflect.ValueOf(json.RawMessage(clean)), clean != s
	}
	var out reflect.Value
	for i := range v.Len() {
		item, changed := w.walk(v.Index(i))
		if !changed {
			continue
		}
		if !out.IsValid() {
			out = reflect.New(v.Type()).Elem()
			if v.Kind() == reflect.Slice {
				out.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
			}
			reflect.Copy(out, v)
		}
		out.Index(i).Set(item)
	}
	if !out.IsValid() {
		return v, false
	}
	return out, true
}

func (w walker) mapping(v reflect.Value) (reflect.Value, bool) {
	if v.IsNil() {
		return v, false
	}
	out, any := reflect.MakeMapWithSize(v.Type(), v.Len()), false
	for it := v.MapRange(); it.Next(); {
		key, keyChanged := w.walk(it.Key())
		value, valueChanged := w.walk(it.Value())
		any = any || keyChanged || valueChanged
		out.SetMapIndex(key, value)
	}
	if !any {
		return v, false
	}
	return out, true
}
