package strict

import (
	"bytes"
	"fmt"
	"math"
	"regexp"
	"strconv"

	"gopkg.in/yaml.v3"

	"github.com/countersign/countersign/schemas"
)

// maxInteger is the largest integer that every JSON reader holds exactly (RFC 7493).
const maxInteger = 1<<53 - 1

// columns finds the byte at a line and column of a text.
type columns struct {
	lines [][]byte
	// offsets has, for lines that are not all ASCII, where each character begins.
	offsets map[int][]int
}

func newColumns(text []byte) *columns {
	return &columns{lines: bytes.Split(text, []byte("\n")), offsets: map[int][]int{}}
}

// at returns the byte at a line and column (both from 1), 0 where there is none.
func (c *columns) at(line, column int) byte {
	if line < 1 || line > len(c.lines) || column < 1 {
		return 0
	}
	text := c.lines[line-1]
	offsets, ok := c.offsets[line]
	if !ok {
		for i := range string(text) {
			offsets = append(offsets, i)
		}
		if len(offsets) == len(text) {
			offsets = nil
		}
		c.offsets[line] = offsets
	}
	at := column - 1
	if offsets != nil {
		if at >= len(offsets) {
			return 0
		}
		at = offsets[at]
	}
	if at >= len(text) {
		return 0
	}
	return text[at]
}

// findTags reports explicit tags that the parser leaves no trace of: "! text".
func (d *decoder) findTags(n *yaml.Node, text *columns, depth int) {
	if n.Style&yaml.TaggedStyle == 0 && text.at(n.Line, n.Column) == '!' {
		d.fail(n, nil, "a tag (!)", "remove it, or quote text that begins with !")
	}
	if depth > schemas.MaxDepth {
		return
	}
	for _, child := range n.Content {
		d.findTags(child, text, depth+1)
	}
}

// convert checks a node and everything below and returns it as JSON has it: map[string]any, []any,
// string, bool, int, float64 or nil.
func (d *decoder) convert(n *yaml.Node, at *step, depth int) any {
	if n.Anchor != "" {
		d.fail(n, at, "an anchor (&)", "write the value out where it is used, or quote text that begins with &")
	}
	if n.Style&yaml.TaggedStyle != 0 {
		d.fail(n, at, "a tag (!)", "remove it, or quote text that begins with !")
		if n.Kind == yaml.ScalarNode {
			return n.Value
		}
	}
	if depth > schemas.MaxDepth && n.Kind != yaml.ScalarNode {
		d.fail(n, at, fmt.Sprintf("nested more than %d levels deep", schemas.MaxDepth), "")
		return nil
	}
	switch n.Kind {
	case yaml.AliasNode:
		d.fail(n, at, "an alias (*)", "write the value out, or quote text that begins with *")
		return nil
	case yaml.MappingNode:
		return d.convertMapping(n, at, depth)
	case yaml.SequenceNode:
		list := make([]any, len(n.Content))
		for i, item := range n.Content {
			list[i] = d.convert(item, &step{up: at, index: i}, depth+1)
		}
		return list
	case yaml.ScalarNode:
		return d.convertScalar(n, at)
	}
	d.fail(n, at, "this is neither text, list nor mapping", "")
	return nil
}

func (d *decoder) convertMapping(n *yaml.Node, at *step, depth int) any {
	m := make(map[string]any, len(n.Content)/2)
	// Few keys are compared with each other; for many, a map of folded keys is made.
	var folded map[string]*yaml.Node
	if len(n.Content) > 64 {
		folded = make(map[string]*yaml.Node, len(n.Content)/2)
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if !d.checkKey(key, at) {
			d.convert(n.Content[i+1], at, depth+1)
			continue
		}
		if twin := findTwin(n, i, folded); twin != nil {
			d.failTwin(key, twin, at)
		}
		m[key.Value] = d.convert(n.Content[i+1], &step{up: at, key: key.Value, index: -1}, depth+1)
	}
	return m
}

// checkKey reports keys that are not plain text.
func (d *decoder) checkKey(key *yaml.Node, at *step) bool {
	switch {
	case key.Kind == yaml.AliasNode:
		d.fail(key, at, "an alias (*) as key", "write the key out")
	case key.Kind != yaml.ScalarNode:
		d.fail(key, at, "a key that is "+kindName(key.Kind)+" (expected text)", "")
	case key.Anchor != "":
		d.fail(key, at, "an anchor (&)", "remove it")
	case key.Style&yaml.TaggedStyle != 0:
		d.fail(key, at, "a tag (!)", "remove it")
	case key.Value == "<<":
		d.fail(key, at, "a merge key (<<)", "write the fields out")
	case key.Tag != "!!str" && key.Tag != "!!timestamp":
		d.fail(key, at, "a key that is "+tagName(key.Tag)+" (expected text)", "quote it")
	case key.Value == "":
		d.fail(key, at, "an empty key", "")
	case len(key.Value) > 1024:
		d.fail(key, at, fmt.Sprintf("a key of %d bytes (expected at most 1024)", len(key.Value)), "")
	default:
		if f := schemas.NameFault(key.Value); f != "" && !d.dirty {
			d.fail(key, at, "a key that "+f, "remove it")
			return false
		}
		return true
	}
	return false
}

// findTwin returns an earlier key of the mapping that is the same as the i-th but for case and
// normalisation, or nil.
func findTwin(n *yaml.Node, i int, folded map[string]*yaml.Node) *yaml.Node {
	if folded != nil {
		key := schemas.FoldKey(n.Content[i].Value)
		twin := folded[key]
		if twin == nil {
			folded[key] = n.Content[i]
		}
		return twin
	}
	for j := 0; j < i; j += 2 {
		if other := n.Content[j]; other.Kind == yaml.ScalarNode && schemas.SameKey(other.Value, n.Content[i].Value) {
			return other
		}
	}
	return nil
}

func (d *decoder) failTwin(key, twin *yaml.Node, at *step) {
	field := step{up: at, key: key.Value, index: -1}
	where := fmt.Sprintf("first at line %d", twin.Line+d.line)
	if key.Value == twin.Value {
		d.fail(key, &field, "duplicate key ("+where+")", "remove one")
		return
	}
	d.fail(key, &field, "a key that differs from another only by case or Unicode form ("+where+")", "remove one")
}

var (
	plainInteger = regexp.MustCompile(`^(0|-?[1-9][0-9]*)$`)
	plainFloat   = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)
)

// convertScalar reads a scalar by YAML 1.2's core rules. Whatever parsers read differently (octal, hex,
// underscores, infinities) is refused.
func (d *decoder) convertScalar(n *yaml.Node, at *step) any {
	switch n.Tag {
	case "!!null":
		return nil
	case "!!bool":
		return n.Value[0] == 't' || n.Value[0] == 'T'
	case "!!int":
		v, err := strconv.Atoi(n.Value)
		switch {
		case !plainInteger.MatchString(n.Value):
			d.fail(n, at, "a number that programs read differently", "write it in plain decimal, or quote it if it is text")
		case err != nil || v > maxInteger || v < -maxInteger:
			d.fail(n, at, "a number that is too large to be exact everywhere", "quote it if it is text")
		}
		return v
	case "!!float":
		v, err := strconv.ParseFloat(n.Value, 64)
		switch {
		case !plainFloat.MatchString(n.Value):
			d.fail(n, at, "a number that programs read differently", "write it in plain decimal, or quote it if it is text")
			return 0.0
		case err != nil || math.IsInf(v, 0) || (v == math.Trunc(v) && math.Abs(v) > maxInteger):
			d.fail(n, at, "a number that is too large to be exact everywhere", "quote it if it is text")
			return 0.0
		}
		return v
	}
	if n.Style == 0 && n.Value != "" && (n.Value[0] == '-' || ('0' <= n.Value[0] && n.Value[0] <= '9')) && plainFloat.MatchString(n.Value) {
		// Our parser takes a number that overflows for text; others take it for infinity.
		d.fail(n, at, "a number that is too large to be exact everywhere", "quote it if it is text")
	}
	if n.Style&yaml.DoubleQuotedStyle != 0 && !d.dirty {
		// Only escapes bring in what the raw bytes did not have.
		if f := schemas.TextFault(n.Value, true); f != "" {
			d.fail(n, at, "an escape for "+f+" (expected visible text)", "remove it")
		}
	}
	if at != nil && at.freeForm() {
		if f := credentialFault(at.key, n.Value); f != "" {
			d.fail(n, at, f, "write {env: NAME} or {file: /path} in its place, and change the secret if this was ever pushed")
		}
	}
	return n.Value
}

func kindName(k yaml.Kind) string {
	switch k {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	return "a value"
}

func tagName(tag string) string {
	switch tag {
	case "!!null":
		return "nothing"
	case "!!bool":
		return "true or false"
	case "!!int", "!!float":
		return "a number"
	}
	return "no plain text"
}

// typeName names a decoded value's type, for people.
func typeName(v any) string {
	switch v.(type) {
	case nil:
		return "nothing"
	case bool:
		return "true or false"
	case int, float64:
		return "a number"
	case string:
		return "text"
	case []any:
		return "a list"
	}
	return "a mapping"
}

// lookup returns the node at an instance location and the node of its key (nil for list items and the
// root).
func (d *decoder) lookup(way []string) (value, key *yaml.Node) {
	value = d.root
	for _, token := range way {
		next, nextKey := child(value, token)
		if next == nil {
			return value, key
		}
		value, key = next, nextKey
	}
	return value, key
}

func child(n *yaml.Node, token string) (value, key *yaml.Node) {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Kind == yaml.ScalarNode && n.Content[i].Value == token {
				return n.Content[i+1], n.Content[i]
			}
		}
	case yaml.SequenceNode:
		if i, err := strconv.Atoi(token); err == nil && i >= 0 && i < len(n.Content) {
			return n.Content[i], nil
		}
	}
	return nil, nil
}

// steps turns an instance location into a step, telling list indexes from keys by the nodes.
func (d *decoder) steps(way []string) *step {
	var at *step
	n := d.root
	for _, token := range way {
		next := &step{up: at, key: token, index: -1}
		if n != nil && n.Kind == yaml.SequenceNode {
			if i, err := strconv.Atoi(token); err == nil {
				next = &step{up: at, index: i}
			}
		}
		if n != nil {
			n, _ = child(n, token)
		}
		at = next
	}
	return at
}
