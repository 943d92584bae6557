package policy

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"

	"github.com/countersign/countersign/schemas"
)

// checkReferences finds references to data that is neither a rule nor in the data file. To OPA they are undefined,
// so the rule that contains one would silently never apply.
func checkReferences(c *ast.Compiler, own map[string]*ast.Module, store storage.Store) schemas.ErrorList {
	var faults schemas.ErrorList
	keys, err := storage.ReadOne(context.Background(), store, storage.Path{})
	if err != nil {
		return schemas.ErrorList{{Msg: "policy data: " + err.Error()}}
	}
	known := slices.Clone(dataKeys())
	if object, ok := keys.(ast.Object); ok {
		object.Foreach(func(k, _ *ast.Term) {
			if s, ok := k.Value.(ast.String); ok {
				known = append(known, string(s))
			}
		})
	}
	applicationFields := jsonNames(reflect.TypeFor[schemas.PolicyApplication]())
	for path := range own {
		visit := func(ref ast.Ref) bool {
			if !ref.HasPrefix(ast.DefaultRootRef) || len(ref) < 2 {
				return false
			}
			key, ok := ref[1].Value.(ast.String)
			if !ok {
				return false
			}
			at := position(path, ref[0].Location)
			if key != rootPackage {
				if !slices.Contains(known, string(key)) {
					faults = append(faults, schemas.Error{
						Position: at, Msg: fmt.Sprintf("data.%s is not in the data file, so the rule would never apply", string(key)), Hint: didYouMean(string(key), known),
					})
				}
				return false
			}
			node := c.RuleTree.Child(ast.DefaultRootDocument.Value)
			for i, term := range ref[1:] {
				if _, ok := term.Value.(ast.String); !ok || node == nil || len(node.Values) > 0 {
					return false
				}
				child := node.Child(term.Value)
				if child == nil {
					var names []string
					for k, n := range node.Children {
						if s, ok := k.(ast.String); ok && !n.Hide {
							names = append(names, string(s))
						}
					}
					slices.Sort(names)
					faults = append(faults, schemas.Error{
						Position: at, Msg: fmt.Sprintf("%s is not a rule, so the rule that uses it would never apply", ref[:i+2]),
						Hint: didYouMean(strings.Trim(term.String(), `"`), names),
					})
					return false
				}
				node = child
			}
			return false
		}
		for _, r := range c.Modules[path].Rules {
			ast.WalkRefs(r, visit)
			faults = append(faults, checkApplicationFields(path, r, applicationFields)...)
		}
	}
	return faults
}

// checkApplicationFields finds unknown fields of input.applications. OPA's type checker does not check the values of
// an object with free keys, and this is the only such object in the input whose values have fields. References are
// followed through the variables of a rule.
func checkApplicationFields(path string, r *ast.Rule, known []string) schemas.ErrorList {
	var faults schemas.ErrorList
	root := ast.Ref{ast.InputRootDocument, ast.StringTerm("applications")}
	// Variables that refer to an application.
	aliases := map[ast.Var]bool{}
	ast.WalkExprs(r, func(e *ast.Expr) bool {
		if !e.IsEquality() && !e.IsAssignment() {
			return false
		}
		for i := range 2 {
			variable, ok := e.Operand(i).Value.(ast.Var)
			ref, ok2 := e.Operand(1 - i).Value.(ast.Ref)
			if ok && ok2 && ref.HasPrefix(root) && len(ref) == len(root)+1 {
				aliases[variable] = true
			}
		}
		return false
	})
	ast.WalkRefs(r, func(ref ast.Ref) bool {
		at := 0
		if ref.HasPrefix(root) {
			at = len(root) + 1
		} else if v, ok := ref[0].Value.(ast.Var); ok && aliases[v] {
			at = 1
		}
		if at == 0 || at >= len(ref) {
			return false
		}
		if field, ok := ref[at].Value.(ast.String); ok && !slices.Contains(known, string(field)) {
			faults = append(faults, schemas.Error{
				Position: position(path, ref[0].Location), Msg: fmt.Sprintf("undefined ref: unknown application field %s", string(field)),
				Hint: didYouMean(string(field), known),
			})
		}
		return false
	})
	return faults
}

// jsonNames returns the JSON names of a struct's fields, sorted.
func jsonNames(t reflect.Type) []string {
	var names []string
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
