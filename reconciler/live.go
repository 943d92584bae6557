package reconciler

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/reconciler/index"
	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/schemas"
)

// configure resolves the secrets of an application's config, for applying or for reading only.
func (r *Reconciler) configure(app *schemas.Application, applying bool) (connectors.Connector, connectors.Config, error) {
	c, ok := r.c.Connectors.Get(app.Spec.Connector)
	if !ok {
		return nil, connectors.Config{}, fmt.Errorf("application %s: %s", app.Name, noConnector(r.c.Connectors, app.Spec.Connector))
	}
	values, err := ResolveSecrets(app.Spec.Config, applying)
	if err != nil {
		return nil, connectors.Config{}, fmt.Errorf("application %s: %w", app.Name, err)
	}
	return c, connectors.Config{Application: app.Name, Values: values, Directory: r.c.Repository.WorkTree(), Now: r.c.Now, Logger: r.c.Logger}, nil
}

// noConnector says that a connector is not there, and who can mend it: no file in Git can.
func noConnector(registry connectors.Registry, name string) string {
	return fmt.Sprintf("there is no connector %q (there are %s); where a program of its own is the connector, whoever runs countersign names it: --exec %s=/path/to/program",
		name, strings.Join(registry.Names(), ", "), name)
}

// ResolveSecrets replaces {env: NAME} and {file: /path} by the secrets that they name. The errors name the
// reference, never what it holds. Who only reads need not hold the credential for applying: without applying, all
// settings that begin with connectors.ApplyPrefix are left out where one of their secrets is not there.
func ResolveSecrets(config map[string]any, applying bool) (map[string]any, error) {
	if !applying {
		isApply := func(k string, _ any) bool { return strings.HasPrefix(k, connectors.ApplyPrefix) }
		own := maps.Clone(config)
		maps.DeleteFunc(own, func(k string, v any) bool { return !isApply(k, v) })
		if _, err := resolve(own); err != nil {
			config = maps.Clone(config)
			maps.DeleteFunc(config, isApply)
		}
	}
	return resolve(config)
}

func resolve(config map[string]any) (map[string]any, error) {
	out := make(map[string]any, len(config))
	for _, k := range slices.Sorted(maps.Keys(config)) {
		switch v := config[k].(type) {
		case map[string]any:
			secret, isRef, err := secretOf(v)
			if err != nil {
				return nil, fmt.Errorf("config.%s: %w", k, err)
			}
			if isRef {
				out[k] = secret
				continue
			}
			nested, err := resolve(v)
			if err != nil {
				return nil, fmt.Errorf("config.%s: %w", k, err)
			}
			out[k] = nested
		default:
			out[k] = v
		}
	}
	return out, nil
}

func secretOf(v map[string]any) (connectors.Secret, bool, error) {
	if len(v) != 1 {
		return connectors.Secret{}, false, nil
	}
	if name, ok := v["env"].(string); ok {
		value, set := os.LookupEnv(name)
		if !set || value == "" {
			return connectors.Secret{}, true, fmt.Errorf("the environment variable %s is not set; export it where countersign runs", name)
		}
		return connectors.NewSecret(value), true, nil
	}
	if name, ok := v["file"].(string); ok {
		b, err := os.ReadFile(filepath.Clean(name))
		if err != nil {
			return connectors.Secret{}, true, fmt.Errorf("read the secret: %w", err)
		}
		return connectors.NewSecret(strings.TrimRight(string(b), "\r\n")), true, nil
	}
	return connectors.Secret{}, false, nil
}

// live is one application with what was read of it.
type live struct {
	app         *schemas.Application
	reader      connectors.Reader
	description connectors.Description
	state       connectors.State
	whole       connectors.State // what state was taken from, where it is a part
	// said is what was said to be done, for an application that nothing can read; nil for others.
	said *plan.Attested
}

// openLive connects for reading and describes the installation. Of one that nothing can read the ledger tells.
func (r *Reconciler) openLive(ctx context.Context, app *schemas.Application, l *ledger.Ledger) (*live, error) {
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
	lv := &live{app: app, reader: reader, description: desc}
	if desc.Attested {
		if err := lv.attest(ctx, l); err != nil {
			return nil, errors.Join(err, reader.Close())
		}
	}
	return lv, nil
}

// attest takes from the ledger what was said of an application that nothing can read.
func (l *live) attest(ctx context.Context, led *ledger.Ledger) error {
	l.said = &plan.Attested{}
	err := led.Attestations(ctx, l.app.Name, func(o *schemas.Operation, _ *schemas.FulfilmentRecord, at time.Time) { l.said.Add(o, at) })
	if err != nil {
		return fmt.Errorf("read what was said of %s: %w", l.app.Name, err)
	}
	return nil
}

// read reads what the scope covers and what the requests name.
func (l *live) read(ctx context.Context, desired *plan.Desired) error {
	if l.said != nil {
		return nil // the diff asks, with what is wanted
	}
	sel := connectors.Selection{Scope: l.app.Spec.Scope}
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

// diff plans, looks up the targets of the grants that are missing, and plans again with what is known of them.
func (l *live) diff(ctx context.Context, in plan.Input) (plan.Result, error) {
	if l.said != nil {
		l.state = l.said.State(in.Desired, in.Baseline)
		l.whole = l.state
	}
	in.Application, in.Description, in.Live, in.Normalize = l.app, l.description, l.state, l.reader.Normalize
	res := plan.Diff(in)
	if l.said != nil {
		res.Plan.Attested = true
		return res, nil // what exists, nobody can be asked
	}
	wanted := map[string]map[string]bool{}
	for i := range res.Plan.Operations {
		o := &res.Plan.Operations[i]
		if o.Kind != schemas.OperationGrant {
			continue
		}
		if wanted[o.Target.Type] == nil {
			wanted[o.Target.Type] = map[string]bool{}
		}
		wanted[o.Target.Type][o.Target.SourceName] = true
	}
	if len(wanted) == 0 {
		return res, nil
	}
	in.Targets = map[schemas.Name][]connectors.Item{}
	for _, typ := range slices.Sorted(maps.Keys(wanted)) {
		q := connectors.Query{Type: typ, Names: slices.Sorted(maps.Keys(wanted[typ]))}
		for {
			page, err := l.reader.List(ctx, q)
			if err != nil {
				return res, fmt.Errorf("look up what is granted in %s: %w", l.app.Name, err)
			}
			for _, i := range page.Items {
				in.Targets[i.Name] = append(in.Targets[i.Name], i)
			}
			if page.Next == "" {
				break
			}
			if page.Next == q.Cursor {
				return res, fmt.Errorf("look up what is granted in %s: the pages do not end", l.app.Name)
			}
			q.Cursor = page.Next
		}
	}
	return plan.Diff(in), nil
}

// baseline is what the ledger remembers of an application, by item.
func baseline(ctx context.Context, l *ledger.Ledger, app string) (func(string) (schemas.BaselineItem, bool), error) {
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

// quarantined are the files of the index that have no effect.
func quarantined(ctx context.Context, l *index.Layer) ([]schemas.QuarantinedFile, error) {
	files, err := l.QuarantinedFiles(ctx)
	if err != nil {
		return nil, err
	}
	out := []schemas.QuarantinedFile{}
	for _, f := range files {
		out = append(out, schemas.QuarantinedFile{Path: f.Path, Blob: f.Raw, Admitted: f.Admitted, Commit: f.Quarantine, Reasons: f.Reasons})
	}
	return out, nil
}
