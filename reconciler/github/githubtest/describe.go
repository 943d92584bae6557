package githubtest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
)

// description is GitHub's API as far as handlers serve it.
type description struct{ router routers.Router }

// load reads the description once for each test process: it is large.
var load = sync.OnceValues(func() (*description, error) {
	_, self, _, _ := runtime.Caller(0)
	path := filepath.Join(filepath.Dir(self), "../../../.ci/npm/node_modules/@octokit/openapi/generated/api.github.com.json")
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("GitHub's API description is missing: run .ci/test, or npm ci --prefix .ci/npm (%w)", err)
	}
	var raw struct {
		OpenAPI    string                                `json:"openapi"`
		Info       json.RawMessage                       `json:"info"`
		Paths      map[string]map[string]json.RawMessage `json:"paths"`
		Components map[string]map[string]json.RawMessage `json:"components"`
	}
	if err := json.Unmarshal(b, &raw); err != nil {
		return nil, err
	}
	served := handlers()
	for p, item := range raw.Paths {
		for method, op := range item {
			var o struct {
				OperationID string `json:"operationId"`
			}
			if json.Unmarshal(op, &o) == nil && o.OperationID != "" && served[o.OperationID] == nil {
				delete(item, method)
			}
		}
		if len(item) == 0 {
			delete(raw.Paths, p)
		}
	}
	// The components that are still referred to, and theirs.
	need := map[string]bool{}
	var visit func(json.RawMessage)
	visit = func(m json.RawMessage) {
		for rest := m; ; {
			i := bytes.Index(rest, []byte(`"#/components/`))
			if i < 0 {
				return
			}
			rest = rest[i+len(`"#/components/`):]
			ref := string(rest[:bytes.IndexByte(rest, '"')])
			if !need[ref] {
				need[ref] = true
				kind, name, _ := strings.Cut(ref, "/")
				visit(raw.Components[kind][name])
			}
		}
	}
	for _, item := range raw.Paths {
		for _, op := range item {
			visit(op)
		}
	}
	for kind, all := range raw.Components {
		for name := range all {
			if !need[kind+"/"+name] {
				delete(all, name)
			}
		}
	}
	if b, err = json.Marshal(raw); err != nil {
		return nil, err
	}
	doc, err := openapi3.NewLoader().LoadFromData(b)
	if err != nil {
		return nil, err
	}
	doc.Servers = nil
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		return nil, err
	}
	return &description{router}, nil
})

// complete fills the required properties in that a handler left out.
func complete(s *openapi3.SchemaRef, v any, depth int) any {
	if s == nil || s.Value == nil || depth > 12 {
		return v
	}
	sc := s.Value
	if v == nil {
		return nil
	}
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = complete(sc.Items, v[i], depth+1)
		}
		return v
	case map[string]any:
		for _, part := range sc.AllOf {
			complete(part, v, depth+1)
		}
		if choice := choose(sc, v); choice != nil {
			complete(choice, v, depth+1)
		}
		for name, prop := range sc.Properties {
			if have, ok := v[name]; ok {
				v[name] = complete(prop, have, depth+1)
			}
		}
		for _, name := range sc.Required {
			if _, ok := v[name]; !ok {
				v[name] = zero(sc.Properties[name], depth+1)
			}
		}
	}
	return v
}

// choose takes the alternative whose properties the value has.
func choose(sc *openapi3.Schema, v map[string]any) *openapi3.SchemaRef {
	var best *openapi3.SchemaRef
	most := 0
	for _, list := range []openapi3.SchemaRefs{sc.OneOf, sc.AnyOf} {
		for _, alt := range list {
			if alt.Value == nil || !(alt.Value.Type.Is("object") || len(alt.Value.Properties) > 0) {
				continue
			}
			n := 0
			for name := range v {
				if alt.Value.Properties[name] != nil {
					n++
				}
			}
			// Of two that fit as well, the one that asks for less.
			if n = n*1000 - len(alt.Value.Required); best == nil || n > most {
				best, most = alt, n
			}
		}
	}
	return best
}

func zero(s *openapi3.SchemaRef, depth int) any {
	if s == nil || s.Value == nil {
		return map[string]any{}
	}
	sc := s.Value
	switch {
	case sc.Nullable:
		return nil
	case len(sc.Enum) > 0:
		return sc.Enum[0]
	case sc.Type.Is("string") || sc.Type == nil && sc.Format != "":
		switch sc.Format {
		case "uri":
			return "https://github.test/"
		case "date-time":
			return "2026-01-01T00:00:00Z"
		case "email":
			return "nobody@github.test"
		}
		return strings.Repeat("x", int(sc.MinLength))
	case sc.Type.Is("integer"), sc.Type.Is("number"):
		return 1
	case sc.Type.Is("boolean"):
		return false
	case sc.Type.Is("array"):
		return []any{}
	}
	for _, list := range []openapi3.SchemaRefs{sc.AnyOf, sc.OneOf} {
		for _, alt := range list {
			return zero(alt, depth+1)
		}
	}
	return complete(s, map[string]any{}, depth+1)
}

// checkRequest holds a request against the description.
func checkRequest(ctx context.Context, in *openapi3filter.RequestValidationInput) error {
	return openapi3filter.ValidateRequest(ctx, in)
}

// checkAnswer holds an answer against the description. Faults that it does not list are GitHub's all the same.
func checkAnswer(ctx context.Context, in *openapi3filter.RequestValidationInput, status int, header http.Header, body []byte) error {
	if in.Route.Operation.Responses.Status(status) == nil {
		if status >= 400 || status == http.StatusNotModified {
			return nil
		}
		return fmt.Errorf("%s never answers %d", in.Route.Operation.OperationID, status)
	}
	out := &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: status, Header: header, Options: in.Options}
	out.SetBodyBytes(body)
	return openapi3filter.ValidateResponse(ctx, out)
}
