package github_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/parser"
	"github.com/vektah/gqlparser/v2/validator"
	"github.com/vektah/gqlparser/v2/validator/rules"
)

// graphSchema is GitHub's own schema.
var graphSchema = sync.OnceValues(func() (*ast.Schema, error) {
	b, err := npm("@octokit", "graphql-schema", "schema.graphql")
	if err != nil {
		return nil, err
	}
	doc, err := parser.ParseSchemas(validator.Prelude, &ast.Source{Name: "github.graphql", Input: string(b)})
	if err != nil {
		return nil, err
	}
	// As published it defines some fields of enterprises twice, which the specification forbids.
	for _, def := range doc.Definitions {
		seen := map[string]bool{}
		def.Fields = slices.DeleteFunc(def.Fields, func(f *ast.FieldDefinition) bool {
			twice := seen[f.Name]
			seen[f.Name] = true
			return twice
		})
	}
	return validator.ValidateSchemaDocument(doc)
})

// tree is an object of GraphQL: values, lists, trees, or functions of the field's arguments that return one.
type tree map[string]any

type field func(args map[string]any) (any, error)

// graphFault is an error that GitHub answers beside data.
type graphFault struct {
	kind, message string
}

func (f *graphFault) Error() string { return f.message }

// execution answers one query. What does not fit the schema is a fault of the hub.
type execution struct {
	schema    *ast.Schema
	variables map[string]any
	errors    []any
	broken    error
}

// execute answers a query whose operation and variables fit the schema; else it returns an error.
func execute(query string, variables map[string]any, root tree) (any, error) {
	schema, err := graphSchema()
	if err != nil {
		return nil, err
	}
	doc, faults := gqlparser.LoadQueryWithRules(schema, query, rules.NewDefaultRules())
	if len(faults) > 0 {
		return nil, faults
	}
	if len(doc.Operations) != 1 {
		return nil, errors.New("not one operation")
	}
	op := doc.Operations[0]
	vars, err := validator.VariableValues(schema, op, variables)
	if err != nil {
		return nil, err
	}
	e := &execution{schema: schema, variables: vars}
	data := e.object(op.SelectionSet, root, nil)
	if e.broken != nil {
		return nil, e.broken
	}
	answer := map[string]any{"data": data}
	if e.errors != nil {
		answer["errors"] = e.errors
	}
	return answer, nil
}

func (e *execution) object(set ast.SelectionSet, from tree, path []any) map[string]any {
	out := map[string]any{}
	for _, s := range set {
		switch s := s.(type) {
		case *ast.FragmentSpread:
			for k, v := range e.object(s.Definition.SelectionSet, from, path) {
				out[k] = v
			}
		case *ast.InlineFragment:
			for k, v := range e.object(s.SelectionSet, from, path) {
				out[k] = v
			}
		case *ast.Field:
			at := append(slices.Clone(path), s.Alias)
			v, ok := from[s.Name]
			if !ok {
				e.broken = fmt.Errorf("the hub does not serve %v", at)
				return out
			}
			if f, ok := v.(field); ok {
				var err error
				if v, err = f(s.ArgumentMap(e.variables)); err != nil {
					kind := ""
					if f := (*graphFault)(nil); errors.As(err, &f) {
						kind = f.kind
					}
					e.errors = append(e.errors, map[string]any{"type": kind, "message": err.Error(), "path": at, "locations": []any{}})
					v = nil
				}
			}
			out[s.Alias] = e.value(s.Definition.Type, s.SelectionSet, v, at)
		}
	}
	return out
}

func (e *execution) value(t *ast.Type, set ast.SelectionSet, v any, path []any) any {
	if t.Elem != nil {
		list, ok := v.([]any)
		if !ok {
			if v != nil || t.NonNull {
				e.broken = fmt.Errorf("%v is no list", path)
			}
			return nil
		}
		out := make([]any, len(list))
		for i := range list {
			out[i] = e.value(t.Elem, set, list[i], append(slices.Clone(path), i))
		}
		return out
	}
	if v == nil {
		if t.NonNull {
			e.broken = fmt.Errorf("%v is null, and the schema says that it is not", path)
		}
		return nil
	}
	def := e.schema.Types[t.NamedType]
	ok := false
	switch def.Kind {
	case ast.Object, ast.Interface, ast.Union:
		from, isTree := v.(tree)
		if isTree {
			return e.object(set, from, path)
		}
	case ast.Enum:
		text, isText := v.(string)
		ok = isText && def.EnumValues.ForName(text) != nil
	case ast.Scalar:
		switch v.(type) {
		case string:
			ok = t.NamedType != "Int" && t.NamedType != "Boolean"
		case int, int64:
			ok = t.NamedType == "Int"
		case bool:
			ok = t.NamedType == "Boolean"
		}
	}
	if !ok {
		e.broken = fmt.Errorf("%v is %v, which is no %s", path, v, t.NamedType)
	}
	return v
}

// connection is a field that is a list of n objects with pages. most bounds a page, whatever was asked for. The list is
// of edges, or of nodes.
func connection(most, n int, edges bool, at func(int) tree) field {
	return func(args map[string]any) (any, error) {
		first, ok := number(args["first"])
		switch {
		case !ok:
			return nil, &graphFault{"MISSING_PAGINATION_BOUNDARIES", "You must provide a `first` or `last` value to properly paginate the connection."}
		case first < 1 || first > 100:
			return nil, &graphFault{"EXCESSIVE_PAGINATION", "Requesting more records on the connection than the limit of 100."}
		}
		from := 0
		if after, ok := args["after"].(string); ok {
			b, err := base64.StdEncoding.DecodeString(after)
			at, err2 := strconv.Atoi(string(b))
			if err != nil || err2 != nil || at > n {
				return nil, &graphFault{"INVALID_CURSOR_ARGUMENTS", "`" + after + "` does not appear to be a valid cursor."}
			}
			from = at
		}
		to := min(from+min(first, most), n)
		list := make([]any, 0, to-from)
		for i := from; i < to; i++ {
			list = append(list, at(i))
		}
		out := tree{"totalCount": n, "edges": []any{}, "nodes": []any{},
			"pageInfo": tree{"hasNextPage": to < n, "endCursor": base64.StdEncoding.EncodeToString([]byte(strconv.Itoa(to)))}}
		if edges {
			out["edges"] = list
		} else {
			out["nodes"] = list
		}
		return out, nil
	}
}

func number(v any) (int, bool) {
	switch n := v.(type) {
	case int:
		return n, true
	case int64:
		return int(n), true
	case float64:
		return int(n), true
	case json.Number:
		i, err := n.Int64()
		return int(i), err == nil
	}
	return 0, false
}
