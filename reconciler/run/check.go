package run

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/countersign/countersign/reconciler/graph"
	"github.com/countersign/countersign/schemas"
)

// Check examines applications as they are: whether two of them manage the same connections of a server, and who besides
// countersign may use the credentials that it logs in with.
func (r *Runner) Check(ctx context.Context, base Base, names []string) []schemas.Check {
	p := &pass{Runner: r, base: base}
	overlaps := p.overlaps(ctx, names)
	var out []schemas.Check
	for _, name := range names {
		scope := schemas.Check{State: schemas.CheckOK, Name: name + ": scope", Detail: "no other application manages connections in its scope"}
		if err := overlaps[name]; err != nil {
			scope.State, scope.Fix = schemas.CheckOpen, err.Error()
		}
		out = append(out, scope)
		credentials, err := p.checkCredentials(ctx, base.Applications[name])
		if err != nil {
			credentials = []schemas.Check{{State: schemas.CheckUnknown, Name: name + ": credential", Detail: err.Error(), Fix: "make the application readable from here"}}
		}
		out = append(out, credentials...)
	}
	return out
}

func (p *pass) checkCredentials(ctx context.Context, app *schemas.Application) (_ []schemas.Check, err error) {
	live, err := p.openLive(ctx, app, p.base.Ledger)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, live.reader.Close()) }()
	if len(live.description.Credentials) == 0 {
		return nil, nil
	}
	state, err := live.reader.Read(ctx, schemas.Selection{Names: live.description.Credentials, Reach: true})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", app.Name, err)
	}
	if state.Incomplete != "" {
		return nil, errors.New(state.Incomplete)
	}
	g := graph.New(app.Name, live.description, state)
	var out []schemas.Check
	for _, credential := range live.description.Credentials {
		who, groups := credentialUsers(g, credential)
		c := schemas.Check{State: schemas.CheckOK, Name: app.Name + ": credential " + credential.SourceName,
			Detail: fmt.Sprintf("nobody is a member of it; it is a member of %s", listed(groups))}
		if len(who) > 0 {
			c.State = schemas.CheckOpen
			c.Fix = fmt.Sprintf("end the memberships of %s in it: its members can do what countersign can", listed(who))
		}
		out = append(out, c)
	}
	return out, nil
}

// credentialUsers are those who may use a credential as its members, directly or through others, and the connections that
// it is a member of.
func credentialUsers(g *graph.Graph, credential schemas.Name) (who, groups []schemas.Name) {
	for _, n := range slices.Concat(g.Members(g.Name(credential)), g.DirectMembers(g.Name(credential))) {
		same := func(o schemas.Name) bool { return g.Name(o) == g.Name(n) }
		if !slices.ContainsFunc(who, same) && !same(credential) {
			who = append(who, n)
		}
	}
	for _, a := range g.AccessOf(credential) {
		if (a.Privilege == schemas.PrivilegeMember || a.Privilege == schemas.PrivilegeAdmin) && !slices.Contains(groups, a.Target) {
			groups = append(groups, a.Target)
		}
	}
	return who, groups
}

// listed names the first ten, "nothing" for none.
func listed(names []schemas.Name) string {
	if len(names) == 0 {
		return "nothing"
	}
	slices.SortFunc(names, schemas.Name.Compare)
	text := ""
	for i, n := range names[:min(len(names), 10)] {
		if i > 0 {
			text += ", "
		}
		text += n.String()
	}
	if n := len(names) - 10; n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	return text
}
