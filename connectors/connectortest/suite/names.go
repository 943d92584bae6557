package suite

import (
	"strings"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest/harness"
	"github.com/countersign/countersign/schemas"
)

// awkward returns names that a connector must either keep exactly or refuse by its rule.
func awkward() []string {
	return []string{
		`it's`, `"double"`, `a "b" c`, "`tick`", `two words`, ` leading`, `trailing `, `a;b`, `x; DROP TABLE t; --`, `back\slash`, `100%`,
		`%s%d`, `UPPER`, `Mixed`, `mixed`, `a.b`, `a,b`, `a/b`, `a:b`, `a=b`, `(a)`, `{a}`, `[a]`, `<a>`, `$a`, `$1`, `:a`, `@a`, `#a`, `-a`, `--`, `/* a */`, `*`, `a*`, `?`,
		`é`, `e` + "\u0301", `名前`, `имя`, `😀`, `ﬀ`, "tab\tbed", "new\nline", "cr\rx", "nul\x00x", "\xff\xfe", "\u202eabc", "zero\u200bwidth",
		`select`, `user`, `group`, `null`, `true`, `1`, `1e3`, `''`, `""`, `\`, `\n`, `\'`,
		strings.Repeat("n", 60), strings.Repeat("é", 31), strings.Repeat("n", 200), strings.Repeat("n", 5000), "",
	}
}

func testNames(t harness.T, h harness.Harness) {
	each(t, h, canCreate, func(t harness.T, f *harness.Fixture, typ schemas.ConnectionType) {
		var good []schemas.Name
		folded := map[string]bool{}
		for _, word := range awkward() {
			c := f.Name(typ.Name, word)
			if word == "" {
				c.SourceName = ""
			}
			if err := typ.Names.Check(c.SourceName); err != nil || c.SourceName == "" {
				f.Refused(f.Create(c, nil), connectors.Invalid, connectors.Unsupported)
				if f.One(c) != nil {
					t.Errorf("%q exists after it was refused", c)
				}
				continue
			}
			if key := strings.ToLower(c.SourceName); typ.Names.FoldCase {
				if folded[key] {
					continue
				}
				folded[key] = true
			}
			good = append(good, c)
		}
		if len(good) == 0 {
			t.Fatal("the connector accepts none of the names, not even 60 letters")
		}
		var ops []schemas.Operation
		for i, c := range good {
			ops = append(ops, f.Create(c, f.Payload(typ.Name, i%2)))
		}
		f.Twice(ops...)
		k := map[string]schemas.Key{}
		for _, c := range good {
			if got := f.There(c); got.SourceName != c.SourceName && !typ.Names.FoldCase {
				t.Errorf("got %q, want %q", got.SourceName, c.SourceName)
			}
		}
		if got := f.Read(f.Scope()); len(got) != len(good) {
			t.Errorf("%d connections after creating %d", len(got), len(good))
		}
		// Each can be updated, granted something and deleted, without effect on others.
		for i, c := range good {
			key := f.Somebody(typ, c, "somebody")
			k[c.SourceName] = key
			step := []schemas.Operation{f.Grant(key)}
			if typ.Update {
				step = append(step, f.Update(c, f.Payload(typ.Name, (i+1)%2)))
			}
			f.Must(step...)
		}
		for i, c := range good {
			f.Holds(c, harness.Entitlement(k[c.SourceName]))
			if diff := cmp.Diff(f.Payload(typ.Name, (i+1)%2), f.There(c).Payload, harness.Compare()...); typ.Update && diff != "" {
				t.Errorf("payload of %q (-want +got):\n%s", c, diff)
			}
		}
		if !typ.Delete {
			return
		}
		for i, c := range good {
			f.Must(f.Delete(c))
			// A granted target may be a connection of another type, which remains.
			mine := schemas.Selection{Scope: map[string][]string{typ.Name: {f.App.Name("*")}}}
			if got, want := len(f.Read(mine)), len(good)-i-1; got != want {
				t.Fatalf("%d connections after deleting %q, want %d", got, c, want)
			}
		}
	})
	t.Run("targets", func(t harness.T) { testTargetNames(t, h) })
}

// testTargetNames grants targets with awkward names.
func testTargetNames(t harness.T, h harness.Harness) {
	each(t, h, func(c schemas.ConnectionType) bool { return len(c.Grantable) > 0 }, func(t harness.T, f *harness.Fixture, typ schemas.ConnectionType) {
		c := f.Make(typ, "holder")
		for _, g := range typ.Grantable {
			if !g.Grant || !g.Revoke {
				continue
			}
			var ops, undo []schemas.Operation
			var want []schemas.Entitlement
			for _, word := range []string{`it's`, `two words`, `a;b`, `back\slash`, `100%`, `UPPER`, `Mixed`, `mixed`, `é`, `名前`, `select`, `$1`, `a-b`} {
				// The harness creates connections and identities named Name(word); only names that the rule accepts
				// are requested.
				word += "-" + g.Type
				if g.Names.Check(f.App.Name(word)) != nil {
					continue
				}
				if g.Names.FoldCase && word != strings.ToLower(word) {
					continue
				}
				target, ok := f.Target(g, word)
				if !ok {
					break
				}
				k := schemas.Key{Connection: c, Target: target, Privilege: g.Privileges[0]}
				ops, undo, want = append(ops, f.Grant(k)), append(undo, f.Revoke(k)), append(want, harness.Entitlement(k))
				ops[len(ops)-1].ID += "-" + g.Type
			}
			if g.Single {
				for i := range ops {
					f.Twice(ops[i])
					f.Holds(c, want[i])
					if i+1 < len(ops) {
						f.Refused(ops[i+1], connectors.Conflict)
						f.Holds(c, want[i])
					}
					f.Twice(undo[i])
				}
				f.Holds(c)
				continue
			}
			f.Twice(ops...)
			f.Holds(c, want...)
			f.Twice(undo...)
			f.Clear(c)
			f.Holds(c)
		}
	})
}
