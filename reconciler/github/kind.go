package github

import (
	"fmt"
	"os"
	"strconv"

	"github.com/countersign/countersign/reconciler/forge"
)

// Kind returns GitHub as a kind of forge.
func Kind() forge.Kind {
	return forge.Kind{Name: "github", Title: "GitHub", Open: open, Job: newJob, Starter: starter{}}
}

var _ forge.Forge = (*Client)(nil)

// The environment variables that name GitHub's address and the credentials.
const (
	envToken        = "GITHUB_TOKEN"
	envAPI          = "GITHUB_API_URL"
	envServer       = "GITHUB_SERVER_URL"
	envApp          = "COUNTERSIGN_APP_ID"
	envInstallation = "COUNTERSIGN_APP_INSTALLATION_ID"
	envKey          = "COUNTERSIGN_APP_PRIVATE_KEY"
	envKeyFile      = "COUNTERSIGN_APP_PRIVATE_KEY_FILE"
)

// EnvironmentHelp lists the environment variables, for help pages.
const EnvironmentHelp = `
On GitHub, the token comes from GITHUB_TOKEN, or an App's identity from
COUNTERSIGN_APP_ID, COUNTERSIGN_APP_INSTALLATION_ID and
COUNTERSIGN_APP_PRIVATE_KEY (or _FILE). GITHUB_API_URL and GITHUB_SERVER_URL
name a GitHub Enterprise Server.`

// open returns a client by the environment.
func open(in forge.Config) (forge.Forge, error) {
	c := Config{Repository: in.Repository, URL: in.Getenv(envAPI), ServerURL: in.Getenv(envServer), Now: in.Now, Logger: in.Logger}
	id := in.Getenv(envApp)
	if id == "" {
		if c.Token = in.Getenv(envToken); c.Token == "" {
			return nil, fmt.Errorf("the forge is GitHub: set %s (gh auth token prints yours), or %s, %s and %s for an App", envToken, envApp, envInstallation, envKey)
		}
		return opened(New(c))
	}
	c.App = &App{Key: []byte(in.Getenv(envKey))}
	var err error
	if c.App.ID, err = strconv.ParseInt(id, 10, 64); err != nil {
		return nil, fmt.Errorf("%s: not a number", envApp)
	}
	if c.App.Installation, err = strconv.ParseInt(in.Getenv(envInstallation), 10, 64); err != nil {
		return nil, fmt.Errorf("%s: not a number: copy it from the address of the installation's settings", envInstallation)
	}
	if file := in.Getenv(envKeyFile); file != "" {
		if c.App.Key, err = os.ReadFile(file); err != nil {
			return nil, fmt.Errorf("%s: %w", envKeyFile, err)
		}
	}
	return opened(New(c))
}

// opened keeps a missing client from becoming a Forge that is not nil.
func opened(c *Client, err error) (forge.Forge, error) {
	if err != nil {
		return nil, err
	}
	return c, nil
}
