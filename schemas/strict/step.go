package strict

import (
	"strconv"
	"strings"
	"sync"

	"gopkg.in/yaml.v3"
)

// At implements schemas.Places. The entries of grants and revokes are known; for any other field the first call parses
// the document again.
func (s *source) At(field string) (line, column int, ok bool) {
	if p, ok := s.entry(field); ok {
		return p[0], p[1], true
	}
	s.once.Do(s.index)
	for field != "" {
		if p, ok := s.places[field]; ok {
			return p[0], p[1], true
		}
		field = parentField(field)
	}
	return 0, 0, false
}

// parentField cuts the last step off a field path.
func parentField(field string) string {
	if strings.HasSuffix(field, `"]`) {
		// A quoted key: its opening is the last [" that no backslash continues.
		for at := strings.LastIndex(field, `["`); at >= 0; at = strings.LastIndex(field[:at], `["`) {
			if _, err := strconv.Unquote(field[at+1 : len(field)-1]); err == nil {
				return field[:at]
			}
		}
		return ""
	}
	return field[:max(strings.LastIndexAny(field, ".["), 0)]
}

// source is a document's own text, kept so that positions need no memory until somebody asks.
type source struct {
	text []byte
	line int // lines before text
	once sync.Once
	// places has line and column by field path; nil until indexed.
	places map[string][2]int
	// grants and revokes have those of each entry: every change is asked for them.
	grants, revokes [][2]int
}

// noteEntries keeps the places of the entries of grants and revokes.
func (s *source) noteEntries(root *yaml.Node) {
	spec := valueOf(root, "spec")
	places := func(list *yaml.Node) [][2]int {
		if list == nil || list.Kind != yaml.SequenceNode {
			return nil
		}
		out := make([][2]int, len(list.Content))
		for i, n := range list.Content {
			out[i] = [2]int{n.Line + s.line, n.Column}
		}
		return out
	}
	s.grants, s.revokes = places(valueOf(spec, "grants")), places(valueOf(spec, "revokes"))
}

// valueOf is the value of a mapping's key; nil when there is none.
func valueOf(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// entry is the place of spec.grants[N] or spec.revokes[N].
func (s *source) entry(field string) ([2]int, bool) {
	list := s.grants
	number, ok := strings.CutPrefix(field, "spec.grants[")
	if !ok {
		list = s.revokes
		number, ok = strings.CutPrefix(field, "spec.revokes[")
	}
	number, closed := strings.CutSuffix(number, "]")
	i, err := strconv.Atoi(number)
	if !ok || !closed || err != nil || i < 0 || i >= len(list) {
		return [2]int{}, false
	}
	return list[i], true
}

func (s *source) index() {
	root, err := parse(s.text)
	if err != nil || root == nil {
		return // it was parsed before: this cannot be
	}
	s.places = map[string][2]int{}
	var walk func(n *yaml.Node, at *step)
	walk = func(n *yaml.Node, at *step) {
		switch n.Kind {
		case yaml.MappingNode:
			for i := 0; i+1 < len(n.Content); i += 2 {
				key := n.Content[i]
				next := step{up: at, key: key.Value, index: -1}
				s.places[next.String()] = [2]int{key.Line + s.line, key.Column}
				walk(n.Content[i+1], &next)
			}
		case yaml.SequenceNode:
			for i, item := range n.Content {
				next := step{up: at, index: i}
				s.places[next.String()] = [2]int{item.Line + s.line, item.Column}
				walk(item, &next)
			}
		}
	}
	walk(root, nil)
}

// step is one step of the way to a node, the last one first. A nil step is the document.
type step struct {
	up    *step
	key   string
	index int // -1 for a key
}

// String is the field path.
func (s *step) String() string {
	if s == nil {
		return ""
	}
	return s.after(s.up.String())
}

// after is the field path of the step alone, put after another path.
func (s *step) after(up string) string {
	switch {
	case s.index >= 0:
		return up + "[" + strconv.Itoa(s.index) + "]"
	case !isIdentifier(s.key):
		return up + "[" + strconv.QuoteToASCII(s.key) + "]"
	case up == "":
		return s.key
	}
	return up + "." + s.key
}

// shown is the field path for an error. It ends where a key might be something else than a name: a
// secret written as {secret} is a key.
func (s *step) shown() string {
	field, _, _ := s.show(s.inConfig())
	return field
}

// show is shown for the steps up to s; open means that none was left out. It keeps no pointer to a step,
// so that steps need no heap.
func (s *step) show(config bool) (field string, depth int, open bool) {
	if s == nil {
		return "", 0, true
	}
	field, depth, open = s.up.show(config)
	if s.index < 0 && (!isIdentifier(s.key) || len(s.key) > 64 || (config && depth > 2)) {
		open = false
	}
	if open {
		field = s.after(field)
	}
	return field, depth + 1, open
}

// inConfig reports whether the step lies in an application's spec.config.
func (s *step) inConfig() bool {
	var second, first *step
	for at := s; at != nil; at = at.up {
		second, first = first, at
	}
	return first != nil && second != nil && first.key == "spec" && second.key == "config"
}

func isIdentifier(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !(c == '_' || ('a' <= c && c <= 'z') || ('A' <= c && c <= 'Z') || (i > 0 && '0' <= c && c <= '9')) {
			return false
		}
	}
	return s != ""
}

// freeForm reports whether the step lies in a mapping whose fields only connectors know.
func (s *step) freeForm() bool {
	var second, first *step
	for at := s; at != nil; at = at.up {
		second, first = first, at
	}
	return second != nil && first.key == "spec" && (second.key == "config" || second.key == "payload")
}
