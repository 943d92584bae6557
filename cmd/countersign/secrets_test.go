package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/countersign/countersign/connectors/connectortest/servers"
)

// canary is a word that is in a secret and nowhere else, among characters that encodings change.
const canary = "Kanarienvogel7f3a91"

const (
	canaryPassword = "ü/& '%" + canary + "\"@<:#?"
	// canaryPlain is for places where a quoting mistake is not what is tried.
	canaryPlain = "x-" + canary + "-x"
)

// traces are what the canary becomes in hexadecimal and base64, in lower case. To URLs and JSON it is as it is.
func traces() [][]byte {
	out := [][]byte{[]byte(canary), []byte(hex.EncodeToString([]byte(canary)))}
	for pad := range 3 {
		// In base64 the text before changes the first characters, the text after the last.
		s := base64.RawStdEncoding.EncodeToString([]byte("xxx"[:pad] + canary))
		out = append(out, []byte(s[4:len(s)-2]))
	}
	for i := range out {
		out[i] = bytes.ToLower(out[i])
	}
	return out
}

func traced(b []byte) bool {
	low := bytes.ToLower(b)
	return slices.ContainsFunc(traces(), func(t []byte) bool { return bytes.Contains(low, t) })
}

func TestTraces(t *testing.T) {
	t.Parallel()
	quoted, err := json.Marshal(canaryPassword)
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]string{
		"itself": "a" + canaryPassword + "b", "upper case": strings.ToUpper(canaryPassword), "query": url.QueryEscape(canaryPassword), "path": url.PathEscape(canaryPassword),
		"user": url.UserPassword("u", canaryPassword).String(), "JSON": string(quoted), "Go": strconv.Quote(canaryPassword), "hex": hex.EncodeToString([]byte(canaryPassword)),
		"base64": base64.StdEncoding.EncodeToString([]byte(canaryPassword)), "base64 for URLs": base64.RawURLEncoding.EncodeToString([]byte("a" + canaryPassword)),
		"base64 within": base64.StdEncoding.EncodeToString([]byte("postgres://u:" + canaryPassword + "@h/d")),
	} {
		if !traced([]byte(s)) {
			t.Errorf("the canary goes unseen in %s: %s", name, s)
		}
	}
	if traced([]byte("Kanarienvogel 7f3a91, kanarienvoegel7f3a91")) {
		t.Error("a canary is seen where there is none")
	}
}

const secretsEnv = "TEST_CANARY_DSN"

// secretive are the files of an access repository with one PostgreSQL application.
func secretive(config string) map[string]string {
	return map[string]string{"countersign.yaml": settingsFile, "applications/vault.yaml": vaultFile(config),
		"people.yaml": peopleFile + "    - {login: vera, identities: {vault: [vault_user]}}\n"}
}

func vaultFile(config string) string {
	return `apiVersion: countersign.dev/v1
kind: Application
metadata: {name: vault}
spec:
  connector: postgres
  config: ` + config + `
  owners: [user:bob@acme.test]
  scope: {role: ["vault_r*"]}
  grantable: {user: ["vault_user"]}
`
}

// ownRule returns its complete input.
const ownRule = `package countersign

warn contains {"code": "OWN-1", "msg": sprintf("%v", [input])} if count(input) > 0
`

const ownTest = `package countersign_test

import data.countersign

test_nothing if count(countersign.warn) >= 0
`

func vaultRequest(i int) string {
	return fmt.Sprintf(`apiVersion: countersign.dev/v1
kind: ConnectionCreation
metadata: {name: vault-%[1]d, reason: The vault is read by its readers}
spec:
  application: vault
  connection: {type: role, source_name: vault_r%[1]d}
---
apiVersion: countersign.dev/v1
kind: ConnectionAssignment
metadata: {name: vault-%[1]d-access, reason: The vault is read by its readers}
spec:
  application: vault
  connection: {type: role, source_name: vault_r%[1]d}
  grants:
    - {type: user, source_name: vault_user}
`, i)
}

func formats() []string { return []string{"text", "markdown", "json"} }

// spoken is one command with its output.
type spoken struct {
	command string
	result
}

func (s *spoken) String() string {
	return fmt.Sprintf("countersign %s: exit code %d\n%s%s", s.command, s.code, s.out, s.errors)
}

// speak runs one command and keeps its output.
func (w *world) speak(all *[]spoken, args ...string) *spoken {
	w.t.Helper()
	args = append(args, "--verbose")
	*all = append(*all, spoken{strings.Join(args, " "), w.run(args...)})
	return &(*all)[len(*all)-1]
}

// round takes a request from a branch to the application, runs every command that prints, and
// returns all of it, and how the apply ended. A brief one leaves out commands that print what others print too, from the
// ledger, whose file is searched as well.
func (w *world) round(n int, format, exports string, brief bool) (all []spoken, apply spoken) {
	w.t.Helper()
	run := func(args ...string) spoken { return *w.speak(&all, append(args, "--format", format)...) }
	branch := fmt.Sprint("vault-", n)
	w.now = w.now.Add(time.Hour)
	w.propose(alice(), branch, map[string]string{fmt.Sprintf("requests/vault-%d.yaml", n): vaultRequest(n)})
	run("validate")
	run("preview")
	if !brief {
		run("preview", "--blind")
	}
	w.merge(bob(), "merge", branch, bob())
	run("apply", "--dry-run")
	if !brief {
		run("drift")
	}
	apply = run("apply")
	run("drift", "--enforce")
	run("status")
	run("access")
	run("audit")
	if brief {
		file := filepath.Join(exports, fmt.Sprint(n))
		run("audit", "export", "--as", "jsonl", "--output", file, "--manifest", file+".manifest")
		return all, apply
	}
	run("access", "--identity", "user/vault_user")
	run("audit", "verify")
	run("audit", "entitlements")
	for _, as := range []string{"jsonl", "csv"} {
		file := filepath.Join(exports, fmt.Sprint(n, as))
		run("audit", "export", "--as", as)
		run("audit", "export", "--as", as, "--output", file, "--manifest", file+".manifest")
	}
	run("policy", "rules")
	if format == "json" {
		run("policy", "test")
	}
	return all, apply
}

// silent fails the test if the canary was printed or stored.
func (w *world) silent(all []spoken, folders ...string) {
	w.t.Helper()
	for i := range all {
		if traced([]byte(all[i].String())) {
			w.t.Errorf("the canary was printed: %s", &all[i])
		}
	}
	files := 0
	for _, folder := range append(folders, filepath.Join(w.dir, ".git", "countersign")) {
		err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(path)
			if err == nil && traced(b) {
				w.t.Errorf("%s holds the canary", path)
			}
			files++
			return err
		})
		if err != nil {
			w.t.Error(err)
		}
	}
	if files < 3 {
		w.t.Errorf("%d files were looked at: where are the ledger, the index and the exports?", files)
	}
}

// TestNoSecretIsSeen puts a canary into every place that holds a secret, and where people put one by mistake,
// and makes every command speak, in every format, where all is well and where it is not.
func TestNoSecretIsSeen(t *testing.T) {
	server := servers.PostgreSQL(t)
	server.Exec(t, "postgres", "CREATE DATABASE vault")
	server.Exec(t, "vault", "CREATE ROLE vault_user LOGIN")
	server.Exec(t, "vault", "DO $do$ BEGIN EXECUTE format('CREATE ROLE vault_keeper LOGIN SUPERUSER PASSWORD %L', $p$"+canaryPassword+"$p$); END $do$")
	demandPasswords(t, server, "vault_keeper")

	quote := func(s string) string { return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'" }
	keywords := func(port int, user, password string) string {
		return fmt.Sprintf("host=127.0.0.1 port=%d user=%s password=%s dbname=vault sslmode=disable", port, user, quote(password))
	}
	address := func(host, password string) string {
		return "postgres://" + url.UserPassword("vault_keeper", password).String() + "@" + host + "/vault?sslmode=disable"
	}
	here := fmt.Sprint("127.0.0.1:", server.Port)
	const env, done, failed = "{dsn: {env: " + secretsEnv + "}}", 0, 1
	for i, c := range []struct {
		name, config, dsn, apply string
		// apply is how it ends.
		code int
	}{
		{name: "right", config: env, dsn: keywords(server.Port, "vault_keeper", canaryPassword), code: done},
		{name: "right URL", config: "{dsn: {env: " + secretsEnv + "}, apply_dsn: {file: FILE}}", dsn: address(here, canaryPassword), apply: address(here, canaryPassword), code: done},
		{name: "wrong password", config: env, dsn: keywords(server.Port, "vault_keeper", canaryPlain), code: failed},
		{name: "unreachable", config: env, dsn: keywords(1, "vault_keeper", canaryPassword), code: failed},
		{name: "wrong password for applying", config: "{dsn: {env: " + secretsEnv + "}, apply_dsn: {file: FILE}}", dsn: address(here, canaryPassword), apply: address(here, canaryPlain), code: failed},
		{name: "user and password swapped", config: env, dsn: keywords(server.Port, quote(canaryPlain), "vault_keeper"), code: failed},
		{name: "no such host", config: env, dsn: address(canaryPlain+".invalid", canaryPassword), code: failed},
		{name: "no connection string", config: env, dsn: canaryPassword, code: failed},
		{name: "open quote", config: env, dsn: "host=127.0.0.1 password='" + canaryPlain, code: failed},
		{name: "bad port", config: env, dsn: "postgres://vault_keeper:" + canaryPlain + "/more@" + here + "/vault", code: failed},
		{name: "unescaped", config: env, dsn: "postgres://" + here + "/" + canaryPlain + "@host?sslmode=disable&user=vault_user", code: failed},
		{name: "bad escape", config: env, dsn: "postgres://vault_keeper:%zz" + canaryPlain + "@" + here + "/vault", code: failed},
		{name: "bad setting", config: env, dsn: "host=127.0.0.1 sslmode=" + canaryPlain, code: failed},
		{name: "bad certificate", config: env, dsn: "host=127.0.0.1 sslmode=verify-full sslrootcert=/" + canaryPlain, code: failed},
		{name: "no service", config: env, dsn: "service=" + canaryPlain, code: failed},
		{name: "bad parameter", config: env, dsn: keywords(server.Port, "vault_keeper", canaryPassword) + " datestyle=" + canaryPlain, code: failed},
		{name: "unknown parameter", config: env, dsn: keywords(server.Port, "vault_user", canaryPassword) + " pasword=" + canaryPlain, code: failed},
		{name: "bad file", config: "{dsn: {file: FILE}}", apply: canaryPassword + "\n" + canaryPlain + "\n", code: failed},
		{name: "bad for applying", config: "{dsn: {env: " + secretsEnv + "}, apply_dsn: {file: FILE}}", dsn: address(here, canaryPassword), apply: canaryPassword, code: failed},
	} {
		t.Run(c.name, func(t *testing.T) {
			server.Exec(t, "vault", "DROP ROLE IF EXISTS vault_r1, vault_r2, vault_r3")
			server.Exec(t, "vault", "DROP SCHEMA IF EXISTS countersign CASCADE") // the lease of another ledger's runs
			file := filepath.Join(t.TempDir(), "secret")
			if err := os.WriteFile(file, []byte(c.apply+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			t.Setenv(secretsEnv, c.dsn)
			files := secretive(strings.ReplaceAll(c.config, "FILE", file))
			if c.code == done {
				files["policy/own.rego"], files["policy/own_test.rego"] = ownRule, ownTest
			}
			w := newWorld(t, files)
			exports := t.TempDir()
			formats := formats()
			if i > 3 {
				// Take turns: what goes wrong differs little by format.
				formats = formats[i%3:][:1]
			}
			for n, format := range formats {
				all, apply := w.round(n+1, format, exports, i > 3 && !*long)
				if apply.code != c.code {
					t.Errorf("want exit code %d of %s", c.code, &apply)
				}
				w.silent(all, exports)
			}
		})
	}
}

// TestNoLiteralSecretIsSeen writes a canary into files of the repository, where no secret belongs: it is refused
// where it is proposed, where it is merged all the same and where trust would start with it, and never repeated.
func TestNoLiteralSecretIsSeen(t *testing.T) {
	t.Parallel()
	const dsn = "postgres://vault_keeper:" + canaryPlain + "@127.0.0.1:1/vault"
	inner := strings.ReplaceAll(canaryPlain, "-", " ")
	payload := func(p string) string {
		return strings.Replace(vaultRequest(1), "vault_r1}\n", "vault_r1}\n  payload: "+p+"\n", 1)
	}
	for i, c := range []struct{ name, file, content string }{
		{"URL", "", vaultFile(`{dsn: "` + dsn + `"}`)},
		{"keywords", "", vaultFile(`{dsn: "host=127.0.0.1 password=` + canaryPlain + `"}`)},
		{"secret by another name", "", vaultFile(`{dsn: {secret: "` + inner + `"}}`)},
		{"for a variable", "", vaultFile(`{dsn: {env: "` + inner + `"}}`)},
		{"for a path", "", vaultFile(`{dsn: {file: "` + inner + `"}}`)},
		{"beside a variable", "", vaultFile(`{dsn: {env: A, file: "` + inner + `"}}`)},
		{"in a list", "", vaultFile(`{dsn: ["` + inner + `"]}`)},
		{"as a key", "", vaultFile(`{dsn: {"` + inner + `": x}}`)},
		{"in an unknown field", "", vaultFile(`{dsn: {env: A}, password: "` + inner + `"}`)},
		{"in another field", "", vaultFile(`{dsn: {env: A}, statement_timeout: "` + inner + `"}`)},
		{"twice", "", vaultFile(`{dsn: {env: A}, dsn: "` + inner + `"}`)},
		{"open quote", "", vaultFile(`{dsn: "` + inner)},
		{"no YAML", "", vaultFile("\n    dsn: postgres://" + inner + ": @: [}")},
		{"tag", "", vaultFile("{dsn: !" + canaryPlain + " x}")},
		{"binary", "", vaultFile(`{dsn: !!binary ` + base64.StdEncoding.EncodeToString([]byte(inner)) + `}`)},
		{"anchor", "", vaultFile("{dsn: &" + canaryPlain + " x}")},
		{"payload", "requests/vault-1.yaml", payload(`{password: "` + inner + `"}`)},
		{"payload's text", "requests/vault-1.yaml", payload(`{comment: "password=` + canaryPlain + `"}`)},
		{"payload's URL", "requests/vault-1.yaml", payload(`{comment: "` + dsn + `"}`)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			file := c.file
			if file == "" {
				file = "applications/vault.yaml"
			}
			formats := formats()
			// Proposed, then merged with an approval.
			w := newWorld(t, secretive("{dsn: {env: TEST_CANARY_NOT_SET}}"))
			w.propose(alice(), "literal", map[string]string{file: c.content})
			var all []spoken
			for _, format := range formats {
				for _, command := range []string{"validate", "preview"} {
					if s := w.speak(&all, command, "--format", format); s.code != 1 {
						t.Errorf("want exit code 1 of %s", s)
					}
				}
			}
			w.merge(carol(), "merge", "literal", carol())
			exports := t.TempDir()
			round, _ := w.round(2, formats[i%3], exports, i > 0 && !*long)
			w.silent(append(all, round...), exports)

			// The commit that trust would start with.
			files := secretive("{dsn: {env: TEST_CANARY_NOT_SET}}")
			files[file] = c.content
			w, all = newWorld(t, files), nil
			for _, command := range []string{"validate", "apply", "drift", "status", "access"} {
				if s := w.speak(&all, command, "--format", formats[i%3]); s.code != 1 {
					t.Errorf("want exit code 1 of %s", s)
				}
			}
			w.silent(all)
		})
	}
}

// demandPasswords makes the server want a password from a role.
func demandPasswords(t *testing.T, s *servers.Postgres, role string) {
	t.Helper()
	file := filepath.Join(filepath.Dir(s.Log), "data", "pg_hba.conf")
	rules, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if err == nil {
		err = os.WriteFile(file, append([]byte("host all "+role+" 127.0.0.1/32 scram-sha-256\n"), rules...), info.Mode())
	}
	if err != nil {
		t.Fatal(err)
	}
	s.Exec(t, "postgres", "SELECT pg_reload_conf()")
	// The server reads it when it gets to it.
	for {
		conn, err := pgx.Connect(t.Context(), s.DSN(role, "postgres"))
		if err != nil {
			return
		}
		if err := conn.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
