package plan_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/schemas"
)

func accessLine(a schemas.Access) string {
	s := a.Identity.String() + " " + a.Target.String() + " " + a.Privilege
	for _, v := range a.Via {
		s += " via " + v.String()
	}
	return s
}

func changeLines(c plan.Change) []string {
	out := lines(&schemas.ApplicationPlan{Operations: c.Operations, Findings: c.Findings})
	for _, a := range c.Gained {
		out = append(out, "gained "+accessLine(a))
	}
	for _, a := range c.Lost {
		out = append(out, "lost "+accessLine(a))
	}
	return out
}

func TestBetween(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name          string
		before, after []string
		want          []string
	}{
		{"nothing", []string{"C role/a"}, nil, []string{}},
		{"a creation", nil, []string{"C role/a"}, []string{"create role/a limit=-1 login=false, request"}},
		{"a grant to what exists", nil, []string{"A role/a +user/x"}, []string{"grant role/a user/x MEMBER, request", "gained user/x role/a MEMBER"}},
		{"a grant again", []string{"A role/a +user/x"}, []string{"A role/a +user/x"}, []string{}},
		{"nested", []string{"A role/a +user/x", "A role/b +table/t"}, []string{"A role/a +role/b"},
			[]string{"grant role/a role/b MEMBER, request", "gained user/x role/b MEMBER via role/a", "gained user/x table/t SELECT via role/a via role/b"}},
		{"members the other way round", []string{"A team/low +user/x", "A team/high +table/t"}, []string{"A team/high +team/low"},
			[]string{"grant team/high team/low MEMBER, request", "gained user/x table/t SELECT via team/low via team/high", "gained user/x team/high MEMBER via team/low"}},
		{"a revoke of what was never granted", nil, []string{"A role/a -user/x"},
			[]string{"revoke role/a user/x ADMIN, request", "revoke role/a user/x MEMBER, request", "lost user/x role/a ADMIN", "lost user/x role/a MEMBER"}},
		{"a revoke again", []string{"A role/a -user/x"}, []string{"A role/a -user/x"}, []string{}},
		{"a revoke does not hide a gain", []string{"A role/a +user/x"}, []string{"A role/a +role/b", "A role/b -user/x"},
			[]string{"revoke role/b user/x ADMIN, request", "revoke role/b user/x MEMBER, request", "grant role/a role/b MEMBER, request",
				"gained user/x role/b MEMBER via role/a", "lost user/x role/b ADMIN"}},
		{"an undone revoke", []string{"A role/a +user/x", "A role/a -user/x"}, []string{"undo 2"}, []string{"grant role/a user/x MEMBER, request", "gained user/x role/a MEMBER"}},
		{"a deletion of what exists", nil, []string{"D role/a"}, []string{"delete role/a, request"}},
		{"a deletion", []string{"C role/a", "A role/a +user/x +table/t"}, []string{"D role/a"},
			[]string{"delete role/a, request", "lost user/x role/a MEMBER", "lost user/x table/t SELECT via role/a"}},
		{"an undone deletion", []string{"C role/a", "A role/a +user/x", "D role/a"}, []string{"undo 3"},
			[]string{"create role/a limit=-1 login=false, request", "grant role/a user/x MEMBER, request", "gained user/x role/a MEMBER"}},
		{"an undone creation", []string{"C role/a"}, []string{"undo 1"}, []string{"delete role/a, undo"}},
		{"an undone creation in use", []string{"C role/a", "A role/a +user/x"}, []string{"undo 1"}, []string{"! undone-in-use role/a"}},
		{"an assignment after an undone creation", []string{"C role/a", "undo 1"}, []string{"A role/a +user/x"}, []string{"grant role/a user/x MEMBER, request", "gained user/x role/a MEMBER"}},
		{"an undone deletion with a later life", []string{"C role/a", "D role/a", "C role/a"}, []string{"undo 2"}, []string{"! later-life role/a"}},
		{"an undone grant", []string{"A role/a +user/x"}, []string{"undo 1"}, []string{"revoke role/a user/x MEMBER, undo", "lost user/x role/a MEMBER"}},
		{"an attribute", []string{"C role/a"}, []string{"C role/a limit=4"}, []string{"update role/a limit=4, request"}},
		{"an attribute that nobody knew", []string{"C role/a"}, []string{"C role/a superuser=true"}, []string{"update role/a superuser=true, request, privileged"}},
		{"an attribute that was left alone", []string{"C role/a limit=null"}, []string{"C role/a limit=4"}, []string{"update role/a limit=4, request"}},
		{"a creation of what exists", []string{"A role/a +user/x"}, []string{"C role/a login=true superuser=false"},
			[]string{"update role/a login=true superuser=false, request, privileged"}},

		// Time.
		{"a start ahead counts from today", nil, []string{"A role/a +user/x@5.."}, []string{"grant role/a user/x MEMBER, start", "gained user/x role/a MEMBER"}},
		{"a start that has come changes nothing", []string{"A role/a +user/x@5..", "day 6"}, nil, []string{}},
		{"an expiry put off", []string{"A role/a +user/x@..5"}, []string{"A role/a +user/x@..9"}, []string{"grant role/a user/x MEMBER, request", "gained user/x role/a MEMBER"}},
		{"an expiry taken away", []string{"A role/a +user/x@..5"}, []string{"edit 1 A role/a +user/x"}, []string{"grant role/a user/x MEMBER, request", "gained user/x role/a MEMBER"}},
		{"an expiry brought forward", []string{"A role/a +user/x@..9"}, []string{"edit 1 A role/a +user/x@..5"}, []string{}},
		{"a second grant inside the first", []string{"A role/a +user/x@..9"}, []string{"A role/a +user/x@3..5"}, []string{}},
		{"a second grant after the first", []string{"A role/a +user/x@..3"}, []string{"A role/a +user/x@5..9"}, []string{"grant role/a user/x MEMBER, request", "gained user/x role/a MEMBER"}},
		{"a start brought forward", []string{"A role/a +user/x@5.."}, []string{"edit 1 A role/a +user/x@3.."}, []string{"grant role/a user/x MEMBER, start", "gained user/x role/a MEMBER"}},
		{"a way for good beside one that ends", []string{"A role/b +table/t", "A role/a +user/x +role/b@..5"}, []string{"A role/b +user/x"},
			[]string{"grant role/b user/x MEMBER, request", "gained user/x role/b MEMBER", "gained user/x table/t SELECT via role/b"}},
		{"a way today beside one that begins", []string{"A role/b +table/t", "A role/a +user/x +role/b@5.."}, []string{"A role/b +user/x"},
			[]string{"grant role/b user/x MEMBER, request", "gained user/x role/b MEMBER", "gained user/x table/t SELECT via role/b"}},
		{"a way that ends beside one for good", []string{"A role/a +user/x +role/b"}, []string{"A role/b +user/x@..5"}, []string{"grant role/b user/x MEMBER, request"}},
		{"a way that ends sooner beside one that ends", []string{"A role/a +user/x +role/b@..5"}, []string{"A role/b +user/x@..3"}, []string{"grant role/b user/x MEMBER, request"}},
		{"a start undone", []string{"A role/a +user/x@5.."}, []string{"undo 1"}, []string{}},
		{"a start undone beside a grant", []string{"A role/a +user/x@5.."}, []string{"undo 1", "A role/b +user/x"},
			[]string{"grant role/b user/x MEMBER, request", "gained user/x role/b MEMBER"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t).steps(tt.before...)
			before := w.fold()
			w.steps(tt.after...)
			got := plan.Between(w.app, w.app, w.desc, before, w.fold(), w.now)
			if diff := cmp.Diff(tt.want, changeLines(got)); diff != "" {
				t.Errorf("from %q by %q (-want +got):\n%s", tt.before, tt.after, diff)
			}
			executable(t, got.Operations)
		})
	}
}

func TestBetweenApplications(t *testing.T) {
	t.Parallel()
	w := newWorld(t).steps("C role/a", "A role/a +user/x +role/b +table/t", "C role/b")
	d := w.fold()
	narrow, none := application(), application()
	narrow.Spec.Scope = map[string][]string{"role": {"a"}}
	none.Spec.Scope = nil
	for _, tt := range []struct {
		name     string
		was, app *schemas.Application
		want     []string
	}{
		{"a new application", nil, w.app, []string{
			"create role/a limit=-1 login=false, request", "create role/b limit=-1 login=false, request",
			"grant role/a role/b MEMBER, request", "grant role/a table/t SELECT, request", "grant role/a user/x MEMBER, request",
			"gained user/x role/a MEMBER", "gained user/x role/b MEMBER via role/a", "gained user/x table/t SELECT via role/a"}},
		{"a wider scope", narrow, w.app, []string{
			"create role/b limit=-1 login=false, request", "grant role/a role/b MEMBER, request", "gained user/x role/b MEMBER via role/a"}},
		{"a narrower scope", w.app, none, []string{"! out-of-scope role/a", "! out-of-scope role/b"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, changeLines(plan.Between(tt.was, tt.app, w.desc, d, d, w.now))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Each gain and loss stands at the first operation that leads to it, and at no other.
func TestEffectsStandAtTheirOperation(t *testing.T) {
	t.Parallel()
	w := newWorld(t).steps("C role/a", "C role/b", "A role/b +table/t")
	before := w.fold()
	w.steps("A role/a +role/b +user/x", "A role/b -table/t +table/u")
	c := plan.Between(w.app, w.app, w.desc, before, w.fold(), w.now)
	var got []string
	for i := range c.Operations {
		o := &c.Operations[i]
		for _, a := range o.Gained {
			got = append(got, line(o)+": gained "+accessLine(a))
		}
		for _, a := range o.Lost {
			got = append(got, line(o)+": lost "+accessLine(a))
		}
	}
	want := []string{
		"grant role/a role/b MEMBER, request: gained user/x role/b MEMBER via role/a",
		"grant role/a role/b MEMBER, request: gained user/x table/u SELECT via role/a via role/b",
		"grant role/a user/x MEMBER, request: gained user/x role/a MEMBER",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func ExampleDiff() {
	w := newWorld(nil)
	w.steps("C role/sales_reader", "A role/sales_reader +table/sales.orders +user/alice")
	res := plan.Diff(plan.Input{Application: w.app, Description: w.desc, Desired: w.fold(), Now: w.now})
	for i := range res.Plan.Operations {
		fmt.Println(line(&res.Plan.Operations[i]))
	}
	// Output:
	// create role/sales_reader limit=-1 login=false, request
	// grant role/sales_reader table/sales.orders SELECT, request
	// grant role/sales_reader user/alice MEMBER, request
}
