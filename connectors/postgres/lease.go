package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/countersign/countersign/connectors"
)

// The lease keeps two processes with one applying credential from changing roles at the same time. It is a row in a
// table that the credential owns, so no other login can hold it, unlike an advisory lock.
const (
	createSchema = `CREATE SCHEMA countersign; `
	createLease  = `CREATE TABLE countersign.lease (one boolean PRIMARY KEY DEFAULT true CHECK (one), epoch bigint NOT NULL DEFAULT 0);
INSERT INTO countersign.lease DEFAULT VALUES`
	takeLease  = `SELECT epoch FROM countersign.lease WHERE one FOR UPDATE`
	claimLease = `UPDATE countersign.lease SET epoch = $1 WHERE one AND epoch <= $1`
)

// leaseQuery looks for the lease. A schema or table of that name with another owner is never used: its owner could
// hold the lock, or run code with our privileges.
const leaseQuery = `SELECT n.oid IS NOT NULL, coalesce(n.nspowner = u.oid, false), c.oid IS NOT NULL,
  coalesce(n.nspowner = u.oid AND c.relowner = u.oid AND c.relkind = 'r', false),
  pg_catalog.has_database_privilege(u.oid, pg_catalog.current_database(), 'CREATE')
FROM (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = current_user) u
LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = 'countersign'
LEFT JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = 'lease'`

// leaseHeld is the error of a lease that another process of ours holds.
type leaseHeld struct{ error }

func (e *leaseHeld) Unwrap() error { return e.error }

// findLease reports whether there is a lease, and creates it if the credential can. Without one, concurrent writers
// are detected by the server (tuple concurrently updated), and the transaction is retried.
func (w *writer) findLease(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, w.limit)
	defer cancel()
	for create := true; ; create = false {
		var schema, ours, table, usable, may bool
		if err := w.conn.QueryRow(ctx, leaseQuery).Scan(&schema, &ours, &table, &usable, &may); err != nil {
			return false, err
		}
		statements := createLease
		switch {
		case usable || !create || table || schema && !ours || !schema && !may:
			return usable, nil
		case !schema:
			statements = createSchema + createLease
		}
		_, err := w.conn.PgConn().Exec(ctx, statements).ReadAll()
		var refused *pgconn.PgError
		if err != nil && !errors.As(err, &refused) {
			return false, err
		}
	}
}

// leaseLost is the error of a run whose application a later one has taken over.
type leaseLost struct{ error }

func (e *leaseLost) Unwrap() error { return e.error }

func (w *writer) lost() error {
	return &leaseLost{&connectors.Error{Code: connectors.Conflict, Op: "apply",
		Message: "a later run has taken over this application, so nothing more is written; run again. If there is none (the ledger's clock was wrong), run UPDATE countersign.lease SET epoch = 0"}}
}

// claim makes the run's epoch the one that may write, unless a later run has done so.
func (w *writer) claim(ctx context.Context) error {
	if !w.leased || w.epoch == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, w.limit)
	defer cancel()
	done, err := w.conn.Exec(ctx, claimLease, w.epoch)
	switch {
	case sqlState(err) == lockNotAvailable:
		return &leaseHeld{err}
	case err != nil:
		return err
	case done.RowsAffected() == 0:
		return w.lost()
	}
	return nil
}

// take locks the lease until the transaction ends, and checks that no later run has claimed it.
func (w *writer) take(ctx context.Context, tx pgx.Tx) error {
	if !w.leased {
		return nil
	}
	var epoch int64
	err := tx.QueryRow(ctx, takeLease).Scan(&epoch)
	switch {
	case sqlState(err) == lockNotAvailable:
		return &leaseHeld{err}
	case err != nil:
		return err
	case w.epoch != 0 && epoch > w.epoch:
		return w.lost()
	}
	return nil
}
