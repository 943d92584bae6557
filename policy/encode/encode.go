// Package encode converts policy inputs and data to OPA's values. It is separate from package policy because it is about
// speed alone, and does not know rules or engines.
//
// Of countersign's packages, it may import only schemas.
package encode

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/countersign/countersign/schemas"
)

// ErrTooLarge is returned for an input or data of more bytes than allowed.
var ErrTooLarge = errors.New("the policy input is too large")

// Encoder converts a policy input to OPA's values in one pass. Going through JSON would take several times as long, and
// encoding is a large part of a small evaluation. The result equals that of encoding/json, with two differences that
// make rules simpler: nil slices and maps are empty, and instants are in UTC and truncated to the second, so that they
// compare as text.
type Encoder struct {
	root   typeEncoder
	shared *applications
	// ready are encodings for reuse, with the terms of names that may recur.
	ready *sync.Pool
}

// applications caches the terms of applications in the base, which are the same for many changes in a row.
type applications struct {
	mu    sync.Mutex
	terms map[*schemas.PolicyApplication]sharedTerm
}

// maxApplications limits the applications remembered. Real repositories have fewer.
const maxApplications = 4096

func (a *applications) get(p *schemas.PolicyApplication) (sharedTerm, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s, ok := a.terms[p]
	return s, ok
}

func (a *applications) put(p *schemas.PolicyApplication, s sharedTerm) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.terms == nil || len(a.terms) >= maxApplications {
		a.terms = map[*schemas.PolicyApplication]sharedTerm{}
	}
	a.terms[p] = s
}

// encoding encodes one input at a time. Most names occur several times in an input, and many occur again in the next
// one; their immutable terms are shared.
type encoding struct {
	budget  int
	strings map[string]*ast.Term
	structs map[any]sharedTerm
	shared  *applications
}

// maxRemembered limits the terms that an encoding keeps for the next input, and maxRememberedText the length of their text.
const maxRemembered, maxRememberedText = 1024, 256

type sharedTerm struct {
	term *ast.Term
	cost int
}

func newEncoding(budget int, shared *applications) *encoding {
	return &encoding{budget: budget, shared: shared, strings: make(map[string]*ast.Term, 64), structs: make(map[any]sharedTerm, 8)}
}

// spend counts bytes of JSON against the budget.
func (w *encoding) spend(n int) error {
	if w.budget -= n; w.budget < 0 {
		return fmt.Errorf("%w: split the change", ErrTooLarge)
	}
	return nil
}

type typeEncoder func(v reflect.Value, w *encoding) (*ast.Term, error)

// New returns an Encoder. It is safe for concurrent use.
func New() (Encoder, error) {
	e, err := encoderOf(reflect.TypeFor[schemas.PolicyInput](), map[reflect.Type]*typeEncoder{})
	return Encoder{e, &applications{}, &sync.Pool{}}, err
}

// Input encodes an input of at most maxBytes of JSON, approximately. Beyond that the error is ErrTooLarge.
func (e Encoder) Input(in *schemas.PolicyInput, maxBytes int) (ast.Value, error) {
	w, ok := e.ready.Get().(*encoding)
	if !ok {
		w = newEncoding(maxBytes, e.shared)
	}
	w.budget = maxBytes
	t, err := e.root(reflect.ValueOf(in).Elem(), w)
	if len(w.strings) <= maxRemembered && len(w.structs) <= maxRemembered {
		e.ready.Put(w)
	}
	if err != nil {
		return nil, err
	}
	return t.Value, nil
}

func encoderOf(t reflect.Type, known map[reflect.Type]*typeEncoder) (typeEncoder, error) {
	if k := known[t]; k != nil {
		return func(v reflect.Value, w *encoding) (*ast.Term, error) { return (*k)(v, w) }, nil
	}
	k := new(typeEncoder)
	known[t] = k
	var err error
	*k, err = newTypeEncoder(t, known)
	return *k, err
}

func newTypeEncoder(t reflect.Type, known map[reflect.Type]*typeEncoder) (typeEncoder, error) {
	if t == reflect.TypeFor[time.Time]() {
		return encodeTime, nil
	}
	switch t.Kind() {
	case reflect.String:
		return func(v reflect.Value, w *encoding) (*ast.Term, error) { return encodeString(v.String(), w) }, nil
	case reflect.Bool:
		return func(v reflect.Value, w *encoding) (*ast.Term, error) {
			return ast.InternedTerm(v.Bool()), w.spend(5)
		}, nil
	case reflect.Int:
		return func(v reflect.Value, w *encoding) (*ast.Term, error) {
			return ast.InternedTerm(int(v.Int())), w.spend(8)
		}, nil
	case reflect.Pointer:
		elem, err := encoderOf(t.Elem(), known)
		if err != nil {
			return nil, err
		}
		return func(v reflect.Value, w *encoding) (*ast.Term, error) {
			if v.IsNil() {
				return ast.InternedNullTerm, w.spend(4)
			}
			return elem(v.Elem(), w)
		}, nil
	case reflect.Slice:
		elem, err := encoderOf(t.Elem(), known)
		if err != nil {
			return nil, err
		}
		return func(v reflect.Value, w *encoding) (*ast.Term, error) {
			if v.Len() == 0 {
				return ast.InternedEmptyArray, w.spend(2)
			}
			terms := make([]*ast.Term, v.Len())
			for i := range terms {
				var err error
				if terms[i], err = elem(v.Index(i), w); err != nil {
					return nil, err
				}
			}
			return ast.ArrayTerm(terms...), w.spend(2 + len(terms))
		}, nil
	case reflect.Map:
		if t.Key().Kind() != reflect.String {
			break
		}
		elem, err := encoderOf(t.Elem(), known)
		if err != nil {
			return nil, err
		}
		if t.Elem() == reflect.TypeFor[*schemas.PolicyApplication]() {
			elem = sharedEncoder(elem)
		}
		return func(v reflect.Value, w *encoding) (*ast.Term, error) { return encodeMap(v, elem, w) }, nil
	case reflect.Struct:
		return structEncoder(t, known)
	case reflect.Interface:
		return func(v reflect.Value, w *encoding) (*ast.Term, error) { return encodeAny(v.Interface(), w, 0) }, nil
	}
	return nil, fmt.Errorf("policy input: no encoding for %s", t)
}

// sharedEncoder encodes each application once.
func sharedEncoder(encode typeEncoder) typeEncoder {
	return func(v reflect.Value, w *encoding) (*ast.Term, error) {
		p := v.Interface().(*schemas.PolicyApplication)
		if s, ok := w.shared.get(p); ok {
			return s.term, w.spend(s.cost)
		}
		before := w.budget
		term, err := encode(v, w)
		if err == nil {
			w.shared.put(p, sharedTerm{term, before - w.budget})
		}
		return term, err
	}
}

func encodeString(s string, w *encoding) (*ast.Term, error) {
	if err := w.spend(len(s) + 3); err != nil {
		return nil, err
	}
	t := w.strings[s]
	if t == nil {
		t = ast.StringTerm(s)
		if len(s) <= maxRememberedText {
			w.strings[s] = t
		}
	}
	return t, nil
}

func encodeTime(v reflect.Value, w *encoding) (*ast.Term, error) {
	t := v.Interface().(time.Time).UTC()
	if y := t.Year(); y < 0 || y > 9999 {
		return nil, fmt.Errorf("invalid year %d (expected four digits)", y)
	}
	return encodeString(t.Format(time.RFC3339), w)
}

func encodeMap(v reflect.Value, elem typeEncoder, w *encoding) (*ast.Term, error) {
	if v.Len() == 0 {
		return ast.InternedEmptyObject, w.spend(2)
	}
	pairs := make([][2]*ast.Term, 0, v.Len())
	for it := v.MapRange(); it.Next(); {
		key, err := encodeString(it.Key().String(), w)
		if err != nil {
			return nil, err
		}
		value, err := elem(it.Value(), w)
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, [2]*ast.Term{key, value})
	}
	return ast.ObjectTerm(pairs...), nil
}

type fieldEncoder struct {
	index     int
	key       *ast.Term
	cost      int
	omitEmpty bool
	encode    typeEncoder
}

func structEncoder(t reflect.Type, known map[reflect.Type]*typeEncoder) (typeEncoder, error) {
	var fields []fieldEncoder
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || f.Anonymous || name == "" || name == "-" {
			return nil, fmt.Errorf("policy input: the field %s.%s needs a name in JSON", t, f.Name)
		}
		list := strings.Split(options, ",")
		omit := slices.Contains(list, "omitempty")
		if options != "" && options != "omitempty" {
			return nil, fmt.Errorf("policy input: the field %s.%s has unsupported options", t, f.Name)
		}
		encode, err := encoderOf(f.Type, known)
		if err != nil {
			return nil, err
		}
		fields = append(fields, fieldEncoder{i, ast.StringTerm(name), len(name) + 4, omit, encode})
	}
	// OPA sorts objects anyway; sorted keys make that cheap.
	slices.SortFunc(fields, func(a, b fieldEncoder) int { return a.key.Value.Compare(b.key.Value) })
	encode := func(v reflect.Value, w *encoding) (*ast.Term, error) {
		pairs := make([][2]*ast.Term, 0, len(fields))
		for i := range fields {
			f := &fields[i]
			x := v.Field(f.index)
			if f.omitEmpty && isEmpty(x) {
				continue
			}
			value, err := f.encode(x, w)
			if err != nil {
				return nil, err
			}
			if err := w.spend(f.cost); err != nil {
				return nil, err
			}
			pairs = append(pairs, [2]*ast.Term{f.key, value})
		}
		return ast.ObjectTerm(pairs...), nil
	}
	for i := range t.NumField() {
		if t.Field(i).Type.Kind() != reflect.String {
			return encode, nil
		}
	}
	// A struct of strings only is a name, and recurs.
	return func(v reflect.Value, w *encoding) (*ast.Term, error) {
		key := v.Interface()
		if s, ok := w.structs[key]; ok {
			return s.term, w.spend(s.cost)
		}
		before := w.budget
		term, err := encode(v, w)
		if err == nil {
			w.structs[key] = sharedTerm{term, before - w.budget}
		}
		return term, err
	}, nil
}

// isEmpty reports whether a value is empty by the rules of encoding/json.
func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Slice, reflect.Map, reflect.String:
		return v.Len() == 0
	case reflect.Struct:
		return false
	default:
		return v.IsZero()
	}
}

// Data encodes decoded YAML or JSON of at most maxBytes of JSON, approximately. Beyond that the error is ErrTooLarge.
func Data(x any, maxBytes int) (ast.Value, error) {
	t, err := encodeAny(x, newEncoding(maxBytes, nil), 0)
	if err != nil {
		return nil, err
	}
	return t.Value, nil
}

// maxDepth limits the nesting of payloads.
const maxDepth = 64

// encodeAny encodes decoded YAML or JSON.
func encodeAny(x any, w *encoding, depth int) (*ast.Term, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("a payload is nested deeper than %d", maxDepth)
	}
	number := func(s string) (*ast.Term, error) {
		return ast.NumberTerm(json.Number(s)), w.spend(len(s) + 1)
	}
	switch x := x.(type) {
	case nil:
		return ast.InternedNullTerm, w.spend(4)
	case bool:
		return ast.InternedTerm(x), w.spend(5)
	case string:
		return encodeString(x, w)
	case int:
		return number(strconv.Itoa(x))
	case int64:
		return number(strconv.FormatInt(x, 10))
	case uint64:
		return number(strconv.FormatUint(x, 10))
	case json.Number:
		return number(string(x))
	case float64:
		text, err := json.Marshal(x) // refuses NaN and infinity
		if err != nil {
			return nil, err
		}
		return number(string(text))
	case time.Time:
		return encodeTime(reflect.ValueOf(x), w)
	case []any:
		terms := make([]*ast.Term, len(x))
		for i := range x {
			var err error
			if terms[i], err = encodeAny(x[i], w, depth+1); err != nil {
				return nil, err
			}
		}
		return ast.ArrayTerm(terms...), w.spend(2 + len(x))
	case map[string]any:
		pairs := make([][2]*ast.Term, 0, len(x))
		for k, v := range x {
			key, err := encodeString(k, w)
			if err != nil {
				return nil, err
			}
			value, err := encodeAny(v, w, depth+1)
			if err != nil {
				return nil, err
			}
			pairs = append(pairs, [2]*ast.Term{key, value})
		}
		return ast.ObjectTerm(pairs...), w.spend(2)
	}
	// Connectors may put typed slices and maps into payloads; encoding/json can encode them.
	text, err := json.Marshal(x)
	if err != nil {
		return nil, fmt.Errorf("a payload contains a %T: %w", x, err)
	}
	if err := w.spend(len(text)); err != nil {
		return nil, err
	}
	v, err := ast.ValueFromReader(strings.NewReader(string(text)))
	if err != nil {
		return nil, err
	}
	return ast.NewTerm(v), nil
}
