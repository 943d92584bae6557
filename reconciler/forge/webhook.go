package forge

import (
	"errors"
	"net/http"
)

// Hint says what a delivery is worth. What happened is read from Git and the forge: a delivery proves nothing.
type Hint int

// The hints.
const (
	// HintNone is an event that needs no pass.
	HintNone Hint = iota
	// HintPing is the forge trying whether anybody listens.
	HintPing
	// HintMoved says that the branch or a pull request may have moved.
	HintMoved
	// HintTicket says that a ticket of ours was closed or opened again, which moves no branch.
	HintTicket
)

// Delivery is one webhook of a forge whose signature holds.
type Delivery struct {
	// ID tells deliveries apart; "" where the forge gave none.
	ID   string
	Hint Hint
}

var (
	// ErrDeliverySignature says that a delivery isn't signed with the secret.
	ErrDeliverySignature = errors.New("the signature does not hold")
	// ErrDeliveryType says that the webhook is configured to send something else than JSON.
	ErrDeliveryType = errors.New("set the webhook's content type to application/json")
)

// Webhooks reads the deliveries of a forge's webhooks.
type Webhooks interface {
	// ReadDelivery checks the signature first, and looks at nothing else unless it holds.
	ReadDelivery(header http.Header, body, secret []byte) (Delivery, error)
}
