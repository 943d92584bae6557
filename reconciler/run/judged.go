package run

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/schemas"
)

// judged is how changes of an application were judged, where that differs from the installation: by the connector's
// description without a connection.
type judged struct {
	description schemas.Description
	// entitlements are those that all documents want by that description.
	entitlements map[schemas.Key]bool
}

// readJudged folds the documents as they were judged; nil where the installation is described in the same way.
func (a *application) readJudged() error {
	c, err := a.config.Connectors.Find(a.app.Spec.Connector)
	if err != nil {
		return fmt.Errorf("application %s: %w", a.app.Name, err)
	}
	description := c.Describe()
	if own, is := c.(connectors.Configured); is {
		if description, err = own.DescribeConfig(a.app.Spec.Config); err != nil {
			return fmt.Errorf("application %s: %w", a.app.Name, err)
		}
	}
	if reflect.DeepEqual(description.Types, a.live.description.Types) {
		return nil
	}
	a.judged = &judged{description: description, entitlements: map[schemas.Key]bool{}}
	desired := plan.Fold(a.documents, description, a.now())
	for _, c := range desired.Connections {
		for _, e := range c.Entitlements {
			a.judged.entitlements[schemas.Key{Connection: c.Name, Target: e.Target, Privilege: e.Privilege}] = true
		}
	}
	return nil
}

// holdUnjudged holds what would be given without having been judged: policy and sign-offs saw the documents as the
// connector's description without a connection reads them. Nothing that only takes access away is held.
func (a *application) holdUnjudged() {
	if a.judged == nil {
		return
	}
	wanted := map[right][]wish{}
	for _, c := range a.input.Desired.Connections {
		for _, e := range c.Entitlements {
			of := right{e.Target, e.Privilege}
			wanted[of] = append(wanted[of], wish{c.Name, e.Documents})
		}
	}
	for i := range a.outcome.Plan.Operations {
		o := &a.outcome.Plan.Operations[i]
		if o.Hold != schemas.HoldNone || o.Removes() {
			continue
		}
		if why := a.judged.unseen(o, wanted); why != "" {
			o.Hold = schemas.HoldSignoff
			o.HoldReason = fmt.Sprintf("policy and sign-offs have not seen it: connector %s describes the installation differently than without a connection (%s); the connector must describe both in the same way",
				a.app.Spec.Connector, why)
		}
	}
}

// right is what an entitlement gives.
type right struct {
	target    schemas.Name
	privilege string
}

// wish is a connection that documents give a right to.
type wish struct {
	connection schemas.Name
	documents  []schemas.DocumentID
}

// unseen explains what of an operation is not in the description by which it was judged, or returns "". wanted are the
// entitlements that all documents want, by what they give.
func (j *judged) unseen(o *schemas.Operation, wanted map[right][]wish) string {
	typ, ok := j.description.Type(o.Connection.Type)
	switch {
	case !ok:
		return "no type " + o.Connection.Type
	case o.Kind == schemas.OperationCreate && !typ.Create, o.Kind == schemas.OperationUpdate && !typ.Update:
		return fmt.Sprintf("no %s of a %s", o.Kind, typ.Name)
	case o.Kind != schemas.OperationGrant || o.Target == nil:
		return ""
	}
	target, ok := typ.Target(o.Target.Type)
	switch {
	case !ok || !target.Grant:
		return fmt.Sprintf("no grant of a %s to a %s", o.Target.Type, typ.Name)
	case len(target.Privileges) > 0 && !slices.Contains(target.Privileges, o.Privilege):
		return fmt.Sprintf("no privilege %s on a %s", o.Privilege, o.Target.Type)
	}
	for _, w := range wanted[right{*o.Target, o.Privilege}] {
		if slices.ContainsFunc(w.documents, func(d schemas.DocumentID) bool { return slices.Contains(o.Documents, d) }) &&
			!j.entitlements[schemas.Key{Connection: w.connection, Target: *o.Target, Privilege: o.Privilege}] {
			return fmt.Sprintf("another default than %s on a %s", o.Privilege, o.Target.Type)
		}
	}
	return ""
}

// becamePrivileged reports whether a grant is powerful in the installation and was judged as ordinary.
func (a *application) becamePrivileged(o *schemas.Operation) bool {
	if a.judged == nil || o.Kind != schemas.OperationGrant || o.Target == nil || !o.Privileged {
		return false
	}
	typ, _ := a.judged.description.Type(o.Connection.Type)
	target, _ := typ.Target(o.Target.Type)
	return !plan.PrivilegedGrant(a.app, typ, target, o.Connection, *o.Target, o.Privilege)
}
