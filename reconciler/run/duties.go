package run

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/countersign/countersign/reconciler/graph"
	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/schemas"
)

// together explains which duties that policy keeps apart somebody who gains by live access would have at the same time, ""
// for none. after is this application as it will be; others are read as they are and are wanted.
func (a *application) together(ctx context.Context, identities []schemas.Name, after *graph.Graph) (string, error) {
	if len(a.base.Duties) == 0 || len(identities) == 0 {
		return "", nil
	}
	apps := map[string]*graph.Graph{}
	for _, d := range a.base.Duties {
		for _, c := range d.Connections {
			name, _, _ := strings.Cut(c, "/")
			if a.base.Applications[name] != nil {
				apps[name] = nil
			}
		}
	}
	for name := range apps {
		if name == a.app.Name {
			apps[name] = after
			continue
		}
		g, err := a.wholeGraph(ctx, name)
		if err != nil {
			return fmt.Sprintf("somebody gains by it as a member whom no request names, and whether duties stay apart is unknown: could not read %s: %v", name, err), ctx.Err()
		}
		apps[name] = g
	}
	who := map[string][]schemas.Name{} // people, or identities of nobody known
	for _, id := range identities {
		person, known := a.base.People.Identity(a.app.Name, id.SourceName)
		if person = a.base.People.Canonical(person); !known {
			person = id.String()
		}
		who[person] = append(who[person], id)
	}
	for _, person := range slices.Sorted(maps.Keys(who)) {
		held := map[string]bool{}
		for name, g := range apps {
			a.holdings(name, g, person, who[person], held)
		}
		for _, d := range a.base.Duties {
			var both []string
			for _, c := range d.Connections {
				if held[c] && !slices.Contains(both, c) {
					both = append(both, c)
				}
			}
			if len(both) > d.Most() {
				slices.Sort(both)
				return fmt.Sprintf("%s would hold %s at the same time, as a member whom no request names, and %s allows at most %d of them: end one of them",
					person, strings.Join(both, " and "), d.Name, d.Most()), nil
			}
		}
	}
	return "", nil
}

// holdings adds the connections that a person's identities in an application are in.
func (a *application) holdings(app string, g *graph.Graph, person string, gaining []schemas.Name, into map[string]bool) {
	for _, id := range g.Identities() {
		owner, known := a.base.People.Identity(app, id.SourceName)
		if known && a.base.People.Canonical(owner) != person || !known && (app != a.app.Name || !slices.Contains(gaining, id)) {
			continue
		}
		for _, x := range g.AccessOf(id) {
			if x.Privilege == schemas.PrivilegeMember {
				into[app+"/"+x.Target.String()] = true
			}
		}
	}
}

// wholeGraph reads another application, with what its documents want.
func (a *application) wholeGraph(ctx context.Context, name string) (*graph.Graph, error) {
	docs, err := a.base.Documents.All(ctx, name)
	if err != nil {
		return nil, err
	}
	read, err := a.Read(ctx, a.base.Ledger, a.base.Applications[name], docs)
	if err != nil {
		return nil, err
	}
	if read.State.Incomplete != "" {
		return nil, fmt.Errorf("%s", read.State.Incomplete)
	}
	g := graph.New(name, read.Description, read.State)
	for _, c := range plan.Documented(read.Desired, read.Description).Connections {
		for _, e := range c.Entitlements {
			g.Apply(&schemas.Operation{Kind: schemas.OperationGrant, Connection: c.Name, Target: &e.Target, Privilege: e.Privilege})
		}
	}
	return g, nil
}
