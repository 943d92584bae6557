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
	return report, nil
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
	origins := originsOf(read.Desired)
	provenance := provenance{base: b, records: map[string]*schemas.AdmissionRecord{}}
	for _, id := range effective.Identities() {
		if o.Identity != "" && !names(o.Identity, id) {
			continue
		}
		for _, a := range effective.AccessOf(id) {
			if !o.asks(a) {
				continue
			}
			e := schemas.AccessEntry{Access: a}
			for _, k := range steps(a, read.Description) {
				s := schemas.AccessStep{Key: k, Origin: "unmanaged"}
				if from, ok := origins[k]; ok {
					s.Origin, s.Documents, s.Expires = "request", from.Documents, from.Expires
					if err := provenance.fill(ctx, &s); err != nil {
						return err
					}
				}
				e.Steps = append(e.Steps, s)
			}
			report.Entries = append(report.Entries, e)
		}
	}
	return nil
}

// asks reports whether the question is about this access, of the identity that it names.
func (o AccessOptions) asks(a schemas.Access) bool {
	if o.Resource != "" && !names(o.Resource, a.Target) {
		return false
	}
	return o.Connection == "" || names(o.Connection, a.Target) || slices.ContainsFunc(a.Via, func(n schemas.Name) bool { return names(o.Connection, n) })
}

// names reports whether the typed text means the name.
func names(typed string, n schemas.Name) bool {
	return typed == n.SourceName || typed == n.String()
}

func originsOf(d *plan.Desired) map[schemas.Key]plan.Entitlement {
	out := map[schemas.Key]plan.Entitlement{}
	for _, c := range d.Connections {
		for _, e := range c.Entitlements {
			out[schemas.Key{Connection: c.Name, Target: e.Target, Privilege: e.Privilege}] = e
		}
	}
	return out
}

// steps are the entitlements along a way, each with the connection that holds it.
func steps(a schemas.Access, desc schemas.Description) []schemas.Key {
	way := append([]schemas.Name{a.Identity}, a.Via...)
	way = append(way, a.Target)
	var out []schemas.Key
	for i := 0; i+1 < len(way); i++ {
		from, to := way[i], way[i+1]
		privilege := schemas.PrivilegeMember
		if i+2 == len(way) {
			privilege = a.Privilege
		}
		// The connection that holds the entitlement is the group for members, the member for nested roles.
		k := schemas.Key{Connection: from, Target: to, Privilege: privilege}
		if typ, ok := desc.Type(to.Type); ok {
			if g, ok := typ.Target(from.Type); ok && (g.Edge == schemas.EdgeIdentity || g.Edge == schemas.EdgeMember) {
				k = schemas.Key{Connection: to, Target: from, Privilege: privilege}
			}
		}
		out = append(out, k)
	}
	return out
}

// provenance finds the commit and approvers behind documents.
type provenance struct {
	*base
	records map[string]*schemas.AdmissionRecord // by commit
}

func (p *provenance) fill(ctx context.Context, s *schemas.AccessStep) error {
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
