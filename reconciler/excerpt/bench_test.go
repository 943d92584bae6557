package excerpt_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/countersign/countersign/reconciler/excerpt"
	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/schemas"
)

// indexed are documents that know who names what.
type indexed struct {
	documents
	named map[schemas.Name][]schemas.Name
}

func (d indexed) Mentioning(_ context.Context, n schemas.Name) ([]schemas.Name, error) {
	return d.named[n], nil
}

// shapes are requests of histories in which everything meets in one place: n is the number of the request.
func shapes() map[string]func(n int) *schemas.Request {
	request := func(role string, grants ...schemas.Entry) *schemas.Request {
		return &schemas.Request{Kind: schemas.KindConnectionAssignment, Application: "app", Connection: schemas.ConnectionRef{Type: "role", SourceName: role}, Grants: grants}
	}
	entry := func(typ, name string, privileges ...string) schemas.Entry {
		return schemas.Entry{Type: typ, SourceName: name, Privileges: privileges}
	}
	return map[string]func(n int) *schemas.Request{
		"a role each, 100 people": func(n int) *schemas.Request {
			return request(fmt.Sprintf("r%06d", n), entry("user", fmt.Sprint("u", n%100)), entry("table", fmt.Sprint("s.t", n%100), "SELECT"))
		},
		"a role each in one role": func(n int) *schemas.Request {
			return request(fmt.Sprintf("r%06d", n), entry("role", "hub"), entry("table", fmt.Sprint("s.t", n%100), "SELECT"))
		},
		"members of one role": func(n int) *schemas.Request { return request("hub", entry("user", fmt.Sprint("u", n))) },
		"tables of one role":  func(n int) *schemas.Request { return request("hub", entry("table", fmt.Sprint("s.t", n), "SELECT")) },
	}
}

// BenchmarkChange makes one change after the other. The time for each should not depend on how many there are.
func BenchmarkChange(b *testing.B) {
	desc := descriptions()["aliases"]
	app := &schemas.Application{Name: "app"}
	app.Spec.Scope, app.Spec.Grantable = map[string][]string{"role": {"*"}}, map[string][]string{"table": {"*"}}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, shape := range shapes() {
		for _, size := range []int{1000, 10_000} {
			b.Run(fmt.Sprintf("%s/changes=%d", name, size), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					before, w := indexed{documents{}, map[schemas.Name][]schemas.Name{}}, excerpt.New(app, desc, now)
					for n := range size {
						r := shape(n)
						c := r.Connection.Name()
						was := before.documents[c]
						after := indexed{documents{c: append(slices.Clip(was), &plan.Document{Place: schemas.Place{Commit: n, Path: fmt.Sprint(n, ".yaml")}, Current: &plan.Version{Request: r}})}, before.named}
						for _, e := range r.Grants {
							if l := before.named[e.Name()]; len(l) == 0 || l[len(l)-1] != c {
								before.named[e.Name()] = append(l, c)
							}
						}
						x, err := w.Change(b.Context(), excerpt.Request{Application: app, Before: before, After: after, Touched: []schemas.Name{c}, Now: now})
						if err != nil {
							b.Fatal(err)
						}
						if change := plan.Between(app, app, desc, x.Before, x.After, now); len(change.Operations) != len(r.Grants) {
							b.Fatal(len(change.Operations))
						}
						w, before.documents[c] = x.World, after.documents[c]
					}
				}
				b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(size*b.N), "µs/change")
			})
		}
	}
}
