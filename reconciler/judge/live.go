package judge

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/countersign/countersign/reconciler/index"
	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/schemas"
)

// Live is what a change gives in the live applications beyond what documents show, by application.
type Live map[string]LiveEffect

// LiveEffect is what a change gives in one live application beyond what documents show.
type LiveEffect struct {
	// Gained are the identities that gain only by memberships that no document names, Privileged the powerful rights that
	// only such access leads to, Left the members that a deleted connection still has, each by operation id.
	Gained     map[string][]schemas.Name
	Privileged map[string][]string
	Left       map[string][]schemas.Name
	// Holdings are the connections that identities which gain something are in, by identity.
	Holdings map[schemas.Name][]schemas.Name
	// MemberOf returns the connections that any identity is in after the change.
	MemberOf func(identity schemas.Name) []schemas.Name
}

// Operations are those of the change in an application, without regard to live state.
func (e *Examination) Operations(application string) []schemas.Operation {
	return e.Changes[application].Operations
}

// Around returns the connections whose documents decide what identities of an application hold.
func (e *Examination) Around(ctx context.Context, application string, identities []schemas.Name, description schemas.Description) (map[schemas.Name]bool, error) {
	set := map[schemas.Name]bool{}
	var up []schemas.Name
	for _, id := range identities {
		in, err := e.head.Mentioning(ctx, index.ConnectionKey{Application: application, Name: id})
		if err != nil {
			return nil, err
		}
		for _, n := range in {
			if !set[n] {
				set[n] = true
				up = append(up, n)
			}
		}
	}
	return set, e.nested(ctx, application, set, up, description)
}

// heirs are the connections of an application that receive what the change's deletions leave.
func (e *Examination) heirs() map[string][]schemas.Name {
	out := map[string][]schemas.Name{}
	for _, f := range e.files {
		for _, d := range f.new {
			if v, ok := d.Value.(*schemas.Request); ok && v.ReassignTo != "" {
				out[v.Application] = append(out[v.Application], schemas.Name{Type: v.Connection.Type, SourceName: v.ReassignTo})
			}
		}
	}
	return out
}

// gainers adds the people who gain by live access, and returns the identities that do and are not mapped to anyone.
func (e *Examination) gainers(live Live, people []string) (all, unknown []string) {
	all = slices.Clone(people)
	for app, l := range live {
		for _, ids := range l.Gained {
			for _, id := range ids {
				if p, ok := e.owner(app, id); ok {
					all = append(all, p)
				} else {
					unknown = append(unknown, app+": "+id.String())
				}
			}
		}
	}
	slices.Sort(all)
	slices.Sort(unknown)
	return slices.Compact(all), slices.Compact(unknown)
}

// owner returns the person whose identity a name is. Where people approve with an account, a person known only by an
// address could be any of them.
func (e *Examination) owner(app string, id schemas.Name) (string, bool) {
	p, ok := e.trust.Directory.Identity(app, id.SourceName)
	return p, ok && (e.trust.Settings.Spec.Forge.Kind == "local" || !strings.Contains(p, "@"))
}

// second requires a second approver where identities gain that nobody is known to own.
func (e *Examination) second(live Live) []schemas.Requirement {
	var out []schemas.Requirement
	for _, app := range e.Affected {
		_, unknown := e.gainers(Live{app: live[app]}, nil)
		if a := e.trust.Applications[app]; len(unknown) > 0 && a != nil {
			names := unknown
			if len(names) > 5 {
				names = append(slices.Clone(names[:5]), fmt.Sprintf("%d more", len(unknown)-5))
			}
			out = append(out, schemas.Requirement{Code: schemas.CodeLiveMembers, From: a.Spec.Owners, Count: 2,
				Why: fmt.Sprintf("members whom no request names and nobody is known to own gain by it: %s", strings.Join(names, ", "))})
		}
	}
	return out
}

// privilegedWhy names what makes an operation privileged by what anybody gains by it; "" for nothing.
func (e *Examination) privilegedWhy(app string, o *schemas.Operation, live LiveEffect) string {
	if list := live.Privileged[o.ID]; len(list) > 0 {
		return "in the application it gives " + list[0]
	}
	described := e.After[app]
	if described == nil {
		return ""
	}
	for _, a := range o.Gained {
		if plan.PrivilegedAccess(described, e.descriptions[app], a) {
			return "it gives " + a.Privilege + " " + a.Target.String()
		}
	}
	return ""
}
