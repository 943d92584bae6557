package policy

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/countersign/countersign/schemas"
)

// checkUndefined finds results that use a value which the input need not have, without requiring it in the body of the rule:
// where it is missing, the result could not be made, and the change would be denied for that alone.
func checkUndefined(own map[string]*ast.Module) schemas.ErrorList {
	var faults schemas.ErrorList
	for path, m := range own {
		for _, r := range m.Rules {
			if packageName(m) != rootPackage || r.Head.Key == nil || !slices.Contains(ruleSets(), ruleName(r)) {
				continue
			}
			types := variableTypes(r.Body)
			required := requiredValues(r.Body)
			// A default in a call of object.get or in a comprehension is the way out, so those are not looked into.
			walkDirect(r.Head.Key, func(ref ast.Ref) {
				optional, n := optionalPart(ref, types)
				if n == 0 || required[ref[:n].String()] || implied(ref[:n], required) {
					return
				}
				faults = append(faults, schemas.Error{Position: position(path, ref[0].Location),
					Msg:  fmt.Sprintf("%s can be undefined (%s), and then the result of %s could not be made", ref[:n], optional, ruleName(r)),
					Hint: fmt.Sprintf("require %s in the rule's body, or use object.get with a default", ref[:n])})
			})
		}
	}
	return faults
}

// walkDirect visits the references whose value a term needs.
func walkDirect(t *ast.Term, visit func(ast.Ref)) {
	ast.NewGenericVisitor(func(x any) bool {
		switch x := x.(type) {
		case ast.Call:
			return strings.HasPrefix(x[0].String(), "object.get")
		case *ast.ArrayComprehension, *ast.SetComprehension, *ast.ObjectComprehension:
			return true
		case ast.Ref:
			visit(x)
		}
		return false
	}).Walk(t)
}

// variableTypes returns the types of variables that are bound to parts of the input.
func variableTypes(body ast.Body) map[ast.Var]reflect.Type {
	types := map[ast.Var]reflect.Type{}
	bind := func(variable, value *ast.Term, element bool) {
		v, ok := variable.Value.(ast.Var)
		ref, isRef := value.Value.(ast.Ref)
		if !isRef {
			if other, is := value.Value.(ast.Var); is {
				ref, isRef = ast.Ref{ast.NewTerm(other)}, true
			}
		}
		if !ok || !isRef {
			return
		}
		t := typeOf(ref, types)
		if element && t != nil {
			t = elementOf(t)
		}
		if t != nil {
			types[v] = t
		}
	}
	for range 4 { // in whatever order they are written
		for _, e := range body {
			if e.Negated {
				continue
			}
			if decl, ok := e.Terms.(*ast.SomeDecl); ok {
				for _, s := range decl.Symbols {
					if call, ok := s.Value.(ast.Call); ok && len(call) >= 3 {
						bind(call[len(call)-2], call[len(call)-1], true)
					}
				}
				continue
			}
			if e.IsAssignment() || e.IsEquality() {
				bind(e.Operand(0), e.Operand(1), false)
			}
		}
	}
	return types
}

// requiredValues returns the references that must be defined for the body to hold, with everything that they lead through.
func requiredValues(body ast.Body) map[string]bool {
	out := map[string]bool{}
	for _, e := range body {
		if e.Negated {
			continue
		}
		visit := func(ref ast.Ref) {
			for n := 2; n <= len(ref); n++ {
				out[ref[:n].String()] = true
			}
		}
		switch terms := e.Terms.(type) {
		case *ast.SomeDecl:
			for _, s := range terms.Symbols {
				walkDirect(s, visit)
			}
		case *ast.Every:
		case *ast.Term:
			walkDirect(terms, visit)
		case []*ast.Term:
			if strings.HasPrefix(terms[0].String(), "object.get") {
				continue
			}
			for _, t := range terms[1:] {
				walkDirect(t, visit)
			}
		}
	}
	return out
}

// implied reports whether the body looks at the kind, which decides whether the value is there.
func implied(ref ast.Ref, required map[string]bool) bool {
	last, _ := ref[len(ref)-1].Value.(ast.String)
	switch last {
	case "target", "privilege", "request", "application":
		return required[ref[:len(ref)-1].String()+".kind"]
	}
	return false
}

// typeOf returns the type of a reference into the input, or nil.
func typeOf(ref ast.Ref, types map[ast.Var]reflect.Type) reflect.Type {
	t := rootType(ref, types)
	for _, term := range ref[1:] {
		if t == nil {
			return nil
		}
		if name, ok := term.Value.(ast.String); ok && t.Kind() == reflect.Struct {
			t, _ = fieldOf(t, string(name))
		} else {
			t = elementOf(t)
		}
	}
	return t
}

func rootType(ref ast.Ref, types map[ast.Var]reflect.Type) reflect.Type {
	if ref[0].Equal(ast.InputRootDocument) {
		return reflect.TypeFor[schemas.PolicyInput]()
	}
	v, _ := ref[0].Value.(ast.Var)
	return types[v]
}

// optionalPart returns the first field on the way of a reference that the input need not have, and the length of the
// reference up to it; 0 for none.
func optionalPart(ref ast.Ref, types map[ast.Var]reflect.Type) (field string, n int) {
	t := rootType(ref, types)
	for i := 1; i < len(ref) && t != nil; i++ {
		name, ok := ref[i].Value.(ast.String)
		if !ok || t.Kind() != reflect.Struct {
			t = elementOf(t)
			continue
		}
		next, optional := fieldOf(t, string(name))
		if optional {
			return t.Name() + "." + string(name), i + 1
		}
		t = next
	}
	return "", 0
}

// fieldOf returns the type of a struct's field by its JSON name, and whether it is left out where it is empty.
func fieldOf(t reflect.Type, name string) (reflect.Type, bool) {
	for i := range t.NumField() {
		f := t.Field(i)
		n, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if n == name {
			return plain(f.Type), strings.Contains(options, "omitempty")
		}
	}
	return nil, false
}

func elementOf(t reflect.Type) reflect.Type {
	switch t.Kind() {
	case reflect.Slice, reflect.Map:
		return plain(t.Elem())
	}
	return nil
}

func plain(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == reflect.TypeFor[time.Time]() {
		return reflect.TypeFor[string]()
	}
	return t
}
