package reconciler_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/casbin"
	"github.com/countersign/countersign/connectors/secrets"
	"github.com/countersign/countersign/reconciler"
	"github.com/countersign/countersign/reconciler/history"
	"github.com/countersign/countersign/reconciler/history/historytest"
	"github.com/countersign/countersign/reconciler/ledger/seal"
	"github.com/countersign/countersign/schemas"
)

// world is an access repository with casbin applications. Bob and Frank own the applications, Carol the
// settings. Its clock is that of the commits: it moves by a minute with each, and by later.
type world struct {
	*historytest.Repo
	t testing.TB
	// state is where the ledger lies, version the program's.
	state, version string
	stores         string
	faults         map[string]*fault
	replica        reconciler.Replica // nil for none
	// isolate starts the child for rules of the repository's own; nil evaluates them here.
	isolate func(context.Context) (*exec.Cmd, error)
	key     *seal.Key    // nil for none
	public  *seal.Public // nil for none
	landed  int
}

func frank() historytest.Person { return historytest.Person{Name: "Frank", Email: "frank@acme.test"} }

// files are contents by path; "" deletes.
type files map[string]string

// newWorld makes a repository whose first commit, the anchor, holds the files beside the settings and people,
// and an empty store for each application. Nothing has run over them.
func newWorld(t testing.TB, anchor files) *world {
	t.Helper()
	w := &world{Repo: historytest.New(t), t: t, state: t.TempDir(), version: "1", stores: t.TempDir(), faults: map[string]*fault{}}
	for _, name := range []string{"authz", "hr"} {
		err := casbin.Init(w.path(name), casbin.Contents{
			Users: []string{"alice", "bob", "dave", "erin", "gina"}, Objects: []string{"sales.orders", "sales.payroll", "hr.files"},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	w.change(files{"countersign.yaml": settings(""), "people.yaml": people, "applications/authz.yaml": w.application("authz", "")})
	w.change(anchor)
	w.Commit(historytest.CommitOptions{Author: historytest.Carol()})
	return w
}

// settled is a world after its first run: sales_reader stands, and may read sales.orders.
func settled(t testing.TB, anchor files) *world {
	t.Helper()
	all := files{"requests/base.yaml": creation("authz", "sales_reader") + "---\n" + assignment("authz", "sales_reader", grants(read("sales.orders")))}
	maps.Copy(all, anchor)
	w := newWorld(t, all)
	for _, o := range w.run().Applications {
		if o.Remaining != 0 || o.Error != "" {
			t.Fatalf("the first run over %s leaves %d operations: %s", o.Application, o.Remaining, o.Error)
		}
	}
	return w
}

func (w *world) path(app string) string { return filepath.Join(w.stores, app+".csv") }

func (w *world) later(d time.Duration) { w.Now = w.Now.Add(d) }

// settings are the settings with further lines of the spec.
func settings(more string) string {
	return "apiVersion: countersign.dev/v1\nkind: Settings\nspec:\n  forge: {kind: local}\n  signoff: unauthenticated\n  owners: [user:carol@acme.test]\n" + indent(more)
}

func indent(lines string) string {
	if lines == "" {
		return ""
	}
	return "  " + strings.ReplaceAll(strings.TrimSuffix(lines, "\n"), "\n", "\n  ") + "\n"
}

const people = `apiVersion: countersign.dev/v1
kind: People
spec:
  people:
    - {login: alice, emails: [alice@acme.test], identities: {authz: [alice], hr: [alice]}}
    - {login: bob, emails: [bob@acme.test], identities: {authz: [bob], hr: [bob]}}
    - {login: carol, emails: [carol@acme.test]}
    - {login: dave, emails: [dave@acme.test], identities: {authz: [dave], hr: [dave]}}
    - {login: erin, emails: [erin@acme.test], identities: {authz: [erin], hr: [erin]}}
    - {login: frank, emails: [frank@acme.test]}
    - {login: gina, emails: [gina@acme.test], identities: {authz: [gina], hr: [gina]}}
`

// application is one with all in scope and sales grantable, and further lines of the spec in place of the
// same ones.
func (w *world) application(name, more string) string {
	spec := fmt.Sprintf("connector: casbin\nconfig: {policy: %q}\n", w.path(name))
	for _, line := range []string{`owners: [user:bob@acme.test, user:frank@acme.test]`, `scope: {role: ["*"]}`, `grantable: {object: ["sales.*"]}`} {
		if key, _, _ := strings.Cut(line, ":"); !strings.Contains("\n"+more, "\n"+key+":") {
			spec += line + "\n"
		}
	}
	return "apiVersion: countersign.dev/v1\nkind: Application\nmetadata: {name: " + name + "}\nspec:\n" + indent(spec+more)
}

func document(kind, spec string) string {
	return "apiVersion: countersign.dev/v1\nkind: " + kind + "\nmetadata: {name: it, reason: The dashboards read the sales data}\nspec:\n" + indent(spec)
}

func creation(app, role string) string {
	return document("ConnectionCreation", "application: "+app+"\nconnection: {type: role, source_name: "+role+"}\n")
}

func deletion(app, role string) string {
	return document("ConnectionDeletion", "application: "+app+"\nconnection: {type: role, source_name: "+role+"}\n")
}

func assignment(app, role string, lists ...string) string {
	return document("ConnectionAssignment", "application: "+app+"\nconnection: {type: role, source_name: "+role+"}\n"+strings.Join(lists, ""))
}

func grants(entries ...string) string  { return "grants: [" + strings.Join(entries, ", ") + "]\n" }
func revokes(entries ...string) string { return "revokes: [" + strings.Join(entries, ", ") + "]\n" }

func user(name string) string { return "{type: user, source_name: " + name + "}" }
func read(object string) string {
	return "{type: object, source_name: " + object + ", privileges: [read]}"
}

// change writes the files to the work tree.
func (w *world) change(f files) {
	w.t.Helper()
	for path, content := range f {
		if content == "" {
			w.Delete(path)
			continue
		}
		w.Write(path, content)
	}
}

// propose commits the files on a branch off main as Alice, and stays there.
func (w *world) propose(branch string, f files) string {
	w.t.Helper()
	w.Checkout("main").Branch(branch, "main")
	w.change(f)
	return w.Commit(historytest.CommitOptions{})
}

// merge lands a branch on main with the approvals in trailers.
func (w *world) merge(branch string, approvers ...historytest.Person) string {
	w.t.Helper()
	w.Checkout("main")
	return w.Land(historytest.Merge, historytest.MergeOptions{Approvers: approvers}, branch)
}

// land proposes and merges.
func (w *world) land(f files, approvers ...historytest.Person) string {
	w.t.Helper()
	w.landed++
	branch := fmt.Sprintf("change-%d", w.landed)
	w.propose(branch, f)
	return w.merge(branch, approvers...)
}

// push commits on main directly: nobody has approved it.
func (w *world) push(f files) string {
	w.t.Helper()
	w.Checkout("main")
	w.change(f)
	return w.Commit(historytest.CommitOptions{Author: historytest.Mallory()})
}

func (w *world) blob(path string) string {
	w.t.Helper()
	return w.Git("rev-parse", "main:"+path)
}

// open makes a reconciler as a new process would.
func (w *world) open() *reconciler.Reconciler {
	w.t.Helper()
	repo, err := history.Open(w.Dir)
	if err != nil {
		w.t.Fatal(err)
	}
	registry, err := connectors.NewRegistry(flaky{casbin.New(), w.faults})
	if err != nil {
		w.t.Fatal(err)
	}
	now := w.Now
	r, err := reconciler.New(reconciler.Config{Repository: repo, State: w.state, Secrets: secrets.New(secrets.Config{Allow: []string{"/*"}}), Connectors: registry, Version: w.version, Now: func() time.Time { return now }, Replica: w.replica, Isolate: w.isolate,
		LedgerKey: w.key, LedgerPublicKey: w.public})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := r.Close(); err != nil {
			w.t.Error(err)
		}
	})
	return r
}

// forget deletes the order index, which is a cache.
func (w *world) forget() {
	w.t.Helper()
	if err := os.Remove(filepath.Join(w.state, "index.db")); err != nil {
		w.t.Fatal(err)
	}
}

// lose loses the ledger, and everything that knows of it.
func (w *world) lose() {
	w.t.Helper()
	w.state = w.t.TempDir()
	w.Git("update-ref", "-d", reconciler.WitnessReference)
}

// elsewhere makes the reconcilers opened from here on those of another machine, with a clone of its own.
func (w *world) elsewhere() {
	w.t.Helper()
	dir := filepath.Join(w.t.TempDir(), "clone")
	w.Git("clone", "-q", "--bare", w.Dir, dir)
	w.Dir, w.state = dir, w.t.TempDir()
}

// try is one pass over main.
func (w *world) try(o reconciler.RunOptions) (*schemas.RunReport, error) {
	w.t.Helper()
	if o.To == "" {
		o.To = "main"
	}
	return w.open().RunOnce(w.t.Context(), o)
}

// run applies main, and fails the test when that cannot be done. What goes wrong in one application is in its outcome.
func (w *world) run() *schemas.RunReport {
	w.t.Helper()
	return w.runWith(reconciler.RunOptions{})
}

func (w *world) runWith(o reconciler.RunOptions) *schemas.RunReport {
	w.t.Helper()
	r, err := w.try(o)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *world) preview(head string) *schemas.Preview {
	w.t.Helper()
	p, err := w.open().Preview(w.t.Context(), reconciler.PreviewOptions{Base: "main", Head: head})
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// status is where the request of a file stands.
func (w *world) status(path string) schemas.RequestStatus {
	w.t.Helper()
	s, err := w.open().Status(w.t.Context(), "main", "")
	if err != nil {
		w.t.Fatal(err)
	}
	for _, r := range s.Requests {
		if r.Document.Path == path {
			return r
		}
	}
	w.t.Fatalf("there is no status of %s", path)
	return schemas.RequestStatus{}
}

// outcome is one application's part of a report.
func outcome(t testing.TB, r *schemas.RunReport, app string) schemas.ApplicationOutcome {
	t.Helper()
	i := slices.IndexFunc(r.Applications, func(o schemas.ApplicationOutcome) bool { return o.Application == app })
	if i < 0 {
		t.Fatalf("there is no outcome of %s", app)
	}
	return r.Applications[i]
}

// content is a store as it stands.
func (w *world) content(app string) string {
	w.t.Helper()
	b, err := os.ReadFile(w.path(app))
	if err != nil {
		w.t.Fatal(err)
	}
	return string(b)
}

// tamper adds lines to a store behind everybody's back.
func (w *world) tamper(app string, lines ...string) {
	w.t.Helper()
	w.overwrite(app, w.content(app)+strings.Join(lines, "\n")+"\n")
}

func (w *world) overwrite(app, content string) {
	w.t.Helper()
	if err := os.WriteFile(w.path(app), []byte(content), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// holds is what a store grants, by the file itself: "role" for each connection, "role: user" for each
// membership, "role read object" for each permission. Sorted.
func (w *world) holds(app string) []string {
	w.t.Helper()
	out := []string{}
	for line := range strings.Lines(w.content(app)) {
		f := strings.Split(strings.TrimSpace(line), ", ")
		switch f[0] {
		case "p":
			out = append(out, f[1]+" "+f[3]+" "+f[2])
		case "g":
			out = append(out, f[2]+": "+f[1])
		default:
			if name, ok := strings.CutPrefix(strings.TrimSpace(line), "p2, "); ok {
				name, _, _ = strings.Cut(name, ",")
				out = append(out, name)
			}
		}
	}
	slices.Sort(out)
	return out
}

// wantHolds holds a store against what it should grant.
func (w *world) wantHolds(app string, want ...string) {
	w.t.Helper()
	slices.Sort(want)
	if diff := cmp.Diff(append([]string{}, want...), w.holds(app)); diff != "" {
		w.t.Errorf("the store of %s (-want +got):\n%s", app, diff)
	}
}

// said are operations as text: what, the cause, and the hold if there is one.
func said(ops []schemas.Operation) []string {
	out := []string{}
	for i := range ops {
		o := &ops[i]
		s := string(o.Kind) + " " + o.Connection.SourceName
		if o.Target != nil {
			s += " " + o.Target.SourceName + " " + strings.ToLower(o.Privilege)
		}
		s += " (" + string(o.Cause) + ")"
		if o.Hold != schemas.HoldNone {
			s += " held: " + string(o.Hold)
		}
		out = append(out, s)
	}
	slices.Sort(out)
	return out
}

func wantPlan(t testing.TB, ops []schemas.Operation, want ...string) {
	t.Helper()
	slices.Sort(want)
	if diff := cmp.Diff(append([]string{}, want...), said(ops)); diff != "" {
		t.Errorf("operations (-want +got):\n%s", diff)
	}
}

// wantVerdict wants the commit to be judged for the first time in the report.
func wantVerdict(t testing.TB, r *schemas.RunReport, commit, want string) schemas.AdmissionRecord {
	t.Helper()
	for _, a := range r.Admissions {
		if a.Commit == commit {
			if string(a.Verdict) != want {
				t.Errorf("the commit is %s, want %s: %v", a.Verdict, want, a.Reasons)
			}
			return a
		}
	}
	t.Errorf("the commit was not judged, want %s", want)
	return schemas.AdmissionRecord{}
}

// codes are the codes of findings, sorted and without doubles.
func codes(list []schemas.Finding) []string {
	out := []string{}
	for _, f := range list {
		out = append(out, f.Code)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// fault is what is wrong with an application while a test wants it so.
type fault struct {
	// open and read fail; readBack fails all reads but the first of a connection.
	open, read, readBack error
	// state changes what was read.
	state func(*schemas.State)
	// describe changes how the installation describes itself.
	describe func(*schemas.Description)
	// apply fails an operation; what depends on it is blocked.
	apply func(*schemas.Operation) error
	// lost carries out that many operations, reports none, and fails as if the connection broke.
	lost int
}

// flaky is the casbin connector with faults, by application.
type flaky struct {
	connectors.Connector
	faults map[string]*fault
}

func (f flaky) OpenReader(ctx context.Context, c connectors.Config) (connectors.Reader, error) {
	x := f.faults[c.Application]
	if x != nil && x.open != nil {
		return nil, x.open
	}
	r, err := f.Connector.OpenReader(ctx, c)
	if err != nil || x == nil {
		return r, err
	}
	return &flakyReader{Reader: r, fault: x}, nil
}

func (f flaky) OpenWriter(ctx context.Context, c connectors.Config) (connectors.Writer, error) {
	w, err := f.Connector.OpenWriter(ctx, c)
	if x := f.faults[c.Application]; err == nil && x != nil && x.apply != nil {
		return flakyWriter{w, x.apply}, nil
	}
	if x := f.faults[c.Application]; err == nil && x != nil && x.lost > 0 {
		return losingWriter{w, x.lost}, nil
	}
	return w, err
}

type flakyReader struct {
	connectors.Reader
	fault *fault
	reads int
}

func (r *flakyReader) Describe(ctx context.Context) (schemas.Description, error) {
	d, err := r.Reader.Describe(ctx)
	if err == nil && r.fault.describe != nil {
		r.fault.describe(&d)
	}
	return d, err
}

func (r *flakyReader) Read(ctx context.Context, sel schemas.Selection) (schemas.State, error) {
	r.reads++
	if r.fault.read != nil {
		return schemas.State{}, r.fault.read
	}
	if r.fault.readBack != nil && r.reads > 1 {
		return schemas.State{}, r.fault.readBack
	}
	s, err := r.Reader.Read(ctx, sel)
	if err == nil && r.fault.state != nil {
		r.fault.state(&s)
	}
	return s, err
}

type flakyWriter struct {
	connectors.Writer
	fail func(*schemas.Operation) error
}

func (w flakyWriter) Apply(ctx context.Context, ops []schemas.Operation, report func(connectors.Outcome)) error {
	failed := map[string]bool{}
	for i := range ops {
		o := ops[i]
		err := w.fail(&o)
		if slices.ContainsFunc(o.DependsOn, func(id string) bool { return failed[id] }) {
			err = &connectors.Error{Code: connectors.Blocked, Op: o.ID, Message: "what it depends on failed"}
		}
		if err != nil {
			failed[o.ID] = true
			report(connectors.Outcome{Operation: o.ID, Attempts: 1, Err: err})
			continue
		}
		if err := w.Writer.Apply(ctx, []schemas.Operation{o}, report); err != nil {
			return err
		}
	}
	return nil
}

// exists reports whether main has the file.
func (w *world) exists(path string) bool {
	_, err := w.Try("cat-file", "-e", "main:"+path)
	return err == nil
}

// forgetIndex deletes the order index.
func (w *world) forgetIndex() {
	w.t.Helper()
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(filepath.Join(w.state, "index.db"+suffix)); err != nil && !errors.Is(err, os.ErrNotExist) {
			w.t.Fatal(err)
		}
	}
}
