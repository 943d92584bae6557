package reconciler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/reconciler/run"
	"github.com/countersign/countersign/reconciler/run/fulfilment"
	"github.com/countersign/countersign/schemas"
)

// Status returns the state of every request: approval, provisioning, verification. It reads the ledger and
// opens no application.
func (r *Reconciler) Status(ctx context.Context, to, application string) (_ *schemas.StatusReport, err error) {
	b, err := r.open(ctx, to, true)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	apps, err := b.names(application)
	if err != nil {
		return nil, err
	}
	report := &schemas.StatusReport{APIVersion: schemas.APIVersion, Kind: "Status", Tip: b.tip, At: r.now(), Requests: []schemas.RequestStatus{}}
	if report.Quarantined, err = b.admitted.Quarantined(ctx); err != nil {
		return nil, err
	}
	for _, app := range apps {
		docs, err := b.admitted.All(ctx, app)
		if err != nil {
			return nil, err
		}
		if err := r.statusOf(ctx, b.ledger, b.admitted.Trust.Applications[app], docs, report); err != nil {
			return nil, err
		}
	}
	if err := b.origins(ctx, report.Requests); err != nil {
		return nil, err
	}
	slices.SortStableFunc(report.Requests, func(a, b schemas.RequestStatus) int {
		if c := strings.Compare(a.Document.Path, b.Document.Path); c != 0 {
			return c
		}
		return a.Document.Index - b.Document.Index
	})
	if report.Ledger, err = r.trust(ctx, b.ledger); err != nil {
		return nil, err
	}
	return clean(r, report), nil
}

// origins fills in the commit and the pull request of requests.
func (b *base) origins(ctx context.Context, requests []schemas.RequestStatus) error {
	pulls := map[string]int{}
	for i := range requests {
		s := &requests[i]
		f, err := b.admitted.File(ctx, s.Document.Path)
		if err != nil {
			return err
		}
		if f == nil {
			continue
		}
		s.Commit = f.Commit
		n, known := pulls[f.Commit]
		if !known {
			rec, ok, err := b.ledger.Admission(ctx, f.Commit)
			if err != nil {
				return fmt.Errorf("read the verdict on %.8s: %w", f.Commit, err)
			}
			if ok && rec.Evidence != nil {
				n = rec.Evidence.PullRequest
			}
			pulls[f.Commit] = n
		}
		s.PullRequest = n
	}
	return nil
}

func (r *Reconciler) statusOf(ctx context.Context, l *ledger.Ledger, app *schemas.Application, docs []*plan.Document, report *schemas.StatusReport) error {
	desc, err := r.judge.Describe(app)
	if err != nil {
		return err
	}
	remembered, err := run.Baseline(ctx, l, app.Name)
	if err != nil {
		return err
	}
	desired := plan.Fold(docs, desc, r.now())
	items := plan.ItemsOf(desired)
	ids := make([]schemas.DocumentID, 0, len(docs))
	type row struct {
		doc     *plan.Document
		version *plan.Version
	}
	var rows []row
	for _, d := range docs {
		v := d.Current
		if v == nil && len(d.Former) > 0 {
			v = d.Former[len(d.Former)-1]
		}
		if v == nil {
			continue
		}
		rows = append(rows, row{d, v})
		ids = append(ids, schemas.DocumentID{Path: d.Place.Path, Index: d.Place.Index, Blob: v.Blob})
	}
	states, err := l.States(ctx, ids...)
	if err != nil {
		return fmt.Errorf("read the states of requests: %w", err)
	}
	held, err := l.Held(ctx, app.Name)
	if err != nil {
		return err
	}
	drifted := map[ledger.Key]bool{}
	for h, s := range held {
		drifted[h.Document] = drifted[h.Document] || s.Cause == schemas.CauseDrift && s.Hold != schemas.HoldPending
	}
	changed := map[schemas.DocumentID]bool{}
	seen := r.lastSeen()[app.Name]
	for _, d := range seen.Changed {
		changed[d] = true
	}
	starts, invalid := startsOf(desired), invalidOf(desired)
	asked, open, err := fulfilmentsOf(ctx, l, app.Name)
	if err != nil {
		return err
	}
	verified := schemas.VerificationVerified
	if desc.Attested {
		verified = schemas.VerificationAttested
	}
	for i, w := range rows {
		q := w.version.Request
		s := schemas.RequestStatus{Document: ids[i], Kind: q.Kind, Name: q.Metadata.Name, Application: q.Application, Connection: q.Connection.Name(),
			Approval: schemas.ApprovalAdmitted, Provisioning: schemas.ProvisioningNone, Verification: schemas.VerificationNone}
		key := ledger.Key{Path: ids[i].Path, Index: ids[i].Index}
		if st, ok := states[key]; ok {
			s.Provisioning, s.Verification, s.Detail = st.Provisioning, st.Verification, st.Error
		}
		s.Fulfilment = asked[key]
		if w.doc.Current == nil {
			s.Approval = schemas.ApprovalUndone
		}
		// The read-backs of everything that the request wants take precedence over single operations.
		wanted, shown := 0, 0
		for _, it := range items[plan.DocumentKey{Path: ids[i].Path, Index: ids[i].Index}] {
			wanted++
			// An operation that somebody outside was asked for may have changed since it was verified.
			if b, ok := remembered(it.Item); ok && b.Token == it.Token && !open[it.Item] {
				shown++
			}
		}
		finding := invalid[plan.DocumentKey(key)]
		start, scheduled := starts[plan.DocumentKey(key)]
		switch {
		case finding != "":
			s.Provisioning, s.Detail = schemas.ProvisioningFailed, finding
			if wanted == 0 || shown < wanted {
				s.Verification = schemas.VerificationNoEffect
			}
		case wanted == 0 && scheduled:
			s.Provisioning, s.Verification, s.Detail = schemas.ProvisioningScheduled, schemas.VerificationPending, "starts at "+fulfilment.Timestamp(start)
		case wanted == 0 && w.doc.Current != nil:
			s.Provisioning, s.Verification, s.Detail = schemas.ProvisioningSuperseded, schemas.VerificationSuperseded, "later requests replaced all of it"
		case drifted[key]: // the last run found some of it gone, and left it so
		case changed[ids[i]] && wanted > 0 && shown == wanted:
			s.Verification, s.Detail = schemas.VerificationDrifted, "changed since it was verified, as drift found at "+fulfilment.Timestamp(seen.At)
		case wanted > 0 && shown == wanted:
			s.Verification = verified
			if s.Provisioning == schemas.ProvisioningNone {
				s.Provisioning, s.Detail = "applied", "already in place"
			}
		case shown > 0:
			s.Verification, s.Detail = "partial", fmt.Sprintf("%d of %d items %s", shown, wanted, verified)
		case wanted > 0 && (s.Verification == schemas.VerificationNone || s.Verification == verified):
			// The verified state is not the wanted one: a grant that has expired since, for example.
			s.Verification = schemas.VerificationPending
			if s.Provisioning == schemas.ProvisioningNone {
				s.Provisioning = "pending"
			}
		}
		if d := fulfilling(s.Fulfilment); d != "" && s.Detail == "" || d != "" && s.Verification == schemas.VerificationPartial {
			s.Detail = strings.TrimPrefix(s.Detail+"; "+d, "; ")
		}
		report.Requests = append(report.Requests, s)
	}
	return nil
}

// startsOf returns the next start of each document with grants that start later.
func startsOf(d *plan.Desired) map[plan.DocumentKey]time.Time {
	out := map[plan.DocumentKey]time.Time{}
	for _, c := range d.Connections {
		for _, e := range c.Scheduled {
			for _, id := range e.Documents {
				k := plan.DocumentKey{Path: id.Path, Index: id.Index}
				if t, ok := out[k]; e.Starts != nil && (!ok || e.Starts.Before(t)) {
					out[k] = *e.Starts
				}
			}
		}
	}
	return out
}

// invalidOf returns a reason for each document that cannot be carried out as it is written.
func invalidOf(d *plan.Desired) map[plan.DocumentKey]string {
	out := map[plan.DocumentKey]string{}
	for _, f := range d.Findings {
		if f.Severity == schemas.SeverityError {
			out[plan.DocumentKey{Path: f.Document.Path, Index: f.Document.Index}] = f.Message
		}
	}
	return out
}

// fulfilmentsOf returns the operations that somebody outside was asked for, by document, and the items whose effect is
// not seen yet.
func fulfilmentsOf(ctx context.Context, l *ledger.Ledger, app string) (out map[ledger.Key][]schemas.FulfilmentStatus, open map[string]bool, err error) {
	list, err := l.Fulfilments(ctx, app)
	if err != nil {
		return nil, nil, err
	}
	out, open = map[ledger.Key][]schemas.FulfilmentStatus{}, map[string]bool{}
	for _, f := range list {
		if fulfilment.Awaited(&f) {
			open[plan.OperationItem(&f.Plan)] = true
		}
		s := schemas.FulfilmentStatus{Operation: f.Operation, Via: f.Via, State: f.State, To: f.To, URL: f.URL, Since: f.Since, By: f.By, Message: f.Message}
		for _, d := range f.Plan.Documents {
			k := ledger.Key{Path: d.Path, Index: d.Index}
			out[k] = append(out[k], s)
		}
	}
	return out, open, nil
}

// fulfilling describes whom a request's operations wait for; "" for nobody.
func fulfilling(list []schemas.FulfilmentStatus) string {
	var parts []string
	for _, f := range list {
		text := strings.TrimSpace(string(f.Via) + " " + f.To)
		switch f.State {
		case schemas.FulfilmentSubmitting, schemas.FulfilmentPending:
			text += " since " + fulfilment.Timestamp(f.Since)
		case schemas.FulfilmentApplied:
			text += ": reported as done, not found yet"
		case schemas.FulfilmentDiffers:
			text += ": reported as done, not found"
		case schemas.FulfilmentAttested:
			text += ": attested"
			if f.By != "" {
				text += " by " + f.By
			}
		default:
			continue
		}
		if !slices.Contains(parts, text) {
			parts = append(parts, text)
		}
	}
	if len(parts) > 3 {
		parts = append(parts[:3], fmt.Sprintf("and %d more", len(parts)-3))
	}
	return strings.Join(parts, "; ")
}
