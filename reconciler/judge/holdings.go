package judge

import (
	"encoding/json"
	"regexp"
	"strings"

	"github.com/countersign/countersign/schemas"
)

// holdings are the connections that rules ask about among those that people hold. Somebody who gains may hold
// thousands, and a change costs what it touches: only those that a set of duties names are fetched, unless rules of the
// repository itself may look at any.
type holdings struct {
	all   bool
	named map[string]bool // application/type/source_name
}

// word finds input as a variable, with the character after it.
var word = regexp.MustCompile(`\binput\b(.?)`)

// holdingsOf reads which holdings the repository's rules and data ask about.
func holdingsOf(modules map[string][]byte, data map[string]any) holdings {
	h := holdings{named: map[string]bool{}}
	for _, m := range modules {
		if strings.Contains(string(m), "holdings") {
			h.all = true
		}
		for _, found := range word.FindAllStringSubmatch(string(m), -1) {
			// Without a name after it, a rule may look at any part of the input.
			h.all = h.all || found[1] != "."
		}
	}
	h.collect(data["separation_of_duties"])
	return h
}

// collect takes every string of a value: of a set of duties, its connections and its name.
func (h *holdings) collect(v any) {
	switch v := v.(type) {
	case string:
		h.named[v] = true
	case []any:
		for _, x := range v {
			h.collect(x)
		}
	case map[string]any:
		for _, x := range v {
			h.collect(x)
		}
	}
}

// dutiesOf reads the sets of connections that are kept apart. The policy's own check refuses what has another form.
func dutiesOf(data map[string]any) []schemas.Duty {
	var out []schemas.Duty
	raw, err := json.Marshal(data["separation_of_duties"])
	if err != nil || json.Unmarshal(raw, &out) != nil {
		return nil
	}
	return out
}

// asked reports whether rules ask about a connection, named with its application.
func (h holdings) asked(connection string) bool { return h.all || h.named[connection] }

// of returns the connections of an application that rules ask about; all means any of them.
func (h holdings) of(application string) (asked []schemas.Name, all bool) {
	for n := range h.named {
		rest, ok := strings.CutPrefix(n, application+"/")
		if typ, name, split := strings.Cut(rest, "/"); ok && split {
			asked = append(asked, schemas.Name{Type: typ, SourceName: name})
		}
	}
	return asked, h.all
}

// none reports whether rules ask about no connection at all.
func (h holdings) none() bool { return !h.all && len(h.named) == 0 }

// about reports whether rules ask about any connection of an application.
func (h holdings) about(application string) bool {
	if h.all {
		return true
	}
	for c := range h.named {
		if strings.HasPrefix(c, application+"/") {
			return true
		}
	}
	return false
}
