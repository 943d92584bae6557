package github

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/countersign/countersign/reconciler/forge"
	"github.com/countersign/countersign/schemas"
	"github.com/countersign/countersign/schemas/strict"
)

// starter writes what a repository at GitHub needs beside its control files.
type starter struct{}

var _ forge.Starter = starter{}

// workflows are the workflow files that a new repository gets.
//
//go:embed starter/*.yml
var workflows embed.FS

// Files returns CODEOWNERS, a ruleset to import, and the workflows.
func (starter) Files(dir string) ([]forge.File, error) {
	owners, err := codeowners(dir)
	if err != nil {
		return nil, err
	}
	rules, err := json.MarshalIndent(ruleset(), "", "  ")
	if err != nil {
		return nil, err
	}
	ledger, err := json.MarshalIndent(ledgerRuleset(), "", "  ")
	if err != nil {
		return nil, err
	}
	out := []forge.File{{Path: codeownersPath, Content: owners}, {Path: ".github/countersign-ruleset.json", Content: string(rules) + "\n"},
		{Path: ledgerRulesetPath, Content: string(ledger) + "\n"}}
	for _, name := range []string{"preview", "review", "apply", "drift"} {
		file := "countersign-" + name + ".yml"
		content, err := workflows.ReadFile("starter/" + file)
		if err != nil {
			return nil, err
		}
		out = append(out, forge.File{Path: ".github/workflows/" + file, Content: string(content)})
	}
	return out, nil
}

// Settings returns countersign.yaml.
func (starter) Settings(repository string) string {
	return `apiVersion: countersign.dev/v1
kind: Settings
spec:
  branch: main
  forge:
    kind: github
    repository: ` + repository + `
    # The account whose previews are evidence of what reviewers saw. As github-actions[bot] every workflow of the
    # repository can speak: make a GitHub App of your own, and write its account here, as my-app[bot].
    publisher: github-actions[bot]
  owners: [user:carol]                  # sign off changes of settings, applications, people and policy
  limits: {revokes: 50, deletions: 5}   # removals that no approved document names, per application and run
`
}

// NextSteps returns what is left to do.
func (starter) NextSteps() string {
	return `
Next: put your own people, owners and application in these files, then
  countersign validate
  git add . && git commit -m "Begin access as code" && git push
On GitHub:
  import .github/countersign-ruleset.json (Settings, Rules, Rulesets, Import a ruleset)
  import .github/countersign-ledger-ruleset.json too, and put the App on its bypass list
  put the ledger's private key into the environment access-apply, as the secret
  COUNTERSIGN_LEDGER_KEY (on this machine it is in ledger.key, see above)
  make the environments access-preview and access-apply, for the default branch alone, with their secrets
  pin the action in .github/workflows to a commit, and set forge.publisher to the account that publishes previews
  countersign doctor        lists what is left to do
`
}

// codeowners lists whom GitHub asks, from the settings' and the applications' owners. It is advice: policy decides who
// must sign off.
func codeowners(dir string) (string, error) {
	settings, apps := []string{"user:carol"}, map[string][]string{}
	read := func(path string) ([]schemas.Document, error) {
		b, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(path)))
		if errors.Is(err, os.ErrNotExist) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		docs, errs := strict.Decode(path, b)
		return docs, errs.Err()
	}
	docs, err := read(schemas.SettingsPath)
	if err != nil {
		return "", err
	}
	for _, d := range docs {
		if s, ok := d.Value.(*schemas.Settings); ok {
			settings = s.Spec.Owners
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "applications", "*.yaml"))
	if err != nil {
		return "", err
	}
	var everybody []string
	for _, f := range files {
		path := "applications/" + filepath.Base(f)
		docs, err := read(path)
		if err != nil {
			return "", err
		}
		for _, d := range docs {
			if v, ok := d.Value.(*schemas.Application); ok {
				apps[path] = v.Spec.Owners
				everybody = append(everybody, v.Spec.Owners...)
			}
		}
	}
	var b strings.Builder
	b.WriteString(`# The reviewers that GitHub requests. countersign's policy decides who must sign off, and the preview requests those
# people; this file only makes sure that every path has an owner. The last match wins.
`)
	line := func(pattern string, owners []string) { fmt.Fprintf(&b, "%-32s %s\n", pattern, handles(owners)) }
	line("*", settings)
	if len(everybody) > 0 {
		line("/requests/", everybody)
	}
	for _, f := range files {
		path := "applications/" + filepath.Base(f)
		line("/"+path, append(slices.Clone(settings), apps[path]...))
	}
	return b.String(), nil
}

// handles are principals as CODEOWNERS has them.
func handles(principals []string) string {
	var out []string
	for _, p := range principals {
		kind, name, _ := strings.Cut(p, ":")
		if kind == "user" && strings.Contains(name, "@") {
			out = append(out, name)
		} else {
			out = append(out, "@"+name)
		}
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), " ")
}

// ledgerRulesetPath is the file of the rules for the branches of the ledger and its lease.
const ledgerRulesetPath = ".github/countersign-ledger-ruleset.json"

// ledgerRuleset closes the branches of the ledger to everybody. The App's number isn't known here,
// so people put it on the bypass list when they import it.
func ledgerRuleset() map[string]any {
	type m = map[string]any
	return m{"name": "countersign ledger", "target": "branch", "enforcement": "active", "bypass_actors": []any{},
		"conditions": m{"ref_name": m{"include": []string{"refs/heads/" + forge.LedgerBranch + "*"}, "exclude": []string{}}},
		"rules":      []any{m{"type": "creation"}, m{"type": "update"}, m{"type": "deletion"}, m{"type": "non_fast_forward"}}}
}

// ruleset is what Settings, Rules, Rulesets, Import takes.
func ruleset() map[string]any {
	type m = map[string]any
	return m{"name": "countersign", "target": "branch", "enforcement": "active", "bypass_actors": []any{},
		"conditions": m{"ref_name": m{"include": []string{"~DEFAULT_BRANCH"}, "exclude": []string{}}},
		"rules": []any{
			m{"type": "deletion"},
			m{"type": "non_fast_forward"},
			m{"type": "pull_request", "parameters": m{"required_approving_review_count": 1, "dismiss_stale_reviews_on_push": true, "require_code_owner_review": false,
				"require_last_push_approval": true, "required_review_thread_resolution": false, "allowed_merge_methods": []string{"merge", "squash"}}},
			m{"type": "required_status_checks", "parameters": m{"strict_required_status_checks_policy": false, "do_not_enforce_on_create": false,
				"required_status_checks": []any{m{"context": "countersign/policy"}, m{"context": "countersign/sign-off"}}}},
		}}
}
