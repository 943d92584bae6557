package schemas

import "time"

// SightingKind is how live access differs from what was approved.
type SightingKind string

// The kinds of sightings.
const (
	SightingUnmanaged SightingKind = "unmanaged" // live, and no admitted request mentions it
	SightingReturned  SightingKind = "returned"  // live, and an approved document ended it
	SightingMissing   SightingKind = "missing"   // verified before, and not live
	SightingChanged   SightingKind = "changed"   // the attributes differ from those that were verified
)

// Live reports whether access of this kind is in force.
func (k SightingKind) Live() bool { return k == SightingUnmanaged || k == SightingReturned }

// ObservationRecord is what a complete read of one application showed beside what was verified. It lists only
// what differs from the application's observation before; the header is always complete.
type ObservationRecord struct {
	// ReadAt is when the live state was read.
	ReadAt time.Time `json:"read_at"`
	// NotRead counts what exists in the application and is never part of a read.
	NotRead []NotRead `json:"not_read,omitempty"`
	// Unmanaged is how the application treats access that no request mentions: with ignore, it is not listed.
	Unmanaged Unmanaged `json:"unmanaged,omitempty"`
	// Findings explain why admitted requests can't be carried out as they are written.
	Findings []Finding `json:"findings,omitempty"`
	// Opened are differences that this read shows and the one before did not, Closed those that it no longer shows.
	Opened []Sighting `json:"opened,omitempty"`
	Closed []Sighting `json:"closed,omitempty"`
}

// Sighting is one difference between live and approved access.
type Sighting struct {
	Kind SightingKind `json:"kind"`
	// Item is the connection, payload or entitlement, as in BaselineItem.
	Item string `json:"item"`
	// NativeID is the id of the target, or of the connection.
	NativeID string `json:"native_id,omitempty"`
	// Foreign means that the application can't name the member, or that it is from outside the application.
	Foreign bool `json:"foreign,omitempty"`
	// Documents are the requests that approve or ended the access; none for unmanaged access.
	Documents []DocumentID `json:"documents,omitempty"`
}

// AcceptedException is an exception of an audit that somebody accepts.
type AcceptedException struct {
	Exception string `json:"exception"`
	// Owner is who is responsible for it from now on, Reason why it is accepted.
	Owner  string `json:"owner"`
	Reason string `json:"reason"`
	// Path is the document that accepts it.
	Path string `json:"path"`
}
