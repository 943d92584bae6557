package casbin

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/casbin/casbin/v2/model"
	"github.com/casbin/casbin/v2/persist"
	"github.com/google/go-cmp/cmp"
)

// FuzzStore holds the parser to casbin's own, and changes to leaving everything else alone.
func FuzzStore(f *testing.F) {
	for _, seed := range []string{
		"", "\n", "# x\n", header, "p, a, b, c\n", "p, a, b, c", "p,a,b,c\r\ng , a,b\n", "g, a, b, c, d\np2, r, role, t, d, false\np3, u\np4, o\n",
		"p, \"a, b\", c, d\n", "p, \"a\"\"b\", c, d\n", "p, a \"b\" c, d, e\n", "p2, r, role, %2C, %25, true\n", "p9, x\ng7, y, z\n", "x, y\n",
		"p, a, b, c\np, a, b, c\n", " p, a, b, c \n", "\tp, a,\u00a0b, c\u2003\n", "p, a, b, c\v\n", "p, a\rb, c, d\n", "g, a, a\n", "p, , b, c\n", "\ufeffp, a, b, c\n",
		"p, fuzz, b, c\ng, fuzz, x\n", "p2, x, group, , , false\ng, x, y\ng, z, x\n", "p, \xff, b, c\n", "p, \x00, b, c\n", "\"p\", a, b, c\n", ",\n", "p\n", "\"\n",
	} {
		f.Add([]byte(seed))
	}
	base, err := model.NewModelFromString(rbac)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		s := parse(content)
		if len(content) > 0 && content[len(content)-1] == '\n' && !bytes.Equal(s.bytes(), content) {
			t.Fatalf("what was read is written as %q", s.bytes())
		}
		for _, kind := range []string{TypeRole, TypeGroup, TypeUser} {
			for _, name := range s.subjects(kind) {
				if s.kind(name) != kind {
					t.Errorf("%q is a %s and a %s", name, kind, s.kind(name))
				}
			}
		}
		if s.fault != "" {
			return
		}
		// Casbin reads it too, and the same in each line, but for sections of other models.
		m := base.Copy()
		scanner := bufio.NewScanner(bytes.NewReader(content))
		for i := 0; scanner.Scan(); i++ {
			fields, err := split(s.records[i].text)
			if err != nil {
				t.Fatalf("line %d is not CSV and was taken: %v", i, err)
			}
			if s.records[i].fields == nil {
				continue
			}
			m.ClearPolicy()
			if err := persist.LoadPolicyLine(strings.TrimSpace(scanner.Text()), m); err != nil {
				t.Fatalf("casbin does not take line %d, %q: %v", i, scanner.Text(), err)
			}
			a, err := m.GetAssertion(fields[0][:1], fields[0])
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(a.Policy[0], fields[1:]); diff != "" {
				t.Fatalf("line %d (-casbin +ours):\n%s", i, diff)
			}
		}
		if err := scanner.Err(); err != nil {
			t.Fatalf("casbin does not take the file: %v", err)
		}
		// What comes and goes leaves nothing.
		const fresh = "fuzz made this role"
		if s.kind(fresh) != "" {
			return
		}
		s.declare(fresh, declaration{kind: TypeRole, title: "x"})
		s.declare(fresh, declaration{kind: TypeRole, description: string(content[:min(len(content), 50)])})
		s.removeConnection(fresh)
		if got := s.bytes(); !bytes.Equal(got, content) {
			t.Fatalf("a role that came and went left %q of %q", got, content)
		}
		// Every connection can go, and what is not ours stays, in its order.
		var foreign []string
		for _, r := range s.records {
			if !r.fresh && (r.fields == nil || r.fields[0] == "p3" || r.fields[0] == "p4") {
				foreign = append(foreign, r.text)
			}
		}
		var known []string
		for _, kind := range []string{TypeRole, TypeGroup} {
			known = append(known, s.subjects(kind)...)
		}
		users, objects := s.subjects(TypeUser), s.allObjects()
		for _, name := range known {
			s.removeConnection(name)
		}
		again := parse(append(s.bytes(), '\n'))
		if again.fault != "" {
			t.Fatalf("after the removals: %s\n%s", again.fault, s.bytes())
		}
		if got := append(again.subjects(TypeRole), again.subjects(TypeGroup)...); len(got) > 0 {
			t.Errorf("there is still %q", got)
		}
		if diff := cmp.Diff(users, again.subjects(TypeUser)); diff != "" {
			t.Errorf("users (-before +after):\n%s", diff)
		}
		if diff := cmp.Diff(objects, again.allObjects()); diff != "" {
			t.Errorf("objects (-before +after):\n%s", diff)
		}
		i := 0
		for _, r := range again.records {
			if i < len(foreign) && r.text == foreign[i] {
				i++
			}
		}
		if i < len(foreign) {
			t.Errorf("the line %q did not survive", foreign[i])
		}
	})
}

// Who writes the file without the lock is noticed before the rename, and nothing is left behind.
func TestReplaceNotices(t *testing.T) {
	t.Parallel()
	for name, meddle := range map[string]func(path string) error{
		"appended":  func(path string) error { return os.WriteFile(path, []byte("# a\n# b\n"), 0o600) },
		"truncated": func(path string) error { return os.Truncate(path, 0) },
		"replaced": func(path string) error {
			return errors.Join(os.WriteFile(path+".new", []byte("# b\n"), 0o600), os.Rename(path+".new", path))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "policy.csv")
			if err := os.WriteFile(path, []byte("# a\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			snap, err := load(path, "load")
			if err != nil {
				t.Fatal(err)
			}
			if err := meddle(path); err != nil {
				t.Fatal(err)
			}
			theirs, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if done, err := replace(path, snap, []byte("# ours\n")); done || err != nil {
				t.Errorf("replace: %v, %v", done, err)
			}
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, theirs) {
				t.Errorf("got %q (%v), want %q", got, err, theirs)
			}
			if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
				t.Errorf("the folder has %v (%v)", entries, err)
			}
			// The next attempt starts from what they wrote.
			if snap, err = load(path, "load"); err != nil {
				t.Fatal(err)
			}
			if done, err := replace(path, snap, []byte("# ours\n")); !done || err != nil {
				t.Errorf("replace: %v, %v", done, err)
			}
		})
	}
}

// A file keeps its owner, or is not replaced.
func TestReplaceKeepsOwner(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "policy.csv")
	if err := os.WriteFile(path, []byte("# a\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() != 0 {
		t.Skip("only root gives files away")
	}
	if err := os.Chown(path, 12345, 23456); err != nil {
		t.Fatal(err)
	}
	snap, err := load(path, "load")
	if err != nil {
		t.Fatal(err)
	}
	if done, err := replace(path, snap, []byte("# b\n")); !done || err != nil {
		t.Fatalf("replace: %v, %v", done, err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintf("%+v", info.Sys()); !strings.Contains(got, "Uid:12345 Gid:23456") {
		t.Errorf("owner: %s", got)
	}
}

// FuzzEscape: a text comes back, also from a writer that quotes nothing.
func FuzzEscape(f *testing.F) {
	for _, seed := range []string{"", " ", "a, b", `"`, "%", "%2C", "\n", "\u2003x\u2003", "#", "é ", "\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) {
			return
		}
		e := escape(text)
		if got, ok := unescape(e); !ok || got != text {
			t.Errorf("%q is written as %q and read as %q", text, e, got)
		}
		fields, err := split(strings.Join([]string{"p2", "r", "role", e, e, "false"}, ", "))
		if err != nil || len(fields) != 6 || fields[3] != e || fields[4] != e {
			t.Errorf("%q is written as %q and splits into %q (%v)", text, e, fields, err)
		}
	})
}
