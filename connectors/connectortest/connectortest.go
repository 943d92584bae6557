package connectortest

import (
	"flag"
	"testing"
	"testing/synctest"

	"github.com/countersign/countersign/connectors/connectortest/faults"
	"github.com/countersign/countersign/connectors/connectortest/harness"
	"github.com/countersign/countersign/connectors/connectortest/suite"
)

// Canary is the value of every secret in a harness. It must never appear in output.
const Canary = harness.Canary

// The parts of a harness; package harness documents each.
type (
	TB             = harness.TB
	Harness        = harness.Harness
	Faulty         = harness.Faulty
	Application    = harness.Application
	Breaker        = harness.Breaker
	Broken         = harness.Broken
	IdentityStater = harness.IdentityStater
	Owner          = harness.Owner
	Protector      = harness.Protector
	Renamer        = harness.Renamer
	Hider          = harness.Hider
)

// Run checks a connector against the contract of package connectors.
func Run(t *testing.T, h Harness) { suite.Run(runner{t}, h) }

// runner runs cases as the subtests of a test.
type runner struct{ *testing.T }

var _ harness.T = runner{}

func (r runner) Run(name string, f func(harness.T)) bool {
	return r.T.Run(name, func(t *testing.T) { f(runner{t}) })
}

// Isolated runs a function in a bubble of synctest.
func (r runner) Isolated(f func(harness.T)) {
	synctest.Test(r.T, func(t *testing.T) { f(runner{t}) })
}

var _ faults.Isolator = runner{}

// FaultHarness configures the fault table for a connector that reaches its application over a network.
type FaultHarness = faults.Harness

var strike = flag.String("faults", "some", "where faults strike an exchange: some (one of each kind of request), or all")

// RunFaults checks a connector against the network faults of package faults. With the flag -faults=all a fault
// strikes at every request:
//
//	go test ./connectors/okta -run TestFaults -faults=all
func RunFaults(t *testing.T, h FaultHarness) {
	h.All = h.All || *strike == "all"
	faults.Run(runner{t}, h)
}
