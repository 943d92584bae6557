package reconciler

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/reconciler/fulfil"
	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/schemas"
)

// What provisioning webhook and ticket do: operations are given to somebody outside, and stay in the plan until a read
// shows their effect. What they say of it is a claim that puts off asking again, and no more; only of an application
// that nothing can read it is all that there is.
//
//	asked for          in the plan   read     what becomes of it
//	submitting         yes           –        asked again under the same id: they may have heard of it or not
//	pending            yes           –        waits
//	said to be done    yes           –        waits for the grace, then it differs and is asked for anew
//	failed (webhook)   yes           –        waits for the grace, then asked for anew
//	failed (ticket)    yes           –        waits until somebody reopens the ticket
//	any                no            shows    verified, whatever they said
//	any                no            lacks    withdrawn: nothing wants it any more, and they are told

// errNotTold says that somebody outside could not be reached.
var errNotTold = errors.New("they could not be told")

// outside is what somebody outside was asked of one application, and what comes of it in this run.
type outside struct {
	// asked are the last askings, by operation.
	asked map[string]ledger.Fulfilment
	// holds are the operations of the plan that are not begun again.
	holds map[string]plan.Outside
	// seen are those whose effect the read shows, vanished those that nothing wants any more, with why.
	seen     []string
	vanished map[string]string
	// differing were said to be done, and are not there after the grace.
	differing []string
	// gone are those whose ticket is gone.
	gone map[string]bool
	// findings of what was heard before there was a plan.
	findings []schemas.Finding
	tickets  Tickets
	sources  map[schemas.DocumentID]source
	// again is when to look again.
	again time.Time
}

// source is where a document comes from, and who must not vouch for it.
type source struct {
	schemas.FulfilmentSource
	// known says that who made it is on record; people are those, and who gains by it.
	known  bool
	people []string
}

// isUnseen says whether an asking has not come to its end: neither a read, nor nobody's wanting it any more, has ended it.
func isUnseen(f *ledger.Fulfilment) bool {
	switch f.State {
	case ledger.FulfilmentSubmitting, ledger.FulfilmentPending, ledger.FulfilmentApplied, ledger.FulfilmentFailed, ledger.FulfilmentDiffers:
		return true
	}
	return false
}

// begin reads what was asked for, and hears what became of tickets.
func (u *run) begin(ctx context.Context) error {
	u.outside = &outside{vanished: map[string]string{}, gone: map[string]bool{}, sources: map[schemas.DocumentID]source{}, holds: map[string]plan.Outside{}}
	if err := u.askings(ctx); err != nil {
		return err
	}
	if u.readOnly {
		return nil
	}
	return u.hear(ctx)
}

func (u *run) askings(ctx context.Context) error {
	list, err := u.ledger.Fulfilments(ctx, u.app.Name)
	if err != nil {
		return err
	}
	u.outside.asked = make(map[string]ledger.Fulfilment, len(list))
	for _, f := range list {
		u.outside.asked[f.Operation] = f
	}
	return nil
}

// graceOf is how long after a word nothing is asked anew: longer each time, so that nobody is asked for ever every hour.
func graceOf(app *schemas.Application, round int) time.Duration {
	return app.Spec.Fulfilment.GraceTime() << min(round, 5)
}

// fault is why operations cannot be carried out in one way, and what mends it.
type fault struct{ why, fix string }

// faults are the ways of provisioning that an application does not have.
func faults(app *schemas.Application, forge string, d connectors.Description) map[schemas.Provisioning]fault {
	out := map[schemas.Provisioning]fault{}
	if app.Spec.Webhook() == nil {
		out[schemas.ProvisioningWebhook] = fault{"the application " + app.Name + " has no fulfilment.webhook", "an owner adds spec.fulfilment.webhook with url and secret"}
	}
	if forge == "local" {
		out[schemas.ProvisioningTicket] = fault{"tickets are issues at GitHub, and the forge is " + forge, "use webhook or direct"}
	}
	if d.Attested {
		out[schemas.ProvisioningDirect] = fault{d.Title + " is attested: nothing can be changed from here", "use webhook or ticket"}
	}
	return out
}

// unable says which ways of provisioning cannot be gone in this run, and why.
func (r *Reconciler) unable(app *schemas.Application, settings *schemas.Settings, d connectors.Description) map[schemas.Provisioning]string {
	out := map[schemas.Provisioning]string{}
	for p, f := range faults(app, settings.Spec.Forge.Kind, d) {
		out[p] = fmt.Sprintf("provisioning %s, and %s: %s", p, f.why, f.fix)
	}
	if r.c.Tickets == nil && out[schemas.ProvisioningTicket] == "" {
		out[schemas.ProvisioningTicket] = "provisioning ticket, and no forge is served here: run it where the others run"
	}
	return out
}

// provisioningErrors refuses a document that asks for a way of provisioning that its application does not have.
func provisioningErrors(d schemas.Document, p schemas.Provisioning, missing map[schemas.Provisioning]fault) schemas.ErrorList {
	f, bad := missing[p]
	if !bad {
		return nil
	}
	return schemas.ErrorList{{Position: d.At("spec.provisioning"), Field: "spec.provisioning", Msg: fmt.Sprintf("%s cannot be carried out: %s", p, f.why), Hint: f.fix}}
}

// classify says of everything asked for what this run does about it.
func classify(app *schemas.Application, asked map[string]ledger.Fulfilment, gone map[string]bool, seenBy func(*ledger.Fulfilment) bool, p *schemas.ApplicationPlan, unknown bool, now time.Time) *outside {
	o := &outside{asked: asked, gone: gone, holds: map[string]plan.Outside{}, vanished: map[string]string{}}
	planned := map[string]*schemas.Operation{}
	for i := range p.Operations {
		planned[p.Operations[i].ID] = &p.Operations[i]
	}
	invited := map[string]bool{}
	for _, e := range p.Pending {
		invited[plan.EntitlementItem(e.Key)] = true
	}
	for _, id := range slices.Sorted(maps.Keys(asked)) {
		f := asked[id]
		if !isUnseen(&f) {
			continue
		}
		op := planned[id]
		why := "nothing wants it any more"
		switch {
		case op == nil:
		case op.Hold == schemas.HoldIdentity || op.Hold == schemas.HoldProtected:
			why = op.HoldReason
			op = nil
		case !plan.SameEffect(&f.Plan, op):
			why, op = "something else is wanted in its place", nil
		case op.Provisioning != f.Via:
			why, op = "it is carried out in another way now", nil
		}
		if op != nil {
			o.wanted(app, &f, unknown, now)
			continue
		}
		switch {
		case unknown, invited[plan.OperationItem(&f.Plan)]:
			// What is not seen may be there all the same; who is invited is on the way.
		case planned[id] == nil && seenBy(&f):
			o.seen = append(o.seen, id)
		default:
			o.vanished[id] = why
		}
	}
	return o
}

// wanted is for what is in the plan as it was asked for.
func (o *outside) wanted(app *schemas.Application, f *ledger.Fulfilment, unknown bool, now time.Time) {
	until := f.Changed.Add(graceOf(app, f.Round))
	if unknown && !now.Before(until) {
		until = now.Add(time.Minute) // what was not read may be there
	}
	wait := func(h schemas.Hold, reason string, at time.Time) {
		o.holds[f.Operation] = plan.Outside{Hold: h, Reason: reason}
		if o.again.IsZero() || at.Before(o.again) {
			o.again = at
		}
	}
	who := where(f)
	if f.By != "" {
		who = f.By + ", " + who + ","
	}
	said := ""
	if f.Message != "" {
		said = ": " + f.Message
	}
	switch {
	case o.gone[f.Operation]:
		// Asked for anew.
	case f.State == ledger.FulfilmentPending:
		// Rarely at first, more rarely later.
		age := now.Sub(f.Since)
		wait(schemas.HoldPending, fmt.Sprintf("%s since %s", where(f), stamp(f.Since)), now.Add(min(max(age/10, time.Minute), 30*time.Minute)))
	case f.State == ledger.FulfilmentApplied && now.Before(until):
		wait(schemas.HoldPending, fmt.Sprintf("%s said at %s that it is done, and it is not seen yet; looked for until %s", who, stamp(f.Changed), stamp(until)), until)
	case f.State == ledger.FulfilmentApplied:
		o.differing = append(o.differing, f.Operation)
	case f.State == ledger.FulfilmentFailed && f.Via == schemas.ProvisioningTicket:
		wait(schemas.HoldDeclined, fmt.Sprintf("%s closed it as not planned at %s: reopen the issue, or undo the request", who, stamp(f.Changed)), now.Add(30*time.Minute))
	case f.State == ledger.FulfilmentFailed && now.Before(until):
		wait(schemas.HoldDeclined, fmt.Sprintf("%s said at %s that it failed%s; asked for again after %s", who, stamp(f.Changed), said, stamp(until)), until)
	}
}

// where is whom somebody asked: "webhook example.com" or "ticket acme/access#12".
func where(f *ledger.Fulfilment) string {
	return strings.TrimSpace(string(f.Via) + " " + f.To)
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// settle sorts what was asked for by what the read shows.
func (u *run) settle() {
	p := &u.out.Plan
	unknown := p.Incomplete != "" || u.result.Shrunken
	seen := func(f *ledger.Fulfilment) bool {
		// Of what nobody can read it is the word itself that shows.
		return plan.Seen(&f.Plan, u.lv.state) && (u.lv.said == nil || f.State == ledger.FulfilmentApplied)
	}
	o := classify(u.app, u.outside.asked, u.outside.gone, seen, p, unknown, u.in.Now)
	o.findings, o.tickets, o.sources = u.outside.findings, u.outside.tickets, u.outside.sources
	u.outside = o
	p.Findings = append(p.Findings, o.findings...)
	for _, id := range o.differing {
		f := o.asked[id]
		p.Findings = append(p.Findings, schemas.Finding{Code: "said-not-seen", Severity: "error", Application: u.app.Name, Connection: f.Plan.Connection, Document: lastDocument(&f.Plan),
			Message: fmt.Sprintf("%s: said to be done (%s, %s), not seen", fulfil.Words(&f.Plan, u.lv.description), where(&f), stamp(f.Changed)),
			Fix:     "it is asked for again; see whether they change another application than the one that is read"})
	}
}

func lastDocument(o *schemas.Operation) schemas.DocumentID {
	if n := len(o.Documents); n > 0 {
		return o.Documents[n-1]
	}
	return schemas.DocumentID{}
}

// idle says whether nothing is to be done about what was asked for.
func (o *outside) idle() bool {
	return len(o.seen) == 0 && len(o.vanished) == 0 && len(o.differing) == 0
}

// word records what is known of an asking, with the record that said so.
func (u *run) word(ctx context.Context, f *ledger.Fulfilment, out schemas.OutcomeRecord, run string) error {
	op := f.Plan
	rec := schemas.Record{Type: schemas.RecordOutcome, Run: run, Application: u.app.Name, Operation: &op, Outcome: &out}
	if _, err := u.ledger.Append(context.WithoutCancel(ctx), rec); err != nil {
		return fmt.Errorf("write the ledger: %w", err)
	}
	if out.Status == schemas.FulfilmentApplied && u.lv != nil && u.lv.said != nil {
		u.lv.said.Add(&op, u.r.now())
	}
	return nil
}

// outcomeOf is an outcome about an asking.
func outcomeOf(f *ledger.Fulfilment, status, method string, now time.Time) schemas.OutcomeRecord {
	rec := f.FulfilmentRecord
	rec.Method, rec.By, rec.Authenticated, rec.Independent, rec.Message = method, "", false, nil, ""
	return schemas.OutcomeRecord{Operation: f.Operation, Status: status, Started: f.Since, Finished: now, Fulfilment: &rec}
}

// closeSeen records what the read shows of what was asked for: it is verified, whatever was said.
func (u *run) closeSeen(ctx context.Context, ours map[string]bool) error {
	settled := map[string]schemas.BaselineItem{}
	for _, s := range u.result.Settled {
		settled[s.Item] = s
	}
	tickets := map[string]bool{}
	for _, id := range u.outside.seen {
		f := u.outside.asked[id]
		if f.State != ledger.FulfilmentApplied {
			out := outcomeOf(&f, schemas.FulfilmentApplied, schemas.FulfilledByRead, u.r.now())
			out.Fulfilment.Message = "the application shows it"
			if err := u.word(ctx, &f, out, u.id); err != nil {
				return err
			}
		}
		op := f.Plan
		v := schemas.VerificationRecord{Operation: id, Status: u.verified(), Before: op.Before, After: op.After}
		rec := schemas.Record{Type: schemas.RecordVerification, Operation: &op, Verification: &v}
		items := []string{plan.OperationItem(&op)}
		if op.Kind == schemas.OperationCreate {
			items = append(items, plan.PayloadItem(op.Connection))
		}
		for i, item := range items {
			s, ok := settled[item]
			if b, known := u.remembered(item); !ok && i == 0 && !op.Removes() && (!known || !strings.HasPrefix(b.Token, "present")) {
				// Nothing wants it any more, and it was made all the same: what takes it back has to know that it is ours.
				s, ok = schemas.BaselineItem{Item: item, Token: f.Token}, true
				u.again = u.r.now().Add(time.Minute)
			}
			if ok {
				s.Made = true
				ours[item] = true
				rec.Baseline = append(rec.Baseline, s)
			}
		}
		u.out.Verifications, u.out.Seen = append(u.out.Verifications, v), append(u.out.Seen, op)
		if err := u.append(ctx, rec); err != nil {
			return err
		}
		f.State = v.Status
		u.outside.asked[id] = f
		if f.Via == schemas.ProvisioningTicket && f.To != "" {
			tickets[f.To] = true
		}
	}
	for _, to := range slices.Sorted(maps.Keys(tickets)) {
		u.retell(ctx, to, "The application shows what was asked for, as far as it is ticked off above.")
	}
	return nil
}

// verified is what a read-back that shows the effect is called.
func (u *run) verified() string {
	if u.lv.said != nil {
		return ledger.FulfilmentAttested
	}
	return ledger.FulfilmentVerified
}

// withdraw tells them what nothing wants any more. What cannot be told stays as it is, and nothing else is asked for
// in its place.
func (u *run) withdraw(ctx context.Context) error {
	tickets := map[string]string{}
	for _, id := range slices.Sorted(maps.Keys(u.outside.vanished)) {
		f, why := u.outside.asked[id], u.outside.vanished[id]
		out := outcomeOf(&f, ledger.FulfilmentWithdrawn, schemas.FulfilledByPlan, u.r.now())
		out.Fulfilment.Message = why
		open := f.State == ledger.FulfilmentSubmitting || f.State == ledger.FulfilmentPending || f.State == ledger.FulfilmentApplied
		if open && f.Via == schemas.ProvisioningWebhook {
			switch err := u.cancel(ctx, &f, why); {
			case errors.Is(err, errNotTold):
				u.notTold(&f, err)
				continue
			case err != nil:
				out.Fulfilment.Message = why + "; nobody was told: " + err.Error()
			}
		}
		if err := u.word(ctx, &f, out, u.id); err != nil {
			return err
		}
		f.State = ledger.FulfilmentWithdrawn
		u.outside.asked[id] = f
		u.out.Withdrawn = append(u.out.Withdrawn, f.Plan)
		if f.Via == schemas.ProvisioningTicket && f.To != "" {
			tickets[f.To] = why
		}
	}
	for _, to := range slices.Sorted(maps.Keys(tickets)) {
		u.retell(ctx, to, "Not wanted any more, as far as it is struck out above: "+tickets[to]+".")
	}
	return nil
}

// notTold keeps the operation from being begun in another way.
func (u *run) notTold(f *ledger.Fulfilment, err error) {
	for i := range u.out.Plan.Operations {
		if o := &u.out.Plan.Operations[i]; o.ID == f.Operation && o.Hold == schemas.HoldNone {
			o.Hold, o.HoldReason = schemas.HoldPending, "something else was asked of the "+where(f)+", and it could not be told that this is wanted in its place"
		}
	}
	u.out.Plan.Findings = append(u.out.Plan.Findings, schemas.Finding{Code: "not-withdrawn", Severity: "error", Application: u.app.Name, Connection: f.Plan.Connection, Document: lastDocument(&f.Plan),
		Message: fmt.Sprintf("%s: not wanted any more, and the %s could not be told: %v", fulfil.Words(&f.Plan, u.lv.description), where(f), err), Fix: "the next run tries again"})
}

// webhook opens the application's webhook.
func (u *run) webhook() (*fulfil.Webhook, error) {
	w := u.app.Spec.Webhook()
	if w == nil {
		return nil, errors.New("the application has no fulfilment.webhook any more")
	}
	secret, err := Secret(w.Secret)
	if err != nil {
		return nil, fmt.Errorf("fulfilment.webhook.secret: %w", err)
	}
	return fulfil.NewWebhook(fulfil.WebhookConfig{URL: w.URL, Secret: secret, Timeout: w.TimeoutTime(), CAFile: w.CAFile, MinWait: u.r.c.RetryWait, Now: u.r.c.Now})
}

// Secret is what a reference to a secret stands for. The errors name the reference, never what it holds.
func Secret(ref schemas.SecretReference) (connectors.Secret, error) {
	m := map[string]any{}
	if ref.Env != "" {
		m["env"] = ref.Env
	}
	if ref.File != "" {
		m["file"] = ref.File
	}
	s, ok, err := secretOf(m)
	if err == nil && !ok {
		err = errors.New("it names no secret")
	}
	return s, err
}

func (u *run) cancel(ctx context.Context, f *ledger.Fulfilment, why string) error {
	if u.app.Spec.Webhook() == nil {
		return errors.New("the application has no fulfilment.webhook any more")
	}
	w, err := u.webhook()
	if err != nil {
		return fmt.Errorf("%w: %w", errNotTold, err)
	}
	if err := u.look(ctx, &f.Plan); err != nil {
		return err
	}
	req := u.request(f, schemas.FulfilmentCancelled)
	req.Data.Why = why
	// An id of its own: a service that knows that of the request would take this one for the same.
	_, _, err = w.Send(ctx, f.Submission+"_cancel", req)
	switch connectors.CodeOf(err) {
	case connectors.Unavailable, connectors.Denied:
		return fmt.Errorf("%w: %w", errNotTold, err)
	}
	return err
}

// request is what a webhook is sent about an asking.
func (u *run) request(f *ledger.Fulfilment, kind string) *schemas.FulfilmentRequest {
	o := &f.Plan
	data := schemas.FulfilmentRequestData{ID: f.Submission, Application: u.app.Name, Connector: u.app.Spec.Connector, Text: fulfil.Words(o, u.lv.description), Requests: []schemas.FulfilmentSource{},
		Operation: schemas.FulfilmentOperation{ID: o.ID, Kind: o.Kind, Connection: o.Connection, NativeID: o.NativeID, Target: o.Target, TargetID: o.TargetID, Privilege: o.Privilege,
			Before: o.Before, After: o.After, ReassignTo: o.ReassignTo, Cause: o.Cause, Privileged: o.Privileged, Expires: o.Expires}}
	if w := u.app.Spec.Webhook(); w != nil {
		data.Callback = w.Callback
	}
	for _, d := range o.Documents {
		data.Requests = append(data.Requests, u.outside.sources[d].FulfilmentSource)
	}
	return &schemas.FulfilmentRequest{APIVersion: schemas.APIVersion, Kind: "FulfilmentRequest", Type: kind, Timestamp: u.r.now(), Data: data}
}

// look finds out where the documents of operations come from.
func (u *run) look(ctx context.Context, ops ...*schemas.Operation) error {
	for _, o := range ops {
		for _, d := range o.Documents {
			if _, ok := u.outside.sources[d]; ok {
				continue
			}
			s := source{FulfilmentSource: schemas.FulfilmentSource{Document: d}}
			rec, _, err := u.ledger.AdmissionOf(ctx, d.Path, d.Blob, false)
			if err != nil {
				return err
			}
			s.fill(rec, d)
			// Who undid a request asked for what follows from that.
			if rec, _, err = u.ledger.AdmissionOf(ctx, d.Path, "", true); err != nil {
				return err
			}
			if rec != nil && rec.Evidence != nil {
				s.people = append(s.people, rec.Evidence.Authors...)
			}
			u.outside.sources[d] = s
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

// submissionOf names an asking. It is the same for the same wish, also when the ledger was lost.
func submissionOf(o *schemas.Operation, token string, round int) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{o.Application, o.ID, token, strconv.Itoa(round)}, "\x1f")))
	return "ful_" + hex.EncodeToString(sum[:12])
}

// maxWaves bounds how often operations that wait for others are gone through in one run.
const maxWaves = 4

// fulfil asks somebody outside for operations, those that others depend on first, and returns those that were said to
// be done at once. What depends on something that is not seen yet waits.
func (u *run) fulfil(ctx context.Context, todo []schemas.Operation) (done []schemas.Operation, err error) {
	outstanding := map[string]bool{}
	for i := range u.out.Plan.Operations {
		outstanding[u.out.Plan.Operations[i].ID] = true
	}
	for _, o := range u.out.Outcomes {
		if o.Status == schemas.FulfilmentApplied && o.Fulfilment == nil {
			delete(outstanding, o.Operation)
		}
	}
	waiting := todo
	for range maxWaves {
		var ready, later []schemas.Operation
		for _, o := range waiting {
			if slices.ContainsFunc(o.DependsOn, func(d string) bool { return outstanding[d] }) {
				later = append(later, o)
			} else {
				ready = append(ready, o)
			}
		}
		waiting = later
		if len(ready) == 0 {
			break
		}
		said, err := u.submit(ctx, ready)
		done = append(done, said...)
		if err != nil {
			return done, err
		}
		if len(later) == 0 || len(said) == 0 {
			break
		}
		after, err := u.readBack(ctx)
		if err != nil || after.Plan.Incomplete != "" {
			break // what was not read may be undone: nothing follows from it, and the read-back after all of it says so
		}
		clear(outstanding)
		now := map[string]*schemas.Operation{}
		for i := range after.Plan.Operations {
			o := &after.Plan.Operations[i]
			outstanding[o.ID], now[o.ID] = true, o
		}
		// What is known of ids by now goes with it.
		waiting = slices.DeleteFunc(waiting, func(o schemas.Operation) bool { return now[o.ID] == nil })
		for i := range waiting {
			waiting[i].NativeID, waiting[i].TargetID = now[waiting[i].ID].NativeID, now[waiting[i].ID].TargetID
		}
	}
	var held []schemas.Operation
	for _, o := range waiting {
		for i := range u.out.Plan.Operations {
			p := &u.out.Plan.Operations[i]
			if p.ID != o.ID {
				continue
			}
			for _, d := range o.DependsOn {
				if outstanding[d] {
					p.Hold, p.HoldReason = schemas.HoldPending, "it depends on operation "+d+", which waits"
				}
			}
			held = append(held, *p)
		}
	}
	for part := range slices.Chunk(held, ledger.MaxPlanned) {
		if err := u.append(ctx, schemas.Record{Type: schemas.RecordHeld, Planned: part}); err != nil {
			return done, err
		}
	}
	return done, nil
}

// submit puts on record what is asked for, and asks.
func (u *run) submit(ctx context.Context, ops []schemas.Operation) (done []schemas.Operation, err error) {
	var list []*ledger.Fulfilment
	now := u.r.now()
	for i := range ops {
		o := &ops[i]
		if err := u.look(ctx, o); err != nil {
			return nil, err
		}
		f, ok := u.outside.asked[o.ID]
		token := u.result.Tokens[o.ID]
		switch {
		case ok && f.State == ledger.FulfilmentSubmitting && f.Via == o.Provisioning && plan.SameEffect(&f.Plan, o):
			// They may have heard of it: it goes out as it did, to where the webhook is now.
			if f.Via == schemas.ProvisioningWebhook {
				f.To = fulfil.HostOf(u.app.Spec.Webhook().URL)
			}
		default:
			round := 0
			if ok {
				round = f.Round + 1
			}
			rec := schemas.FulfilmentRecord{Operation: o.ID, Submission: submissionOf(o, token, round), Round: round, Via: o.Provisioning, Token: token}
			if o.Provisioning == schemas.ProvisioningWebhook {
				rec.To = fulfil.HostOf(u.app.Spec.Webhook().URL)
			} else if ok && f.Via == o.Provisioning && !u.outside.gone[o.ID] && f.State != ledger.FulfilmentWithdrawn {
				rec.To, rec.URL = f.To, f.URL // the same ticket is reopened
			}
			f = ledger.Fulfilment{FulfilmentRecord: rec, Application: u.app.Name, State: ledger.FulfilmentSubmitting, Since: now, Changed: now, Run: u.id, Plan: *o}
		}
		list = append(list, &f)
	}
	for part := range slices.Chunk(list, ledger.MaxPlanned) {
		rec := schemas.Record{Type: schemas.RecordIntent}
		for _, f := range part {
			rec.Operations = append(rec.Operations, f.Operation)
			rec.Planned = append(rec.Planned, f.Plan)
			rec.Fulfilments = append(rec.Fulfilments, f.FulfilmentRecord)
		}
		if err := u.append(ctx, rec); err != nil {
			return nil, err
		}
	}
	for _, f := range list {
		u.outside.asked[f.Operation] = *f
	}
	u.r.c.Step("intent")
	var hooks, tickets []*ledger.Fulfilment
	for _, f := range list {
		if f.Via == schemas.ProvisioningWebhook {
			hooks = append(hooks, f)
		} else {
			tickets = append(tickets, f)
		}
	}
	done, err = u.post(ctx, hooks)
	if err != nil {
		return done, err
	}
	return done, u.openTickets(ctx, tickets)
}

// said notes an outcome in this run's report as well as on record.
func (u *run) said(ctx context.Context, f *ledger.Fulfilment, out schemas.OutcomeRecord) error {
	u.out.Outcomes = append(u.out.Outcomes, out)
	if err := u.word(ctx, f, out, u.id); err != nil {
		return err
	}
	if out.Status != schemas.FulfilmentFailed || out.Fulfilment.Method != schemas.FulfilledByDelivery {
		f.State, f.Changed = out.Status, out.Finished
	}
	f.FulfilmentRecord = *out.Fulfilment
	u.outside.asked[f.Operation] = *f
	u.r.c.Step("operation")
	return nil
}

// undelivered is the outcome of a request that may not have been heard.
func (u *run) undelivered(f *ledger.Fulfilment, started time.Time, attempts int, err error) schemas.OutcomeRecord {
	out := outcomeOf(f, schemas.FulfilmentFailed, schemas.FulfilledByDelivery, u.r.now())
	out.Started, out.Attempts, out.Error, out.Code = started, attempts, err.Error(), string(cmp.Or(connectors.CodeOf(err), connectors.Unavailable))
	return out
}

// post sends operations to the webhook, one after the other. Once it cannot be reached, the others are not tried.
func (u *run) post(ctx context.Context, list []*ledger.Fulfilment) (done []schemas.Operation, err error) {
	if len(list) == 0 {
		return nil, nil
	}
	w, err := u.webhook()
	if err != nil {
		return nil, err
	}
	var down error
	for i, f := range list {
		if err := ctx.Err(); err != nil {
			return done, err
		}
		u.r.c.Progress("ask "+w.Host()+" for "+u.app.Name, i, len(list))
		started := u.r.now()
		if down != nil {
			if err := u.said(ctx, f, u.undelivered(f, started, 0, down)); err != nil {
				return done, err
			}
			continue
		}
		answer, attempts, err := w.Send(ctx, f.Submission, u.request(f, schemas.FulfilmentRequested))
		u.r.c.Step("posted")
		if err != nil {
			if ctx.Err() != nil {
				return done, ctx.Err()
			}
			if err := u.said(ctx, f, u.undelivered(f, started, attempts, err)); err != nil {
				return done, err
			}
			if connectors.CodeOf(err) == connectors.Unavailable {
				down = err
			}
			continue
		}
		out := outcomeOf(f, answer.Status, schemas.FulfilledByAnswer, u.r.now())
		out.Started, out.Attempts = started, attempts
		out.Fulfilment.Message, out.Fulfilment.By, out.Fulfilment.Authenticated = answer.Message, answer.By, true
		if answer.Status == schemas.FulfilmentFailed {
			out.Error, out.Code = cmp.Or(answer.Message, "the webhook said that it failed"), codeDeclined
		}
		if err := u.said(ctx, f, out); err != nil {
			return done, err
		}
		if answer.Status == schemas.FulfilmentApplied {
			done = append(done, f.Plan)
		}
	}
	return done, nil
}

// codeDeclined is the code of an outcome that somebody outside said.
const codeDeclined = "declined"

// part keeps a direct operation back that depends on one that somebody outside is asked for, with all that depends on it.
func (u *run) part(direct, others []schemas.Operation) (todo, rest []schemas.Operation) {
	waits := map[string]bool{}
	for _, o := range others {
		waits[o.ID] = true
	}
	for _, o := range direct {
		i := slices.IndexFunc(o.DependsOn, func(d string) bool { return waits[d] })
		if i < 0 {
			todo = append(todo, o)
			continue
		}
		waits[o.ID] = true
		for j := range u.out.Plan.Operations {
			if p := &u.out.Plan.Operations[j]; p.ID == o.ID {
				p.Hold, p.HoldReason = schemas.HoldPending, "it depends on operation "+o.DependsOn[i]+", which waits"
			}
		}
	}
	return todo, others
}

// recordDiffering puts on record that what was said to be done is not there. It is asked for anew after that.
func (u *run) recordDiffering(ctx context.Context) error {
	for _, id := range u.outside.differing {
		f := u.outside.asked[id]
		op := f.Plan
		v := schemas.VerificationRecord{Operation: id, Status: ledger.FulfilmentDiffers, Before: op.Before, After: op.After}
		u.out.Verifications = append(u.out.Verifications, v)
		rec := schemas.Record{Type: schemas.RecordVerification, Operation: &op, Verification: &v, Note: "said to be done, not seen"}
		if err := u.append(ctx, rec); err != nil {
			return err
		}
		f.State = ledger.FulfilmentDiffers
		u.outside.asked[id] = f
	}
	return nil
}

// schedule says when to look again at what was asked for in this run: soon, while it may come at any moment.
func (u *run) schedule() {
	now := u.r.now()
	for _, f := range u.outside.asked {
		if f.Run != u.id || !isUnseen(&f) || f.State == ledger.FulfilmentSubmitting {
			continue
		}
		at := now.Add(time.Minute)
		if f.State == ledger.FulfilmentFailed {
			at = now.Add(graceOf(u.app, f.Round))
		}
		if u.again.IsZero() || at.Before(u.again) {
			u.again = at
		}
	}
}
