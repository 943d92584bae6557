package judge

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/reconciler/index"
	"github.com/countersign/countersign/reconciler/signoff"
	"github.com/countersign/countersign/reconciler/soundness"
	"github.com/countersign/countersign/schemas"
	"github.com/countersign/countersign/schemas/strict"
)

// Trust is the configuration that a change is judged by: the settings, applications, people and policy admitted
// before it. None of it ever comes from the change itself.
type Trust struct {
	digest string
	// Settings, Applications (by name) and Directory are the admitted ones.
	Settings     *schemas.Settings
	Applications map[string]*schemas.Application
	Directory    *signoff.Directory
	// Duties are the sets of connections that policy keeps apart.
	Duties      []schemas.Duty
	policy      map[string]*schemas.PolicyApplication // the applications in the form of the policy input
	people      *schemas.PeopleSpec
	forge       signoff.Forge
	engine      *policy.Engine
	holdings    holdings
	data        map[string]any
	dataPath    string
	dataContent []byte
	// unread is why the forge's teams could not be read; nil where they were. Nothing is judged then, and what needs no
	// judgement goes on.
	unread error
}

// trustCache keeps the last Trust, because most consecutive changes are judged by the same one.
type trustCache struct{ last *Trust }

// close closes the policy engine of the cached Trust.
func (c *trustCache) close() error {
	if c.last == nil || c.last.engine == nil {
		return nil
	}
	err := c.last.engine.Close()
	c.last = nil
	return err
}

// readTrust reads the admitted configuration of the layer.
func (j *Judge) readTrust(ctx context.Context, l *index.Layer) (*Trust, error) {
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
	if t := j.cache.last; t != nil && t.digest == digest {
		return t, nil
	}
	t := &Trust{digest: digest, Applications: map[string]*schemas.Application{}, policy: map[string]*schemas.PolicyApplication{}, people: &schemas.PeopleSpec{}}
	modules := map[string][]byte{}
	var data map[string]any
	var signers []byte
	for _, f := range files {
		if f.Admitted == "" || f.Class == string(schemas.ClassAutomation) {
			continue
		}
		content, err := j.config.Repository.Blob(f.Admitted, int64(schemas.FileLimit(f.Path)))
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
				return nil, fmt.Errorf("%s: duplicate data file in the policy folder; keep one", f.Path)
			}
			if data, err = policy.ParseData(f.Path, content); err != nil {
				return nil, err
			}
			t.dataPath, t.dataContent = f.Path, content
			continue
		case schemas.ClassSigners:
			signers = content
			continue
		}
		docs, errs := strict.Decode(f.Path, content)
		if err := errs.Err(); err != nil {
			return nil, fmt.Errorf("this version cannot decode an admitted file: %w", err)
		}
		for _, d := range docs {
			schemas.VisitContent(d.Value, nil,
				func(v *schemas.Application) {
					t.Applications[v.Name], t.policy[v.Name] = v, policyApplication(v)
				},
				func(v *schemas.Settings) { t.Settings = v },
				func(v *schemas.People) { t.people = &v.Spec }, nil)
		}
	}
	if t.Settings == nil {
		return nil, ErrNoAnchor
	}
	if t.forge, err = j.forge(ctx, t, signers); err != nil {
		return nil, err
	}
	if err := t.directoryOf(ctx, modules, data); err != nil {
		return nil, err
	}
	if t.unread != nil {
		j.config.Logger.Warn("the forge's teams could not be read: nothing is judged until they are", "error", t.unread)
	}
	t.holdings, t.Duties, t.data = holdingsOf(modules, data), dutiesOf(data), data
	if t.engine, err = policy.New(policy.Config{Modules: modules, Data: data, Admitted: !j.strict, Isolate: j.config.Isolate, Logger: j.config.Logger}); err != nil {
		var compile *policy.CompileError
		if errors.As(err, &compile) {
			compile.Errors = policy.Locate(compile.Errors, t.dataPath, t.dataContent)
		}
		return nil, fmt.Errorf("policy: %w", err)
	}
	err = j.cache.close()
	j.cache.last = t
	return t, err
}

// check returns what keeps the configuration from judging changes. A passing fault of the rules' evaluation is none.
func (j *Judge) check(ctx context.Context, t *Trust) (schemas.ErrorList, error) {
	c := soundness.Configuration{Settings: &t.Settings.Spec, People: t.people, Directory: t.Directory, Applications: t.Applications,
		Types: func(name string) ([]string, bool) {
			desc, err := j.Describe(t.Applications[name])
			return connectionTypes(desc), err == nil
		}, Engine: t.engine, Data: t.data, DataPath: t.dataPath, DataContent: t.dataContent}
	list, err := c.Check(ctx)
	if passing(err) {
		err = nil
	}
	return list, err
}

// Unread is why it can't be told who is in which team; nil where it can.
func (t *Trust) Unread() error { return t.unread }

// team matches the name of a team in policies, settings and applications.
var team = regexp.MustCompile(`\bteam:([A-Za-z0-9._-]+/[A-Za-z0-9._-]+)`)

// directoryOf builds the directory from people.yaml and the forge's teams, which take precedence. It asks the forge
// only for teams that the configuration names.
func (t *Trust) directoryOf(ctx context.Context, modules map[string][]byte, data map[string]any) error {
	people := *t.people
	if forge, ok := t.forge.(signoff.Teams); ok {
		var text strings.Builder
		for _, owners := range [][]string{t.Settings.Spec.Owners, t.owners()} {
			fmt.Fprintln(&text, owners)
		}
		for _, m := range modules {
			fmt.Fprintf(&text, "%s\n", m)
		}
		fmt.Fprintf(&text, "%q", data)
		names := []string{}
		for _, m := range team.FindAllStringSubmatch(text.String(), -1) {
			names = append(names, m[1])
		}
		slices.Sort(names)
		teams, err := forge.Teams(ctx, slices.Compact(names))
		if err != nil {
			t.unread, teams = fmt.Errorf("read the teams: %w", err), map[string][]string{}
			for _, name := range names {
				teams[name] = []string{}
			}
		}
		people.Teams = maps.Clone(people.Teams)
		if people.Teams == nil {
			people.Teams = map[string][]string{}
		}
		maps.Copy(people.Teams, teams)
	}
	var err error
	if t.Directory, err = signoff.NewDirectory(people); err != nil {
		return fmt.Errorf("%s: %w", schemas.PeoplePath, err)
	}
	return nil
}

// owners returns the owners of all applications, and the people who may close their tickets.
func (t *Trust) owners() []string {
	var out []string
	for _, name := range t.Names() {
		spec := &t.Applications[name].Spec
		out = append(out, spec.Owners...)
		out = append(out, spec.Ticket("").Closers...)
	}
	return out
}

func (j *Judge) forge(ctx context.Context, t *Trust, signers []byte) (signoff.Forge, error) {
	s := t.Settings.Spec
	switch s.Forge.Kind {
	case "local":
		if s.Signoff != "unauthenticated" && s.AllowedSigners == "" {
			return nil, fmt.Errorf("%s: the local forge requires allowed_signers, a file of the SSH keys whose signatures count as sign-offs "+
				"(or signoff: unauthenticated, which trusts trailers without proof)", schemas.SettingsPath)
		}
		return signoff.NewLocal(signoff.LocalConfig{
			Unauthenticated: s.Signoff == "unauthenticated", AllowedSigners: signers, AllowedSignersPath: s.AllowedSigners,
		})
	}
	if j.config.Forge == nil {
		return nil, fmt.Errorf("%s: forge kind %s is not supported here; use local", schemas.SettingsPath, s.Forge.Kind)
	}
	return j.config.Forge(ctx, s)
}

// Describe returns the description of an application by its connector and configuration, without opening it. It is safe
// for concurrent use.
func (j *Judge) Describe(app *schemas.Application) (schemas.Description, error) {
	j.describing.Lock()
	defer j.describing.Unlock()
	if d, ok := j.described[app.Spec.Connector]; ok {
		return d, nil
	}
	if d, ok := j.configured[app]; ok {
		return d, nil
	}
	c, err := j.config.Connectors.Find(app.Spec.Connector)
	if err != nil {
		return schemas.Description{}, fmt.Errorf("application %s: %w", app.Name, err)
	}
	if own, is := c.(connectors.Configured); is {
		d, err := own.DescribeConfig(app.Spec.Config)
		if err != nil {
			return d, fmt.Errorf("application %s: %w", app.Name, err)
		}
		if len(j.configured) >= maxConfigured {
			clear(j.configured)
		}
		j.configured[app] = d
		return d, nil
	}
	d := c.Describe()
	j.described[app.Spec.Connector] = d
	return d, nil
}

// maxConfigured limits the descriptions of applications that are kept.
const maxConfigured = 1024

// Names returns the names of the applications, sorted.
func (t *Trust) Names() []string {
	var names []string
	for n := range t.Applications {
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
