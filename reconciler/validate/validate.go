package validate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/reconciler/hold"
	"github.com/countersign/countersign/reconciler/judge"
	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/reconciler/signoff"
	"github.com/countersign/countersign/schemas"
	"github.com/countersign/countersign/schemas/strict"
)

// Folder checks the control files of a folder offline, without Git or any application, and without a policy decision.
// It follows no symbolic link.
func Folder(ctx context.Context, dir string, registry connectors.Registry) (*schemas.ValidateReport, error) {
	report := &schemas.ValidateReport{APIVersion: schemas.APIVersion, Kind: "Validate", Errors: []schemas.Finding{}}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open the repository's folder: %w", err)
	}
	defer root.Close()
	fail := func(list schemas.ErrorList) {
		for _, e := range list {
			report.Errors = append(report.Errors, judge.FindingOf(e, "invalid"))
		}
	}
	refuse := func(path, msg, fix string) {
		report.Errors = append(report.Errors, schemas.Finding{Code: "refused", Severity: schemas.SeverityError, Message: msg, Fix: fix,
			Position: schemas.Position{Path: path}, Document: schemas.DocumentID{Path: path}})
	}
	settings := &schemas.SettingsSpec{Folders: schemas.DefaultFolders()}
	if b, err := root.ReadFile(schemas.SettingsPath); err == nil {
		if docs, errs := strict.Decode(schemas.SettingsPath, b); len(errs) == 0 {
			if s, ok := docs[0].Value.(*schemas.Settings); ok {
				settings = &s.Spec
			}
		}
	} else {
		refuse(schemas.SettingsPath, "not found", "countersign init creates it")
	}
	var all []schemas.Document
	unread := false // an application's file could not be decoded, so its name is unknown
	modules := map[string][]byte{}
	var data map[string]any
	var dataPath string
	var dataContent []byte
	keep := judge.ControlFiles{Settings: settings}
	err = fs.WalkDir(root.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if d.IsDir() {
			if p != "." && !keep.Holds(p) {
				return fs.SkipDir
			}
			return nil
		}
		class, ok := schemas.IsControlFile(p, settings)
		if !ok {
			if d.Type()&fs.ModeSymlink != 0 && keep.File(p) {
				refuse(p, "is a symbolic link in place of control files", "use regular files in regular folders")
			}
			if fix := schemas.UnreadFile(p, settings); fix != "" {
				refuse(p, "is not read, so it does nothing", fix)
			}
			return nil
		}
		if class == schemas.ClassAutomation {
			return nil // GitHub reads it
		}
		report.Files++
		if err := schemas.CheckPath(p); err != nil {
			refuse(p, err.Error(), "")
			return nil
		}
		if !d.Type().IsRegular() {
			refuse(p, "is a symbolic link", "replace the link with its content")
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode()&0o111 != 0 {
			refuse(p, "is executable", "control files must be regular files: run git update-index --chmod=-x")
		}
		if limit := schemas.FileLimit(p); info.Size() > int64(limit) {
			refuse(p, "is larger than "+schemas.Bytes(limit), "split it")
			return nil
		}
		content, err := root.ReadFile(p)
		if err != nil {
			return err
		}
		switch class {
		case schemas.ClassPolicy:
			if strings.HasSuffix(p, ".rego") {
				modules[p] = content
				return nil
			}
			if dataPath != "" {
				refuse(p, "duplicate data file in the policy folder", "keep one of it and "+dataPath)
				return nil
			}
			dataPath, dataContent = p, content
			var list schemas.ErrorList
			if data, err = policy.ParseData(p, content); errors.As(err, &list) {
				fail(list)
			} else if err != nil {
				refuse(p, err.Error(), "")
			}
			return nil
		case schemas.ClassSigners:
			return nil
		}
		docs, errs := strict.Decode(p, content)
		fail(errs)
		unread = unread || class == schemas.ClassApplication && len(errs) > 0
		fail(strict.CheckPlaces(p, docs, settings))
		report.Documents += len(docs)
		all = append(all, docs...)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the control files: %w", err)
	}
	checkTogether(all, unread, registry, fail, refuse)
	rules := &rules{modules: modules, data: data, dataPath: dataPath, dataContent: dataContent, settings: settings, documents: all, registry: registry}
	list, err := rules.check(ctx)
	if err != nil {
		refuse(settings.Folders.WithDefaults().Policy, err.Error(), "")
	}
	fail(list)
	slices.SortStableFunc(report.Errors, func(a, b schemas.Finding) int {
		if c := strings.Compare(a.Position.Path, b.Position.Path); c != 0 {
			return c
		}
		return a.Position.Line - b.Position.Line
	})
	return report, nil
}

// checkTogether checks documents against the connectors and against each other. unread is set if all lacks an
// application.
func checkTogether(all []schemas.Document, unread bool, registry connectors.Registry, fail func(schemas.ErrorList), refuse func(path, msg, fix string)) {
	checker := strict.NewChecker()
	apps := map[string]schemas.Description{}
	unknown := map[string]bool{} // applications whose types are unknown, so that their requests cannot be checked
	lacks := map[string]map[schemas.Provisioning]hold.Fault{}
	forge := "local"
	for _, d := range all {
		if v, ok := d.Value.(*schemas.Settings); ok {
			forge = v.Spec.Forge.Kind
		}
	}
	for _, d := range all {
		schemas.VisitContent(d.Value, nil,
			func(v *schemas.Application) {
				c, ok := registry.Get(v.Spec.Connector)
				if !ok {
					fail(schemas.ErrorList{{Position: d.At("spec.connector"), Field: "spec.connector", Msg: fmt.Sprintf("unknown connector %q", v.Spec.Connector),
						Hint: fmt.Sprintf("the connectors are %s; if the connector is a separate program, run with --exec %s=/path/to/program", strings.Join(registry.Names(), ", "), v.Spec.Connector)}})
					unknown[v.Name] = true
					return
				}
				desc := c.Describe()
				fail(checker.Config(d, desc.Config))
				if own, is := c.(connectors.Configured); is {
					var err error
					if desc, err = own.DescribeConfig(v.Spec.Config); err != nil {
						fail(schemas.ErrorList{{Position: d.At("spec.config"), Field: "spec.config", Msg: err.Error()}})
						unknown[v.Name] = true
						return
					}
				}
				fail(judge.TypeErrors(d, &v.Spec, desc))
				fail(oneOwner(d, v, all, desc))
				apps[v.Name], lacks[v.Name] = desc, hold.Unprovisionable(v, forge, desc)
				fail(hold.ProvisioningErrors(d, v.Spec.Provisioning, lacks[v.Name]))
			},
			nil,
			func(v *schemas.People) {
				if _, err := signoff.NewDirectory(v.Spec); err != nil {
					refuse(d.Position.Path, err.Error(), "")
				}
			}, nil)
	}
	checkOverlap(all, fail)
	for _, d := range all {
		v, ok := d.Value.(*schemas.Request)
		if !ok {
			continue
		}
		desc, ok := apps[v.Application]
		if !ok && (unread || unknown[v.Application]) {
			continue
		}
		if !ok {
			fail(schemas.ErrorList{judge.UnknownName(d, "spec.application", "spec.application", "application", v.Application, slices.Sorted(maps.Keys(apps)))})
			continue
		}
		typ, ok := desc.Type(v.Connection.Type)
		if !ok {
			fail(schemas.ErrorList{judge.UnknownName(d, "spec.connection.type", "spec.connection.type", "type", v.Connection.Type, typeNames(desc))})
			continue
		}
		if plan.Opens(v.Kind) {
			fail(checker.Payload(d, typ.Payload))
		}
		fail(hold.ProvisioningErrors(d, v.Provisioning, lacks[v.Application]))
		for list, entries := range map[string][]schemas.Entry{"grants": v.Grants, "revokes": v.Revokes} {
			for i, e := range entries {
				field := fmt.Sprintf("spec.%s[%d]", list, i)
				target, ok := typ.Target(e.Type)
				if !ok {
					fail(schemas.ErrorList{wrongTarget(d, field+".type", e.Type, typ, desc)})
					continue
				}
				if err := target.Names.Check(e.SourceName); err != nil {
					fail(schemas.ErrorList{{Position: d.At(field + ".source_name"), Field: field + ".source_name", Msg: err.Error()}})
				}
				for j, p := range e.Privileges {
					if len(target.Privileges) > 0 && !slices.Contains(target.Privileges, p) {
						at := fmt.Sprintf("%s.privileges[%d]", field, j)
						fail(schemas.ErrorList{judge.UnknownName(d, at, at, "privilege", p, target.Privileges)})
					}
				}
			}
		}
		if err := typ.Names.Check(v.Connection.SourceName); err != nil {
			fail(schemas.ErrorList{{Position: d.At("spec.connection.source_name"), Field: "spec.connection.source_name", Msg: err.Error()}})
		}
	}
}

// checkOverlap finds applications with one configuration whose scopes overlap: either would take what was approved in the
// other. Those with other configurations on the same server are found when they are opened.
func checkOverlap(all []schemas.Document, fail func(schemas.ErrorList)) {
	var former []*schemas.Application
	for _, d := range all {
		v, ok := d.Value.(*schemas.Application)
		if !ok {
			continue
		}
		for _, f := range former {
			typ, own, theirs := v.Overlap(f)
			if typ == "" || len(v.Spec.Config) == 0 || !sameServer(v.Spec.Config, f.Spec.Config) {
				continue
			}
			fail(schemas.ErrorList{{Position: d.At("spec.scope"), Field: "spec.scope", Msg: fmt.Sprintf("overlaps the scope of application %s, which has the same configuration (%s %s and %s)", f.Name, typ, own, theirs),
				Hint: "narrow one of them, or make them one application"}})
		}
		former = append(former, v)
	}
}

// sameServer reports whether two configurations differ at most in which databases of a server they cover.
func sameServer(a, b map[string]any) bool {
	without := func(m map[string]any) map[string]any {
		m = maps.Clone(m)
		delete(m, "databases")
		return m
	}
	return reflect.DeepEqual(without(a), without(b))
}

// wrongTarget returns the error for a type that cannot be granted to connections of typ.
func wrongTarget(d schemas.Document, field, target string, typ schemas.ConnectionType, desc schemas.Description) schemas.Error {
	for i := range desc.Types {
		if _, known := desc.Types[i].Target(target); known {
			return schemas.Error{Position: d.At(field), Field: field, Msg: fmt.Sprintf("a %s cannot be granted to a %s", target, typ.Name),
				Hint: "grant one of " + strings.Join(targetNames(typ), ", ")}
		}
	}
	return judge.UnknownName(d, field, field, "type", target, targetNames(typ))
}

func typeNames(desc schemas.Description) []string {
	var names []string
	for i := range desc.Types {
		names = append(names, desc.Types[i].Name)
	}
	return names
}

func targetNames(typ schemas.ConnectionType) []string {
	var names []string
	for _, g := range typ.Grantable {
		names = append(names, g.Type)
	}
	return names
}

// Policy reads the policy folder of a work tree, for policy tests.
func Policy(dir string) (modules map[string][]byte, data map[string]any, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("open the repository's folder: %w", err)
	}
	defer root.Close()
	settings := &schemas.SettingsSpec{Folders: schemas.DefaultFolders()}
	if b, err := root.ReadFile(schemas.SettingsPath); err == nil {
		docs, errs := strict.Decode(schemas.SettingsPath, b)
		if err := errs.Err(); err != nil {
			return nil, nil, err
		}
		if s, ok := docs[0].Value.(*schemas.Settings); ok {
			settings = &s.Spec
		}
	}
	modules = map[string][]byte{}
	if _, err := root.Stat(settings.Folders.Policy); os.IsNotExist(err) {
		return modules, nil, nil
	}
	err = fs.WalkDir(root.FS(), settings.Folders.Policy, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !d.Type().IsRegular() {
			return err
		}
		if class, ok := schemas.IsControlFile(p, settings); !ok || class != schemas.ClassPolicy {
			return nil
		}
		content, err := root.ReadFile(p)
		if err != nil {
			return err
		}
		if strings.HasSuffix(p, ".rego") {
			modules[p] = content
			return nil
		}
		if data != nil {
			return fmt.Errorf("%s: duplicate data file in the policy folder; keep one", p)
		}
		data, err = policy.ParseData(p, content)
		return err
	})
	return modules, data, err
}
