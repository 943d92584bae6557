package scim_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest"
)

// TestFaults plays what can go wrong on the way to a SCIM server.
func TestFaults(t *testing.T) {
	t.Parallel()
	server := scimmy(t)
	host := func(t connectortest.TB, cfg connectors.Config) *url.URL {
		t.Helper()
		address, _ := cfg.Values["url"].(string)
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	for _, c := range []struct {
		name  string
		start func(t connectortest.TB) connectortest.Application
	}{
		{"SCIMMY", onSCIMMY(server, nil)},
		{"PUT only, with ETags", onElimity(nil, append(patchOff(), says("etag", map[string]any{"supported": true}))...)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			connectortest.RunFaults(t, connectortest.FaultHarness{
				Harness: harness(c.start),
				Address: func(t connectortest.TB, app connectortest.Application) string { return host(t, app.Config()).Host },
				Through: func(t connectortest.TB, cfg connectors.Config, proxy string) connectors.Config {
					u := host(t, cfg)
					app := application{cfg: cfg}
					return app.with(map[string]any{"url": strings.Replace(u.String(), u.Host, proxy, 1), "timeout": "1s", "retries": 1})
				},
				HTTP:    true,
				Network: network,
			})
		})
	}
}
