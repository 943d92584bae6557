package run

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/countersign/countersign/reconciler/graph"
	"github.com/countersign/countersign/reconciler/hold"
	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/schemas"
)

// Gains is what operations give beyond what documents show, because of who is a member and what is granted already in
// the application.
type Gains struct {
	// Of are the gains by operation id; only operations that give something beyond are there.
	Of map[string]graph.Gain
	// Left are the members that a connection still has when it is deleted and that no document names, by operation id.
	Left map[string][]schemas.Name
	// After is the application as it is and is wanted.
	After *graph.Graph
}

// gains finds what the operations give beyond the documents. state is the live state as far as nesting leads, desired
// what all documents want, remembered what was verified before, and ops the operations in the order of their approval: each
// is judged on those before it.
func gains(application string, description schemas.Description, state schemas.State, desired *plan.Desired, ops []*schemas.Operation, removals []schemas.Operation,
	remembered func(string) (schemas.BaselineItem, bool)) Gains {
	out := Gains{Of: map[string]graph.Gain{}, Left: map[string][]schemas.Name{}}
	wanted := plan.Documented(desired, description)
	documented := graph.New(application, description, wanted)
	live := graph.New(application, description, state)
	for _, c := range wanted.Connections {
		for _, e := range c.Entitlements {
			live.Apply(&schemas.Operation{Kind: schemas.OperationGrant, Connection: c.Name, Target: &e.Target, Privilege: e.Privilege})
		}
	}
	undo := func(o *schemas.Operation) {
		back := *o
		back.Kind = schemas.OperationRevoke
		documented.Apply(&back)
		live.Apply(&back)
	}
	for _, o := range ops {
		if o.Kind == schemas.OperationGrant {
			undo(o)
		}
	}
	for i := range removals {
		if removals[i].Kind == schemas.OperationRevoke {
			live.Apply(&removals[i])
		}
	}
	named := namedEntitlements(desired)
	for _, o := range ops {
		if o.Kind == schemas.OperationDelete {
			there := live.DirectMembers(o.Connection)
			for k, m := range memberships(description, state, o.Connection) {
				if _, known := remembered(plan.EntitlementItem(k)); !known && !named[k] && slices.Contains(there, live.Name(m)) {
					out.Left[o.ID] = append(out.Left[o.ID], m)
				}
			}
			slices.SortFunc(out.Left[o.ID], schemas.Name.Compare)
		} else {
			live.Apply(o)
			documented.Apply(o)
		}
		if g := live.Beyond(o, documented); len(g.Identities) > 0 || len(g.Rights) > 0 {
			out.Of[o.ID] = g
		}
		if o.Kind == schemas.OperationDelete {
			live.Apply(o)
		}
	}
	out.After = live
	return out
}

// memberships are the live memberships in a connection, by key, each with the member.
func memberships(description schemas.Description, state schemas.State, connection schemas.Name) map[schemas.Key]schemas.Name {
	out := map[schemas.Key]schemas.Name{}
	for i := range state.Connections {
		c := &state.Connections[i]
		typ, _ := description.Type(c.Type)
		for j := range c.Entitlements {
			e := &c.Entitlements[j]
			k := schemas.Key{Connection: c.Name, Target: e.Target, Privilege: e.Privilege}
			switch target, _ := typ.Target(e.Target.Type); {
			case e.Privilege != schemas.PrivilegeMember:
			case c.Name == connection && (target.Edge == schemas.EdgeIdentity || target.Edge == schemas.EdgeMember):
				out[k] = e.Target
			case e.Target == connection && target.Edge == schemas.EdgeConnection && c.Protected == "":
				// Protected ones are the server's, or countersign's own credential, which is a member of what it made.
				out[k] = c.Name
			}
		}
	}
	return out
}

// namedEntitlements are those that documents of the present lives want or ended.
func namedEntitlements(d *plan.Desired) map[schemas.Key]bool {
	out := map[schemas.Key]bool{}
	for _, c := range d.Connections {
		for _, e := range c.Entitlements {
			out[schemas.Key{Connection: c.Name, Target: e.Target, Privilege: e.Privilege}] = true
		}
		for _, t := range c.Tombstones {
			out[schemas.Key{Connection: c.Name, Target: t.Target, Privilege: t.Privilege}] = true
		}
	}
	return out
}

// unsigned is an operation of a commit whose sign-offs may not cover what it gives.
type unsigned struct {
	operation *schemas.Operation
	verdict   *schemas.AdmissionRecord
	// people gain by live access, unknown are identities that do and that nobody is known to own.
	people, unknown []string
	// privileged are powerful rights that only live access leads to, left the members of a deleted connection.
	privileged, left []string
}

// holdUnsigned holds operations that give somebody more than the documents show, where too few of the sign-offs on record
// are by people who gain nothing. Live access changes after a review, so it is looked at again here.
func (a *application) holdUnsigned(ctx context.Context) error {
	ops, verdicts, err := a.approved(ctx)
	if err != nil || len(ops) == 0 {
		return err
	}
	state := a.live.state
	if a.live.attested == nil && a.live.description.Reach {
		further := *a.live
		if err := further.readFrom(ctx, a.input.Desired, true); err != nil {
			for _, o := range ops {
				if !o.Removes() {
					o.Hold, o.HoldReason = schemas.HoldUnknown, "could not read who gains by it: "+err.Error()
				}
			}
			hold.Dependents(&a.outcome.Plan)
			return nil
		}
		state = further.state
	}
	var removals []schemas.Operation
	for _, o := range a.outcome.Plan.Operations {
		if o.Hold == schemas.HoldNone && o.Kind == schemas.OperationRevoke {
			removals = append(removals, o)
		}
	}
	found := gains(a.app.Name, a.live.description, state, a.input.Desired, ops, removals, a.remembered)
	byCommit := map[string][]*unsigned{}
	for _, o := range ops {
		u := a.uncovered(o, verdicts[o.ID], &found)
		if u != nil {
			byCommit[u.commit()] = append(byCommit[u.commit()], u)
		}
	}
	for commit, list := range byCommit {
		digest := signoffDigest(a.app.Name, commit, list)
		more, err := a.acknowledgedHeld(ctx, digest)
		if err != nil {
			return err
		}
		for _, u := range list {
			if short := a.short(u, more); short != "" {
				u.operation.Hold = schemas.HoldSignoff
				u.operation.HoldReason = fmt.Sprintf("%s: somebody else signs off an Acknowledgement with held: {application: %s, digest: %s}", short, a.app.Name, digest)
				continue
			}
			// What documents alone give was judged at the merge. Who gains by live access may hold something else by now.
			together, err := a.together(ctx, found.Of[u.operation.ID].Identities, found.After)
			if err != nil {
				return err
			}
			if together != "" {
				u.operation.Hold, u.operation.HoldReason, u.operation.HoldExplained = schemas.HoldSignoff, together, true
			}
		}
	}
	hold.Dependents(&a.outcome.Plan)
	return nil
}

// approved are the operations to carry out that give something or delete a connection because a commit was admitted, in
// the order of these commits, with the verdicts by operation.
func (a *application) approved(ctx context.Context) ([]*schemas.Operation, map[string]*schemas.AdmissionRecord, error) {
	var ops []*schemas.Operation
	verdicts, records := map[string]*schemas.AdmissionRecord{}, map[string]*schemas.AdmissionRecord{}
	for i := range a.outcome.Plan.Operations {
		o := &a.outcome.Plan.Operations[i]
		if o.Hold != schemas.HoldNone || len(o.Documents) == 0 || o.Cause == schemas.CauseDrift || o.Kind != schemas.OperationGrant && o.Kind != schemas.OperationDelete {
			continue
		}
		f, err := a.base.Documents.File(ctx, o.Documents[len(o.Documents)-1].Path)
		if err != nil {
			return nil, nil, err
		}
		if f != nil {
			rec, ok := records[f.Commit]
			if !ok {
				if rec, err = a.verdictOn(ctx, f.Commit); err != nil {
					return nil, nil, err
				}
				records[f.Commit] = rec
			}
			verdicts[o.ID] = rec
		}
		ops = append(ops, o)
	}
	place := func(o *schemas.Operation) int {
		if v := verdicts[o.ID]; v != nil {
			return v.Sequence
		}
		return -1
	}
	slices.SortStableFunc(ops, func(a, b *schemas.Operation) int { return cmp.Compare(place(a), place(b)) })
	return ops, verdicts, nil
}

// verdictOn is the verdict on a commit; nil where there is none.
func (a *application) verdictOn(ctx context.Context, commit string) (*schemas.AdmissionRecord, error) {
	rec, ok, err := a.base.Ledger.Admission(ctx, commit)
	if err != nil || ok {
		return rec, err
	}
	v, ok, err := a.base.Documents.Verdict(ctx, commit)
	if err != nil || !ok {
		return nil, err
	}
	return &v, nil
}

// uncovered is what an operation gives beyond the documents; nil for nothing, and for the anchor, which needs no review.
func (a *application) uncovered(o *schemas.Operation, verdict *schemas.AdmissionRecord, found *Gains) *unsigned {
	if verdict != nil && verdict.Verdict == schemas.AdmissionAnchor {
		return nil
	}
	u := &unsigned{operation: o, verdict: verdict}
	g := found.Of[o.ID]
	u.people, u.unknown = peopleOf(a.base.People, a.app.Name, g.Identities)
	u.privileged = privilegedRights(a.app, a.live.description, g.Rights)
	if a.becamePrivileged(o) {
		u.privileged = append(u.privileged, o.Privilege+" "+o.Connection.String())
	}
	for _, m := range found.Left[o.ID] {
		u.left = append(u.left, m.String())
	}
	if len(u.people)+len(u.unknown)+len(u.privileged)+len(u.left) == 0 {
		return nil
	}
	return u
}

// peopleOf maps identities to people. Identities that nobody is known to own are in unknown.
func peopleOf(directory People, application string, identities []schemas.Name) (people, unknown []string) {
	for _, n := range identities {
		if p, ok := directory.Identity(application, n.SourceName); ok {
			people = append(people, directory.Canonical(p))
		} else {
			unknown = append(unknown, n.String())
		}
	}
	slices.Sort(people)
	return slices.Compact(people), unknown
}

// privilegedRights names the powerful ones.
func privilegedRights(app *schemas.Application, description schemas.Description, rights []schemas.Access) []string {
	var out []string
	for _, r := range rights {
		if plan.PrivilegedAccess(app, description, r) {
			out = append(out, r.Privilege+" "+r.Target.String())
		}
	}
	return out
}

func (u *unsigned) commit() string {
	if u.verdict == nil {
		return ""
	}
	return u.verdict.Commit
}

// signoffDigest is of a commit, which is what was approved, and of who gains what by it besides.
func signoffDigest(application, commit string, list []*unsigned) string {
	var lines []string
	for _, u := range list {
		for kind, names := range map[string][]string{"person": u.people, "unknown": u.unknown, "privileged": u.privileged, "left": u.left} {
			for _, n := range names {
				lines = append(lines, kind+"\x00"+n)
			}
		}
	}
	slices.Sort(lines)
	sum := sha256.Sum256([]byte(application + "\x00" + commit + "\x00" + strings.Join(slices.Compact(lines), "\n")))
	return hex.EncodeToString(sum[:12])
}

// acknowledgedHeld are the approvals of admitted Acknowledgements that name a digest of held operations.
func (a *application) acknowledgedHeld(ctx context.Context, digest string) ([]schemas.Approval, error) {
	var out []schemas.Approval
	for _, c := range a.base.Controls {
		if c.Acknowledgement == nil || c.Acknowledgement.Held == nil || *c.Acknowledgement.Held != (schemas.HeldOperations{Application: a.app.Name, Digest: digest}) {
			continue
		}
		f, err := a.base.Documents.File(ctx, c.ID.Path)
		if err != nil {
			return nil, err
		}
		if f == nil {
			continue
		}
		v, err := a.verdictOn(ctx, f.Commit)
		if err != nil {
			return nil, err
		}
		if v != nil && v.Evidence != nil {
			out = append(out, v.Evidence.Approvals...)
		}
	}
	return out, nil
}

// short explains why the sign-offs on record, with those of an Acknowledgement, don't cover what the operation gives; ""
// when they do.
func (a *application) short(u *unsigned, more []schemas.Approval) string {
	var approvals []schemas.Approval
	var required []schemas.Requirement
	if u.verdict != nil && u.verdict.Evidence != nil {
		approvals = slices.Clone(u.verdict.Evidence.Approvals)
	}
	if u.verdict != nil && u.verdict.Decision != nil {
		required = u.verdict.Decision.Required
	}
	acknowledged := len(more) > 0
	left := map[string][]string{} // capacities of those whose sign-off counts, by person
	var gainers []string
	for _, p := range slices.Concat(approvals, more) {
		who := a.base.People.Canonical(p.Person)
		switch {
		case !p.Counts:
		case slices.Contains(u.people, who):
			gainers = append(gainers, who)
		default:
			left[who] = append(left[who], p.Capacities...)
		}
	}
	slices.Sort(gainers)
	gainers = slices.Compact(gainers)
	if len(gainers) > 0 {
		for _, r := range required {
			if have, need := speaking(left, r.From), max(r.Count, 1); have < need {
				return fmt.Sprintf("%s signed it off and gains by it, as a member whom no request names: %d of %d sign-offs are left", strings.Join(gainers, ", "), have, need)
			}
		}
		if len(left) == 0 {
			return fmt.Sprintf("%s signed it off and gains by it, as a member whom no request names", strings.Join(gainers, ", "))
		}
	}
	switch owners := speaking(left, a.app.Spec.Owners); {
	case len(u.privileged) > 0 && (owners < 2 || u.operation.Expires == nil && !acknowledged):
		return fmt.Sprintf("it gives %s, which is privileged, through access that no request names: two owners must sign it off, and it needs an end", some(u.privileged))
	case len(u.unknown) > 0 && len(left) < 2:
		return fmt.Sprintf("%s would gain by it, as members whom no request names and nobody is known to own: two people must sign it off", some(u.unknown))
	case len(u.left) > 0 && !acknowledged:
		return fmt.Sprintf("it still has members whom no request names: %s", some(u.left))
	}
	return ""
}

// speaking counts the people who speak for one of the principals.
func speaking(people map[string][]string, principals []string) int {
	n := 0
	for _, capacities := range people {
		if slices.ContainsFunc(capacities, func(c string) bool {
			return slices.ContainsFunc(principals, func(p string) bool { return strings.EqualFold(c, p) })
		}) {
			n++
		}
	}
	return n
}

// some names the first few.
func some(list []string) string {
	if len(list) > 3 {
		return fmt.Sprintf("%s and %d more", strings.Join(list[:3], ", "), len(list)-3)
	}
	return strings.Join(list, ", ")
}
