package github_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
)

const npmFolder = "../../.ci/npm/node_modules"

func npm(parts ...string) ([]byte, error) {
	b, err := os.ReadFile(filepath.Join(append([]string{npmFolder}, parts...)...))
	if err != nil {
		return nil, fmt.Errorf("what GitHub publishes of its API is missing: run .ci/test, or npm ci --prefix .ci/npm (%w)", err)
	}
	return b, nil
}

// contract is GitHub's own description of the REST operations that the hub serves, that of its Enterprise Cloud, which
// has all that github.com has.
var contract = sync.OnceValues(func() (routers.Router, error) {
	b, err := npm("@octokit", "openapi", "generated", "ghec.json")
	if err != nil {
		return nil, err
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
	needed := map[string]bool{}
	var need func(json.RawMessage)
	need = func(m json.RawMessage) {
		for _, rest := range bytes.Split(m, []byte(`"#/components/`))[1:] {
			ref, _, _ := strings.Cut(string(rest), `"`)
			if !needed[ref] {
				needed[ref] = true
				kind, name, _ := strings.Cut(ref, "/")
				need(raw.Components[kind][name])
			}
		}
	}
	for p, item := range raw.Paths {
		for method, op := range item {
			var o struct {
				OperationID string `json:"operationId"`
			}
			if json.Unmarshal(op, &o) == nil && o.OperationID != "" && served[o.OperationID] == nil {
				delete(item, method)
				continue
			}
			need(op)
		}
		if len(item) == 0 {
			delete(raw.Paths, p)
		}
	}
	for kind, all := range raw.Components {
		for name := range all {
			if !needed[kind+"/"+name] {
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
	return gorillamux.NewRouter(doc)
})

// forContract is a copy of a request in the form that the description speaks of.
func forContract(req *http.Request, body []byte) *http.Request {
	out := req.Clone(req.Context())
	out.Body, out.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	out.Header.Set("Accept", "application/json")
	if len(body) == 0 {
		out.Header.Del("Content-Type")
		out.Body = http.NoBody
	}
	return out
}

// checkAnswer holds an answer against the description. Faults that it does not list are GitHub's all the same.
func checkAnswer(in *openapi3filter.RequestValidationInput, status int, header http.Header, body []byte) error {
	if in.Route.Operation.Responses.Status(status) == nil {
		if status >= 400 {
			return nil
		}
		return fmt.Errorf("%s never answers %d", in.Route.Operation.OperationID, status)
	}
	out := &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: status, Header: header, Options: in.Options}
	out.SetBodyBytes(body)
	return openapi3filter.ValidateResponse(in.Request.Context(), out)
}

// fill adds the properties that the description requires of an answer and the hub has no use for.
func fill(s *openapi3.SchemaRef, v any, depth int) any {
	if s == nil || s.Value == nil || depth > 12 || v == nil {
		return v
	}
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = fill(s.Value.Items, v[i], depth+1)
		}
	case map[string]any:
		for _, part := range s.Value.AllOf {
			fill(part, v, depth+1)
		}
		for _, alternatives := range []openapi3.SchemaRefs{s.Value.OneOf, s.Value.AnyOf} {
			if len(alternatives) > 0 {
				fill(alternatives[0], v, depth+1)
			}
		}
		for name, prop := range s.Value.Properties {
			if have, ok := v[name]; ok {
				v[name] = fill(prop, have, depth+1)
			}
		}
		for _, name := range s.Value.Required {
			if _, ok := v[name]; !ok {
				v[name] = blank(s.Value.Properties[name], depth+1)
			}
		}
	}
	return v
}

// blank is the least value of a schema.
func blank(s *openapi3.SchemaRef, depth int) any {
	if s == nil || s.Value == nil {
		return map[string]any{}
	}
	switch sc := s.Value; {
	case sc.Nullable:
		return nil
	case len(sc.Enum) > 0:
		return sc.Enum[0]
	case sc.Type.Is("string"):
		return map[string]string{"uri": "https://github.test/", "date-time": "2026-01-01T00:00:00Z", "email": "nobody@github.test"}[sc.Format]
	case sc.Type.Is("integer"), sc.Type.Is("number"):
		return 1
	case sc.Type.Is("boolean"):
		return false
	case sc.Type.Is("array"):
		return []any{}
	}
	return fill(s, map[string]any{}, depth)
}
