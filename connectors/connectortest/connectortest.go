package connectortest

import (
	"flag"
	"testing"
	"testing/synctest"

	"github.com/countersign/countersign/connectors/connectortest/faults"
	"github.com/countersign/countersign/connectors/connectortest/harness"
	"github.com/countersign/countersign/connectors/connectortest/suite"
)

// Canary is the text that a harness puts wherever a secret stands. It may never come out again.
const Canary = harness.Canary

// What a harness is made of. Package harness says what each is for.
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
)

// Run holds a connector to the contract of package connectors.
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

// FaultHarness is what the fault table needs of a connector that speaks to its application over a network.
type FaultHarness = faults.Harness

var strike = flag.String("faults", "some", "where faults strike an exchange: some (first, last, one of each kind of request), or all")

// RunFaults holds a connector to what package faults says of the way to its application. With the flag -faults=all a
// fault strikes at every request:
//
//	go test ./connectors/okta -run TestFaults -faults=all
func RunFaults(t *testing.T, h FaultHarness) {
	h.All = h.All || *strike == "all"
	faults.Run(runner{t}, h)
}
