package report

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/countersign/countersign/reconciler/report/layout"
)

// longValue is how many bytes of JSON an attribute may have to be shown within its row.
const longValue = 120

// difference is one place in which two values differ. An absent side is nil.
type difference struct {
	path     string
	old, new any
	had, has bool
}

// differences compares two values as structures: the keys of maps and the elements of lists, which are the same
// wherever in the list they are. A string of JSON is compared by what it contains.
func differences(path string, before, after any) []difference {
	before, after = parsed(before), parsed(after)
	if sameJSON(before, after) {
		return nil
	}
	switch a := after.(type) {
	case map[string]any:
		if b, ok := before.(map[string]any); ok || before == nil {
			return keyDifferences(path, b, a)
		}
	case []any:
		if b, ok := before.([]any); ok || before == nil {
			return elementDifferences(path, b, a)
		}
	case nil:
		switch b := before.(type) {
		case map[string]any:
			return keyDifferences(path, b, nil)
		case []any:
			return elementDifferences(path, b, nil)
		}
	}
	return []difference{{path: path, old: before, new: after, had: before != nil, has: after != nil}}
}

func keyDifferences(path string, before, after map[string]any) []difference {
	var out []difference
	keys := slices.Sorted(maps.Keys(before))
	for k := range after {
		if _, ok := before[k]; !ok {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		at := path + "." + k
		old, had := before[k]
		now, has := after[k]
		switch {
		case had && has:
			out = append(out, differences(at, old, now)...)
		default:
			out = append(out, difference{path: at, old: old, new: now, had: had, has: has})
		}
	}
	return out
}

// elementDifferences pairs equal elements, then what is left at one index, and lists the others.
func elementDifferences(path string, before, after []any) []difference {
	left := map[string][]int{}
	for i, v := range before {
		k := canonical(v)
		left[k] = append(left[k], i)
	}
	added := map[int]bool{}
	for i, v := range after {
		k := canonical(v)
		if n := len(left[k]); n > 0 {
			left[k] = left[k][1:]
		} else {
			added[i] = true
		}
	}
	removed := map[int]bool{}
	for _, list := range left {
		for _, i := range list {
			removed[i] = true
		}
	}
	var out []difference
	for i := range max(len(before), len(after)) {
		at := fmt.Sprintf("%s[%d]", path, i)
		switch {
		case removed[i] && added[i]:
			out = append(out, differences(at, before[i], after[i])...)
		case removed[i]:
			out = append(out, difference{path: at, old: before[i], had: true})
		case added[i]:
			out = append(out, difference{path: at, new: after[i], has: true})
		}
	}
	if len(out) == 0 {
		out = []difference{{path: path + " (order)", old: before, new: after, had: true, has: true}}
	}
	return out
}

// parsed is the content of a string that holds a JSON object or list, and plain maps and lists of anything else.
func parsed(v any) any {
	switch x := v.(type) {
	case nil, bool, float64, map[string]any, []any:
		return v
	case string:
		if t := strings.TrimSpace(x); !strings.HasPrefix(t, "{") && !strings.HasPrefix(t, "[") {
			return v
		}
		var out any
		if json.Unmarshal([]byte(x), &out) == nil {
			return out
		}
		return v
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return v
	}
	var out any
	if json.Unmarshal(raw, &out) != nil {
		return v
	}
	return out
}

// canonical is a value as JSON on one line, with sorted keys.
func canonical(v any) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Sprintf("%q", fmt.Sprint(v))
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func sameJSON(a, b any) bool { return canonical(a) == canonical(b) }

// structured reports whether an attribute is better shown by its differences than as a value.
func structured(before, after any) bool {
	for _, v := range []any{before, after} {
		if s, ok := v.(string); ok && len(s) > maxDifference {
			return true
		}
		switch parsed(v).(type) {
		case map[string]any, []any:
			if len(canonical(v)) > longValue {
				return true
			}
		}
	}
	return false
}

// maxDifference is how many bytes of a value are shown that isn't privileged.
const maxDifference = 400

// difference is a line for each difference of an attribute. Those of a privileged operation are complete; of others,
// long lists are cut, with the number of what is left out.
func (b *builder) difference(attribute string, before, after any, complete bool) []line {
	show := func(v any) line {
		text := canonical(v)
		if n := len(text) - maxDifference; !complete && n > 0 {
			cut := strings.ToValidUTF8(text[:maxDifference], "")
			return say("{} … ({} more bytes)", layout.Exact(cut), len(text)-len(cut))
		}
		return say("{}", layout.Exact(text))
	}
	list := differences(attribute, before, after)
	var out []line
	for i, d := range list {
		if !complete && i == b.list {
			out = append(out, more(len(list)-i, "differences"))
			break
		}
		at := name(d.path)
		switch {
		case d.had && d.has:
			out = append(out, say("{}: {} → {}", at, show(d.old), show(d.new)))
		case d.has:
			out = append(out, say("{} {}: {}", say("added").In(good), at, show(d.new)))
		default:
			out = append(out, say("{} {}: {}", say("removed").In(bad), at, show(d.old)))
		}
	}
	return out
}

// differenceCounts is "1 added, 2 changed".
func differenceCounts(list []difference) line {
	var added, removed, changed int
	for _, d := range list {
		switch {
		case d.had && d.has:
			changed++
		case d.has:
			added++
		default:
			removed++
		}
	}
	var parts []line
	for _, c := range []struct {
		n    int
		word literal
	}{{added, "added"}, {removed, "removed"}, {changed, "changed"}} {
		if c.n > 0 {
			parts = append(parts, say("{} {}", c.n, c.word))
		}
	}
	return join(", ", parts...)
}
