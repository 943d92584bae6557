package connectortest

import (
	"testing"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest/suite"
)

// Canary is the text that a harness puts wherever a secret stands. It may never come out again.
const Canary = suite.Canary

// What a harness is made of. Package suite says what each is for.
type (
	TB             = suite.TB
	Harness        = suite.Harness
	Faulty         = suite.Faulty
	Application    = suite.Application
	Breaker        = suite.Breaker
	Broken         = suite.Broken
	IdentityStater = suite.IdentityStater
	Owner          = suite.Owner
	Protector      = suite.Protector
)

// Run holds a connector to the contract of package connectors.
func Run(t *testing.T, h Harness) { suite.Run(runner{t}, h) }

// runner runs cases as the subtests of a test.
type runner struct{ *testing.T }

var _ suite.T = runner{}

func (r runner) Run(name string, f func(suite.T)) bool {
	return r.T.Run(name, func(t *testing.T) { f(runner{t}) })
}

// Row is a line of the table of what connectors can do, and Target a type that can be granted.
type (
	Row    = suite.Row
	Target = suite.Target
)

// Capabilities is the connector's part of the table: a row for each connection type, sorted.
func Capabilities(c connectors.Connector) []Row { return suite.Capabilities(c) }

// FaultHarness is what the fault table needs of a connector that speaks to its application over a network.
type FaultHarness = suite.FaultHarness

// RunFaults holds a connector to what package suite says of faults on the way to its application.
func RunFaults(t *testing.T, h FaultHarness) { suite.RunFaults(runner{t}, h) }
