// Package connectortest is the suite that every connector passes, against a real installation of its
// application. A connector's test fills in a Harness and calls Run:
//
//	func TestConformance(t *testing.T) {
//		connectortest.Run(t, connectortest.Harness{
//			Connector: casbin.New(),
//			Payloads:  map[string][2]map[string]any{"role": {{"comment": "a"}, {"comment": "b"}}},
//			Start:     func(t connectortest.TB) connectortest.Application { return newStore(t) },
//		})
//	}
//
// The suite takes an application's abilities from its connector's description, so that every claim of a connector is
// tested. An Application does what the suite can't (add an account, change something behind the connector's back),
// without the connector's code.
//
// RunFaults is for connectors that reach their application over a network. If the application speaks HTTP and runs
// within the test, package virtual has a network in memory for both, and time-outs and rate limits take no time.
package connectortest
