package connectortest

import (
	"testing"

	"github.com/countersign/countersign/connectors/connectortest/suite"
)

// Canary is the text that a harness puts wherever a secret stands. It may never come out again.
const Canary = suite.Canary

// What a harness is made of, for tests. Package suite says what each is for.
type (
	Harness        = suite.Harness[*testing.T]
	Faulty         = suite.Faulty[*testing.T]
	Application    = suite.Application[*testing.T]
	Breaker        = suite.Breaker[*testing.T]
	Broken         = suite.Broken[*testing.T]
	IdentityStater = suite.IdentityStater[*testing.T]
	Owner          = suite.Owner[*testing.T]
	Protector      = suite.Protector[*testing.T]
)

// Run holds a connector to the contract of package connectors.
func Run(t *testing.T, h Harness) { suite.Run(t, h) }

// FaultHarness is what the fault table needs of a connector that speaks to its application over a network.
type FaultHarness = suite.FaultHarness[*testing.T]

// RunFaults holds a connector to what package suite says of faults on the way to its application.
func RunFaults(t *testing.T, h FaultHarness) { suite.RunFaults(t, h) }
