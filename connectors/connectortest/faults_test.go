package connectortest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest"
	"github.com/countersign/countersign/connectors/connectortest/faults"
	"github.com/countersign/countersign/connectors/connectortest/harness"
	"github.com/countersign/countersign/connectors/connectortest/suite"
	"github.com/countersign/countersign/connectors/connectortest/virtual"
	"github.com/countersign/countersign/connectors/rest"
	"github.com/countersign/countersign/schemas"
)

// remote is the connector of the application in memory, which it reaches by HTTP. flaw names what is wrong with it.
type remote struct {
	memory
	flaw string
}

// answer serves the application in memory: GET gives its teams, PUT carries out an operation.
func (s *server) answer(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		state, err := (&session{s: s, d: memory{}.Describe()}).Read(r.Context(), schemas.Selection{})
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"teams": state.Connections}) // the client may be gone
		return
	}
	var op schemas.Operation
	body, err := io.ReadAll(r.Body)
	if err != nil || json.Unmarshal(body, &op) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if err := s.one(memory{}.Describe(), op); err != nil {
		w.WriteHeader(map[connectors.Code]int{connectors.NotFound: 404, connectors.Conflict: 409}[err.Code])
		return
	}
	_, _ = io.WriteString(w, `{"done": true}`) // the client may be gone
}

func (m remote) OpenReader(ctx context.Context, cfg connectors.Config) (connectors.Reader, error) {
	return m.OpenWriter(ctx, cfg)
}

func (m remote) OpenWriter(ctx context.Context, cfg connectors.Config) (connectors.Writer, error) {
	address, _ := cfg.Values["url"].(string)
	c := rest.Config{URL: address, Timeout: 500 * time.Millisecond, MinWait: time.Millisecond, Retries: 2, Transport: network.Transport()}
	switch m.flaw {
	case "it comes back at once":
		c.Limited = func(r *http.Response) (time.Duration, bool) { return 0, r.StatusCode == 429 }
	case "it follows redirects":
		c.Transport = follower{c.Transport}
	}
	client, err := rest.New(c)
	if err != nil {
		return nil, err
	}
	checker, err := connectors.NewChecker(m.Describe())
	if err != nil {
		return nil, err
	}
	return &remoteSession{session: session{s: m.s, d: m.Describe()}, client: client, checker: checker, flaw: m.flaw}, ctx.Err()
}

// follower follows redirects.
type follower struct{ next http.RoundTripper }

func (f follower) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := f.next.RoundTrip(r)
	if err != nil || resp.StatusCode != http.StatusTemporaryRedirect {
		return resp, err
	}
	if err := resp.Body.Close(); err != nil {
		return nil, err
	}
	again, err := http.NewRequestWithContext(r.Context(), http.MethodGet, resp.Header.Get("Location"), nil)
	if err != nil {
		return nil, err
	}
	return f.next.RoundTrip(again)
}

type remoteSession struct {
	session
	client  *rest.Client
	checker *connectors.Checker
	flaw    string
}

func (w *remoteSession) Read(ctx context.Context, sel schemas.Selection) (schemas.State, error) {
	if err := w.begin(ctx); err != nil {
		return schemas.State{}, err
	}
	var body struct{ Teams *[]schemas.Connection }
	resp, _, err := w.client.Do(ctx, rest.Request{Op: "read the teams", Method: http.MethodGet, Path: "/"})
	var bad error
	if err == nil {
		bad = json.Unmarshal(resp.Body, &body)
	}
	switch {
	case err != nil && w.flaw == "what it cannot read is empty":
		return schemas.State{}, nil
	case err != nil && w.flaw == "it gives up for ever":
		return schemas.State{}, &connectors.Error{Code: connectors.Invalid, Message: "wrong"}
	case err != nil && w.flaw == "it tells its secret":
		return schemas.State{}, &connectors.Error{Code: connectors.Unavailable, Message: connectortest.Canary}
	case err != nil:
		return schemas.State{}, err
	case bad != nil && w.flaw == "what it cannot decode is empty":
		return schemas.State{}, nil
	case body.Teams == nil && bad == nil && w.flaw == "what it does not find is empty":
		return schemas.State{}, nil
	case bad != nil || body.Teams == nil:
		return schemas.State{}, &connectors.Error{Code: connectors.Unavailable, Message: "something else answered"}
	}
	var s schemas.State
	selected := sel.Selector(func(n schemas.Name) schemas.Name { n.SourceName = strings.ToLower(n.SourceName); return n })
	for _, c := range *body.Teams {
		if selected(c.Name) {
			s.Connections = append(s.Connections, c)
		}
	}
	s.Sort()
	return s, nil
}

func (w *remoteSession) Apply(ctx context.Context, ops []schemas.Operation, report func(connectors.Outcome)) error {
	return connectors.Each(ctx, ops, w.checker, time.Now, report, func(ctx context.Context, o *schemas.Operation) (int, error) {
		_, n, err := w.client.Do(ctx, rest.Request{Op: connectors.Title(o), Method: http.MethodPut, Path: "/", Body: o, OneTime: w.flaw == "sent is done"})
		if err != nil && w.flaw == "sent is done" {
			err = nil
		}
		return n, err
	})
}

// network is where the application listens.
var network = virtual.New()

func remoteHarness(flaw string) connectortest.FaultHarness {
	s := newServer()
	var started atomic.Int64
	return connectortest.FaultHarness{
		HTTP:    true,
		Network: network,
		Harness: connectortest.Harness{
			Connector: remote{memory{s}, flaw},
			Payloads:  map[string][2]map[string]any{"team": {{"comment": "", "secret": false}, {"comment": "x", "secret": true}}},
			Start: func(t connectortest.TB) connectortest.Application {
				web := network.Serve(t, http.HandlerFunc(s.answer))
				return &remoteTenant{tenant{s: s, prefix: fmt.Sprintf("x%d.", started.Add(1))}, web.Listener.Addr().String()}
			},
		},
		Address: func(_ connectortest.TB, app connectortest.Application) string { return app.(*remoteTenant).address },
		Through: func(_ connectortest.TB, cfg connectors.Config, proxy string) connectors.Config {
			cfg.Values = map[string]any{"url": "http://" + proxy}
			return cfg
		},
	}
}

type remoteTenant struct {
	tenant
	address string
}

func (a *remoteTenant) Config() connectors.Config {
	return connectors.Config{Application: "memory", Values: map[string]any{"url": "http://" + a.address}, Now: time.Now, Logger: slog.New(slog.DiscardHandler)}
}

// TestFaults runs the fault table on a connector without a flaw.
func TestFaults(t *testing.T) {
	t.Parallel()
	connectortest.RunFaults(t, remoteHarness(""))
}

// TestFaultTableFindsFlaws runs it on connectors with one each, and wants it to fail.
func TestFaultTableFindsFlaws(t *testing.T) {
	t.Parallel()
	for flaw, finds := range map[string][]string{
		"what it cannot read is empty":   {"stream", "read/refused for good"},
		"it gives up for ever":           {"stream", "read/refused for good"},
		"it tells its secret":            {"stream", "read/refused for good"},
		"what it cannot decode is empty": {"http", "read/a page of another service"},
		"what it does not find is empty": {"http", "read/an empty object"},
		"it comes back at once":          {"http", "read/429 with Retry-After"},
		"it follows redirects":           {"http", "read/a redirect to another host"},
		"sent is done":                   {"http", "apply/503 before the change"},
	} {
		t.Run(flaw, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				rep := suite.Runner{Now: time.Now}.Run(t.Context(), func(c *suite.Case) { faults.Run(only{c, finds}, remoteHarness(flaw)) })
				for _, c := range rep.Cases {
					if strings.Contains(strings.Join(c.Log, "\n"), "panic") {
						t.Errorf("the table does not bear the flaw: %s: %v", c.Name, c.Log)
					}
				}
				if rep.Failed == 0 {
					t.Errorf("%v did not fail: %+v", finds, rep.Cases)
				}
			})
		})
	}
}

// only runs the cases at the end of a path.
type only struct {
	harness.T
	path []string
}

func (o only) Run(name string, f func(harness.T)) bool {
	rest := o.path
	if len(rest) > 0 {
		if rest[0] != name {
			return true
		}
		rest = rest[1:]
	}
	return o.T.Run(name, func(t harness.T) { f(only{t, rest}) })
}
