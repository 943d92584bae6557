package scim_test

import (
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest"
	"github.com/countersign/countersign/connectors/connectortest/servers"
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
		{"SCIMMY", relayed(server)},
		{"PUT only, with ETags", func(t connectortest.TB) connectortest.Application {
			server := elimityServer(t)
			return reached(t, func(t connectortest.TB) *application {
				upstream, err := url.Parse(server)
				if err != nil {
					t.Fatal(err)
				}
				upstream.Host = relay(t, upstream.Host)
				return newApplication(t, upstream.String(), testToken, nil, append(patchOff(), says("etag", map[string]any{"supported": true}))...)
			})
		}},
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
				Again: func(t connectortest.TB, app connectortest.Application) connectortest.Application {
					return app.(*application).again(t)
				},
				HTTP:    true,
				Network: network,
			})
		})
	}
}

// relay puts a real server behind a listener in memory, and returns the listener's address. The relay keeps no
// connection open when a request has its answer: waiting for a real connection would stop the virtual clock.
func relay(t connectortest.TB, address string) string {
	target := &url.URL{Scheme: "http", Host: address}
	front := network.Serve(t, &httputil.ReverseProxy{Transport: &http.Transport{DisableKeepAlives: true}, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host // the server's links name it
	}})
	return front.Listener.Addr().String()
}

// relayed starts applications in one server, each behind a relay in memory.
func relayed(server *servers.SCIM) func(t connectortest.TB) connectortest.Application {
	var started atomic.Int64
	return func(t connectortest.TB) connectortest.Application {
		name := fmt.Sprintf("faults%d", started.Add(1))
		return reached(t, func(t connectortest.TB) *application {
			behind := *server
			behind.Address = relay(t, server.Address)
			return newApplication(t, behind.URL(name), server.Token, nil)
		})
	}
}

// reached returns an application whose server outlives a case, reached through a relay of each case.
func reached(t connectortest.TB, reach func(connectortest.TB) *application) connectortest.Application {
	app := reach(t)
	app.again = func(t connectortest.TB) connectortest.Application { return reach(t) }
	return app
}
