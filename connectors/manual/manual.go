package manual

import (
	"context"

	"github.com/countersign/countersign/connectors"
)

// Connector is the connector for attested applications.
type Connector struct{}

var (
	_ connectors.Connector  = Connector{}
	_ connectors.Configured = Connector{}
)

// New returns the connector.
func New() Connector { return Connector{} }

// OpenReader returns a Reader that describes the application and can't read it.
func (c Connector) OpenReader(_ context.Context, cfg connectors.Config) (connectors.Reader, error) {
	d, err := c.DescribeConfig(cfg.Values)
	return connectors.Guard(reader{d}, err)
}

// OpenWriter returns an error: countersign can't change such an application.
func (Connector) OpenWriter(context.Context, connectors.Config) (connectors.Writer, error) {
	return nil, &connectors.Error{Code: connectors.Unsupported, Op: "open the application", Message: "countersign can't change an attested application; use provisioning ticket or webhook"}
}
