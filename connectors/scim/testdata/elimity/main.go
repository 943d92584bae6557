// Command elimity serves SCIM applications on github.com/elimity-com/scim, for the tests of the connector. It is a
// module of its own, since two modules that the library needs can't be listed by go list -m -u.
//
// Each first segment of a path is an application of its own, empty at first: /7/v2/Users. The token is in the variable
// TOKEN. The address is printed as one line, and the end of standard input ends the program.
package main

import (
	"cmp"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	elimity "github.com/elimity-com/scim"
	scimerrors "github.com/elimity-com/scim/errors"
	"github.com/elimity-com/scim/filter"
	"github.com/elimity-com/scim/optional"
	"github.com/elimity-com/scim/schema"
)

// principalSchema is that of a third type of resource.
const principalSchema = "urn:example:ServicePrincipal"

// serverPage is how many resources the server answers with at once. The profile asks for more.
const serverPage = 50

// Status 412 is no variable of the library.
func precondition() scimerrors.ScimError {
	return scimerrors.ScimError{Status: http.StatusPreconditionFailed, Detail: "somebody else changed it"}
}

// store is where the server of elimity-com/scim keeps what it checked: the library knows the protocol and the
// schemas, and leaves storing to its user. It is stricter than SCIMMY's: a member must exist and is stored once, one
// who is deleted is no member any more, and If-Match is heeded.
type store struct {
	mu    sync.Mutex
	last  int
	kinds map[string]map[string]*stored
}

type stored struct {
	attributes elimity.ResourceAttributes
	version    int
	number     int // the order of making
}

type handler struct {
	s    *store
	kind string
}

func (h handler) resource(id string, s *stored) elimity.Resource {
	return elimity.Resource{ID: id, Attributes: clone(s.attributes), Meta: elimity.Meta{Version: fmt.Sprintf(`W/"%d"`, s.version)}}
}

func clone(a elimity.ResourceAttributes) elimity.ResourceAttributes {
	out := maps.Clone(a)
	if list, ok := out["members"].([]any); ok {
		out["members"] = slices.Clone(list)
	}
	return out
}

func unique(kind string) string {
	return map[string]string{"User": "userName", "ServicePrincipal": "applicationId"}[kind]
}

// check holds a resource to the rules of the store.
func (h handler) check(id string, a elimity.ResourceAttributes) error {
	if key := unique(h.kind); key != "" {
		for other, s := range h.s.kinds[h.kind] {
			if other != id && s.attributes[key] == a[key] {
				return scimerrors.ScimErrorUniqueness
			}
		}
	}
	var members []any
	seen := map[any]bool{}
	list, _ := a["members"].([]any)
	for _, m := range list {
		m, _ := m.(map[string]any)
		value, _ := m["value"].(string)
		kind := ""
		for _, k := range []string{"User", "Group", "ServicePrincipal"} {
			if h.s.kinds[k][value] != nil {
				kind = k
			}
		}
		if kind == "" {
			return scimerrors.ScimErrorBadParams([]string{"members"})
		}
		if !seen[value] {
			seen[value] = true
			members = append(members, map[string]any{"value": value, "$ref": "/v2/" + kind + "s/" + value})
		}
	}
	delete(a, "members")
	if len(members) > 0 {
		a["members"] = members
	}
	return nil
}

func (h handler) find(r *http.Request, id string) (*stored, error) {
	s := h.s.kinds[h.kind][id]
	if s == nil {
		return nil, scimerrors.ScimErrorResourceNotFound(id)
	}
	if v := r.Header.Get("If-Match"); v != "" && v != fmt.Sprintf(`W/"%d"`, s.version) {
		return nil, precondition()
	}
	return s, nil
}

func (h handler) Create(_ *http.Request, a elimity.ResourceAttributes) (elimity.Resource, error) {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	a = clone(a)
	if err := h.check("", a); err != nil {
		return elimity.Resource{}, err
	}
	h.s.last++
	id := strings.ToLower(h.kind) + "/" + strconv.Itoa(h.s.last) // an id that has to be escaped in a path
	h.s.kinds[h.kind][id] = &stored{attributes: a, number: h.s.last}
	return h.resource(id, h.s.kinds[h.kind][id]), nil
}

func (h handler) Get(r *http.Request, id string) (elimity.Resource, error) {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	s, err := h.find(r, id)
	if err != nil {
		return elimity.Resource{}, err
	}
	return h.resource(id, s), nil
}

func (h handler) GetAll(_ *http.Request, params elimity.ListRequestParams) (elimity.Page, error) {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	type found struct {
		id string
		*stored
	}
	var all []found
	for id, s := range h.s.kinds[h.kind] {
		if params.FilterValidator != nil {
			match := clone(s.attributes)
			match["id"] = id
			if params.FilterValidator.PassesFilter(match) != nil {
				continue
			}
		}
		all = append(all, found{id, s})
	}
	slices.SortFunc(all, func(a, b found) int { return cmp.Compare(a.number, b.number) })
	start := min(params.StartIndex-1, len(all))
	page := elimity.Page{TotalResults: len(all)}
	for _, f := range all[start:min(start+params.Count, len(all))] {
		page.Resources = append(page.Resources, h.resource(f.id, f.stored))
	}
	return page, nil
}

func (h handler) Replace(r *http.Request, id string, a elimity.ResourceAttributes) (elimity.Resource, error) {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	s, err := h.find(r, id)
	if err != nil {
		return elimity.Resource{}, err
	}
	a = clone(a)
	if err := h.check(id, a); err != nil {
		return elimity.Resource{}, err
	}
	s.attributes = a
	s.version++
	return h.resource(id, s), nil
}

func (h handler) Delete(r *http.Request, id string) error {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	if _, err := h.find(r, id); err != nil {
		return err
	}
	delete(h.s.kinds[h.kind], id)
	for _, g := range h.s.kinds["Group"] {
		if list, ok := g.attributes["members"].([]any); ok {
			g.attributes["members"] = slices.DeleteFunc(list, func(m any) bool {
				v, _ := m.(map[string]any)
				return v["value"] == id
			})
		}
	}
	return nil
}

func (h handler) Patch(r *http.Request, id string, ops []elimity.PatchOperation) (elimity.Resource, error) {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	s, err := h.find(r, id)
	if err != nil {
		return elimity.Resource{}, err
	}
	a := clone(s.attributes)
	for _, op := range ops {
		if op.Path == nil {
			values, ok := op.Value.(map[string]any)
			if !ok {
				return elimity.Resource{}, scimerrors.ScimErrorInvalidValue
			}
			maps.Copy(a, values)
			continue
		}
		name := op.Path.AttributePath.AttributeName
		list, _ := a[name].([]any)
		switch {
		case op.Op == elimity.PatchOperationAdd && name == "members":
			values, ok := op.Value.([]any)
			if !ok {
				return elimity.Resource{}, scimerrors.ScimErrorInvalidValue
			}
			a[name] = append(list, values...)
		case op.Op == elimity.PatchOperationRemove && op.Path.ValueExpression != nil:
			attribute, _ := schema.CoreGroupSchema().Attributes.ContainsAttribute(name)
			v := filter.NewFilterValidator(op.Path.ValueExpression, schema.Schema{Attributes: attribute.SubAttributes()})
			a[name] = slices.DeleteFunc(list, func(m any) bool {
				m2, ok := m.(map[string]any)
				return ok && v.PassesFilter(m2) == nil
			})
		case op.Op == elimity.PatchOperationRemove:
			delete(a, name)
		default:
			a[name] = op.Value
		}
	}
	if err := h.check(id, a); err != nil {
		return elimity.Resource{}, err
	}
	s.attributes = a
	s.version++
	return h.resource(id, s), nil
}

// application is a server with a store of its own.
func application() (http.Handler, error) {
	s := &store{kinds: map[string]map[string]*stored{"User": {}, "Group": {}, "ServicePrincipal": {}}}
	principal := schema.Schema{ID: principalSchema, Name: optional.NewString("ServicePrincipal"), Attributes: schema.Attributes{
		schema.SimpleCoreAttribute(schema.SimpleStringParams(schema.StringParams{Name: "applicationId", Required: true})),
		schema.SimpleCoreAttribute(schema.SimpleBooleanParams(schema.BooleanParams{Name: "active"})),
	}}
	return elimity.NewServer(&elimity.ServerArgs{
		ServiceProviderConfig: &elimity.ServiceProviderConfig{MaxResults: serverPage, SupportFiltering: true, SupportPatch: true},
		ResourceTypes: []elimity.ResourceType{
			{Name: "User", Endpoint: "/Users", Schema: schema.CoreUserSchema(), Handler: handler{s, "User"}},
			{Name: "Group", Endpoint: "/Groups", Schema: schema.CoreGroupSchema(), Handler: handler{s, "Group"}},
			{Name: "ServicePrincipal", Endpoint: "/ServicePrincipals", Schema: principal, Handler: handler{s, "ServicePrincipal"}},
		},
	})
}

// applications serves each first segment of a path with an application of its own.
type applications struct {
	token string
	mu    sync.Mutex
	all   map[string]http.Handler
}

func (a *applications) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer "+a.token {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	h, err := a.find(name)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	http.StripPrefix("/"+name, h).ServeHTTP(w, r)
}

func (a *applications) find(name string) (http.Handler, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if h := a.all[name]; h != nil {
		return h, nil
	}
	h, err := application()
	if err != nil {
		return nil, err
	}
	a.all[name] = h
	return h, nil
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Handler: &applications{token: os.Getenv("TOKEN"), all: map[string]http.Handler{}}}
	go func() {
		if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
			log.Print(err)
		}
		if err := server.Close(); err != nil {
			log.Print(err)
		}
	}()
	fmt.Println(listener.Addr())
	if err := server.Serve(listener); err != http.ErrServerClosed {
		log.Fatal(err)
	}
}
