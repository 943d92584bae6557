package scim

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/countersign/countersign/schemas"
)

// Messages of RFC 7644 and the schema of RFC 7643 for groups.
const (
	patchMessage = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
	listMessage  = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
	groupSchema  = "urn:ietf:params:scim:schemas:core:2.0:Group"
)

// text is a string. Some servers write it as a number.
type text string

// UnmarshalJSON accepts a string, a number or null.
func (t *text) UnmarshalJSON(b []byte) error {
	b = bytes.TrimSpace(b)
	if len(b) > 0 && (b[0] == '-' || '0' <= b[0] && b[0] <= '9') {
		*t = text(b)
		return nil
	}
	var s *string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	if s != nil {
		*t = text(*s)
	}
	return nil
}

// truth is a boolean. Some servers write it as a string.
type truth bool

// UnmarshalJSON accepts true and false, also as strings.
func (t *truth) UnmarshalJSON(b []byte) error {
	switch strings.ToLower(string(bytes.Trim(bytes.TrimSpace(b), `"`))) {
	case "true":
		*t = true
	case "false", "null", "":
		*t = false
	default:
		return errors.New("invalid boolean")
	}
	return nil
}

// page is a ListResponse, paged by index or by cursor.
type page struct {
	Schemas   []string          `json:"schemas"`
	Total     *int              `json:"totalResults"`
	Resources []json.RawMessage `json:"Resources"`
	Next      string            `json:"nextCursor"`
}

// abilities is a ServiceProviderConfig; nil means absent.
type abilities struct {
	Patch  *supported `json:"patch"`
	Filter *supported `json:"filter"`
	ETag   *supported `json:"etag"`
}

type supported struct {
	Supported  truth `json:"supported"`
	MaxResults int   `json:"maxResults"`
}

// member is one entry of a group.
type member struct {
	Value text   `json:"value"`
	Type  string `json:"type"`
	Ref   string `json:"$ref"`
}

// kind returns the type of the target if the member has it, else "".
func (m member) kind() string {
	for _, k := range []struct{ name, path, typ string }{
		{"User", "/Users/", typeUser}, {"Group", "/Groups/", typeGroup}, {"ServicePrincipal", "/ServicePrincipals/", typePrincipal},
	} {
		ref := "/" + strings.TrimPrefix(m.Ref, "/")
		if strings.EqualFold(m.Type, k.name) || strings.Contains(ref, k.path) {
			return k.typ
		}
	}
	if m.Type != "" && !strings.EqualFold(m.Type, "direct") || m.Ref != "" {
		return typeOther
	}
	return ""
}

// group is a Group resource.
type group struct {
	id, name, external string
	members            []member
	nameless           bool // some members lack an id
	version            string
	raw                map[string]json.RawMessage
}

func decodeGroup(b []byte) (group, error) {
	var v struct {
		ID       text      `json:"id"`
		Name     string    `json:"displayName"`
		External text      `json:"externalId"`
		Members  *[]member `json:"members"`
		Meta     struct {
			Version string `json:"version"`
		} `json:"meta"`
	}
	g := group{}
	if err := json.Unmarshal(b, &v); err != nil {
		return g, err
	}
	if err := json.Unmarshal(b, &g.raw); err != nil {
		return g, err
	}
	if g.raw == nil {
		return g, errors.New("not a JSON object")
	}
	g.id, g.name, g.external, g.version = string(v.ID), v.Name, string(v.External), v.Meta.Version
	if v.Members != nil {
		g.members = slices.DeleteFunc(*v.Members, func(m member) bool { return m.Value == "" })
		g.nameless = len(*v.Members) > len(g.members)
	}
	return g, nil
}

// has reports whether an id is a member.
func (g group) has(id string) bool {
	return slices.ContainsFunc(g.members, func(m member) bool { return string(m.Value) == id })
}

// account is a user, a service principal or the name of a group.
type account struct {
	id, name string
	state    schemas.EntitlementState
}

func (a account) key() (name, id string) { return a.name, a.id }

func decodeUser(b []byte) (account, error) {
	var v struct {
		ID     text   `json:"id"`
		Name   string `json:"userName"`
		Active *truth `json:"active"`
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return account{}, err
	}
	a := account{id: string(v.ID), name: v.Name}
	if v.Active != nil && !bool(*v.Active) {
		a.state = schemas.StateBlocked
	}
	return a, nil
}

// decodePrincipal reads a ServicePrincipal: its name is the applicationId, since display names aren't unique.
func decodePrincipal(b []byte) (account, error) {
	var v struct {
		ID     text   `json:"id"`
		Name   text   `json:"applicationId"`
		Active *truth `json:"active"`
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return account{}, err
	}
	a := account{id: string(v.ID), name: string(v.Name)}
	if v.Active != nil && !bool(*v.Active) {
		a.state = schemas.StateBlocked
	}
	return a, nil
}

// explain returns the application's own words of an Error message (RFC 7644, 3.12).
func explain(body []byte) string {
	var v struct {
		Detail string `json:"detail"`
		Type   string `json:"scimType"`
	}
	if json.Unmarshal(body, &v) != nil {
		return "" // not the application's answer
	}
	if v.Type != "" && v.Detail != "" {
		return v.Type + ": " + v.Detail
	}
	return v.Type + v.Detail
}

// quoted returns a value for a filter: a JSON string (RFC 7644, 3.4.2.2).
func quoted(s string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		return `""` // strings encode
	}
	return strings.TrimSuffix(b.String(), "\n")
}
