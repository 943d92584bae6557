package run

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/schemas"
)

// configure resolves the secrets of an application's config, for applying or for reading only.
func (r *Runner) configure(app *schemas.Application, applying bool) (connectors.Connector, connectors.Config, error) {
	c, err := r.config.Connectors.Find(app.Spec.Connector)
	if err != nil {
		return nil, connectors.Config{}, fmt.Errorf("application %s: %w", app.Name, err)
	}
	values, err := r.config.Secrets.Resolve(app.Spec.Config, applying)
	if err != nil {
		return nil, connectors.Config{}, fmt.Errorf("application %s: %w", app.Name, err)
	}
	return c, connectors.Config{Application: app.Name, Values: values, Directory: r.config.Directory, Now: r.config.Now, Logger: r.config.Logger}, nil
}

// liveApplication is one application and its state as read.
type liveApplication struct {
	app         *schemas.Application
	reader      connectors.Reader
	description schemas.Description
	state       schemas.State
	complete    schemas.State // where state is a part, the state that it was taken from
	// attested holds the operations reported as done, for an application that nothing can read; nil for others.
	attested *plan.Attested
}

// openLive connects for reading and describes the installation. For one that nothing can read, the ledger has the state.
func (r *Runner) openLive(ctx context.Context, app *schemas.Application, l *ledger.Ledger) (*liveApplication, error) {
	c, cfg, err := r.configure(app, false)
	if err != nil {
		return nil, err
	}
	reader, err := c.OpenReader(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("open %s for reading: %w", app.Name, err)
	}
	desc, err := reader.Describe(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("describe %s: %w", app.Name, err), reader.Close())
	}
	lv := &liveApplication{app: app, reader: reader, description: desc}
	if desc.Attested {
		if err := lv.attest(ctx, l); err != nil {
			return nil, errors.Join(err, reader.Close())
		}
	}
	return lv, nil
}

// attest takes from the ledger the answers about an application that nothing can read.
func (l *liveApplication) attest(ctx context.Context, led *ledger.Ledger) error {
	l.attested = &plan.Attested{}
	err := led.Attestations(ctx, l.app.Name, func(o *schemas.Operation, _ *schemas.FulfilmentRecord, at time.Time) { l.attested.Add(o, at) })
	if err != nil {
		return fmt.Errorf("read the answers about %s: %w", l.app.Name, err)
	}
	return nil
}

// read reads the connections that the scope covers or the requests name.
func (l *liveApplication) read(ctx context.Context, desired *plan.Desired) error {
	return l.readFrom(ctx, desired, false)
}

// readFrom is read; with reach also what decides who has access besides.
func (l *liveApplication) readFrom(ctx context.Context, desired *plan.Desired, reach bool) error {
	if l.attested != nil {
		return nil // the diff asks, with the desired state
	}
	sel := schemas.Selection{Scope: l.app.Spec.Scope, Reach: reach}
	for _, c := range desired.Connections {
		if !plan.InScope(l.app, c.Name) {
			sel.Names = append(sel.Names, c.Name)
		}
	}
	var err error
	if l.state, err = l.reader.Read(ctx, sel); err != nil {
		return fmt.Errorf("read %s: %w", l.app.Name, err)
	}
	return nil
}

// follow reads the connections that requests name and that have another name now, by the ids that were remembered, and
// returns their present names.
func (l *liveApplication) follow(ctx context.Context, desired *plan.Desired, remembered func(string) (schemas.BaselineItem, bool)) (map[schemas.Name]bool, error) {
	if l.attested != nil || !l.description.NativeIDs {
		return nil, nil
	}
	byID := map[schemas.Name]schemas.Name{} // type and id to name
	for i := range l.state.Connections {
		c := &l.state.Connections[i]
		byID[schemas.Name{Type: c.Type, SourceName: c.NativeID}] = c.Name
	}
	present := map[schemas.Name]bool{}
	lost := map[string][]string{}
	for _, c := range desired.Connections {
		id := plan.RememberedID(c, remembered)
		if id == "" {
			continue
		}
		if n, ok := byID[schemas.Name{Type: c.Type, SourceName: id}]; !ok {
			lost[c.Type] = append(lost[c.Type], id)
		} else if n != c.Name {
			present[n] = true
		}
	}
	if len(lost) == 0 {
		return present, nil
	}
	found, err := l.reader.Read(ctx, schemas.Selection{IDs: lost})
	if err != nil {
		return nil, fmt.Errorf("read %s by id: %w", l.app.Name, err)
	}
	for _, c := range found.Connections {
		if slices.Contains(lost[c.Type], c.NativeID) {
			l.state.Connections = append(l.state.Connections, c)
			present[c.Name] = true
		}
	}
	if l.state.Incomplete == "" {
		l.state.Incomplete = found.Incomplete
	}
	slices.SortStableFunc(l.state.Connections, func(a, b schemas.Connection) int { return a.Compare(b.Name) })
	return present, nil
}

// diff plans, looks up the targets of missing grants and of revokes that take nothing, and plans again with the answers.
func (l *liveApplication) diff(ctx context.Context, in plan.Input) (plan.Result, error) {
	if l.attested != nil {
		l.state = l.attested.State(in.Desired, in.Baseline)
		l.complete = l.state
	}
	in.Application, in.Description, in.Live, in.Normalize = l.app, l.description, l.state, l.reader.Normalize
	res := plan.Diff(in)
	if l.attested != nil {
		res.Plan.Attested = true
		return res, nil // nobody can be asked what exists
	}
	for {
		wanted := map[string]map[string]bool{}
		want := func(n schemas.Name) {
			if _, asked := in.Targets[n]; asked {
				return
			}
			if wanted[n.Type] == nil {
				wanted[n.Type] = map[string]bool{}
			}
			wanted[n.Type][n.SourceName] = true
		}
		for i := range res.Plan.Operations {
			o := &res.Plan.Operations[i]
			if o.Kind == schemas.OperationGrant {
				want(*o.Target)
			}
		}
		for _, n := range res.Lookups {
			want(n)
		}
		if len(wanted) == 0 {
			return res, nil
		}
		if in.Targets == nil {
			in.Targets = map[schemas.Name][]schemas.Item{}
		}
		if err := l.lookUp(ctx, wanted, in.Targets); err != nil {
			return res, err
		}
		res = plan.Diff(in)
	}
}

// lookUp asks what exists of the wanted names, by type, and adds it to what was found. Names that nothing has are there
// without items.
func (l *liveApplication) lookUp(ctx context.Context, wanted map[string]map[string]bool, found map[schemas.Name][]schemas.Item) error {
	for _, typ := range slices.Sorted(maps.Keys(wanted)) {
		q := connectors.Query{Type: typ, Names: slices.Sorted(maps.Keys(wanted[typ]))}
		for _, n := range q.Names {
			found[schemas.Name{Type: typ, SourceName: n}] = nil
		}
		for {
			page, err := l.reader.List(ctx, q)
			if err != nil {
				return fmt.Errorf("look up what is granted in %s: %w", l.app.Name, err)
			}
			for _, i := range page.Items {
				found[i.Name] = append(found[i.Name], i)
			}
			if page.Next == "" {
				break
			}
			if page.Next == q.Cursor {
				return fmt.Errorf("look up what is granted in %s: the pages do not end", l.app.Name)
			}
			q.Cursor = page.Next
		}
	}
	return nil
}

// Baseline returns what the ledger remembers of an application, by item.
func Baseline(ctx context.Context, l *ledger.Ledger, app string) (func(string) (schemas.BaselineItem, bool), error) {
	items := map[string]schemas.BaselineItem{}
	err := l.AllBaseline(ctx, app, func(i schemas.BaselineItem) error {
		items[i.Item] = i
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read what was verified of %s: %w", app, err)
	}
	return func(item string) (schemas.BaselineItem, bool) {
		i, ok := items[item]
		return i, ok
	}, nil
}

// idOf is the native id of what an operation made: of the created connection, or of the target of a grant. It is ""
// where the live state doesn't have it exactly once, and for operations that remove.
func (l *liveApplication) idOf(o *schemas.Operation) string {
	id, found := "", 0
	list := l.state.Connections // sorted by name
	first, _ := slices.BinarySearchFunc(list, o.Connection, func(c schemas.Connection, n schemas.Name) int { return c.Name.Compare(n) })
	for i := first; i < len(list) && list[i].Name == o.Connection; i++ {
		c := &list[i]
		switch o.Kind {
		case schemas.OperationCreate:
			id, found = c.NativeID, found+1
		case schemas.OperationGrant:
			for _, e := range c.Entitlements {
				if e.Target == *o.Target && e.Privilege == o.Privilege {
					id, found = e.TargetID, found+1
				}
			}
		}
	}
	if found != 1 {
		return ""
	}
	return id
}
