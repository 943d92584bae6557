package judge

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/reconciler/hold"
	"github.com/countersign/countersign/reconciler/index"
	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/reconciler/signoff"
	"github.com/countersign/countersign/schemas"
)

// checkConfiguration checks the applications, payloads, policy and people of the change against the connectors and
// against each other.
func (j *Judge) checkConfiguration(ctx context.Context, e *Examination) error {
	apps := maps.Clone(e.trust.Applications)
	refuse := func(list schemas.ErrorList) {
		for _, x := range list {
			e.Errors = append(e.Errors, FindingOf(x, "invalid"))
		}
	}
	configuration := false
	for _, f := range e.files {
		configuration = configuration || f.class != schemas.ClassRequest
		for _, d := range f.old {
			if a, ok := d.Value.(*schemas.Application); ok {
				delete(apps, a.Name)
			}
		}
	}
	for _, f := range e.files {
		for _, d := range f.new {
			// Requests come later, when all applications are known, and people with the trust that they are part of.
			schemas.VisitContent(d.Value, nil,
				func(v *schemas.Application) { j.checkApplication(e, f, d, v, apps, refuse) },
				func(v *schemas.Settings) { e.checkFolders(f, d, v) }, nil, nil)
		}
	}
	if err := j.checkRequests(ctx, e, apps, refuse); err != nil {
		return err
	}
	e.checkInsertions()
	e.After = apps
	if err := e.checkRemovedApplications(ctx); err != nil {
		return err
	}
	if configuration && len(e.Errors) == 0 {
		return j.checkTrust(ctx, e)
	}
	return nil
}

// checkFolders checks that the settings leave the folders as they are.
func (e *Examination) checkFolders(f *file, d schemas.Document, v *schemas.Settings) {
	if v.Spec.Folders == e.trust.Settings.Spec.Folders {
		return
	}
	e.Errors = append(e.Errors, schemas.Finding{Code: "folders", Severity: schemas.SeverityError, Position: d.At("spec.folders"), Document: schemas.DocumentID{Path: f.path},
		Message: "the folders cannot be changed: files in the old folders would silently lose their effect", Fix: "keep the folders, or start a new access repository"})
}

// checkApplication checks an application of the change against its connector, and puts it into apps.
func (j *Judge) checkApplication(e *Examination, f *file, d schemas.Document, v *schemas.Application, apps map[string]*schemas.Application, refuse func(schemas.ErrorList)) {
	desc, err := j.Describe(v)
	if c, ok := j.config.Connectors.Get(v.Spec.Connector); err != nil && ok {
		// The types come from the configuration, which is invalid. Checking it by its schema finds the places.
		list := j.checker.Config(d, c.Describe().Config)
		if len(list) == 0 {
			list = schemas.ErrorList{{Position: d.At("spec.config"), Field: "spec.config", Msg: err.Error(), Hint: "countersign schema " + v.Spec.Connector + " prints its schema"}}
		}
		refuse(list)
		if was := e.trust.Applications[v.Name]; was != nil {
			apps[v.Name] = was // it is invalid, not removed
		}
		return
	}
	if err != nil {
		e.Errors = append(e.Errors, schemas.Finding{Code: "invalid", Severity: schemas.SeverityError, Message: err.Error(), Position: d.At("spec.connector"),
			Document: schemas.DocumentID{Path: f.path, Index: d.Index}})
		return
	}
	apps[v.Name] = v
	refuse(j.checker.Config(d, desc.Config))
	if e.settled {
		// It took effect under an older version, and an unknown type does so still: it restricts nothing.
		refuse(scopeErrors(d, &v.Spec, desc))
		return
	}
	refuse(TypeErrors(d, &v.Spec, desc))
}

// checkRequests checks the requests of the change against the applications that they name.
func (j *Judge) checkRequests(ctx context.Context, e *Examination, apps map[string]*schemas.Application, refuse func(schemas.ErrorList)) error {
	missing, err := j.checkProvisioning(ctx, e, apps, refuse)
	if err != nil {
		return err
	}
	for _, f := range e.files {
		for _, d := range f.new {
			v, ok := d.Value.(*schemas.Request)
			if !ok {
				continue
			}
			app := apps[v.Application]
			if app == nil {
				e.Findings = append(e.Findings, schemas.Finding{Code: "no-application", Severity: schemas.SeverityError, Position: d.At("spec.application"),
					Document: schemas.DocumentID{Path: f.path, Index: d.Index, Blob: f.after},
					Message:  fmt.Sprintf("unknown application %q", v.Application), Fix: "the applications are " + strings.Join(slices.Sorted(maps.Keys(apps)), ", ")})
				continue
			}
			desc, err := j.Describe(app)
			if err != nil {
				return err
			}
			typ, ok := desc.Type(v.Connection.Type)
			if !ok {
				continue // the diff reports it, with the known types
			}
			if plan.Opens(v.Kind) {
				refuse(j.checker.Payload(d, typ.Payload))
			}
			refuse(hold.ProvisioningErrors(d, v.Provisioning, missing(app, desc)))
			e.checkNames(f, d, v, typ)
		}
	}
	return nil
}

// checkProvisioning refuses applications and settings under which operations could not be carried out, and returns a
// function that lists the ways of provisioning that an application lacks.
func (j *Judge) checkProvisioning(ctx context.Context, e *Examination, apps map[string]*schemas.Application, refuse func(schemas.ErrorList)) (func(*schemas.Application, schemas.Description) map[schemas.Provisioning]hold.Fault, error) {
	forge := e.trust.Settings.Spec.Forge.Kind
	var settings *schemas.Document
	for _, f := range e.files {
		for _, d := range f.new {
			if v, ok := d.Value.(*schemas.Settings); ok {
				forge, settings = v.Spec.Forge.Kind, &d
			}
		}
	}
	missing := func(app *schemas.Application, desc schemas.Description) map[schemas.Provisioning]hold.Fault {
		return hold.Unprovisionable(app, forge, desc)
	}
	changed := map[string]schemas.Document{}
	for _, f := range e.files {
		for _, d := range f.new {
			if v, ok := d.Value.(*schemas.Application); ok && apps[v.Name] == v {
				changed[v.Name] = d
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(apps)) {
		d, own := changed[name]
		if !own && settings == nil {
			continue
		}
		app := apps[name]
		desc, err := j.Describe(app)
		if err != nil {
			return nil, err
		}
		lacks := missing(app, desc)
		if own {
			refuse(hold.ProvisioningErrors(d, app.Spec.Provisioning, lacks))
		}
		docs, err := e.base.All(ctx, name)
		if err != nil {
			return nil, err
		}
		for _, doc := range docs {
			if doc.Current == nil || e.fileOf(doc.Place.Path) != nil {
				continue
			}
			p := doc.Current.Request.Provisioning
			if p == "" && !own {
				p = app.Spec.Provisioning
			}
			if f, bad := lacks[p]; bad {
				at, field := d, "spec.fulfilment"
				if !own {
					at, field = *settings, "spec.forge"
				}
				refuse(schemas.ErrorList{{Position: at.At(field), Field: field, Msg: fmt.Sprintf("existing requests such as %s are carried out by provisioning %s, and %s", doc.Place.Path, p, f.Why),
					Hint: f.Fix + ", or undo those requests first"}})
				break
			}
		}
	}
	return missing, nil
}

// checkNames checks a request's names by the application's rules.
func (e *Examination) checkNames(f *file, d schemas.Document, v *schemas.Request, typ schemas.ConnectionType) {
	bad := func(field string, err error) {
		if err != nil {
			e.Findings = append(e.Findings, schemas.Finding{Code: "name", Severity: schemas.SeverityError, Message: err.Error(), Position: d.At(field),
				Document: schemas.DocumentID{Path: f.path, Index: d.Index, Blob: f.after}})
		}
	}
	bad("spec.connection.source_name", typ.Names.Check(v.Connection.SourceName))
	for list, entries := range map[string][]schemas.Entry{"grants": v.Grants, "revokes": v.Revokes} {
		for i, g := range entries {
			if target, ok := typ.Target(g.Type); ok {
				bad(fmt.Sprintf("spec.%s[%d].source_name", list, i), target.Names.Check(g.SourceName))
			}
		}
	}
}

// checkInsertions refuses a document that is inserted before existing ones: it would renumber all documents after it.
func (e *Examination) checkInsertions() {
	for _, f := range e.files {
		for i, d := range f.new {
			for j, o := range f.old {
				if j < i && j < len(f.new) && reflect.DeepEqual(o.Value, d.Value) && !reflect.DeepEqual(f.new[j].Value, o.Value) {
					e.Errors = append(e.Errors, schemas.Finding{Code: "inserted", Severity: schemas.SeverityError, Position: d.Position, Document: schemas.DocumentID{Path: f.path, Index: i},
						Message: fmt.Sprintf("a document was inserted before this one, which was document %d of the file", j+1), Fix: "add new documents at the end, or in a separate file"})
					break
				}
			}
		}
	}
}

// checkRemovedApplications refuses to remove an application while its requests are in force.
func (e *Examination) checkRemovedApplications(ctx context.Context) error {
	for name, app := range e.trust.Applications {
		if _, still := e.After[name]; still {
			continue
		}
		docs, err := e.base.All(ctx, name)
		if err != nil {
			return err
		}
		for _, d := range docs {
			if d.Current != nil && !plan.Ends(d.Current.Request.Kind) {
				e.Errors = append(e.Errors, schemas.Finding{Code: "application-in-use", Severity: schemas.SeverityError, Position: app.Position,
					Document: schemas.DocumentID{Path: app.Position.Path},
					Message:  fmt.Sprintf("application %s is removed or renamed while it still has requests, such as %s", name, d.Place.Path), Fix: "first undo its requests by deleting their files, then remove the application"})
				break
			}
		}
	}
	return nil
}

// checkTrust checks that the configuration is still consistent after the change: a repository that could no longer
// judge anything would be stuck.
func (j *Judge) checkTrust(ctx context.Context, e *Examination) error {
	probe := e.base.Fork()
	for _, f := range e.files {
		if f.class == schemas.ClassRequest {
			continue
		}
		probe.SetFile(&index.File{Path: f.path, Class: string(f.class), Admitted: f.after, Raw: f.after})
	}
	// The forge that the change names is not contacted: it is not trusted yet, and a forge that is down today proves
	// nothing about the configuration.
	c := j.config
	c.Forge = func(context.Context, schemas.SettingsSpec) (signoff.Forge, error) { return unasked{}, nil }
	sub := New(c)
	sub.strict = !e.settled
	t, err := sub.readTrust(ctx, probe)
	if err == nil && !e.settled {
		var list schemas.ErrorList
		if list, err = sub.check(ctx, t); err == nil && len(list) > 0 {
			// The change is to blame for what it brings, not for what was so before.
			var before schemas.ErrorList
			before, err = j.check(ctx, e.trust)
			list = slices.DeleteFunc(list, func(x schemas.Error) bool {
				return slices.ContainsFunc(before, func(b schemas.Error) bool { return b.Field == x.Field && b.Msg == x.Msg })
			})
		}
		if err == nil {
			err = list.Err()
		}
	}
	if ctx.Err() != nil {
		return errors.Join(ctx.Err(), sub.Close())
	}
	if err != nil {
		e.configurationErrors(err)
	}
	return sub.Close()
}

// configurationErrors adds the faults of the configuration after the change, each at its place.
func (e *Examination) configurationErrors(err error) {
	at := schemas.Position{}
	for _, f := range e.files {
		if f.class != schemas.ClassRequest {
			at.Path = f.path
		}
	}
	code := "configuration"
	var compile *policy.CompileError
	if errors.As(err, &compile) {
		code = "policy"
	}
	var list schemas.ErrorList
	if !errors.As(err, &list) || len(list) == 0 {
		e.Errors = append(e.Errors, schemas.Finding{Code: code, Severity: schemas.SeverityError, Message: err.Error(), Position: at, Document: schemas.DocumentID{Path: at.Path}})
		return
	}
	for _, x := range list {
		if x.Path == "" {
			x.Position = at
		}
		e.Errors = append(e.Errors, FindingOf(x, code))
	}
}

// unasked is a forge that is never contacted.
type unasked struct{}

var errUnasked = errors.New("no forge was opened")

func (unasked) Evidence(context.Context, signoff.Change) (schemas.Evidence, error) {
	return schemas.Evidence{}, errUnasked
}

func (unasked) Pending(context.Context, signoff.Pending) (schemas.Evidence, error) {
	return schemas.Evidence{}, errUnasked
}
