package scim

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/countersign/countersign/connectors"
)

// The types of connections and of what they are given.
const (
	typeGroup     = "group"
	typeUser      = "user"
	typePrincipal = "service_principal"
	// typeOther is what other hands put into a group and no list names: it is shown, and not described.
	typeOther = "other"

	privilegeMember = "MEMBER"
)

const configTemplate = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "required": ["url"],
  "properties": {
    "url": {"type": "string", "minLength": 1, "maxLength": 2000, "description": "Where the application's SCIM API begins: what Users and Groups are below, as https://HOST/scim/v2."},
    "profile": {"enum": PROFILES, "default": "generic", "description": "Which application it is. generic is the RFC."},
    "token": {"x-secret": true, "description": "Bearer token for planning, which only reads."},
    "apply_token": {"x-secret": true, "description": "Bearer token for applying; default: that for planning."},
    "username": {"type": "string", "minLength": 1, "maxLength": 500, "description": "User for planning, with password, where the application takes basic authentication."},
    "password": {"x-secret": true, "description": "The password of username."},
    "apply_username": {"type": "string", "minLength": 1, "maxLength": 500, "description": "User for applying; default: that for planning."},
    "apply_password": {"x-secret": true, "description": "The password of apply_username."},
    "oauth": {"$ref": "#/$defs/oauth", "description": "Fetches tokens for planning by client credentials (RFC 6749, 4.4), where they are short-lived."},
    "apply_oauth": {"$ref": "#/$defs/oauth", "description": "The same for applying; default: that for planning."},
    "ca_file": {"type": "string", "minLength": 1, "maxLength": 4096, "description": "PEM file of the authorities that may have signed the server's certificate, in place of the system's: absolute, or relative to the access repository and within it."},
    "protected": {"type": "array", "maxItems": 1000, "items": {"type": "string", "minLength": 1, "maxLength": 1024}, "default": [], "description": "Glob patterns of groups that are never changed, as those of the application's administrators."},
    "write": {"enum": ["auto", "patch", "put"], "default": "auto", "description": "How groups are changed: auto is what the application says of itself."},
    "filter": {"enum": ["auto", "always", "never"], "default": "auto", "description": "Whether names are looked up by filters: auto is what the application says of itself."},
    "fold_user_names": {"type": "boolean", "description": "Whether user names are one whatever their case; default: as the profile knows. With true they are shown in lower case."},
    "page_size": {"type": "integer", "minimum": 1, "maximum": 10000, "description": "How many resources to ask for at once; default: the profile's, within what the application says of itself."},
    "max_lookups": {"type": "integer", "minimum": 1, "maximum": 10000000, "default": 20000, "description": "How many single requests one reading may take, where lists do not show who is in a group."},
    "timeout": {"type": "string", "pattern": "^[0-9]+(ms|s|m)$", "default": "30s", "description": "How long one request may take."},
    "retries": {"type": "integer", "minimum": 0, "maximum": 20, "default": 4, "description": "How often a request that failed is sent again, where that does no harm."},
    "settle": {"type": "string", "pattern": "^[0-9]+(ms|s|m)$", "default": "2s", "description": "With PUT and without ETags: after how long a group is read again, to see whether somebody else overwrote it. Longer than another writer takes between reading and writing."}
  },
  "$defs": {
    "oauth": {
      "type": "object",
      "additionalProperties": false,
      "required": ["token_url", "client_id", "client_secret"],
      "properties": {
        "token_url": {"type": "string", "minLength": 1, "maxLength": 2000, "description": "Where tokens are made: https://HOST/PATH."},
        "client_id": {"type": "string", "minLength": 1, "maxLength": 500, "description": "The client's id."},
        "client_secret": {"x-secret": true, "description": "The client's secret."},
        "grant": {"enum": ["client_credentials", "account_credentials"], "default": "client_credentials", "description": "The grant_type: account_credentials is Zoom's."},
        "account_id": {"type": "string", "minLength": 1, "maxLength": 500, "description": "The account_id that account_credentials needs."},
        "scope": {"type": "string", "minLength": 1, "maxLength": 2000, "description": "The scopes to ask for, with spaces between."}
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

const externalID = `"external_id": {"type": "string", "maxLength": 1024, "description": "The group's externalId, by which a directory that provisions it knows it again. Left alone when absent; \"\" takes it away."}`

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

// Describe says what the connector can do with any of its profiles.
func (Connector) Describe() connectors.Description {
	widest := generic()
	widest.principals = true
	d := describe(widest, rights{members: true, update: true})
	var plan, apply strings.Builder
	for _, p := range profiles() {
		fmt.Fprintf(&plan, "# %s (profile: %s)\n#   %s.\n", p.title, p.name, p.token)
	}
	fmt.Fprint(&apply, "# Applying uses what planning uses, where the application has one kind of credential only. It needs the rights to\n"+
		"# make, change and delete groups, and to read users; none to change users.\n", plan.String())
	d.PlanScript = "# SCIM has no script: credentials are made by hand, and most may do everything.\n" + plan.String()
	d.ApplyScript = apply.String()
	return d
}

// rights are what an installation lets be done.
type rights struct{ members, update bool }

func describe(p profile, can rights) connectors.Description {
	member := func(typ string, edge connectors.Edge, names connectors.NameRule) connectors.GrantableType {
		return connectors.GrantableType{Type: typ, Edge: edge, Privileges: []string{privilegeMember}, Default: []string{privilegeMember},
			Names: names, Grant: can.members, Revoke: can.members}
	}
	users := anyName()
	users.FoldCase = p.foldUsers
	group := connectors.ConnectionType{Name: typeGroup, Title: "Group", Payload: payloadSchema(p.external), Create: true,
		Update: can.update && p.external != externalNone, Delete: true, Names: p.names,
		Grantable: []connectors.GrantableType{member(typeUser, connectors.EdgeIdentity, users)}}
	if p.nested {
		target := p.names
		target.Reserved = nil
		group.Grantable = append(group.Grantable, member(typeGroup, connectors.EdgeMember, target))
	}
	if p.principals {
		group.Grantable = append(group.Grantable, member(typePrincipal, connectors.EdgeIdentity, anyName()))
	}
	script := "# " + p.title + "\n#   " + p.token + ".\n"
	return connectors.Description{Name: "scim", Title: "SCIM 2.0", Config: configSchema(), Types: []connectors.ConnectionType{group},
		PlanScript: script, ApplyScript: script}
}
