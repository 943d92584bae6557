package okta_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"gopkg.in/yaml.v3"
)

// described are the paths of Okta's description that the server serves.
func described() []string {
	return []string{"/api/v1/groups", "/api/v1/groups/rules", "/api/v1/groups/{groupId}", "/api/v1/groups/{groupId}/apps",
		"/api/v1/groups/{groupId}/roles", "/api/v1/groups/{groupId}/roles/{roleId}", "/api/v1/groups/{groupId}/users",
		"/api/v1/groups/{groupId}/users/{userId}", "/api/v1/apps", "/api/v1/apps/{appId}/groups", "/api/v1/apps/{appId}/groups/{groupId}",
		"/api/v1/users", "/api/v1/users/{userId}"}
}

// loadDescription reads Okta's own description of its API, which the SDK's module carries, once for each process.
var loadDescription = sync.OnceValues(func() (routers.Router, error) {
	const module = "github.com/okta/okta-sdk-golang/v5"
	out, err := exec.Command("go", "list", "-m", "-modfile=../../.ci/descriptions.mod", "-f", "{{.Dir}}", module).Output()
	dir := strings.TrimSpace(string(out))
	if err != nil || dir == "" {
		return nil, fmt.Errorf("the module %s is missing: run .ci/test, or go mod download -modfile=.ci/descriptions.mod (%v)", module, err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, ".generator", "okta-management-APIs-oasv3-noEnums-inheritance.yaml"))
	if err != nil {
		return nil, err
	}
	var doc map[string]any
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		return nil, err
	}
	all, ok := doc["paths"].(map[string]any)
	if !ok {
		return nil, fmt.Errorf("the description has no paths")
	}
	paths := map[string]any{}
	for _, p := range described() {
		if all[p] == nil {
			return nil, fmt.Errorf("the description has no path %s", p)
		}
		paths[p] = all[p]
	}
	doc["paths"] = paths
	trim(doc)
	encoded, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	spec, err := openapi3.NewLoader().LoadFromData(encoded)
	if err != nil {
		return nil, err
	}
	spec.Servers = nil
	return gorillamux.NewRouter(spec)
})

// trim drops the components that no path leads to: the whole takes seconds to load.
func trim(doc map[string]any) {
	components, _ := doc["components"].(map[string]any)
	need := map[string]bool{}
	var visit func(any)
	visit = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for _, inner := range v {
				visit(inner)
			}
		case []any:
			for _, inner := range v {
				visit(inner)
			}
		case string:
			ref, ok := strings.CutPrefix(v, "#/components/")
			if !ok || need[ref] {
				return
			}
			need[ref] = true
			kind, name, _ := strings.Cut(ref, "/")
			section, _ := components[kind].(map[string]any)
			visit(section[name])
		}
	}
	visit(doc["paths"])
	for kind, section := range components {
		section, _ := section.(map[string]any)
		for name := range section {
			if kind != "securitySchemes" && !need[kind+"/"+name] {
				delete(section, name)
			}
		}
	}
}

// held serves next, and holds each request and each answer to the description.
func held(router routers.Router, next http.Handler, fault func(string)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			fault(err.Error())
		}
		again := func() io.ReadCloser { return io.NopCloser(strings.NewReader(string(body))) }
		r.Body = again()
		about := func(format string, args ...any) {
			fault(r.Method + " " + r.URL.String() + ": " + fmt.Sprintf(format, args...))
		}
		plain := r.Clone(r.Context())
		plain.Body, plain.Host = again(), ""
		plain.URL.Host, plain.URL.Scheme = "", ""
		route, params, err := router.FindRoute(plain)
		if err != nil {
			about("%v", err)
		}
		var in *openapi3filter.RequestValidationInput
		if route != nil {
			in = &openapi3filter.RequestValidationInput{Request: plain, PathParams: params, Route: route,
				Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true}}
			if err := openapi3filter.ValidateRequest(r.Context(), in); err != nil {
				about("the request breaks the description: %v", err)
			}
			for key := range r.URL.Query() {
				if route.Operation.Parameters.GetByInAndName("query", key) == nil {
					about("the description knows no parameter %s", key)
				}
			}
		}
		rec := httptest.NewRecorder()
		next.ServeHTTP(rec, r)
		answer := rec.Result()
		content := rec.Body.Bytes()
		if in != nil {
			out := &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: rec.Code, Header: answer.Header, Options: in.Options}
			out.SetBodyBytes(content)
			// 401 and 409 are said of the whole API, and listed with no path.
			if rec.Code != http.StatusUnauthorized && rec.Code != http.StatusConflict {
				if err := openapi3filter.ValidateResponse(r.Context(), out); err != nil {
					about("the answer %d breaks the description: %v", rec.Code, err)
				}
			}
		}
		for k, v := range answer.Header {
			w.Header()[k] = v
		}
		w.WriteHeader(rec.Code)
		if _, err := w.Write(content); err != nil {
			return // the client went away
		}
	})
}
