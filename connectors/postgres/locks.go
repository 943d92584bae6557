package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// SQLSTATEs that decide something (PostgreSQL 15, Appendix A).
const (
	lockNotAvailable = "55P03"
	queryCanceled    = "57014" // statement_timeout
	dependentObjects = "2BP01"
)

// sqlState returns the SQLSTATE of an error, or "".
func sqlState(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}

// stuck reports whether a statement waited too long for a lock, or ran too long.
func stuck(err error) bool {
	switch sqlState(err) {
	case lockNotAvailable, queryCanceled:
		return true
	}
	return false
}

// holdersQuery names the sessions that a session waits for.
const holdersQuery = `SELECT 'user ' || coalesce(a.usename, '?') || ' (pid ' || a.pid || coalesce(', ' || a.state, '') ||
  coalesce(', transaction open since ' || to_char(a.xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS"Z"'), '') || ')'
FROM pg_catalog.pg_stat_activity a WHERE a.pid = ANY(pg_catalog.pg_blocking_pids($1)) ORDER BY a.pid`

// watcher observes from a second session which sessions the first one waits for: once it has timed out, the server
// no longer knows.
type watcher struct {
	stop    context.CancelFunc
	done    chan struct{}
	holders string
}

// patience is how long a statement may take before the watcher opens its session.
const patience = 100 * time.Millisecond

// watch starts a watcher. Without a second session it names nobody.
func (w *writer) watch(ctx context.Context, watched *pgx.Conn) *watcher {
	ctx, cancel := context.WithCancel(ctx)
	x := &watcher{stop: cancel, done: make(chan struct{})}
	pid := int32(watched.PgConn().PID()) //nolint:gosec // a process id
	go func() {
		defer close(x.done)
		tick := time.NewTicker(patience)
		defer tick.Stop()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		conn, err := pgx.ConnectConfig(ctx, w.config.Copy())
		if err != nil {
			return
		}
		defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
		for {
			rows, err := conn.Query(ctx, holdersQuery, pid)
			if err != nil {
				return
			}
			names, err := pgx.CollectRows(rows, pgx.RowTo[string])
			if err != nil {
				return
			}
			if len(names) > 0 {
				x.holders = strings.Join(names, ", ")
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	return x
}

// end stops the watcher and returns the last sessions that were waited for, or "".
func (x *watcher) end() string {
	x.stop()
	<-x.done
	return x.holders
}

// stuckError is the error of an operation that timed out waiting for holders.
func stuckError(o *schemas.Operation, err error, holders string) error {
	out := &connectors.Error{Code: connectors.Unavailable, Op: connectors.Title(o), Err: err}
	switch {
	case sqlState(err) != lockNotAvailable:
		out.Message = "timed out (config.statement_timeout)"
	case holders == "":
		out.Message = "timed out waiting for a lock that another session holds (config.lock_timeout)"
	default:
		out.Message = "timed out waiting for a lock (config.lock_timeout) held by " + holders + ": wait for that session, or end it"
	}
	return out
}

// locked is what an operation locks: its object or group. Operations on an object that timed out aren't tried again.
func locked(o *schemas.Operation) schemas.Name {
	switch {
	case o.Target == nil:
		return o.Connection
	case o.Target.Type == typeRole:
		return *o.Target
	case o.Target.Type == typeUser, o.Target.Type == typeMember:
		return o.Connection
	case o.Target.Type == typeColumn:
		if i := strings.LastIndex(o.Target.SourceName, "."); i > 0 {
			return schemas.Name{Type: typeTable, SourceName: o.Target.SourceName[:i]}
		}
	}
	return *o.Target
}

// dependents names who holds a privilege or membership from the role of a failed revoke.
func (b *batch) dependents(ctx context.Context, tx pgx.Tx, o *schemas.Operation, err error) error {
	wrapped := wrap(connectors.Title(o), err)
	if sqlState(err) != dependentObjects || o.Kind != schemas.OperationRevoke {
		return wrapped
	}
	var rows pgx.Rows
	var qerr error
	what := ""
	if group, member, ok := b.membership(o); ok {
		what = "membership in " + group
		rows, qerr = tx.Query(ctx, `SELECT DISTINCT m.rolname::text FROM pg_catalog.pg_auth_members a
JOIN pg_catalog.pg_roles g ON g.oid = a.roleid JOIN pg_catalog.pg_roles m ON m.oid = a.member JOIN pg_catalog.pg_roles x ON x.oid = a.grantor
WHERE g.rolname = $1 AND x.rolname = $2 ORDER BY 1`, group, member)
	} else {
		privilege, _ := strings.CutSuffix(o.Privilege, grantOption)
		what = privilege + " on " + o.Target.String()
		rows, qerr = tx.Query(ctx, `SELECT DISTINCT coalesce(g.rolname::text, 'PUBLIC') FROM (`+objectQuery+`) o, LATERAL aclexplode(o.acl) x
JOIN pg_catalog.pg_roles f ON f.oid = x.grantor LEFT JOIN pg_catalog.pg_roles g ON g.oid = x.grantee
WHERE o.acl IS NOT NULL AND o.type = $1 AND o.name = $2 AND x.privilege_type = $3 AND f.rolname = $4 ORDER BY 1`,
			o.Target.Type, o.Target.SourceName, privilege, o.Connection.SourceName)
	}
	if qerr != nil {
		return wrapped
	}
	names, qerr := pgx.CollectRows(rows, pgx.RowTo[string])
	if qerr != nil || len(names) == 0 {
		return wrapped
	}
	return &connectors.Error{Code: connectors.Conflict, Op: connectors.Title(o), Err: err, Dependents: names,
		Message: fmt.Sprintf("%s granted %s on to %s: revoke that first", o.Connection.SourceName, what, strings.Join(names, ", "))}
}
