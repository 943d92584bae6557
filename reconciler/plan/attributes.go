package plan

import (
	"encoding/json"
	"reflect"
)

// attributes returns those that differ, before and after. An attribute that live does not
// know is left alone.
func (d *differ) attributes(it *subject) (before, after map[string]any) {
	compare := func(k string, want any) {
		l, ok := it.found.Payload[k]
		if !ok || equalValue(want, l) {
			return
		}
		if after == nil {
			before, after = map[string]any{}, map[string]any{}
		}
		before[k], after[k] = l, want
	}
	if it.has {
		for k, w := range it.want {
			compare(k, w)
		}
		return before, after
	}
	// The completed payload without building it: almost always nothing differs.
	for k, w := range it.info.payloadDefaults() {
		if _, written := it.connection.Payload[k]; !written {
			compare(k, w)
		}
	}
	for k, w := range it.connection.Payload {
		if w != nil {
			compare(k, w)
		}
	}
	return before, after
}

// equalValue compares values as JSON does: 1 and 1.0 are one number.
func equalValue(a, b any) bool {
	switch a := a.(type) {
	case string:
		b, ok := b.(string)
		return ok && a == b
	case bool:
		b, ok := b.(bool)
		return ok && a == b
	case int:
		if b, ok := b.(int); ok {
			return a == b
		}
	}
	if x, ok := number(a); ok {
		y, ok := number(b)
		return ok && x == y
	}
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && string(x) == string(y)
}

func number(v any) (float64, bool) {
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return float64(r.Int()), true
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return float64(r.Uint()), true
	case reflect.Float32, reflect.Float64:
		return r.Float(), true
	}
	return 0, false
}
