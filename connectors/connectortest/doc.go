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
// What an application can do is taken from its connector's description, so that a connector is held to
// all that it claims. What the suite cannot know (how to add an account, how to change something behind
// the connector's back) an Application does for it, without the connector's code.
//
// RunFaults is for connectors that reach their application over a network. Where that speaks HTTP and runs within the
// test, package virtual has a network in memory for both, and time-outs and rate limits take no time.
package connectortest
