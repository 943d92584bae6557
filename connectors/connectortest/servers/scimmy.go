package servers

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// SCIM is a SCIM server with many applications: each is created at its first request.
type SCIM struct {
	// Address is host:port.
	Address string
	// Token has all rights.
	Token string
	// Password is the password of the user planner, who has all rights too.
	Password string
}

// URL returns the root of an application's API.
func (s *SCIM) URL(application string) string {
	return "http://" + s.Address + "/" + application + "/scim"
}

// SCIMMY starts a server that runs a program on the npm packages scimmy-routers and express, and stops with the test.
// The program's arguments are the folder of the packages, a file for its port, the token and the password.
func SCIMMY(t TB, script string) *SCIM {
	t.Helper()
	node := program(t, "node")
	packages := filepath.Join(root(t), ".ci", "npm")
	if _, err := os.Stat(filepath.Join(packages, "node_modules", "scimmy-routers")); err != nil {
		t.Fatal("scimmy-routers is not installed: run .ci/test, which installs what the tests need")
	}
	script, err := filepath.Abs(script)
	if err != nil {
		t.Fatal(err)
	}
	dir := folder(t, "")
	port := filepath.Join(dir, "port")
	s := &SCIM{Token: rand.Text(), Password: rand.Text()}
	background(t, command(t, "", dir, node, script, packages, port, s.Token, s.Password), func(ctx context.Context) error {
		b, err := os.ReadFile(port)
		if err != nil {
			return err
		}
		s.Address = "127.0.0.1:" + strings.TrimSpace(string(b))
		// The token proves that this server answers.
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL("ready")+"/Users", nil)
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+s.Token)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		if err := resp.Body.Close(); err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("the server answers with the status %d", resp.StatusCode)
		}
		return nil
	})
	return s
}

// root is the repository's top folder.
func root(t TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("the tests run outside of the repository")
		}
	}
}
