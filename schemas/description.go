package schemas

import (
	"encoding/json"
	"slices"
	"strings"
)

// Description is what a connector can do, or one installation of its application.
type Description struct {
	// Name is as in an Application's spec.connector. A connector in a process of its own has the operator's name for it.
	Name  string `json:"name,omitempty" jsonschema:"pattern=^[a-z][a-z0-9_]*$"`
	Title string `json:"title" jsonschema:"minLength=1,maxLength=200"`
	// Version is the application's, once it was opened.
	Version string `json:"version,omitempty" jsonschema:"maxLength=200"`
	// Server identifies the installation whose connections the application's are, as far as its address tells: in
	// PostgreSQL the cluster, whose roles all databases have. Two applications must not manage the same connections of one.
	// It is known once the application was opened.
	Server string `json:"server,omitempty" jsonschema:"maxLength=200"`
	// Credentials are the accounts that countersign logs in with, where the application has accounts of their own for them.
	// They are known once the application was opened.
	Credentials []Name `json:"credentials,omitempty" jsonschema:"maxItems=10"`
	// Config is the JSON Schema (draft 2020-12, closed) of spec.config. "x-secret": true marks a secret.
	Config json.RawMessage `json:"config" jsonschema:"type=object"`
	// Types are the types of connections, sorted by name.
	Types []ConnectionType `json:"types" jsonschema:"minItems=1,maxItems=100"`
	// Attested means that nothing can be read: what the application holds is what those who carry out operations report.
	Attested bool `json:"attested,omitempty"`
	// NativeIDs means that connections and identities have ids that outlive their names. Without it the name is the
	// identity.
	NativeIDs bool `json:"native_ids,omitempty"`
	// Reach means that a read can go beyond its selection, as Selection.Reach asks.
	Reach bool `json:"reach,omitempty"`
	// PlanScript and ApplyScript grant the least privileges for reading and for applying, ready to be run by an
	// administrator of the application.
	PlanScript  string `json:"plan_script" jsonschema:"minLength=1"`
	ApplyScript string `json:"apply_script" jsonschema:"minLength=1"`
}

// ConnectionType is one type of connection and what can be done with it.
type ConnectionType struct {
	Name  string `json:"name" jsonschema:"pattern=^[a-z][a-z0-9_]*$,maxLength=100"`
	Title string `json:"title" jsonschema:"minLength=1,maxLength=200"`
	// Payload is the JSON Schema of the payload (draft 2020-12, closed). A property's "default" is the value that its
	// absence means; a property without one is left alone when absent.
	Payload json.RawMessage `json:"payload" jsonschema:"type=object"`
	// Create, Update, Delete and Reassign are what the connector can do with connections of this type.
	Create   bool `json:"create,omitempty"`
	Update   bool `json:"update,omitempty"`
	Delete   bool `json:"delete,omitempty"`
	Reassign bool `json:"reassign,omitempty"`
	// Grantable are the types of targets.
	Grantable []GrantableType `json:"grantable,omitempty" jsonschema:"maxItems=100"`
	Names     NameRule        `json:"names"`
	// Privileged are glob patterns of connections that are powerful by themselves.
	Privileged []string `json:"privileged,omitempty"`
	// PrivilegedFields are attributes that are powerful when they are true, or something else than their default.
	PrivilegedFields []string `json:"privileged_fields,omitempty"`
}

// Edge is the direction of an entitlement.
type Edge string

// The directions of entitlements.
const (
	EdgeResource   Edge = "resource"   // the connection may use the target
	EdgeConnection Edge = "connection" // the connection becomes a member of the target connection and gets what that has
	EdgeMember     Edge = "member"     // the target connection becomes a member of this connection
	EdgeIdentity   Edge = "identity"   // the target identity becomes a member of this connection
)

// GrantableType is a type of target that can be given to connections of one type.
type GrantableType struct {
	Type string `json:"type" jsonschema:"pattern=^[a-z][a-z0-9_]*$,maxLength=100"`
	// Edge is resource (the connection may use the target), connection (it becomes a member of the target), member
	// (the target connection becomes a member of it) or identity (the target identity does).
	Edge Edge `json:"edge" jsonschema:"enum=resource,enum=connection,enum=member,enum=identity"`
	// Alias is the connection type that the targets are, under the same names: in PostgreSQL a user is a role too. With
	// it a membership may be written from either end, and under either type.
	Alias string `json:"alias,omitempty" jsonschema:"maxLength=100"`
	// Privileges are all that may be named. For memberships they are MEMBER and perhaps ADMIN.
	Privileges []string `json:"privileges" jsonschema:"minItems=1,maxItems=1000"`
	// Default is what an entry without privileges means.
	Default []string `json:"default,omitempty"`
	// Implies lists which other privileges a privilege on a resource brings with it, where the application holds one
	// level at a time: all of them, not only the next. Granting one grants those too, revoking one revokes those that
	// imply it. In privileges a higher one comes before those that it implies. Read and normalized states name each
	// by itself.
	Implies map[string][]string `json:"implies,omitempty"`
	// Single means that a connection has at most one target of this type: granting another is a conflict.
	Single bool     `json:"single,omitempty"`
	Names  NameRule `json:"names"`
	// Privileged are glob patterns of targets, PrivilegedPrivileges privileges, that are powerful by themselves.
	Privileged           []string `json:"privileged,omitempty"`
	PrivilegedPrivileges []string `json:"privileged_privileges,omitempty"`
	// ReadOnly are privileges that are read and can't be granted or revoked, such as OWNER.
	ReadOnly []string `json:"read_only,omitempty" jsonschema:"maxItems=100"`
	// Contains are the parts of a target of this type: a privilege on the target implies it on them.
	Contains []Containment `json:"contains,omitempty" jsonschema:"maxItems=100"`
	// Grant and Revoke are what the connector can do.
	Grant  bool `json:"grant,omitempty"`
	Revoke bool `json:"revoke,omitempty"`
}

// Containment is one type of parts that targets of another type contain.
type Containment struct {
	Type string `json:"type" jsonschema:"pattern=^[a-z][a-z0-9_]*$,maxLength=100"`
	// Separator is between the name of the containing target and the rest of a part's name: "." in sales.orders. With ""
	// every target of the type is a part.
	Separator string `json:"separator,omitempty" jsonschema:"maxLength=100"`
	// Privileges maps a privilege on the containing target to those that it implies on a part; nil is the same one.
	Privileges map[string][]string `json:"privileges,omitempty"`
	// Derived means that the application has the privilege on the containing target only as privileges on its parts:
	// granting it grants those, revoking it revokes those, and a state lists both. Privileges is nil then.
	Derived bool `json:"derived,omitempty"`
}

// Covers reports whether a privilege on a target with the name container implies one on the part.
func (c Containment) Covers(container, privilege string, part Name, partPrivilege string) bool {
	if part.Type != c.Type || c.Separator != "" && !strings.HasPrefix(part.SourceName, container+c.Separator) {
		return false
	}
	if c.Privileges == nil {
		return privilege == partPrivilege
	}
	return slices.Contains(c.Privileges[privilege], partPrivilege)
}

// NameRule is which names an application can hold.
type NameRule struct {
	// MaxBytes bounds the length in UTF-8; 0 is unbounded.
	MaxBytes int `json:"max_bytes,omitempty" jsonschema:"minimum=0"`
	// Pattern is RE2 and matches the complete name; "" is any. A connector in a process of its own gives one, which
	// lets neither control characters pass nor the empty name.
	Pattern string `json:"pattern" jsonschema:"minLength=1,maxLength=4000"`
	// Reserved are glob patterns of names that are the application's own.
	Reserved []string `json:"reserved,omitempty"`
	// FoldCase means that the application does not tell upper from lower case.
	FoldCase bool `json:"fold_case,omitempty"`
}

// Type returns the connection type of that name.
func (d Description) Type(name string) (ConnectionType, bool) {
	i := slices.IndexFunc(d.Types, func(t ConnectionType) bool { return t.Name == name })
	if i < 0 {
		return ConnectionType{}, false
	}
	return d.Types[i], true
}

// Attributes are the properties of the payload schema.
func (t ConnectionType) Attributes() map[string]bool {
	var schema struct {
		Properties map[string]json.RawMessage `json:"properties"`
	}
	out := map[string]bool{}
	if json.Unmarshal(t.Payload, &schema) != nil {
		return out // no schema, no attribute
	}
	for name := range schema.Properties {
		out[name] = true
	}
	return out
}

// Target returns the grantable type of that name.
func (t ConnectionType) Target(name string) (GrantableType, bool) {
	i := slices.IndexFunc(t.Grantable, func(g GrantableType) bool { return g.Type == name })
	if i < 0 {
		return GrantableType{}, false
	}
	return t.Grantable[i], true
}
