package validate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/reconciler/signoff"
	"github.com/countersign/countersign/reconciler/soundness"
	"github.com/countersign/countersign/schemas"
)

// rules are the policy folder's files beside the documents that they are about.
type rules struct {
	modules     map[string][]byte
	data        map[string]any
	dataPath    string
	dataContent []byte
	settings    *schemas.SettingsSpec
	documents   []schemas.Document
	registry    connectors.Registry
}

// check returns the faults of the rules, and of what the configuration asks of people.
func (r *rules) check(ctx context.Context) (_ schemas.ErrorList, err error) {
	engine, err := policy.New(policy.Config{Modules: r.modules, Data: r.data})
	var compile *policy.CompileError
	var list schemas.ErrorList
	switch {
	case errors.As(err, &compile):
		list = policy.Locate(compile.Errors, r.dataPath, r.dataContent)
	case err != nil:
		return nil, err
	default:
		defer func() { err = errors.Join(err, engine.Close()) }()
	}
	c := soundness.Configuration{Settings: r.settings, People: &schemas.PeopleSpec{}, Applications: map[string]*schemas.Application{}, Types: r.types,
		Engine: engine, Data: r.data, DataPath: r.dataPath, DataContent: r.dataContent}
	for _, d := range r.documents {
		schemas.VisitContent(d.Value, nil, func(v *schemas.Application) { c.Applications[v.Name] = v },
			func(*schemas.Settings) { c.At = d.At }, func(v *schemas.People) { c.People = &v.Spec }, nil)
	}
	if c.At == nil {
		return list, nil // without settings, it is unknown who is asked
	}
	if c.Directory, _ = signoff.NewDirectory(*c.People); c.Directory == nil {
		return list, nil // reported beside the people
	}
	more, err := c.Check(ctx)
	if errors.Is(err, policy.ErrTimeout) {
		more, err = append(more, schemas.Error{Position: schemas.Position{Path: r.settings.Folders.WithDefaults().Policy}, Msg: "on a sample: " + err.Error(), Hint: "make the rule cheaper"}), nil
	}
	return append(list, more...), err
}

// types returns the types of connections of an application; false if its connector or configuration is not valid.
func (r *rules) types(name string) ([]string, bool) {
	for _, d := range r.documents {
		if v, ok := d.Value.(*schemas.Application); ok && v.Name == name {
			desc, ok := describe(r.registry, v)
			return typeNames(desc), ok
		}
	}
	return nil, false
}

// describe returns the description of an application by its configuration; false if that is not valid.
func describe(registry connectors.Registry, v *schemas.Application) (schemas.Description, bool) {
	c, ok := registry.Get(v.Spec.Connector)
	if !ok {
		return schemas.Description{}, false
	}
	if own, is := c.(connectors.Configured); is {
		desc, err := own.DescribeConfig(v.Spec.Config)
		return desc, err == nil
	}
	return c.Describe(), true
}

// oneOwner refuses what needs two owners in an application that has one: nobody could ever sign it off. all are the
// repository's documents.
func oneOwner(d schemas.Document, v *schemas.Application, all []schemas.Document, desc schemas.Description) schemas.ErrorList {
	people := schemas.PeopleSpec{}
	for _, o := range all {
		if p, ok := o.Value.(*schemas.People); ok {
			people = p.Spec
		}
	}
	directory, err := signoff.NewDirectory(people)
	if err != nil {
		return nil // reported beside the people
	}
	var owners []string
	for _, o := range v.Spec.Owners {
		if team, ok := strings.CutPrefix(o, "team:"); ok && people.Teams[team] == nil {
			return nil // the forge knows who is in it
		}
		owners = append(owners, directory.Eligible(o)...)
	}
	slices.Sort(owners)
	if owners = slices.Compact(owners); len(owners) > 1 {
		return nil
	}
	fix := fmt.Sprintf("add a second owner to application %s, or a team of several people", v.Name)
	var list schemas.ErrorList
	if len(v.Spec.Privileged) > 0 {
		list = append(list, schemas.Error{Position: d.At("spec.owners"), Field: "spec.owners", Msg: "a privileged change needs the sign-off of two owners, and this lists only one person", Hint: fix})
	}
	for _, r := range all {
		req, ok := r.Value.(*schemas.Request)
		if !ok || req.Application != v.Name {
			continue
		}
		typ, _ := desc.Type(req.Connection.Type)
		for i := range req.Grants {
			if privilegedEntry(v, typ, req, &req.Grants[i]) {
				field := fmt.Sprintf("spec.grants[%d]", i)
				list = append(list, schemas.Error{Position: r.At(field), Field: field, Msg: fmt.Sprintf("is privileged and needs the sign-off of two owners, and %s has only one", v.Name), Hint: fix})
			}
		}
	}
	return list
}

// privilegedEntry reports whether a grant is privileged by the lists of the connector or the application.
func privilegedEntry(app *schemas.Application, typ schemas.ConnectionType, req *schemas.Request, g *schemas.Entry) bool {
	target, _ := typ.Target(g.Type)
	privileges := g.Privileges
	if len(privileges) == 0 {
		privileges = target.Default
	}
	if len(privileges) == 0 {
		privileges = []string{schemas.PrivilegeMember}
	}
	return slices.ContainsFunc(privileges, func(p string) bool {
		return plan.PrivilegedGrant(app, typ, target, req.Connection.Name(), g.Name(), p)
	})
}
