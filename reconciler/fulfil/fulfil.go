// Package fulfil gives the names of run/fulfilment to those packages that import them from here. New code imports
// run/fulfilment.
package fulfil

import (
	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/reconciler/run/fulfilment"
	"github.com/countersign/countersign/schemas"
)

// Tickets and signatures.
type (
	// Ticket is an issue of ours at the forge.
	Ticket = fulfilment.Ticket
	// Closing is how an issue came to be closed.
	Closing = fulfilment.Closing
	// Edit is what is written.
	Edit = fulfilment.Edit
	// Key signs and verifies.
	Key = fulfilment.Key
)

const (
	// MaxBody bounds an answer, and a callback.
	MaxBody = fulfilment.MaxBody

	// StateOpen and the others are the values of Edit.State.
	StateOpen       = fulfilment.StateOpen
	StateCompleted  = fulfilment.StateCompleted
	StateNotPlanned = fulfilment.StateNotPlanned
)

// ErrSignature says that who sent it does not have the secret, or sent it too long ago.
var ErrSignature = fulfilment.ErrSignature

// NewKey reads a secret.
func NewKey(secret connectors.Secret) (Key, error) { return fulfilment.NewKey(secret) }

// HostOf is the host of an address; "" when it has none.
func HostOf(address string) string { return fulfilment.HostOf(address) }

// ReadAnswer decodes a callback.
func ReadAnswer(body []byte) (schemas.FulfilmentAnswer, error) { return fulfilment.ReadAnswer(body) }
