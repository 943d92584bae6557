package exec

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// Apply sends what the description allows, in batches within which nothing depends on anything. The times of the
// outcomes are ours.
func (s *session) Apply(ctx context.Context, ops []schemas.Operation, report func(connectors.Outcome)) error {
	if err := s.usable(ctx, "apply"); err != nil {
		return err
	}
	failed := connectors.Failures{}
	pending := map[string]*schemas.Operation{}
	var part []schemas.ConnectorOperation
	size := 0
	flush := func() error {
		if len(part) == 0 {
			return nil
		}
		err := s.send(ctx, part, pending, func(o connectors.Outcome) {
			failed[o.Operation] = o.Err != nil
			report(o)
		})
		part, size = nil, 0
		clear(pending)
		return err
	}
	for i := range ops {
		o := &ops[i]
		if pending[o.ID] != nil || slices.ContainsFunc(o.DependsOn, func(id string) bool { return pending[id] != nil }) {
			if err := flush(); err != nil {
				return err
			}
		}
		if err := connectors.Stopped(ctx, "apply"); err != nil {
			return err
		}
		line, err := s.refuse(o, failed)
		if err != nil {
			out := connectors.Outcome{Operation: o.ID, Attempts: 1, Started: s.now(), Err: err}
			if connectors.CodeOf(err) == connectors.Blocked {
				out.Attempts = 0
			}
			out.Finished = s.now()
			failed[o.ID] = true
			report(out)
			continue
		}
		if len(part) == s.batch || size+line > s.process.limits.Line/2 && len(part) > 0 {
			if err := flush(); err != nil {
				return err
			}
		}
		part, size, pending[o.ID] = append(part, wireOperation(o)), size+line, o
	}
	return flush()
}

// refuse returns the reason why an operation isn't sent, or else its length.
func (s *session) refuse(o *schemas.Operation, failed connectors.Failures) (int, error) {
	if err := failed.Blocked(o); err != nil {
		return 0, err
	}
	if err := s.checker.Check(o); err != nil {
		return 0, err
	}
	invalid := func(message string) error {
		return &connectors.Error{Code: connectors.Invalid, Op: connectors.Title(o), Message: message}
	}
	texts := []string{o.Connection.SourceName, o.NativeID, o.TargetID, o.ReassignTo}
	if o.Target != nil {
		texts = append(texts, o.Target.SourceName)
	}
	if !sayable(texts...) {
		return 0, invalid("invalid name or id (expected UTF-8)")
	}
	line, err := json.Marshal(wireOperation(o))
	switch {
	case err != nil:
		return 0, invalid("an attribute has a value that JSON can't represent")
	case len(line) > s.process.limits.Line/2:
		return 0, invalid(fmt.Sprintf("the operation has %d bytes (expected at most %d)", len(line), s.process.limits.Line/2))
	}
	return len(line), nil
}

// send sends one batch, and reports each outcome as it comes.
func (s *session) send(ctx context.Context, part []schemas.ConnectorOperation, pending map[string]*schemas.Operation, report func(connectors.Outcome)) error {
	since := s.now()
	answered := map[string]bool{}
	var whole *connectors.Error // the application as such is unavailable
	err := s.process.call(ctx, &schemas.ConnectorRequest{Type: "apply", Operations: part}, s.process.limits.Call, true, func(a *schemas.ConnectorAnswer) (bool, error) {
		switch a.Type {
		case "outcome":
			o := pending[a.Outcome.Operation]
			switch {
			case o == nil:
				return false, s.process.violation("unknown operation in an outcome")
			case answered[o.ID]:
				return false, s.process.violation("duplicate outcome for operation %s", o.ID)
			}
			answered[o.ID] = true
			if a.Outcome.Error != nil && a.Outcome.Error.Whole && connectors.Code(a.Outcome.Error.Code) == connectors.Unavailable {
				whole = s.process.typed(connectors.Title(o), a.Outcome.Error)
			}
			if whole != nil {
				return false, nil // the operations after it are unknown too
			}
			out := connectors.Outcome{Operation: o.ID, Attempts: max(1, a.Outcome.Attempts), Started: since, Finished: s.now()}
			if a.Outcome.Error != nil {
				out.Err = s.process.typed(connectors.Title(o), a.Outcome.Error)
			}
			since = out.Finished
			report(out)
			return false, nil
		case "done":
			if len(answered) != len(part) || a.Done.Count != len(part) {
				return false, s.process.violation("wrong number of outcomes for %d operations (%d counted, %d sent)", len(part), a.Done.Count, len(answered))
			}
			return true, nil
		}
		return false, s.process.violation("unexpected answer of type %s (expected outcomes)", a.Type)
	})
	if err == nil && whole != nil {
		return whole
	}
	return err
}
