package exec

import (
	"context"

	"github.com/countersign/countersign/schemas"
)

// Hand is the outside hand of connector test: a child that changes applications without the connector's code. It is
// safe for concurrent use; its requests are carried out one at a time.
type Hand struct{ process *process }

// OpenHand starts the executable of a hand.
func OpenHand(ctx context.Context, c Config) (*Hand, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	p, err := start(ctx, &c, nil)
	if err != nil {
		return nil, err
	}
	k := &connector{program: c}
	if _, err := k.hello(ctx, p); err != nil {
		_ = p.close() // the first error is the useful one
		return nil, err
	}
	return &Hand{p}, nil
}

// Do carries out one request.
func (h *Hand) Do(ctx context.Context, t schemas.ConnectorTest) (schemas.ConnectorTestAnswer, error) {
	var out schemas.ConnectorTestAnswer
	err := h.process.call(ctx, &schemas.ConnectorRequest{Type: "test", Test: &t}, h.process.limits.Call, false, func(a *schemas.ConnectorAnswer) (bool, error) {
		if a.Type != "test" {
			return false, h.process.violation("unexpected answer of type %s (expected test)", a.Type)
		}
		out = *a.Test
		return true, nil
	})
	return out, err
}

// Close ends the hand.
func (h *Hand) Close() error { return h.process.close() }
