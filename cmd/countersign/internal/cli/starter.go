package cli

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/examples"
	"github.com/countersign/countersign/schemas"
	"github.com/countersign/countersign/schemas/strict"
)

type starterFile struct{ path, content string }

// beginning returns the first application file, with APPLICATION for its name, and its default name. what is a connector,
// or an application with an example.
func beginning(registry connectors.Registry, what string) (body, name string, err error) {
	switch what {
	case "casbin":
		return starterCasbin, "authz", nil
	case "postgres":
		what, name = "postgresql", "warehouse"
	}
	if _, ok := registry.Get(what); ok && !slices.Contains(examples.Names(), what) {
		var of []string
		for _, n := range examples.Names() {
			docs, err := exampleOf(n)
			if err != nil {
				return "", "", err
			}
			if docs.Spec.Connector == what {
				of = append(of, n)
			}
		}
		switch len(of) {
		case 0:
			return fmt.Sprintf(starterOther, what), what, nil
		case 1:
			what = of[0]
		default:
			return "", "", fmt.Errorf("--connector %s: name the application instead: %s", what, strings.Join(of, ", "))
		}
	}
	b, err := examples.Application(what)
	if err != nil {
		return "", "", fmt.Errorf("--connector %s: unknown; the connectors are %s; there are examples for %s", what, strings.Join(registry.Names(), ", "), strings.Join(examples.Names(), ", "))
	}
	if name == "" {
		name = what
	}
	body = strings.Replace(string(b), "metadata: {name: "+what+"}", "metadata: {name: APPLICATION}", 1)
	// The example's owners are another organisation's team; those of a new repository are in people.yaml. A privileged
	// change needs two.
	return exampleOwners.ReplaceAllString(body, "owners: [user:bob@acme.test, user:dave@acme.test]"), name, nil
}

var exampleOwners = regexp.MustCompile(`owners: \[[^\]]*\]`)

// exampleOf decodes an example.
func exampleOf(name string) (*schemas.Application, error) {
	b, err := examples.Application(name)
	if err != nil {
		return nil, err
	}
	docs, list := strict.Decode("applications/"+name+".yaml", b)
	if err := list.Err(); err != nil {
		return nil, err
	}
	app, ok := docs[0].Value.(*schemas.Application)
	if !ok {
		return nil, fmt.Errorf("the example %s is not an Application", name)
	}
	return app, nil
}

func starter(body, name string) []starterFile {
	files := []starterFile{
		{"countersign.yaml", starterSettings},
		{"people.yaml", strings.ReplaceAll(starterPeople, "APPLICATION", name)},
		{"policy/data.yaml", starterData},
		{"requests/README.md", starterRequests},
		{"applications/" + name + ".yaml", strings.ReplaceAll(body, "APPLICATION", name)},
	}
	if body == starterCasbin {
		files = append(files, starterFile{".gitignore", "# The store is the live application, not a request.\n/" + name + "/policy.csv*\n"})
	}
	slices.SortFunc(files, func(a, b starterFile) int { return strings.Compare(a.path, b.path) })
	return files
}

const starterSettings = `apiVersion: countersign.dev/v1
kind: Settings
spec:
  branch: main
  forge: {kind: local}
  # For trials only: an Approved-by trailer in the merge commit counts without authentication.
  # For real use: signoff: signed, and allowed_signers: the file with your reviewers' SSH keys.
  signoff: unauthenticated
  owners: [user:carol@acme.test]        # sign off changes to settings, applications, people and policy
  limits: {revokes: 50, deletions: 5}   # removals that no approved document names, per application and run
`

const starterPeople = `apiVersion: countersign.dev/v1
kind: People
spec:
  people:
    - {login: alice, emails: [alice@acme.test], identities: {APPLICATION: [alice]}}
    - {login: bob, emails: [bob@acme.test], identities: {APPLICATION: [bob]}}
    - {login: carol, emails: [carol@acme.test]}
    - {login: dave, emails: [dave@acme.test], identities: {APPLICATION: [dave]}}
`

const starterCasbin = `apiVersion: countersign.dev/v1
kind: Application
metadata: {name: APPLICATION}
spec:
  connector: casbin
  config: {policy: APPLICATION/policy.csv}    # a Casbin policy file; here, in this folder
  owners: [user:bob@acme.test]
  scope: {role: ["*"]}                  # which roles countersign manages
  grantable: {user: ["*"], object: ["*"]}
  mode: observe                         # observe, then add, then full
`

// starterOther is for connectors without an example, such as one in a separate program.
const starterOther = `apiVersion: countersign.dev/v1
kind: Application
metadata: {name: APPLICATION}
spec:
  connector: %s
  config: {}                            # countersign schema NAME lists the settings
  owners: [user:bob@acme.test]
  scope: {group: ["sales-*"]}           # nothing outside is ever changed
  grantable: {user: ["*"]}
  mode: observe                         # observe, then add, then full
`

const starterData = `# Data that tunes the built-in rules; countersign policy rules lists them.
blast_radius: {warn: 20, two: 100}
`

const starterRequests = "# Requests\n\nOne file per request, for example `2026/11/23/sales-reader.yaml`. Deleting a file undoes it.\n"
