package policy

import (
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/countersign/countersign/schemas"
)

// Locate sets the place of errors about a data file, as New reports them, by their field. Errors that have a place already
// keep it.
func Locate(list schemas.ErrorList, path string, content []byte) schemas.ErrorList {
	var doc yaml.Node
	if err := yaml.Unmarshal(content, &doc); err != nil || len(doc.Content) == 0 {
		return list
	}
	for i := range list {
		e := &list[i]
		field, ok := strings.CutPrefix(e.Field, "data.")
		if !ok || e.Path != "" {
			continue
		}
		n := nodeAt(doc.Content[0], field)
		e.Position = schemas.Position{Path: path, Line: n.Line, Column: n.Column}
	}
	return list
}

// nodeAt returns the node of a field such as freeze[0].from, or the nearest one around it.
func nodeAt(n *yaml.Node, field string) *yaml.Node {
	for _, part := range strings.FieldsFunc(field, func(r rune) bool { return r == '.' || r == '[' || r == ']' }) {
		next := n
		switch n.Kind {
		case yaml.MappingNode:
			for i := 0; i+1 < len(n.Content); i += 2 {
				if n.Content[i].Value == part {
					next = n.Content[i+1]
				}
			}
		case yaml.SequenceNode:
			if i, err := strconv.Atoi(part); err == nil && i < len(n.Content) {
				next = n.Content[i]
			}
		}
		if next == n {
			return n
		}
		n = next
	}
	return n
}
