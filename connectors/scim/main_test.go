package scim_test

import (
	"net/http"
	"os"
	"testing"

	"github.com/countersign/countersign/connectors/connectortest/virtual"
)

// network is where the servers of these tests listen.
var network = virtual.New()

// TestMain lets the connector, which has the program's transport, reach them.
func TestMain(m *testing.M) {
	http.DefaultTransport = network.Transport()
	os.Exit(m.Run())
}
