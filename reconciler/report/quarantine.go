package report

import (
	"slices"

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
		holds := literal("ignored until approved")
		switch {
		case q.Blob == "" && q.Admitted != "":
			holds = "deletion ignored until approved; the file still applies"
		case q.Admitted != "":
			holds = "the earlier version applies until this one is approved"
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

// newlyQuarantined lists the files that this run quarantined, and counts those of earlier runs, which status lists.
func (b *builder) newlyQuarantined(r *schemas.RunReport) []block {
	var files []schemas.QuarantinedFile
	earlier := 0
	for _, f := range r.Quarantined {
		if !slices.ContainsFunc(r.Admissions, func(a schemas.AdmissionRecord) bool { return a.Commit == f.Commit }) {
			earlier++
			continue
		}
		f.Reasons = nil // listed with the commit
		files = append(files, f)
	}
	var out []block
	if l := b.quarantined(files); len(l) > 0 {
		out = append(out, section{Title: say("Quarantined: on the branch, but not in effect"), Blocks: []block{l}})
	}
	return append(out, quarantinedEarlier(earlier)...)
}

// quarantinedEarlier is the line about files that were quarantined by earlier runs.
func quarantinedEarlier(n int) []block {
	if n == 0 {
		return nil
	}
	return []block{items{entry(layout.MarkWarn, say("{} quarantined earlier; see countersign status", plural(n, "file", "files")).In(caution))}}
}
