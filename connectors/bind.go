package connectors

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"github.com/countersign/countersign/schemas"
)

// Bind puts a config's values into settings, a pointer to a struct whose fields have the names of the schema's
// properties in their json tags. The schema decides which values are valid, and its defaults fill in absent ones;
// null counts as absent. A property with x-secret binds to a Secret, which is never empty. A time.Duration parses
// itself, and is more than zero unless the field has the tag zero:"ok". So does each encoding.TextUnmarshaler, whose
// error may name what is expected and never repeats the text. A struct field with the tag prefix:"P" and no json tag
// takes the properties whose names begin with P.
//
// An error in the values is an *Error with the code Invalid that names every wrong field and no value: a secret may
// be in the wrong place. Any other error means that the schema and the struct disagree; a test of all connectors
// finds that.
func Bind(cfg Config, schema json.RawMessage, settings any) error {
	into := reflect.ValueOf(settings).Elem()
	form, err := configForms.Of(formKey{string(schema), into.Type()}, func() (configForm, error) { return newConfigForm(schema, into.Type()) })
	if err != nil {
		return err
	}
	b := binder{root: form.root}
	values := maps.Clone(cfg.Values)
	maps.DeleteFunc(values, func(_ string, v any) bool { return v == nil })
	if values == nil {
		values = map[string]any{}
	}
	var invalid *jsonschema.ValidationError
	if err := form.compiled.Validate(marked(plainJSON(values))); errors.As(err, &invalid) {
		for _, leaf := range leaves(invalid) {
			b.faults = append(b.faults, explain(leaf)...)
		}
	} else if err != nil {
		return cfg.Invalid("", "cannot be read as JSON")
	} else {
		b.bind(into, form.root, values, "config", false)
	}
	if len(b.faults) > 0 {
		slices.Sort(b.faults)
		return &Error{Code: Invalid, Op: cfg.op(), Message: strings.Join(slices.Compact(b.faults), "; ")}
	}
	return nil
}

// configForm is a config's schema that agrees with a type of settings.
type configForm struct {
	root     map[string]any // as parsed
	compiled *jsonschema.Schema
}

type formKey struct {
	schema   string
	settings reflect.Type
}

// configForms keeps them, since every opening of a connector binds its config.
var configForms schemas.Kept[formKey, configForm]

func newConfigForm(schema json.RawMessage, settings reflect.Type) (configForm, error) {
	var form configForm
	if err := json.Unmarshal(schema, &form.root); err != nil {
		return form, fmt.Errorf("parse the config schema: %w", err)
	}
	b := binder{root: form.root}
	if faults := b.disagreements(form.root, settings, "config"); len(faults) > 0 {
		return form, errors.New("settings and config schema disagree: " + strings.Join(faults, "; "))
	}
	var err error
	if form.compiled, err = CompileSchema(secretsMarked(schema)); err != nil {
		return form, fmt.Errorf("compile the config schema: %w", err)
	}
	return form, nil
}

// op is empty without an application, for DescribeConfig: its callers name the application and the file.
func (c Config) op() string {
	if c.Application == "" {
		return ""
	}
	return "configure " + c.Application
}

// Invalid returns the error for a setting that Bind accepts and the connector can't use. field is its path below
// config, "" for all of the config. The message repeats no value.
func (c Config) Invalid(field, format string, args ...any) error {
	at := "config"
	if field != "" {
		at += "." + field
	}
	return &Error{Code: Invalid, Op: c.op(), Message: at + ": " + fmt.Sprintf(format, args...)}
}

// secretMark takes a Secret's place while values are checked against a schema.
const secretMark = "countersign: a secret"

func markOf() map[string]any { return map[string]any{secretMark: true} }

// marked replaces secrets with secretMark.
func marked(v any) any {
	switch v := v.(type) {
	case Secret:
		return markOf()
	case map[string]any:
		out := make(map[string]any, len(v))
		for k := range v {
			out[k] = marked(v[k])
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = marked(v[i])
		}
		return out
	}
	return v
}

// secretsMarked replaces each property with x-secret by one that accepts only secretMark.
func secretsMarked(schema json.RawMessage) json.RawMessage {
	return replaceSecrets(schema, map[string]any{"const": markOf()})
}

// explain words a schema's error, without the value.
func explain(e *jsonschema.ValidationError) []string {
	at := "config"
	for _, part := range e.InstanceLocation {
		if _, err := strconv.Atoi(part); err == nil {
			at += "[" + part + "]"
		} else {
			at += "." + part
		}
	}
	wrong := func(format string, args ...any) []string {
		return []string{at + ": wrong form (expected " + fmt.Sprintf(format, args...) + ")"}
	}
	switch k := e.ErrorKind.(type) {
	case *kind.Required:
		var out []string
		for _, name := range k.Missing {
			out = append(out, at+"."+name+": required")
		}
		return out
	case *kind.AdditionalProperties:
		// The name isn't repeated: a line of a secret may have become a key.
		return []string{at + ": unknown setting; countersign schema lists the known ones"}
	case *kind.Const:
		return wrong("a reference to a secret, {env: NAME} or {file: /path}")
	case *kind.Enum:
		return wrong("one of %s", strings.Trim(strings.ReplaceAll(fmt.Sprintf("%q", k.Want), `" "`, `", "`), "[]"))
	case *kind.Type:
		return wrong("%s", strings.Join(k.Want, " or "))
	case *kind.Pattern:
		return wrong("text that matches %s", k.Want)
	case *kind.Format:
		return wrong("%s", k.Want)
	case *kind.Minimum:
		least, _ := k.Want.Float64()
		return wrong("at least %v", least)
	case *kind.Maximum:
		most, _ := k.Want.Float64()
		return wrong("at most %v", most)
	case *kind.MinLength:
		return wrong("at least %d characters", k.Want)
	case *kind.MaxLength:
		return wrong("at most %d characters", k.Want)
	case *kind.MinItems:
		return wrong("at least %d items", k.Want)
	case *kind.MaxItems:
		return wrong("at most %d items", k.Want)
	case *kind.UniqueItems:
		return wrong("each item once")
	}
	return []string{at + ": wrong form"}
}

// binder binds the values of one config.
type binder struct {
	root   map[string]any // the schema
	faults []string
}

// follow resolves a reference within the schema.
func (b *binder) follow(schema any) map[string]any {
	s, _ := schema.(map[string]any)
	if name, ok := s["$ref"].(string); ok {
		defs, _ := b.root["$defs"].(map[string]any)
		s, _ = defs[strings.TrimPrefix(name, "#/$defs/")].(map[string]any)
	}
	return s
}

// field is where a struct takes a property.
type field struct {
	index []int
	zero  bool // a duration may be zero
}

// fieldsOf returns the fields of a struct by property.
func fieldsOf(t reflect.Type) map[string]field {
	out := map[string]field{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if prefix, ok := f.Tag.Lookup("prefix"); ok {
			for inner, at := range fieldsOf(f.Type) {
				out[prefix+inner] = field{append([]int{i}, at.index...), at.zero}
			}
		} else if name != "" && name != "-" {
			out[name] = field{[]int{i}, f.Tag.Get("zero") == "ok"}
		}
	}
	return out
}

var (
	secretType   = reflect.TypeFor[Secret]()
	durationType = reflect.TypeFor[time.Duration]()
	rawType      = reflect.TypeFor[json.RawMessage]()
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// bind sets v to a value that matches the schema.
func (b *binder) bind(v reflect.Value, schema map[string]any, value any, at string, zero bool) {
	fail := func(expected string) { b.faults = append(b.faults, at+": wrong form (expected "+expected+")") }
	text, isText := value.(string)
	switch t := v.Type(); {
	case t == secretType:
		secret, ok := value.(Secret)
		if !ok || secret.Reveal() == "" {
			b.faults = append(b.faults, at+": the secret is empty")
			return
		}
		v.Set(reflect.ValueOf(secret))
		return
	case t == durationType:
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 || d == 0 && !zero {
			fail("a duration such as 30s")
			return
		}
		v.SetInt(int64(d))
		return
	case t == rawType:
		raw, err := json.Marshal(value)
		if err != nil {
			fail("JSON")
			return
		}
		v.SetBytes(raw)
		return
	case isText && reflect.PointerTo(t).Implements(textType):
		if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
			if err := u.UnmarshalText([]byte(text)); err != nil {
				fail(err.Error())
			}
		}
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		b.bind(v.Elem(), schema, value, at, zero)
	case reflect.Struct:
		b.bindStruct(v, schema, value, at)
	case reflect.Map:
		m, _ := value.(map[string]any)
		v.Set(reflect.MakeMapWithSize(v.Type(), len(m)))
		for _, k := range slices.Sorted(maps.Keys(m)) {
			item := reflect.New(v.Type().Elem()).Elem()
			b.bind(item, b.follow(schema["additionalProperties"]), m[k], at+"."+k, false)
			v.SetMapIndex(reflect.ValueOf(k).Convert(v.Type().Key()), item)
		}
	case reflect.Slice:
		list, _ := plainJSON(value).([]any)
		v.Set(reflect.MakeSlice(v.Type(), len(list), len(list)))
		for i := range list {
			b.bind(v.Index(i), b.follow(schema["items"]), list[i], fmt.Sprintf("%s[%d]", at, i), false)
		}
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		truth, _ := value.(bool)
		v.SetBool(truth)
	case reflect.Int, reflect.Int32, reflect.Int64, reflect.Uint32, reflect.Uint64:
		b.bindNumber(v, value, fail)
	case reflect.Interface:
		v.Set(reflect.ValueOf(value))
	default:
		fail("another type")
	}
}

func (b *binder) bindStruct(v reflect.Value, schema map[string]any, value any, at string) {
	properties, _ := schema["properties"].(map[string]any)
	values, _ := value.(map[string]any)
	fields := fieldsOf(v.Type())
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		property := b.follow(properties[name])
		x, ok := values[name]
		if !ok {
			if x, ok = property["default"]; !ok {
				continue
			}
		}
		b.bind(v.FieldByIndex(fields[name].index), property, x, at+"."+name, fields[name].zero)
	}
}

// bindNumber accepts integers as YAML, JSON and Go represent them.
func (b *binder) bindNumber(v reflect.Value, value any, fail func(string)) {
	n, ok := WholeNumber(value)
	switch {
	case ok && v.CanInt() && !v.OverflowInt(n):
		v.SetInt(n)
	case ok && v.CanUint() && n >= 0 && !v.OverflowUint(uint64(n)):
		v.SetUint(uint64(n))
	default:
		fail("an integer")
	}
}

// WholeNumber accepts an integer as YAML, JSON or Go represents it. It returns false for anything else.
func WholeNumber(value any) (int64, bool) {
	switch x := reflect.ValueOf(value); x.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return x.Int(), true
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return int64(x.Uint()), x.Uint() < 1<<62 //nolint:gosec // held to the bound beside it
	case reflect.Float64:
		return int64(x.Float()), x.Float() == float64(int64(x.Float()))
	case reflect.String:
		number, isNumber := value.(json.Number)
		n, err := number.Int64()
		return n, isNumber && err == nil
	}
	return 0, false
}

// disagreements lists the properties of a schema that the struct lacks or has with another type, and the reverse.
func (b *binder) disagreements(schema map[string]any, t reflect.Type, at string) []string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	var out []string
	switch parses := t == durationType || reflect.PointerTo(t).Implements(textType); {
	case schema["x-secret"] == true || t == secretType:
		if schema["x-secret"] != true || t != secretType {
			out = append(out, at+" is a secret in one of them")
		}
	case t == rawType || t.Kind() == reflect.Interface:
	case schema["type"] == "object" && t.Kind() == reflect.Struct && !parses:
		properties, _ := schema["properties"].(map[string]any)
		fields := fieldsOf(t)
		for name := range fields {
			if properties[name] == nil {
				out = append(out, at+"."+name+" is not in the schema")
			}
		}
		for name, property := range properties {
			f, ok := fields[name]
			if !ok {
				out = append(out, at+"."+name+" is not in the settings")
				continue
			}
			out = append(out, b.disagreements(b.follow(property), t.FieldByIndex(f.index).Type, at+"."+name)...)
		}
	case schema["type"] == "object" && t.Kind() == reflect.Map:
		out = append(out, b.disagreements(b.follow(schema["additionalProperties"]), t.Elem(), at+".*")...)
	case schema["type"] == "array" && t.Kind() == reflect.Slice:
		out = append(out, b.disagreements(b.follow(schema["items"]), t.Elem(), at+"[]")...)
	case schema["type"] == "boolean" && t.Kind() == reflect.Bool,
		schema["type"] == "integer" && t.Kind() >= reflect.Int && t.Kind() <= reflect.Uint64 && !parses,
		(schema["type"] == "string" || schema["enum"] != nil) && (t.Kind() == reflect.String || parses),
		len(schema) == 0: // additionalProperties: anything
	default:
		out = append(out, fmt.Sprintf("%s is %v in the schema, and %s in the settings", at, schema["type"], t))
	}
	slices.Sort(out)
	return out
}

// Address is the setting for an API's URL: https://HOST/PATH, or http on loopback, without user info, query or
// fragment.
type Address string

// UnmarshalText checks an address.
func (a *Address) UnmarshalText(text []byte) error {
	u, err := url.Parse(string(text))
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" ||
		(u.Scheme != "https" && (u.Scheme != "http" || !Loopback(u.Hostname()))) {
		return errors.New("https://HOST/PATH without credentials or query; http only for loopback")
	}
	*a = Address(text)
	return nil
}

// Encrypted reports whether the address begins with https.
func (a Address) Encrypted() bool { return strings.HasPrefix(strings.ToLower(string(a)), "https:") }

// Loopback reports whether a host is this machine, by its address or as localhost.
func Loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
