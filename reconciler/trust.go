package reconciler

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/reconciler/history/order"
	"github.com/countersign/countersign/reconciler/signoff"
	"github.com/countersign/countersign/schemas"
)

// trust is what a change is judged by: settings, applications, people and policy as they stand admitted
// before it. Nothing of it ever comes from the change itself.
type trust struct {
	digest       string
	settings     *schemas.Settings
	applications map[string]*schemas.Application
	policy       map[string]*schemas.PolicyApplication // the applications as policy sees them
	people       *schemas.PeopleSpec
	directory    *signoff.Directory
	forge        signoff.Forge
	engine       *policy.Engine
}

// trustCache keeps the last trust: most changes are judged by the same.
type trustCache struct{ last *trust }

// Close ends what a trust holds open.
func (c *trustCache) close() error {
	if c.last == nil || c.last.engine == nil {
		return nil
	}
	err := c.last.engine.Close()
	c.last = nil
	return err
}

// Close ends the policy engine's child process.
func (r *Reconciler) Close() error { return r.cache.close() }

// trust reads the control configuration that stands in the layer.
func (r *Reconciler) trust(ctx context.Context, l *order.Layer) (*trust, error) {
	files, err := l.Files(ctx)
	if err != nil {
		return nil, err
	}
	h := sha256.New()
	for _, f := range files {
		if f.Admitted != "" {
			fmt.Fprintf(h, "%s %s\n", f.Admitted, f.Path)
		}
	}
	digest := hex.EncodeToString(h.Sum(nil))
	if t := r.cache.last; t != nil && t.digest == digest {
		return t, nil
	}
	t := &trust{digest: digest, applications: map[string]*schemas.Application{}, policy: map[string]*schemas.PolicyApplication{}, people: &schemas.PeopleSpec{}}
	modules := map[string][]byte{}
	var data map[string]any
	var signers []byte
	for _, f := range files {
		if f.Admitted == "" {
			continue
		}
		content, err := r.c.Repository.Blob(f.Admitted, schemas.MaxFileBytes)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", f.Path, err)
		}
		switch schemas.FileClass(f.Class) {
		case schemas.ClassPolicy:
			if strings.HasSuffix(f.Path, ".rego") {
				modules[f.Path] = content
				continue
			}
			if data != nil {
				return nil, fmt.Errorf("%s: there are two data files in the policy folder; keep one", f.Path)
			}
			if data, err = policy.ParseData(f.Path, content); err != nil {
				return nil, err
			}
			continue
		case schemas.ClassSigners:
			signers = content
			continue
		}
		docs, errs := schemas.Decode(f.Path, content)
		if err := errs.Err(); err != nil {
			return nil, fmt.Errorf("what was admitted does not decode with this version: %w", err)
		}
		for _, d := range docs {
			switch v := d.Value.(type) {
			case *schemas.Settings:
				t.settings = v
			case *schemas.Application:
				t.applications[v.Name], t.policy[v.Name] = v, policyApplication(v)
			case *schemas.People:
				t.people = &v.Spec
			}
		}
	}
	if t.settings == nil {
		return nil, ErrNoAnchor
	}
	if t.directory, err = signoff.NewDirectory(*t.people); err != nil {
		return nil, fmt.Errorf("%s: %w", schemas.PeoplePath, err)
	}
	if t.forge, err = r.forge(t, signers); err != nil {
		return nil, err
	}
	if t.engine, err = policy.New(policy.Config{Modules: modules, Data: data, Isolate: r.c.Isolate, Logger: r.c.Logger}); err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	err = r.cache.close()
	r.cache.last = t
	return t, err
}

func (r *Reconciler) forge(t *trust, signers []byte) (signoff.Forge, error) {
	s := t.settings.Spec
	switch s.Forge.Kind {
	case "local":
		if s.Signoff != "unauthenticated" && s.AllowedSigners == "" {
			return nil, fmt.Errorf("%s: the local forge needs allowed_signers, the file with the SSH keys whose signature is a sign-off "+
				"(or signoff: unauthenticated, which takes trailers at their word)", schemas.SettingsPath)
		}
		return signoff.NewLocal(signoff.LocalConfig{
			Unauthenticated: s.Signoff == "unauthenticated", AllowedSigners: signers, AllowedSignersPath: s.AllowedSigners,
		})
	}
	return nil, fmt.Errorf("%s: forge kind %s is not served by this version; use local", schemas.SettingsPath, s.Forge.Kind)
}

// describe returns the static description of an application's connector.
func (r *Reconciler) describe(app *schemas.Application) (connectors.Description, error) {
	if d, ok := r.described[app.Spec.Connector]; ok {
		return d, nil
	}
	c, ok := r.c.Connectors.Get(app.Spec.Connector)
	if !ok {
		return connectors.Description{}, fmt.Errorf("application %s: there is no connector %q (there are %s)",
			app.Name, app.Spec.Connector, strings.Join(r.c.Connectors.Names(), ", "))
	}
	d := c.Describe()
	r.described[app.Spec.Connector] = d
	return d, nil
}

func (t *trust) names() []string {
	var names []string
	for n := range t.applications {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

func policyApplication(a *schemas.Application) *schemas.PolicyApplication {
	s := a.Spec
	return &schemas.PolicyApplication{
		Name: a.Name, Connector: s.Connector, Owners: s.Owners, Scope: s.Scope, Grantable: s.Grantable, Privileged: s.Privileged,
		Provisioning: s.Provisioning, Mode: s.Mode, Unmanaged: s.Unmanaged, DriftMode: s.Drift.Mode,
	}
}
