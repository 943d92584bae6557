package connectors_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

func clubs() schemas.Description {
	member := schemas.GrantableType{Type: "user", Edge: schemas.EdgeIdentity, Privileges: []string{"MEMBER"}, Names: schemas.NameRule{MaxBytes: 5}, Grant: true, Revoke: true}
	seen := schemas.GrantableType{Type: "badge", Edge: schemas.EdgeResource, Privileges: []string{"WEAR"}}
	return schemas.Description{Name: "clubs", Title: "Clubs", Types: []schemas.ConnectionType{
		{Name: "club", Title: "Club", Create: true, Update: true, Delete: true, Names: schemas.NameRule{MaxBytes: 8, Pattern: "[a-z]+"}, Grantable: []schemas.GrantableType{member, seen},
			Payload: json.RawMessage(`{"type": "object", "additionalProperties": false, "required": ["size"], "properties": {"size": {"type": "integer", "maximum": 9}, "tags": {"type": "array", "items": {"type": "string"}}}}`)},
		{Name: "fixed", Title: "Fixed", Payload: json.RawMessage(`{"type": "object", "additionalProperties": false}`)},
	}}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	user := &schemas.Name{Type: "user", SourceName: "ann"}
	op := func(kind schemas.OperationKind, change func(*schemas.Operation)) schemas.Operation {
		o := schemas.Operation{Kind: kind, Connection: schemas.Name{Type: "club", SourceName: "chess"}}
		if kind == schemas.OperationGrant || kind == schemas.OperationRevoke {
			o.Target, o.Privilege = user, "MEMBER"
		}
		if change != nil {
			change(&o)
		}
		return o
	}
	payload := func(m map[string]any) func(*schemas.Operation) { return func(o *schemas.Operation) { o.After = m } }
	name := func(s string) func(*schemas.Operation) {
		return func(o *schemas.Operation) { o.Connection.SourceName = s }
	}
	target := func(typ, name, privilege string) func(*schemas.Operation) {
		return func(o *schemas.Operation) {
			o.Target, o.Privilege = &schemas.Name{Type: typ, SourceName: name}, privilege
		}
	}
	for _, c := range []struct {
		name string
		op   schemas.Operation
		want connectors.Code
	}{
		{"create", op(schemas.OperationCreate, payload(map[string]any{"size": 3, "tags": []string{"a"}})), ""},
		{"create without what the schema requires", op(schemas.OperationCreate, nil), connectors.Invalid},
		{"update without it", op(schemas.OperationUpdate, payload(map[string]any{"tags": []any{"a"}})), ""},
		{"null leaves alone", op(schemas.OperationUpdate, payload(map[string]any{"size": nil})), ""},
		{"a value of a wrong type", op(schemas.OperationUpdate, payload(map[string]any{"size": "3"})), connectors.Invalid},
		{"a value out of bounds", op(schemas.OperationUpdate, payload(map[string]any{"size": 10})), connectors.Invalid},
		{"a wrong item", op(schemas.OperationUpdate, payload(map[string]any{"tags": []any{1}})), connectors.Invalid},
		{"an unknown attribute", op(schemas.OperationUpdate, payload(map[string]any{"colour": "red"})), connectors.Invalid},
		{"a long name", op(schemas.OperationUpdate, name("chessboard")), connectors.Invalid},
		{"a name of other letters", op(schemas.OperationCreate, func(o *schemas.Operation) { o.After, o.Connection.SourceName = map[string]any{"size": 1}, "C" }), connectors.Invalid},
		{"no name", op(schemas.OperationUpdate, name("")), connectors.Invalid},
		{"to delete what cannot be there", op(schemas.OperationDelete, name("chessboard")), ""},
		{"to reassign what owns nothing", op(schemas.OperationDelete, func(o *schemas.Operation) { o.ReassignTo = "bob" }), connectors.Unsupported},
		{"grant", op(schemas.OperationGrant, nil), ""},
		{"grant of an unknown type", op(schemas.OperationGrant, target("cat", "tom", "MEMBER")), connectors.Unsupported},
		{"grant of an unknown privilege", op(schemas.OperationGrant, target("user", "ann", "ADMIN")), connectors.Invalid},
		{"grant to a long name", op(schemas.OperationGrant, target("user", "annabel", "MEMBER")), connectors.Invalid},
		{"grant to no name", op(schemas.OperationGrant, target("user", "", "MEMBER")), connectors.Invalid},
		{"grant of nothing", op(schemas.OperationGrant, func(o *schemas.Operation) { o.Target = nil }), connectors.Invalid},
		{"grant of what is only seen", op(schemas.OperationGrant, target("badge", "gold", "WEAR")), connectors.Unsupported},
		{"revoke of what is only seen", op(schemas.OperationRevoke, target("badge", "gold", "WEAR")), connectors.Unsupported},
		{"revoke of what nobody can ask for", op(schemas.OperationRevoke, target("user", "annabel", "OWNER")), ""},
		{"an unknown type", op(schemas.OperationDelete, func(o *schemas.Operation) { o.Connection.Type = "guild" }), connectors.Unsupported},
		{"what the type cannot do", op(schemas.OperationDelete, func(o *schemas.Operation) { o.Connection.Type = "fixed" }), connectors.Unsupported},
		{"an unknown kind", op("paint", nil), connectors.Unsupported},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			checker, err := connectors.NewChecker(clubs())
			if err != nil {
				t.Fatal(err)
			}
			if got := checker.Check(&c.op); connectors.CodeOf(got) != c.want || (c.want == "") != (got == nil) {
				t.Errorf("got %v, want code %q", got, c.want)
			}
		})
	}
}

// What an operation names comes from outside: an error shows it without control characters, and cuts it.
func TestTitle(t *testing.T) {
	t.Parallel()
	o := schemas.Operation{Kind: schemas.OperationGrant, Connection: schemas.Name{Type: "club", SourceName: "a\n\x1b[31m\u202eb"},
		Target: &schemas.Name{Type: "user", SourceName: strings.Repeat("n", 5000)}, Privilege: "MEMBER"}
	got := connectors.Title(&o)
	if strings.ContainsAny(got, "\n\x1b\u202e") || len(got) > 1000 {
		t.Errorf("got %q", got)
	}
}

func TestEach(t *testing.T) {
	t.Parallel()
	grant := func(id string, on ...string) schemas.Operation {
		return schemas.Operation{ID: id, Kind: schemas.OperationGrant, Connection: schemas.Name{Type: "club", SourceName: "chess"},
			Target: &schemas.Name{Type: "user", SourceName: id}, Privilege: "MEMBER", DependsOn: on}
	}
	bad := grant("bad")
	bad.Privilege = "OWNER"
	ops := []schemas.Operation{grant("a"), bad, grant("b", "bad", "a"), grant("c", "b"), grant("d"), grant("e", "earlier")}
	for _, c := range []struct {
		name  string
		errs  map[string]error
		stop  string // the operation during which the context ends
		want  string // the outcomes in order
		whole connectors.Code
	}{
		{"all goes well", nil, "", "a:ok×2 bad:invalid×1 b:blocked×0 c:blocked×0 d:ok×2 e:ok×2", ""},
		{"one fails", map[string]error{"d": &connectors.Error{Code: connectors.Conflict}}, "", "a:ok×2 bad:invalid×1 b:blocked×0 c:blocked×0 d:conflict×2 e:ok×2", ""},
		{"the application is gone", map[string]error{"d": &connectors.Error{Code: connectors.Unavailable, Whole: true}}, "", "a:ok×2 bad:invalid×1 b:blocked×0 c:blocked×0", connectors.Unavailable},
		{"it is stopped", map[string]error{"d": errors.New("cut")}, "d", "a:ok×2 bad:invalid×1 b:blocked×0 c:blocked×0", connectors.Unavailable},
		{"it is stopped after the change", nil, "d", "a:ok×2 bad:invalid×1 b:blocked×0 c:blocked×0 d:ok×2", connectors.Unavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			checker, err := connectors.NewChecker(clubs())
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			err = connectors.Each(ctx, ops, checker, time.Now, func(o connectors.Outcome) {
				word := "ok"
				if o.Err != nil {
					word = string(connectors.CodeOf(o.Err))
				}
				if o.Started.IsZero() || o.Finished.Before(o.Started) {
					t.Errorf("%s starts at %v and ends at %v", o.Operation, o.Started, o.Finished)
				}
				got = append(got, o.Operation+":"+word+"×"+string(rune('0'+o.Attempts)))
			}, func(_ context.Context, o *schemas.Operation) (int, error) {
				if o.ID == c.stop {
					cancel()
				}
				return 2, c.errs[o.ID]
			})
			if strings.Join(got, " ") != c.want || connectors.CodeOf(err) != c.whole {
				t.Errorf("got %v and %v\nwant %s and code %q", got, err, c.want, c.whole)
			}
		})
	}
}

func TestPageOf(t *testing.T) {
	t.Parallel()
	item := func(name, id string) schemas.Item {
		return schemas.Item{Name: schemas.Name{Type: "club", SourceName: name}, NativeID: id}
	}
	// Three of one name lie on two pages.
	all := []schemas.Item{item("c", "5"), item("b", "3"), item("a", "1"), item("b", "2"), item("b", "4"), item("b", "2")}
	want := []schemas.Item{item("a", "1"), item("b", "2"), item("b", "3"), item("b", "4"), item("c", "5")}
	for limit := range 7 {
		var got []schemas.Item
		q := connectors.Query{Limit: limit}
		for range 10 {
			p := connectors.PageOf(slices.Clone(all), q)
			if limit > 0 && len(p.Items) > limit {
				t.Errorf("a page of %d has %d items", limit, len(p.Items))
			}
			got = append(got, p.Items...)
			if q.Cursor = p.Next; q.Cursor == "" {
				break
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("pages of %d (-want +got):\n%s", limit, diff)
		}
	}
}

func TestSelector(t *testing.T) {
	t.Parallel()
	name := func(s string) schemas.Name { return schemas.Name{Type: "club", SourceName: s} }
	fold := func(n schemas.Name) schemas.Name { n.SourceName = strings.ToLower(n.SourceName); return n }
	sel := schemas.Selection{Names: []schemas.Name{name("Chess")}, Scope: map[string][]string{"club": {"go_*"}}}
	for n, want := range map[string]bool{"Chess": true, "chess": false, "go_9": true, "bridge": false} {
		if got := sel.Selector(nil)(name(n)); got != want {
			t.Errorf("%s is selected: %v, want %v", n, got, want)
		}
	}
	if !sel.Selector(fold)(name("CHESS")) {
		t.Error("a name that is the same to the application is not selected")
	}
	if !(schemas.Selection{}).Selector(nil)(name("x")) || (schemas.Selection{Scope: map[string][]string{"club": {}}}).Selector(nil)(name("x")) {
		t.Error("the zero selection is everything, an empty scope is nothing")
	}
}

func TestSortEntitlements(t *testing.T) {
	t.Parallel()
	wiki, alice := schemas.Name{Type: "application", SourceName: "Wiki"}, schemas.Name{Type: "user", SourceName: "alice"}
	e := func(target schemas.Name, id, privilege string) schemas.Entitlement {
		return schemas.Entitlement{Target: target, TargetID: id, Privilege: privilege}
	}
	c := schemas.Connection{Entitlements: []schemas.Entitlement{e(alice, "1", "MEMBER"), e(wiki, "2", "ACCESS"), e(wiki, "", "ACCESS"), e(wiki, "1", "ACCESS"),
		e(alice, "1", "ADMIN"), e(wiki, "2", "ACCESS"), e(alice, "", "MEMBER")}}
	c.SortEntitlements()
	// Two applications of one name are two; an entitlement without an id is one of those that have one.
	want := []schemas.Entitlement{e(wiki, "1", "ACCESS"), e(wiki, "2", "ACCESS"), e(alice, "1", "ADMIN"), e(alice, "1", "MEMBER")}
	if diff := cmp.Diff(want, c.Entitlements); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
