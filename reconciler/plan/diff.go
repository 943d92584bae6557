package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/schemas"
)

// The diff's decisions about a connection (scope, mode and holds apart). The baseline records what was verified
// before: made by an operation of ours, or adopted, found as it should be.
//
//	desired       live               baseline         plan
//	present       –                  –                create, with defaults for what is absent
//	present       –                  present          create, as drift
//	present       same               –                nothing; remembered as adopted
//	present       other attributes   –                update of what differs; what live does not know is left alone
//	present       other id           present          nothing; a finding, and grants wait until approved again
//	deleted       there              any              delete
//	deleted       other id           present          delete, held for its identity unless source_id names it
//	undone        there              made             delete, for an undo
//	undone        there              adopted          nothing: it becomes unmanaged again
//	undone        there              –                nothing; a finding
//	any           by its id          present          renamed: never created again, a finding; removals are carried out
//	unspecified   –                  any              a finding, when something is granted
//	any           two of the name    any              a finding, unless source_id selects one
//	any           protected          any              a finding
//
// And of an entitlement:
//
//	desired             live       baseline         plan
//	yes                 –          –                grant
//	yes                 –          the same words   grant, as drift, unless the connection is recreated as well
//	yes                 there      –                nothing; remembered as adopted
//	yes                 invited    any              nothing; pending
//	yes                 other id   present          nothing; a finding
//	yes                 by its id  present          nothing: renamed, a finding
//	yes                 no target  present          a finding; the grant is held, as drift
//	tombstone, request  there      any              revoke, under every name of the remembered id
//	tombstone, expiry   there      any              revoke, likewise
//	tombstone, undo     there      made             revoke
//	tombstone, undo     there      adopted          nothing: it is unmanaged again
//	tombstone, undo     there      –                revoke: the requests show that it was granted
//	tombstone           –          any              nothing; remembered with its id
//	tombstone, request  no target  –                nothing: no effect, a finding
//	tombstone, request  contained  any              nothing: covered, a finding
//	tombstone           its parts  any              revoke of the container, or of the parts that no grant wants
//	never mentioned     there      any              unmanaged: nothing, a line in the report, or revoke
//	never mentioned     contained  any              nothing: a grant of its container implies it

// Input is everything that a Diff depends on.
type Input struct {
	Application *schemas.Application
	Description schemas.Description
	Desired     *Desired
	// Live is what the application holds: at least every connection that Desired names, and for unmanaged
	// access every connection in scope.
	Live schemas.State
	// Normalize is the connector's pure Normalize; nil leaves states as they are.
	Normalize func(schemas.State) (schemas.State, error)
	// Targets are what the application answered about the targets that are to be granted, and about the Lookups of a
	// Diff before; a name that is missing, or has no items, does not exist. Nil means that nobody asked: every target is
	// taken to exist.
	Targets map[schemas.Name][]schemas.Item
	// Baseline tells what was seen to be as desired before. Nil knows nothing.
	Baseline func(item string) (schemas.BaselineItem, bool)
	Now      time.Time
}

// Result is an application's plan with what a run has to remember of it.
type Result struct {
	Plan schemas.ApplicationPlan
	// Settled are the items that are as desired without an operation, with the tokens to remember: adopted
	// where the baseline does not have them yet. Only those that differ from the baseline are listed, by
	// connection. An incomplete read settles nothing as absent.
	Settled []schemas.BaselineItem
	// Tokens are the tokens that the plan's operations settle, by operation id.
	Tokens map[string]string
	// Lookups are targets whose existence decides, of revokes that took nothing and were never verified, and whose ids do,
	// for Rebound. A Diff with the answers in Targets has none.
	Lookups []schemas.Name
	// OtherIDs counts the names that have another id than they were verified with, so that nothing is given to them.
	// Rebound is then what the baseline would be with the ids of today's names.
	OtherIDs int
	Rebound  []Rebound
	// Shrunken means that most of what was there at the last verification is gone from the live state.
	Shrunken bool
}

// Diff returns the operations that take the application from live to desired. Operations are in the order in
// which they can be carried out; Hold decides which of them wait.
func Diff(in Input) Result { return diff(in, false) }

// diff is Diff; owned takes everything that is there to be made by earlier requests, and asks no baseline.
func diff(in Input, owned bool) Result {
	d := differ{in: in, owned: owned, types: newTypes(in.Description), out: Result{Tokens: map[string]string{}}}
	p := &d.out.Plan
	p.Application, p.Mode, p.Connector = in.Application.Name, in.Application.Spec.Mode, in.Application.Spec.Connector
	p.Findings = slices.Clone(in.Desired.Findings)
	p.Incomplete, p.NotRead, p.NotManaged = in.Live.Incomplete, in.Live.NotRead, in.Live.NotManaged
	p.Operations = []schemas.Operation{}
	d.live = sortedLive(in.Live.Connections)
	d.normalize()
	spoken := d.match()
	for i := range d.items {
		d.existence(&d.items[i])
	}
	for i := range d.items {
		if it := &d.items[i]; it.open {
			d.entitlements(it)
		}
	}
	for i := range d.items {
		if it := &d.items[i]; it.open && it.found != nil && !it.renamed {
			d.leftovers(it, it.found)
		}
	}
	d.unmanaged(spoken)
	if d.out.OtherIDs > 0 {
		d.rebinding()
	}
	d.findUnread()
	d.depend()
	d.brake()
	sortOperations(p.Operations)
	slices.SortFunc(p.Unmanaged, schemas.Key.Compare)
	slices.SortFunc(p.Pending, func(a, b schemas.PendingEntitlement) int { return a.Key.Compare(b.Key) })
	return d.out
}

type differ struct {
	in       Input
	owned    bool
	types    types
	live     []*schemas.Connection // sorted by name
	edges    map[*schemas.Connection]*edges
	byID     map[connectionID]*schemas.Connection // made when it is first asked for
	items    []subject
	made     map[schemas.Name]bool // connections that the plan creates; true when not as drift
	grants   grantable
	assert   assertion
	scope    []string // the patterns of scopeType
	scopeFor string
	out      Result
	known    int // connections that were verified to be there
	missing  int // those of them that are not in live
}

// subject is one desired connection on its way through the diff.
type subject struct {
	// connection is in the application's own spelling; the others of the same spelling are in no item.
	connection *Connection
	form       *form // nil where the requests are spelt as the application has it
	want       map[string]any
	has        bool // want is known
	info       *typeInfo
	found      *schemas.Connection // live
	live       []*schemas.Connection
	base       schemas.BaselineItem
	// known means that base is known, identity that the name had another id when it was verified and
	// nothing was approved since.
	known, identity bool
	open            bool         // its entitlements are to be compared
	missing         schemas.Name // the last target of a removal that was not found
	// renamed means that found has another name than the requests, and was found by the remembered id. today is then the
	// item of its present name, nil where no request names it.
	renamed bool
	today   *subject
	// former is the connection with the remembered id where another one has the name now.
	former *schemas.Connection
}

// sortedLive are the live connections by name, without those that were read only because nesting leads to them.
func sortedLive(list []schemas.Connection) []*schemas.Connection {
	out := make([]*schemas.Connection, 0, len(list))
	for i := range list {
		if !list[i].Foreign {
			out = append(out, &list[i])
		}
	}
	byName := func(a, b *schemas.Connection) int { return a.Name.Compare(b.Name) }
	if !slices.IsSortedFunc(out, byName) {
		slices.SortStableFunc(out, byName)
	}
	return out
}

// match finds the live connections of each item, and reports which of d.live any request names.
func (d *differ) match() (spoken []bool) {
	spoken = make([]bool, len(d.live))
	i := 0
	for j := range d.items {
		it := &d.items[j]
		for i < len(d.live) && d.live[i].Compare(it.connection.Name) < 0 {
			i++
		}
		start := i
		for i < len(d.live) && d.live[i].Name == it.connection.Name {
			spoken[i] = true
			i++
		}
		it.live = d.live[start:i]
		i = start // two items may share a name only by a fault that was found already
	}
	return spoken
}

// brake tells a read that went wrong from somebody's work: a handful missing is work, most of everything
// is not, and of a few connections all.
func (d *differ) brake() {
	p := &d.out.Plan
	d.out.Shrunken = !d.owned && p.Incomplete == "" &&
		(d.missing >= 10 && d.missing*2 > d.known || d.missing >= 3 && d.missing == d.known)
	if p.Incomplete == "" && !d.out.Shrunken {
		return
	}
	if d.out.Shrunken {
		p.Findings = append(p.Findings, schemas.Finding{Code: "shrunken-read", Severity: schemas.SeverityError, Application: p.Application,
			Message: fmt.Sprintf("%d of %d connections that were verified before are missing from what was read", d.missing, d.known),
			Fix:     "see whether the credential or the address is the wrong one"})
	}
	// Access that was not seen may still be there.
	d.out.Settled = slices.DeleteFunc(d.out.Settled, func(b schemas.BaselineItem) bool { return strings.HasPrefix(b.Token, "absent") })
	p.Findings = slices.DeleteFunc(p.Findings, func(f schemas.Finding) bool { return f.Code == "no-connection" })
}

func (d *differ) find(c schemas.Name, docs []schemas.DocumentID, severity schemas.Severity, code, message, fix string) {
	f := schemas.Finding{Code: code, Severity: severity, Message: message, Fix: fix,
		Application: d.in.Application.Name, Connection: c}
	if len(docs) > 0 {
		f.Document = docs[len(docs)-1]
	}
	d.out.Plan.Findings = append(d.out.Plan.Findings, f)
}

// about names the target of the finding before.
func (d *differ) about(target schemas.Name) {
	d.out.Plan.Findings[len(d.out.Plan.Findings)-1].Target = target
}

func (d *differ) baseline(item string) (schemas.BaselineItem, bool) {
	if d.in.Baseline == nil {
		return schemas.BaselineItem{}, false
	}
	return d.in.Baseline(item)
}
