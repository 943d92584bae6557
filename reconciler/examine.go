package reconciler

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/reconciler/history"
	"github.com/countersign/countersign/reconciler/history/order"
	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/reconciler/signoff"
	"github.com/countersign/countersign/schemas"
	"github.com/countersign/countersign/schemas/strict"
)

// regularFile is the only mode of a control file: no link, no executable, no submodule.
const regularFile = 0o100644

// file is one control file of a change: as it is admitted, and as the change leaves it.
type file struct {
	path   string
	class  schemas.FileClass
	was    *order.File // nil when the index has none
	before string      // the admitted blob, "" for none
	after  string      // "" for none
	old    []schemas.Document
	new    []schemas.Document
}

// examined is a change with what it means, judged against the layer it was examined on.
type examined struct {
	base, head *order.Layer
	trust      *trust
	sequence   int
	decoded    decodedFiles // what was decoded beforehand; nil for nothing
	files      []*file
	// restored are files whose content on the branch is again what holds.
	restored []*order.File
	// errors keep the change from being judged; findings make no sense of it but leave it judgeable.
	errors   []schemas.Finding
	findings []schemas.Finding
	// admits are quarantined files that an Admission of this change admits.
	admits  []schemas.FileChange
	digest  string
	changes map[string]plan.Change // by application
	// afterApplications are the applications as the change leaves them.
	afterApplications map[string]*schemas.Application
	desired           map[string][2]*plan.Desired
	affected          []string
	// left are the members that connections still have when they are deleted, by operation.
	left map[string]int
	// bearing is how many connections were folded.
	bearing int
}

// examination is a change to examine.
type examination struct {
	changes []history.Change
	decoded decodedFiles // what was decoded beforehand
	// sequence is that of the commit that would bring the change, now the instant that it is judged at.
	sequence int
	now      time.Time
	// known says that it was judged before: what it means for anybody's access is not asked again.
	known bool
}

// examine decodes the changed files and folds them over the base.
func (r *Reconciler) examine(ctx context.Context, base *order.Layer, t *trust, in examination) (*examined, error) {
	e := &examined{base: base, head: base.Fork(), trust: t, sequence: in.sequence, decoded: in.decoded,
		changes: map[string]plan.Change{}, desired: map[string][2]*plan.Desired{}, left: map[string]int{}}
	for _, c := range in.changes {
		if err := r.examineFile(ctx, e, c.Path, c.After); err != nil {
			return nil, err
		}
	}
	if err := r.admissions(ctx, e); err != nil {
		return nil, err
	}
	slices.SortFunc(e.files, func(a, b *file) int { return strings.Compare(a.path, b.path) })
	e.digest = contentDigest(e.files)
	if len(e.errors) > 0 {
		return e, nil
	}
	if err := r.checkConfiguration(ctx, e); err != nil {
		return nil, err
	}
	if len(e.errors) > 0 {
		return e, nil
	}
	seeds := map[order.ConnectionKey]bool{}
	for _, f := range e.files {
		if err := e.apply(ctx, f, in.sequence, seeds); err != nil {
			return nil, err
		}
	}
	if in.known {
		return e, nil
	}
	return e, r.between(ctx, e, seeds, in.now)
}

// contentDigest is the SHA-256 (hex) over the changed control files' paths and blobs: what is approved.
func contentDigest(files []*file) string {
	h := sha256.New()
	for _, f := range files {
		fmt.Fprintf(h, "%s\x00%s\x00%s\n", f.path, f.before, f.after)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (e *examined) fail(p string, msg, fix string) {
	e.errors = append(e.errors, schemas.Finding{Code: "refused", Severity: schemas.SeverityError, Message: msg, Fix: fix,
		Position: schemas.Position{Path: p}, Document: schemas.DocumentID{Path: p}})
}

func (r *Reconciler) examineFile(ctx context.Context, e *examined, p string, after history.Entry) error {
	class, ok := schemas.IsControlFile(p, &e.trust.settings.Spec)
	was, err := e.base.File(ctx, p)
	if err != nil {
		return err
	}
	if !ok && was == nil {
		// Something that leads to control files and is none: a link in place of their folder, say.
		if after.Blob != "" && after.Mode != regularFile && after.Mode != 0o40000 {
			e.fail(p, "is "+modeName(after.Mode)+" where control files stand", "control files are ordinary files in ordinary folders")
			e.files = append(e.files, &file{path: p, class: schemas.ClassRequest, after: after.Blob})
		}
		return nil
	}
	if !ok {
		class = schemas.FileClass(was.Class)
	}
	f := &file{path: p, class: class, was: was, after: after.Blob}
	if was != nil {
		f.before = was.Admitted
	}
	if f.before == f.after && (after.Blob == "" || after.Mode == regularFile) {
		if was != nil {
			back := *was
			back.Raw, back.Quarantine, back.Reasons = f.after, "", nil
			e.restored = append(e.restored, &back)
		}
		return nil
	}
	e.files = append(e.files, f)
	if err := schemas.CheckPath(p); err != nil {
		e.fail(p, err.Error(), "")
		return nil
	}
	if after.Blob != "" && after.Mode != regularFile {
		e.fail(p, "is "+modeName(after.Mode), "control files are ordinary files: git update-index --chmod=-x, or replace the link by its content")
		return nil
	}
	if f.before != "" {
		if f.old, err = r.decode(e, f, f.before, false); err != nil {
			return err
		}
	}
	if f.after != "" {
		if f.new, err = r.decode(e, f, f.after, true); err != nil {
			return err
		}
	}
	return nil
}

func modeName(mode uint32) string {
	switch mode {
	case 0o120000:
		return "a symbolic link"
	case 0o160000:
		return "a submodule"
	case 0o100755:
		return "executable"
	}
	return fmt.Sprintf("of mode %o", mode)
}

// decode reads one version of a control file. Only the new version's faults are faults of the change.
func (r *Reconciler) decode(e *examined, f *file, blob string, isNew bool) ([]schemas.Document, error) {
	ready, ok := e.decoded[f.path]
	if !ok || ready.blob != blob || f.class != schemas.ClassRequest {
		content, err := r.c.Repository.Blob(blob, schemas.MaxFileBytes)
		if errors.Is(err, history.ErrTooLarge) && isNew {
			e.fail(f.path, fmt.Sprintf("is larger than %d bytes", schemas.MaxFileBytes), "split it")
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", f.path, err)
		}
		if f.class == schemas.ClassPolicy || f.class == schemas.ClassSigners {
			return nil, nil
		}
		ready.docs, ready.errs = strict.Decode(f.path, content)
	}
	docs, errs := ready.docs, slices.Clip(ready.errs)
	if isNew {
		errs = append(errs, strict.CheckPlaces(f.path, docs, &e.trust.settings.Spec)...)
		for _, x := range errs {
			e.errors = append(e.errors, findingOf(x, "invalid"))
		}
	}
	return docs, nil
}

// admissions adds the quarantined files that an Admission of this change names.
func (r *Reconciler) admissions(ctx context.Context, e *examined) error {
	for _, f := range slices.Clone(e.files) {
		for _, d := range f.new {
			a, ok := d.Value.(*schemas.AdmissionSpec)
			if !ok || slices.ContainsFunc(f.old, func(o schemas.Document) bool { return reflect.DeepEqual(o.Value, d.Value) }) {
				continue
			}
			was, err := e.base.File(ctx, a.Path)
			if err != nil {
				return err
			}
			pos := d.At("spec.path")
			switch {
			case slices.ContainsFunc(e.files, func(o *file) bool { return o.path == a.Path }):
				e.errors = append(e.errors, schemas.Finding{Code: "admission", Severity: schemas.SeverityError, Position: pos, Document: schemas.DocumentID{Path: f.path, Index: d.Index},
					Message: a.Path + " is changed by this very change", Fix: "an Admission is for quarantined content that stays as it is"})
			case was == nil || !was.Quarantined():
				e.errors = append(e.errors, schemas.Finding{Code: "admission", Severity: schemas.SeverityError, Position: pos, Document: schemas.DocumentID{Path: f.path, Index: d.Index},
					Message: a.Path + " is not quarantined", Fix: "countersign status lists what is"})
			case was.Raw != a.Blob:
				e.errors = append(e.errors, schemas.Finding{Code: "admission", Severity: schemas.SeverityError, Position: d.At("spec.blob"), Document: schemas.DocumentID{Path: f.path, Index: d.Index},
					Message: fmt.Sprintf("%s is quarantined with blob %s", a.Path, orNone(was.Raw)), Fix: "look at that content, then name it"})
			default:
				entry := history.Entry{Blob: a.Blob, Mode: regularFile}
				if a.Blob == "" {
					entry = history.Entry{}
				}
				if err := r.examineFile(ctx, e, a.Path, entry); err != nil {
					return err
				}
				e.admits = append(e.admits, schemas.FileChange{Path: a.Path, Before: was.Admitted, After: a.Blob})
			}
		}
	}
	return nil
}

func orNone(blob string) string {
	if blob == "" {
		return "none (it was deleted)"
	}
	return blob
}

// checkConfiguration holds applications, payloads, policy and people of the change against connectors and
// against themselves, and says which applications the change touches.
func (r *Reconciler) checkConfiguration(ctx context.Context, e *examined) error {
	apps := maps.Clone(e.trust.applications)
	refuse := func(list schemas.ErrorList) {
		for _, x := range list {
			e.errors = append(e.errors, findingOf(x, "invalid"))
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
			switch v := d.Value.(type) {
			case *schemas.Application:
				desc, err := r.describe(v)
				if c, ok := r.c.Connectors.Get(v.Spec.Connector); err != nil && ok {
					// What its types are is the configuration's word, and that is wrong: its schema has the places.
					list := r.checker.Config(d, c.Describe().Config)
					if len(list) == 0 {
						list = schemas.ErrorList{{Position: d.At("spec.config"), Field: "spec.config", Msg: err.Error(), Hint: "countersign schema " + v.Spec.Connector + " has its form"}}
					}
					refuse(list)
					if was := e.trust.applications[v.Name]; was != nil {
						apps[v.Name] = was // it is wrong, and not removed
					}
					continue
				}
				if err != nil {
					e.errors = append(e.errors, schemas.Finding{Code: "invalid", Severity: schemas.SeverityError, Message: err.Error(), Position: d.At("spec.connector"),
						Document: schemas.DocumentID{Path: f.path, Index: d.Index}})
					continue
				}
				apps[v.Name] = v
				refuse(r.checker.Config(d, desc.Config))
				for _, t := range slices.Sorted(maps.Keys(v.Spec.Scope)) {
					if _, ok := desc.Type(t); !ok {
						e.errors = append(e.errors, schemas.Finding{Code: "invalid", Severity: schemas.SeverityError, Position: d.At("spec.scope." + t), Document: schemas.DocumentID{Path: f.path},
							Message: fmt.Sprintf("spec.scope: %s has no connections of type %s", desc.Title, t)})
					}
				}
			case *schemas.Settings:
				if v.Spec.Folders != e.trust.settings.Spec.Folders {
					e.errors = append(e.errors, schemas.Finding{Code: "folders", Severity: schemas.SeverityError, Position: d.At("spec.folders"), Document: schemas.DocumentID{Path: f.path},
						Message: "the folders cannot be changed: what stands in the old ones would lose its effect unseen", Fix: "start a new access repository, or keep the folders"})
				}
			}
		}
	}
	missing, err := r.checkProvisioning(ctx, e, apps, refuse)
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
				e.findings = append(e.findings, schemas.Finding{Code: "no-application", Severity: schemas.SeverityError, Position: d.At("spec.application"),
					Document: schemas.DocumentID{Path: f.path, Index: d.Index, Blob: f.after},
					Message:  fmt.Sprintf("there is no application %q", v.Application), Fix: "the applications are " + strings.Join(slices.Sorted(maps.Keys(apps)), ", ")})
				continue
			}
			desc, err := r.describe(app)
			if err != nil {
				return err
			}
			typ, ok := desc.Type(v.Connection.Type)
			if !ok {
				continue // the diff says so, with the types there are
			}
			if v.Kind == schemas.KindConnectionCreation {
				refuse(r.checker.Payload(d, typ.Payload))
			}
			refuse(provisioningErrors(d, v.Provisioning, missing(app, desc)))
			e.checkNames(r.names, f, d, v, typ)
		}
	}
	e.checkInsertions()
	e.afterApplications = apps
	if err := e.checkRemovedApplications(ctx); err != nil {
		return err
	}
	if configuration && len(e.errors) == 0 {
		return r.checkTrust(ctx, e)
	}
	return nil
}

// checkProvisioning refuses applications and settings by which operations could not be carried out, and returns what an
// application cannot do.
func (r *Reconciler) checkProvisioning(ctx context.Context, e *examined, apps map[string]*schemas.Application, refuse func(schemas.ErrorList)) (func(*schemas.Application, connectors.Description) map[schemas.Provisioning]fault, error) {
	forge := e.trust.settings.Spec.Forge.Kind
	var settings *schemas.Document
	for _, f := range e.files {
		for _, d := range f.new {
			if v, ok := d.Value.(*schemas.Settings); ok {
				forge, settings = v.Spec.Forge.Kind, &d
			}
		}
	}
	missing := func(app *schemas.Application, desc connectors.Description) map[schemas.Provisioning]fault {
		return faults(app, forge, desc)
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
		desc, err := r.describe(app)
		if err != nil {
			return nil, err
		}
		lacks := missing(app, desc)
		if own {
			refuse(provisioningErrors(d, app.Spec.Provisioning, lacks))
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
				refuse(schemas.ErrorList{{Position: at.At(field), Field: field, Msg: fmt.Sprintf("requests that stand, as %s, are carried out by provisioning %s, and %s", doc.Place.Path, p, f.why),
					Hint: f.fix + ", or undo those requests first"}})
				break
			}
		}
	}
	return missing, nil
}

// checkNames holds a request's names against the application's rules.
func (e *examined) checkNames(names connectors.Names, f *file, d schemas.Document, v *schemas.Request, typ connectors.ConnectionType) {
	bad := func(field string, err error) {
		if err != nil {
			e.findings = append(e.findings, schemas.Finding{Code: "name", Severity: schemas.SeverityError, Message: err.Error(), Position: d.At(field),
				Document: schemas.DocumentID{Path: f.path, Index: d.Index, Blob: f.after}})
		}
	}
	bad("spec.connection.source_name", names.Check(typ.Names, v.Connection.SourceName))
	for list, entries := range map[string][]schemas.Entry{"grants": v.Grants, "revokes": v.Revokes} {
		for i, g := range entries {
			if target, ok := typ.Target(g.Type); ok {
				bad(fmt.Sprintf("spec.%s[%d].source_name", list, i), names.Check(target.Names, g.SourceName))
			}
		}
	}
}

// checkInsertions refuses a document put before existing ones: every document behind it would change places.
func (e *examined) checkInsertions() {
	for _, f := range e.files {
		for i, d := range f.new {
			for j, o := range f.old {
				if j < i && j < len(f.new) && reflect.DeepEqual(o.Value, d.Value) && !reflect.DeepEqual(f.new[j].Value, o.Value) {
					e.errors = append(e.errors, schemas.Finding{Code: "inserted", Severity: schemas.SeverityError, Position: d.Position, Document: schemas.DocumentID{Path: f.path, Index: i},
						Message: "a document was put before this one, which stood at place " + fmt.Sprint(j+1) + " of the file", Fix: "add documents at the end, or in a file of their own"})
					break
				}
			}
		}
	}
}

// checkRemovedApplications refuses to forget an application while anything that it granted stands.
func (e *examined) checkRemovedApplications(ctx context.Context) error {
	for name, app := range e.trust.applications {
		if _, still := e.afterApplications[name]; still {
			continue
		}
		docs, err := e.base.All(ctx, name)
		if err != nil {
			return err
		}
		for _, d := range docs {
			if d.Current != nil && d.Current.Request.Kind != schemas.KindConnectionDeletion {
				e.errors = append(e.errors, schemas.Finding{Code: "application-in-use", Severity: schemas.SeverityError, Position: app.Position,
					Document: schemas.DocumentID{Path: app.Position.Path},
					Message:  fmt.Sprintf("application %s is removed or renamed while requests to it stand, as %s", name, d.Place.Path), Fix: "undo its requests first: delete their files; then remove the application"})
				break
			}
		}
	}
	return nil
}

// checkTrust proves that the configuration still makes a whole after the change: a repository that could
// no longer judge anything would be stuck.
func (r *Reconciler) checkTrust(ctx context.Context, e *examined) error {
	probe := e.base.Fork()
	for _, f := range e.files {
		if f.class == schemas.ClassRequest {
			continue
		}
		probe.SetFile(&order.File{Path: f.path, Class: string(f.class), Admitted: f.after, Raw: f.after})
	}
	// The forge that the change names is asked nothing: that is the change's own word, and a forge that is down today
	// says nothing about the configuration.
	c := r.c
	c.Forge = func(context.Context, schemas.SettingsSpec) (signoff.Forge, error) { return unasked{}, nil }
	sub := newReconciler(c)
	if _, err := sub.trust(ctx, probe); err != nil {
		at := schemas.Position{}
		for _, f := range e.files {
			if f.class != schemas.ClassRequest {
				at.Path = f.path
			}
		}
		finding := schemas.Finding{Code: "configuration", Severity: schemas.SeverityError, Message: err.Error(), Position: at, Document: schemas.DocumentID{Path: at.Path}}
		var compile *policy.CompileError
		if errors.As(err, &compile) {
			finding.Code = "policy"
		}
		e.errors = append(e.errors, finding)
	}
	return sub.Close()
}

// unasked stands in for a forge where nobody is to be asked.
type unasked struct{}

var errUnasked = errors.New("no forge was opened")

func (unasked) Evidence(context.Context, signoff.Change) (schemas.Evidence, error) {
	return schemas.Evidence{}, errUnasked
}

func (unasked) Pending(context.Context, signoff.Pending) (schemas.Evidence, error) {
	return schemas.Evidence{}, errUnasked
}

// apply writes a file's change to the head layer and notes the connections it speaks of.
func (e *examined) apply(ctx context.Context, f *file, sequence int, seeds map[order.ConnectionKey]bool) error {
	place := sequence
	if f.was != nil && f.before != "" {
		place = f.was.Place
	}
	next := &order.File{Path: f.path, Class: string(f.class), Admitted: f.after, Raw: f.after, Place: place}
	e.head.SetFile(next)
	if f.class != schemas.ClassRequest {
		return nil
	}
	var controls []order.Control
	oldControls := false
	for i := range max(len(f.old), len(f.new)) {
		var was, is *schemas.Request
		if i < len(f.old) {
			was, _ = f.old[i].Value.(*schemas.Request)
			oldControls = oldControls || f.old[i].Kind.IsControl()
		}
		if i < len(f.new) {
			is, _ = f.new[i].Value.(*schemas.Request)
			if c, ok := control(f, f.new[i], sequence); ok {
				controls = append(controls, c)
			}
		}
		at := schemas.Place{Commit: place, Path: f.path, Index: i}
		if was != nil && is != nil && reflect.DeepEqual(was, is) {
			continue
		}
		if was != nil {
			k := order.ConnectionKey{Application: was.Application, Name: was.Connection.Name()}
			seeds[k] = true
			if err := e.change(ctx, k, at, nil); err != nil {
				return err
			}
		}
		if is != nil {
			k := order.ConnectionKey{Application: is.Application, Name: is.Connection.Name()}
			seeds[k] = true
			if err := e.change(ctx, k, at, &plan.Version{Blob: f.after, Request: is}); err != nil {
				return err
			}
			for _, list := range [][]schemas.Entry{is.Grants, is.Revokes} {
				for j := range list {
					e.head.Mention(k, list[j].Name())
				}
			}
		}
	}
	if oldControls || len(controls) > 0 {
		e.head.SetControls(f.path, controls)
	}
	return nil
}

func control(f *file, d schemas.Document, sequence int) (order.Control, bool) {
	c := order.Control{ID: schemas.DocumentID{Path: f.path, Index: d.Index, Blob: f.after}, Kind: d.Kind, Commit: sequence}
	switch v := d.Value.(type) {
	case *schemas.AdmissionSpec:
		c.Admission = v
	case *schemas.BudgetOverrideSpec:
		c.BudgetOverride = v
	case *schemas.AcknowledgementSpec:
		c.Acknowledgement = v
	default:
		return c, false
	}
	return c, true
}

// change sets the standing version of the document at a place of one connection; nil undoes it. The
// former version stays as such.
func (e *examined) change(ctx context.Context, k order.ConnectionKey, at schemas.Place, v *plan.Version) error {
	docs, err := e.head.Documents(ctx, k)
	if err != nil {
		return err
	}
	docs = slices.Clone(docs)
	i := slices.IndexFunc(docs, func(d *plan.Document) bool { return d.Place == at })
	if i < 0 {
		if v != nil {
			docs = append(docs, &plan.Document{Place: at, Current: v})
			slices.SortFunc(docs, func(a, b *plan.Document) int { return a.Place.Compare(b.Place) })
			e.head.SetDocuments(k, docs)
		}
		return nil
	}
	d := *docs[i]
	if d.Current != nil {
		former := *d.Current
		former.Until = e.sequence
		d.Former = append(slices.Clone(d.Former), &former)
	}
	d.Current = v
	docs[i] = &d
	e.head.SetDocuments(k, docs)
	return nil
}

// between folds the touched connections, and all that is nested with them, before and after the change.
func (r *Reconciler) between(ctx context.Context, e *examined, seeds map[order.ConnectionKey]bool, now time.Time) error {
	byApp := map[string][]schemas.Name{}
	for k := range seeds {
		byApp[k.Application] = append(byApp[k.Application], k.Name)
	}
	for name, app := range e.afterApplications {
		// A changed application wakes and puts to sleep what its scope and grantables no longer cover.
		if was := e.trust.applications[name]; was == nil || !reflect.DeepEqual(was.Spec, app.Spec) {
			docs, err := e.head.All(ctx, name)
			if err != nil {
				return err
			}
			for _, d := range docs {
				for _, v := range append(slices.Clone(d.Former), d.Current) {
					if v != nil {
						byApp[name] = append(byApp[name], v.Request.Connection.Name())
					}
				}
			}
			if _, ok := byApp[name]; !ok {
				byApp[name] = nil
			}
		}
	}
	e.affected = slices.Sorted(maps.Keys(byApp))
	for _, name := range e.affected {
		app := e.afterApplications[name]
		if app == nil {
			continue
		}
		desc, err := r.describe(app)
		if err != nil {
			return err
		}
		set, err := e.closure(ctx, name, byApp[name], desc)
		if err != nil {
			return err
		}
		e.bearing += len(set)
		b, a, err := e.foldPair(ctx, name, set, desc, now)
		if err != nil {
			return err
		}
		was := e.trust.applications[name]
		e.desired[name] = [2]*plan.Desired{b, a}
		c := plan.Between(was, app, desc, b, a, now)
		e.changes[name] = c
		for i := range c.Operations {
			if o := &c.Operations[i]; o.Kind == schemas.OperationDelete {
				if e.left[o.ID], err = e.membersLeft(ctx, name, o, c); err != nil {
					return err
				}
			}
		}
		for _, f := range c.Findings {
			e.findings = append(e.findings, e.place(f))
		}
	}
	return nil
}

// place gives a finding about a document of the change its line.
func (e *examined) place(f schemas.Finding) schemas.Finding {
	for _, x := range e.files {
		if x.path == f.Document.Path && f.Document.Index < len(x.new) {
			f.Position = x.new[f.Document.Index].Position
			return f
		}
	}
	f.Position = schemas.Position{Path: f.Document.Path}
	return f
}

// closure is every connection whose documents bear on who gains what: those that are members of the seeds
// at any depth, the connections in which the members are, and all that these are in.
func (e *examined) closure(ctx context.Context, app string, seeds []schemas.Name, desc connectors.Description) (map[schemas.Name]bool, error) {
	set := map[schemas.Name]bool{}
	identities := map[schemas.Name]bool{}
	// Down to the members.
	queue := slices.Clone(seeds)
	for len(queue) > 0 {
		n := queue[0]
		queue = queue[1:]
		if set[n] {
			continue
		}
		set[n] = true
		members, ids, err := e.members(ctx, app, n, desc)
		if err != nil {
			return nil, err
		}
		queue = append(queue, members...)
		for _, id := range ids {
			identities[id] = true
		}
	}
	for id := range identities {
		in, err := e.head.Mentioning(ctx, order.ConnectionKey{Application: app, Name: id})
		if err != nil {
			return nil, err
		}
		for _, n := range in {
			set[n] = true
		}
	}
	// Up to all that they are in.
	up := slices.Collect(maps.Keys(set))
	for len(up) > 0 {
		n := up[0]
		up = up[1:]
		groups, err := e.groups(ctx, app, n, desc)
		if err != nil {
			return nil, err
		}
		for _, g := range groups {
			if !set[g] {
				set[g] = true
				up = append(up, g)
			}
		}
	}
	return set, nil
}

// entries calls fn with every entry that any version of a connection's documents names, before or after.
func (e *examined) entries(ctx context.Context, app string, n schemas.Name, fn func(schemas.Name)) error {
	for _, l := range []*order.Layer{e.base, e.head} {
		docs, err := l.Documents(ctx, order.ConnectionKey{Application: app, Name: n})
		if err != nil {
			return err
		}
		for _, d := range docs {
			if d.Current == nil {
				continue
			}
			for _, list := range [][]schemas.Entry{d.Current.Request.Grants, d.Current.Request.Revokes} {
				for i := range list {
					fn(list[i].Name())
				}
			}
		}
	}
	return nil
}

func (e *examined) members(ctx context.Context, app string, n schemas.Name, desc connectors.Description) (members, identities []schemas.Name, err error) {
	typ, _ := desc.Type(n.Type)
	err = e.entries(ctx, app, n, func(t schemas.Name) {
		switch g, _ := typ.Target(t.Type); g.Edge {
		case connectors.EdgeMember:
			members = append(members, t)
		case connectors.EdgeIdentity:
			identities = append(identities, t)
		}
	})
	if err != nil {
		return nil, nil, err
	}
	naming, err := e.head.Mentioning(ctx, order.ConnectionKey{Application: app, Name: n})
	if err != nil {
		return nil, nil, err
	}
	for _, c := range naming {
		ct, _ := desc.Type(c.Type)
		if g, ok := ct.Target(n.Type); ok && g.Edge == connectors.EdgeConnection {
			members = append(members, c)
		}
	}
	return members, identities, nil
}

func (e *examined) groups(ctx context.Context, app string, n schemas.Name, desc connectors.Description) (groups []schemas.Name, err error) {
	typ, _ := desc.Type(n.Type)
	err = e.entries(ctx, app, n, func(t schemas.Name) {
		if g, _ := typ.Target(t.Type); g.Edge == connectors.EdgeConnection {
			groups = append(groups, t)
		}
	})
	if err != nil {
		return nil, err
	}
	naming, err := e.head.Mentioning(ctx, order.ConnectionKey{Application: app, Name: n})
	if err != nil {
		return nil, err
	}
	for _, c := range naming {
		ct, _ := desc.Type(c.Type)
		if g, ok := ct.Target(n.Type); ok && g.Edge == connectors.EdgeMember {
			groups = append(groups, c)
		}
	}
	return groups, nil
}

// foldPair folds the connections before and after the change.
func (e *examined) foldPair(ctx context.Context, app string, set map[schemas.Name]bool, desc connectors.Description, now time.Time) (before, after *plan.Desired, err error) {
	var unchanged, was, is []*plan.Document
	for n := range set {
		k := order.ConnectionKey{Application: app, Name: n}
		b, err := e.base.Documents(ctx, k)
		if err != nil {
			return nil, nil, err
		}
		a, err := e.head.Documents(ctx, k)
		if err != nil {
			return nil, nil, err
		}
		if slices.Equal(b, a) {
			unchanged = append(unchanged, b...)
		} else {
			was, is = append(was, b...), append(is, a...)
		}
	}
	before, after = plan.Pair(unchanged, was, is, desc, now)
	return before, after, nil
}

// beneficiaries are the people whose effective access the change makes grow, and the gaining identities
// that map to nobody. Sorted.
func (e *examined) beneficiaries() (people, unknown []string) {
	seen := map[string]bool{}
	for _, app := range e.affected {
		for _, a := range e.changes[app].Gained {
			id := app + ": " + a.Identity.String()
			if seen[id] {
				continue
			}
			seen[id] = true
			p, ok := e.trust.directory.Identity(app, a.Identity.SourceName)
			// Where people approve by their account, somebody who is known by an address alone could not be told from them.
			if ok = ok && (e.trust.settings.Spec.Forge.Kind == "local" || !strings.Contains(p, "@")); ok {
				people = append(people, p)
			} else {
				unknown = append(unknown, id)
			}
		}
	}
	slices.Sort(people)
	slices.Sort(unknown)
	return slices.Compact(people), unknown
}

// input is what policy sees of the change.
func (e *examined) input(phase, baseCommit, headCommit string, ev schemas.Evidence, signoffs []schemas.PolicySignoff, people []string, now time.Time) schemas.PolicyInput {
	in := schemas.PolicyInput{
		APIVersion: schemas.APIVersion, Phase: phase, Now: now,
		Change: []schemas.ChangedDocument{}, ControlFiles: []string{}, Plan: []schemas.PolicyOperation{},
		Applications: map[string]*schemas.PolicyApplication{}, Holdings: map[string][]string{},
		Signoffs: signoffs,
		Settings: schemas.PolicySettings{Owners: e.trust.settings.Spec.Owners, Tickets: e.trust.settings.Spec.Tickets},
		PullRequest: schemas.PolicyPullRequest{Number: ev.PullRequest, Title: ev.Title, Contributors: orEmpty(ev.Authors),
			Beneficiaries: orEmpty(people), Base: baseCommit, Head: headCommit},
	}
	if in.Signoffs == nil {
		in.Signoffs = []schemas.PolicySignoff{}
	}
	touch := func(name string) {
		// Owners and lists as they stand in the base: a change never vouches for itself.
		if a := e.trust.policy[name]; a != nil {
			in.Applications[name] = a
		} else if a := e.afterApplications[name]; a != nil {
			in.Applications[name] = policyApplication(a)
		}
	}
	for _, f := range e.files {
		if f.class == schemas.ClassPolicy || f.class == schemas.ClassSigners {
			in.ControlFiles = append(in.ControlFiles, f.path)
			continue
		}
		for i := range max(len(f.old), len(f.new)) {
			c := schemas.ChangedDocument{Path: f.path, Index: i, Merged: i < len(f.old)}
			var was, is any
			if i < len(f.old) {
				was = f.old[i].Value
				c.Action, c.Line, c.Kind, c.Metadata = "deleted", f.old[i].Position.Line, f.old[i].Kind, f.old[i].Metadata
			}
			if i < len(f.new) {
				is = f.new[i].Value
				if was != nil && reflect.DeepEqual(was, is) {
					continue
				}
				c.Action, c.Line, c.Kind, c.Metadata = "added", f.new[i].Position.Line, f.new[i].Kind, f.new[i].Metadata
				if was != nil {
					c.Action = "modified"
				}
			}
			now := is
			if now == nil {
				now = was
			}
			switch v := now.(type) {
			case *schemas.Request:
				c.Request = v
				touch(v.Application)
				if b, ok := was.(*schemas.Request); ok && is != nil {
					c.Before = b
					touch(b.Application)
				}
			case *schemas.Application:
				c.Application = policyApplication(v)
				touch(v.Name)
			}
			in.Change = append(in.Change, c)
		}
	}
	for _, app := range e.affected {
		touch(app)
		ch := e.changes[app]
		for i := range ch.Operations {
			in.Plan = append(in.Plan, e.policyOperation(app, &ch.Operations[i], ch))
		}
		for _, a := range ch.Gained {
			k := app + "/" + a.Identity.String()
			if _, done := in.Holdings[k]; done {
				continue
			}
			held := []string{}
			for _, x := range ch.After.AccessOf(a.Identity) {
				if x.Privilege == schemas.PrivilegeMember {
					held = append(held, app+"/"+x.Target.String())
				}
			}
			in.Holdings[k] = held
		}
	}
	return in
}

func orEmpty(l []string) []string {
	if l == nil {
		return []string{}
	}
	return l
}

func (e *examined) policyOperation(app string, o *schemas.Operation, ch plan.Change) schemas.PolicyOperation {
	p := schemas.PolicyOperation{
		Kind: o.Kind, Application: app, Connection: o.Connection, Target: o.Target, Privilege: o.Privilege, Privileged: o.Privileged,
		Expires: o.Expires, After: o.After, Gained: o.Gained, Lost: o.Lost,
	}
	if o.Privileged {
		p.PrivilegedWhy = "powerful by the connector's list or the application's"
	}
	for i := len(o.Documents) - 1; i >= 0; i-- {
		doc := o.Documents[i]
		f := e.fileOf(doc.Path)
		if f == nil || doc.Index >= len(f.new) {
			continue
		}
		d := f.new[doc.Index]
		p.Path, p.Index, p.Line = doc.Path, doc.Index, d.Position.Line
		if req, ok := d.Value.(*schemas.Request); ok && o.Target != nil {
			names := func(g *schemas.Entry) bool {
				return g.Type == o.Target.Type && g.SourceName == o.Target.SourceName && (len(g.Privileges) == 0 || slices.Contains(g.Privileges, o.Privilege))
			}
			list, entries := "grants", req.Grants
			if o.Kind == schemas.OperationRevoke {
				list, entries = "revokes", req.Revokes
			}
			for j := range entries {
				if names(&entries[j]) {
					p.Field = "spec." + list + "[" + strconv.Itoa(j) + "]"
					p.Line = d.At(p.Field).Line
				}
			}
		}
		break
	}
	if p.Path == "" && len(o.Documents) > 0 {
		p.Path, p.Index = o.Documents[0].Path, o.Documents[0].Index
	}
	if o.Kind == schemas.OperationDelete {
		p.Members = e.left[o.ID]
	}
	return p
}

// membersLeft counts the members that a connection still has when it is deleted: those that the desired
// state had before, less those that this very change takes away, by a revoke or by undoing all that grants them.
func (e *examined) membersLeft(ctx context.Context, app string, o *schemas.Operation, ch plan.Change) (int, error) {
	revoked := map[schemas.Name]bool{}
	for _, f := range e.files {
		for _, d := range f.new {
			req, ok := d.Value.(*schemas.Request)
			if !ok || req.Application != app {
				continue
			}
			for _, g := range req.Revokes {
				if req.Connection.Name() == o.Connection {
					revoked[g.Name()] = true
				}
				if g.Name() == o.Connection {
					revoked[req.Connection.Name()] = true
				}
			}
		}
	}
	left := 0
	for _, m := range ch.Before.DirectMembers(o.Connection) {
		if revoked[m] || !ch.After.Exists(m) {
			continue
		}
		granted, err := e.granted(ctx, app, o.Connection, m)
		if err != nil {
			return 0, err
		}
		if granted {
			left++
		}
	}
	return left, nil
}

// granted says whether a request that stands after the change makes the one a member of the connection. The
// request is either's: which, is the connector's to say.
func (e *examined) granted(ctx context.Context, app string, connection, member schemas.Name) (bool, error) {
	for _, way := range [][2]schemas.Name{{connection, member}, {member, connection}} {
		docs, err := e.head.Documents(ctx, order.ConnectionKey{Application: app, Name: way[0]})
		if err != nil {
			return false, err
		}
		for _, d := range docs {
			if d.Current != nil && slices.ContainsFunc(d.Current.Request.Grants, func(g schemas.Entry) bool { return g.Name() == way[1] }) {
				return true, nil
			}
		}
	}
	return false, nil
}

func (e *examined) fileOf(p string) *file {
	i := slices.IndexFunc(e.files, func(f *file) bool { return f.path == p })
	if i < 0 {
		return nil
	}
	return e.files[i]
}

// judgement is the verdict on an examined change.
type judgement struct {
	verdict  signoff.Verdict
	decision *schemas.Decision
	people   []string
}

// judge asks policy what the change needs and holds the evidence against it.
func (r *Reconciler) judge(ctx context.Context, e *examined, phase, baseCommit, headCommit string, ev schemas.Evidence, now time.Time) (*judgement, error) {
	people, unknown := e.beneficiaries()
	ev.ContentDigest = e.digest
	ev.Beneficiaries = people
	signoffs := signoff.Independent(ev, e.trust.directory, people)
	decision, err := e.trust.engine.Evaluate(ctx, e.input(phase, baseCommit, headCommit, ev, signoffs, people, now))
	if err != nil {
		return nil, fmt.Errorf("policy could not be evaluated, which denies: %w", err)
	}
	v := signoff.Judge(signoff.JudgeInput{
		Evidence: ev, Required: decision.Required, Beneficiaries: people, UnknownBeneficiaries: unknown, Directory: e.trust.directory, Now: now,
	})
	for _, d := range decision.Denials {
		v.Admitted = false
		v.Reasons = append(v.Reasons, strings.TrimSpace(fmt.Sprintf("%s denies: %s %s", d.Code, d.Msg, at(d))))
	}
	return &judgement{verdict: v, decision: &decision, people: people}, nil
}

func at(d schemas.RuleResult) string {
	switch {
	case d.Path == "":
		return ""
	case d.Line == 0:
		return "(" + d.Path + ")"
	}
	return fmt.Sprintf("(%s:%d)", d.Path, d.Line)
}

// filter keeps Git reading to control files and to what could stand in for their folders.
type filter struct{ settings *schemas.SettingsSpec }

func (f filter) Dir(p string) bool {
	for _, root := range []string{f.settings.Folders.Requests, f.settings.Folders.Applications, f.settings.Folders.Policy, path.Dir(f.settings.AllowedSigners)} {
		if p == root || strings.HasPrefix(p, root+"/") || strings.HasPrefix(root, p+"/") {
			return true
		}
	}
	return false
}

func (f filter) File(p string) bool {
	if _, ok := schemas.IsControlFile(p, f.settings); ok {
		return true
	}
	// A link or submodule in place of a folder is a file of that name.
	for _, root := range []string{f.settings.Folders.Requests, f.settings.Folders.Applications, f.settings.Folders.Policy} {
		if p == root || strings.HasPrefix(root, p+"/") {
			return true
		}
	}
	return false
}

// planDigest is the digest of what the change means, live state apart.
func (e *examined) planDigest() (string, error) {
	var plans []schemas.ApplicationPlan
	for _, app := range e.affected {
		plans = append(plans, schemas.ApplicationPlan{Application: app, Operations: e.changes[app].Operations})
	}
	return plan.Digest(plans)
}
