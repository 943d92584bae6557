package run

import (
	"context"

	"github.com/countersign/countersign/schemas"
)

// source is the origin of a document, with the people who may not vouch for it.
type source struct {
	schemas.FulfilmentSource
	// known means that its authors are on record; people are the authors and those who gain by it.
	known  bool
	people []string
}

// findSources finds the origins of the operations' documents.
func (a *application) findSources(ctx context.Context, ops ...*schemas.Operation) error {
	for _, o := range ops {
		for _, d := range o.Documents {
			if _, ok := a.fulfilments.sources[d]; ok {
				continue
			}
			s := source{FulfilmentSource: schemas.FulfilmentSource{Document: d}}
			rec, _, err := a.base.Ledger.AdmissionOf(ctx, d.Path, d.Blob, false)
			if err != nil {
				return err
			}
			s.fill(rec, d)
			// The author of an undo asked for what follows from it.
			if rec, _, err = a.base.Ledger.AdmissionOf(ctx, d.Path, "", true); err != nil {
				return err
			}
			if rec != nil && rec.Evidence != nil {
				s.people = append(s.people, rec.Evidence.Authors...)
			}
			a.fulfilments.sources[d] = s
		}
	}
	return nil
}

func (s *source) fill(rec *schemas.AdmissionRecord, d schemas.DocumentID) {
	if rec == nil {
		return
	}
	for _, q := range rec.Requests {
		if q.Document.Path == d.Path && q.Document.Index == d.Index {
			s.Kind, s.Name, s.Reason, s.Ticket = q.Kind, q.Metadata.Name, q.Metadata.Reason, q.Metadata.Ticket
		}
	}
	if e := rec.Evidence; e != nil {
		s.PullRequest, s.URL = e.PullRequest, e.URL
		s.known = len(e.Unattributed) == 0
		s.people = append(append(append(s.people, e.Authors...), e.Unattributed...), e.Beneficiaries...)
	}
}
