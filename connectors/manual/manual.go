package manual

import (
	"context"

	"github.com/countersign/countersign/connectors"
)

// Connector is the connector. New returns one.
type Connector struct{}

var (
	_ connectors.Connector  = Connector{}
	_ connectors.Configured = Connector{}
)

// New returns the connector.
func New() Connector { return Connector{} }

// OpenReader returns a Reader that knows what there could be, and nothing of what there is.
func (c Connector) OpenReader(_ context.Context, cfg connectors.Config) (connectors.Reader, error) {
	d, err := c.DescribeConfig(cfg.Values)
	return connectors.Guard(reader{d}, err)
}

// OpenWriter refuses: nothing is changed from here.
func (Connector) OpenWriter(context.Context, connectors.Config) (connectors.Writer, error) {
	return nil, &connectors.Error{Code: connectors.Unsupported, Op: "open the application", Message: "it is attested, and cannot be changed from here: use provisioning ticket or webhook"}
}
