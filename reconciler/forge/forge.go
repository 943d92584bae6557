package forge

import (
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/countersign/countersign/reconciler/history"
	"github.com/countersign/countersign/schemas"
)

// Forge is one repository at a forge. It is safe for concurrent use. Those who need only a part of it declare the part:
// PullRequests, Reviews, Previews, Outcomes, Topics, Webhooks, Doctor or Heads.
type Forge interface {
	// Remote returns where the repository is cloned from, with the credentials for it.
	Remote() history.Remote
	// Evidence opens the evidence of reviews for one pass over the branch, by the settings as the base has them. It
	// refuses settings that name another repository.
	Evidence(schemas.SettingsSpec) (Evidence, error)
	// Tickets returns the issues that an account opened to ask for work.
	Tickets(account string) Tickets

	PullRequests
	Reviews
	Previews
	Outcomes
	Topics
	Webhooks
	Doctor
	Heads
}

// Config configures a Forge. Address and credentials come from the environment, never from a file in Git: a pull request
// could send a token elsewhere.
type Config struct {
	// Repository is the repository's full name, such as owner/name. Required.
	Repository string
	// Getenv reads an environment variable. Required.
	Getenv func(string) string
	// Now is the clock; nil is the system's.
	Now func() time.Time
	// Logger takes diagnostics; nil discards them.
	Logger *slog.Logger
}

// Kind describes one kind of forge.
type Kind struct {
	// Name is the value of forge.kind in the settings, such as github. Title is its name in messages, such as GitHub.
	Name, Title string
	// Open opens a repository. It makes no request.
	Open func(Config) (Forge, error)
	// Job returns the CI job of this forge that the program runs in; nil for a forge without CI. Outside of
	// such a job its methods do nothing.
	Job func(getenv func(string) string) Job
	// Starter writes the files of a new access repository; nil where there are none.
	Starter Starter
}

// Kinds are the kinds of forges that settings may name. The first is the default.
type Kinds []Kind

// Named returns the kind with a name.
func (k Kinds) Named(name string) (Kind, error) {
	var names []string
	for _, one := range k {
		if one.Name == name {
			return one, nil
		}
		names = append(names, one.Name)
	}
	return Kind{}, fmt.Errorf("unknown forge %q (expected %s)", name, strings.Join(names, " or "))
}
