package connectors_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/connectors"
)

const boundSchema = `{"type": "object", "additionalProperties": false, "required": ["url"], "properties": {
  "url": {"type": "string"},
  "mode": {"enum": ["fast", "safe"], "default": "safe"},
  "token": {"x-secret": true},
  "apply_token": {"x-secret": true},
  "size": {"type": "integer", "minimum": 1, "maximum": 10, "default": 3},
  "timeout": {"type": "string", "pattern": "^[0-9]+(ms|s)$", "default": "30s"},
  "settle": {"type": "string", "default": "0s"},
  "names": {"type": "array", "maxItems": 2, "items": {"type": "string", "minLength": 2}},
  "fold": {"type": "boolean"},
  "oauth": {"$ref": "#/$defs/oauth"}},
 "$defs": {"oauth": {"type": "object", "additionalProperties": false, "required": ["secret"], "properties": {
  "secret": {"x-secret": true}, "grant": {"type": "string", "default": "client"}}}}}`

type boundSettings struct {
	URL     connectors.Address `json:"url"`
	Mode    string             `json:"mode"`
	Plan    boundCredential    `prefix:""`
	Apply   boundCredential    `prefix:"apply_"`
	Size    int32              `json:"size"`
	Timeout time.Duration      `json:"timeout"`
	Settle  time.Duration      `json:"settle" zero:"ok"`
	Names   []string           `json:"names"`
	Fold    *bool              `json:"fold"`
	OAuth   *boundOAuth        `json:"oauth"`
}

type boundCredential struct {
	Token connectors.Secret `json:"token"`
}

type boundOAuth struct {
	Secret connectors.Secret `json:"secret"`
	Grant  string            `json:"grant"`
}

func TestBind(t *testing.T) {
	t.Parallel()
	fold := true
	token, secret := connectors.NewSecret("t0ken"), connectors.NewSecret("caf\xe9")
	var got boundSettings
	err := connectors.Bind(connectors.Config{Values: map[string]any{"url": "https://example.test/x", "apply_token": token, "size": 7.0, "names": []string{"ab"},
		"fold": true, "oauth": map[string]any{"secret": secret}, "mode": nil}}, json.RawMessage(boundSchema), &got)
	if err != nil {
		t.Fatal(err)
	}
	want := boundSettings{URL: "https://example.test/x", Mode: "safe", Apply: boundCredential{token}, Size: 7, Timeout: 30 * time.Second, Names: []string{"ab"}, Fold: &fold,
		OAuth: &boundOAuth{secret, "client"}}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b connectors.Secret) bool { return a.Reveal() == b.Reveal() })); diff != "" {
		t.Errorf("Bind() differs (-want +got):\n%s", diff)
	}
}

// Every error names the field and what is expected, and none repeats a value.
func TestBindRefuses(t *testing.T) {
	t.Parallel()
	const canary = "hunter2-canary"
	secret := connectors.NewSecret(canary)
	for name, tt := range map[string]struct {
		values map[string]any
		want   string
	}{
		"nothing":            {nil, "config.url: required"},
		"unknown":            {map[string]any{canary: canary}, "config: unknown setting"},
		"wrong type":         {map[string]any{"size": canary}, "config.size: wrong form (expected integer)"},
		"too large":          {map[string]any{"size": 11}, "config.size: wrong form (expected at most 10)"},
		"a fraction":         {map[string]any{"size": 1.5}, "config.size: wrong form (expected integer)"},
		"none of them":       {map[string]any{"mode": canary}, `config.mode: wrong form (expected one of "fast", "safe")`},
		"pattern":            {map[string]any{"timeout": canary}, "config.timeout: wrong form (expected text that matches"},
		"no time":            {map[string]any{"url": "https://example.test", "timeout": "0s"}, "config.timeout: wrong form (expected a duration"},
		"a password in it":   {map[string]any{"url": "https://u:" + canary + "@example.test"}, "config.url: wrong form (expected https://HOST/PATH"},
		"plain http":         {map[string]any{"url": "http://example.test"}, "config.url: wrong form"},
		"text for a secret":  {map[string]any{"token": canary}, "config.token: wrong form (expected a reference to a secret"},
		"a secret for text":  {map[string]any{"mode": secret}, "config.mode: wrong form"},
		"an empty secret":    {map[string]any{"url": "https://example.test", "token": connectors.NewSecret("")}, "config.token: the secret is empty"},
		"an item":            {map[string]any{"names": []any{"ab", "c"}}, "config.names[1]: wrong form (expected at least 2 characters)"},
		"within":             {map[string]any{"oauth": map[string]any{"grant": "x"}}, "config.oauth.secret: required"},
		"several at a time":  {map[string]any{"size": 0, "mode": "x"}, "; config.size: wrong form"},
		"a secret's imitate": {map[string]any{"url": "https://example.test", "token": map[string]any{"countersign: a secret": true}}, "config.token: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var s boundSettings
			err := connectors.Bind(connectors.Config{Values: tt.values}, json.RawMessage(boundSchema), &s)
			if connectors.CodeOf(err) != connectors.Invalid || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), canary) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// A struct that hasn't what the schema has is a fault of the program, not of the config.
func TestBindDisagrees(t *testing.T) {
	t.Parallel()
	for want, into := range map[string]any{
		"config.a is not in the settings": &struct{}{},
		"config.b is not in the schema": &struct {
			A int    `json:"a"`
			B string `json:"b"`
		}{},
		"config.a is integer in the schema": &struct {
			A bool `json:"a"`
		}{},
		"config.a is a secret in one of them": &struct {
			A connectors.Secret `json:"a"`
		}{},
	} {
		err := connectors.Bind(connectors.Config{}, json.RawMessage(`{"type": "object", "properties": {"a": {"type": "integer"}}}`), into)
		var typed *connectors.Error
		if err == nil || errors.As(err, &typed) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, content := range map[string]string{"none.pem": "no certificate", "ca.pem": testAuthority} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	outside := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(outside, []byte(testAuthority), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "link.pem")); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, file, plain, want string
	}{
		{"the system's", "", "", ""},
		{"the system's, unused", "", "TLS is off", ""},
		{"within the repository", "ca.pem", "", ""},
		{"absolute", outside, "", ""},
		{"without TLS", "ca.pem", "TLS is off", "config.ca_file: TLS is off"},
		{"above the repository", "../ca.pem", "", "outside the access repository (expected an absolute path, or one within it)"},
		{"a link out of it", "link.pem", "", "cannot be read"},
		{"missing", "missing.pem", "", "cannot be read"},
		{"no certificate", "none.pem", "", "no certificate"},
	} {
		got, err := connectors.Config{Directory: dir}.TLS(connectors.CAFile(tt.file), tt.plain)
		switch {
		case tt.want != "":
			if connectors.CodeOf(err) != connectors.Invalid || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
			}
		case err != nil:
			t.Errorf("%s: %v", tt.name, err)
		case (got.RootCAs != nil) != (tt.file != ""):
			t.Errorf("%s: authorities %v, want the system's only without a file", tt.name, got.RootCAs)
		}
	}
}

const testAuthority = `-----BEGIN CERTIFICATE-----
MIIBjTCCATOgAwIBAgIUD+rw2G+Wyuc57EdNatz3vEqWcwUwCgYIKoZIzj0EAwIw
GzEZMBcGA1UEAwwQY291bnRlcnNpZ24gdGVzdDAgFw0yNjExMzAxMTMyMjVaGA8y
MTI2MTEwNjExMzIyNVowGzEZMBcGA1UEAwwQY291bnRlcnNpZ24gdGVzdDBZMBMG
ByqGSM49AgEGCCqGSM49AwEHA0IABERBPlFnnJ9dyjIol5V/ugtWYJbYPFr4PDTZ
ymlkhE2LYd2sWHHkrHzdsfc8YNatOckPqR7PccFp3GUi/1CU3yujUzBRMB0GA1Ud
DgQWBBSbyWjHdV2KSXbYD83TGMi8NCmwZzAfBgNVHSMEGDAWgBSbyWjHdV2KSXbY
D83TGMi8NCmwZzAPBgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0gAMEUCIFNd
TALWwBoIiHD9F2J7MJvwiOpYhnXlDoAbdz5vPdiIAiEAhdnDHqDlFWljXCpF6GM/
fBX6CUWQO++rm+WZXcqlVVI=
-----END CERTIFICATE-----
`
