package strict

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/countersign/countersign/schemas"
)

const configSchema = `{
	"$schema": "https://json-schema.org/draft/2020-12/schema",
	"type": "object",
	"required": ["dsn"],
	"properties": {
		"dsn": {"$ref": "#/$defs/secret"},
		"apply_dsn": {"type": "string", "x-secret": true, "description": "for apply"},
		"timeout": {"type": "integer", "minimum": 1, "default": 10},
		"sslmode": {"enum": ["disable", "require"]},
		"nested": {"type": "object", "properties": {"key_file": {"x-secret": true}}, "additionalProperties": false},
		"labels": {"type": "object", "propertyNames": {"pattern": "^[a-z]+$"}}
	},
	"$defs": {"secret": {"type": "object", "x-secret": true}},
	"additionalProperties": false
}`

func TestCheckerConfig(t *testing.T) {
	t.Parallel()
	checker := NewChecker()
	for _, c := range []struct {
		name, config string
		want         []string
	}{
		{"env", `{dsn: {env: WAREHOUSE_DSN}}`, nil},
		{"file", `{dsn: {file: /run/secrets/dsn}, apply_dsn: {env: B}, timeout: 5, nested: {key_file: {file: /k}}}`, nil},
		{"absent", `{}`, []string{"spec.config.dsn: is missing"}},
		{"literal", `{dsn: hunter2}`, []string{"spec.config.dsn: a literal where a reference to a secret belongs (expected {env: NAME} or {file: /path}); secrets never belong in Git: change it if this was ever pushed"}},
		{"literal number", `{dsn: {env: A}, apply_dsn: 22222}`, []string{"spec.config.apply_dsn: a literal where"}},
		{"literal as key", `{dsn: {hunter2: }}`, []string{"spec.config.dsn: a literal where"}},
		{"literal in list", `{dsn: [hunter2]}`, []string{"spec.config.dsn: a literal where"}},
		{"neither", `{dsn: {}}`, []string{"spec.config.dsn: a literal where"}},
		{"both", `{dsn: {env: A, file: /b}}`, []string{"spec.config.dsn: a literal where"}},
		{"null", `{dsn: null}`, []string{"spec.config.dsn: a literal where"}},
		{"bad env", `{dsn: {env: "hunter2!"}}`, []string{"spec.config.dsn: malformed (expected the name of an environment variable)"}},
		{"relative file", `{dsn: {file: hunter2}}`, []string{"spec.config.dsn: malformed (expected an absolute path)"}},
		{"nested literal", `{dsn: {env: A}, nested: {key_file: hunter2}}`, []string{"spec.config.nested: a literal where"}},
		{"unknown", `{dsn: {env: A}, hunter2: x}`, []string{"spec.config: unknown field (expected one of apply_dsn, dsn, labels, nested, sslmode, timeout)"}},
		{"misspelt", `{dns: {env: A}}`, []string{"spec.config.dns: unknown field; did you mean dsn?"}},
		{"type", `{dsn: {env: A}, timeout: hunter2}`, []string{"spec.config.timeout: expected an integer, got text"}},
		{"enum", `{dsn: {env: A}, sslmode: hunter2}`, []string{"spec.config.sslmode: not an allowed value (expected one of disable, require)"}},
		{"minimum", `{dsn: {env: A}, timeout: 0}`, []string{"spec.config.timeout: too small (expected at least 1)"}},
		{"key", `{dsn: {env: A}, labels: {hunter2: a}}`, []string{"spec.config.labels: a malformed key"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			doc := mustDecode(t, "applications/w.yaml", "apiVersion: countersign.dev/v1\nkind: Application\nmetadata: {name: w}\nspec:\n  connector: c\n  owners: [user:a]\n  scope: {}\n  config: "+c.config+"\n")[0]
			errs := checker.Config(doc, []byte(configSchema))
			if len(errs) != len(c.want) {
				t.Fatalf("%d errors, want %d: %v", len(errs), len(c.want), errs)
			}
			for i, e := range errs {
				if !strings.Contains(e.Error(), " "+c.want[i]) || e.Line != 8 {
					t.Errorf("got %s, want %s at line 8", e, c.want[i])
				}
				if strings.Contains(e.Error(), canary) || strings.Contains(e.Error(), "22222") {
					t.Errorf("a value is printed: %s", e)
				}
			}
		})
	}
}

func TestCheckerPayload(t *testing.T) {
	t.Parallel()
	schema := `{"type": "object", "additionalProperties": false, "required": ["login"], "properties": {
		"login": {"type": "boolean"}, "connection_limit": {"type": "integer", "minimum": -1}, "comment": {"type": "string"},
		"valid_until": {"type": "string", "format": "date-time"}}}`
	checker := NewChecker()
	for _, c := range []struct {
		name, payload, schema string
		want                  []string
	}{
		{"good", `{login: true, connection_limit: -1, valid_until: 2027-01-31T00:00:00Z}`, schema, nil},
		{"null", `{login: null, comment: null, connection_limit: }`, schema, nil},
		{"null unknown", `{login: true, super: null}`, schema, []string{"spec.payload: unknown field (expected one of comment, connection_limit, login, valid_until)"}},
		{"missing", `{}`, schema, []string{"spec.payload.login: is missing"}},
		{"types", `{login: yes, connection_limit: -2, comment: 5}`, schema, []string{
			"spec.payload.login: expected true or false, got text", "spec.payload.connection_limit: too small (expected at least -1)", "spec.payload.comment: expected text, got a number; quote it"}},
		{"misspelt", `{login: true, coment: x}`, schema, []string{"spec.payload.coment: unknown field; did you mean comment?"}},
		{"no schema", `{login: true}`, "", []string{"spec.payload: unknown field"}},
		{"no schema, no payload", `{}`, "", nil},
		{"broken schema", `{}`, `{"type": 5}`, []string{"spec.payload: cannot be checked: the connector's schema is broken"}},
		{"no JSON", `{}`, `{`, []string{"spec.payload: cannot be checked"}},
		{"fetching schema", `{}`, `{"$ref": "file:///etc/passwd"}`, []string{"spec.payload: cannot be checked"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			doc := mustDecode(t, "requests/w.yaml", "apiVersion: countersign.dev/v1\nkind: ConnectionCreation\nmetadata: {name: w}\nspec:\n  application: w\n  connection: {type: role, source_name: r}\n  payload: "+c.payload+"\n")[0]
			errs := checker.Payload(doc, []byte(c.schema))
			if len(errs) != len(c.want) {
				t.Fatalf("%d errors, want %d: %v", len(errs), len(c.want), errs)
			}
			for i, e := range errs {
				if !strings.Contains(e.Error(), " "+c.want[i]) || e.Line != 7 {
					t.Errorf("got %s, want %s at line 7", e, c.want[i])
				}
			}
		})
	}
	other := mustDecode(t, schemas.SettingsPath, "apiVersion: countersign.dev/v1\nkind: Settings\nspec: {forge: {kind: local}, owners: [user:a]}\n")[0]
	if len(checker.Payload(other, nil)) == 0 || len(checker.Config(other, nil)) == 0 {
		t.Error("settings pass as something else")
	}
}

func TestCheckerIsConcurrent(t *testing.T) {
	t.Parallel()
	checker := NewChecker()
	doc := mustDecode(t, "requests/w.yaml", "apiVersion: countersign.dev/v1\nkind: ConnectionCreation\nmetadata: {name: w}\nspec:\n  application: w\n  connection: {type: role, source_name: r}\n  payload: {a: 1}\n")[0]
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 100 {
				schema := fmt.Sprintf(`{"properties": {"a": {"type": "string", "maxLength": %d}}}`, (i*j)%(2*maxCheckerSchemas))
				if errs := checker.Payload(doc, []byte(schema)); len(errs) != 1 || doc.At("spec.payload.a").Line != 7 {
					t.Error(errs)
				}
			}
		})
	}
	wg.Wait()
	if len(checker.compiled) > maxCheckerSchemas {
		t.Errorf("%d schemas are kept", len(checker.compiled))
	}
}

func TestCredentialFault(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		key, value string
		want       bool
	}{
		{"host", "db.acme.test", false},
		{"url", "https://user@example.test/?x=1", false},
		{"url", "https://example.test:8443/a@b", false},
		{"url", "https://example.test/login?to=a:b@c", false},
		{"url", "postgres://u:p@h/db", true},
		{"url", "redis://:p@h", true},
		{"note", "host=db password=x", true},
		{"note", "Server=db;Pwd=x", true},
		{"note", "password = x", true},
		{"note", "the password is elsewhere", false},
		{"note", "-----BEGIN RSA PRIVATE KEY-----", true},
		{"note", "ghp_0123456789abcdefghij", true},
		{"note", "token is glpat-0123456789abcdefghij", true},
		{"note", "AKIAIOSFODNN7EXAMPLE", true},
		{"note", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.sig", true},
		{"note", "npm_config", false},
		{"password", "x", true},
		{"client_secret", "x", true},
		{"api-key", "x", true},
		{"token_url", "https://example.test", false},
		{"primary_key", "id", false},
		{"env", "WAREHOUSE_PASSWORD", false},
		{"password", "", false},
	} {
		if got := credentialFault(c.key, c.value) != ""; got != c.want {
			t.Errorf("credentialFault(%q, %q) = %v, want %v", c.key, c.value, got, c.want)
		}
	}
}
