package forge

import (
	"context"
	"time"
)

// Tickets are the issues of one repository in which people are asked to carry operations out.
type Tickets interface {
	// Find returns the tickets of ours that begin with a marker, the newest first: the open ones and, with since, those
	// that changed after it too.
	Find(ctx context.Context, marker string, since time.Time) ([]Ticket, error)
	// Read returns one with who closed it; nil where it is gone or isn't ours.
	Read(ctx context.Context, number int) (*Ticket, error)
	// Write opens or changes one, and returns it as it is then.
	Write(context.Context, Edit) (Ticket, error)
}

// Ticket is an issue of ours as it is at the forge.
type Ticket struct {
	Number int
	URL    string
	Title  string
	Body   string
	Open   bool
	// Closing is who closed it last; nil for an open one.
	Closing *Closing
}

// Closing is how an issue came to be closed.
type Closing struct {
	// By is the login, "" where the forge does not show it.
	By string
	At time.Time
	// Bot means that no person did it, Indirect that it was a commit or pull request that mentions it: the person who
	// merged that may not have known.
	Bot, Indirect bool
	// Completed means that it was closed as completed; otherwise as not planned, or as a duplicate.
	Completed bool
}

// Edit is what is written: a new ticket when Number is 0.
type Edit struct {
	Number      int
	Title, Body string
	Labels      []string
	Assignees   []string
	// State is open, completed or not_planned; "" leaves it as it is.
	State string
	// Comment is written beside; "" is none.
	Comment string
}

// The values of Edit.State.
const (
	StateOpen       = "open"
	StateCompleted  = "completed"
	StateNotPlanned = "not_planned"
)
