package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/countersign/countersign/schemas"
)

// Limits of an answer: a faulty rule must not fill a pull request's comment.
const (
	maxResults = 10_000
	maxText    = 4096
	maxCount   = 100
)

// answerOf describes the source of an answer.
type answerOf struct {
	// own is set for the repository's own rules: sets may be absent, and the library's codes are not allowed.
	own bool
	// manifest is the manifest that the library's answer must contain.
	manifest ast.Value
}

// decodeAnswer adds an answer to the decision. Anything unexpected in it is ErrMalformed.
func decodeAnswer(v ast.Value, d *schemas.Decision, of answerOf) error {
	object, ok := v.(ast.Object)
	if !ok {
		return fmt.Errorf("%w: it is a %s (expected an object)", ErrMalformed, ast.ValueName(v))
	}
	var sets [3]*ast.Term
	manifest := false
	err := object.Iter(func(k, v *ast.Term) error {
		name, _ := k.Value.(ast.String)
		if i := slices.Index(ruleSets(), string(name)); i >= 0 {
			sets[i] = v
			return nil
		}
		if name == "manifest" && of.manifest != nil {
			manifest = v.Value.Compare(of.manifest) == 0
			return nil
		}
		return fmt.Errorf("%w: unknown set %v (expected deny, warn and require_signoff)", ErrMalformed, k)
	})
	if err != nil {
		return err
	}
	if of.manifest != nil && !manifest {
		return fmt.Errorf("%w: it does not come from all of the library's rules", ErrMalformed)
	}
	for i, set := range sets {
		name := ruleSets()[i]
		if set == nil {
			if of.own {
				continue
			}
			return fmt.Errorf("%w: %s is missing", ErrMalformed, name)
		}
		err := elements(set.Value, func(t *ast.Term) (err error) {
			if of.own {
				var rule string
				if rule, t, err = unwrapped(t); err != nil {
					return err
				}
				defer func() {
					if err != nil {
						err = fmt.Errorf("%s: %w", rule, err)
					}
				}()
			}
			if name == "require_signoff" {
				return addRequirement(t, &d.Required, of.own)
			}
			if name == "deny" {
				return addResult(t, &d.Denials, of.own)
			}
			return addResult(t, &d.Warnings, of.own)
		})
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// elements calls f for each element of a set or array: a set that was transferred as JSON is an array.
func elements(v ast.Value, f func(*ast.Term) error) error {
	n := 0
	each := func(t *ast.Term) error {
		if n++; n > maxResults {
			return fmt.Errorf("%w: more than %d results", ErrMalformed, maxResults)
		}
		return f(t)
	}
	switch v := v.(type) {
	case ast.Set:
		return v.Iter(each)
	case *ast.Array:
		return v.Iter(each)
	}
	return fmt.Errorf("%w: a %s (expected a set)", ErrMalformed, ast.ValueName(v))
}

// fields calls f for each field of an object.
func fields(t *ast.Term, f func(name string, v ast.Value) error) error {
	object, ok := t.Value.(ast.Object)
	if !ok {
		return fmt.Errorf("%w: %s is a %s (expected an object)", ErrMalformed, short(t), ast.ValueName(t.Value))
	}
	return object.Iter(func(k, v *ast.Term) error {
		name, ok := k.Value.(ast.String)
		if !ok {
			return fmt.Errorf("%w: %s has a key that is not a string", ErrMalformed, short(t))
		}
		if err := f(string(name), v.Value); err != nil {
			return fmt.Errorf("%w: %s of %s %w", ErrMalformed, name, short(t), err)
		}
		return nil
	})
}

func short(t *ast.Term) string {
	s := []rune(t.String())
	if len(s) > 200 {
		return string(s[:200]) + "…"
	}
	return string(s)
}

func text(v ast.Value, to *string) error {
	s, ok := v.(ast.String)
	if !ok {
		return fmt.Errorf("is a %s (expected a string)", ast.ValueName(v))
	}
	if len(s) > maxText {
		return fmt.Errorf("is longer than %d bytes", maxText)
	}
	*to = string(s)
	return nil
}

func number(v ast.Value, to *int, least, most int) error {
	n, ok := v.(ast.Number)
	if !ok {
		return fmt.Errorf("is a %s (expected a number)", ast.ValueName(v))
	}
	i, ok := n.Int()
	if !ok || i < least || i > most {
		return fmt.Errorf("is %s (expected an integer from %d to %d)", n, least, most)
	}
	*to = i
	return nil
}

func unknown(known string) error { return fmt.Errorf("is unknown (expected %s)", known) }

func addResult(t *ast.Term, to *[]schemas.RuleResult, own bool) error {
	var r schemas.RuleResult
	err := fields(t, func(name string, v ast.Value) error {
		switch name {
		case "code":
			return text(v, &r.Code)
		case "msg":
			return text(v, &r.Msg)
		case "path":
			return text(v, &r.Path)
		case "line":
			return number(v, &r.Line, 0, 1<<30)
		case "field":
			return text(v, &r.Field)
		case "fix":
			return text(v, &r.Fix)
		}
		return unknown("code, msg, path, line, field, fix")
	})
	if err == nil {
		err = checkCode(t, r.Code, own)
	}
	if err == nil && strings.TrimSpace(r.Msg) == "" {
		err = fmt.Errorf("%w: %s: msg is required", ErrMalformed, short(t))
	}
	if err != nil {
		return err
	}
	*to = append(*to, r)
	return nil
}

func addRequirement(t *ast.Term, to *[]schemas.Requirement, own bool) error {
	var r schemas.Requirement
	err := fields(t, func(name string, v ast.Value) error {
		switch name {
		case "code":
			return text(v, &r.Code)
		case "why":
			return text(v, &r.Why)
		case "count":
			return number(v, &r.Count, 1, maxCount)
		case "from":
			return elements(v, func(t *ast.Term) error {
				var who string
				if err := text(t.Value, &who); err != nil {
					return err
				}
				if !isPrincipal(who) {
					return fmt.Errorf("names %q (expected user:NAME or team:NAME)", who)
				}
				r.From = append(r.From, who)
				return nil
			})
		}
		return unknown("code, from, count, why")
	})
	if err == nil {
		err = checkCode(t, r.Code, own)
	}
	switch {
	case err != nil:
		return err
	case len(r.From) == 0:
		return fmt.Errorf("%w: %s: from is required", ErrMalformed, short(t))
	case r.Count == 0:
		return fmt.Errorf("%w: %s: count is required", ErrMalformed, short(t))
	case strings.TrimSpace(r.Why) == "":
		return fmt.Errorf("%w: %s: why is required", ErrMalformed, short(t))
	}
	slices.Sort(r.From)
	r.From = slices.Compact(r.From)
	*to = append(*to, r)
	return nil
}

func isCode(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return true
}

func checkCode(t *ast.Term, code string, own bool) error {
	switch {
	case code == "":
		return fmt.Errorf("%w: %s: code is required", ErrMalformed, short(t))
	case !isCode(code):
		return fmt.Errorf("%w: %s: invalid code (expected up to 64 letters, digits, dashes, dots and underscores)", ErrMalformed, short(t))
	case own && strings.HasPrefix(strings.ToUpper(code), "CS-"):
		return fmt.Errorf("%w: %s: the code begins with CS-, which is reserved for the library", ErrMalformed, short(t))
	}
	return nil
}

// sortDecision sorts the decision and drops duplicates.
func sortDecision(d *schemas.Decision) {
	results := func(a, b schemas.RuleResult) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Code, b.Code),
			cmp.Compare(a.Field, b.Field), cmp.Compare(a.Msg, b.Msg), cmp.Compare(a.Fix, b.Fix))
	}
	requirements := func(a, b schemas.Requirement) int {
		return cmp.Or(cmp.Compare(a.Code, b.Code), slices.Compare(a.From, b.From), cmp.Compare(a.Count, b.Count), cmp.Compare(a.Why, b.Why))
	}
	slices.SortFunc(d.Denials, results)
	d.Denials = slices.Compact(d.Denials)
	slices.SortFunc(d.Warnings, results)
	d.Warnings = slices.Compact(d.Warnings)
	slices.SortFunc(d.Required, requirements)
	d.Required = slices.CompactFunc(d.Required, func(a, b schemas.Requirement) bool { return requirements(a, b) == 0 })
}
