package reconciler

import (
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
	config := map[string]any{
		"token":       env("COUNTERSIGN_TEST_PLAN"),
		"apply_token": env("COUNTERSIGN_TEST_EMPTY"),
		"apply_file":  nowhere,
		"apply_oauth": map[string]any{"client_id": "a", "client_secret": nowhere},
		"apply_user":  "b",
		"apply_same":  env("COUNTERSIGN_TEST_PLAN"),
	}
	got, err := ResolveSecrets(config, false)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range got {
		if secret, ok := v.(connectors.Secret); ok {
			got[k] = secret.Reveal()
		}
	}
	want := map[string]any{"token": "plan-canary", "apply_user": "b", "apply_same": "plan-canary"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if len(config) != 6 {
		t.Error("the application's config was changed")
	}
	if _, err := ResolveSecrets(config, true); err == nil || !strings.Contains(err.Error(), "config.apply_file: ") {
		t.Errorf("to apply: %v", err)
	}
	config["token"] = env("COUNTERSIGN_TEST_EMPTY")
	if _, err := ResolveSecrets(config, false); err == nil || !strings.Contains(err.Error(), "COUNTERSIGN_TEST_EMPTY is not set") {
		t.Errorf("to plan without its own credential: %v", err)
	}
}
