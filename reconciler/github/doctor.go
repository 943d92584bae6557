package github

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/countersign/countersign/reconciler/forge"
	"github.com/countersign/countersign/schemas"
)

// rule is one rule that holds for a branch. go-github's type knows fewer of them, and refuses those it does not know.
type rule struct {
	Type       string          `json:"type"`
	Ruleset    int64           `json:"ruleset_id"`
	Parameters json.RawMessage `json:"parameters"`
}

// codeownersPath is where GitHub reads whom to ask for reviews.
const codeownersPath = ".github/CODEOWNERS"

// Examine compares the repository's rules with those that countersign relies on. Anything that GitHub lets through is
// still judged at the merge: a gap there costs time and noise, not access.
func (c *Client) Examine(ctx context.Context, in forge.Examination) ([]schemas.Check, error) {
	s, ledger := in.Settings, cmp.Or(in.LedgerBranch, forge.LedgerBranch)
	codeowners, err := in.File(ctx, codeownersPath)
	if err != nil {
		return nil, err
	}
	var out []schemas.Check
	add := func(ok bool, name, found, fix string) {
		k := schemas.Check{State: schemas.CheckOK, Name: name, Detail: found}
		if !ok {
			k.State, k.Fix = schemas.CheckOpen, fix
		}
		out = append(out, k)
	}
	repo, _, err := c.api.Repositories.Get(ctx, c.owner, c.name)
	if err != nil {
		return nil, c.explain("read the repository", err)
	}
	add(true, "access", "the token reads "+repo.GetFullName(), "")
	add(!strings.EqualFold(s.Forge.Publisher, actionsBot), "publisher", "previews count when they are by "+s.Forge.Publisher,
		"every workflow of the repository can speak as "+actionsBot+", on any branch that somebody may push: make a GitHub App of your own, and name its account as forge.publisher")
	var rules []rule
	if err := c.get(ctx, fmt.Sprintf("repos/%s/%s/rules/branches/%s", c.owner, c.name, url.PathEscape(s.Branch)), &rules); err != nil {
		return nil, c.explain("read the rules of "+s.Branch, err)
	}
	has := func(kind string) (found []rule) {
		for _, r := range rules {
			if r.Type == kind {
				found = append(found, r)
			}
		}
		return found
	}
	pull := struct {
		Dismiss  bool `json:"dismiss_stale_reviews_on_push"`
		LastPush bool `json:"require_last_push_approval"`
		Count    int  `json:"required_approving_review_count"`
	}{}
	for _, r := range has("pull_request") {
		one := pull
		if err := json.Unmarshal(r.Parameters, &one); err != nil {
			return nil, fmt.Errorf("read the rule pull_request: %w", err)
		}
		pull.Dismiss, pull.LastPush, pull.Count = pull.Dismiss || one.Dismiss, pull.LastPush || one.LastPush, max(pull.Count, one.Count)
	}
	add(len(has("pull_request")) > 0, "pull requests", "changes of "+s.Branch+" come by pull request", "add the rule: require a pull request before merging (what is pushed directly is quarantined)")
	add(pull.Count > 0, "approvals", fmt.Sprintf("%d approvals are required", pull.Count), "require at least one approval")
	add(pull.Dismiss, "stale reviews", "a push dismisses reviews", "dismiss stale reviews on push: else a reviewer sees a tick that does not count")
	add(pull.LastPush, "last push", "somebody else approves the last push", "require approval of the most recent push: names in commits are the pusher's to choose")
	add(len(has("non_fast_forward")) > 0, "force pushes", "force pushes are blocked", "block force pushes: a rewritten branch stops everything until an owner acknowledges it")
	add(len(has("deletion")) > 0, "deletion", "deleting the branch is blocked", "restrict deletions")
	required := map[string]*int64{}
	for _, r := range has("required_status_checks") {
		var p struct {
			Checks []struct {
				Context     string `json:"context"`
				Integration *int64 `json:"integration_id"`
			} `json:"required_status_checks"`
		}
		if err := json.Unmarshal(r.Parameters, &p); err != nil {
			return nil, fmt.Errorf("read the rule required_status_checks: %w", err)
		}
		for _, k := range p.Checks {
			required[k.Context] = k.Integration
		}
	}
	for _, name := range []string{forge.PolicyStatusName, forge.SignoffStatusName} {
		source, ok := required[name]
		add(ok, name, "the status is required", "require the status "+name+", so that the merge button waits for it")
		if ok {
			add(source != nil, name+" source", "the status is taken from one App alone", "name the App that the status must come from: anybody with write access can post one")
		}
	}
	rulesets := []int64{}
	for _, r := range rules {
		if !slices.Contains(rulesets, r.Ruleset) {
			rulesets = append(rulesets, r.Ruleset)
		}
	}
	for _, id := range rulesets {
		var set struct {
			Name   string             `json:"name"`
			Bypass *[]json.RawMessage `json:"bypass_actors"`
		}
		err := c.get(ctx, fmt.Sprintf("repos/%s/%s/rulesets/%d", c.owner, c.name, id), &set)
		switch {
		case isStatus(err, http.StatusNotFound, http.StatusForbidden) || err == nil && set.Bypass == nil:
			out = append(out, schemas.Check{State: schemas.CheckUnknown, Name: "bypass", Detail: fmt.Sprintf("this token cannot read who may bypass ruleset %d", id), Fix: "run it with the token of an administrator"})
		case err != nil:
			return nil, c.explain("read the ruleset", err)
		default:
			add(len(*set.Bypass) == 0, "bypass", fmt.Sprintf("ruleset %q: %d may bypass it", set.Name, len(*set.Bypass)), "empty the bypass list: what an administrator merges without approval is quarantined all the same")
		}
	}
	for _, check := range []string{"ledger", "lease"} {
		name := ledger
		if check == "lease" {
			name += "-lease"
		}
		var rules []rule
		if err := c.get(ctx, fmt.Sprintf("repos/%s/%s/rules/branches/%s", c.owner, c.name, url.PathEscape(name)), &rules); err != nil {
			return nil, c.explain("read the rules of "+name, err)
		}
		kinds := map[string]bool{}
		for _, r := range rules {
			kinds[r.Type] = true
		}
		add(kinds["creation"] && kinds["update"] && kinds["non_fast_forward"] && kinds["deletion"], check, "only those who may bypass the rules can push to "+name+", rewrite or delete it",
			"import "+ledgerRulesetPath+" (countersign init --github writes it) and put the App alone on its bypass list: "+name+" must be closed to everybody else")
	}
	catchAll := slices.ContainsFunc(strings.Split(codeowners, "\n"), func(l string) bool { return len(strings.Fields(l)) > 1 && strings.Fields(l)[0] == "*" })
	add(catchAll, "CODEOWNERS", "there is an owner for every path", "add a line \"* @owners\" to .github/CODEOWNERS: a path without owner satisfies the rule by itself (countersign init --github writes one)")
	return out, nil
}

// actionsBot is the account that GITHUB_TOKEN writes as.
const actionsBot = "github-actions[bot]"

func (c *Client) get(ctx context.Context, path string, into any) error {
	req, err := c.api.NewRequest(http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	_, err = c.api.Do(ctx, req, into)
	return err
}
