package casbin

import (
	_ "embed"
	"encoding/json"
	"regexp"
	"slices"

	"github.com/countersign/countersign/schemas"
)

// The types of connections, resources and identities.
const (
	TypeRole   = "role"
	TypeGroup  = "group"
	TypeUser   = "user"
	TypeObject = "object"
)

const configSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "properties": {
    "policy": {"type": "string", "minLength": 1, "maxLength": 4096, "description": "The CSV policy file: absolute, or relative to the access repository and within it."},
    "model": {"type": "string", "minLength": 1, "maxLength": 4096, "default": "rbac", "description": "rbac for the built-in model, or a model file with the same sections p, p2, p3, p4 and g."},
    "actions": {"type": "array", "minItems": 1, "maxItems": 100, "uniqueItems": true, "default": ["read", "write", "delete", "admin"],
      "items": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9_.:/-]{0,63}$"}, "description": "The actions that may be granted on objects. The first is the default."}
  },
  "required": ["policy"],
  "additionalProperties": false
}`

const payloadSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "properties": {
    "title": {"type": "string", "maxLength": 200, "description": "Human-readable name. Unchanged if absent."},
    "description": {"type": "string", "maxLength": 2000, "default": "", "description": "What it is for."},
    "critical": {"type": "boolean", "default": false, "description": "Marks it for access reviews: its holders can do lasting damage."}
  },
  "additionalProperties": false
}`

const planScript = `# Reading needs the policy file alone. As its owner:
#   POLICY=/srv/app/policy.csv PLAN_USER=countersign-plan sh plan.sh
setfacl -m "u:${PLAN_USER:?}:r" "${POLICY:?}"
setfacl -m "u:${PLAN_USER}:x" "$(dirname "$POLICY")"
`

const applyScript = `# Applying replaces the policy file by a rename, which needs its folder. As its owner:
#   POLICY=/srv/app/policy.csv APPLY_USER=countersign-apply sh apply.sh
# Run countersign as the file's owner if the owner must stay the same: only root can change it.
setfacl -m "u:${APPLY_USER:?}:rw" "${POLICY:?}"
setfacl -m "u:${APPLY_USER}:rwx" "$(dirname "$POLICY")"
`

func defaultActions() []string { return []string{"read", "write", "delete", "admin"} }

// namePattern excludes characters that casbin can't round-trip: it compares rules by their fields joined with
// commas, and writes them without quotes.
const namePattern = `[^\p{C}\p{Z},"](?:[^\p{C}\p{Zl}\p{Zp},"]*[^\p{C}\p{Z},"])?`

const maxNameBytes = 255

func nameRule() schemas.NameRule {
	return schemas.NameRule{MaxBytes: maxNameBytes, Pattern: namePattern}
}

var validName = regexp.MustCompile(`\A(?:` + namePattern + `)\z`)

func describe(actions []string) schemas.Description {
	member := func(typ string, edge schemas.Edge, grant bool) schemas.GrantableType {
		return schemas.GrantableType{Type: typ, Edge: edge, Privileges: []string{"MEMBER"}, Default: []string{"MEMBER"},
			Names: nameRule(), Grant: grant, Revoke: true}
	}
	object := schemas.GrantableType{Type: TypeObject, Edge: schemas.EdgeResource, Privileges: slices.Clone(actions),
		Default: []string{actions[0]}, Names: nameRule(), Grant: true, Revoke: true}
	if slices.Contains(actions, "admin") {
		object.PrivilegedPrivileges = []string{"admin"}
	}
	connection := func(name, title string, grantable ...schemas.GrantableType) schemas.ConnectionType {
		return schemas.ConnectionType{Name: name, Title: title, Payload: json.RawMessage(payloadSchema), Create: true, Update: true,
			Delete: true, Names: nameRule(), Grantable: append([]schemas.GrantableType{object}, grantable...)}
	}
	return schemas.Description{
		Name: "casbin", Title: "Casbin policy file", Config: json.RawMessage(configSchema),
		Types: []schemas.ConnectionType{
			connection(TypeGroup, "Group", member(TypeUser, schemas.EdgeIdentity, true), member(TypeGroup, schemas.EdgeMember, true),
				member(TypeRole, schemas.EdgeConnection, true)),
			// A role can be removed from a group but not added: the group's members should be granted the role instead.
			connection(TypeRole, "Role", member(TypeUser, schemas.EdgeIdentity, true), member(TypeRole, schemas.EdgeConnection, true),
				member(TypeGroup, schemas.EdgeConnection, false)),
		},
		PlanScript: planScript, ApplyScript: applyScript,
	}
}
