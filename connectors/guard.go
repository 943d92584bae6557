package connectors

import (
	"context"

	"github.com/countersign/countersign/schemas"
)

// Guard wraps a Reader. Calls after Close fail with the code Invalid, calls after the context has ended aren't passed
// on, and only the first Close is. Errors are returned unchanged.
func Guard[R Reader](r R, err error) (Reader, error) {
	if err != nil {
		return nil, err
	}
	return &guardedReader{reader: r}, nil
}

// GuardWriter wraps a Writer as Guard wraps a Reader.
func GuardWriter[W Writer](w W, err error) (Writer, error) {
	if err != nil {
		return nil, err
	}
	return &guardedWriter{guardedReader{reader: w}, w}, nil
}

// Unguard returns the Reader inside Guard or GuardWriter, for a connector's own tests. Any other is returned unchanged.
func Unguard(r Reader) Reader {
	switch g := r.(type) {
	case *guardedReader:
		return g.reader
	case *guardedWriter:
		return g.reader
	}
	return r
}

type guardedReader struct {
	reader Reader
	closed bool
}

type guardedWriter struct {
	guardedReader
	writer Writer
}

var (
	_ Foreseer = (*guardedReader)(nil)
	_ Writer   = (*guardedWriter)(nil)
)

func (g *guardedReader) usable(ctx context.Context, op string) error {
	if g.closed {
		return &Error{Code: Invalid, Op: op, Message: "the connection was closed"}
	}
	return Stopped(ctx, op)
}

func (g *guardedReader) Describe(ctx context.Context) (schemas.Description, error) {
	if err := g.usable(ctx, "describe the application"); err != nil {
		return schemas.Description{}, err
	}
	return g.reader.Describe(ctx)
}

func (g *guardedReader) Read(ctx context.Context, s schemas.Selection) (schemas.State, error) {
	if err := g.usable(ctx, "read the application"); err != nil {
		return schemas.State{}, err
	}
	return g.reader.Read(ctx, s)
}

func (g *guardedReader) List(ctx context.Context, q Query) (Page, error) {
	if err := g.usable(ctx, "list "+q.Type); err != nil {
		return Page{}, err
	}
	return g.reader.List(ctx, q)
}

// Foresee asks a reader that is a Foreseer; another one foresees nothing.
func (g *guardedReader) Foresee(ctx context.Context, ops []schemas.Operation) ([]schemas.Finding, error) {
	f, ok := g.reader.(Foreseer)
	if !ok {
		return nil, nil
	}
	if err := g.usable(ctx, "check what would be refused"); err != nil {
		return nil, err
	}
	return f.Foresee(ctx, ops)
}

func (g *guardedReader) Normalize(s schemas.State) (schemas.State, error) {
	return g.reader.Normalize(s)
}

func (g *guardedReader) Close() error {
	if g.closed {
		return nil
	}
	g.closed = true
	return g.reader.Close()
}

func (g *guardedWriter) Apply(ctx context.Context, ops []schemas.Operation, report func(Outcome)) error {
	if err := g.usable(ctx, "apply"); err != nil {
		return err
	}
	return g.writer.Apply(ctx, ops, report)
}
