package plan

import (
	"time"

	"github.com/countersign/countersign/schemas"
)

// Document is one admitted request document with its place in the merge order.
//
// Current is the version in force, nil when the document was undone (its file or the document in it is
// gone). Former are admitted versions that were replaced: their grants leave tombstones. A path that
// was deleted and added again is two documents: the former undone, the latter at its new place.
type Document struct {
	Place   schemas.Place
	Current *Version
	Former  []*Version
}

// Version is the content of a document at one blob.
type Version struct {
	Blob    string
	Request *schemas.Request
	// Until is the sequence of the commit whose admission replaced or removed this version. It is 0 while
	// it is in force, and where it is unknown: then a version counts as removed after everything we see, so that
	// undoing a deletion reopens its life whatever came later.
	Until int
}

func (d *Document) id(v *Version) schemas.DocumentID {
	return schemas.DocumentID{Path: d.Place.Path, Index: d.Place.Index, Blob: v.Blob}
}

// connection is the connection that the document is about; every version of a document counts for its own.
func (v *Version) connection() schemas.Name { return v.Request.Connection.Name() }

// Existence is whether the requests want the connection itself to exist.
type Existence int

// The wishes about a connection's existence.
const (
	// Unspecified: only assignments speak of it. It is for others to make and to end.
	Unspecified Existence = iota
	// Present: a standing creation opened the present life.
	Present
	// Deleted: a standing deletion ended the last life.
	Deleted
	// Undone: there were creations, and all were undone. It goes only if we made it.
	Undone
)

// Desired is what the requests want of one application at one instant.
type Desired struct {
	// Connections are sorted by name; only those that a request speaks of.
	Connections []*Connection
	// Findings are requests that make no sense, sorted by place.
	Findings []schemas.Finding
	// Next is the next instant at which a start or an expiry changes the answer; zero when none does.
	Next time.Time
}

// Connection is what the requests want of one connection.
type Connection struct {
	schemas.Name
	SourceID  string
	Existence Existence
	// Reverted means that Deleted is what undoing later creations came back to.
	Reverted bool
	// Documents are those that decide about existence, in merge order: the standing creations, or the deletion.
	Documents []schemas.DocumentID
	// Payload is that of the latest standing creation, as written: without defaults, nulls included.
	Payload    map[string]any
	ReassignTo string
	// Provisioning is the deciding request's; "" leaves it to the application.
	Provisioning schemas.Provisioning
	Entitlements []Entitlement // desired now; sorted by target, privilege
	Tombstones   []Tombstone   // to be taken away when present; sorted likewise, disjoint from Entitlements
	// Scheduled are grants whose start lies ahead, one for each, sorted likewise, then in merge order. They
	// are what an approval of today lets happen later.
	Scheduled []Entitlement
}

// Entitlement is one desired entitlement of a connection.
type Entitlement struct {
	Target    schemas.Name
	TargetID  string
	Privilege string
	// Documents are the standing requests that grant it now, in merge order. They may share memory with
	// those of other entitlements: do not change them.
	Documents []schemas.DocumentID
	// Expires is when the last of them ends; nil when one is permanent.
	Expires *time.Time
	// Started means that every one of them had a start.
	Started bool
	// Starts is when a scheduled grant begins, nil for what is in force.
	Starts       *time.Time
	Provisioning schemas.Provisioning
}

// Tombstone is an entitlement that was granted once, or is revoked, and is desired no more.
type Tombstone struct {
	Target    schemas.Name
	TargetID  string
	Privilege string
	// Cause is request (a revoke, or a deletion of either end), expiry or undo.
	Cause     schemas.Cause
	Documents []schemas.DocumentID
	// Revoked means that a revoke names it; without it a deletion, an expiry or an undo ended it.
	Revoked bool
	// Scheduled means that every undone grant of it had a start, so that it may have been undone before it
	// was ever in force: then only the baseline can tell that it is ours.
	Scheduled bool
	// Covered means that a grant of a target that contains this one gives it all the same: the revoke removes nothing.
	Covered bool
}
