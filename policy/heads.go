package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/countersign/countersign/schemas"
)

// resultFields returns the fields of a result of a set, and those that are required.
func resultFields(set string) (known, required []string) {
	if set == "require_signoff" {
		return []string{"code", "from", "count", "why"}, []string{"code", "from", "count", "why"}
	}
	return []string{"code", "msg", "path", "line", "field", "fix"}, []string{"code", "msg"}
}

// checkHead reports results of a rule that could never be read, as far as they are written out. Computed results are
// checked when they are evaluated.
func checkHead(set string, r *ast.Rule, fail func(loc *ast.Location, msg, hint string)) {
	example := `write: ` + set + ` contains {"code": "ACME-1", "msg": "…"} if {…}`
	if set == "require_signoff" {
		example = `write: require_signoff contains {"code": "ACME-1", "from": ["team:acme/security"], "count": 1, "why": "…"} if {…}`
	}
	key := r.Head.Key
	if key == nil {
		return
	}
	switch v := key.Value.(type) {
	case ast.Object:
		checkResult(set, key, v, example, fail)
	case ast.Var, ast.Ref, ast.Call, *ast.ObjectComprehension:
	default:
		fail(key.Location, fmt.Sprintf("%s contains a %s (expected an object), so every change would be denied", set, ast.ValueName(v)), example)
	}
}

func checkResult(set string, key *ast.Term, object ast.Object, example string, fail func(loc *ast.Location, msg, hint string)) {
	known, required := resultFields(set)
	has := map[string]bool{}
	object.Foreach(func(k, v *ast.Term) {
		name, ok := k.Value.(ast.String)
		if !ok {
			return
		}
		has[string(name)] = true
		if !slices.Contains(known, string(name)) {
			fail(k.Location, fmt.Sprintf("%s: unknown field %q", set, string(name)), didYouMean(string(name), known))
			return
		}
		if why := wrongValue(string(name), v); why != "" {
			fail(v.Location, fmt.Sprintf("%s: %s %s", set, string(name), why), example)
		}
	})
	for _, f := range required {
		if !has[f] {
			fail(key.Location, fmt.Sprintf("%s: %s is required", set, f), example)
		}
	}
}

// wrongValue reports why a value that is written out cannot be that of a field, or "".
func wrongValue(field string, t *ast.Term) string {
	var err error
	var s string
	switch v := t.Value.(type) {
	case ast.Var, ast.Ref, ast.Call, *ast.ArrayComprehension, *ast.SetComprehension, *ast.ObjectComprehension:
		return ""
	case *ast.Array:
		if field != "from" {
			break
		}
		if v.Len() == 0 {
			return "names nobody"
		}
		v.Foreach(func(who *ast.Term) {
			if text, ok := who.Value.(ast.String); ok && !isPrincipal(string(text)) {
				s = fmt.Sprintf("names %q (expected user:NAME or team:NAME)", string(text))
			}
		})
		return s
	case ast.Set:
		if field == "from" {
			return ""
		}
	}
	switch field {
	case "count":
		var n int
		err = number(t.Value, &n, 1, maxCount)
	case "line":
		var n int
		err = number(t.Value, &n, 0, 1<<30)
	case "from":
		return fmt.Sprintf("is a %s (expected a list)", ast.ValueName(t.Value))
	default:
		err = text(t.Value, &s)
	}
	switch {
	case err != nil:
		return err.Error()
	case field == "code" && !isCode(s):
		return "is invalid (expected up to 64 letters, digits, dashes, dots and underscores)"
	case field == "code" && strings.HasPrefix(strings.ToUpper(s), "CS-"):
		return "begins with CS-, which is reserved for the library"
	case (field == "msg" || field == "why") && strings.TrimSpace(s) == "":
		return "is empty"
	}
	return ""
}

func isPrincipal(who string) bool {
	kind, name, _ := strings.Cut(who, ":")
	return (kind == "user" || kind == "team") && strings.TrimSpace(name) != ""
}

// checkUnread finds rules of package countersign that no decision uses, such as allow. Its author believes that it
// decides something.
func checkUnread(c *ast.Compiler, own map[string]*ast.Module) schemas.ErrorList {
	used := map[*ast.Rule]bool{}
	var queue []*ast.Rule
	for path := range own {
		for _, r := range c.Modules[path].Rules {
			if packageName(c.Modules[path]) == rootPackage && slices.Contains(ruleSets(), ruleName(r)) {
				queue = append(queue, r)
			}
		}
	}
	for len(queue) > 0 {
		r := queue[0]
		queue = queue[1:]
		if used[r] {
			continue
		}
		used[r] = true
		for d := range c.Graph.Dependencies(r) {
			if d, ok := d.(*ast.Rule); ok {
				queue = append(queue, d)
			}
		}
	}
	var faults schemas.ErrorList
	reported := map[string]bool{}
	for path := range own {
		for _, r := range c.Modules[path].Rules {
			name := ruleName(r)
			if packageName(c.Modules[path]) != rootPackage || used[r] || reported[name] || strings.HasPrefix(name, resultPrefix) {
				continue
			}
			reported[name] = true
			faults = append(faults, unreadRule(path, r))
		}
	}
	return faults
}

func unreadRule(path string, r *ast.Rule) schemas.Error {
	return schemas.Error{Position: position(path, r.Location), Msg: ruleName(r) + " is not a decision, and no decision uses it, so it does nothing",
		Hint: "the decisions are deny, warn and require_signoff; what only tests need belongs in a file that ends in _test.rego"}
}

func ruleName(r *ast.Rule) string { return strings.Trim(r.Head.Ref()[0].String(), `"`) }

// resultPrefix begins the names of the sets of results that the engine asks for.
const resultPrefix = "countersign_results_"

// withResults adds, for each rule of a set, a rule whose result is the same in a list, beside its place. The list is empty
// if a value of the result is undefined: to OPA, the rule itself would then not apply, and a denial would be lost.
func withResults(modules map[string]*ast.Module) map[string]*ast.Module {
	out := map[string]*ast.Module{}
	value := ast.VarTerm("countersign_value")
	for path, m := range modules {
		m = m.Copy()
		out[path] = m
		if packageName(m) != rootPackage {
			continue
		}
		for _, r := range slices.Clone(m.Rules) {
			if !slices.Contains(ruleSets(), ruleName(r)) || r.Head.Key == nil {
				continue
			}
			r = r.Copy()
			key := r.Head.Key
			list := ast.ArrayComprehensionTerm(value, ast.NewBody(ast.Equality.Expr(value, key)))
			r.Head = ast.NewHead(ast.Var(resultPrefix+ruleName(r)), ast.ObjectTerm(
				ast.Item(ast.StringTerm("rule"), ast.StringTerm(fmt.Sprintf("%s:%d", path, r.Location.Row))),
				ast.Item(ast.StringTerm("value"), list),
			))
			r.Head.Location = r.Location
			r.Annotations = nil
			m.Rules = append(m.Rules, r)
		}
	}
	return out
}

// unwrapped returns the result in a list of withResults and the rule that made it.
func unwrapped(t *ast.Term) (rule string, result *ast.Term, err error) {
	var list *ast.Array
	err = fields(t, func(name string, v ast.Value) error {
		switch name {
		case "rule":
			return text(v, &rule)
		case "value":
			list, _ = v.(*ast.Array)
			return nil
		}
		return unknown("rule, value")
	})
	switch {
	case err != nil:
		return "", nil, err
	case list == nil || list.Len() > 1:
		return rule, nil, fmt.Errorf("%w: %s: it is not one result", ErrMalformed, rule)
	case list.Len() == 0:
		return rule, nil, fmt.Errorf("%w: %s: the rule applies, and a value of its result is undefined; use object.get, or require the value in the rule's body", ErrMalformed, rule)
	}
	return rule, list.Elem(0), nil
}
