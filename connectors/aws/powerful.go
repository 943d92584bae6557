package aws

import (
	"context"
	"slices"
	"strings"

	"github.com/countersign/countersign/schemas"
)

// powerful reports whether a document makes its holder an administrator, or lets them become one: every action,
// changes of IAM and of sign-in, or to assume roles. Unknown elements count as powerful. The name doesn't matter.
func powerful(doc any) bool {
	m, _ := doc.(map[string]any)
	statements, ok := m["Statement"].([]any)
	if !ok {
		return true
	}
	return slices.ContainsFunc(statements, func(s any) bool {
		statement, _ := s.(map[string]any)
		if statement["Effect"] == "Deny" {
			return false
		}
		actions, ok := statement["Action"].([]any)
		if !ok {
			actions = []any{statement["Action"]} // nil with a NotAction
		}
		return slices.ContainsFunc(actions, func(a any) bool {
			text, ok := a.(string)
			return !ok || powerfulAction(strings.ToLower(text))
		})
	})
}

func powerfulAction(action string) bool {
	service, verb, _ := strings.Cut(action, ":")
	begins := func(with ...string) bool {
		return slices.ContainsFunc(with, func(w string) bool { return strings.HasPrefix(verb, w) })
	}
	switch {
	case strings.ContainsAny(service, "*?"):
		return true
	case service == "sts":
		return !begins("getcalleridentity", "getaccesskeyinfo", "getsessiontoken", "decode")
	case slices.Contains([]string{"iam", "organizations", "sso", "sso-directory", "identitystore"}, service):
		return !begins("get", "list", "describe", "generate", "simulate")
	}
	return false
}

// privileged adds to the description the policies that are powerful by their documents, and the groups that have one.
func (r *reader) privileged(ctx context.Context, d *schemas.Description) error {
	a, err := r.read(ctx)
	if err != nil {
		return err
	}
	var policies, groups []string
	if a.doubt != "" {
		policies, groups = []string{"*"}, []string{"*"}
	}
	strong := map[string]bool{}
	for _, key := range sortedKeys(a.policies) {
		if p := a.policies[key]; powerful(p.document) {
			policies, strong[p.arn] = append(policies, p.name), true
		}
	}
	for _, key := range sortedKeys(a.groups) {
		g := a.groups[key]
		if g.strong || slices.ContainsFunc(g.attached, func(arn string) bool {
			name, ours := strings.CutPrefix(arn, r.managedPrefix())
			return strong[arn] || ours && schemas.Match(powerfulPolicies(), name)
		}) {
			groups = append(groups, g.name)
		}
	}
	for i := range d.Types {
		t := &d.Types[i]
		switch t.Name {
		case typePolicy:
			t.Privileged = append(t.Privileged, policies...)
		case typeGroup:
			t.Privileged = append(t.Privileged, groups...)
		}
		for j := range t.Grantable {
			if g := &t.Grantable[j]; g.Type == typePolicy {
				g.Privileged = append(slices.Clip(g.Privileged), policies...)
			}
		}
	}
	return nil
}
