package connectortest_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest"
	"github.com/countersign/countersign/connectors/connectortest/suite"
)

// TestSuiteFindsFlaws runs the suite on connectors with one flaw each, and wants the case named to fail.
func TestSuiteFindsFlaws(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		flaw, finds string
		exact       bool
	}{
		{"drops unknown members", "unresolved members", false},
		{"ignores native ids", "renamed", false},
		{"stops at 500 groups", "more than a page", false},
		{"lists 500 groups", "more than a page", false},
		{"takes no lock", "two writers", false},
		{"writes in read mode", "read only", false},
		{"a reader that is a writer", "read only", false},
		{"accepts a truncated answer", "incomplete read", false},
		{"folds", "case of names", true},
		{"folds names in a revoke", "similar names", true},
		{"", "", true},
	} {
		t.Run(tt.flaw, func(t *testing.T) {
			t.Parallel()
			s := newServer()
			s.flaw, s.exact = tt.flaw, tt.exact
			var started atomic.Int64
			only := func(name string) bool { return tt.finds == "" || name == tt.finds }
			rep := suite.Runner{Now: time.Now, Match: only}.Run(t.Context(), func(c *suite.Case) {
				suite.Run(c, connectortest.Harness{
					Connector: memory{s},
					Payloads:  map[string][2]map[string]any{"team": {{"comment": "", "secret": false}, {"comment": "x", "secret": true}}},
					Start: func(connectortest.TB) connectortest.Application {
						return breakable{&tenant{s: s, prefix: fmt.Sprintf("f%d.", started.Add(1))}}
					},
					Faulty: []connectortest.Faulty{{Name: "wrong token", Code: connectors.Denied, Config: func(_ connectortest.TB, cfg connectors.Config) connectors.Config {
						cfg.Values = map[string]any{"token": connectors.NewSecret(connectortest.Canary)}
						return cfg
					}}},
				})
			})
			if (rep.Failed > 0) != (tt.finds != "") {
				t.Errorf("%d cases failed, want %q to find it: %+v", rep.Failed, tt.finds, rep.Cases)
			}
			for _, c := range rep.Cases {
				if strings.Contains(strings.Join(c.Log, "\n"), "panic") {
					t.Errorf("the suite panics: %s: %v", c.Name, c.Log)
				}
			}
		})
	}
}

// breakable is a tenant whose application's answers can end too early.
type breakable struct{ *tenant }

func (b breakable) Break(connectortest.TB) []connectortest.Broken {
	return []connectortest.Broken{{Name: "truncated", Start: func(connectortest.TB) connectors.Config {
		cfg := b.Config()
		cfg.Values["cut"] = true
		return cfg
	}}}
}
