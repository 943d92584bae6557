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

// A policy document is compared by what it means. IAM gives a document back percent-encoded, and a trust policy
// rewritten; one person writes "Action": "s3:GetObject", the next ["s3:GetObject"]. canonical makes one form of
// all that mean the same, without touching what may differ in meaning:
//
//   - a list of one is its element, a longer one is sorted and has nothing twice (IAM reads lists as sets);
//   - one statement is a list of one; statements keep their order, for those who read them;
//   - an absent Version is the one that IAM takes it for; an empty Sid or Condition is absent;
//   - Principal "*" is {"AWS": "*"}, and an account's number is the ARN of its root, as IAM rewrites it;
//   - numbers and truth values in a Condition are the texts that IAM compares.

// kind is what a document is for: it decides which elements belong in it.
type kind int

const (
	permissions kind = iota // of a customer-managed policy
	trust                   // who may assume a role
)

// maxDocumentBytes is the longest document that IAM's API takes.
const maxDocumentBytes = 131072

var errDocumentSize = fmt.Errorf("the document has more than %d bytes", maxDocumentBytes)

// parseDocument reads a document as a request has it (an object, or JSON text) and returns its canonical form,
// or says what IAM would refuse. partition is that of the account's ARNs.
func parseDocument(v any, k kind, partition string) (map[string]any, error) {
	text, isText := v.(string)
	if !isText {
		b, err := json.Marshal(v)
		if err != nil {
			return nil, fmt.Errorf("the document is no JSON: %w", err)
		}
		text = string(b)
	}
	doc, err := decodeDocument(text)
	if err != nil {
		return nil, err
	}
	return canonical(doc, k, partition)
}

// readDocument is the canonical form of a document that IAM gave back. What does not fit the grammar, because
// IAM knows more of it than we do, is left as it is: a read never fails by what others wrote.
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

// decodeDocument decodes one JSON object. A key that stands twice is an error: who reads the first and who reads
// the last would see two documents.
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
		return nil, fmt.Errorf("the document is no JSON: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the document")
	}
	doc, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("the document is no JSON object")
	}
	return doc, nil
}

// maxDepth is far beyond what the grammar of policies needs.
const maxDepth = 16

func decodeValue(dec *json.Decoder, depth int) (any, error) {
	if depth > maxDepth {
		return nil, errors.New("it is nested too deeply")
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
			return nil, errors.New("a key is no text")
		}
		if _, twice := object[name]; twice {
			return nil, fmt.Errorf("the key %s stands twice", strconv.QuoteToASCII(name))
		}
		if object[name], err = decodeValue(dec, depth+1); err != nil {
			return nil, err
		}
	}
	_, err = dec.Token()
	return object, err
}

// encodeDocument is the text that is sent to IAM: ASCII, since the API takes no character beyond U+00FF.
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
				return nil, errors.New("the Version is neither 2012-10-17 nor 2008-10-17")
			}
			out[key] = v
		case "Id":
			if _, ok := v.(string); !ok {
				return nil, errors.New("the Id is no text")
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
					return nil, fmt.Errorf("statement %d is no object", i+1)
				}
				c, err := canonicalStatement(statement, k, partition)
				if err != nil {
					return nil, fmt.Errorf("statement %d: %w", i+1, err)
				}
				statements = append(statements, c)
			}
			out[key] = statements
		default:
			return nil, fmt.Errorf("a document has no element %s (expected Version, Id, Statement)", strconv.QuoteToASCII(key))
		}
	}
	if statements, _ := out["Statement"].([]any); len(statements) == 0 {
		return nil, errors.New("the document has no Statement")
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
				return nil, errors.New("the Sid is no text")
			}
			if text != "" {
				out[key] = text
			}
		case "Effect":
			if v != "Allow" && v != "Deny" {
				return nil, errors.New("the Effect is neither Allow nor Deny")
			}
			out[key] = v
		case "Action", "NotAction":
			out[key], err = canonicalList(v)
		case "Resource", "NotResource":
			if k == trust {
				return nil, fmt.Errorf("a trust policy has no %s", key)
			}
			out[key], err = canonicalList(v)
		case "Principal", "NotPrincipal":
			if k == permissions {
				return nil, fmt.Errorf("the policy of an identity has no %s", key)
			}
			out[key], err = canonicalPrincipal(v, partition)
		case "Condition":
			var c map[string]any
			if c, err = canonicalCondition(v); len(c) > 0 {
				out[key] = c
			}
		default:
			return nil, fmt.Errorf("a statement has no element %s", strconv.QuoteToASCII(key))
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
	}
	if out["Effect"] == nil {
		return nil, errors.New("there is no Effect")
	}
	either := [][2]string{{"Action", "NotAction"}, {"Resource", "NotResource"}}
	if k == trust {
		either[1] = [2]string{"Principal", "NotPrincipal"}
	}
	for _, e := range either {
		if (out[e[0]] == nil) == (out[e[1]] == nil) {
			return nil, fmt.Errorf("there must be one of %s and %s", e[0], e[1])
		}
	}
	return out, nil
}

// canonicalList is a text, or two and more that are sorted.
func canonicalList(v any) (any, error) {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	texts := make([]string, 0, len(list))
	for _, item := range list {
		text, ok := item.(string)
		if !ok {
			return nil, errors.New("it is neither a text nor a list of texts")
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
		return nil, errors.New(`it is neither "*" nor an object`)
	}
	out := map[string]any{}
	for key, v := range kinds {
		if !slices.Contains([]string{"AWS", "Service", "Federated", "CanonicalUser"}, key) {
			return nil, fmt.Errorf("there is no principal of the kind %s", strconv.QuoteToASCII(key))
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

// roots writes an account's number as IAM gives it back.
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
		return nil, errors.New("it is no object")
	}
	out := map[string]any{}
	for operator, v := range operators {
		keys, ok := v.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("%s is no object", strconv.QuoteToASCII(operator))
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
					return nil, fmt.Errorf("%s has a value that is neither text, number nor truth value", strconv.QuoteToASCII(key))
				}
			}
			if len(texts) == 0 {
				conditions[key] = []any{} // of an empty set, each operator has its own opinion
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
