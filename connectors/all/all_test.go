package all_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/all"
	"github.com/countersign/countersign/connectors/connectortest"
)

// Each folder beside this one that has code, but for the suite's, what connectors share, and exec, which has no name of its own, is a connector in the
// list under its own name.
func TestRegistry(t *testing.T) {
	t.Parallel()
	r, err := all.Registry()
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, e := range entries {
		code, err := filepath.Glob(filepath.Join("..", e.Name(), "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		code = slices.DeleteFunc(code, func(f string) bool { return strings.HasSuffix(f, "_test.go") })
		if shared := []string{"all", "connectortest", "exec", "rest"}; e.IsDir() && !slices.Contains(shared, e.Name()) && len(code) > 0 {
			want = append(want, e.Name())
		}
	}
	if got := r.Names(); !slices.Equal(got, want) {
		t.Errorf("the list has %v, the folders are %v", got, want)
	}
	for _, name := range r.Names() {
		c, ok := r.Get(name)
		if !ok {
			t.Fatalf("%s is listed and not there", name)
		}
		if _, own := c.(connectors.Configured); own != c.Describe().Attested || own != (len(c.Describe().Types) == 0) {
			t.Errorf("%s: only what is attested has its types from its configuration, and then no others", name)
		}
		// The suite of connectors holds what is read against what was written: of one that reads and writes nothing
		// (manual) there is nothing to hold, and its own tests are about its configuration.
		for _, row := range connectortest.Capabilities(c) {
			if row.Connector != name || row.Type == "" || row.Title == "" {
				t.Errorf("%s: a row of the table is empty: %+v", name, row)
			}
		}
	}
}

// Who only reads need not hold the credential for applying: its account may be named without its secret. To write,
// it is missing.
func TestPlanningWithoutTheCredentialForApplying(t *testing.T) {
	t.Parallel()
	secret := connectors.NewSecret
	r, err := all.Registry()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		values map[string]any
		half   bool // the account for applying is named, and its secret is not there
	}{
		"aws": {map[string]any{"account": "123456789012", "access_key_id": secret("a"), "secret_access_key": secret("b"),
			"apply_role_arn": "arn:aws:iam::123456789012:role/apply", "endpoint": "http://127.0.0.1:1"}, false},
		"github": {map[string]any{"organisation": "acme", "token": secret("a"), "apply_app_id": 1, "apply_installation_id": 2}, true},
		"ldap": {map[string]any{"url": "ldap://127.0.0.1:1", "bind_dn": "cn=plan,dc=acme", "password": secret("a"), "apply_bind_dn": "cn=apply,dc=acme",
			"base_dn": "ou=groups,dc=acme", "user_base_dn": "ou=people,dc=acme"}, true},
		"mysql":    {map[string]any{"dsn": secret("a:b@tcp(127.0.0.1:1)/")}, false},
		"okta":     {map[string]any{"url": "https://acme.okta.test", "token": secret("a"), "apply_client_id": "b", "apply_key_id": "c"}, true},
		"postgres": {map[string]any{"dsn": secret("postgres://a:b@127.0.0.1:1/c")}, false},
		"scim":     {map[string]any{"url": "https://acme.test/scim", "token": secret("a"), "apply_username": "b"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k, ok := r.Get(name)
			if !ok {
				t.Fatal("there is no such connector")
			}
			cfg := connectors.Config{Application: "app", Values: c.values, Now: time.Now, Logger: slog.New(slog.DiscardHandler)}
			reader, err := k.OpenReader(t.Context(), cfg)
			if err == nil {
				err = reader.Close()
			}
			if err != nil && connectors.CodeOf(err) != connectors.Unavailable {
				t.Errorf("to read: %v", err)
			}
			if !c.half {
				return
			}
			if writer, err := k.OpenWriter(t.Context(), cfg); connectors.CodeOf(err) != connectors.Invalid {
				t.Errorf("to write: %v, want %s", err, connectors.Invalid)
				if err == nil {
					_ = writer.Close() // the test has failed already
				}
			}
		})
	}
}
