package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/open-policy-agent/opa/v1/ast"
	"gopkg.in/yaml.v3"

	"github.com/countersign/countersign/policy/encode"
	"github.com/countersign/countersign/schemas"
)

// maxDataDepth limits the nesting of data files.
const maxDataDepth = 20

// ParseData decodes a data file: YAML, or JSON where the path ends in .json. It is one mapping with string
// keys; anchors, aliases, merge keys, tags, duplicate keys and several documents are refused. Timestamps remain
// strings. The error is a schemas.ErrorList with all errors.
func ParseData(path string, content []byte) (map[string]any, error) {
	p := dataParser{path: path}
	switch {
	case len(content) > schemas.MaxFileBytes:
		p.fail(0, 0, fmt.Sprintf("is larger than %d bytes", schemas.MaxFileBytes), "split the data, or keep less of it")
	case !utf8.Valid(content):
		p.fail(0, 0, "is not UTF-8", "save it as UTF-8")
	default:
		p.checkRunes(content)
	}
	if len(p.faults) > 0 {
		return nil, p.faults.Sort()
	}
	var data map[string]any
	if strings.HasSuffix(path, ".json") {
		data = p.json(content)
	} else {
		data = p.yaml(content)
	}
	if len(p.faults) > 0 {
		return nil, p.faults.Sort()
	}
	return data, nil
}

type dataParser struct {
	path   string
	faults schemas.ErrorList
}

func (p *dataParser) fail(line, column int, msg, hint string) {
	p.faults = append(p.faults, schemas.Error{Position: schemas.Position{Path: p.path, Line: line, Column: column}, Msg: msg, Hint: hint})
}

// checkRunes refuses characters that are invisible to reviewers.
func (p *dataParser) checkRunes(content []byte) {
	line, column := 1, 0
	for _, r := range string(content) {
		column++
		switch {
		case r == '\n':
			line, column = line+1, 0
		case r == '\t' || r == '\r':
		case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp):
			p.fail(line, column, fmt.Sprintf("has the invisible character %U", r), "remove it, or write it as an escape")
		}
	}
}

func (p *dataParser) yaml(content []byte) map[string]any {
	d := yaml.NewDecoder(bytes.NewReader(content))
	var doc yaml.Node
	err := d.Decode(&doc)
	switch {
	case errors.Is(err, io.EOF):
		return map[string]any{}
	case err != nil:
		p.fail(0, 0, strings.TrimPrefix(err.Error(), "yaml: "), "")
		return nil
	}
	var more yaml.Node
	if err := d.Decode(&more); !errors.Is(err, io.EOF) {
		p.fail(more.Line, more.Column, "contains more than one document", "keep one")
		return nil
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		return map[string]any{}
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.ShortTag() == "!!null" {
		return map[string]any{}
	}
	v, ok := p.node(root, 1).(map[string]any)
	if !ok && len(p.faults) == 0 {
		p.fail(root.Line, root.Column, "is not a mapping", "write key: value at the left margin")
	}
	return v
}

func (p *dataParser) node(n *yaml.Node, depth int) any {
	bad := func(msg, hint string) any { p.fail(n.Line, n.Column, msg, hint); return nil }
	switch {
	case depth > maxDataDepth:
		return bad(fmt.Sprintf("is nested deeper than %d", maxDataDepth), "")
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		return bad("is an anchor or alias", "write the value out")
	case n.Style&yaml.TaggedStyle != 0:
		return bad("has the tag "+n.Tag, "write the value without a tag")
	}
	switch n.Kind {
	case yaml.MappingNode:
		m := make(map[string]any, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			if key.Kind != yaml.ScalarNode || key.ShortTag() != "!!str" || key.Style&yaml.TaggedStyle != 0 || key.Anchor != "" {
				p.fail(key.Line, key.Column, "invalid key (expected a string)", "put it in quotes")
				continue
			}
			if _, twice := m[key.Value]; twice {
				p.fail(key.Line, key.Column, fmt.Sprintf("duplicate key %q", key.Value), "remove one")
				continue
			}
			m[key.Value] = p.node(n.Content[i+1], depth+1)
		}
		return m
	case yaml.SequenceNode:
		list := make([]any, len(n.Content))
		for i, c := range n.Content {
			list[i] = p.node(c, depth+1)
		}
		return list
	}
	switch n.ShortTag() {
	case "!!str", "!!timestamp":
		return n.Value
	case "!!null":
		return nil
	case "!!bool":
		var b bool
		if err := n.Decode(&b); err != nil {
			return bad(err.Error(), "")
		}
		return b
	case "!!int":
		if i, ok := new(big.Int).SetString(strings.ReplaceAll(n.Value, "_", ""), 0); ok {
			return json.Number(i.String())
		}
		return bad("is an invalid number", "write it in decimal, or in quotes")
	case "!!float":
		var f float64
		if err := n.Decode(&f); err != nil {
			return bad(err.Error(), "")
		}
		text, err := json.Marshal(f)
		if err != nil {
			return bad("is not a finite number", "infinity and NaN are not allowed in data")
		}
		return json.Number(text)
	}
	return bad("has the tag "+n.ShortTag(), "write the value without a tag")
}

func (p *dataParser) json(content []byte) map[string]any {
	d := json.NewDecoder(bytes.NewReader(content))
	d.UseNumber()
	fail := func(msg, hint string) {
		before := content[:min(int(d.InputOffset()), len(content))]
		p.fail(1+bytes.Count(before, []byte{'\n'}), max(1, len(before)-1-bytes.LastIndexByte(before, '\n')), msg, hint)
	}
	v, ok := jsonValue(d, fail, 1)
	if !ok {
		return nil
	}
	m, ok := v.(map[string]any)
	if !ok {
		fail("is not an object", "")
		return nil
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		fail("contains more than one value", "keep one")
	}
	return m
}

func jsonValue(d *json.Decoder, fail func(msg, hint string), depth int) (any, bool) {
	if depth > maxDataDepth {
		fail(fmt.Sprintf("is nested deeper than %d", maxDataDepth), "")
		return nil, false
	}
	token, err := d.Token()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		fail(err.Error(), "")
		return nil, false
	}
	delim, ok := token.(json.Delim)
	if !ok {
		return token, true
	}
	m, list := map[string]any{}, []any{}
	for d.More() {
		key := ""
		if delim == '{' {
			token, err := d.Token()
			if err != nil {
				fail(err.Error(), "")
				return nil, false
			}
			key = token.(string) // the decoder returns only strings for keys
			if _, twice := m[key]; twice {
				fail(fmt.Sprintf("duplicate key %q", key), "remove one")
			}
		}
		v, ok := jsonValue(d, fail, depth+1)
		if !ok {
			return nil, false
		}
		m[key], list = v, append(list, v)
	}
	if _, err := d.Token(); err != nil {
		fail(err.Error(), "")
		return nil, false
	}
	if delim == '{' {
		return m, true
	}
	return list, true
}

// plainData returns data with the types of decoded JSON, whatever it was decoded from.
func plainData(data map[string]any) (map[string]any, error) {
	if len(data) == 0 {
		return map[string]any{}, nil
	}
	encoded, err := encode.Data(data, 64<<20)
	if err != nil {
		return nil, fmt.Errorf("policy data: %w", err)
	}
	v, err := ast.JSON(encoded)
	if err != nil {
		return nil, fmt.Errorf("policy data: %w", err)
	}
	return v.(map[string]any), nil // the type of an object with string keys
}

// libraryData returns the data for the library: its own keys only, all of them present.
func libraryData(data map[string]any) map[string]any {
	return map[string]any{
		"separation_of_duties": orDefault(data, "separation_of_duties", []any{}),
		"freeze":               orDefault(data, "freeze", []any{}),
		"privileged":           withDefaults(data["privileged"], map[string]any{"max_days": json.Number("90")}),
		"reason":               withDefaults(data["reason"], map[string]any{"min_length": json.Number("10")}),
		"blast_radius":         withDefaults(data["blast_radius"], map[string]any{"warn": json.Number("20"), "two": json.Number("100")}),
	}
}

func orDefault(data map[string]any, key string, value any) any {
	if v, ok := data[key]; ok {
		return v
	}
	return value
}

func withDefaults(v any, defaults map[string]any) map[string]any {
	if m, ok := v.(map[string]any); ok {
		maps.Copy(defaults, m)
	}
	return defaults
}

// dataKeys returns the keys that the library reads.
func dataKeys() []string {
	return []string{"blast_radius", "freeze", "privileged", "reason", "separation_of_duties"}
}

// checkData checks the data that the library reads. A wrong type could make a rule silently not apply.
func checkData(data map[string]any) schemas.ErrorList {
	c := dataChecker{}
	for key, v := range data {
		switch key {
		case rootPackage:
			c.fail(key, "is reserved for rules and cannot be data", "choose another key")
		case "privileged":
			c.object(key, v, func(k string, v any) { c.whole(key+"."+k, v, 1) }, "max_days")
		case "reason":
			c.object(key, v, func(k string, v any) { c.whole(key+"."+k, v, 0) }, "min_length")
		case "blast_radius":
			c.object(key, v, func(k string, v any) { c.whole(key+"."+k, v, 0) }, "warn", "two")
		case "freeze":
			c.list(key, v, c.window)
		case "separation_of_duties":
			c.list(key, v, c.duty)
		default:
			// A misspelt key of the library would silently switch its rule off.
			for _, k := range dataKeys() {
				plain := strings.NewReplacer("-", "", "_", "", " ", "").Replace
				if schemas.Distance(strings.ToLower(key), k) <= 2 || strings.EqualFold(plain(key), plain(k)) {
					c.fail(key, "is too similar to a key of the built-in library", "did you mean "+k+"? if not, choose a less similar name")
				}
			}
		}
	}
	return c.faults.Sort()
}

type dataChecker struct{ faults schemas.ErrorList }

func (c *dataChecker) fail(field, msg, hint string) {
	c.faults = append(c.faults, schemas.Error{Field: "data." + field, Msg: msg, Hint: hint})
}

func (c *dataChecker) object(field string, v any, each func(key string, v any), keys ...string) map[string]any {
	m, ok := v.(map[string]any)
	if !ok {
		c.fail(field, "is not a mapping", "")
		return nil
	}
	for k, v := range m {
		if !slices.Contains(keys, k) {
			c.fail(field+"."+k, "unknown key", didYouMean(k, keys))
			continue
		}
		if each != nil {
			each(k, v)
		}
	}
	return m
}

func (c *dataChecker) list(field string, v any, each func(field string, v any)) {
	l, ok := v.([]any)
	if !ok {
		c.fail(field, "is not a list", "")
		return
	}
	for i, v := range l {
		each(field+"["+strconv.Itoa(i)+"]", v)
	}
}

func (c *dataChecker) whole(field string, v any, least int64) {
	n, ok := v.(json.Number)
	if !ok {
		c.fail(field, "is not a number", "")
		return
	}
	if i, err := n.Int64(); err != nil || i < least || i > 1_000_000 {
		c.fail(field, fmt.Sprintf("is %s (expected an integer from %d to 1000000)", n, least), "")
	}
}

func (c *dataChecker) text(m map[string]any, field, key string) string {
	s, ok := m[key].(string)
	if !ok || strings.TrimSpace(s) == "" {
		c.fail(field+"."+key, "is required (expected a string)", "")
		return ""
	}
	return s
}

func (c *dataChecker) instant(m map[string]any, field, key string) (time.Time, bool) {
	s := c.text(m, field, key)
	if s == "" {
		return time.Time{}, false
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil || t.Year() < 1700 || t.Year() > 2261 {
		c.fail(field+"."+key, "is not a timestamp", "write it as 2026-12-20T18:00:00Z")
		return t, false
	}
	return t, true
}

func (c *dataChecker) texts(field string, v any, least int) {
	l, ok := v.([]any)
	if !ok || len(l) < least {
		c.fail(field, fmt.Sprintf("invalid list (expected %d or more entries)", least), "")
		return
	}
	for i, v := range l {
		if s, ok := v.(string); !ok || s == "" {
			c.fail(fmt.Sprintf("%s[%d]", field, i), "is not a string", "")
		} else if slices.Contains(l[:i], v) {
			c.fail(fmt.Sprintf("%s[%d]", field, i), "is a duplicate", "remove one")
		}
	}
}

func (c *dataChecker) window(field string, v any) {
	m := c.object(field, v, nil, "from", "to", "applications", "reason")
	if m == nil {
		return
	}
	from, ok := c.instant(m, field, "from")
	to, ok2 := c.instant(m, field, "to")
	if ok && ok2 && !to.After(from) {
		c.fail(field+".to", "is not after from", "")
	}
	c.text(m, field, "reason")
	if l, ok := m["applications"]; ok {
		c.texts(field+".applications", l, 1)
	}
}

func (c *dataChecker) duty(field string, v any) {
	m := c.object(field, v, nil, "name", "connections", "at_most")
	if m == nil {
		return
	}
	c.text(m, field, "name")
	c.texts(field+".connections", m["connections"], 2)
	if l, ok := m["connections"].([]any); ok {
		for i, v := range l {
			if s, ok := v.(string); ok && strings.Count(s, "/") < 2 {
				c.fail(fmt.Sprintf("%s.connections[%d]", field, i), "is not a connection", "write application/type/source_name")
			}
		}
	}
	if n, ok := m["at_most"]; ok {
		c.whole(field+".at_most", n, 0)
		l, _ := m["connections"].([]any)
		if k, ok := n.(json.Number); ok && len(l) > 0 {
			if i, err := k.Int64(); err == nil && i >= int64(len(l)) {
				c.fail(field+".at_most", "is not less than the number of connections, so the rule would never apply", "")
			}
		}
	}
}
