package connectortest_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest"
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
		state, err := (&session{s: s, d: memory{}.Describe()}).Read(r.Context(), connectors.Selection{})
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
	c := rest.Config{URL: address, Timeout: 500 * time.Millisecond, MinWait: time.Millisecond, Retries: 2}
	switch m.flaw {
	case "it comes back at once":
		c.Limited = func(r *http.Response) (time.Duration, bool) { return 0, r.StatusCode == 429 }
	case "it follows redirects":
		c.Transport = follower{}
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

type follower struct{}

func (follower) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil || resp.StatusCode != http.StatusTemporaryRedirect {
		return resp, err
	}
	if err := resp.Body.Close(); err != nil {
		return nil, err
	}
	return http.Get(resp.Header.Get("Location"))
}

type remoteSession struct {
	session
	client  *rest.Client
	checker *connectors.Checker
	flaw    string
}

func (w *remoteSession) Read(ctx context.Context, sel connectors.Selection) (connectors.State, error) {
	if err := w.begin(ctx); err != nil {
		return connectors.State{}, err
	}
	var body struct{ Teams *[]connectors.Connection }
	resp, _, err := w.client.Do(ctx, rest.Request{Op: "read the teams", Method: http.MethodGet, Path: "/"})
	var bad error
	if err == nil {
		bad = json.Unmarshal(resp.Body, &body)
	}
	switch {
	case err != nil && w.flaw == "what it cannot read is empty":
		return connectors.State{}, nil
	case err != nil && w.flaw == "it gives up for ever":
		return connectors.State{}, &connectors.Error{Code: connectors.Invalid, Message: "wrong"}
	case err != nil && w.flaw == "it tells its secret":
		return connectors.State{}, &connectors.Error{Code: connectors.Unavailable, Message: connectortest.Canary}
	case err != nil:
		return connectors.State{}, err
	case bad != nil && w.flaw == "what it cannot decode is empty":
		return connectors.State{}, nil
	case body.Teams == nil && bad == nil && w.flaw == "what it does not find is empty":
		return connectors.State{}, nil
	case bad != nil || body.Teams == nil:
		return connectors.State{}, &connectors.Error{Code: connectors.Unavailable, Message: "something else answered"}
	}
	var s connectors.State
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

const flawEnv = "CONNECTORTEST_REMOTE_FLAW"

func remoteFaults(t *testing.T, flaw string) {
	s := &server{teams: map[string]*team{}, users: map[string]string{}, repos: map[string]bool{}}
	web := httptest.NewServer(http.HandlerFunc(s.answer))
	t.Cleanup(web.Close)
	n := make(chan int, 1)
	n <- 0
	connectortest.RunFaults(t, connectortest.FaultHarness{
		HTTP: true,
		Harness: connectortest.Harness{
			Connector: remote{memory{s}, flaw},
			Payloads:  map[string][2]map[string]any{"team": {{"comment": "", "secret": false}, {"comment": "x", "secret": true}}},
			Start: func(connectortest.TB) connectortest.Application {
				i := <-n
				n <- i + 1
				return &remoteTenant{tenant{s: s, prefix: strings.Repeat("x", i+1) + "."}, web.URL}
			},
		},
		Address: func(connectortest.TB, connectortest.Application) string { return web.Listener.Addr().String() },
		Through: func(_ connectortest.TB, cfg connectors.Config, proxy string) connectors.Config {
			cfg.Values = map[string]any{"url": "http://" + proxy}
			return cfg
		},
	})
}

type remoteTenant struct {
	tenant
	url string
}

func (a *remoteTenant) Config() connectors.Config {
	return connectors.Config{Application: "memory", Values: map[string]any{"url": a.url}, Now: time.Now, Logger: slog.New(slog.DiscardHandler)}
}

// TestFaults runs the fault table on a connector without a flaw.
func TestFaults(t *testing.T) {
	t.Parallel()
	remoteFaults(t, "")
}

// TestFaultTableFindsFlaws runs it on connectors with one each, in processes of their own, and wants it to fail.
func TestFaultTableFindsFlaws(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for flaw, finds := range map[string]string{
		"what it cannot read is empty":   "stream/read/refused_for_good",
		"it gives up for ever":           "stream/read/refused_for_good",
		"it tells its secret":            "stream/read/refused_for_good",
		"what it cannot decode is empty": "http/read/a_page_of_another_service",
		"what it does not find is empty": "http/read/an_empty_object",
		"it comes back at once":          "http/read/429_with_Retry-After",
		"it follows redirects":           "http/read/a_redirect_to_another_host",
		"sent is done":                   "http/apply/503_before_the_change",
	} {
		t.Run(flaw, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestFlawedRemote$/"+strings.ReplaceAll("^"+finds+"$", "/", "$/^"), "-test.timeout=120s")
			cmd.Env = append(os.Environ(), flawEnv+"="+flaw)
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || !strings.Contains(string(out), "--- FAIL: TestFlawedRemote/"+finds) || strings.Contains(string(out), "panic") {
				t.Errorf("%s did not fail (%v):\n%.3000s", finds, err, out)
			}
		})
	}
}

// TestFlawedRemote is the child process's part.
func TestFlawedRemote(t *testing.T) {
	flaw := os.Getenv(flawEnv)
	if flaw == "" {
		t.Skip("runs within TestFaultTableFindsFlaws")
	}
	remoteFaults(t, flaw)
}
