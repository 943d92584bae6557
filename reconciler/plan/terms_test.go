package plan

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/schemas"
)

// TestTerms lists each way in which the time of one grant can change, and the ways that are plain grants and revokes.
func TestTerms(t *testing.T) {
	t.Parallel()
	day := func(d int) *time.Time {
		at := time.Date(2027, 1, d, 0, 0, 0, 0, time.UTC)
		return &at
	}
	from := func(a, b int) schemas.Window {
		w := schemas.Window{}
		if a > 0 {
			w.Starts = day(a)
		}
		if b > 0 {
			w.Expires = day(b)
		}
		return w
	}
	list := func(w ...schemas.Window) []schemas.Window { return w }
	user := schemas.Name{Type: "user", SourceName: "dave"}
	role := schemas.Name{Type: "role", SourceName: "reader"}
	app := &schemas.Application{}
	app.Name = "erp"
	app.Spec.Scope, app.Spec.Grantable = map[string][]string{"role": {"*"}}, map[string][]string{"user": {"*"}}
	description := schemas.Description{Types: []schemas.ConnectionType{{Name: "role",
		Grantable: []schemas.GrantableType{{Type: "user", Edge: schemas.EdgeIdentity, Privileges: []string{schemas.PrivilegeMember}, Grant: true, Revoke: true}}}}}
	desired := func(windows []schemas.Window) *Desired {
		c := &Connection{Name: role, Documents: []schemas.DocumentID{{Path: "requests/a.yaml"}}}
		for _, w := range windows {
			e := Entitlement{Target: user, Privilege: schemas.PrivilegeMember, Documents: []schemas.DocumentID{{Path: "requests/a.yaml"}}, Starts: w.Starts, Expires: w.Expires}
			if w.Starts == nil {
				c.Entitlements = append(c.Entitlements, e)
			} else {
				c.Scheduled = append(c.Scheduled, e)
			}
		}
		return &Desired{Connections: []*Connection{c}}
	}
	for name, tt := range map[string]struct {
		before, after         []schemas.Window
		wantBefore, wantAfter []schemas.Window // both empty: not listed
	}{
		"granted now":                 {nil, list(from(0, 0)), nil, nil},
		"granted now, with an end":    {nil, list(from(0, 9)), nil, nil},
		"revoked":                     {list(from(0, 9)), nil, nil, nil},
		"unchanged":                   {list(from(0, 9)), list(from(0, 9)), nil, nil},
		"starts later":                {nil, list(from(3, 9)), nil, list(from(3, 9))},
		"extended":                    {list(from(0, 9)), list(from(0, 20)), list(from(0, 9)), list(from(0, 20))},
		"extended without an end":     {list(from(0, 9)), list(from(0, 0)), list(from(0, 9)), list(from(0, 0))},
		"shortened":                   {list(from(0, 0)), list(from(0, 9)), list(from(0, 0)), list(from(0, 9))},
		"undone before it started":    {list(from(3, 9)), nil, list(from(3, 9)), nil},
		"extended by one that starts": {list(from(0, 9)), list(from(0, 9), from(5, 20)), list(from(0, 9)), list(from(0, 20))},
		"again after a pause":         {list(from(0, 9)), list(from(0, 9), from(12, 20)), list(from(0, 9)), list(from(0, 9), from(12, 20))},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			change := Between(app, app, description, desired(tt.before), desired(tt.after), time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC))
			var want []schemas.TermChange
			if tt.wantBefore != nil || tt.wantAfter != nil {
				want = []schemas.TermChange{{Documents: []schemas.DocumentID{{Path: "requests/a.yaml"}}, Application: "erp", Key: schemas.Key{Connection: role, Target: user, Privilege: schemas.PrivilegeMember},
					Before: tt.wantBefore, After: tt.wantAfter}}
			}
			got := change.Terms
			for i := range got {
				grows := name != "shortened" && name != "undone before it started"
				if (len(got[i].Gained) > 0) != grows {
					t.Errorf("gained %v", got[i].Gained)
				}
				got[i].Gained = nil
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
