package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/reconciler/hold"
	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/reconciler/run/fulfilment"
	"github.com/countersign/countersign/schemas"
)

// openWebhook opens the application's webhook.
func (a *application) openWebhook() (*fulfilment.Webhook, error) {
	w := a.app.Spec.Webhook()
	if w == nil {
		return nil, errors.New("fulfilment.webhook: the application no longer has one")
	}
	secret, err := a.config.Secrets.Secret(w.Secret)
	if err != nil {
		return nil, fmt.Errorf("fulfilment.webhook.secret: %w", err)
	}
	return fulfilment.NewWebhook(fulfilment.WebhookConfig{URL: w.URL, Secret: secret, Timeout: w.TimeoutTime(), CAFile: w.CAFile, MinWait: a.config.RetryWait, Now: a.config.Now})
}

func (a *application) cancelWebhook(ctx context.Context, f *ledger.Fulfilment, why string) error {
	if a.app.Spec.Webhook() == nil {
		return errors.New("fulfilment.webhook: the application no longer has one")
	}
	w, err := a.openWebhook()
	if err != nil {
		return fmt.Errorf("%w: %w", errNotTold, err)
	}
	if err := a.findSources(ctx, &f.Plan); err != nil {
		return err
	}
	req := a.webhookRequest(f, schemas.FulfilmentCancelled)
	req.Data.Why = why
	// It has its own id: with the id of the request, a service would take it for the same message.
	_, _, err = w.Send(ctx, f.Submission+"_cancel", req)
	switch connectors.CodeOf(err) {
	case connectors.Unavailable, connectors.Denied:
		return fmt.Errorf("%w: %w", errNotTold, err)
	}
	return err
}

// webhookRequest is the request sent to a webhook.
func (a *application) webhookRequest(f *ledger.Fulfilment, kind string) *schemas.FulfilmentRequest {
	o := &f.Plan
	data := schemas.FulfilmentRequestData{ID: f.Submission, Application: a.app.Name, Connector: a.app.Spec.Connector, Text: fulfilment.Words(o, a.live.description), Requests: []schemas.FulfilmentSource{},
		Operation: schemas.FulfilmentOperation{ID: o.ID, Kind: o.Kind, Connection: o.Connection, NativeID: o.NativeID, Target: o.Target, TargetID: o.TargetID, Privilege: o.Privilege,
			Before: o.Before, After: o.After, ReassignTo: o.ReassignTo, Cause: o.Cause, Privileged: o.Privileged, Expires: o.Expires}}
	if w := a.app.Spec.Webhook(); w != nil {
		data.Callback = w.Callback
	}
	for _, d := range o.Documents {
		data.Requests = append(data.Requests, a.fulfilments.sources[d].FulfilmentSource)
	}
	return &schemas.FulfilmentRequest{APIVersion: schemas.APIVersion, Kind: "FulfilmentRequest", Type: kind, Timestamp: a.now(), Data: data}
}

// postWebhooks sends operations to the webhook, one after the other. Once it cannot be reached, the others are not tried.
func (a *application) postWebhooks(ctx context.Context, list []*ledger.Fulfilment) (done []schemas.Operation, err error) {
	if len(list) == 0 {
		return nil, nil
	}
	w, err := a.openWebhook()
	if err != nil {
		return nil, err
	}
	var down error
	for i, f := range list {
		if err := ctx.Err(); err != nil {
			return done, err
		}
		a.config.Progress("ask "+w.Host()+" for "+a.app.Name, i, len(list))
		started := a.now()
		if down != nil {
			if err := a.reportOutcome(ctx, f, a.undelivered(f, started, 0, down)); err != nil {
				return done, err
			}
			continue
		}
		answer, attempts, err := w.Send(ctx, f.Submission, a.webhookRequest(f, schemas.FulfilmentRequested))
		a.config.Step("posted")
		if err != nil {
			if ctx.Err() != nil {
				return done, ctx.Err()
			}
			if err := a.reportOutcome(ctx, f, a.undelivered(f, started, attempts, err)); err != nil {
				return done, err
			}
			if connectors.CodeOf(err) == connectors.Unavailable {
				down = err
			}
			continue
		}
		out := fulfilment.OutcomeOf(f, schemas.OutcomeStatus(answer.Status), schemas.FulfilledByAnswer, a.now())
		out.Started, out.Attempts = started, attempts
		out.Fulfilment.Message, out.Fulfilment.By, out.Fulfilment.Authenticated = answer.Message, answer.By, true
		if answer.Status == schemas.OutcomeFailed {
			out.Error, out.Code = cmp.Or(answer.Message, "the webhook reported a failure"), fulfilment.CodeDeclined
		}
		if err := a.reportOutcome(ctx, f, out); err != nil {
			return done, err
		}
		if answer.Status == schemas.OutcomeApplied {
			done = append(done, f.Plan)
		}
	}
	return done, nil
}

// holdUntold holds the operation back from being carried out in another way.
func (a *application) holdUntold(f *ledger.Fulfilment, err error) {
	for i := range a.outcome.Plan.Operations {
		if o := &a.outcome.Plan.Operations[i]; o.ID == f.Operation && o.Hold == schemas.HoldNone {
			o.Hold, o.HoldReason = schemas.HoldPending, "something else was asked of the "+fulfilment.Where(f)+", and it could not be notified that this is wanted in its place"
		}
	}
	a.outcome.Plan.Findings = append(a.outcome.Plan.Findings, schemas.Finding{Code: "not-withdrawn", Severity: schemas.SeverityError, Application: a.app.Name, Connection: f.Plan.Connection, Document: fulfilment.LastDocument(&f.Plan),
		Message: fmt.Sprintf("%s: no longer wanted, and the %s could not be notified: %v", fulfilment.Words(&f.Plan, a.live.description), fulfilment.Where(f), err), Fix: "the next run tries again"})
}

// errNotTold means that somebody outside could not be reached.
var errNotTold = errors.New("they could not be notified")

// unable returns the ways of provisioning that this run cannot use, and why.
func (r *Runner) unable(app *schemas.Application, settings *schemas.Settings, d schemas.Description) map[schemas.Provisioning]string {
	out := map[schemas.Provisioning]string{}
	for p, f := range hold.Unprovisionable(app, settings.Spec.Forge.Kind, d) {
		out[p] = fmt.Sprintf("provisioning %s, and %s: %s", p, f.Why, f.Fix)
	}
	if r.config.Tickets == nil && out[schemas.ProvisioningTicket] == "" {
		out[schemas.ProvisioningTicket] = "provisioning: ticket, and this run has no forge: run it where the other runs do"
	}
	return out
}
