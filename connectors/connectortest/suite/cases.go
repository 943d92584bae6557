// Package suite has the cases that package connectortest runs, and a runner for them without package testing. A test
// runs them with its *testing.T; countersign connector test with a Runner's Case.
//
// It has slightly more than 2,500 lines: each case is short, and there are many.
package suite

import (
	"github.com/countersign/countersign/connectors/connectortest/harness"
	"github.com/countersign/countersign/schemas"
)

// Run checks a connector against the contract of package connectors.
func Run(t harness.T, h harness.Harness) {
	if h.Connector == nil || h.Start == nil {
		t.Fatal("the harness needs Connector and Start")
	}
	for _, c := range []struct {
		name string
		run  func(harness.T, harness.Harness)
	}{
		{"describe", testDescribe},
		{"open", testOpen},
		{"create", testCreate},
		{"update", testUpdate},
		{"absent attributes", testAbsentAttributes},
		{"grant and revoke", testGrantRevoke},
		{"delete", testDelete},
		{"delete what owns", testDeleteOwner},
		{"protected", testProtected},
		{"bad input", testBadInput},
		{"dependents", testDependents},
		{"cancellation", testCancellation},
		{"names", testNames},
		{"read only", testReadingWritesNothing},
		{"foreign entries", testForeign},
		{"incomplete read", testIncomplete},
		{"identity states", testIdentityStates},
		{"removed identity", testRemovedIdentity},
		{"many", testMany},
		{"two writers", testTwoWriters},
		{"list", testList},
		{"selection", testSelection},
		{"normalize", testNormalize},
		{"closed", testClosed},
		{"transitions", testTransitions},
		{"renamed", testRenamed},
		{"unresolved members", testUnresolved},
		{"more than a page", testBeyondPages},
		{"case of names", testCase},
		{"similar names", testSimilar},
	} {
		t.Run(c.name, func(t harness.T) {
			if !h.Serial {
				t.Parallel()
			}
			c.run(t, h)
		})
	}
}

// each runs a case for every connection type that satisfies a condition.
func each(t harness.T, h harness.Harness, able func(schemas.ConnectionType) bool, run func(harness.T, *harness.Fixture, schemas.ConnectionType)) {
	t.Helper()
	some := false
	for _, typ := range h.Connector.Describe().Types {
		if !able(typ) {
			continue
		}
		some = true
		t.Run(typ.Name, func(t harness.T) {
			if !h.Serial {
				t.Parallel()
			}
			f := harness.Start(t, h)
			installed, ok := f.Description.Type(typ.Name)
			if !ok {
				t.Skipf("this installation has no connections of type %s", typ.Name)
			}
			if !able(installed) {
				t.Skipf("this installation can't do this with a %s", typ.Name)
			}
			run(t, f, installed)
		})
	}
	if !some {
		t.Skip("no type of connection can do this")
	}
}

func canCreate(c schemas.ConnectionType) bool { return c.Create }
