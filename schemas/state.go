package schemas

import (
	"cmp"
	"slices"
	"strings"
)

// Selection is which connections to read: those that it names, and all that match a scope pattern. The zero Selection
// is everything that the connector can see.
type Selection struct {
	Names []Name `json:"names,omitempty"`
	// Scope has glob patterns by type.
	Scope map[string][]string `json:"scope,omitempty"`
	// IDs has native ids by type: connections with those ids are read too, whatever they are called now. Connectors
	// without native ids ignore them.
	IDs map[string][]string `json:"ids,omitempty"`
	// Reach asks for what decides who has access besides: connections outside the selection as far as nesting leads, those
	// of everyone, superusers, owners and accounts with access of their own. They are marked Foreign, and change nothing
	// in what is read of those selected. Connectors that don't read further ignore it.
	Reach bool `json:"reach,omitempty"`
}

// Everything reports whether the selection is of all that the connector can see.
func (s Selection) Everything() bool {
	return len(s.Names) == 0 && len(s.Scope) == 0 && len(s.IDs) == 0
}

// Selector answers quickly whether a connection is selected. same is the application's own form of a name, in
// which names that are one to it are equal; nil compares to the letter.
func (s Selection) Selector(same func(Name) Name) func(Name) bool {
	if same == nil {
		same = func(n Name) Name { return n }
	}
	named := make(map[Name]bool, len(s.Names))
	for _, n := range s.Names {
		named[same(n)] = true
	}
	all := s.Everything()
	return func(n Name) bool {
		return all || named[same(n)] || Match(s.Scope[n.Type], n.SourceName)
	}
}

// State is what an application holds, or should hold.
type State struct {
	// Connections are sorted by name; no name comes twice unless the application itself has two of it.
	Connections []Connection `json:"connections"`
	// Incomplete explains why something is missing from the state; "" when it is complete.
	Incomplete string `json:"incomplete,omitempty"`
	// NotRead counts what exists and is not part of the state.
	NotRead []NotRead `json:"not_read,omitempty"`
	// NotManaged counts access that exists and that nobody can request: what the selected connections own, and what
	// everybody may use. A read that reaches further has it in full.
	NotManaged []NotRead `json:"not_managed,omitempty"`
	// Unread are parts of the application that could not be read. Entitlements there are unknown; all others are known.
	Unread []Unread `json:"unread,omitempty"`
}

// Unread is a part of an application that could not be read: the resources whose names begin with a prefix.
type Unread struct {
	Prefix string `json:"prefix" jsonschema:"minLength=1,maxLength=4096"`
	Reason string `json:"reason" jsonschema:"minLength=1,maxLength=4000"`
}

// NotRead is a kind of access that exists in the application and is only counted.
type NotRead struct {
	// What names the kind, such as "default privilege".
	What  string `json:"what" jsonschema:"minLength=1,maxLength=200"`
	Count int    `json:"count" jsonschema:"minimum=1"`
	// Connection is the connection that it belongs to, where it belongs to one.
	Connection Name `json:"connection,omitzero"`
}

// Connection is a group, role or policy with its entitlements.
type Connection struct {
	Name
	NativeID string `json:"native_id,omitempty" jsonschema:"maxLength=4096"`
	// Payload has the attributes that the type's schema names. A key that is absent is not known. Connections that are
	// alike may share one: it is not changed once it was returned.
	Payload map[string]any `json:"payload,omitempty"`
	// Protected explains why the connection must never be changed (superuser, built in); "" for ordinary ones.
	Protected string `json:"protected,omitempty" jsonschema:"maxLength=4000"`
	// Everyone means that every identity of the application is a member, as of PUBLIC.
	Everyone bool `json:"everyone,omitempty"`
	// Superuser means that its members may use everything, whatever is granted.
	Superuser bool `json:"superuser,omitempty"`
	// Foreign means that the selection did not name it: it was read because nesting leads to it.
	Foreign bool `json:"foreign,omitempty"`
	// Account is the type of identity that the connection is too, under the same name: somebody can log in as it.
	Account string `json:"account,omitempty" jsonschema:"maxLength=100"`
	// Entitlements are sorted by target, then privilege, then target_id.
	Entitlements []Entitlement `json:"entitlements,omitempty"`
}

// Entitlement is one privilege on one target, held through the connection that has it.
type Entitlement struct {
	Target    Name   `json:"target"`
	TargetID  string `json:"target_id,omitempty" jsonschema:"maxLength=4096"`
	Privilege string `json:"privilege" jsonschema:"minLength=1,maxLength=1024"`
	// State is absent when it is in force.
	State EntitlementState `json:"state,omitempty" jsonschema:"enum=,enum=invited,enum=expired,enum=blocked,enum=unresolved"`
	// Switch means that the member of this membership uses what it gives only after switching to it, as by SET ROLE.
	Switch bool `json:"switch,omitempty"`
	// Foreign means that the target can't be named or is outside the application's reach; it can be revoked.
	Foreign bool `json:"foreign,omitempty"`
}

// EntitlementState is the state of an identity, which its entitlements share: no difference from what is desired.
type EntitlementState string

// The states of entitlements that are not plainly in force; "" is in force.
const (
	StateInvited EntitlementState = "invited"
	StateExpired EntitlementState = "expired"
	StateBlocked EntitlementState = "blocked"
	// StateUnresolved is a member that is there and can't be named: hidden, deactivated or deleted. Its SourceName is
	// the raw reference, its TargetID the id where it is known.
	StateUnresolved EntitlementState = "unresolved"
)

// Item is an identity, resource or connection that exists.
type Item struct {
	Name
	NativeID string `json:"native_id,omitempty" jsonschema:"maxLength=4096"`
	// State is absent, or invited, expired or blocked, for identities.
	State EntitlementState `json:"state,omitempty" jsonschema:"enum=,enum=invited,enum=expired,enum=blocked"`
	// Protected explains why it must never be given or changed.
	Protected string `json:"protected,omitempty" jsonschema:"maxLength=4000"`
	// Connection means that the item has members of its own, so that it is not a plain identity.
	Connection bool `json:"connection,omitempty"`
}

// Compare orders entitlements by target and privilege.
func (e Entitlement) Compare(o Entitlement) int {
	return cmp.Or(e.Target.Compare(o.Target), strings.Compare(e.Privilege, o.Privilege))
}

// SortEntitlements sorts by target, privilege and the target's id, and keeps one of each. Two targets of one name
// are two, so that an ambiguous name is seen to be one; an entitlement without an id is the one that has it.
func (c *Connection) SortEntitlements() {
	slices.SortFunc(c.Entitlements, func(a, b Entitlement) int {
		return cmp.Or(a.Compare(b), strings.Compare(b.TargetID, a.TargetID))
	})
	c.Entitlements = slices.CompactFunc(c.Entitlements, func(a, b Entitlement) bool {
		return a.Compare(b) == 0 && (a.TargetID == b.TargetID || a.TargetID == "" || b.TargetID == "")
	})
	slices.SortStableFunc(c.Entitlements, func(a, b Entitlement) int {
		return cmp.Or(a.Compare(b), strings.Compare(a.TargetID, b.TargetID))
	})
}

// Sort brings a state into the order that Reader.Read promises: connections by name, then id.
func (s *State) Sort() {
	for i := range s.Connections {
		s.Connections[i].SortEntitlements()
	}
	slices.SortFunc(s.Connections, func(a, b Connection) int {
		return cmp.Or(a.Name.Compare(b.Name), strings.Compare(a.NativeID, b.NativeID))
	})
}
