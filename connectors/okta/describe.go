package okta

import (
	_ "embed"
	"encoding/json"

	"github.com/countersign/countersign/schemas"
)

//go:embed plan.sh
var planScript string

//go:embed apply.sh
var applyScript string

const configSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "required": ["url"],
  "properties": {
    "url": {"type": "string", "minLength": 1, "maxLength": 300, "description": "The organisation's address, such as https://acme.okta.com."},
    "token": {"x-secret": true, "description": "API token (SSWS) for planning, of a read-only administrator. Or client_id and private_key."},
    "client_id": {"type": "string", "minLength": 1, "maxLength": 200, "description": "Client id of the service app for planning."},
    "private_key": {"x-secret": true, "description": "Private key of the service app for planning: PEM, RSA or EC."},
    "key_id": {"type": "string", "minLength": 1, "maxLength": 200, "description": "Id of that key (kid) in the service app; needed when the app has several."},
    "apply_token": {"x-secret": true, "description": "API token for applying; default: the credential for planning."},
    "apply_client_id": {"type": "string", "minLength": 1, "maxLength": 200, "description": "Client id of the service app for applying."},
    "apply_private_key": {"x-secret": true, "description": "Private key of the service app for applying."},
    "apply_key_id": {"type": "string", "minLength": 1, "maxLength": 200, "description": "Id of that key."},
    "admin_roles": {"type": "boolean", "default": true, "description": "Whether administrator roles of groups are read and granted. If not, groups that hold one are protected, and the credential doesn't need the right to see roles."},
    "on_rule": {"enum": ["refuse", "remove"], "default": "refuse", "description": "How a revoke treats a member who is, or may be, in a group by a group rule. With remove Okta puts the user on the rule's list of exclusions."},
    "timeout": {"type": "string", "pattern": "^[0-9]+(ms|s|m)$", "default": "30s", "description": "Time limit of one request."},
    "ca_file": {"type": "string", "minLength": 1, "maxLength": 4096, "description": "PEM file of the authorities that may have signed the server's certificate, in place of the system's: absolute, or relative to the access repository and within it."}
  }
}`

const payloadSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "description": {"type": "string", "maxLength": 1024, "description": "The group's purpose; unchanged if absent."}
  }
}`

// The types of connections and of their targets.
const (
	typeGroup       = "group"
	typeUser        = "user"
	typeApplication = "application"
	typeAdminRole   = "admin_role"
)

// The privileges.
const (
	privilegeMember   = "MEMBER"
	privilegeAccess   = "ACCESS"
	privilegeAssigned = "ASSIGNED"
)

// namePattern matches a group's name: up to 255 characters, none of them invisible, without spaces at the ends.
const namePattern = `[^\p{C}\p{Z}](?:[^\p{C}\p{Zl}\p{Zp}]{0,253}[^\p{C}\p{Z}])?`

// standardRoles are the roles that can be granted to a group by their type (Roles, RoleType), sorted. API_ADMIN is an
// old name of API_ACCESS_MANAGEMENT_ADMIN.
func standardRoles() []string {
	return []string{"API_ACCESS_MANAGEMENT_ADMIN", "APP_ADMIN", "GROUP_MEMBERSHIP_ADMIN", "HELP_DESK_ADMIN", "MOBILE_ADMIN",
		"ORG_ADMIN", "READ_ONLY_ADMIN", "REPORT_ADMIN", "SUPER_ADMIN", "USER_ADMIN"}
}

// ownApplications are the names of Okta's own applications: the admin console, the dashboard, the browser plugin.
func ownApplications() []string { return []string{"okta_browser_plugin", "okta_enduser", "saasure"} }

// description returns the connector's abilities; without administrator roles if the installation leaves them out.
func description(adminRoles bool) schemas.Description {
	group := schemas.ConnectionType{
		Name: typeGroup, Title: "Group", Payload: json.RawMessage(payloadSchema), Create: true, Update: true, Delete: true,
		Names: schemas.NameRule{MaxBytes: 4 * 255, Pattern: namePattern},
		Grantable: []schemas.GrantableType{
			{Type: typeUser, Edge: schemas.EdgeIdentity, Privileges: []string{privilegeMember}, Default: []string{privilegeMember},
				Names: schemas.NameRule{MaxBytes: 4 * 100, Pattern: `[^\p{C}\p{Z}]{1,100}`, FoldCase: true}, Grant: true, Revoke: true},
			{Type: typeApplication, Edge: schemas.EdgeResource, Privileges: []string{privilegeAccess}, Default: []string{privilegeAccess},
				Names: schemas.NameRule{MaxBytes: 4 * 100, Pattern: `[^\p{C}]{1,100}`}, Grant: true, Revoke: true},
		},
	}
	if adminRoles {
		group.Grantable = append(group.Grantable, schemas.GrantableType{
			Type: typeAdminRole, Edge: schemas.EdgeResource, Privileges: []string{privilegeAssigned}, Default: []string{privilegeAssigned},
			Names: schemas.NameRule{Pattern: `[^\p{C}]+`}, Privileged: []string{"*"}, Grant: true, Revoke: true})
	}
	return schemas.Description{Name: "okta", Title: "Okta", NativeIDs: true, Config: json.RawMessage(configSchema),
		Types: []schemas.ConnectionType{group}, PlanScript: planScript, ApplyScript: applyScript}
}
