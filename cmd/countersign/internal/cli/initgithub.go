package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/countersign/countersign/schemas"
	"github.com/countersign/countersign/schemas/strict"
)

// githubFiles are what a repository at GitHub needs beside its control files.
func (a *app) githubFiles() ([]starterFile, error) {
	owners, err := a.codeowners()
	if err != nil {
		return nil, err
	}
	rules, err := json.MarshalIndent(ruleset(), "", "  ")
	if err != nil {
		return nil, err
	}
	return []starterFile{
		{".github/CODEOWNERS", owners},
		{".github/countersign-ruleset.json", string(rules) + "\n"},
		{".github/workflows/countersign-preview.yml", workflowPreview},
		{".github/workflows/countersign-review.yml", workflowReview},
		{".github/workflows/countersign-apply.yml", workflowApply},
		{".github/workflows/countersign-drift.yml", workflowDrift},
	}, nil
}

// codeowners writes who GitHub asks, from the settings' and the applications' owners. It is advice: who must sign off
// is what policy says.
func (a *app) codeowners() (string, error) {
	settings, apps := []string{"user:carol"}, map[string][]string{}
	read := func(path string) ([]schemas.Document, error) {
		b, err := os.ReadFile(filepath.Join(a.repo, filepath.FromSlash(path)))
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
	files, err := filepath.Glob(filepath.Join(a.repo, "applications", "*.yaml"))
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
	b.WriteString(`# Whom GitHub asks for a review. Who must sign off is what countersign's policy says, and the preview asks them by
# itself: this file only keeps a path without an owner from being one that anybody may merge. The last match wins.
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

const usesAction = `countersign/countersign@v1 # pin it: the full hash of a commit of it that you have looked at`

const workflowPreview = `# Says at a pull request what it would change, what policy says, and who must still approve.
name: countersign preview

on:
  # The workflow of the base runs, never the one that a pull request brings. Nothing of the pull request is checked
  # out or executed: countersign reads what it changes as data.
  pull_request_target:
    types: [opened, synchronize, reopened, edited, ready_for_review, labeled]
  # A review came (see countersign-review.yml): the sign-offs are counted anew.
  workflow_run:
    workflows: [countersign review]
    types: [completed]
  # In a merge queue the statuses have to be on the queue's own commit.
  merge_group:

permissions: {}

# A newer push ends the preview of the older one.
concurrency:
  group: countersign-preview-${{ github.event.pull_request.number || github.event.workflow_run.head_sha || github.ref }}
  cancel-in-progress: true

jobs:
  preview:
    # A pull request from a fork gets this job only when a maintainer sets the label, for exactly the commit looked at.
    if: >-
      github.event_name != 'pull_request_target'
      || github.event.action != 'labeled' && github.event.pull_request.head.repo.full_name == github.repository
      || github.event.action == 'labeled' && github.event.label.name == 'countersign-preview'
    runs-on: ubuntu-latest
    timeout-minutes: 15
    # Its secrets are those that may only read the applications. Restrict it to the default branch.
    environment: access-preview
    permissions:
      contents: read        # the clone
      pull-requests: write  # the comment, labels and review requests
      checks: write         # the check run with annotations
      statuses: write       # countersign/policy, countersign/sign-off and countersign/preview
    steps:
      - uses: actions/checkout@11bd71901bbe5b1630ceea73d27597364c9af683 # v4.2.2
        with:
          ref: ${{ github.event.repository.default_branch }}
          fetch-depth: 0
          persist-credentials: false
      - uses: ` + usesAction + `
        with:
          mode: preview
          app-id: ${{ vars.COUNTERSIGN_APP_ID }}
          app-installation-id: ${{ vars.COUNTERSIGN_APP_INSTALLATION_ID }}
          app-private-key: ${{ secrets.COUNTERSIGN_APP_PRIVATE_KEY }}
        env:
          # What applications/*.yaml refer to with {env: NAME}: the credentials that may only read.
          WAREHOUSE_PLAN_DSN: ${{ secrets.WAREHOUSE_PLAN_DSN }}

  # From a fork: without live state and without a secret. Approvals count only after the full preview.
  outside:
    if: >-
      github.event_name == 'pull_request_target' && github.event.action != 'labeled'
      && github.event.pull_request.head.repo.full_name != github.repository
    runs-on: ubuntu-latest
    timeout-minutes: 15
    permissions:
      contents: read
      pull-requests: write
      checks: write
      statuses: write
    steps:
      - uses: actions/checkout@11bd71901bbe5b1630ceea73d27597364c9af683 # v4.2.2
        with:
          ref: ${{ github.event.repository.default_branch }}
          fetch-depth: 0
          persist-credentials: false
      - uses: ` + usesAction + `
        with:
          mode: preview
`

const workflowReview = `# A review came or was taken back. This runs what the pull request's own branch says, and so has no permission and no
# secret: it only wakes countersign-preview.yml, which runs what the base says.
name: countersign review

on:
  pull_request_review:
    types: [submitted, edited, dismissed]

permissions: {}

jobs:
  heard:
    runs-on: ubuntu-latest
    timeout-minutes: 1
    steps:
      - run: echo heard
`

const workflowApply = `# Carries out what was merged and signed off, reads it back, and tells the pull request.
name: countersign apply

on:
  push:
    branches: [main]

permissions: {}

# One at a time, and none is cut short.
concurrency:
  group: countersign-apply
  cancel-in-progress: false

jobs:
  apply:
    runs-on: ubuntu-latest
    timeout-minutes: 60
    # Its secrets may change the applications. Restrict it to the default branch.
    environment: access-apply
    permissions:
      contents: write       # the ledger's branch, countersign/ledger, and comments on quarantined commits
      pull-requests: write  # the receipt
      issues: write         # what is quarantined, what drifted
      deployments: write    # the deployment status of the environment access
    steps:
      - uses: actions/checkout@11bd71901bbe5b1630ceea73d27597364c9af683 # v4.2.2
        with:
          fetch-depth: 0
          persist-credentials: false
      - uses: ` + usesAction + `
        with:
          mode: apply
          app-id: ${{ vars.COUNTERSIGN_APP_ID }}
          app-installation-id: ${{ vars.COUNTERSIGN_APP_INSTALLATION_ID }}
          app-private-key: ${{ secrets.COUNTERSIGN_APP_PRIVATE_KEY }}
        env:
          WAREHOUSE_PLAN_DSN: ${{ secrets.WAREHOUSE_PLAN_DSN }}
          WAREHOUSE_APPLY_DSN: ${{ secrets.WAREHOUSE_APPLY_DSN }}
`

const workflowDrift = `# Holds the live applications against what was admitted: one issue for each application that differs.
name: countersign drift

on:
  schedule:
    - cron: "*/30 * * * *"
  workflow_dispatch:

permissions: {}

concurrency:
  group: countersign-apply
  cancel-in-progress: false

jobs:
  drift:
    runs-on: ubuntu-latest
    timeout-minutes: 60
    environment: access-preview
    permissions:
      contents: read   # write when it enforces (input enforce: true): what it does goes into the ledger's branch
      issues: write    # the issue of each application's drift
    steps:
      - uses: actions/checkout@11bd71901bbe5b1630ceea73d27597364c9af683 # v4.2.2
        with:
          fetch-depth: 0
          persist-credentials: false
      - uses: ` + usesAction + `
        with:
          mode: drift
          app-id: ${{ vars.COUNTERSIGN_APP_ID }}
          app-installation-id: ${{ vars.COUNTERSIGN_APP_INSTALLATION_ID }}
          app-private-key: ${{ secrets.COUNTERSIGN_APP_PRIVATE_KEY }}
        env:
          WAREHOUSE_PLAN_DSN: ${{ secrets.WAREHOUSE_PLAN_DSN }}
`

func githubSettings(repository string) string {
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

const githubNext = `
Next: put your own people, owners and application in these files, then
  countersign validate
  git add . && git commit -m "Begin access as code" && git push
At GitHub:
  import .github/countersign-ruleset.json (Settings, Rules, Rulesets, Import a ruleset)
  make the environments access-preview and access-apply, for the default branch alone, with their secrets
  pin the action in .github/workflows to a commit, and say in forge.publisher who publishes previews
  countersign doctor        says what is still open
`
