package report

import (
	"maps"
	"slices"
	"strings"

	"github.com/countersign/countersign/schemas"
)

// connectors is the table of what connectors can do. None of its names is a person's.
func (b *builder) connectors(l *schemas.ConnectorList) document {
	t := table{head: []literal{"Connector", "Connection", "Create", "Update", "Delete", "Reassign", "Attributes"}, titled: true, more: "May be given"}
	yes := func(can bool) line {
		if can {
			return say("yes")
		}
		return say("no")
	}
	for _, c := range l.Connectors {
		if len(c.Types) == 0 {
			t.rows = append(t.rows, row{cells: []line{say("{}", name(c.Name)), nil, nil, nil, nil, nil, nil},
				more: []line{say("as its application file says")}})
		}
		for _, typ := range c.Types {
			attributes := slices.Sorted(maps.Keys(typ.Attributes()))
			r := row{cells: []line{say("{}", name(c.Name)), say("{}", name(typ.Name)), yes(typ.Create), yes(typ.Update), yes(typ.Delete), yes(typ.Reassign), namesOf(attributes, len(attributes))}}
			targets := slices.SortedFunc(slices.Values(typ.Grantable), func(a, b schemas.GrantableType) int { return strings.Compare(a.Type, b.Type) })
			for _, g := range targets {
				how := say("")
				switch {
				case g.Grant && !g.Revoke:
					how = say(", granted only")
				case !g.Grant && g.Revoke:
					how = say(", revoked only")
				case !g.Grant:
					how = say(", read only")
				}
				r.more = append(r.more, say("{} ({}{}): {}", name(g.Type), edgeWords(g.Edge), how, namesOf(g.Privileges, maxPrivileges)))
			}
			t.rows = append(t.rows, r)
		}
	}
	return document{icon: markInfo, title: say("{}", plural(len(l.Connectors), "connector", "connectors")), blocks: []block{t}}
}

// maxPrivileges bounds how many privileges of a target stand in the table.
const maxPrivileges = 10

// namesOf lists names, at most so many.
func namesOf(list []string, limit int) line {
	var out []line
	for _, n := range list[:min(limit, len(list))] {
		out = append(out, say("{}", name(n)))
	}
	if n := len(list) - limit; n > 0 {
		out = append(out, say("and {} more", n))
	}
	return join(", ", out...)
}

// edgeWords says what being given a target means.
func edgeWords(edge schemas.Edge) line {
	switch edge {
	case schemas.EdgeResource:
		return say("may use it")
	case schemas.EdgeConnection:
		return say("becomes a member of it")
	case schemas.EdgeMember, schemas.EdgeIdentity:
		return say("becomes its member")
	}
	return say("{}", string(edge))
}

// conformance says what failed first, then what was left out.
func (b *builder) conformance(r *schemas.ConformanceReport) document {
	d := document{icon: markReady, title: say("{} conforms: {} passed", r.Title, plural(r.Passed, "case", "cases"))}
	var l items
	for _, state := range []schemas.CaseResult{schemas.CaseFailed, schemas.CaseSkipped, schemas.CasePassed} {
		for _, c := range r.Cases {
			if c.Result != state {
				continue
			}
			it := item{mark: markYes, text: say("{}", name(c.Name))}
			switch state {
			case schemas.CaseFailed:
				it = item{mark: markNo, text: say("failed {}", name(c.Name))}
			case schemas.CaseSkipped:
				it = item{mark: markSame, text: say("skipped {}", name(c.Name))}
			}
			if state != schemas.CasePassed {
				for _, text := range c.Log {
					it.more = append(it.more, foreignLines(text)...)
				}
			}
			l = append(l, it)
		}
	}
	if r.Skipped > 0 {
		d.title = join("", d.title, say(", {} skipped", r.Skipped))
	}
	if r.Reduced != "" {
		d.icon, d.title = markMissing, say("{}: {} passed, of a reduced set", r.Title, plural(r.Passed, "case", "cases"))
		d.blocks = append(d.blocks, para(say("Not all was tested: {}", r.Reduced)))
	}
	if r.Failed > 0 {
		d.icon, d.title = markStop, say("{} does not conform: {} failed, {} passed, {} skipped", r.Title, plural(r.Failed, "case", "cases"), r.Passed, r.Skipped)
	}
	d.blocks = append(d.blocks, blocksOf(l)...)
	return d
}

// maxLogLines bounds what is shown of one message of a case.
const maxLogLines = 40

// foreignLines is a text of several lines.
func foreignLines(text string) []line {
	var out []line
	for l := range strings.Lines(strings.TrimRight(text, "\n")) {
		if len(out) == maxLogLines {
			return append(out, say("and more (--format json has all)"))
		}
		out = append(out, say("{}", strings.ReplaceAll(strings.TrimRight(l, "\n"), "\t", "  ")))
	}
	return out
}
