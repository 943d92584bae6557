package postgres

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

type writer struct {
	*reader
	// epoch is that of the run, 0 for none; leased means that there is a lease to take.
	epoch  int64
	leased bool
}

// attempts is how often a transaction that conflicts with another writer is tried.
const attempts = 4

// maxBatch is the maximum number of operations in a transaction. Each role and object in a GRANT takes an entry in the
// server's lock table, which all sessions share and which holds about 6,400 entries by default.
const maxBatch = 1000

// Apply carries out the operations: first all but deletions, by database, in order and maxBatch to a transaction, with
// those on roles among the first database's; then each deletion by itself, since it may involve several databases.
func (w *writer) Apply(ctx context.Context, ops []schemas.Operation, report func(connectors.Outcome)) error {
	var err error
	if w.leased, err = w.findLease(ctx); err == nil {
		err = w.claim(ctx)
	}
	if err != nil {
		return wrap("apply", err)
	}
	b := &batch{writer: w, failed: connectors.Failures{}, report: report}
	var deletions []*schemas.Operation
	others := map[*database][]*schemas.Operation{}
	for i := range ops {
		o := &ops[i]
		switch d := w.databaseOf(o.Target); {
		case o.Kind == schemas.OperationDelete:
			deletions = append(deletions, o)
		case d == nil:
			b.done(o, time.Now(), 1, connectors.Refuse(o, connectors.Invalid, "%s", w.unnamed(*o.Target)))
		default:
			others[d] = append(others[d], o)
		}
	}
	for _, d := range w.databases {
		if err := b.applyIn(ctx, d, others[d]); err != nil {
			return wrap("apply", err)
		}
	}
	for _, o := range deletions {
		if err := ctx.Err(); err != nil {
			return wrap("apply", err)
		}
		started := time.Now()
		err := b.failed.Blocked(o)
		if err == nil {
			err = w.drop(ctx, o)
		}
		b.done(o, started, 1, err)
	}
	return nil
}

// batch holds the operations of one transaction.
type batch struct {
	writer *writer
	conn   *pgx.Conn // with the database that the operations are in
	ops    []*schemas.Operation
	failed connectors.Failures
	report func(connectors.Outcome)

	roles   map[string]*role
	objects map[schemas.Name]object
	today   map[typedID]string // the names of objects by remembered ids
	wide    *schemaWide        // nil if the batch needs none
	byOID   map[uint32]*role
	// grantors has the grantors of memberships that are revoked, and whether the grant has ADMIN.
	grantors map[[2]string]map[string]bool
}

// object is a grantable object in the server's spelling.
type object struct {
	oid  uint32
	id   string // its native id
	sql  string // TABLE sales.orders, or the beginning of ALTER DEFAULT PRIVILEGES
	cols string // (id), for a column
}

func (b *batch) done(o *schemas.Operation, started time.Time, n int, err error) {
	out := connectors.Outcome{Operation: o.ID, Attempts: n, Started: started, Finished: time.Now()}
	out.Err, b.failed[o.ID] = err, err != nil
	b.report(out)
}

// alone reports whether a batch that failed so is retried one operation at a time.
func alone(err error) bool {
	var held *leaseHeld
	var lost *leaseLost
	var w *warning
	switch {
	case errors.As(err, &held), errors.As(err, &lost):
		return false
	case errors.As(err, &w):
		return true
	}
	return stuck(err) || connectors.CodeOf(wrap("", err)) != connectors.Unavailable
}

// run tries all operations with their statements grouped. If one fails, it runs each operation in a savepoint, as it
// does with a single operation.
func (b *batch) run(ctx context.Context) error {
	started := time.Now()
	for n := 1; ; n++ {
		results, err := b.transaction(ctx, len(b.ops) > 1)
		if err != nil && len(b.ops) > 1 && ctx.Err() == nil && alone(err) {
			results, err = b.transaction(ctx, false)
		}
		switch {
		case err == nil:
			for i, o := range b.ops {
				b.done(o, started, n, results[i])
			}
			return nil
		case n == attempts || ctx.Err() != nil || b.conn.IsClosed() || connectors.CodeOf(wrap("", err)) != connectors.Unavailable:
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(n*n) * 50 * time.Millisecond):
		}
	}
}

// transaction carries out the batch and returns each operation's error. A non-nil err means that nothing was changed.
func (b *batch) transaction(ctx context.Context, grouped bool) (results []error, err error) {
	ctx, cancel := context.WithTimeout(ctx, b.writer.limit)
	defer cancel()
	tx, err := b.conn.Begin(ctx)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, rollback(ctx, tx))
		}
	}()
	// One writer of ours at a time: role DDL of two transactions on one role fails with an internal error.
	lease := tx
	if b.conn != b.writer.conn {
		// The lease is in the first database.
		if lease, err = b.writer.conn.Begin(ctx); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, rollback(ctx, lease)) }()
	}
	if err := b.writer.take(ctx, lease); err != nil {
		return nil, err
	}
	if err := b.resolve(ctx, tx); err != nil {
		return nil, err
	}
	columns, err := b.keep(ctx, tx)
	if err != nil {
		return nil, err
	}
	if grouped {
		results, err = b.together(ctx, tx, columns)
	} else {
		results, err = b.eachAlone(ctx, tx, columns)
	}
	if err != nil {
		return nil, err
	}
	if err := tx.Commit(ctx); err != nil {
		return nil, err
	}
	return results, nil
}

// together sends the statements of all operations at once.
func (b *batch) together(ctx context.Context, tx pgx.Tx, columns *keeper) ([]error, error) {
	results := make([]error, len(b.ops))
	failed := maps.Clone(b.failed) // those of the batches before
	g := &grouper{}
	for i, o := range b.ops {
		var stmts []statement
		if results[i] = failed.Blocked(o); results[i] == nil {
			stmts, results[i] = b.statements(o)
		}
		if results[i] != nil {
			failed[o.ID] = true
		}
		g.add(stmts) // with an error they are the part that can be carried out
	}
	if err := b.send(ctx, tx, g); err != nil {
		return nil, err
	}
	return results, columns.giveBack(ctx, tx)
}

// send sends statements in one message (the simple protocol). A warning that a privilege was not granted or revoked
// is an error.
func (b *batch) send(ctx context.Context, tx pgx.Tx, g *grouper) error {
	text := g.text()
	if text == "" {
		return nil
	}
	b.writer.warnings = nil
	if _, err := tx.Conn().PgConn().Exec(ctx, text).ReadAll(); err != nil {
		return err
	}
	if len(b.writer.warnings) > 0 && !g.bulk {
		return &warning{b.writer.warnings[0]}
	}
	return nil
}

// warning is a server's warning that a statement had no effect.
type warning struct{ text string }

func (w *warning) Error() string { return w.text }

// eachAlone carries out each operation in a savepoint, removals first.
func (b *batch) eachAlone(ctx context.Context, tx pgx.Tx, columns *keeper) ([]error, error) {
	results := make([]error, len(b.ops))
	failed := maps.Clone(b.failed)
	held := map[schemas.Name]error{} // operations that timed out on a lock, by its object
	for _, i := range removalsFirst(b.ops) {
		o := b.ops[i]
		var stmts []statement
		if results[i] = failed.Blocked(o); results[i] == nil {
			stmts, results[i] = b.statements(o)
		}
		if before := held[locked(o)]; len(stmts) > 0 && before != nil {
			results[i], stmts = stuckError(o, errors.Unwrap(before), ""), nil
			var e, known *connectors.Error
			if errors.As(results[i], &e) && errors.As(before, &known) {
				e.Message = known.Message
			}
		}
		if len(stmts) > 0 {
			result, err := b.single(ctx, tx, o, stmts, columns)
			if err != nil {
				return nil, err
			}
			if stuck(result) {
				held[locked(o)] = result
			}
			if result != nil {
				results[i] = result
			}
		}
		if results[i] != nil {
			failed[o.ID] = true
		}
	}
	return results, nil
}

// removalsFirst orders the indices of operations: first revokes that don't depend on other operations, then the rest.
func removalsFirst(ops []*schemas.Operation) []int {
	rest := map[string]bool{}
	for _, o := range ops {
		rest[o.ID] = true
	}
	var first, then []int
	for i, o := range ops {
		if o.Kind == schemas.OperationRevoke && !slices.ContainsFunc(o.DependsOn, func(id string) bool { return rest[id] }) {
			first = append(first, i)
			delete(rest, o.ID)
			continue
		}
		then = append(then, i)
	}
	return append(first, then...)
}

// single carries out one operation in a savepoint. A non-nil err ends the transaction.
func (b *batch) single(ctx context.Context, tx pgx.Tx, o *schemas.Operation, stmts []statement, columns *keeper) (result, err error) {
	sp, err := tx.Begin(ctx)
	if err != nil {
		return nil, err
	}
	g := &grouper{}
	g.add(stmts)
	watcher := b.writer.watch(ctx, b.conn)
	err = b.send(ctx, tx, g)
	if err == nil && revokesTables(o) {
		err = columns.giveBack(ctx, tx)
	}
	holders := watcher.end()
	if err == nil {
		return nil, sp.Commit(ctx)
	}
	if rerr := sp.Rollback(ctx); rerr != nil || ctx.Err() != nil {
		return nil, errors.Join(err, rerr)
	}
	var w *warning
	switch {
	case errors.As(err, &w):
		return connectors.Refuse(o, connectors.Denied, "the server warns: %s (the applying credential needs the privilege with the grant option, or membership in the owner)", w.text), nil
	case stuck(err):
		return stuckError(o, err, holders), nil
	case connectors.CodeOf(wrap("", err)) == connectors.Unavailable:
		return nil, err
	}
	return b.dependents(ctx, tx, o, err), nil
}
