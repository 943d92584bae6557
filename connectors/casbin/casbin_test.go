package casbin_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	casbinlib "github.com/casbin/casbin/v2"
	"github.com/casbin/casbin/v2/model"
	fileadapter "github.com/casbin/casbin/v2/persist/file-adapter"
	"github.com/gofrs/flock"
	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/casbin"
	"github.com/countersign/countersign/connectors/connectortest"
	"github.com/countersign/countersign/schemas"
)

func config(path string) connectors.Config {
	return connectors.Config{Application: "store", Values: map[string]any{"policy": path}, Now: time.Now, Logger: slog.New(slog.DiscardHandler)}
}

func name(typ, source string) schemas.Name { return schemas.Name{Type: typ, SourceName: source} }

func create(typ, source string) schemas.Operation {
	return schemas.Operation{ID: "create " + source, Kind: schemas.OperationCreate, Connection: name(typ, source)}
}

func grant(c schemas.Name, target schemas.Name, privilege string) schemas.Operation {
	return schemas.Operation{ID: fmt.Sprint("grant ", c, target, privilege), Kind: schemas.OperationGrant, Connection: c, Target: &target, Privilege: privilege}
}

func revoke(c schemas.Name, target schemas.Name, privilege string) schemas.Operation {
	op := grant(c, target, privilege)
	op.Kind, op.ID = schemas.OperationRevoke, "un"+op.ID
	return op
}

func writer(t connectortest.TB, cfg connectors.Config) connectors.Writer {
	t.Helper()
	w, err := casbin.New().OpenWriter(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// apply wants all operations applied.
func apply(t connectortest.TB, w connectors.Writer, ops ...schemas.Operation) {
	t.Helper()
	n := 0
	err := w.Apply(t.Context(), ops, func(o connectors.Outcome) {
		n++
		if o.Err != nil {
			t.Errorf("%s: %v", o.Operation, o.Err)
		}
	})
	if err != nil || n != len(ops) {
		t.Fatalf("%d of %d outcomes: %v", n, len(ops), err)
	}
}

// enforcer is what an application makes of the file.
func enforcer(t connectortest.TB, path string) *casbinlib.Enforcer {
	t.Helper()
	m, err := model.NewModelFromString(casbin.Model())
	if err != nil {
		t.Fatal(err)
	}
	e, err := casbinlib.NewEnforcer(m, fileadapter.NewAdapter(path))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func enforce(t connectortest.TB, e *casbinlib.Enforcer, want bool, sub, obj, act string) {
	t.Helper()
	got, err := e.Enforce(sub, obj, act)
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("%s may %s %s: got %v, want %v", sub, act, obj, got, want)
	}
}

func newStore(t connectortest.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "policy.csv")
	if err := casbin.Init(path, casbin.Contents{Users: []string{"alice", "bob", "bob", `back\slash`, "it's"}, Objects: []string{"sales.orders", "sales.payroll"}}); err != nil {
		t.Fatal(err)
	}
	return path
}

// An ordinary enforcer with the model that comes along sees what was granted, and no more.
func TestEnforcer(t *testing.T) {
	t.Parallel()
	path := newStore(t)
	w := writer(t, config(path))
	reader, staff, base := name("role", "sales_reader"), name("group", "sales staff"), name("role", `base\role`)
	orders := name("object", "sales.orders")
	described := create("role", "sales_reader")
	described.After = map[string]any{"description": "Readers of sales, in \"EU\"\n and elsewhere", "title": " Sales", "critical": true}
	apply(t, w,
		described, create("group", "sales staff"), create("role", `base\role`), create("group", "juniors"),
		grant(reader, orders, "read"), grant(base, name("object", "sales.payroll"), "write"), grant(staff, orders, "admin"),
		grant(reader, base, "MEMBER"), grant(staff, reader, "MEMBER"), grant(staff, name("user", "alice"), "MEMBER"),
		grant(staff, name("group", "juniors"), "MEMBER"), grant(name("group", "juniors"), name("user", `back\slash`), "MEMBER"),
		grant(reader, name("user", "it's"), "MEMBER"),
	)
	check := func() {
		t.Helper()
		e := enforcer(t, path)
		enforce(t, e, true, "alice", "sales.orders", "read")
		enforce(t, e, true, "alice", "sales.orders", "admin")
		enforce(t, e, true, "alice", "sales.payroll", "write")
		enforce(t, e, true, `back\slash`, "sales.orders", "read")
		enforce(t, e, true, "it's", "sales.payroll", "write")
		enforce(t, e, false, "it's", "sales.orders", "admin")
		enforce(t, e, false, "bob", "sales.orders", "read")
		enforce(t, e, false, "alice", "sales.orders", "write")
	}
	check()
	before, err := w.Read(t.Context(), schemas.Selection{})
	if err != nil {
		t.Fatal(err)
	}

	// An enforcer that saves its policy keeps everything but the last newline and the comments. Until
	// somebody has looked, nobody can tell that from a file that was cut short.
	if err := enforcer(t, path).SavePolicy(); err != nil {
		t.Fatal(err)
	}
	if s, err := w.Read(t.Context(), schemas.Selection{}); err != nil || s.Incomplete == "" {
		t.Errorf("a file without a last newline passes for whole (%v)", err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(b, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	after, err := w.Read(t.Context(), schemas.Selection{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("SavePolicy lost something (-before +after):\n%s", diff)
	}
	check()

	apply(t, w, revoke(staff, reader, "MEMBER"))
	e := enforcer(t, path)
	enforce(t, e, false, "alice", "sales.orders", "read")
	enforce(t, e, true, "it's", "sales.orders", "read")
	apply(t, w, schemas.Operation{ID: "delete", Kind: schemas.OperationDelete, Connection: staff})
	enforce(t, enforcer(t, path), false, "alice", "sales.orders", "admin")
}

// A store that nobody has declared anything in: casbin's own example.
func TestUndeclared(t *testing.T) {
	t.Parallel()
	const example = "p, alice, data1, read\np, bob, data2, write\np, data2_admin, data2, read\np, data2_admin, data2, write\n\ng, alice, data2_admin\ng, data2_admin, root, extra\n"
	f := newFile(t, "")
	f.write(t, example)
	t.Cleanup(func() { f.write(t, "") }) // the example has no foreign lines
	w := writer(t, f.cfg)
	admin := name("role", "data2_admin")
	read := func() []schemas.Connection {
		t.Helper()
		s, err := w.Read(t.Context(), schemas.Selection{})
		if err != nil || s.Incomplete != "" {
			t.Fatalf("%v %s", err, s.Incomplete)
		}
		return s.Connections
	}
	payload := map[string]any{"title": "", "description": "", "critical": false}
	want := []schemas.Connection{
		{Name: admin, Payload: payload, Entitlements: []schemas.Entitlement{
			{Target: name("object", "data2"), Privilege: "read"}, {Target: name("object", "data2"), Privilege: "write"},
			{Target: name("role", "root"), Privilege: "MEMBER"}, {Target: name("user", "alice"), Privilege: "MEMBER"},
		}},
		{Name: name("role", "root"), Payload: payload},
	}
	if diff := cmp.Diff(want, read()); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
	// To create what is there already changes nothing but its declaration.
	apply(t, w, create("role", "data2_admin"))
	if diff := cmp.Diff(want, read()); diff != "" {
		t.Errorf("creation of what is there (-want +got):\n%s", diff)
	}
	// Losing its last line, nothing is forgotten or taken for something else.
	apply(t, w, revoke(admin, name("user", "alice"), "MEMBER"), revoke(admin, name("role", "root"), "MEMBER"),
		revoke(admin, name("object", "data2"), "read"), revoke(admin, name("object", "data2"), "write"))
	want[0].Entitlements = nil
	if diff := cmp.Diff(want, read()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	apply(t, w, grant(name("role", "root"), name("user", "alice"), "MEMBER"), grant(name("role", "root"), name("object", "data2"), "read"),
		schemas.Operation{ID: "delete", Kind: schemas.OperationDelete, Connection: admin})
	page, err := w.List(t.Context(), connectors.Query{Type: "user"})
	if err != nil {
		t.Fatal(err)
	}
	if got := page.Items; len(got) != 2 || got[0].SourceName != "alice" || got[1].SourceName != "bob" {
		t.Errorf("users: %v", got)
	}
	// What is a user's stays the user's.
	if got := f.read(t); !strings.HasPrefix(got, "p, alice, data1, read\np, bob, data2, write\n") {
		t.Errorf("permissions of users changed:\n%s", got)
	}
	// One space of names: a role cannot take a user's.
	err = w.Apply(t.Context(), []schemas.Operation{create("role", "bob")}, func(o connectors.Outcome) {
		if got := connectors.CodeOf(o.Err); got != connectors.Conflict {
			t.Errorf("role bob beside user bob: %v", o.Err)
		}
	})
	if err != nil {
		t.Error(err)
	}
}

// Refusals that are casbin's own.
// What belongs to no role or group is counted, with the user that has it.
func TestNotRead(t *testing.T) {
	t.Parallel()
	of := func(what, user string, count int) schemas.NotRead {
		n := schemas.NotRead{What: what, Count: count}
		if user != "" {
			n.Connection = name("user", user)
		}
		return n
	}
	var many strings.Builder
	var hundred []schemas.NotRead
	for i := range 103 {
		fmt.Fprintf(&many, "p, u%03d, orders, read\np, u%03d, orders, write\n", i, i)
		if i < 100 {
			hundred = append(hundred, of("permission of a user", fmt.Sprintf("u%03d", i), 2))
		}
	}
	for text, want := range map[string][]schemas.NotRead{
		"p2, reader, role, , , false\np, reader, orders, read\ng, alice, reader\n":   nil,
		"p, alice, orders, admin\np, alice, orders, admin\np, alice, orders, read\n": {of("permission of a user", "alice", 2)},
		"p3, bob\ng, alice, bob\ng, carol, bob\n":                                    {of("membership in a user", "bob", 2)},
		"# other models\ng2, orders, sales\np5, x\np5, y\n":                          {of("rule of section g2", "", 1), of("rule of section p5", "", 2)},
		many.String(): append(hundred, of("permission of a user", "", 6)),
	} {
		f := newFile(t, "")
		f.write(t, text)
		w := writer(t, f.cfg)
		for _, sel := range []schemas.Selection{{}, {Scope: map[string][]string{"role": {"reader"}}}} {
			s, err := w.Read(t.Context(), sel)
			if err != nil || s.Incomplete != "" {
				t.Fatalf("%v %s", err, s.Incomplete)
			}
			if diff := cmp.Diff(want, s.NotRead); diff != "" {
				t.Errorf("%.40q (-want +got):\n%s", text, diff)
			}
			if n, err := w.Normalize(s); err != nil || !cmp.Equal(n.NotRead, s.NotRead) {
				t.Errorf("%.40q: Normalize has %v, %v", text, n.NotRead, err)
			}
		}
		f.write(t, "") // for the checks of the file at the end
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	f := newFile(t, "p2, a, role, , , false\np2, b, role, , , false\np2, g, group, , , false\np3, alice\np3, lord\np4, x\ng, b, a\ng, alice, lord\np, a, x, own\n")
	w := writer(t, f.cfg)
	a, b, g := name("role", "a"), name("role", "b"), name("group", "g")
	before := f.read(t)
	for _, c := range []struct {
		name string
		op   schemas.Operation
		code connectors.Code
	}{
		{"a member of itself", grant(a, a, "MEMBER"), connectors.Invalid},
		{"a circle", grant(a, b, "MEMBER"), connectors.Invalid},
		{"a user with members", grant(a, name("user", "lord"), "MEMBER"), connectors.Conflict},
		{"a role in a group", grant(a, g, "MEMBER"), connectors.Unsupported},
		{"a role as a user", grant(g, name("user", "b"), "MEMBER"), connectors.NotFound},
		{"admin of a membership", grant(g, name("user", "alice"), "ADMIN"), connectors.Unsupported},
		{"an action out of the config", grant(a, name("object", "x"), "own"), connectors.Unsupported},
		{"a group of a role's name", create("group", "a"), connectors.Conflict},
		{"reassignment", schemas.Operation{ID: "d", Kind: schemas.OperationDelete, Connection: a, ReassignTo: "b"}, connectors.Unsupported},
	} {
		err := w.Apply(t.Context(), []schemas.Operation{c.op}, func(o connectors.Outcome) {
			if got := connectors.CodeOf(o.Err); got != c.code {
				t.Errorf("%s: got %q (%v), want %q", c.name, got, o.Err, c.code)
			}
		})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if got := f.read(t); got != before {
		t.Errorf("a refusal left a trace:\n%s", got)
	}
	// A user with members is shown as such, an action that the config does not name can be taken away.
	page, err := w.List(t.Context(), connectors.Query{Type: "user", Names: []string{"lord", "alice"}})
	if err != nil || len(page.Items) != 2 || page.Items[0].Connection || !page.Items[1].Connection {
		t.Errorf("users: %+v, %v", page.Items, err)
	}
	apply(t, w, revoke(a, name("object", "x"), "own"))
	if got := f.read(t); strings.Contains(got, "own") {
		t.Errorf("the action is still there:\n%s", got)
	}
}

// The file keeps its mode, is reached through links, and nothing is left beside it but the lock.
func TestReplacement(t *testing.T) {
	t.Parallel()
	path := newStore(t)
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link.csv")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	apply(t, writer(t, config(link)), create("role", "a"))
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link was replaced (%v)", err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, want 0640 (%v)", info.Mode(), err)
	}
	b, err := os.ReadFile(path)
	if err != nil || !strings.HasSuffix(string(b), "\np2, a, role, , , false\n") {
		t.Errorf("got %q, %v", b, err)
	}
	// What changes nothing is not written.
	apply(t, writer(t, config(link)), create("role", "a"))
	again, err := os.Stat(path)
	if err != nil || !os.SameFile(info, again) {
		t.Errorf("a change of nothing replaced the file (%v)", err)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if want := []string{"policy.csv", "policy.csv.lock"}; !slices.Equal(names, want) {
		t.Errorf("the folder has %v, want %v", names, want)
	}
}

// Reading leaves nothing behind: a preview writes nothing.
func TestReadingWritesNothing(t *testing.T) {
	t.Parallel()
	path := newStore(t)
	r, err := casbin.New().OpenReader(t.Context(), config(path))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := r.(connectors.Writer); ok {
		t.Error("what is opened for reading can write")
	}
	if _, err := r.Read(t.Context(), schemas.Selection{}); err != nil {
		t.Error(err)
	}
	if _, err := r.List(t.Context(), connectors.Query{Type: "user"}); err != nil {
		t.Error(err)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder has %v (%v)", entries, err)
	}
}

// A path in Git cannot lead out of the repository.
func TestRelativePath(t *testing.T) {
	t.Parallel()
	outside := newStore(t)
	dir := t.TempDir()
	if err := casbin.Init(filepath.Join(dir, "policy.csv"), casbin.Contents{}); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "link.csv")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Dir(outside), filepath.Join(dir, "folder")); err != nil {
		t.Fatal(err)
	}
	for path, code := range map[string]connectors.Code{
		"policy.csv": "", "./policy.csv": "", "link.csv": connectors.Invalid, "folder/policy.csv": connectors.Invalid,
		"../x.csv": connectors.Invalid, "a/../../x.csv": connectors.Invalid, ".": connectors.Invalid, "absent.csv": connectors.Unavailable,
	} {
		cfg := config(path)
		cfg.Directory = dir
		_, err := casbin.New().OpenReader(t.Context(), cfg)
		if got := connectors.CodeOf(err); got != code || (code == "") != (err == nil) {
			t.Errorf("%s: got %q (%v), want %q", path, got, err, code)
		}
	}
}

// A held lock is waited for, as long as the context says.
func TestLock(t *testing.T) {
	t.Parallel()
	path := newStore(t)
	l := flock.New(path + ".lock")
	if err := l.Lock(); err != nil {
		t.Fatal(err)
	}
	w := writer(t, config(path))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	err := w.Apply(ctx, []schemas.Operation{create("role", "a")}, func(connectors.Outcome) { t.Error("an outcome without the lock") })
	if connectors.CodeOf(err) != connectors.Unavailable || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if err := l.Unlock(); err != nil {
		t.Fatal(err)
	}
	apply(t, w, create("role", "a"))
}

// Many processes' worth of writers in one: each line is there in the end.
func TestManyWriters(t *testing.T) {
	t.Parallel()
	path := newStore(t)
	const writers, each = 6, 15
	var group sync.WaitGroup
	for i := range writers {
		w := writer(t, config(path))
		group.Go(func() {
			for j := range each {
				op := create("role", fmt.Sprintf("r_%d_%d", i, j))
				if err := w.Apply(t.Context(), []schemas.Operation{op}, func(o connectors.Outcome) {
					if o.Err != nil {
						t.Error(o.Err)
					}
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	s, err := writer(t, config(path)).Read(t.Context(), schemas.Selection{})
	if err != nil || len(s.Connections) != writers*each {
		t.Errorf("%d connections, want %d (%v)", len(s.Connections), writers*each, err)
	}
}

// The config may name its actions, and a model of its own that has the store's sections.
func TestConfig(t *testing.T) {
	t.Parallel()
	path := newStore(t)
	own := filepath.Join(t.TempDir(), "model.conf")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(own, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(strings.Replace(casbin.Model(), "r.obj == p.obj", "keyMatch(r.obj, p.obj)", 1))
	cfg := config(path)
	cfg.Values["model"], cfg.Values["actions"] = own, []any{"view", "admin"}
	w := writer(t, cfg)
	d, err := w.Describe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	role, _ := d.Type("role")
	object, _ := role.Target("object")
	if diff := cmp.Diff([]string{"view", "admin"}, object.Privileges); diff != "" || object.Default[0] != "view" || object.PrivilegedPrivileges[0] != "admin" {
		t.Errorf("%+v", object)
	}
	apply(t, w, create("role", "r"), grant(name("role", "r"), name("object", "sales.orders"), "view"))
	for text, code := range map[string]connectors.Code{
		"nonsense": connectors.Invalid,
		strings.Replace(casbin.Model(), "p3 = sub\n", "", 1):                    connectors.Unsupported,
		strings.Replace(casbin.Model(), "p = sub, obj", "p = sub, dom, obj", 1): connectors.Unsupported,
		strings.Replace(casbin.Model(), "g = _, _", "g = _, _, _", 1):           connectors.Unsupported,
	} {
		write(text)
		if _, err := casbin.New().OpenReader(t.Context(), cfg); connectors.CodeOf(err) != code {
			t.Errorf("model %.20q: %v, want %s", text, err, code)
		}
	}
}

func TestInit(t *testing.T) {
	t.Parallel()
	path := newStore(t)
	if err := casbin.Init(path, casbin.Contents{}); !errors.Is(err, os.ErrExist) {
		t.Errorf("a store was made over another: %v", err)
	}
	if err := casbin.Init(path+"2", casbin.Contents{Users: []string{"a,b"}}); connectors.CodeOf(err) != connectors.Invalid {
		t.Errorf("a user that casbin cannot hold: %v", err)
	}
	page, err := writer(t, config(path)).List(t.Context(), connectors.Query{Type: "user"})
	if err != nil || len(page.Items) != 4 {
		t.Errorf("%d users, want 4 (%v)", len(page.Items), err)
	}
	enforce(t, enforcer(t, path), false, "alice", "sales.orders", "read")
}

// benchStore has n roles with a member and a permission each.
func benchStore(b *testing.B, n int) (string, []schemas.Operation) {
	b.Helper()
	path := filepath.Join(b.TempDir(), "policy.csv")
	if err := casbin.Init(path, casbin.Contents{Users: []string{"alice"}, Objects: []string{"sales.orders"}}); err != nil {
		b.Fatal(err)
	}
	ops := make([]schemas.Operation, 0, 3*n)
	for i := range n {
		c := name("role", fmt.Sprintf("role_%05d", i))
		ops = append(ops, create("role", c.SourceName), grant(c, name("user", "alice"), "MEMBER"), grant(c, name("object", "sales.orders"), "read"))
		for j := range ops[3*i:] {
			ops[3*i+j].ID = fmt.Sprint(3*i + j)
		}
	}
	return path, ops
}

func BenchmarkRead(b *testing.B) {
	for _, n := range []int{1_000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			path, ops := benchStore(b, n)
			w := writer(b, config(path))
			apply(b, w, ops...)
			b.ReportAllocs()
			for b.Loop() {
				if s, err := w.Read(b.Context(), schemas.Selection{}); err != nil || len(s.Connections) != n {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkApply(b *testing.B) {
	for _, n := range []int{1_000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			path, ops := benchStore(b, n)
			empty, err := os.ReadFile(path)
			if err != nil {
				b.Fatal(err)
			}
			w := writer(b, config(path))
			b.ReportAllocs()
			for b.Loop() {
				if err := os.WriteFile(path, empty, 0o600); err != nil {
					b.Fatal(err)
				}
				apply(b, w, ops...)
			}
		})
	}
}

func BenchmarkApplyNothingNew(b *testing.B) {
	path, ops := benchStore(b, 10_000)
	w := writer(b, config(path))
	apply(b, w, ops...)
	for b.Loop() {
		apply(b, w, ops[:3]...)
	}
}
