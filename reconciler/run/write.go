package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// credentialName names the secret reference that the writer uses, never its value.
func credentialName(app *schemas.Application) string {
	var refs []string
	for k, v := range app.Spec.Config {
		m, ok := v.(map[string]any)
		if !ok || len(m) != 1 {
			continue
		}
		for _, kind := range []string{"env", "file"} {
			if name, ok := m[kind].(string); ok {
				refs = append(refs, k+"="+kind+":"+name)
			}
		}
	}
	if w := app.Spec.Webhook(); w != nil {
		for kind, name := range map[string]string{"env": w.Secret.Env, "file": w.Secret.File} {
			if name != "" {
				refs = append(refs, "fulfilment.webhook.secret="+kind+":"+name)
			}
		}
	}
	slices.Sort(refs)
	return strings.Join(refs, " ")
}

// write carries the operations out. It records the intent before and the outcome after. It retries operations
// that failed because the application was not available.
func (a *application) write(ctx context.Context, todo []schemas.Operation) (err error) {
	c, cfg, err := a.configure(a.app, true)
	if err != nil {
		return err
	}
	cfg.Epoch = a.epoch
	w, err := c.OpenWriter(ctx, cfg)
	if err != nil {
		return fmt.Errorf("open %s for writing: %w", a.app.Name, err)
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	byID := make(map[string]*schemas.Operation, len(todo))
	for i := range todo {
		byID[todo[i].ID] = &todo[i]
	}
	var intents []schemas.Record
	for part := range slices.Chunk(todo, chunk) {
		ids := make([]string, len(part))
		for i := range part {
			ids[i] = part[i].ID
		}
		if intents = append(intents, schemas.Record{Type: schemas.RecordIntent, Operations: ids, Planned: part}); len(intents) == chunksAtOnce {
			if err := a.append(ctx, intents...); err != nil {
				return err
			}
			intents = nil
		}
	}
	if len(intents) > 0 {
		if err := a.append(ctx, intents...); err != nil {
			return err
		}
	}
	a.config.Step("intent")
	left := todo
	for attempt := 1; ; attempt++ {
		if err := a.stillOurs(ctx); err != nil {
			return err
		}
		again, wait, err := a.attempt(ctx, w, left, byID, attempt)
		if err != nil || len(again) == 0 {
			return err
		}
		if attempt == maxAttempts {
			return nil // their last recorded outcomes are failures
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
		left = again
	}
}

const maxAttempts = 3

// attempt carries out the operations once and records the outcomes in batches. It returns those to
// retry.
func (a *application) attempt(ctx context.Context, w connectors.Writer, ops []schemas.Operation, byID map[string]*schemas.Operation, n int) (again []schemas.Operation, wait time.Duration, err error) {
	var batch []schemas.Record
	var recordErr error
	wait = time.Duration(n*n) * 500 * time.Millisecond
	// The application continues while outcomes are written. They are recorded even when the run is being
	// stopped.
	outcomes, written := make(chan []schemas.Record, 4), make(chan error, 1)
	go func() {
		var err error
		for records := range outcomes {
			if err == nil {
				err = a.append(context.WithoutCancel(ctx), records...)
			}
		}
		written <- err
	}()
	flush := func() {
		if len(batch) > 0 {
			outcomes <- batch
			batch = nil
		}
	}
	reported := map[string]bool{}
	done := 0
	retry := map[string]bool{}
	report := func(o connectors.Outcome) {
		op := byID[o.Operation]
		if op == nil {
			recordErr = errors.Join(recordErr, fmt.Errorf("the connector reported an operation that was not asked for: %s", o.Operation))
			return
		}
		reported[o.Operation] = true
		rec := schemas.OutcomeRecord{Operation: o.Operation, Status: schemas.OutcomeApplied, Attempts: n, Started: o.Started.UTC(), Finished: o.Finished.UTC()}
		if o.Err != nil {
			code := connectors.CodeOf(o.Err)
			rec.Status, rec.Error, rec.Code = "failed", o.Err.Error(), string(code)
			var ce *connectors.Error
			switch {
			case code == connectors.Blocked:
				rec.Status = "blocked"
				retry[o.Operation] = op.DependsOn != nil && slices.ContainsFunc(op.DependsOn, func(d string) bool { return retry[d] })
			case code == connectors.Conflict && errors.As(o.Err, &ce) && len(ce.Dependents) > 0:
				rec.Code = schemas.CodeInUse
			case code == connectors.Unavailable:
				retry[o.Operation] = true
				if errors.As(o.Err, &ce) && ce.RetryAfter > wait {
					wait = ce.RetryAfter
				}
			}
		}
		a.outcome.Outcomes = append(a.outcome.Outcomes, rec)
		full := *op
		batch = append(batch, schemas.Record{Type: schemas.RecordOutcome, Operation: &full, Outcome: &rec})
		if len(batch) >= 1000 {
			flush()
		}
		done++
		if done%100 == 0 {
			a.config.Progress("apply to "+a.app.Name, done, len(ops))
		}
		a.config.Step("operation")
	}
	err = w.Apply(ctx, ops, report)
	flush()
	close(outcomes)
	if recordErr = errors.Join(recordErr, <-written); recordErr != nil {
		return nil, 0, recordErr
	}
	a.config.Step("outcomes")
	if err != nil && connectors.CodeOf(err) != connectors.Unavailable {
		return nil, 0, fmt.Errorf("apply to %s: %w", a.app.Name, err)
	}
	if err != nil && n == maxAttempts {
		return nil, 0, fmt.Errorf("apply to %s, given up after %d attempts: %w", a.app.Name, n, err)
	}
	for _, o := range ops {
		if retry[o.ID] || (err != nil && !reported[o.ID]) {
			again = append(again, o)
		}
	}
	return again, min(wait, time.Minute), nil
}
