package rest

import (
	"net/http"

	"github.com/countersign/countersign/connectors"
)

// Transport returns a new connection pool for an application at that address; its certificate is checked as the
// setting ca_file requires. An error is a *connectors.Error with the code Invalid.
func Transport(cfg connectors.Config, address connectors.Address, file connectors.CAFile) (*http.Transport, error) {
	plain := ""
	if !address.Encrypted() {
		plain = "the address begins with http://"
	}
	check, err := cfg.TLS(file, plain)
	if err != nil {
		return nil, err
	}
	t := &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true}
	if base, ok := http.DefaultTransport.(*http.Transport); ok {
		t = base.Clone()
	}
	t.TLSClientConfig = check
	return t, nil
}
