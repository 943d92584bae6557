package aws

import (
	"context"
	"slices"
	"strings"

	"github.com/countersign/countersign/connectors"
)

// powerful says whether a document allows what makes its holder an administrator, or lets them become one: every action,
// changes of IAM and of who signs in, or to assume roles. What is not understood is. A name says nothing of it.
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
			actions = []any{statement["Action"]} // nil where there is a NotAction
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

// privileged adds to the description which policies are powerful by what they allow, and which groups have one.
func (r *reader) privileged(ctx context.Context, d *connectors.Description) error {
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
			return strong[arn] || ours && connectors.Match(powerfulPolicies(), name)
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
