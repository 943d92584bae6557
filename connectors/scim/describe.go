package scim

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/countersign/countersign/schemas"
)

// The types of connections and of what they are given.
const (
	typeGroup     = "group"
	typeUser      = "user"
	typePrincipal = "service_principal"
	// typeOther is a member that isn't a user, group or service principal. It can be revoked but not granted.
	typeOther = "other"

	privilegeMember = "MEMBER"
)

const configTemplate = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "required": ["url"],
  "properties": {
    "url": {"type": "string", "minLength": 1, "maxLength": 2000, "description": "Base URL of the application's SCIM API, which has Users and Groups below it, such as https://HOST/scim/v2."},
    "profile": {"enum": PROFILES, "default": "generic", "description": "The application. generic follows the RFC."},
    "token": {"x-secret": true, "description": "Bearer token for planning, which only reads."},
    "apply_token": {"x-secret": true, "description": "Bearer token for applying; default: token."},
    "username": {"type": "string", "minLength": 1, "maxLength": 500, "description": "User for planning, with password, if the application supports basic authentication."},
    "password": {"x-secret": true, "description": "The password of username."},
    "apply_username": {"type": "string", "minLength": 1, "maxLength": 500, "description": "User for applying; default: username."},
    "apply_password": {"x-secret": true, "description": "The password of apply_username."},
    "oauth": {"$ref": "#/$defs/oauth", "description": "Fetches short-lived tokens for planning by client credentials (RFC 6749, 4.4)."},
    "apply_oauth": {"$ref": "#/$defs/oauth", "description": "The same for applying; default: oauth."},
    "ca_file": {"type": "string", "minLength": 1, "maxLength": 4096, "description": "PEM file of the authorities to trust instead of the system's: absolute, or relative to the access repository and within it."},
    "protected": {"type": "array", "maxItems": 1000, "items": {"type": "string", "minLength": 1, "maxLength": 1024}, "default": [], "description": "Glob patterns of groups that are never changed, such as those of the application's administrators."},
    "write": {"enum": ["auto", "patch", "put"], "default": "auto", "description": "How groups are changed; auto: as the application's ServiceProviderConfig announces."},
    "filter": {"enum": ["auto", "always", "never"], "default": "auto", "description": "Whether names are looked up by filters; auto: as the application's ServiceProviderConfig announces."},
    "fold_user_names": {"type": "boolean", "description": "Whether user names are case-insensitive; default: the profile's. If true, they are shown in lower case."},
    "page_size": {"type": "integer", "minimum": 1, "maximum": 10000, "description": "Resources per page; default: the profile's, within the application's maximum."},
    "max_lookups": {"type": "integer", "minimum": 1, "maximum": 10000000, "default": 20000, "description": "Maximum of single requests per read, if lists don't show the members of groups."},
    "timeout": {"type": "string", "pattern": "^[0-9]+(ms|s|m)$", "default": "30s", "description": "Timeout of one request."},
    "retries": {"type": "integer", "minimum": 0, "maximum": 20, "default": 4, "description": "How often a failed request is retried if that is safe."},
    "settle": {"type": "string", "pattern": "^[0-9]+(ms|s|m)$", "default": "2s", "description": "With PUT and without ETags: wait before a group is read again to detect that another writer overwrote it. Set it longer than other writers take between reading and writing."}
  },
  "$defs": {
    "oauth": {
      "type": "object",
      "additionalProperties": false,
      "required": ["token_url", "client_id", "client_secret"],
      "properties": {
        "token_url": {"type": "string", "minLength": 1, "maxLength": 2000, "description": "URL of the token endpoint: https://HOST/PATH."},
        "client_id": {"type": "string", "minLength": 1, "maxLength": 500, "description": "The client's id."},
        "client_secret": {"x-secret": true, "description": "The client's secret."},
        "grant": {"enum": ["client_credentials", "account_credentials"], "default": "client_credentials", "description": "The grant_type; account_credentials is for Zoom."},
        "account_id": {"type": "string", "minLength": 1, "maxLength": 500, "description": "The account_id for account_credentials."},
        "scope": {"type": "string", "minLength": 1, "maxLength": 2000, "description": "The scopes to request, separated by spaces."}
      }
    }
  }
}`

func configSchema() json.RawMessage {
	names, err := json.Marshal(profileNames())
	if err != nil {
		panic(err) // a list of constants
	}
	return json.RawMessage(strings.Replace(configTemplate, "PROFILES", string(names), 1))
}

const externalID = `"external_id": {"type": "string", "maxLength": 1024, "description": "The group's externalId, by which a provisioning directory recognises it. Unchanged if absent; \"\" removes it."}`

func payloadSchema(e external) json.RawMessage {
	properties, required := externalID, ""
	switch e {
	case externalNone:
		properties = ""
	case externalRequired:
		properties, required = strings.Replace(externalID, `"maxLength"`, `"minLength": 1, "maxLength"`, 1), `, "required": ["external_id"]`
	case externalFree:
	}
	return json.RawMessage(`{"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "additionalProperties": false, "properties": {` + properties + `}` + required + `}`)
}

// Describe describes the connector with the widest of its profiles.
func (Connector) Describe() schemas.Description {
	widest := generic()
	widest.principals = true
	d := describe(widest, rights{members: true, update: true})
	var plan, apply strings.Builder
	for _, p := range profiles() {
		fmt.Fprintf(&plan, "# %s (profile: %s)\n#   %s.\n", p.title, p.name, p.token)
	}
	fmt.Fprint(&apply, "# If the application has only one kind of credential, applying uses that for planning. It needs the rights to create,\n"+
		"# change and delete groups, and to read users; it needs no right to change users.\n", plan.String())
	d.PlanScript = "# There is no script for SCIM: create credentials by hand. Most of them can do everything.\n" + plan.String()
	d.ApplyScript = apply.String()
	return d
}

// rights lists the changes that an application supports.
type rights struct{ members, update bool }

func describe(p profile, can rights) schemas.Description {
	member := func(typ string, edge schemas.Edge, names schemas.NameRule) schemas.GrantableType {
		return schemas.GrantableType{Type: typ, Edge: edge, Privileges: []string{privilegeMember}, Default: []string{privilegeMember},
			Names: names, Grant: can.members, Revoke: can.members}
	}
	users := anyName()
	users.FoldCase = p.foldUsers
	group := schemas.ConnectionType{Name: typeGroup, Title: "Group", Payload: payloadSchema(p.external), Create: true,
		Update: can.update && p.external != externalNone, Delete: true, Names: p.names,
		Grantable: []schemas.GrantableType{member(typeUser, schemas.EdgeIdentity, users)}}
	if p.nested {
		target := p.names
		target.Reserved = nil
		group.Grantable = append(group.Grantable, member(typeGroup, schemas.EdgeMember, target))
	}
	if p.principals {
		group.Grantable = append(group.Grantable, member(typePrincipal, schemas.EdgeIdentity, anyName()))
	}
	script := "# " + p.title + "\n#   " + p.token + ".\n"
	return schemas.Description{Name: "scim", Title: "SCIM 2.0", NativeIDs: true, Config: configSchema(), Types: []schemas.ConnectionType{group},
		PlanScript: script, ApplyScript: script}
}
