package fulfil

import "github.com/countersign/countersign/reconciler/forge"

// Tickets are issues at a forge; these are their names where they are written.
type (
	// Ticket is an issue of ours as it stands at the forge.
	Ticket = forge.Ticket
	// Closing is how an issue came to be closed.
	Closing = forge.Closing
	// Edit is what is written: a new ticket when Number is 0.
	Edit = forge.Edit
)

// The values of Edit.State.
const (
	StateOpen       = forge.StateOpen
	StateCompleted  = forge.StateCompleted
	StateNotPlanned = forge.StateNotPlanned
)
