package casbin_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/casbin"
	"github.com/countersign/countersign/connectors/connectortest"
	"github.com/countersign/countersign/connectors/connectortest/suite"
	"github.com/countersign/countersign/schemas"
)

// flawed is the casbin connector with one fault in it, to see that the suite finds it.
type flawed struct {
	name string
	// finds is the case that has to fail.
	finds     string
	describe  func(*schemas.Description)
	read      func(schemas.Selection, *schemas.State, *error)
	selection func(schemas.Selection) schemas.Selection
	list      func(connectors.Query, *connectors.Page, *error)
	query     func(*connectors.Query)
	normalize func(in schemas.State, out *schemas.State, err *error)
	apply     func(ctx context.Context, w connectors.Writer, ops []schemas.Operation, report func(connectors.Outcome)) error
	open      func(error) error
	closed    bool
	// lockless makes each Apply work on a copy of the file that takes the file's place at the end.
	lockless bool
}

// edited is an apply that changes operations before.
func edited(edit func(*schemas.Operation)) func(context.Context, connectors.Writer, []schemas.Operation, func(connectors.Outcome)) error {
	return func(ctx context.Context, w connectors.Writer, ops []schemas.Operation, report func(connectors.Outcome)) error {
		ops = slices.Clone(ops)
		for i := range ops {
			edit(&ops[i])
		}
		return w.Apply(ctx, ops, report)
	}
}

// reported is an apply that changes outcomes after.
func reported(edit func(op schemas.Operation, o *connectors.Outcome)) func(context.Context, connectors.Writer, []schemas.Operation, func(connectors.Outcome)) error {
	return func(ctx context.Context, w connectors.Writer, ops []schemas.Operation, report func(connectors.Outcome)) error {
		return w.Apply(ctx, ops, func(o connectors.Outcome) {
			i := slices.IndexFunc(ops, func(op schemas.Operation) bool { return op.ID == o.Operation })
			edit(ops[i], &o)
			report(o)
		})
	}
}

func hasEdge(s schemas.State, op schemas.Operation) bool {
	for _, c := range s.Connections {
		for _, e := range c.Entitlements {
			if c.Name == op.Connection && op.Target != nil && e.Target == *op.Target && e.Privilege == op.Privilege {
				return true
			}
		}
	}
	return false
}

func flaws() []flawed {
	return []flawed{
		{name: "an open schema", finds: "describe", describe: func(d *schemas.Description) {
			for i := range d.Types {
				d.Types[i].Payload = []byte(strings.ReplaceAll(string(d.Types[i].Payload), `"additionalProperties": false`, `"additionalProperties": true`))
			}
		}},
		{name: "no script", finds: "describe", describe: func(d *schemas.Description) { d.PlanScript = "" }},
		{name: "a default that does not fit", finds: "describe", describe: func(d *schemas.Description) {
			d.Types[0].Payload = []byte(strings.ReplaceAll(string(d.Types[0].Payload), `"default": false`, `"default": "no"`))
		}},
		{name: "a default privilege that is none", finds: "describe", describe: func(d *schemas.Description) { d.Types[0].Grantable[0].Default = []string{"own"} }},
		{name: "incomplete passes for whole", finds: "incomplete read", read: func(_ schemas.Selection, s *schemas.State, _ *error) { s.Incomplete = "" }},
		{name: "an error passes for nothing", finds: "incomplete read", read: func(_ schemas.Selection, s *schemas.State, err *error) {
			*err = nil
			s.Incomplete = ""
		}},
		{name: "the last connection is lost", finds: "selection", read: func(_ schemas.Selection, s *schemas.State, _ *error) {
			if len(s.Connections) > 1 {
				s.Connections = s.Connections[:len(s.Connections)-1]
			}
		}},
		{name: "unsorted connections", finds: "selection", read: func(_ schemas.Selection, s *schemas.State, _ *error) { slices.Reverse(s.Connections) }},
		{name: "scope is ignored", finds: "selection", selection: func(schemas.Selection) schemas.Selection { return schemas.Selection{} }},
		{name: "names are ignored", finds: "selection", selection: func(s schemas.Selection) schemas.Selection {
			if s.Scope != nil {
				s.Names = nil
			}
			return s
		}},
		{name: "the list stops after a page", finds: "list", list: func(_ connectors.Query, p *connectors.Page, _ *error) { p.Next = "" }},
		{name: "the list ignores names", finds: "list", query: func(q *connectors.Query) { q.Names = nil }},
		{name: "the list ignores the limit", finds: "list", query: func(q *connectors.Query) { q.Limit = 0 }},
		{name: "the list is empty for unknown types", finds: "list", list: func(_ connectors.Query, p *connectors.Page, err *error) { *err = nil }},
		{name: "normalize takes anything", finds: "normalize", normalize: func(in schemas.State, out *schemas.State, err *error) { *out, *err = in, nil }},
		{name: "normalize invents attributes", finds: "normalize", normalize: func(_ schemas.State, out *schemas.State, _ *error) {
			for i := range out.Connections {
				if out.Connections[i].Payload == nil {
					out.Connections[i].Payload = map[string]any{"description": ""}
				}
			}
		}},
		{name: "nothing is done", finds: "create", apply: func(_ context.Context, _ connectors.Writer, ops []schemas.Operation, report func(connectors.Outcome)) error {
			for _, op := range ops {
				report(connectors.Outcome{Operation: op.ID, Attempts: 1})
			}
			return nil
		}},
		{name: "the payload of a creation is lost", finds: "create", apply: edited(func(op *schemas.Operation) {
			if op.Kind == schemas.OperationCreate {
				op.After = nil
			}
		})},
		{name: "absent attributes are reset", finds: "absent attributes", apply: edited(func(op *schemas.Operation) {
			if op.Kind == schemas.OperationUpdate && op.After["description"] == nil {
				op.After = map[string]any{"description": ""}
			}
		})},
		{name: "names are folded", finds: "names", apply: edited(func(op *schemas.Operation) { op.Connection.SourceName = strings.ToLower(op.Connection.SourceName) })},
		{name: "names are cut", finds: "names", apply: edited(func(op *schemas.Operation) {
			op.Connection.SourceName = op.Connection.SourceName[:min(len(op.Connection.SourceName), 63)]
		})},
		{name: "dependents go on", finds: "dependents", apply: edited(func(op *schemas.Operation) { op.DependsOn = nil })},
		{name: "a revocation twice is an error", finds: "grant and revoke", apply: func(ctx context.Context, w connectors.Writer, ops []schemas.Operation, report func(connectors.Outcome)) error {
			before, err := w.Read(ctx, schemas.Selection{})
			if err != nil {
				return err
			}
			return reported(func(op schemas.Operation, o *connectors.Outcome) {
				if op.Kind == schemas.OperationRevoke && o.Err == nil && !hasEdge(before, op) {
					o.Err = &connectors.Error{Code: connectors.NotFound, Message: "nothing to revoke"}
				}
			})(ctx, w, ops, report)
		}},
		{name: "a grant twice is an error", finds: "grant and revoke", apply: func(ctx context.Context, w connectors.Writer, ops []schemas.Operation, report func(connectors.Outcome)) error {
			before, err := w.Read(ctx, schemas.Selection{})
			if err != nil {
				return err
			}
			return reported(func(op schemas.Operation, o *connectors.Outcome) {
				if op.Kind == schemas.OperationGrant && hasEdge(before, op) {
					o.Err = &connectors.Error{Code: connectors.Conflict, Message: "granted already"}
				}
			})(ctx, w, ops, report)
		}},
		{name: "one failure stops the rest", finds: "bad input", apply: func(ctx context.Context, w connectors.Writer, ops []schemas.Operation, report func(connectors.Outcome)) error {
			for i := range ops {
				var failed error
				if err := w.Apply(ctx, ops[i:i+1], func(o connectors.Outcome) { failed = o.Err; report(o) }); err != nil {
					return err
				}
				if failed != nil {
					for _, op := range ops[i+1:] {
						report(connectors.Outcome{Operation: op.ID, Err: &connectors.Error{Code: connectors.Blocked, Message: "stopped"}})
					}
					return nil
				}
			}
			return nil
		}},
		{name: "errors have no code", finds: "bad input", apply: reported(func(_ schemas.Operation, o *connectors.Outcome) {
			if o.Err != nil {
				o.Err = errors.New("it went wrong")
			}
		})},
		{name: "a wrong code", finds: "bad input", apply: reported(func(_ schemas.Operation, o *connectors.Outcome) {
			if connectors.CodeOf(o.Err) == connectors.NotFound {
				o.Err = &connectors.Error{Code: connectors.Invalid, Message: "it is not there"}
			}
		})},
		{name: "a bad operation is swallowed", finds: "bad input", apply: reported(func(_ schemas.Operation, o *connectors.Outcome) { o.Err = nil })},
		{name: "applied, and rolled back when stopped", finds: "cancellation", apply: func(ctx context.Context, w connectors.Writer, ops []schemas.Operation, report func(connectors.Outcome)) error {
			for i := range ops {
				if err := w.Apply(ctx, ops[i:i+1], report); err != nil {
					return err
				}
				if ctx.Err() != nil { // takes back what was reported
					undo := ops[i]
					undo.Kind = schemas.OperationDelete
					return errors.Join(ctx.Err(), w.Apply(context.WithoutCancel(ctx), []schemas.Operation{undo}, func(connectors.Outcome) {}))
				}
			}
			return nil
		}},
		{name: "stops halfway and says nothing", finds: "cancellation", apply: func(ctx context.Context, w connectors.Writer, ops []schemas.Operation, report func(connectors.Outcome)) error {
			for i := range ops {
				if ctx.Err() != nil {
					return nil
				}
				if err := w.Apply(ctx, ops[i:i+1], report); err != nil {
					return err
				}
			}
			return nil
		}},
		{name: "goes on after the end", finds: "cancellation", apply: func(ctx context.Context, w connectors.Writer, ops []schemas.Operation, report func(connectors.Outcome)) error {
			return w.Apply(context.WithoutCancel(ctx), ops, report)
		}},
		{name: "a revocation takes another with it", finds: "foreign entries", apply: func(ctx context.Context, w connectors.Writer, ops []schemas.Operation, report func(connectors.Outcome)) error {
			s, err := w.Read(ctx, schemas.Selection{})
			if err != nil {
				return err
			}
			var more []schemas.Operation
			for _, op := range ops {
				for _, c := range s.Connections {
					if op.Kind == schemas.OperationRevoke && c.Name == op.Connection && len(c.Entitlements) > 0 {
						other := op
						other.ID, other.Target, other.Privilege = "silent", &c.Entitlements[0].Target, c.Entitlements[0].Privilege
						if g := c.Entitlements[len(c.Entitlements)-1]; other.Target == op.Target {
							other.Target, other.Privilege = &g.Target, g.Privilege
						}
						more = append(more, other)
					}
				}
			}
			if err := w.Apply(ctx, ops, report); err != nil {
				return err
			}
			return w.Apply(ctx, more, func(connectors.Outcome) {})
		}},
		{name: "an outcome is missing", finds: "create", apply: func(ctx context.Context, w connectors.Writer, ops []schemas.Operation, report func(connectors.Outcome)) error {
			n := 0
			return w.Apply(ctx, ops, func(o connectors.Outcome) {
				if n++; n < len(ops) {
					report(o)
				}
			})
		}},
		{name: "an update turns over each time", finds: "update", apply: func(ctx context.Context, w connectors.Writer, ops []schemas.Operation, report func(connectors.Outcome)) error {
			s, err := w.Read(ctx, schemas.Selection{})
			if err != nil {
				return err
			}
			return edited(func(op *schemas.Operation) {
				for _, c := range s.Connections {
					if op.Kind == schemas.OperationUpdate && c.Name == op.Connection && op.After["critical"] != nil {
						op.After = map[string]any{"critical": c.Payload["critical"] != true}
					}
				}
			})(ctx, w, ops, report)
		}},
		{name: "a deletion leaves what has entitlements", finds: "delete", apply: func(ctx context.Context, w connectors.Writer, ops []schemas.Operation, report func(connectors.Outcome)) error {
			s, err := w.Read(ctx, schemas.Selection{})
			if err != nil {
				return err
			}
			return edited(func(op *schemas.Operation) {
				for _, c := range s.Connections {
					if op.Kind == schemas.OperationDelete && c.Name == op.Connection && len(c.Entitlements) > 0 {
						op.Kind, op.After = schemas.OperationUpdate, nil
					}
				}
			})(ctx, w, ops, report)
		}},
		{name: "a creation twice is an error", finds: "create", apply: func(ctx context.Context, w connectors.Writer, ops []schemas.Operation, report func(connectors.Outcome)) error {
			s, err := w.Read(ctx, schemas.Selection{})
			if err != nil {
				return err
			}
			return reported(func(op schemas.Operation, o *connectors.Outcome) {
				if op.Kind == schemas.OperationCreate && slices.ContainsFunc(s.Connections, func(c schemas.Connection) bool { return c.Name == op.Connection }) {
					o.Err = &connectors.Error{Code: connectors.Conflict, Message: "it is there already"}
				}
			})(ctx, w, ops, report)
		}},
		{name: "a batch is cut at 1,000", finds: "many", apply: func(ctx context.Context, w connectors.Writer, ops []schemas.Operation, report func(connectors.Outcome)) error {
			if err := w.Apply(ctx, ops[:min(len(ops), 1_000)], report); err != nil {
				return err
			}
			for _, op := range ops[min(len(ops), 1_000):] {
				report(connectors.Outcome{Operation: op.ID, Attempts: 1, Started: time.Now(), Finished: time.Now()})
			}
			return nil
		}},
		{name: "one who left stops the others", finds: "removed identity", apply: func(ctx context.Context, w connectors.Writer, ops []schemas.Operation, report func(connectors.Outcome)) error {
			stop := false
			return reported(func(_ schemas.Operation, o *connectors.Outcome) {
				if stop && o.Err == nil {
					o.Err = &connectors.Error{Code: connectors.Blocked, Message: "stopped"}
				}
				stop = stop || o.Err != nil
			})(ctx, w, ops, report)
		}},
		{name: "a member lost with the inner connection", finds: "transitions", apply: func(ctx context.Context, w connectors.Writer, ops []schemas.Operation, report func(connectors.Outcome)) error {
			if err := w.Apply(ctx, ops, report); err != nil {
				return err
			}
			s, err := w.Read(ctx, schemas.Selection{})
			if err != nil {
				return err
			}
			for _, op := range ops {
				for _, c := range s.Connections {
					if op.Kind == schemas.OperationDelete && c.SourceName == "foreign" && len(c.Entitlements) > 0 {
						return w.Apply(ctx, []schemas.Operation{revoke(c.Name, c.Entitlements[0].Target, c.Entitlements[0].Privilege)}, func(connectors.Outcome) {})
					}
				}
			}
			return nil
		}},
		{name: "no lock, and what was read before is written", finds: "two writers", lockless: true},
		{name: "a secret in an error", finds: "open", open: func(err error) error {
			return &connectors.Error{Code: connectors.CodeOf(err), Message: "cannot use " + connectortest.Canary}
		}},
		{name: "closing twice is an error", finds: "closed", closed: true},
	}
}

// TestSuiteFindsFaults runs the suite on connectors with a fault each, and wants it to fail where the fault is.
func TestSuiteFindsFaults(t *testing.T) {
	t.Parallel()
	for _, f := range flaws() {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			h := harness()
			h.Connector = f
			only := func(name string) bool { return name == f.finds }
			rep := suite.Runner{Now: time.Now, Match: only}.Run(t.Context(), func(c *suite.Case) { suite.Run(c, h) })
			if rep.Failed == 0 {
				t.Errorf("the case %q did not fail: %+v", f.finds, rep.Cases)
			}
			for _, c := range rep.Cases {
				if strings.Contains(strings.Join(c.Log, "\n"), "panic") {
					t.Errorf("the suite does not bear the fault: %s: %v", c.Name, c.Log)
				}
			}
		})
	}
}

func (f flawed) Describe() schemas.Description {
	d := casbin.New().Describe()
	if f.describe != nil {
		f.describe(&d)
	}
	return d
}

func (f flawed) OpenReader(ctx context.Context, cfg connectors.Config) (connectors.Reader, error) {
	return f.OpenWriter(ctx, cfg)
}

func (f flawed) OpenWriter(ctx context.Context, cfg connectors.Config) (connectors.Writer, error) {
	w, err := casbin.New().OpenWriter(ctx, cfg)
	if err != nil {
		if f.open != nil {
			err = f.open(err)
		}
		return nil, err
	}
	return &flawedWriter{Writer: w, f: f, cfg: cfg}, nil
}

type flawedWriter struct {
	connectors.Writer
	f      flawed
	cfg    connectors.Config
	closed int
}

func (w *flawedWriter) Close() error {
	if w.closed++; w.f.closed && w.closed > 1 {
		return errors.New("closed already")
	}
	return w.Writer.Close()
}

func (w *flawedWriter) Read(ctx context.Context, sel schemas.Selection) (schemas.State, error) {
	if w.f.selection != nil {
		sel = w.f.selection(sel)
	}
	s, err := w.Writer.Read(ctx, sel)
	if w.f.read != nil {
		w.f.read(sel, &s, &err)
	}
	return s, err
}

func (w *flawedWriter) List(ctx context.Context, q connectors.Query) (connectors.Page, error) {
	if w.f.query != nil {
		w.f.query(&q)
	}
	p, err := w.Writer.List(ctx, q)
	if w.f.list != nil {
		w.f.list(q, &p, &err)
	}
	return p, err
}

func (w *flawedWriter) Normalize(s schemas.State) (schemas.State, error) {
	out, err := w.Writer.Normalize(s)
	if w.f.normalize != nil {
		w.f.normalize(s, &out, &err)
	}
	return out, err
}

func (w *flawedWriter) Apply(ctx context.Context, ops []schemas.Operation, report func(connectors.Outcome)) error {
	if w.f.lockless {
		return w.copied(ctx, ops, report)
	}
	if w.f.apply != nil {
		return w.f.apply(ctx, w.Writer, ops, report)
	}
	return w.Writer.Apply(ctx, ops, report)
}

// copied applies operations to a copy of the file and puts that in the file's place.
func (w *flawedWriter) copied(ctx context.Context, ops []schemas.Operation, report func(connectors.Outcome)) error {
	path := w.cfg.Values["policy"].(string)
	dir, err := os.MkdirTemp(filepath.Dir(path), "copy-*")
	if err != nil {
		return err
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	cfg := w.cfg
	cfg.Values = map[string]any{"policy": filepath.Join(dir, "policy.csv")}
	if err := os.WriteFile(filepath.Join(dir, "policy.csv"), content, 0o600); err != nil {
		return err
	}
	inner, err := casbin.New().OpenWriter(ctx, cfg)
	if err != nil {
		return err
	}
	if err := inner.Apply(ctx, ops, report); err != nil {
		return err
	}
	return errors.Join(inner.Close(), os.Rename(filepath.Join(dir, "policy.csv"), path))
}
