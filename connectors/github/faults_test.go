package github_test

import (
	"maps"
	"testing"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest"
)

func TestFaults(t *testing.T) {
	t.Parallel()
	connectortest.RunFaults(t, connectortest.FaultHarness{
		Harness: harness(),
		HTTP:    true,
		Network: network,
		Address: func(t connectortest.TB, app connectortest.Application) string { return app.(*organisation).address() },
		Through: func(_ connectortest.TB, cfg connectors.Config, proxy string) connectors.Config {
			cfg.Values = maps.Clone(cfg.Values)
			cfg.Values["url"], cfg.Values["timeout"] = "http://"+proxy, "2s"
			return cfg
		},
	})
}
