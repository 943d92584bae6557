// Package redact finds the identities in a report and replaces each by a number, for places that more
// people read than may know who has access. It imports schemas and no other package of countersign.
package redact

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/countersign/countersign/schemas"
)

// Redaction replaces identities: each keeps one number throughout a report, so that a reader can tell that
// two lines are about the same one. A nil Redaction hides nothing.
type Redaction struct {
	numbers map[schemas.Name]int
	words   map[string]string // names that are one word, in lower case
	parts   *strings.Replacer // names that are more
}

// New finds the identities in a report: those that hold access, and the members of connections.
func New(v any) *Redaction {
	found := map[schemas.Name]bool{}
	access := func(lists ...[]schemas.Access) {
		for _, l := range lists {
			for _, a := range l {
				found[a.Identity] = true
			}
		}
	}
	// A membership's target may be a connection, which is nobody: its type is then that of a connection.
	members, connections := map[schemas.Name]bool{}, map[string]bool{}
	key := func(k schemas.Key) {
		connections[k.Connection.Type] = true
		if k.Privilege == schemas.PrivilegeMember || k.Privilege == schemas.PrivilegeAdmin {
			members[k.Target] = true
		}
	}
	plans := func(list []schemas.ApplicationPlan) {
		for _, p := range list {
			for i := range p.Operations {
				o := &p.Operations[i]
				access(o.Gained, o.Lost)
				if o.Target != nil {
					key(o.Key())
				}
			}
			for _, k := range slices.Concat(p.Unmanaged, p.Overdue) {
				key(k)
			}
			for _, k := range p.Pending {
				key(k.Key)
			}
		}
	}
	switch v := v.(type) {
	case *schemas.Preview:
		access(v.Gained, v.Lost)
		plans(v.Plan.Applications)
		plans(v.Drift)
		for _, k := range v.Already {
			key(k)
		}
		for i := range v.Terms {
			access(v.Terms[i].Gained)
			key(v.Terms[i].Key)
		}
	case *schemas.RunReport:
		for _, a := range v.Applications {
			plans([]schemas.ApplicationPlan{a.Plan, {Operations: a.Seen}, {Operations: a.Withdrawn}})
		}
	case *schemas.AccessReport:
		for _, e := range v.Entries {
			found[e.Identity] = true
		}
	case *schemas.Plan:
		plans(v.Applications)
	case *schemas.ApplicationPlan:
		plans([]schemas.ApplicationPlan{*v})
	case []schemas.ApplicationPlan:
		plans(v)
	}
	for n := range members {
		if !connections[n.Type] {
			found[n] = true
		}
	}
	r := &Redaction{numbers: map[schemas.Name]int{}, words: map[string]string{}}
	var names []schemas.Name
	for n := range found {
		names = append(names, n)
	}
	slices.SortFunc(names, schemas.Name.Compare)
	var parts []schemas.Name
	for i, n := range names {
		r.numbers[n] = i + 1
		switch {
		case n.SourceName == "":
		case strings.IndexFunc(n.SourceName, func(c rune) bool { return !wordRune(c) }) < 0:
			r.words[strings.ToLower(n.SourceName)] = standIn(i + 1)
		default:
			parts = append(parts, n)
		}
	}
	// The longest first, so that no name is replaced within another.
	slices.SortStableFunc(parts, func(a, b schemas.Name) int { return cmp.Compare(len(b.SourceName), len(a.SourceName)) })
	var pairs []string
	for _, n := range parts {
		pairs = append(pairs, n.SourceName, standIn(r.numbers[n]))
	}
	r.parts = strings.NewReplacer(pairs...)
	return r
}

func standIn(n int) string { return fmt.Sprintf("redacted-%d", n) }

func wordRune(c rune) bool {
	return unicode.IsLetter(c) || unicode.IsDigit(c) || unicode.IsMark(c) || c == '_' || c == '-' || c == '.' || c == '+'
}

// Name is what a name is shown as.
func (r *Redaction) Name(n schemas.Name) schemas.Name {
	if r == nil {
		return n
	}
	if i, ok := r.numbers[n]; ok {
		n.SourceName = standIn(i)
	}
	return n
}

// Hide takes the identities out of a sentence.
func (r *Redaction) Hide(s string) string {
	if r == nil || len(r.numbers) == 0 {
		return s
	}
	s = r.parts.Replace(s)
	var b strings.Builder
	for s != "" {
		n := strings.IndexFunc(s, func(c rune) bool { return !wordRune(c) })
		if n < 0 {
			n = len(s)
		}
		if n == 0 {
			_, rest, _ := strings.Cut(s, s[:1])
			b.WriteString(s[:1])
			s = rest
			continue
		}
		word := s[:n]
		core := strings.TrimRight(word, ".-+") // the end of a sentence isn't part of a name
		switch {
		case r.words[strings.ToLower(word)] != "":
			b.WriteString(r.words[strings.ToLower(word)])
		case r.words[strings.ToLower(core)] != "":
			b.WriteString(r.words[strings.ToLower(core)] + word[len(core):])
		default:
			b.WriteString(word)
		}
		s = s[n:]
	}
	return b.String()
}
