package reconciler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/reconciler/history/order"
	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/schemas"
)

// AccessOptions narrow the question who can do what. Names are source names or type/source_name; "" is any.
type AccessOptions struct {
	To                             string
	Application                    string
	Identity, Connection, Resource string
}

// Access answers who can do what in the live applications, through nested connections, and which request,
// commit and approvers made it so.
func (r *Reconciler) Access(ctx context.Context, o AccessOptions) (_ *schemas.AccessReport, err error) {
	tip, err := r.c.Repository.Resolve(o.To)
	if err != nil {
		return nil, err
	}
	s, err := r.standing(ctx, tip, true)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	l, x, t := s.ledger, s.index, s.trust
	names, err := t.affectedOrAll(o.Application)
	if err != nil {
		return nil, err
	}
	report := &schemas.AccessReport{APIVersion: schemas.APIVersion, Kind: "Access", Tip: tip, At: r.now(),
		Entries: []schemas.AccessEntry{}, Incomplete: map[string]string{}}
	for _, name := range names {
		if err := r.accessOf(ctx, t.applications[name], x, l, o, report); err != nil {
			report.Incomplete[name] = err.Error()
		}
	}
	return report, nil
}

func (r *Reconciler) accessOf(ctx context.Context, app *schemas.Application, x *order.Index, l *ledger.Ledger, o AccessOptions, report *schemas.AccessReport) (err error) {
	lv, err := r.openLive(ctx, app, l)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lv.reader.Close()) }()
	docs, err := x.All(ctx, app.Name)
	if err != nil {
		return err
	}
	desired := plan.Fold(docs, lv.description, r.now())
	if err := lv.read(ctx, desired); err != nil {
		return err
	}
	if lv.said != nil {
		remembered, err := baseline(ctx, l, app.Name)
		if err != nil {
			return err
		}
		lv.state = lv.said.State(desired, remembered)
		report.Attested = append(report.Attested, app.Name)
	}
	if lv.state.Incomplete != "" {
		report.Incomplete[app.Name] = lv.state.Incomplete
	}
	g := plan.NewGraph(app.Name, lv.description, lv.state)
	origins := originsOf(desired)
	provenance := provenance{ctx: ctx, r: r, x: x, l: l, cache: map[string]*schemas.AdmissionRecord{}}
	for _, id := range g.Identities() {
		if o.Identity != "" && !names(o.Identity, id) {
			continue
		}
		for _, a := range g.AccessOf(id) {
			if o.Resource != "" && !names(o.Resource, a.Target) {
				continue
			}
			if o.Connection != "" && !names(o.Connection, a.Target) && !slices.ContainsFunc(a.Via, func(n schemas.Name) bool { return names(o.Connection, n) }) {
				continue
			}
			e := schemas.AccessEntry{Access: a}
			for _, k := range steps(a, lv.description) {
				s := schemas.AccessStep{Key: k, Origin: "unmanaged"}
				if from, ok := origins[k]; ok {
					s.Origin, s.Documents, s.Expires = "request", from.Documents, from.Expires
					if err := provenance.fill(&s); err != nil {
						return err
					}
				}
				e.Steps = append(e.Steps, s)
			}
			report.Entries = append(report.Entries, e)
		}
	}
	return nil
}

// names says whether what a person typed means the name.
func names(typed string, n schemas.Name) bool {
	return typed == n.SourceName || typed == n.String()
}

func originsOf(d *plan.Desired) map[schemas.Key]plan.Entitlement {
	out := map[schemas.Key]plan.Entitlement{}
	for _, c := range d.Connections {
		for _, e := range c.Entitlements {
			out[schemas.Key{Connection: c.Name, Target: e.Target, Privilege: e.Privilege}] = e
		}
	}
	return out
}

// steps are the entitlements along a way, each with the connection that holds it.
func steps(a schemas.Access, desc connectors.Description) []schemas.Key {
	way := append([]schemas.Name{a.Identity}, a.Via...)
	way = append(way, a.Target)
	var out []schemas.Key
	for i := 0; i+1 < len(way); i++ {
		from, to := way[i], way[i+1]
		privilege := schemas.PrivilegeMember
		if i+2 == len(way) {
			privilege = a.Privilege
		}
		// The connection that holds the entitlement is the group for members, the member for nested roles.
		k := schemas.Key{Connection: from, Target: to, Privilege: privilege}
		if typ, ok := desc.Type(to.Type); ok {
			if g, ok := typ.Target(from.Type); ok && (g.Edge == connectors.EdgeIdentity || g.Edge == connectors.EdgeMember) {
				k = schemas.Key{Connection: to, Target: from, Privilege: privilege}
			}
		}
		out = append(out, k)
	}
	return out
}

// provenance finds the commit and approvers behind documents.
type provenance struct {
	ctx   context.Context
	r     *Reconciler
	x     *order.Index
	l     *ledger.Ledger
	cache map[string]*schemas.AdmissionRecord
}

func (p *provenance) fill(s *schemas.AccessStep) error {
	if len(s.Documents) == 0 {
		return nil
	}
	doc := s.Documents[len(s.Documents)-1]
	f, err := p.x.File(p.ctx, doc.Path)
	if err != nil || f == nil {
		return err
	}
	s.Commit = f.Commit
	rec, ok := p.cache[f.Commit]
	if !ok {
		if rec, _, err = p.l.Admission(p.ctx, f.Commit); err != nil {
			return err
		}
		if rec == nil {
			v, known, err := p.x.Verdict(p.ctx, f.Commit)
			if err != nil {
				return err
			}
			if known {
				rec = &v
			}
		}
		p.cache[f.Commit] = rec
	}
	if rec == nil || rec.Evidence == nil {
		return nil
	}
	s.PullRequest = rec.Evidence.PullRequest
	for _, a := range rec.Evidence.Approvals {
		if a.Counts {
			s.Approvers = append(s.Approvers, a)
		}
	}
	return nil
}

// Status says where every request stands: approval, provisioning, verification. It reads the ledger and
// opens no application.
func (r *Reconciler) Status(ctx context.Context, to, application string) (_ *schemas.StatusReport, err error) {
	tip, err := r.c.Repository.Resolve(to)
	if err != nil {
		return nil, err
	}
	s, err := r.standing(ctx, tip, true)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	l, x, t := s.ledger, s.index, s.trust
	apps, err := t.affectedOrAll(application)
	if err != nil {
		return nil, err
	}
	report := &schemas.StatusReport{APIVersion: schemas.APIVersion, Kind: "Status", Tip: tip, At: r.now(), Requests: []schemas.RequestStatus{}}
	if report.Quarantined, err = quarantined(ctx, x.Layer); err != nil {
		return nil, err
	}
	for _, app := range apps {
		docs, err := x.All(ctx, app)
		if err != nil {
			return nil, err
		}
		if err := r.statusOf(ctx, l, t.applications[app], docs, report); err != nil {
			return nil, err
		}
	}
	if err := origins(ctx, x, l, report.Requests); err != nil {
		return nil, err
	}
	slices.SortStableFunc(report.Requests, func(a, b schemas.RequestStatus) int {
		if c := strings.Compare(a.Document.Path, b.Document.Path); c != 0 {
			return c
		}
		return a.Document.Index - b.Document.Index
	})
	return report, nil
}

// origins fills in by which commit and which pull request requests came.
func origins(ctx context.Context, x *order.Index, l *ledger.Ledger, requests []schemas.RequestStatus) error {
	pulls := map[string]int{}
	for i := range requests {
		s := &requests[i]
		f, err := x.File(ctx, s.Document.Path)
		if err != nil {
			return err
		}
		if f == nil {
			continue
		}
		s.Commit = f.Commit
		n, known := pulls[f.Commit]
		if !known {
			rec, ok, err := l.Admission(ctx, f.Commit)
			if err != nil {
				return fmt.Errorf("read the verdict on %s: %w", short(f.Commit), err)
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
	desc, err := r.describe(app)
	if err != nil {
		return err
	}
	remembered, err := baseline(ctx, l, app.Name)
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
	asked, open, err := fulfilmentsOf(ctx, l, app.Name)
	if err != nil {
		return err
	}
	verified := ledger.VerificationVerified
	if desc.Attested {
		verified = ledger.VerificationAttested
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
		// What the read-backs have shown of everything that the request wants decides over single operations.
		wanted, shown := 0, 0
		for _, it := range items[plan.DocumentKey{Path: ids[i].Path, Index: ids[i].Index}] {
			wanted++
			// What somebody outside was asked for is not as it was verified once.
			if b, ok := remembered(it.Item); ok && b.Token == it.Token && !open[it.Item] {
				shown++
			}
		}
		switch {
		case drifted[key]: // the last run saw some of it gone, and left it so
		case wanted > 0 && shown == wanted:
			s.Verification = verified
			if s.Provisioning == schemas.ProvisioningNone {
				s.Provisioning, s.Detail = "applied", "it was so already"
			}
		case shown > 0:
			s.Verification, s.Detail = "partial", fmt.Sprintf("%d of %d items %s", shown, wanted, verified)
		case wanted > 0 && (s.Verification == schemas.VerificationNone || s.Verification == verified):
			// What was verified is not what is wanted now: a grant that has expired since, say.
			s.Verification = schemas.VerificationPending
			if s.Provisioning == schemas.ProvisioningNone {
				s.Provisioning = "pending"
			}
		}
		if d := fulfilling(s.Fulfilment); d != "" && s.Detail == "" || d != "" && s.Verification == ledger.VerificationPartial {
			s.Detail = strings.TrimPrefix(s.Detail+"; "+d, "; ")
		}
		report.Requests = append(report.Requests, s)
	}
	return nil
}

// fulfilmentsOf is what somebody outside was asked for, by the document that asks for it, and the items of which that
// is not seen yet.
func fulfilmentsOf(ctx context.Context, l *ledger.Ledger, app string) (out map[ledger.Key][]schemas.FulfilmentStatus, open map[string]bool, err error) {
	list, err := l.Fulfilments(ctx, app)
	if err != nil {
		return nil, nil, err
	}
	out, open = map[ledger.Key][]schemas.FulfilmentStatus{}, map[string]bool{}
	for _, f := range list {
		if isUnseen(&f) {
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

// fulfilling says in a sentence whom a request's operations wait for; "" for nobody.
func fulfilling(list []schemas.FulfilmentStatus) string {
	var parts []string
	for _, f := range list {
		text := strings.TrimSpace(string(f.Via) + " " + f.To)
		switch f.State {
		case ledger.FulfilmentSubmitting, ledger.FulfilmentPending:
			text += " since " + stamp(f.Since)
		case ledger.FulfilmentApplied:
			text += ": said to be done, not seen yet"
		case ledger.FulfilmentDiffers:
			text += ": said to be done, not seen"
		case ledger.FulfilmentAttested:
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

// Configuration is what the admitted tree of a revision says about the work itself.
type Configuration struct {
	Settings     schemas.SettingsSpec
	Applications []*schemas.Application // sorted by name
}

// Configuration reads settings and applications as they stand admitted at a revision.
func (r *Reconciler) Configuration(ctx context.Context, to string) (_ *Configuration, err error) {
	tip, err := r.c.Repository.Resolve(to)
	if err != nil {
		return nil, err
	}
	s, err := r.standing(ctx, tip, true)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	c := &Configuration{Settings: s.trust.settings.Spec}
	for _, name := range s.trust.names() {
		c.Applications = append(c.Applications, s.trust.applications[name])
	}
	return c, nil
}

// AdmittedBy is the latest verdict on record about a pull request; nil for none.
func (r *Reconciler) AdmittedBy(ctx context.Context, pull int) (_ *schemas.AdmissionRecord, err error) {
	l, err := r.openLedger(ctx, true)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	var found *schemas.AdmissionRecord
	err = l.Admissions(ctx, func(a schemas.AdmissionRecord) error {
		if a.Verdict == verdictAdmitted && a.Evidence != nil && a.Evidence.PullRequest == pull {
			found = &a
		}
		return nil
	})
	return found, err
}
