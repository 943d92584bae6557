package postgres_test

import (
	"fmt"
	"maps"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest"
	"github.com/countersign/countersign/connectors/connectortest/servers"
	"github.com/countersign/countersign/connectors/postgres"
)

// TestFaults plays what can go wrong on the way to the server.
func TestFaults(t *testing.T) {
	t.Parallel()
	server := servers.PostgreSQL(t)
	address := fmt.Sprintf("127.0.0.1:%d", server.Port)
	var n atomic.Int64
	connectortest.RunFaults(t, connectortest.FaultHarness{
		Harness: connectortest.Harness{
			Connector: postgres.New(),
			Start: func(t connectortest.TB) connectortest.Application {
				return newApplication(t, server, n.Add(1), credentials{"admin", "admin", "admin"})
			},
			Payloads: map[string][2]map[string]any{"role": {{"comment": "a"}, {"comment": "b", "createdb": true}}},
		},
		Address: func(connectortest.TB, connectortest.Application) string { return address },
		Through: func(t connectortest.TB, cfg connectors.Config, proxy string) connectors.Config {
			cfg.Values = maps.Clone(cfg.Values)
			_, port, _ := strings.Cut(proxy, ":")
			for _, k := range []string{"dsn", "apply_dsn"} {
				secret, ok := cfg.Values[k].(connectors.Secret)
				if !ok {
					t.Fatalf("%s is not a secret", k)
				}
				cfg.Values[k] = connectors.NewSecret(strings.Replace(secret.Reveal(), fmt.Sprintf("port=%d", server.Port), "port="+port+" connect_timeout=2", 1))
			}
			cfg.Values["timeout"] = "2s"
			return cfg
		},
	})
}
