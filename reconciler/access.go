package reconciler

import (
	"context"
	"errors"
	"slices"

	"github.com/countersign/countersign/reconciler/graph"
	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/schemas"
)

// AccessOptions narrows the question who can do what. Names are source names or type/source_name; "" is any.
type AccessOptions struct {
	To                             string
	Application                    string
	Identity, Connection, Resource string
}

// Access answers who can do what in the live applications, through nested connections, and which request,
// commit and approvers made it so.
func (r *Reconciler) Access(ctx context.Context, o AccessOptions) (_ *schemas.AccessReport, err error) {
	b, err := r.open(ctx, o.To, true)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	names, err := b.names(o.Application)
	if err != nil {
		return nil, err
	}
	report := &schemas.AccessReport{APIVersion: schemas.APIVersion, Kind: "Access", Tip: b.tip, At: r.now(),
		Entries: []schemas.AccessEntry{}, Incomplete: map[string]string{}}
	for _, name := range names {
		if err := r.accessOf(ctx, b, b.admitted.Trust.Applications[name], o, report); err != nil {
			report.Incomplete[name] = err.Error()
		}
	}
	return clean(r, report), nil
}

func (r *Reconciler) accessOf(ctx context.Context, b *base, app *schemas.Application, o AccessOptions, report *schemas.AccessReport) error {
	docs, err := b.admitted.All(ctx, app.Name)
	if err != nil {
		return err
	}
	read, err := r.runner.Read(ctx, b.ledger, app, docs)
	if err != nil {
		return err
	}
	if read.Attested {
		report.Attested = append(report.Attested, app.Name)
	}
	if read.State.Incomplete != "" {
		report.Incomplete[app.Name] = read.State.Incomplete
	}
	if len(read.State.NotRead) > 0 {
		if report.NotRead == nil {
			report.NotRead = map[string][]schemas.NotRead{}
		}
		report.NotRead[app.Name] = read.State.NotRead
	}
	effective := graph.New(app.Name, read.Description, read.State)
	asked := question{o, effective, nil}
	if o.Resource != "" {
		asked.resources = effective.Targets(o.Resource)
	}
	answer := answer{base: b, graph: effective, description: read.Description, origins: originsOf(read.Desired, effective, read.Description),
		records: map[string]*schemas.AdmissionRecord{}}
	add := func(a schemas.Access, everyone bool) error {
		e := schemas.AccessEntry{Access: a, Everyone: everyone}
		var err error
		if e.Steps, err = answer.steps(ctx, a); err == nil {
			report.Entries = append(report.Entries, e)
		}
		return err
	}
	for _, a := range effective.Everyone() {
		if asked.about(a) {
			if err := add(a, true); err != nil {
				return err
			}
		}
	}
	for _, a := range effective.Superusers() {
		// They may use any resource.
		if (o.Identity == "" || names(o.Identity, a.Identity)) && (o.Connection == "" || asked.through(a)) {
			if err := add(a, false); err != nil {
				return err
			}
		}
	}
	for _, id := range effective.Identities() {
		if o.Identity != "" && !names(o.Identity, id) {
			continue
		}
		for _, a := range effective.AccessOf(id) {
			if asked.about(a) {
				if err := add(a, false); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// question is what access is asked for, in one application.
type question struct {
	AccessOptions
	graph *graph.Graph
	// resources are the resources that the question may mean.
	resources []schemas.Name
}

// about reports whether the question is about this access, of the identity that it names. A resource is used through the
// larger one that contains it, and in part through a smaller one.
func (q question) about(a schemas.Access) bool {
	if q.Resource != "" && !names(q.Resource, a.Target) && !slices.ContainsFunc(q.resources, func(r schemas.Name) bool {
		return q.graph.Within(a.Target, r) || len(q.graph.Implied(a.Target, a.Privilege, r)) > 0
	}) {
		return false
	}
	return q.Connection == "" || q.through(a)
}

func (q question) through(a schemas.Access) bool {
	return names(q.Connection, a.Target) || slices.ContainsFunc(a.Via, func(n schemas.Name) bool { return names(q.Connection, n) })
}

// names reports whether the typed text means the name.
func names(typed string, n schemas.Name) bool {
	return typed == n.SourceName || typed == n.String()
}

// originsOf are the desired entitlements by edge, however each is written.
func originsOf(d *plan.Desired, g *graph.Graph, desc schemas.Description) map[edge]plan.Entitlement {
	out := map[edge]plan.Entitlement{}
	for _, c := range d.Connections {
		for _, e := range c.Entitlements {
			out[edgeOf(schemas.Key{Connection: c.Name, Target: e.Target, Privilege: e.Privilege}, g, desc)] = e
		}
	}
	return out
}

// edge is a step of a way: from a member to its group, or from a connection to what it uses.
type edge struct {
	from, to  schemas.Name
	privilege string
}

func edgeOf(k schemas.Key, g *graph.Graph, desc schemas.Description) edge {
	if typ, ok := desc.Type(k.Connection.Type); ok {
		if t, ok := typ.Target(k.Target.Type); ok && (t.Edge == schemas.EdgeIdentity || t.Edge == schemas.EdgeMember) {
			return edge{g.Name(k.Target), k.Connection, k.Privilege}
		}
	}
	return edge{k.Connection, k.Target, k.Privilege}
}

// answer finds the commit and approvers behind each step.
type answer struct {
	*base
	graph       *graph.Graph
	description schemas.Description
	origins     map[edge]plan.Entitlement
	records     map[string]*schemas.AdmissionRecord // by commit
}

// steps are the entitlements along a way, each with the connection that holds it.
func (p *answer) steps(ctx context.Context, a schemas.Access) ([]schemas.AccessStep, error) {
	way := append([]schemas.Name{a.Identity}, a.Via...)
	way = append(way, a.Target)
	if a.Privilege == schemas.PrivilegeSuperuser && p.graph.Name(a.Identity) == a.Target {
		return []schemas.AccessStep{}, nil
	}
	var out []schemas.AccessStep
	for i := 0; i+1 < len(way); i++ {
		from, to := way[i], way[i+1]
		privilege := schemas.PrivilegeMember
		if i+2 == len(way) && a.Privilege != schemas.PrivilegeSuperuser {
			privilege = a.Privilege
		}
		// The connection that holds the entitlement is the group for members, the member for nested roles.
		s := schemas.AccessStep{Key: schemas.Key{Connection: p.graph.Name(from), Target: to, Privilege: privilege}, Origin: schemas.OriginUnmanaged}
		if typ, ok := p.description.Type(to.Type); ok {
			if g, ok := typ.Target(from.Type); ok && (g.Edge == schemas.EdgeIdentity || g.Edge == schemas.EdgeMember) {
				s.Key = schemas.Key{Connection: to, Target: from, Privilege: privilege}
			}
		}
		if e, ok := p.origins[edge{p.graph.Name(from), to, privilege}]; ok {
			s.Origin, s.Documents, s.Expires = schemas.OriginRequest, e.Documents, e.Expires
			if err := p.fill(ctx, &s); err != nil {
				return nil, err
			}
		}
		out = append(out, s)
	}
	return out, nil
}

func (p *answer) fill(ctx context.Context, s *schemas.AccessStep) error {
	if len(s.Documents) == 0 {
		return nil
	}
	doc := s.Documents[len(s.Documents)-1]
	f, err := p.admitted.File(ctx, doc.Path)
	if err != nil || f == nil {
		return err
	}
	s.Commit = f.Commit
	rec, ok := p.records[f.Commit]
	if !ok {
		if rec, _, err = p.ledger.Admission(ctx, f.Commit); err != nil {
			return err
		}
		if rec == nil {
			v, known, err := p.admitted.Verdict(ctx, f.Commit)
			if err != nil {
				return err
			}
			if known {
				rec = &v
			}
		}
		p.records[f.Commit] = rec
	}
	if rec == nil || rec.Evidence == nil {
		return nil
	}
	s.PullRequest = rec.Evidence.PullRequest
	for _, a := range rec.Evidence.Approvals {
		if a.Counts {
			s.Approvers = append(s.Approvers, a)
		}
	}
	return nil
}
