package mysql_test

import (
	"testing"

	driver "github.com/go-sql-driver/mysql"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest"
	"github.com/countersign/countersign/connectors/connectortest/servers"
)

// TestFaults plays what goes wrong between the connector and the server.
func TestFaults(t *testing.T) {
	t.Parallel()
	server := servers.MariaDB(t)
	server.Exec(t, "CREATE USER admin@'%' IDENTIFIED BY '"+connectortest.Canary+"'", "GRANT ALL PRIVILEGES ON *.* TO admin@'%' WITH GRANT OPTION")
	connectortest.RunFaults(t, connectortest.FaultHarness{
		Harness: harness(server, credentials{plan: "admin", apply: "admin", password: connectortest.Canary}),
		Address: func(connectortest.TB, connectortest.Application) string { return server.Address() },
		Through: through,
	})
}

// through is a config that reaches the server by way of proxy.
func through(t connectortest.TB, cfg connectors.Config, proxy string) connectors.Config {
	t.Helper()
	values := map[string]any{"timeout": "1s"}
	for k, v := range cfg.Values {
		secret, ok := v.(connectors.Secret)
		if !ok {
			values[k] = v
			continue
		}
		c, err := driver.ParseDSN(secret.Reveal())
		if err != nil {
			t.Fatal("the harness's connection string does not parse")
		}
		c.Addr = proxy
		values[k] = connectors.NewSecret(c.FormatDSN())
	}
	cfg.Values = values
	return cfg
}
