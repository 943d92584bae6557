package run

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/connectors"
)

// The credential for applying is needed to apply, and not to plan.
func TestResolveSecrets(t *testing.T) {
	t.Setenv("COUNTERSIGN_TEST_PLAN", "plan-canary")
	t.Setenv("COUNTERSIGN_TEST_EMPTY", "")
	env := func(name string) map[string]any { return map[string]any{"env": name} }
	nowhere := map[string]any{"file": filepath.Join(t.TempDir(), "nowhere")}
	token, user := env("COUNTERSIGN_TEST_PLAN"), "b"
	tests := []struct {
		name            string
		config          map[string]any
		plan            map[string]any
		planErr, allErr string
	}{
		{"both are there", map[string]any{"token": token, "apply_user": user, "apply_token": token},
			map[string]any{"token": "plan-canary", "apply_user": "b", "apply_token": "plan-canary"}, "", ""},
		{"no secret for applying", map[string]any{"token": token, "apply_user": user, "apply_token": env("COUNTERSIGN_TEST_EMPTY")},
			map[string]any{"token": "plan-canary"}, "", "config.apply_token: the environment variable COUNTERSIGN_TEST_EMPTY is not set"},
		{"no file for applying, further in", map[string]any{"token": token, "apply_oauth": map[string]any{"client_id": "a", "client_secret": nowhere}},
			map[string]any{"token": "plan-canary"}, "", "config.apply_oauth: config.client_secret: read the secret"},
		{"none for planning", map[string]any{"token": env("COUNTERSIGN_TEST_EMPTY"), "apply_token": token},
			nil, "config.token: the environment variable COUNTERSIGN_TEST_EMPTY is not set", "config.token: "},
	}
	for _, tc := range tests {
		before := len(tc.config)
		got, err := ResolveSecrets(tc.config, false)
		if text := fmt.Sprint(err); (err != nil) != (tc.planErr != "") || !strings.Contains(text, tc.planErr) {
			t.Errorf("%s: to plan: %v, want %q", tc.name, err, tc.planErr)
		}
		for k, v := range got {
			if secret, ok := v.(connectors.Secret); ok {
				got[k] = secret.Reveal()
			}
		}
		if diff := cmp.Diff(tc.plan, got); diff != "" {
			t.Errorf("%s: %s", tc.name, diff)
		}
		if _, err := ResolveSecrets(tc.config, true); (err != nil) != (tc.allErr != "") || !strings.Contains(fmt.Sprint(err), tc.allErr) {
			t.Errorf("%s: to apply: %v, want %q", tc.name, err, tc.allErr)
		}
		if len(tc.config) != before {
			t.Errorf("%s: the application's config was changed", tc.name)
		}
	}
}
