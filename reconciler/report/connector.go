package report

import (
	"maps"
	"slices"
	"strings"

	"github.com/countersign/countersign/reconciler/report/layout"
	"github.com/countersign/countersign/schemas"
)

// connectors is the table of what connectors can do. None of its names is a person's.
func (b *builder) connectors(l *schemas.ConnectorList) document {
	t := table{Head: []literal{"Connector", "Connection", "Create", "Update", "Delete", "Reassign", "Attributes"}, Titled: true, More: "Grantable"}
	yes := func(can bool) line {
		if can {
			return say("yes")
		}
		return say("no")
	}
	for _, c := range l.Connectors {
		if len(c.Types) == 0 {
			t.Rows = append(t.Rows, row{Cells: []line{say("{}", name(c.Name)), nil, nil, nil, nil, nil, nil},
				More: []line{say("as configured in its application file")}})
		}
		for _, typ := range c.Types {
			attributes := slices.Sorted(maps.Keys(typ.Attributes()))
			r := row{Cells: []line{say("{}", name(c.Name)), say("{}", name(typ.Name)), yes(typ.Create), yes(typ.Update), yes(typ.Delete), yes(typ.Reassign), namesOf(attributes, len(attributes))}}
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
				r.More = append(r.More, say("{} ({}{}): {}", name(g.Type), edgeWords(g.Edge), how, namesOf(g.Privileges, maxPrivileges)))
			}
			t.Rows = append(t.Rows, r)
		}
	}
	return document{Icon: layout.MarkInfo, Title: say("{}", plural(len(l.Connectors), "connector", "connectors")), Blocks: []block{t}}
}

// maxPrivileges bounds how many privileges of a target the table lists.
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

// edgeWords describes what a connection gains with a target.
func edgeWords(edge schemas.Edge) line {
	switch edge {
	case schemas.EdgeResource:
		return say("gets access to it")
	case schemas.EdgeConnection:
		return say("becomes a member of it")
	case schemas.EdgeMember, schemas.EdgeIdentity:
		return say("becomes its member")
	}
	return say("{}", string(edge))
}

// conformance lists failed cases first, then skipped ones.
func (b *builder) conformance(r *schemas.ConformanceReport) document {
	d := document{Icon: layout.MarkReady, Title: say("{} conforms: {} passed", r.Title, plural(r.Passed, "case", "cases"))}
	var l items
	for _, state := range []schemas.CaseResult{schemas.CaseFailed, schemas.CaseSkipped, schemas.CasePassed} {
		for _, c := range r.Cases {
			if c.Result != state {
				continue
			}
			it := item{Mark: layout.MarkYes, Text: say("{}", name(c.Name))}
			switch state {
			case schemas.CaseFailed:
				it = item{Mark: layout.MarkNo, Text: say("failed {}", name(c.Name))}
			case schemas.CaseSkipped:
				it = item{Mark: layout.MarkSame, Text: say("skipped {}", name(c.Name))}
			}
			if state != schemas.CasePassed {
				for _, text := range c.Log {
					it.More = append(it.More, foreignLines(text)...)
				}
			}
			l = append(l, it)
		}
	}
	var skipped []line
	for _, c := range r.Cases {
		if c.Result == schemas.CaseSkipped {
			skipped = append(skipped, say("{}", name(c.Name)))
		}
	}
	if r.Skipped > 0 {
		d.Title = join("", d.Title, say(", {} skipped", r.Skipped))
		d.Blocks = append(d.Blocks, para(say("Not tested: {}", list(skipped, 0))))
	}
	if r.Reduced != "" {
		d.Icon, d.Title = layout.MarkMissing, say("{}: {} passed, from a reduced set", r.Title, plural(r.Passed, "case", "cases"))
		d.Blocks = append(d.Blocks, para(say("Not everything was tested: {}", r.Reduced)))
	}
	if r.Failed > 0 {
		d.Icon, d.Title = layout.MarkStop, say("{} does not conform: {} failed, {} passed, {} skipped", r.Title, plural(r.Failed, "case", "cases"), r.Passed, r.Skipped)
	}
	d.Blocks = append(d.Blocks, blocksOf(l)...)
	return d
}

// maxLogLines bounds what is shown of one message of a case.
const maxLogLines = 40

// foreignLines is a text of several lines.
func foreignLines(text string) []line {
	var out []line
	for l := range strings.Lines(strings.TrimRight(text, "\n")) {
		if len(out) == maxLogLines {
			return append(out, say("and more (--format json shows all)"))
		}
		out = append(out, say("{}", strings.ReplaceAll(strings.TrimRight(l, "\n"), "\t", "  ")))
	}
	return out
}
