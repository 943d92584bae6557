package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// teams is the connector. It holds no state.
type teams struct{}

const configSchema = `{"type": "object", "properties": {
  "folder": {"type": "string", "minLength": 1, "description": "The folder with users.json and a file for each team: absolute, or relative to the access repository."}},
  "required": ["folder"], "additionalProperties": false}`

const payloadSchema = `{"type": "object", "properties": {
  "comment": {"type": "string", "maxLength": 200, "default": "", "description": "The purpose of the team."}},
  "additionalProperties": false}`

// Describe describes the connector. Names of teams are names of files.
func (teams) Describe() schemas.Description {
	names := schemas.NameRule{MaxBytes: 64, Pattern: `[a-z0-9][a-z0-9_-]*`, Reserved: []string{"users"}}
	return schemas.Description{
		Title: "Team files", Config: json.RawMessage(configSchema),
		PlanScript: "setfacl -R -m u:countersign-plan:rX /srv/teams\n", ApplyScript: "setfacl -R -m u:countersign-apply:rwX /srv/teams\n",
		Types: []schemas.ConnectionType{{
			Name: "team", Title: "Team", Payload: json.RawMessage(payloadSchema), Create: true, Update: true, Delete: true, Names: names,
			Privileged: []string{"admins"},
			Grantable: []schemas.GrantableType{{Type: "user", Edge: schemas.EdgeIdentity, Privileges: []string{"MEMBER"}, Default: []string{"MEMBER"},
				Names: names, Grant: true, Revoke: true}},
		}},
	}
}

// team is the content of a file.
type team struct {
	ID      string   `json:"id"` // distinguishes a team from a later one of the same name
	Comment string   `json:"comment"`
	Members []string `json:"members"`
}

// folder is an open application.
type folder struct {
	path    string
	checker *connectors.Checker
	now     func() time.Time
}

func (t teams) OpenReader(ctx context.Context, cfg connectors.Config) (connectors.Reader, error) {
	return t.OpenWriter(ctx, cfg)
}

func (t teams) OpenWriter(ctx context.Context, cfg connectors.Config) (connectors.Writer, error) {
	path, _ := cfg.Values["folder"].(string) // the schema was checked
	if !filepath.IsAbs(path) {
		if cfg.Directory == "" || !filepath.IsLocal(path) {
			return nil, fault(connectors.Invalid, "config.folder: invalid path (expected an absolute path, or one within the access repository)")
		}
		path = filepath.Join(cfg.Directory, path)
	}
	checker, err := connectors.NewChecker(t.Describe())
	if err != nil {
		return nil, err
	}
	f := &folder{path: path, checker: checker, now: cfg.Now}
	if _, err := f.users(); err != nil {
		return nil, err
	}
	return f, nil
}

func fault(code connectors.Code, message string) error {
	return &connectors.Error{Code: code, Message: message}
}

// fileFault converts an error about a file. A file that is missing or malformed never counts as empty.
func fileFault(name string, err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fault(connectors.Denied, name+": permission denied for this account")
	case errors.Is(err, fs.ErrNotExist):
		return fault(connectors.Unavailable, name+": file not found")
	}
	return fault(connectors.Unavailable, name+": could not read or write the file")
}

// load reads a file strictly: anything but exactly one value is an error.
func (f *folder) load(name string, into any) error {
	b, err := os.ReadFile(filepath.Join(f.path, name))
	if err != nil {
		return fileFault(name, err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fault(connectors.Unavailable, name+": malformed file; fix it by hand")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fault(connectors.Unavailable, name+": the file contains more than one value; fix it by hand")
	}
	return nil
}

func (f *folder) users() ([]string, error) {
	var list []string
	return list, f.load("users.json", &list)
}

// all reads every team.
func (f *folder) all() (map[string]team, error) {
	if _, err := f.users(); err != nil { // the wrong folder, or one that is not mounted
		return nil, err
	}
	files, err := os.ReadDir(f.path)
	if err != nil {
		return nil, fileFault(f.path, err)
	}
	out := map[string]team{}
	for _, file := range files {
		name, ok := strings.CutSuffix(file.Name(), ".json")
		if !ok || name == "users" || strings.HasPrefix(name, ".") {
			continue
		}
		var t team
		if err := f.load(file.Name(), &t); err != nil {
			return nil, err
		}
		out[name] = t
	}
	return out, nil
}

// Close does nothing.
func (f *folder) Close() error { return nil }

// Describe returns the same description for every folder.
func (f *folder) Describe(ctx context.Context) (schemas.Description, error) {
	return teams{}.Describe(), connectors.Stopped(ctx, "describe")
}

// Read reads all files. They are small.
func (f *folder) Read(ctx context.Context, sel schemas.Selection) (schemas.State, error) {
	if err := connectors.Stopped(ctx, "read"); err != nil {
		return schemas.State{}, err
	}
	list, err := f.all()
	if err != nil {
		return schemas.State{}, err
	}
	selected := sel.Selector(nil)
	var out schemas.State
	for name, t := range list {
		c := schemas.Connection{Name: schemas.Name{Type: "team", SourceName: name}, NativeID: t.ID, Payload: map[string]any{"comment": t.Comment}}
		if !selected(c.Name) {
			continue
		}
		for _, m := range t.Members {
			c.Entitlements = append(c.Entitlements, schemas.Entitlement{Target: schemas.Name{Type: "user", SourceName: m}, Privilege: schemas.PrivilegeMember})
		}
		out.Connections = append(out.Connections, c)
	}
	out.Sort()
	return out, nil
}

// List lists users or teams.
func (f *folder) List(ctx context.Context, q connectors.Query) (connectors.Page, error) {
	if err := connectors.Stopped(ctx, "list"); err != nil {
		return connectors.Page{}, err
	}
	names, err := f.users()
	ids := map[string]string{}
	if q.Type == "team" && err == nil {
		var list map[string]team
		list, err = f.all()
		names = nil
		for name, t := range list {
			names = append(names, name)
			ids[name] = t.ID
		}
	}
	if err != nil {
		return connectors.Page{}, err
	}
	var items []schemas.Item
	for _, n := range names {
		if q.Names == nil || slices.Contains(q.Names, n) {
			items = append(items, schemas.Item{Name: schemas.Name{Type: q.Type, SourceName: n}, NativeID: ids[n], Connection: q.Type == "team"})
		}
	}
	return connectors.PageOf(items, q), nil
}

// Normalize changes nothing, because the files keep values as they are.
func (f *folder) Normalize(s schemas.State) (schemas.State, error) {
	return connectors.NormalizeWith(teams{}.Describe(), s, nil)
}

// Apply carries out one operation after the other, each under the folder's lock.
func (f *folder) Apply(ctx context.Context, ops []schemas.Operation, report func(connectors.Outcome)) error {
	return connectors.Each(ctx, ops, f.checker, f.now, report, func(_ context.Context, o *schemas.Operation) (int, error) {
		unlock, err := f.lock()
		if err != nil {
			return 1, err
		}
		return 1, errors.Join(f.one(o), unlock())
	})
}

// lock keeps other processes out for one operation.
func (f *folder) lock() (func() error, error) {
	l := flock.New(filepath.Join(f.path, ".lock"))
	if err := l.Lock(); err != nil {
		return nil, fileFault(".lock", err)
	}
	return l.Close, nil
}

func (f *folder) one(o *schemas.Operation) error {
	name := o.Connection.SourceName
	if rule := (teams{}).Describe().Types[0].Names; rule.Check(name) != nil {
		return nil // only removals have such names, and files never do
	}
	var t team
	err := f.load(name+".json", &t)
	there := true
	if _, serr := os.Lstat(filepath.Join(f.path, name+".json")); errors.Is(serr, fs.ErrNotExist) {
		there, err = false, nil
	}
	switch {
	case err != nil:
		return err
	case there && o.NativeID != "" && o.NativeID != t.ID:
		return fault(connectors.Conflict, "another team has this name now: someone else has recreated it")
	}
	switch o.Kind {
	case schemas.OperationCreate:
		if !there {
			t = team{ID: rand.Text(), Members: []string{}}
		}
	case schemas.OperationDelete:
		if !there {
			return nil
		}
		if err := os.Remove(filepath.Join(f.path, name+".json")); err != nil {
			return fileFault(name, err)
		}
		return nil
	case schemas.OperationRevoke:
		if !there {
			return nil
		}
		t.Members = slices.DeleteFunc(t.Members, func(m string) bool { return m == o.Target.SourceName })
	default:
		if !there {
			return fault(connectors.NotFound, "team "+name+" not found")
		}
	}
	if o.Kind == schemas.OperationGrant {
		users, err := f.users()
		switch {
		case err != nil:
			return err
		case !slices.Contains(users, o.Target.SourceName):
			return fault(connectors.NotFound, "user "+o.Target.SourceName+" not found")
		case !slices.Contains(t.Members, o.Target.SourceName):
			t.Members = append(t.Members, o.Target.SourceName)
		}
	}
	if comment, ok := o.After["comment"].(string); ok {
		t.Comment = comment
	}
	return f.save(name, t)
}

// save replaces a file atomically.
func (f *folder) save(name string, t team) (err error) {
	b, err := json.MarshalIndent(t, "", "  ")
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(f.path, ".team-")
	if err != nil {
		return fileFault(name, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fileFault(name, err), os.Remove(tmp.Name()))
		}
	}()
	_, err = tmp.Write(append(b, '\n'))
	if err = errors.Join(err, tmp.Chmod(0o644), tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), filepath.Join(f.path, name+".json"))
}
