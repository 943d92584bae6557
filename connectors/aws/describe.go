package aws

import (
	_ "embed"
	"encoding/json"

	"github.com/countersign/countersign/schemas"
)

//go:embed plan.sh
var planScript string

//go:embed apply.sh
var applyScript string

// The types of connections and targets.
const (
	typeGroup        = "group"
	typePolicy       = "policy"
	typeRole         = "role"
	typeUser         = "user"
	typeAWSPolicy    = "aws_policy"
	typeInlinePolicy = "inline_policy"
)

// The privileges on targets that are not connections.
const (
	privilegeAttach = "ATTACH" // an AWS-managed policy is attached
	privilegeEmbed  = "EMBED"  // the document is embedded in the connection
)

const configSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "required": ["account"],
  "properties": {
    "account": {"type": "string", "pattern": "^[0-9]{12}$", "description": "The account's number. Credentials of another account are refused."},
    "region": {"type": "string", "pattern": "^[a-z]{2}(-[a-z]+)+-[0-9]$", "default": "us-east-1", "description": "Determines the partition (IAM is global within one): us-east-1, cn-north-1, us-gov-west-1."},
    "sign_in": {"enum": ["keys", "environment", "web_identity", "instance"], "default": "keys", "description": "Where credentials come from: the keys below; AWS_ACCESS_KEY_ID and its companions of the environment; an OpenID Connect token that role_arn trusts; the EC2 instance. Other sources are never used."},
    "access_key_id": {"x-secret": true, "description": "With sign_in: keys, those for planning."},
    "secret_access_key": {"x-secret": true, "description": "Belongs to access_key_id."},
    "session_token": {"x-secret": true, "description": "Belongs to access_key_id, where it is temporary."},
    "apply_access_key_id": {"x-secret": true, "description": "The keys for applying; default: those for planning."},
    "apply_secret_access_key": {"x-secret": true, "description": "Belongs to apply_access_key_id."},
    "apply_session_token": {"x-secret": true, "description": "Belongs to apply_access_key_id."},
    "web_identity_token": {"x-secret": true, "description": "With sign_in: web_identity, the token, as {file: /path} of what the CI system writes."},
    "role_arn": {"type": "string", "pattern": "^arn:aws[a-z-]*:iam::[0-9]{12}:role/[!-~]+$", "maxLength": 2048, "description": "The role to assume for planning."},
    "apply_role_arn": {"type": "string", "pattern": "^arn:aws[a-z-]*:iam::[0-9]{12}:role/[!-~]+$", "maxLength": 2048, "description": "The role to assume for applying; default: role_arn."},
    "external_id": {"type": "string", "pattern": "^[A-Za-z0-9_+=,.@:/-]{2,}$", "maxLength": 1224, "description": "The external id that the trust policies of these roles require."},
    "path_prefix": {"type": "string", "pattern": "^/([!-~]+/)?$", "maxLength": 512, "default": "/", "description": "Groups, roles and policies outside this path are never changed; new ones get it."},
    "tag": {"type": "object", "additionalProperties": false, "required": ["key", "value"], "description": "Roles and policies get this tag, and without it they are never changed. IAM doesn't support tags on groups.",
      "properties": {"key": {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[\\p{L}\\p{Z}\\p{N}_.:/=+@-]+$"}, "value": {"type": "string", "maxLength": 256, "pattern": "^[\\p{L}\\p{Z}\\p{N}_.:/=+@-]*$"}}},
    "permissions_boundary": {"type": "string", "pattern": "^arn:aws[a-z-]*:iam::(aws|[0-9]{12}):policy/[!-~]+$", "maxLength": 2048, "description": "The boundary of every new role, which requests can't replace."},
    "endpoint": {"type": "string", "format": "uri", "description": "Another address of IAM: https, or http on loopback."},
    "sts_endpoint": {"type": "string", "format": "uri", "description": "Another address of STS; default: endpoint, if it is set."},
    "ca_file": {"type": "string", "minLength": 1, "maxLength": 4096, "description": "PEM file of the authorities that may have signed the server's certificate, in place of the system's: absolute, or relative to the access repository and within it."},
    "timeout": {"type": "string", "pattern": "^[0-9]+(ms|s|m)$", "default": "30s", "description": "Time limit of one request."},
    "max_wait": {"type": "string", "pattern": "^[0-9]+(ms|s|m)$", "default": "20s", "description": "The longest wait before a retry. A request that would wait longer fails for this run."},
    "settle": {"type": "string", "pattern": "^[0-9]+(ms|s|m)$", "default": "30s", "description": "Time for IAM to make a new entity visible everywhere."},
    "page_size": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 1000, "description": "Items per request to IAM."}
  }
}`

const groupSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "path": {"type": "string", "maxLength": 512, "pattern": "^/([!-~]+/)?$", "description": "The group's path; unchanged if absent, path_prefix for a new group. Changing it changes the ARN."}
  }
}`

const policySchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "path": {"type": "string", "maxLength": 512, "pattern": "^/(([A-Za-z0-9.,+@=_-]+/)+)?$", "description": "The policy's path; path_prefix for a new policy. It can never be changed."},
    "description": {"type": "string", "maxLength": 1000, "description": "The policy's purpose. It can never be changed."},
    "document": {"type": ["object", "string"], "minLength": 2, "maxLength": 131072, "minProperties": 1, "description": "The policy document: an object, or JSON text. A change creates a new default version. A new policy without one allows only what everybody may do anyway."}
  }
}`

const roleSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "path": {"type": "string", "maxLength": 512, "pattern": "^/([!-~]+/)?$", "description": "The role's path; path_prefix for a new role. It can never be changed."},
    "description": {"type": "string", "maxLength": 1000, "pattern": "^[\\x09\\x0A\\x0D\\x20-\\x7E\\xA1-\\xFF]*$", "description": "The role's purpose; unchanged if absent."},
    "max_session_duration": {"type": "integer", "minimum": 3600, "maximum": 43200, "description": "The longest session in seconds; unchanged if absent, an hour for a new role."},
    "permissions_boundary": {"type": "string", "maxLength": 2048, "pattern": "^(arn:aws[a-z-]*:iam::(aws|[0-9]{12}):policy/[!-~]+)?$", "description": "ARN of the policy that limits the role's rights; empty for none, unchanged if absent."},
    "assume_role_policy": {"type": ["object", "string"], "minLength": 2, "maxLength": 131072, "minProperties": 1, "description": "The trust policy, which lists who may assume the role: an object, or JSON text. Without one, nobody may assume a new role."}
  }
}`

// namePattern matches every name in IAM.
const namePattern = `[A-Za-z0-9_+=,.@-]+`

// Names that AWS reserves.
func reservedRoles() []string { return []string{"AWSServiceRoleFor*", "AWSReserved*"} }

func powerfulPolicies() []string {
	return []string{"*Admin*", "*FullAccess*", "*PowerUser*", "*/SecretsManagerReadWrite", "SecretsManagerReadWrite"}
}

func powerfulNames() []string { return []string{"*admin*", "*poweruser*"} }

// describe returns the connector's abilities.
func describe() schemas.Description {
	name := func(n int) schemas.NameRule {
		return schemas.NameRule{MaxBytes: n, Pattern: namePattern, FoldCase: true}
	}
	member := []string{"MEMBER"}
	user := schemas.GrantableType{Type: typeUser, Edge: schemas.EdgeIdentity, Privileges: member, Default: member,
		Names: name(128), Grant: true, Revoke: true}
	// A holder of an attached policy gets the policy's rights, so it is a member of the policy.
	policy := schemas.GrantableType{Type: typePolicy, Edge: schemas.EdgeConnection, Privileges: member, Default: member,
		Names: name(128), Privileged: powerfulNames(), Grant: true, Revoke: true}
	attach, embed := []string{privilegeAttach}, []string{privilegeEmbed}
	managed := schemas.GrantableType{Type: typeAWSPolicy, Edge: schemas.EdgeResource, Privileges: attach, Default: attach,
		Names:      schemas.NameRule{MaxBytes: 640, Pattern: `(?:[A-Za-z0-9.,+@=_-]+/)*` + namePattern, FoldCase: true},
		Privileged: powerfulPolicies(), Grant: true, Revoke: true}
	inline := schemas.GrantableType{Type: typeInlinePolicy, Edge: schemas.EdgeResource, Privileges: embed, Default: embed,
		Names: schemas.NameRule{MaxBytes: 128, Pattern: namePattern}, Grant: false, Revoke: true}
	roleNames := name(64)
	roleNames.Reserved = reservedRoles()
	return schemas.Description{
		Name: "aws", Title: "AWS IAM", NativeIDs: true, Config: json.RawMessage(configSchema), PlanScript: planScript, ApplyScript: applyScript,
		Types: []schemas.ConnectionType{
			{Name: typeGroup, Title: "Group", Payload: json.RawMessage(groupSchema), Create: true, Update: true, Delete: true,
				Names: name(128), Privileged: powerfulNames(), Grantable: []schemas.GrantableType{user, policy, managed, inline}},
			{Name: typePolicy, Title: "Customer-managed policy", Payload: json.RawMessage(policySchema), Create: true, Update: true, Delete: true,
				Names: name(128), Privileged: powerfulNames(), PrivilegedFields: []string{"document"}, Grantable: []schemas.GrantableType{user}},
			{Name: typeRole, Title: "Role", Payload: json.RawMessage(roleSchema), Create: true, Update: true, Delete: true,
				Names: roleNames, Privileged: powerfulNames(), PrivilegedFields: []string{"assume_role_policy", "permissions_boundary"},
				Grantable: []schemas.GrantableType{policy, managed, inline}},
		},
	}
}
