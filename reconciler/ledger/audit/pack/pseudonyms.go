package pack

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/countersign/countersign/reconciler/ledger/audit"
)

// renamer returns the text that takes the place of another.
type renamer func(text string) string

// leftOut takes the place of free text.
const leftOut = "(text left out)"

// pseudonyms are stable within a package: one name has one pseudonym everywhere in it.
type pseudonyms struct {
	names map[string]string
	texts map[string]bool
}

func newPseudonyms(personal map[string]bool) *pseudonyms {
	p := &pseudonyms{names: map[string]string{}, texts: map[string]bool{}}
	list := map[string]bool{}
	for text := range personal {
		if parts := strings.Split(text, "\x1f"); len(parts) == 6 {
			text = parts[4] // the member of a membership
		}
		if kind, name, ok := strings.Cut(text, ":"); ok && (kind == "user" || kind == "team") && !strings.ContainsFunc(name, unicode.IsSpace) {
			text = name
		}
		if strings.ContainsFunc(text, unicode.IsSpace) {
			p.texts[text] = true
			continue
		}
		list[text] = true
	}
	for i, name := range slices.Sorted(maps.Keys(list)) {
		p.names[name] = fmt.Sprintf("person-%d", i+1)
	}
	return p
}

// text replaces names, alone, in a principal or after a type, and leaves out free text that may name somebody.
func (p *pseudonyms) text(text string) string {
	if n, ok := p.names[text]; ok {
		return n
	}
	if p.texts[text] {
		return leftOut
	}
	words := strings.Split(text, " ")
	changed := false
	for i, w := range words {
		for _, separator := range []string{"/", ":"} {
			if kind, name, ok := strings.Cut(w, separator); ok && p.names[name] != "" {
				words[i], changed = kind+separator+p.names[name], true
			}
		}
		if n, ok := p.names[words[i]]; ok {
			words[i], changed = n, true
		}
	}
	if !changed {
		return text
	}
	return strings.Join(words, " ")
}

// population renames everything that people read.
func (rename renamer) population(p *audit.Population) error {
	for _, r := range p.Rows {
		if err := rename.value(r); err != nil {
			return err
		}
	}
	return errors.Join(rename.value(&p.Manifest), rename.value(&p.Start), rename.value(&p.End))
}

// value renames all texts of what it points to.
func (rename renamer) value(into any) error {
	b, err := json.Marshal(into)
	if err != nil {
		return err
	}
	var tree any
	if err := json.Unmarshal(b, &tree); err != nil {
		return err
	}
	if b, err = json.Marshal(rename.walk(tree)); err != nil {
		return err
	}
	return json.Unmarshal(b, into)
}

func (rename renamer) walk(v any) any {
	switch v := v.(type) {
	case string:
		return rename(v)
	case []any:
		for i := range v {
			v[i] = rename.walk(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = rename.walk(v[k])
		}
	}
	return v
}
