package report

import (
	"github.com/countersign/countersign/reconciler/report/layout"
	"github.com/countersign/countersign/schemas"
)

func (b *builder) admissions(records []schemas.AdmissionRecord) items {
	var out items
	unchanged := 0
	for i := range records {
		a := &records[i]
		if a.Verdict == schemas.AdmissionUnchanged {
			unchanged++
			continue
		}
		if len(out) >= b.list {
			out = append(out, entry(layout.MarkInfo, more(len(records)-i, "commits")))
			break
		}
		m, verdict := layout.MarkYes, say("admitted").In(good)
		switch a.Verdict {
		case "quarantined":
			m, verdict = layout.MarkNo, say("QUARANTINED").In(bad)
		case "anchor":
			verdict = say("trust anchor")
		case "admitted":
		default:
			m, verdict = layout.MarkWarn, word(a.Verdict)
		}
		text := say("{} {}", verdict, short(a.Commit))
		if e := a.Evidence; e != nil && e.PullRequest > 0 {
			text = say("{}, pull request {}", text, e.PullRequest)
		}
		var files []line
		for _, f := range a.Changes {
			files = append(files, say("{}", name(f.Path)))
		}
		if len(files) > 0 {
			text = say("{}: {}", text, list(files, b.names))
		}
		it := entry(m, text)
		var who []line
		if a.Evidence != nil {
			for _, x := range a.Evidence.Approvals {
				if x.Counts {
					who = append(who, b.approval(x))
				}
			}
		}
		if len(who) > 0 {
			it.More = append(it.More, say("signed off by {}", list(who, max(b.names, 3))))
		}
		for j, r := range a.Reasons {
			if j == collapsed {
				it.More = append(it.More, more(len(a.Reasons)-j, "reasons"))
				break
			}
			it.More = append(it.More, b.sentence(r))
		}
		if a.Verdict == schemas.AdmissionQuarantined && a.Decision != nil {
			for j, r := range a.Decision.Denials {
				if j == collapsed {
					it.More = append(it.More, more(len(a.Decision.Denials)-j, "denials"))
					break
				}
				it.More = append(it.More, say("{}: {}", join(" ", say("{}", name(r.Code)), position(r.Path, r.Line, 0)), b.sentence(r.Msg)))
			}
		}
		out = append(out, it)
	}
	if unchanged > 0 {
		out = append(out, entry(layout.MarkInfo, say("{} no control files", plural(unchanged, "commit touches", "commits touch")).In(faint)))
	}
	return out
}
