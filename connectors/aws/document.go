package aws

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Policy documents are compared by meaning. IAM returns a document percent-encoded, and a trust policy rewritten; one
// person writes "Action": "s3:GetObject", the next ["s3:GetObject"]. canonical converts equivalent documents to one
// form, without changing anything that may differ in meaning:
//
//   - a list of one is its element, a longer one is sorted without duplicates (IAM reads lists as sets);
//   - one statement is a list of one; statements keep their order, for readers;
//   - an absent Version is IAM's default; an empty Sid or Condition is absent;
//   - Principal "*" is {"AWS": "*"}, and an account's number is the ARN of its root, as IAM rewrites it;
//   - numbers and booleans in a Condition are the strings that IAM compares.

// kind is a document's purpose: it determines the valid elements.
type kind int

const (
	permissions kind = iota // of a customer-managed policy
	trust                   // who may assume a role
)

// maxDocumentBytes is the longest document that IAM's API accepts.
const maxDocumentBytes = 131072

var errDocumentSize = fmt.Errorf("the document has more than %d bytes", maxDocumentBytes)

// parseDocument reads a request's document (an object, or JSON text) and returns its canonical form, or an error that
// IAM would return too. partition is that of the account's ARNs.
func parseDocument(v any, k kind, partition string) (map[string]any, error) {
	text, isText := v.(string)
	if !isText {
		b, err := json.Marshal(v)
		if err != nil {
			return nil, fmt.Errorf("invalid JSON: %w", err)
		}
		text = string(b)
	}
	doc, err := decodeDocument(text)
	if err != nil {
		return nil, err
	}
	return canonical(doc, k, partition)
}

// readDocument returns the canonical form of a document from IAM. Elements outside the known grammar are left
// unchanged: a read never fails because of other people's documents.
func readDocument(raw string, k kind, partition string) any {
	text := raw
	if !strings.HasPrefix(strings.TrimSpace(raw), "{") {
		if plain, err := url.PathUnescape(raw); err == nil {
			text = plain
		}
	}
	doc, err := decodeDocument(text)
	if err != nil {
		return text
	}
	if c, err := canonical(doc, k, partition); err == nil {
		return c
	}
	return doc
}

// decodeDocument decodes one JSON object. A duplicate key is an error: readers that use the first and the last would
// see different documents.
func decodeDocument(text string) (map[string]any, error) {
	if len(text) > maxDocumentBytes {
		return nil, errDocumentSize
	}
	if !utf8.ValidString(text) {
		return nil, errors.New("the document is not UTF-8")
	}
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	v, err := decodeValue(dec, 0)
	if err != nil {
		return nil, fmt.Errorf("invalid JSON: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("extra text after the document")
	}
	doc, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("invalid document (expected a JSON object)")
	}
	return doc, nil
}

// maxDepth is far beyond the depth that the grammar of policies needs.
const maxDepth = 16

func decodeValue(dec *json.Decoder, depth int) (any, error) {
	if depth > maxDepth {
		return nil, errors.New("the document is nested too deeply")
	}
	token, err := dec.Token()
	if err != nil {
		return nil, err
	}
	delim, ok := token.(json.Delim)
	if !ok {
		return token, nil
	}
	if delim == '[' {
		list := []any{}
		for dec.More() {
			v, err := decodeValue(dec, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err = dec.Token()
		return list, err
	}
	object := map[string]any{}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, err
		}
		name, ok := key.(string)
		if !ok {
			return nil, errors.New("invalid key (expected a string)")
		}
		if _, twice := object[name]; twice {
			return nil, fmt.Errorf("duplicate key %s", strconv.QuoteToASCII(name))
		}
		if object[name], err = decodeValue(dec, depth+1); err != nil {
			return nil, err
		}
	}
	_, err = dec.Token()
	return object, err
}

// encodeDocument returns the text to send to IAM: ASCII, since the API accepts no character beyond U+00FF.
func encodeDocument(doc any) (string, error) {
	if text, ok := doc.(string); ok {
		return text, nil
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(doc); err != nil {
		return "", err
	}
	var out strings.Builder
	for _, r := range strings.TrimSuffix(buf.String(), "\n") {
		switch {
		case r < utf8.RuneSelf:
			out.WriteRune(r)
		case r > 0xffff:
			r -= 0x10000
			fmt.Fprintf(&out, `\u%04x\u%04x`, 0xd800+(r>>10), 0xdc00+(r&0x3ff))
		default:
			fmt.Fprintf(&out, `\u%04x`, r)
		}
	}
	return out.String(), nil
}

func canonical(doc map[string]any, k kind, partition string) (map[string]any, error) {
	out := map[string]any{"Version": "2008-10-17"}
	for key, v := range doc {
		switch key {
		case "Version":
			if v != "2012-10-17" && v != "2008-10-17" {
				return nil, errors.New("unknown Version (expected 2012-10-17 or 2008-10-17)")
			}
			out[key] = v
		case "Id":
			if _, ok := v.(string); !ok {
				return nil, errors.New("invalid Id (expected a string)")
			}
			out[key] = v
		case "Statement":
			list, ok := v.([]any)
			if !ok {
				list = []any{v}
			}
			statements := make([]any, 0, len(list))
			for i, s := range list {
				statement, ok := s.(map[string]any)
				if !ok {
					return nil, fmt.Errorf("statement %d: invalid (expected an object)", i+1)
				}
				c, err := canonicalStatement(statement, k, partition)
				if err != nil {
					return nil, fmt.Errorf("statement %d: %w", i+1, err)
				}
				statements = append(statements, c)
			}
			out[key] = statements
		default:
			return nil, fmt.Errorf("unknown element %s (expected Version, Id or Statement)", strconv.QuoteToASCII(key))
		}
	}
	if statements, _ := out["Statement"].([]any); len(statements) == 0 {
		return nil, errors.New("the Statement is required")
	}
	return out, nil
}

func canonicalStatement(s map[string]any, k kind, partition string) (map[string]any, error) {
	out := map[string]any{}
	for key, v := range s {
		var err error
		switch key {
		case "Sid":
			text, ok := v.(string)
			if !ok {
				return nil, errors.New("invalid Sid (expected a string)")
			}
			if text != "" {
				out[key] = text
			}
		case "Effect":
			if v != "Allow" && v != "Deny" {
				return nil, errors.New("invalid Effect (expected Allow or Deny)")
			}
			out[key] = v
		case "Action", "NotAction":
			out[key], err = canonicalList(v)
		case "Resource", "NotResource":
			if k == trust {
				return nil, fmt.Errorf("a trust policy can't have %s", key)
			}
			out[key], err = canonicalList(v)
		case "Principal", "NotPrincipal":
			if k == permissions {
				return nil, fmt.Errorf("the policy of an identity can't have %s", key)
			}
			out[key], err = canonicalPrincipal(v, partition)
		case "Condition":
			var c map[string]any
			if c, err = canonicalCondition(v); len(c) > 0 {
				out[key] = c
			}
		default:
			return nil, fmt.Errorf("unknown element %s", strconv.QuoteToASCII(key))
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
	}
	if out["Effect"] == nil {
		return nil, errors.New("the Effect is required")
	}
	either := [][2]string{{"Action", "NotAction"}, {"Resource", "NotResource"}}
	if k == trust {
		either[1] = [2]string{"Principal", "NotPrincipal"}
	}
	for _, e := range either {
		if (out[e[0]] == nil) == (out[e[1]] == nil) {
			return nil, fmt.Errorf("exactly one of %s and %s is required", e[0], e[1])
		}
	}
	return out, nil
}

// canonicalList returns a string, or two and more that are sorted.
func canonicalList(v any) (any, error) {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	texts := make([]string, 0, len(list))
	for _, item := range list {
		text, ok := item.(string)
		if !ok {
			return nil, errors.New("invalid value (expected a string or a list of strings)")
		}
		texts = append(texts, text)
	}
	return set(texts)
}

func set(texts []string) (any, error) {
	slices.Sort(texts)
	texts = slices.Compact(texts)
	switch len(texts) {
	case 0:
		return nil, errors.New("it is empty")
	case 1:
		return texts[0], nil
	}
	out := make([]any, len(texts))
	for i, t := range texts {
		out[i] = t
	}
	return out, nil
}

func canonicalPrincipal(v any, partition string) (any, error) {
	if v == "*" {
		return map[string]any{"AWS": "*"}, nil
	}
	kinds, ok := v.(map[string]any)
	if !ok || len(kinds) == 0 {
		return nil, errors.New(`invalid value (expected "*" or an object)`)
	}
	out := map[string]any{}
	for key, v := range kinds {
		if !slices.Contains([]string{"AWS", "Service", "Federated", "CanonicalUser"}, key) {
			return nil, fmt.Errorf("unknown kind of principal %s", strconv.QuoteToASCII(key))
		}
		list, err := canonicalList(v)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		if key == "AWS" {
			if list, err = set(roots(list, partition)); err != nil {
				return nil, err
			}
		}
		out[key] = list
	}
	return out, nil
}

// roots returns an account's number in the form that IAM returns.
func roots(list any, partition string) []string {
	var out []string
	texts, ok := list.([]any)
	if !ok {
		texts = []any{list}
	}
	for _, t := range texts {
		text, _ := t.(string)
		if isAccount(text) {
			text = "arn:" + partition + ":iam::" + text + ":root"
		}
		out = append(out, text)
	}
	return out
}

func isAccount(s string) bool {
	return len(s) == 12 && strings.Trim(s, "0123456789") == ""
}

func canonicalCondition(v any) (map[string]any, error) {
	operators, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("invalid value (expected an object)")
	}
	out := map[string]any{}
	for operator, v := range operators {
		keys, ok := v.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("%s: invalid (expected an object)", strconv.QuoteToASCII(operator))
		}
		conditions := map[string]any{}
		for key, v := range keys {
			list, ok := v.([]any)
			if !ok {
				list = []any{v}
			}
			var texts []string
			for _, item := range list {
				switch item := item.(type) {
				case string:
					texts = append(texts, item)
				case bool:
					texts = append(texts, strconv.FormatBool(item))
				case json.Number:
					texts = append(texts, item.String())
				default:
					return nil, fmt.Errorf("%s: invalid value (expected a string, number or boolean)", strconv.QuoteToASCII(key))
				}
			}
			if len(texts) == 0 {
				conditions[key] = []any{} // each operator treats an empty set differently
				continue
			}
			var err error
			if conditions[key], err = set(texts); err != nil {
				return nil, err
			}
		}
		if len(conditions) > 0 {
			out[operator] = conditions
		}
	}
	return out, nil
}
