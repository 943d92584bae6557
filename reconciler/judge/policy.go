package judge

import (
	"context"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/countersign/countersign/reconciler/index"
	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/schemas"
)

// beneficiaries returns the people whose effective access grows through the change, and the gaining identities that
// are not mapped to anyone, sorted.
func (e *Examination) beneficiaries() (people, unknown []string) {
	seen := map[string]bool{}
	for _, app := range e.Affected {
		for _, a := range e.Changes[app].Gained {
			id := app + ": " + a.Identity.String()
			if seen[id] {
				continue
			}
			seen[id] = true
			if p, ok := e.owner(app, a.Identity); ok {
				people = append(people, p)
			} else {
				unknown = append(unknown, id)
			}
		}
	}
	// An heir receives what a deleted connection owns.
	for app, heirs := range e.heirs() {
		for _, h := range heirs {
			if after := e.Changes[app].After; after != nil {
				for _, id := range after.Members(h) {
					if p, ok := e.owner(app, id); ok {
						people = append(people, p)
					}
				}
			}
		}
	}
	slices.Sort(people)
	slices.Sort(unknown)
	return slices.Compact(people), unknown
}

// input returns the policy input for the change.
func (e *Examination) input(phase, baseCommit, headCommit string, ev schemas.Evidence, signoffs []schemas.PolicySignoff, people []string, holders *holders, live Live, now time.Time) schemas.PolicyInput {
	in := schemas.PolicyInput{
		APIVersion: schemas.APIVersion, Phase: phase, Now: now,
		Change: []schemas.ChangedDocument{}, ControlFiles: []string{}, Plan: []schemas.PolicyOperation{},
		Applications: map[string]*schemas.PolicyApplication{}, Holdings: holders.holdings, Identities: holders.of,
		Signoffs: signoffs,
		Settings: schemas.PolicySettings{Owners: e.trust.Settings.Spec.Owners, Tickets: e.trust.Settings.Spec.Tickets},
		PullRequest: schemas.PolicyPullRequest{Number: ev.PullRequest, Title: ev.Title, Contributors: orEmpty(ev.Authors),
			Beneficiaries: orEmpty(people), Base: baseCommit, Head: headCommit},
	}
	if in.Signoffs == nil {
		in.Signoffs = []schemas.PolicySignoff{}
	}
	touch := func(name string) {
		// Owners and lists are those of the base: a change never vouches for itself.
		if a := e.trust.policy[name]; a != nil {
			in.Applications[name] = a
		} else if a := e.After[name]; a != nil {
			in.Applications[name] = policyApplication(a)
		}
	}
	for _, f := range e.files {
		if f.class == schemas.ClassPolicy || f.class == schemas.ClassSigners {
			in.ControlFiles = append(in.ControlFiles, f.path)
			continue
		}
		formatted := f.formatted()
		for i := range max(len(f.old), len(f.new)) {
			c := schemas.ChangedDocument{Path: f.path, Index: i, Merged: i < len(f.old)}
			var was, is schemas.Content
			if i < len(f.old) {
				was = f.old[i].Value
				c.Action, c.Line, c.Kind, c.Metadata = "deleted", f.old[i].Position.Line, f.old[i].Kind, f.old[i].Metadata
			}
			if i < len(f.new) {
				is = f.new[i].Value
				if was != nil && !formatted && sameContent(&f.old[i], &f.new[i]) {
					continue
				}
				c.Action, c.Line, c.Kind, c.Metadata = "added", f.new[i].Position.Line, f.new[i].Kind, f.new[i].Metadata
				switch {
				case formatted:
					c.Action = "reformatted"
				case was != nil:
					c.Action = "modified"
				}
			}
			now := is
			if now == nil {
				now = was
			}
			// Of settings, people and control documents, rules see the kind alone.
			schemas.VisitContent(now,
				func(v *schemas.Request) {
					c.Request = v
					touch(v.Application)
					if b, ok := was.(*schemas.Request); ok && is != nil {
						c.Before = b
						touch(b.Application)
					}
				},
				func(v *schemas.Application) {
					c.Application = policyApplication(v)
					touch(v.Name)
				}, nil, nil, func(v schemas.Control) {
					// An Acknowledgement of held operations is signed off as they would be.
					if a, ok := v.(*schemas.AcknowledgementSpec); ok {
						if a.Held != nil {
							touch(a.Held.Application)
						}
						if a.Rebind != nil { // and one that rebinds an application by that application's owners
							touch(a.Rebind.Application)
						}
					}
				})
			in.Change = append(in.Change, c)
		}
	}
	for _, app := range e.Affected {
		touch(app)
		ch := e.Changes[app]
		for i := range ch.Operations {
			in.Plan = append(in.Plan, e.policyOperation(app, &ch.Operations[i], live[app]))
		}
	}
	return in
}

// sameContent reports whether two versions of a document are equal.
func sameContent(a, b *schemas.Document) bool {
	return a.Kind == b.Kind && a.Metadata == b.Metadata && reflect.DeepEqual(a.Value, b.Value)
}

// formatted reports whether a file was changed without changing any document of it: comments, quoting, line ends, empty
// documents.
func (f *file) formatted() bool {
	if f.before == "" || f.after == "" || len(f.new) == 0 {
		return false
	}
	return slices.EqualFunc(f.old, f.new, func(a, b schemas.Document) bool { return sameContent(&a, &b) })
}

func orEmpty(l []string) []string {
	if l == nil {
		return []string{}
	}
	return l
}

func (e *Examination) policyOperation(app string, o *schemas.Operation, live LiveEffect) schemas.PolicyOperation {
	p := schemas.PolicyOperation{
		Kind: o.Kind, Application: app, Connection: o.Connection, Target: o.Target, Privilege: o.Privilege, Privileged: o.Privileged,
		Expires: o.Expires, After: o.After, Gained: o.Gained, Lost: o.Lost,
	}
	if o.Privileged {
		p.PrivilegedWhy = "listed by the connector or the application"
	} else if why := e.privilegedWhy(app, o, live); why != "" {
		p.Privileged, p.PrivilegedWhy = true, why
	}
	for i := len(o.Documents) - 1; i >= 0; i-- {
		doc := o.Documents[i]
		f := e.fileOf(doc.Path)
		if f == nil || doc.Index >= len(f.new) {
			continue
		}
		d := f.new[doc.Index]
		p.Path, p.Index, p.Line = doc.Path, doc.Index, d.Position.Line
		if req, ok := d.Value.(*schemas.Request); ok && o.Target != nil {
			names := func(g *schemas.Entry) bool {
				return g.Type == o.Target.Type && g.SourceName == o.Target.SourceName && (len(g.Privileges) == 0 || slices.Contains(g.Privileges, o.Privilege))
			}
			list, entries := "grants", req.Grants
			if o.Kind == schemas.OperationRevoke {
				list, entries = "revokes", req.Revokes
			}
			for j := range entries {
				if names(&entries[j]) {
					p.Field = "spec." + list + "[" + strconv.Itoa(j) + "]"
					p.Line = d.At(p.Field).Line
				}
			}
		}
		break
	}
	if p.Path == "" && len(o.Documents) > 0 {
		p.Path, p.Index = o.Documents[0].Path, o.Documents[0].Index
	}
	if o.Kind == schemas.OperationDelete {
		p.Members = e.left[o.ID] + len(live.Left[o.ID])
	}
	return p
}

// membersLeft counts the members that a connection still has when it is deleted: those of the desired state before
// the change, without those that the same change removes by a revoke or by undoing every request that grants them.
func (e *Examination) membersLeft(ctx context.Context, app string, o *schemas.Operation, ch plan.Change) (int, error) {
	revoked := map[schemas.Name]bool{}
	for _, f := range e.files {
		for _, d := range f.new {
			req, ok := d.Value.(*schemas.Request)
			if !ok || req.Application != app {
				continue
			}
			for _, g := range req.Revokes {
				if req.Connection.Name() == o.Connection {
					revoked[g.Name()] = true
				}
				if g.Name() == o.Connection {
					revoked[req.Connection.Name()] = true
				}
			}
		}
	}
	left := 0
	for _, m := range ch.Before.DirectMembers(o.Connection) {
		if revoked[m] || !ch.After.Exists(m) {
			continue
		}
		granted, err := e.granted(ctx, app, o.Connection, m)
		if err != nil {
			return 0, err
		}
		if granted {
			left++
		}
	}
	return left, nil
}

// granted reports whether a request still in force after the change makes member a member of the connection. The
// connector decides on which of the two the request is made.
func (e *Examination) granted(ctx context.Context, app string, connection, member schemas.Name) (bool, error) {
	for _, way := range [][2]schemas.Name{{connection, member}, {member, connection}} {
		docs, err := e.head.Documents(ctx, index.ConnectionKey{Application: app, Name: way[0]})
		if err != nil {
			return false, err
		}
		for _, d := range docs {
			if d.Current != nil && slices.ContainsFunc(d.Current.Request.Grants, func(g schemas.Entry) bool { return g.Name() == way[1] }) {
				return true, nil
			}
		}
	}
	return false, nil
}
