package harness

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

func (f *Fixture) op(kind schemas.OperationKind, c schemas.Name) schemas.Operation {
	f.operations++
	return schemas.Operation{ID: fmt.Sprintf("op-%04d", f.operations), Kind: kind, Application: f.App.Config().Application, Connection: c}
}

// Create makes an operation that creates a connection.
func (f *Fixture) Create(c schemas.Name, payload map[string]any) schemas.Operation {
	op := f.op(schemas.OperationCreate, c)
	op.After = payload
	return op
}

// Update makes an operation that sets attributes.
func (f *Fixture) Update(c schemas.Name, after map[string]any) schemas.Operation {
	op := f.op(schemas.OperationUpdate, c)
	op.After = after
	return op
}

// Delete makes an operation that deletes a connection.
func (f *Fixture) Delete(c schemas.Name) schemas.Operation {
	return f.op(schemas.OperationDelete, c)
}

// Grant makes an operation that grants.
func (f *Fixture) Grant(k schemas.Key) schemas.Operation {
	op := f.op(schemas.OperationGrant, k.Connection)
	op.Target, op.Privilege = &k.Target, k.Privilege
	return op
}

// Revoke makes an operation that revokes.
func (f *Fixture) Revoke(k schemas.Key) schemas.Operation {
	op := f.op(schemas.OperationRevoke, k.Connection)
	op.Target, op.Privilege = &k.Target, k.Privilege
	return op
}

// Try applies operations and returns their outcomes. It fails the test unless there is one outcome for each, in a
// valid form, and no error of Apply itself.
func (f *Fixture) Try(ops ...schemas.Operation) map[string]connectors.Outcome {
	f.T.Helper()
	return f.TryOn(f.Writer, ops...)
}

// TryOn calls Try with another writer.
func (f *Fixture) TryOn(w connectors.Writer, ops ...schemas.Operation) map[string]connectors.Outcome {
	f.T.Helper()
	out, err := Apply(f.T.Context(), w, ops)
	if err != nil {
		f.T.Fatalf("Apply: %v", err)
	}
	for _, fault := range OutcomeFaults(ops, out) {
		f.T.Error(fault)
	}
	return ByOperation(out)
}

// Apply applies operations and returns their outcomes as they were reported.
func Apply(ctx context.Context, w connectors.Writer, ops []schemas.Operation) ([]connectors.Outcome, error) {
	var out []connectors.Outcome
	err := w.Apply(ctx, ops, func(o connectors.Outcome) { out = append(out, o) })
	return out, err
}

// ByOperation finds outcomes by the ids of their operations.
func ByOperation(out []connectors.Outcome) map[string]connectors.Outcome {
	m := make(map[string]connectors.Outcome, len(out))
	for _, o := range out {
		m[o.Operation] = o
	}
	return m
}

// Must applies operations, all of which must succeed.
func (f *Fixture) Must(ops ...schemas.Operation) {
	f.T.Helper()
	out := f.Try(ops...)
	for _, op := range ops {
		if err := out[op.ID].Err; err != nil {
			f.T.Fatalf("%s: %v, want applied", Label(op), err)
		}
	}
}

// Twice applies operations, all of which must succeed, and applies them again, which must change nothing.
func (f *Fixture) Twice(ops ...schemas.Operation) {
	f.T.Helper()
	f.Must(ops...)
	before := f.Read(f.Scope())
	f.Must(ops...)
	if diff := cmp.Diff(before, f.Read(f.Scope()), Compare()...); diff != "" {
		f.T.Fatalf("the second time changed the state (-after once +after twice):\n%s", diff)
	}
}

// Label names an operation in a message.
func Label(op schemas.Operation) string {
	s := fmt.Sprintf("%s %s %q", op.ID, op.Kind, op.Connection)
	if op.Target != nil {
		s += fmt.Sprintf(" %q %s", *op.Target, op.Privilege)
	}
	return s
}

// Clear revokes all of a connection's entitlements.
func (f *Fixture) Clear(c schemas.Name) {
	f.T.Helper()
	var ops []schemas.Operation
	for _, e := range f.There(c).Entitlements {
		ops = append(ops, f.Revoke(schemas.Key{Connection: c, Target: e.Target, Privilege: e.Privilege}))
	}
	f.Must(ops...)
}

// Refused applies one operation that must fail with one of the codes.
func (f *Fixture) Refused(op schemas.Operation, codes ...connectors.Code) *connectors.Error {
	f.T.Helper()
	err := f.Try(op)[op.ID].Err
	if err == nil {
		f.T.Fatalf("%s was applied, want %v", Label(op), codes)
	}
	if !slices.Contains(codes, connectors.CodeOf(err)) {
		f.T.Fatalf("%s: code %q (%v), want %v", Label(op), connectors.CodeOf(err), err, codes)
	}
	var typed *connectors.Error
	errors.As(err, &typed)
	return typed
}
