package servers

import (
	"path/filepath"
	"strings"
	"sync"
)

// templates hold the data of servers that were installed and never started. Installing one takes seconds, copying it
// a moment: servers that run at the same time share the work. A template is removed with the last server made from
// it.
type templates struct {
	mu   sync.Mutex
	made map[string]*template
}

type template struct {
	once    sync.Once
	dir     string
	users   int
	cleanup []func()
}

// installed are the templates of this program's servers.
var installed = &templates{made: map[string]*template{}}

// data returns a copy of what install writes into a new folder, for the account owner. The key distinguishes
// different installations.
func (ts *templates) data(t TB, owner, to, key string, install func(t TB, dir string)) {
	t.Helper()
	key = owner + "\x00" + key
	ts.mu.Lock()
	made := ts.made[key]
	if made == nil {
		made = &template{}
		ts.made[key] = made
	}
	made.users++
	ts.mu.Unlock()
	t.Cleanup(func() {
		ts.mu.Lock()
		defer ts.mu.Unlock()
		if made.users--; made.users > 0 {
			return
		}
		delete(ts.made, key)
		for _, f := range made.cleanup {
			f()
		}
	})
	made.once.Do(func() {
		keeper := keeper{t, made}
		dir := filepath.Join(folder(keeper, owner), "data")
		install(keeper, dir)
		made.dir = dir
	})
	if made.dir == "" {
		t.Fatalf("the server could not be installed: %s", strings.ReplaceAll(key, "\x00", " "))
	}
	run(t, owner, filepath.Dir(to), "cp", "-a", "--reflink=auto", made.dir, to)
}

// keeper is a test whose cleanups wait for the last user of a template.
type keeper struct {
	TB
	of *template
}

func (k keeper) Cleanup(f func()) { k.of.cleanup = append(k.of.cleanup, f) }
