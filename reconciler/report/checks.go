package report

import (
	"github.com/countersign/countersign/reconciler/report/layout"
	"github.com/countersign/countersign/schemas"
)

func (b *builder) validate(r *schemas.ValidateReport) document {
	read := say("{}, {}", plural(r.Files, "file", "files"), plural(r.Documents, "document", "documents"))
	n := 0
	for _, f := range r.Errors {
		if f.Severity == schemas.SeverityError || f.Severity == "" {
			n++
		}
	}
	l := b.findings(r.Errors)
	switch {
	case r.Files == 0 && n == 0:
		return document{Icon: layout.MarkStop, Title: say("No control files were found."), Blocks: blocksOf(l), Next: say("run countersign init here, or point --repo at an access repository.")}
	case n == 0:
		return document{Icon: layout.MarkReady, Title: say("Valid: {}", read), Blocks: blocksOf(l)}
	}
	return document{Icon: layout.MarkStop, Title: say("Invalid: {} in {}", plural(n, "error", "errors"), read), Blocks: blocksOf(l), Next: say("fix them, then run countersign validate again.")}
}

func (b *builder) doctor(r *schemas.DoctorReport) document {
	counted := map[schemas.CheckState]int{}
	var l items
	// Open checks come first.
	for _, state := range []schemas.CheckState{schemas.CheckOpen, schemas.CheckUnknown, schemas.CheckOK} {
		for _, c := range r.Checks {
			if c.State != state {
				continue
			}
			counted[state]++
			it := item{Mark: layout.MarkYes, Text: say("{}: {}", name(c.Name), c.Detail)}
			switch state {
			case schemas.CheckOpen:
				it = item{Mark: layout.MarkNo, Text: say("open {}: {}", name(c.Name), c.Fix)}
			case schemas.CheckUnknown:
				it = item{Mark: layout.MarkWarn, Text: say("unknown {}: {}", name(c.Name), c.Detail), More: []line{say("fix: {}", c.Fix)}}
			}
			l = append(l, it)
		}
	}
	d := document{Icon: layout.MarkReady, Title: say("No problems found: {}", plural(len(r.Checks), "check", "checks")), Blocks: blocksOf(l)}
	if n := counted[schemas.CheckOpen]; n > 0 {
		d.Icon, d.Title = layout.MarkStop, say("{} of {} open", n, plural(len(r.Checks), "check", "checks"))
		d.Next = say("fix them on the forge or in the application. countersign still checks every change at the merge.")
	}
	return d
}

func blocksOf(l items) []block {
	if len(l) == 0 {
		return nil
	}
	return []block{l}
}
