package secrets_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/secrets"
	"github.com/countersign/countersign/schemas"
)

// The credential for applying is needed to apply, and not to plan.
func TestResolve(t *testing.T) {
	t.Parallel()
	store := secrets.New(secrets.Config{Allow: []string{"*"}, Getenv: func(name string) string { return map[string]string{"TEST_PLAN": "plan-canary"}[name] }})
	env := func(name string) map[string]any { return map[string]any{"env": name} }
	nowhere := map[string]any{"file": filepath.Join(t.TempDir(), "nowhere")}
	token, user := env("TEST_PLAN"), "b"
	tests := []struct {
		name            string
		config          map[string]any
		plan            map[string]any
		planErr, allErr string
	}{
		{"both are there", map[string]any{"token": token, "apply_user": user, "apply_token": token},
			map[string]any{"token": "plan-canary", "apply_user": "b", "apply_token": "plan-canary"}, "", ""},
		{"no secret for applying", map[string]any{"token": token, "apply_user": user, "apply_token": env("TEST_EMPTY")},
			map[string]any{"token": "plan-canary"}, "", "config.apply_token: the environment variable TEST_EMPTY is not set"},
		{"no file for applying, further in", map[string]any{"token": token, "apply_oauth": map[string]any{"client_id": "a", "client_secret": nowhere}},
			map[string]any{"token": "plan-canary"}, "", "config.apply_oauth: config.client_secret: read the secret"},
		{"none for planning", map[string]any{"token": env("TEST_EMPTY"), "apply_token": token},
			nil, "config.token: the environment variable TEST_EMPTY is not set", "config.token: "},
	}
	for _, tc := range tests {
		before := len(tc.config)
		got, err := store.Resolve(tc.config, false)
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
		if _, err := store.Resolve(tc.config, true); (err != nil) != (tc.allErr != "") || !strings.Contains(fmt.Sprint(err), tc.allErr) {
			t.Errorf("%s: to apply: %v, want %q", tc.name, err, tc.allErr)
		}
		if len(tc.config) != before {
			t.Errorf("%s: the application's config was changed", tc.name)
		}
	}
}

// A file in Git reaches only what the operator allows, and nothing that isn't a regular file.
func TestAllowed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	link := func(name, target string) string {
		path := filepath.Join(dir, name)
		if err := os.Symlink(target, path); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	good := write("good", "file-canary\n")
	getenv := func(name string) string { return "canary of " + name }
	env := func(name string) schemas.SecretReference { return schemas.SecretReference{Env: name} }
	file := func(path string) schemas.SecretReference { return schemas.SecretReference{File: path} }
	const refused = "not among the secrets that the operator allows"
	for _, tc := range []struct {
		allow string
		ref   schemas.SecretReference
		want  string // the value, or a part of the error
	}{
		{"", env("A"), refused},
		{"", file(good), refused},
		{"B,A_*", env("A"), refused},
		{" B , A_* ", env("A_TOKEN"), "canary of A_TOKEN"},
		{"B", env("B"), "canary of B"},
		{"*", env("COUNTERSIGN_APP_PRIVATE_KEY"), refused},
		{"COUNTERSIGN_DSN", env("COUNTERSIGN_DSN"), "canary of COUNTERSIGN_DSN"},
		{dir + "/*", file(good), "file-canary"},
		{dir + "/*", file(link("link", good)), "file-canary"}, // as in Kubernetes
		{dir + "/*", file(dir + "/../" + filepath.Base(dir) + "x/good"), refused},
		{"/run/secrets/*", file("/run/secrets/../../" + good), refused},
		{"*", file("good"), "expected an absolute path"},
		{"*", file(pipe), "not a regular file"},
		{"*", file(link("to-pipe", pipe)), "not a regular file"},
		{"*", file(dir), "not a regular file"},
		{"*", file("/proc/self/environ"), "the kernel's files are refused"},
		{"*", file(link("environ", "/proc/self/environ")), "the kernel's files are refused"},
		{"*", file("/dev/zero"), "the kernel's files are refused"},
		{"*", file(write("large", strings.Repeat("x", 1<<20+1))), "too large"},
		{"*", schemas.SecretReference{}, "names no secret"},
	} {
		store := secrets.New(secrets.Config{Allow: secrets.Patterns(tc.allow), Getenv: getenv})
		got, err := store.Secret(tc.ref)
		if err != nil {
			if !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "canary of") {
				t.Errorf("%q allowed, %+v: %v, want %s", tc.allow, tc.ref, err, tc.want)
			}
			continue
		}
		if got.Reveal() != tc.want {
			t.Errorf("%q allowed, %+v: %q, want %q", tc.allow, tc.ref, got.Reveal(), tc.want)
		}
		if text := store.Redact("a " + got.Reveal()); text != "a REDACTED" {
			t.Errorf("the store doesn't know its secret: %s", text)
		}
	}
}
