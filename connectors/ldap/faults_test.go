package ldap_test

import (
	"testing"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest"
	"github.com/countersign/countersign/connectors/connectortest/servers"
)

// faults plays what can go wrong on the way to a server.
func faults(t *testing.T, server *servers.Directory, h connectortest.Harness) {
	connectortest.RunFaults(t, connectortest.FaultHarness{
		Harness: h,
		Address: func(connectortest.TB, connectortest.Application) string { return server.Address },
		Through: func(_ connectortest.TB, cfg connectors.Config, proxy string) connectors.Config {
			return changed(changed(cfg, "url", "ldap://"+proxy), "timeout", "2s")
		},
	})
}
