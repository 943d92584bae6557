package connectortest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest/harness"
	"github.com/countersign/countersign/connectors/connectortest/suite"
	"github.com/countersign/countersign/schemas"
)

// TestRunner: a Case behaves as a *testing.T does.
func TestRunner(t *testing.T) {
	t.Parallel()
	var order []string
	var dir string
	rep := suite.Runner{Now: time.Now, Match: func(name string) bool { return name != "left out" }}.Run(t.Context(), func(c *suite.Case) {
		c.Run("good", func(c harness.T) {
			c.Cleanup(func() { order = append(order, "first in") })
			c.Cleanup(func() { order = append(order, "last in") })
			if dir = c.TempDir(); c.Name() != "good" || c.Context().Err() != nil {
				c.Error("name or context")
			}
			c.Logf("%d things", 2)
		})
		c.Run("left out", func(c harness.T) { c.Fatal("it ran") })
		ok := c.Run("bad", func(c harness.T) {
			c.Run("within", func(c harness.T) {
				c.Errorf("one %s", "fault")
				c.Fatal("and the end")
			})
			c.Run("beside", func(c harness.T) {})
			if !c.Failed() {
				t.Error("a case within failed, and this one does not know")
			}
		})
		if ok {
			t.Error("Run says that a failed case did not fail")
		}
		c.Run("skipped", func(c harness.T) {
			c.Skipf("no %s", "need")
			c.Error("it went on")
		})
		c.Run("panics", func(c harness.T) { panic("oh") })
		c.Run("in the cleanup", func(c harness.T) { c.Cleanup(func() { c.Error("late") }) })
		c.Run("says too much", func(c harness.T) {
			for i := range 100 {
				c.Errorf("%d", i)
			}
		})
	})
	got := map[string]string{}
	for _, c := range rep.Cases {
		text := strings.Join(c.Log, "|")
		if c.Name == "panics" {
			text, _, _ = strings.Cut(text, "\n")
		}
		if c.Name == "says too much" {
			text = fmt.Sprint(len(c.Log))
		}
		got[c.Name] = string(c.Result) + " " + text
	}
	want := map[string]string{"good": "pass 2 things", "bad/within": "fail one fault|and the end", "bad/beside": "pass ", "skipped": "skip no need",
		"panics": "fail panic: oh", "in the cleanup": "fail late", "says too much": "fail 21"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"last in", "first in"}, order); diff != "" {
		t.Error(diff)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the folder of a case: %v", err)
	}
	if rep.Passed != 2 || rep.Failed != 4 || rep.Skipped != 1 {
		t.Errorf("%d passed, %d failed, %d skipped", rep.Passed, rep.Failed, rep.Skipped)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	rep = suite.Runner{Now: time.Now}.Run(ended, func(c *suite.Case) { c.Run("late", func(harness.T) { t.Error("it ran") }) })
	if rep.Failed != 1 {
		t.Errorf("a run that was stopped: %+v", rep)
	}
}

// liar is memory that lies when it is read.
type liar struct {
	memory
	how string
}

func (l liar) Describe() schemas.Description {
	d := l.memory.Describe()
	if l.how == "description" {
		d.Title = ""
	}
	return d
}

func (l liar) OpenReader(ctx context.Context, cfg connectors.Config) (connectors.Reader, error) {
	if l.how != "bad input" && cfg.Values["no_such_setting"] != nil {
		return nil, refuse(connectors.Invalid, "unknown setting")
	}
	r, err := l.memory.OpenReader(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return lying{r, l.how}, nil
}

type lying struct {
	connectors.Reader
	how string
}

func (l lying) Read(ctx context.Context, sel schemas.Selection) (schemas.State, error) {
	if l.how == "cancellation" {
		ctx = context.WithoutCancel(ctx)
	}
	if l.how == "selection" {
		sel = schemas.Selection{}
	}
	s, err := l.Reader.Read(ctx, sel)
	switch l.how {
	case "read":
		s.Connections = append(s.Connections, s.Connections...)
	case "incomplete":
		s.Incomplete = "half of it"
	}
	return s, err
}

func (l lying) List(ctx context.Context, q connectors.Query) (connectors.Page, error) {
	if l.how == "list" {
		q.Names = nil
	}
	return l.Reader.List(ctx, q)
}

func (l lying) Normalize(s schemas.State) (schemas.State, error) {
	out, err := l.Reader.Normalize(s)
	if l.how == "normalize" {
		for i := range out.Connections {
			out.Connections[i].Payload = map[string]any{"comment": "mine"}
		}
	}
	return out, err
}

// TestReduced: without a hand nothing is changed, and lies in reading are found all the same.
func TestReduced(t *testing.T) {
	t.Parallel()
	for how, fails := range map[string]string{"": "", "description": "describe", "read": "read", "incomplete": "read", "selection": "selection", "list": "list",
		"normalize": "normalize", "cancellation": "cancellation", "bad input": "bad input"} {
		s := &server{ids: map[schemas.Name]string{}, hidden: map[string]bool{}, users: map[string]schemas.EntitlementState{"ann": "", "bob": "blocked"}, repos: map[string]bool{}, teams: map[string]*team{
			"a": {id: "1", entries: map[schemas.Entitlement]bool{}}, "b": {id: "2", entries: map[schemas.Entitlement]bool{
				{Target: schemas.Name{Type: "user", SourceName: "bob"}, Privilege: "MEMBER"}: true}}}}
		cfg := (&tenant{s: s}).Config()
		before := fmt.Sprint(s.teams["a"], s.teams["b"], s.users)
		rep := suite.Runner{Now: time.Now}.Run(t.Context(), func(c *suite.Case) { suite.RunReduced(c, liar{memory{s}, how}, &cfg) })
		failed := map[string]bool{}
		for _, c := range rep.Cases {
			if c.Result == schemas.CaseFailed {
				failed[c.Name] = true
				if how == "" {
					t.Errorf("%s: %v", c.Name, c.Log)
				}
			}
		}
		if fails != "" && !failed[fails] {
			t.Errorf("a connector that lies in %s: %v failed, want %s", how, failed, fails)
		}
		if len(rep.Cases) != 9 || before != fmt.Sprint(s.teams["a"], s.teams["b"], s.users) {
			t.Errorf("%d cases, the state after them: %v", len(rep.Cases), s.teams)
		}
	}
}

// handOf is an outside hand that works on tenants of a server.
type handOf struct {
	t    *testing.T
	s    *server
	n    int
	deny string
}

func (h *handOf) Do(_ context.Context, r schemas.ConnectorTest) (schemas.ConnectorTestAnswer, error) {
	var out schemas.ConnectorTestAnswer
	a := &tenant{s: h.s, prefix: r.Application}
	if r.Do == h.deny {
		return out, refuse(connectors.Unavailable, "the hand is tired")
	}
	name := func(n schemas.Name) { out.Name = &n }
	switch r.Do {
	case "harness":
		out.Harness = &schemas.ConnectorHarness{Payloads: map[string][]map[string]any{"team": {{"comment": "", "secret": false}, {"comment": "x", "secret": true}}},
			Can:    []string{"set_identity_state", "own", "rename", "hide"},
			Faulty: []schemas.ConnectorFaulty{{Name: "wrong token", Code: "denied", Set: map[string]any{"token": "x"}}, {Name: "none", Code: "denied", Remove: []string{"token"}}}}
	case "start":
		h.n++
		out.Application = fmt.Sprintf("t%d.", h.n)
		out.Prefix, out.Config = out.Application, map[string]any{"token": "good"}
	case "stop":
	case "add_identity":
		name(a.AddIdentity(h.t, r.Type, r.Word))
	case "remove_identity":
		a.RemoveIdentity(h.t, *r.Name)
	case "add_resource":
		n, _ := a.AddResource(h.t, r.Type, r.Word)
		name(n)
	case "add_connection":
		a.AddConnection(h.t, *r.Name)
	case "drop_connection":
		a.DropConnection(h.t, *r.Name)
	case "grant":
		a.Grant(h.t, *r.Key)
	case "revoke":
		a.Revoke(h.t, *r.Key)
	case "set_identity_state":
		a.SetIdentityState(h.t, *r.Name, r.State)
	case "own":
		a.Own(h.t, *r.Name)
	case "rename":
		n, ok := a.Rename(h.t, *r.Name, r.Word)
		name(n)
		out.Not = !ok
	case "hide":
		out.Not = !a.Hide(h.t, *r.Name, r.Hidden)
	default:
		return out, refuse(connectors.Unsupported, "no %s", r.Do)
	}
	return out, nil
}

// TestHand runs the whole suite by way of a hand.
func TestHand(t *testing.T) {
	t.Parallel()
	run := func(deny string) *schemas.ConformanceReport {
		s := newServer()
		h, err := suite.FromHand(t.Context(), memory{s}, &handOf{t: t, s: s, deny: deny}, (&tenant{s: s}).Config())
		if err != nil {
			t.Fatal(err)
		}
		return suite.Runner{Now: time.Now}.Run(t.Context(), func(c *suite.Case) { suite.Run(c, h) })
	}
	rep := run("")
	var skipped []string
	for _, c := range rep.Cases {
		switch c.Result {
		case schemas.CaseFailed:
			t.Errorf("%s: %v", c.Name, c.Log)
		case schemas.CaseSkipped:
			skipped = append(skipped, c.Name)
		}
	}
	// What the hand does not say that it can is not asked of it.
	if diff := cmp.Diff([]string{"protected", "incomplete read"}, skipped); diff != "" {
		t.Error(diff)
	}
	if rep = run("stop"); rep.Failed < 10 {
		t.Errorf("a hand that cannot clean up: %d cases failed", rep.Failed)
	}
	if b, err := json.Marshal(rep); err != nil || !strings.Contains(string(b), "outside hand: stop") {
		t.Errorf("%v: %.300s", err, b)
	}
}
