package schemas

import (
	"strings"
	"time"
)

// APIVersion is in every document, record and JSON output.
const APIVersion = "countersign.dev/v1"

// Name identifies a connection, resource or identity inside one application by what people call it.
// Native ids stay in state; they are not part of the key.
type Name struct {
	Type       string `json:"type" yaml:"type"`
	SourceName string `json:"source_name" yaml:"source_name"`
}

// String is type/source_name, for people: it is not escaped.
func (n Name) String() string { return n.Type + "/" + n.SourceName }

// Compare orders names by type, then source name.
func (n Name) Compare(o Name) int {
	if c := strings.Compare(n.Type, o.Type); c != 0 {
		return c
	}
	return strings.Compare(n.SourceName, o.SourceName)
}

// Key identifies an entitlement inside one application: one privilege on one target, held through
// one connection. For a membership the privilege is "MEMBER", or "ADMIN" for the right to hand it on.
type Key struct {
	Connection Name   `json:"connection"`
	Target     Name   `json:"target"`
	Privilege  string `json:"privilege"`
}

// String is for people and for sorting in output; it is not escaped.
func (k Key) String() string {
	return k.Connection.String() + " → " + k.Target.String() + " " + k.Privilege
}

// Compare orders keys by connection, target and privilege.
func (k Key) Compare(o Key) int {
	if c := k.Connection.Compare(o.Connection); c != 0 {
		return c
	}
	if c := k.Target.Compare(o.Target); c != 0 {
		return c
	}
	return strings.Compare(k.Privilege, o.Privilege)
}

// The privileges of memberships.
const (
	PrivilegeMember = "MEMBER"
	PrivilegeAdmin  = "ADMIN"
)

// PrivilegeOwner is ownership of a resource. It is read and never granted.
const PrivilegeOwner = "OWNER"

// PrivilegeSuperuser is the use of everything, whatever is granted. It is shown and never granted.
const PrivilegeSuperuser = "SUPERUSER"

// DocumentID identifies a document in Git: the file's path from the repository's root, with
// slashes, and the document's index in the file from 0. Blob is the file's Git blob hash.
type DocumentID struct {
	Path  string `json:"path"`
	Index int    `json:"index"`
	Blob  string `json:"blob,omitempty"`
}

// Place is a document's position in the merge order: the sequence of the first-parent commit that
// added its file (from 0 at the root), then path, then index.
type Place struct {
	Commit int    `json:"commit"`
	Path   string `json:"path"`
	Index  int    `json:"index"`
}

// Compare orders places as the merge order does.
func (p Place) Compare(o Place) int {
	switch {
	case p.Commit != o.Commit:
		return p.Commit - o.Commit
	case p.Path != o.Path:
		return strings.Compare(p.Path, o.Path)
	}
	return p.Index - o.Index
}

// Position is a place in a file: lines and columns from 1, columns in characters.
type Position struct {
	Path   string `json:"path"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
}

// Provisioning selects who carries out an operation.
type Provisioning string

// The ways of provisioning.
const (
	ProvisioningDirect  Provisioning = "direct"
	ProvisioningWebhook Provisioning = "webhook"
	ProvisioningTicket  Provisioning = "ticket"
)

// Window is the time in which a grant is in force: from Starts (inclusive) to Expires (exclusive); nil is open.
type Window struct {
	Starts  *time.Time `json:"starts,omitempty"`
	Expires *time.Time `json:"expires,omitempty"`
}

// Started reports whether the window has opened at the instant now.
func (w Window) Started(now time.Time) bool { return w.Starts == nil || !now.Before(*w.Starts) }

// Expired reports whether the window has closed at the instant now.
func (w Window) Expired(now time.Time) bool { return w.Expires != nil && !now.Before(*w.Expires) }
