package aws_test

import (
	"strings"
	"testing"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest"
)

// TestFaults plays what can go wrong on the way to AWS.
func TestFaults(t *testing.T) {
	t.Parallel()
	connectortest.RunFaults(t, connectortest.FaultHarness{
		Harness: harness(),
		Address: func(t connectortest.TB, a connectortest.Application) string {
			return strings.TrimPrefix(a.(*app).url, "http://")
		},
		Through: func(t connectortest.TB, cfg connectors.Config, proxy string) connectors.Config {
			return with(map[string]any{"endpoint": "http://" + proxy, "timeout": "1s", "max_wait": "2s", "page_size": 5})(t, cfg)
		},
		HTTP:    true,
		Network: network,
	})
}
