package report

import (
	"fmt"
	"strings"

	"github.com/countersign/countersign/schemas"
)

// lacking counts what the form of a preview leaves out of what its approval is about. An approval counts only for what its
// author could see.
type lacking struct {
	hidden     int // people and accounts whose names are hidden
	people     int // people who gain or lose
	operations int // that are privileged, or deletions
	fields     int // of privileged operations
	terms      int // grants with another start or end
}

// explain lists what is left out, and what to do about it; "" for nothing.
func (l *lacking) explain() string {
	var parts []string
	for _, p := range []struct {
		n         int
		one, many string
	}{
		{l.people, "person who gains or loses access", "people who gain or lose access"},
		{l.operations, "privileged operation or deletion", "privileged operations or deletions"},
		{l.fields, "field of a privileged operation", "fields of privileged operations"},
		{l.terms, "grant with another start or end", "grants with another start or end"},
	} {
		switch {
		case p.n == 1:
			parts = append(parts, "1 "+p.one)
		case p.n > 1:
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.many))
		}
	}
	var out []string
	if l.hidden > 0 {
		out = append(out, "it hides who gains or loses access (publish it without redact)")
	}
	if len(parts) > 0 {
		out = append(out, "it leaves out "+strings.Join(parts, ", ")+" (split the change)")
	}
	return strings.Join(out, "; ")
}

// hide counts the people and members of a preview's change whose names are hidden.
func (b *builder) hide(p *schemas.Preview) {
	if b.words == nil {
		return
	}
	count := func(n schemas.Name) {
		if b.words.Name(n) != n {
			b.lacking.hidden++
		}
	}
	for _, x := range peopleOf(p) {
		count(x.identity)
	}
	for i := range p.Plan.Applications {
		for _, o := range p.Plan.Applications[i].Operations {
			if o.Target != nil {
				count(*o.Target)
			}
		}
	}
	for i := range p.Terms {
		count(p.Terms[i].Target)
	}
}

// skip counts an operation that isn't shown.
func (b *builder) skip(o *schemas.Operation) {
	if matters(o) && (b.complete || !o.Privileged) { // without room for attributes, the privileged ones are counted by themselves
		b.lacking.operations++
	}
}

// matters reports whether an operation is never left out of what is approved.
func matters(o *schemas.Operation) bool { return o.Privileged || o.Kind == schemas.OperationDelete }

// fits reports whether names are short enough not to be cut.
func (b *builder) fits(names ...schemas.Name) bool {
	for _, n := range names {
		if b.clip > 0 && len(n.SourceName) > b.clip {
			return false
		}
	}
	return true
}
