package schemas

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// ErrInexact means that a number cannot be represented exactly by every JSON reader (RFC 8785 counts in IEEE 754
// doubles): hashing it would make two numbers one.
var ErrInexact = errors.New("number is not exact in JSON")

// Canonical returns the canonical JSON (RFC 8785) of a value, as encoding/json sees it: keys sorted by
// UTF-16 units, no white space, numbers as ECMAScript writes them. Integers that a double cannot hold
// are ErrInexact; text that is not UTF-8 is an error.
//
// github.com/gowebpki/jcs writes the same bytes, but changes such integers to the nearest double without an error, and
// takes longer: 205 µs and 1,126 allocations against 130 µs and 673 for a request of 20 grants (version 1.0.2, with
// the encoding of the value and without a check of the integers). A fold hashes every request.
func Canonical(v any) ([]byte, error) {
	var plain bytes.Buffer
	encoder := json.NewEncoder(&plain)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return nil, fmt.Errorf("canonical JSON: %w", err)
	}
	if replaced(plain.Bytes()) {
		return nil, errors.New("canonical JSON: text is not valid UTF-8")
	}
	decoder := json.NewDecoder(bytes.NewReader(plain.Bytes()))
	decoder.UseNumber()
	var tree any
	if err := decoder.Decode(&tree); err != nil {
		return nil, fmt.Errorf("canonical JSON: %w", err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, errors.New("canonical JSON: more than one value")
	}
	out, err := appendCanonical(make([]byte, 0, plain.Len()), tree)
	if err != nil {
		return nil, fmt.Errorf("canonical JSON: %w", err)
	}
	return out, nil
}

// replaced reports whether the encoder has put U+FFFD in the place of invalid UTF-8: that alone it writes
// as an escape.
func replaced(data []byte) bool {
	for at := 0; ; {
		i := bytes.Index(data[at:], []byte(`\ufffd`))
		if i < 0 {
			return false
		}
		at += i
		slashes := 0
		for j := at - 1; j >= 0 && data[j] == '\\'; j-- {
			slashes++
		}
		if slashes%2 == 0 {
			return true
		}
		at++
	}
}

func appendCanonical(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...), nil
	case bool:
		return strconv.AppendBool(b, v), nil
	case string:
		return appendString(b, v), nil
	case json.Number:
		return appendNumber(b, string(v))
	case []any:
		b = append(b, '[')
		for i, item := range v {
			if i > 0 {
				b = append(b, ',')
			}
			var err error
			if b, err = appendCanonical(b, item); err != nil {
				return nil, err
			}
		}
		return append(b, ']'), nil
	case map[string]any:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		slices.SortFunc(keys, compareUTF16)
		b = append(b, '{')
		for i, k := range keys {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendString(b, k), ':')
			var err error
			if b, err = appendCanonical(b, v[k]); err != nil {
				return nil, err
			}
		}
		return append(b, '}'), nil
	}
	return nil, fmt.Errorf("unexpected %T", v)
}

// compareUTF16 orders strings by UTF-16 units, which differs from bytes beyond the basic plane.
func compareUTF16(a, b string) int {
	for i := 0; i < len(a) && i < len(b); i++ {
		if a[i] >= utf8.RuneSelf || b[i] >= utf8.RuneSelf {
			return slices.Compare(utf16.Encode([]rune(a)), utf16.Encode([]rune(b)))
		}
		if a[i] != b[i] {
			break
		}
	}
	return strings.Compare(a, b)
}

func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c >= 0x20:
			b = append(b, c)
		case c == '\b':
			b = append(b, '\\', 'b')
		case c == '\t':
			b = append(b, '\\', 't')
		case c == '\n':
			b = append(b, '\\', 'n')
		case c == '\f':
			b = append(b, '\\', 'f')
		case c == '\r':
			b = append(b, '\\', 'r')
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	return append(b, '"')
}

func appendNumber(b []byte, text string) ([]byte, error) {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", text, ErrInexact)
	}
	if f == 0 {
		return append(b, '0'), nil // -0 too
	}
	// encoding/json writes doubles as ECMAScript does.
	double, err := json.Marshal(f)
	if err != nil {
		return nil, err
	}
	if !strings.ContainsAny(text, ".eE") && string(double) != text {
		return nil, fmt.Errorf("%s: %w", text, ErrInexact)
	}
	return append(b, double...), nil
}
