package postgres

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// database is one of those that an application covers. With several, the names of what is in them begin with theirs, and
// so do native ids, since each database counts oids by itself.
type database struct {
	name   string
	prefix string // of names: shop/
	id     string // of native ids: 16384/
	conn   *pgx.Conn
}

// findDatabases sets the databases: the one of the session, or those of the settings, of which it is the first.
func (r *reader) findDatabases(ctx context.Context, names []string) error {
	r.databases = []*database{{name: r.config.Database, conn: r.conn}}
	if len(names) < 2 {
		return nil
	}
	rows, err := r.conn.Query(ctx, `SELECT format('%I/', n), coalesce(d.oid, 0) FROM unnest($1::text[]) WITH ORDINALITY w(n, i)
LEFT JOIN pg_catalog.pg_database d ON d.datname::text = n ORDER BY i`, names)
	if err != nil {
		return err
	}
	defer rows.Close()
	r.databases = nil
	for rows.Next() {
		d := &database{name: names[len(r.databases)]}
		var oid uint32
		if err := rows.Scan(&d.prefix, &oid); err != nil {
			return err
		}
		d.id = nativeID(oid) + "/"
		r.databases = append(r.databases, d)
	}
	if rows.Err() == nil {
		r.databases[0].conn = r.conn
	}
	return rows.Err()
}

// session returns the session with a database, and opens it first if need be.
func (r *reader) session(ctx context.Context, d *database) (*pgx.Conn, error) {
	if d.conn != nil && !d.conn.IsClosed() || d == r.databases[0] {
		return d.conn, nil
	}
	conn, err := r.connectTo(ctx, d.name)
	if err != nil {
		return nil, refused("connect to the database "+d.name, "databases", err)
	}
	d.conn = conn
	return conn, nil
}

// connectTo opens a session with any database of the cluster.
func (r *reader) connectTo(ctx context.Context, name string) (*pgx.Conn, error) {
	config := r.config.Copy()
	config.Database, config.OnNotice = name, r.notice
	return pgx.ConnectConfig(ctx, config)
}

// within reports whether targets of a type are in a database; the others are the cluster's.
func within(typ string) bool { return privileges(typ) != nil && typ != typeDatabase }

// databaseOf returns the database that a target is in, nil if its name lacks one. Targets of the cluster are the
// first one's.
func (r *reader) databaseOf(target *schemas.Name) *database {
	if target == nil || !within(target.Type) {
		return r.databases[0]
	}
	i := slices.IndexFunc(r.databases, func(d *database) bool { return strings.HasPrefix(target.SourceName, d.prefix) })
	if i < 0 {
		return nil
	}
	return r.databases[i]
}

// unnamed is the error of a name without its database.
func (r *reader) unnamed(n schemas.Name) string {
	var prefixes []string
	for _, d := range r.databases {
		prefixes = append(prefixes, d.prefix+n.SourceName)
	}
	return "the name " + n.String() + " lacks its database (expected " + strings.Join(prefixes, " or ") + ")"
}

// inside returns the operation with the names and ids that the database itself has.
func (d *database) inside(o *schemas.Operation) *schemas.Operation {
	if d.prefix == "" || o.Target == nil || !within(o.Target.Type) {
		return o
	}
	inner := *o
	target := *o.Target
	target.SourceName = strings.TrimPrefix(target.SourceName, d.prefix)
	inner.Target = &target
	if id, ok := strings.CutPrefix(o.TargetID, d.id); ok {
		inner.TargetID = id
	}
	return &inner
}

// readDatabases adds what the selected roles hold in each database. One that can't be read is unknown by itself.
func (r *reader) readDatabases(ctx context.Context, tx pgx.Tx, all map[uint32]*role, state *schemas.State) error {
	for i, d := range r.databases {
		var q querier = tx
		var other pgx.Tx
		err := error(nil)
		if i > 0 {
			var conn *pgx.Conn
			if conn, err = r.session(ctx, d); err == nil {
				other, err = conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
				q = other
			}
		}
		var left, besides []schemas.NotRead
		if err == nil {
			if err = grants(ctx, q, all, d, i == 0); err == nil {
				err = ownership(ctx, q, all, d, i == 0)
			}
			if err == nil {
				left, err = unread(ctx, q, all, r.names(), i == 0)
			}
			if err == nil && all[public] == nil {
				besides, err = notManaged(ctx, q, all, i == 0)
			}
		}
		if other != nil {
			err = errors.Join(err, rollback(ctx, other))
		}
		switch {
		case err == nil:
			state.NotRead, state.NotManaged = append(state.NotRead, left...), append(state.NotManaged, besides...)
		case i == 0 || ctx.Err() != nil:
			return err
		default:
			for _, x := range all {
				if x.conn != nil {
					x.conn.Entitlements = slices.DeleteFunc(x.conn.Entitlements, func(e schemas.Entitlement) bool { return within(e.Target.Type) && r.databaseOf(&e.Target) == d })
				}
			}
			state.Unread = append(state.Unread, schemas.Unread{Prefix: d.prefix, Reason: wrap("read the database "+d.name, err).Error()})
		}
	}
	state.NotRead, state.NotManaged = sumNotRead(state.NotRead), sumNotRead(state.NotManaged)
	return nil
}

func (r *reader) names() []string {
	var out []string
	for _, d := range r.databases {
		out = append(out, d.name)
	}
	return out
}

// listDatabases lists what is in the databases, each by itself.
func (r *reader) listDatabases(ctx context.Context, q connectors.Query) ([]schemas.Item, error) {
	if !within(q.Type) {
		return r.list(ctx, r.conn, q)
	}
	var out []schemas.Item
	for _, d := range r.databases {
		in := q
		if q.Names != nil {
			in.Names = []string{}
			for _, n := range q.Names {
				if rest, ok := strings.CutPrefix(n, d.prefix); ok {
					in.Names = append(in.Names, rest)
				}
			}
			in.IDs = nil
			for _, id := range q.IDs {
				if rest, ok := strings.CutPrefix(id, d.id); ok {
					in.IDs = append(in.IDs, rest)
				}
			}
			if len(in.Names)+len(in.IDs) == 0 {
				continue
			}
		}
		conn, err := r.session(ctx, d)
		if err != nil {
			return nil, err
		}
		items, err := r.list(ctx, conn, in)
		if err != nil {
			return nil, err
		}
		for _, i := range items {
			i.SourceName, i.NativeID = d.prefix+i.SourceName, d.id+i.NativeID
			out = append(out, i)
		}
	}
	return out, nil
}

// closeOthers ends the sessions with all databases but the first.
func (r *reader) closeOthers(ctx context.Context) error {
	var errs []error
	for _, d := range r.databases[1:] {
		if d.conn != nil {
			errs = append(errs, d.conn.Close(ctx))
		}
	}
	return errors.Join(errs...)
}

// applyIn carries out operations in one database, maxBatch to a transaction. A database that fails ends its own
// operations only; an error means that the first one did.
func (b *batch) applyIn(ctx context.Context, d *database, ops []*schemas.Operation) error {
	first := d == b.writer.databases[0]
	for part := range slices.Chunk(ops, maxBatch) {
		if err := ctx.Err(); err != nil {
			return err
		}
		started := time.Now()
		conn, err := b.writer.session(ctx, d)
		if err == nil {
			b.conn, b.ops = conn, make([]*schemas.Operation, len(part))
			for i, o := range part {
				b.ops[i] = d.inside(o)
			}
			err = b.run(ctx)
		}
		switch {
		case err == nil:
		case first || ctx.Err() != nil || b.writer.conn.IsClosed():
			return err
		default:
			for _, o := range part {
				b.done(o, started, 1, wrap(connectors.Title(o), err))
			}
		}
	}
	return nil
}
