package report

import (
	"github.com/countersign/countersign/reconciler/report/layout"
	"github.com/countersign/countersign/schemas"
)

func (b *builder) quarantined(list []schemas.QuarantinedFile) items {
	var out items
	for i, q := range list {
		if i == b.list {
			out = append(out, entry(layout.MarkNo, more(len(list)-i, "files")))
			break
		}
		holds := literal("the file counts as absent")
		switch {
		case q.Blob == "" && q.Admitted != "":
			holds = "its deletion does not count, it still holds"
		case q.Admitted != "":
			holds = "its earlier version holds"
		}
		it := entry(layout.MarkNo, say("{} since commit {}: {}", name(q.Path), short(q.Commit), holds))
		for j, r := range q.Reasons {
			if j == collapsed {
				it.More = append(it.More, more(len(q.Reasons)-j, "reasons"))
				break
			}
			it.More = append(it.More, b.sentence(r))
		}
		out = append(out, it)
	}
	return out
}
