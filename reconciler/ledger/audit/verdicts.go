package audit

import (
	"slices"
	"time"

	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/schemas"
)

// admitted is a verdict with its place in the chain.
type admitted struct {
	record   *schemas.AdmissionRecord
	sequence int64
	hash     string
	// quarantined are the verdicts that refused the content that this one admits: their authors are authors of it too.
	quarantined []*admitted
}

// authors are the people who made the content, and those who gain by it.
func (a *admitted) authors() (authors, beneficiaries, unattributed []string) {
	for _, one := range append([]*admitted{a}, a.quarantined...) {
		if e := one.record.Evidence; e != nil {
			authors, beneficiaries = append(authors, e.Authors...), append(beneficiaries, e.Beneficiaries...)
			unattributed = append(unattributed, e.Unattributed...)
		} else if one != a {
			unattributed = append(unattributed, one.record.Commit)
		}
	}
	return authors, beneficiaries, unattributed
}

// person is the one name of somebody, by all the evidence that the verdict rests on.
func (a *admitted) person(name string) string {
	for _, one := range append([]*admitted{a}, a.quarantined...) {
		if e := one.record.Evidence; e != nil {
			for _, p := range e.Persons {
				if p.Name == name {
					return p.Person
				}
			}
		}
	}
	return name
}

// change is a file's content after an admitted commit.
type change struct {
	*admitted
	after string
}

// verdicts are those up to one place in the ledger.
type verdicts struct {
	content map[schemas.DocumentID]*admitted   // by path and blob: the latest commit that admitted it
	refused map[schemas.DocumentID]*admitted   // by path and blob: quarantined
	latest  map[string]change                  // by path
	info    map[ledger.Key]schemas.RequestInfo // the latest admitted
	exact   map[schemas.DocumentID]schemas.RequestInfo
	marked  map[string]bool
}

func newVerdicts() *verdicts {
	return &verdicts{content: map[schemas.DocumentID]*admitted{}, refused: map[schemas.DocumentID]*admitted{}, latest: map[string]change{},
		info: map[ledger.Key]schemas.RequestInfo{}, exact: map[schemas.DocumentID]schemas.RequestInfo{}}
}

// wasRequest reports whether the file, as it was last admitted, had request documents.
func (v *verdicts) wasRequest(path string) bool {
	was := v.latest[path]
	return was.admitted != nil && slices.ContainsFunc(was.record.Requests, func(q schemas.RequestInfo) bool { return q.Document.Path == path })
}

func (v *verdicts) refuse(f schemas.FileChange, a *admitted) {
	v.refused[schemas.DocumentID{Path: f.Path, Blob: f.After}] = a
}

func (v *verdicts) admit(a *admitted) {
	for _, f := range a.record.Admits {
		if q := v.refused[schemas.DocumentID{Path: f.Path, Blob: f.After}]; q != nil {
			a.quarantined = append(a.quarantined, q)
			for _, r := range q.record.Requests {
				if r.Document.Path == f.Path {
					v.know(r)
				}
			}
		}
	}
	for _, f := range slices.Concat(a.record.Changes, a.record.Admits) {
		v.content[schemas.DocumentID{Path: f.Path, Blob: f.After}] = a
		v.latest[f.Path] = change{a, f.After}
	}
	for _, q := range a.record.Requests {
		v.know(q)
	}
}

func (v *verdicts) know(q schemas.RequestInfo) {
	v.info[ledger.Key{Path: q.Document.Path, Index: q.Document.Index}] = q
	v.exact[q.Document] = q
}

// request is what is known of a document.
func (v *verdicts) request(d schemas.DocumentID) schemas.RequestInfo {
	if q, ok := v.exact[d]; ok {
		return q
	}
	return v.info[ledger.Key{Path: d.Path, Index: d.Index}]
}

// authority is the verdict that admitted what an operation does because of a document, as the ledger has it up to here;
// nil for none on record.
func (v *verdicts) authority(cause schemas.Cause, d schemas.DocumentID) *admitted {
	// The approved change of an undo is the later one, which removed the document.
	if last := v.latest[d.Path]; cause == schemas.CauseUndo && last.admitted != nil && last.after != d.Blob {
		return last.admitted
	}
	content := schemas.DocumentID{Path: d.Path, Blob: d.Blob}
	if a := v.content[content]; a != nil {
		return a
	}
	return v.refused[content]
}

func (v *verdicts) authoritiesOf(cause schemas.Cause, docs []schemas.DocumentID) []*admitted {
	out := make([]*admitted, len(docs))
	for i, d := range docs {
		out[i] = v.authority(cause, d)
	}
	return out
}

// quarantine is a file of a change that was refused.
type quarantine struct {
	*admitted
	change schemas.FileChange
	at     time.Time
	// by is the verdict that ended it, later the time of that; admits means that it admitted the very content.
	by     *admitted
	later  *time.Time
	admits bool
}

// unquarantine ends the quarantine of files that an admitted change touches.
func (c *collector) unquarantine(r *schemas.Record, a *admitted) {
	for _, q := range c.quarantines {
		if q.later != nil {
			continue
		}
		same := func(f schemas.FileChange) bool { return f.Path == q.change.Path }
		switch {
		case slices.ContainsFunc(a.record.Admits, func(f schemas.FileChange) bool { return same(f) && f.After == q.change.After }):
			q.admits = true
		case !slices.ContainsFunc(a.record.Changes, same):
			continue
		}
		q.by, q.later = a, &r.Time
	}
}
