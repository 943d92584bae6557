package okta_test

import (
	"maps"
	"testing"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest"
)

// TestFaults plays what can go wrong on the way to Okta.
func TestFaults(t *testing.T) {
	t.Parallel()
	h := harness()
	h.Start = func(t connectortest.TB) connectortest.Application {
		o := newOrganisation(t)
		o.fast = true // the description was held to in the conformance test
		return o
	}
	connectortest.RunFaults(t, connectortest.FaultHarness{
		Harness: h,
		Address: func(t connectortest.TB, app connectortest.Application) string {
			o, ok := app.(*organisation)
			if !ok {
				t.Fatalf("another application: %T", app)
			}
			return o.http.Listener.Addr().String()
		},
		Through: func(_ connectortest.TB, cfg connectors.Config, proxy string) connectors.Config {
			cfg.Values = maps.Clone(cfg.Values)
			cfg.Values["url"], cfg.Values["timeout"] = "http://"+proxy, "2s"
			return cfg
		},
		HTTP:    true,
		Network: network,
	})
}
