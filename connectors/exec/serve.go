package exec

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
	"github.com/countersign/countersign/schemas/strict"
)

// Serve is the other end, for connectors written in Go: it answers requests from in on out, until close or the end of
// in. main calls it with the standard streams. The connector's log goes to standard error.
func Serve(ctx context.Context, in io.Reader, out io.Writer, c connectors.Connector) error {
	s := &server{out: out, c: c}
	return errors.Join(s.serve(ctx, in), s.close())
}

// ServeHand answers connector test for an outside hand: do carries out one request. Its errors end the case.
func ServeHand(ctx context.Context, in io.Reader, out io.Writer, do func(context.Context, schemas.ConnectorTest) (schemas.ConnectorTestAnswer, error)) error {
	return (&server{out: out, do: do}).serve(ctx, in)
}

// maxRequest bounds a request's line; it is more than Limits.Line by default.
const maxRequest = 64 << 20

// partSize is how many connections or items go into one line, and partEntitlements how many entitlements.
const (
	partSize         = 200
	partEntitlements = 5000
)

type server struct {
	out io.Writer
	c   connectors.Connector
	do  func(context.Context, schemas.ConnectorTest) (schemas.ConnectorTestAnswer, error)

	application string
	reader      connectors.Reader
	writer      connectors.Writer

	mu      sync.Mutex
	running int64
	cancel  context.CancelFunc
}

func (s *server) close() error {
	if s.reader == nil {
		return nil
	}
	r := s.reader
	s.reader, s.writer = nil, nil
	return r.Close()
}

func (s *server) serve(ctx context.Context, in io.Reader) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	requests := make(chan *schemas.ConnectorRequest)
	var scan error // set before requests is closed
	go func() {
		// After close it waits for the end of the input, as a program that calls Serve does.
		defer close(requests)
		scan = s.scan(ctx, in, requests)
	}()
	for {
		select {
		case req, ok := <-requests:
			if !ok {
				return scan
			}
			if last, err := s.one(ctx, req); err != nil || last {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// scan reads requests ahead, so that a cancel is seen during another request.
func (s *server) scan(ctx context.Context, in io.Reader, requests chan<- *schemas.ConnectorRequest) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 64<<10), maxRequest)
	for lines.Scan() {
		req, err := strict.DecodeConnectorRequest(lines.Bytes())
		if err != nil {
			return err
		}
		if req.Type == "cancel" {
			s.mu.Lock()
			if s.cancel != nil && s.running == req.Cancel.Request {
				s.cancel()
			}
			s.mu.Unlock()
			continue
		}
		select {
		case requests <- req:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return lines.Err()
}

// one answers a request. An error means that a stream is broken.
func (s *server) one(ctx context.Context, req *schemas.ConnectorRequest) (last bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.mu.Lock()
	s.running, s.cancel = req.ID, cancel
	s.mu.Unlock()
	a := &answer{s: s, id: req.ID}
	final, fault := s.answer(ctx, req, a)
	if a.err != nil {
		return false, a.err
	}
	if fault != nil {
		final = &schemas.ConnectorAnswer{Type: "error", Error: wireError(fault)}
	}
	a.send(final)
	return req.Type == "close", a.err
}

func (s *server) answer(ctx context.Context, req *schemas.ConnectorRequest, a *answer) (*schemas.ConnectorAnswer, error) {
	refuse := func(code connectors.Code, format string, args ...any) (*schemas.ConnectorAnswer, error) {
		return nil, &connectors.Error{Code: code, Message: fmt.Sprintf(format, args...)}
	}
	done := func(count int, incomplete string) (*schemas.ConnectorAnswer, error) {
		return &schemas.ConnectorAnswer{Type: "done", Done: &schemas.ConnectorDone{Count: count, Incomplete: cut(incomplete)}}, nil
	}
	describe := func(d schemas.Description, err error) (*schemas.ConnectorAnswer, error) {
		if err != nil {
			return nil, err
		}
		return &schemas.ConnectorAnswer{Type: "description", Description: wireDescription(d)}, nil
	}
	switch req.Type {
	case "hello":
		for _, v := range req.Hello.Versions {
			if v == schemas.ConnectorProtocol {
				return &schemas.ConnectorAnswer{Type: "hello", Hello: &schemas.ConnectorWelcome{Version: v, Normalizes: s.c != nil}}, nil
			}
		}
		return refuse(connectors.Unsupported, "unknown protocol version (expected %d)", schemas.ConnectorProtocol)
	case "close":
		if err := s.close(); err != nil {
			return nil, err
		}
		return done(0, "")
	case "test":
		if s.do == nil {
			return refuse(connectors.Unsupported, "this program isn't an outside hand")
		}
		t, err := s.do(ctx, *req.Test)
		return &schemas.ConnectorAnswer{Type: "test", Test: &t}, err
	}
	switch {
	case s.c == nil:
		return refuse(connectors.Unsupported, "this program is an outside hand, not a connector")
	case req.Type == "describe":
		return describe(s.c.Describe(), nil)
	case req.Type == "open":
		if s.reader != nil {
			return refuse(connectors.Invalid, "the application is already open")
		}
		if err := s.open(ctx, req.Open); err != nil {
			return nil, err
		}
		return done(0, "")
	case s.reader == nil:
		return refuse(connectors.Invalid, "the application is not open")
	}
	switch req.Type {
	case "describe_installation":
		return describe(s.reader.Describe(ctx))
	case "read":
		state, err := s.reader.Read(ctx, *req.Read)
		if err != nil {
			return nil, err
		}
		a.connections(state.Connections)
		return done(len(state.Connections), state.Incomplete)
	case "list":
		return s.list(ctx, req.List, a)
	case "normalize":
		for _, w := range req.Connections {
			state, err := s.reader.Normalize(schemas.State{Connections: []schemas.Connection{w}})
			if err != nil {
				return nil, err
			}
			a.connections(state.Connections)
		}
		return done(len(req.Connections), "")
	case "apply":
		if s.writer == nil {
			return refuse(connectors.Denied, "the application is open for reading")
		}
		var ops []schemas.Operation
		for _, o := range req.Operations {
			ops = append(ops, operation(s.application, o))
		}
		n := 0
		err := s.writer.Apply(ctx, ops, func(o connectors.Outcome) {
			n++
			w := &schemas.ConnectorOutcome{Operation: o.Operation, Attempts: o.Attempts}
			if o.Err != nil {
				w.Error = wireError(o.Err)
			}
			a.send(&schemas.ConnectorAnswer{Type: "outcome", Outcome: w})
		})
		if err != nil {
			return nil, err
		}
		return done(n, "")
	}
	return refuse(connectors.Unsupported, "unknown request %q", req.Type)
}

func (s *server) open(ctx context.Context, o *schemas.ConnectorOpen) error {
	cfg := connectors.Config{Application: o.Application, Directory: o.Directory, Now: time.Now, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
		Values: connectors.WithSecrets(s.c.Describe().Config, o.Config)}
	s.application = o.Application
	if o.Mode == "read" {
		r, err := s.c.OpenReader(ctx, cfg)
		if err != nil {
			return err
		}
		s.reader = r
		return nil
	}
	w, err := s.c.OpenWriter(ctx, cfg)
	if err != nil {
		return err
	}
	s.reader, s.writer = w, w
	return nil
}

// maxPages bounds how often a connector is asked for the next page.
const maxPages = 1_000_000

func (s *server) list(ctx context.Context, q *schemas.ConnectorQuery, a *answer) (*schemas.ConnectorAnswer, error) {
	query := connectors.Query{Type: q.Type, Names: q.Names, IDs: q.IDs}
	n := 0
	for range maxPages {
		page, err := s.reader.List(ctx, query)
		if err != nil {
			return nil, err
		}
		n += len(page.Items)
		for i := 0; i < len(page.Items); i += partSize {
			items := slices.Clone(page.Items[i:min(i+partSize, len(page.Items))])
			for j := range items {
				items[j].Protected = cut(items[j].Protected)
			}
			a.send(&schemas.ConnectorAnswer{Type: "items", Items: items})
		}
		if page.Next == "" {
			return &schemas.ConnectorAnswer{Type: "done", Done: &schemas.ConnectorDone{Count: n}}, nil
		}
		query.Cursor = page.Next
	}
	return nil, &connectors.Error{Code: connectors.Unavailable, Message: "the pages do not end"}
}

// answer writes the lines of one answer, up to the first write error.
type answer struct {
	s   *server
	id  int64
	err error
}

func (a *answer) send(m *schemas.ConnectorAnswer) {
	if a.err != nil {
		return
	}
	m.ID = a.id
	line, err := json.Marshal(m)
	if err == nil {
		_, err = a.s.out.Write(append(line, '\n'))
	}
	a.err = err
}

// connections sends connections in lines of bounded length.
func (a *answer) connections(list []schemas.Connection) {
	var part []schemas.Connection
	held := 0
	flush := func() {
		if len(part) > 0 {
			a.send(&schemas.ConnectorAnswer{Type: "connections", Connections: part})
		}
		part, held = nil, 0
	}
	for _, w := range list {
		w.Protected = cut(w.Protected)
		rest := w.Entitlements[min(partEntitlements, len(w.Entitlements)):]
		w.Entitlements = w.Entitlements[:len(w.Entitlements)-len(rest)]
		if part, held = append(part, w), held+len(w.Entitlements); len(part) == partSize || held >= partEntitlements {
			flush()
		}
		for len(rest) > 0 {
			n := min(partEntitlements, len(rest))
			a.send(&schemas.ConnectorAnswer{Type: "entitlements", Entitlements: rest[:n]})
			rest = rest[n:]
		}
	}
	flush()
}

// wireError returns an error in the protocol's form. The cause is left out: it may contain a secret.
func wireError(err error) *schemas.ConnectorError {
	out := &schemas.ConnectorError{Code: string(connectors.Unavailable), Message: cut(err.Error())}
	if out.Message == "" {
		out.Message = "it failed"
	}
	var typed *connectors.Error
	if errors.As(err, &typed) {
		if typed.Code != connectors.Blocked && typed.Code != "" {
			out.Code = string(typed.Code)
		}
		out.Whole = typed.Code == connectors.Unavailable && typed.Whole
		out.RetryAfterSeconds = min(int(typed.RetryAfter.Round(time.Second)/time.Second), maxRetrySeconds)
		out.Dependents = typed.Dependents[:min(len(typed.Dependents), maxDependents)]
	}
	return out
}

// The limits in the schema of an error.
const (
	maxText         = 4000
	maxRetrySeconds = 86400
	maxDependents   = 1000
)

// cut bounds a string as the protocol does, in characters.
func cut(s string) string {
	if utf8.RuneCountInString(s) <= maxText {
		return s
	}
	return string([]rune(s)[:maxText-1]) + "…"
}
