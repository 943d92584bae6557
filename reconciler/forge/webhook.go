package forge

import (
	"errors"
	"io"
	"net/http"
)

// Hint is the kind of event that a delivery suggests. A delivery proves nothing: Git and the forge are read.
type Hint int

// The hints.
const (
	// HintNone is an event that needs no pass.
	HintNone Hint = iota
	// HintPing is the forge's test delivery.
	HintPing
	// HintMoved means that the branch or a pull request may have moved.
	HintMoved
	// HintTicket means that a ticket of ours was closed or opened again, which moves no branch.
	HintTicket
)

// Delivery is one webhook of a forge with a valid signature.
type Delivery struct {
	// ID tells deliveries apart; "" where the forge gave none.
	ID   string
	Hint Hint
}

var (
	// ErrDeliverySignature means that a delivery isn't signed with the secret.
	ErrDeliverySignature = errors.New("invalid signature")
	// ErrDeliveryIncomplete means that the body could not be read to its end.
	ErrDeliveryIncomplete = errors.New("the body is incomplete")
	// ErrDeliveryType means that the webhook is configured to send something other than JSON.
	ErrDeliveryType = errors.New("set the webhook's content type to application/json")
)

// Webhooks reads the deliveries of a forge's webhooks.
type Webhooks interface {
	// ReadDelivery checks the signature first, and looks at nothing else unless it is valid. It keeps little of the body,
	// which anybody can send.
	ReadDelivery(header http.Header, body io.Reader, secret []byte) (Delivery, error)
}
