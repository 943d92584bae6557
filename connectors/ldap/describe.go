package ldap

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
  "required": ["url", "bind_dn", "password", "base_dn", "user_base_dn"],
  "properties": {
    "url": {"type": "string", "pattern": "^ldaps?://[^/?#@]+/?$", "description": "ldaps://HOST[:PORT], or ldap://HOST[:PORT] with start_tls. Without TLS only on loopback."},
    "start_tls": {"type": "boolean", "default": false, "description": "Switches to TLS before anything else is sent, for a URL with ldap://."},
    "allow_plaintext": {"type": "boolean", "default": false, "description": "Allows a connection without TLS to another host. Anyone on the network path can then read and change passwords and answers."},
    "ca_file": {"type": "string", "minLength": 1, "description": "PEM file of the authorities to trust; default: the system's. A relative path starts in the access repository."},
    "bind_dn": {"type": "string", "minLength": 1, "description": "The account for planning, which only reads: a DN, or in Active Directory also user@domain or DOMAIN\\user."},
    "password": {"x-secret": true, "description": "Its password."},
    "apply_bind_dn": {"type": "string", "minLength": 1, "description": "The account for applying; default: bind_dn."},
    "apply_password": {"x-secret": true, "description": "Its password."},
    "flavour": {"enum": ["openldap", "active_directory"], "description": "The kind of directory; default: detected."},
    "base_dn": {"type": "string", "minLength": 1, "description": "Groups below this entry are managed. Nothing outside it is ever changed."},
    "user_base_dn": {"type": "string", "minLength": 1, "description": "Accounts below this entry can be members."},
    "group_filter": {"type": "string", "minLength": 1, "description": "Which entries are groups (RFC 4515); default: the usual classes of the flavour."},
    "user_filter": {"type": "string", "minLength": 1, "description": "Which entries are accounts (RFC 4515); default: the usual classes of the flavour."},
    "group_name": {"type": "string", "pattern": "^[A-Za-z][A-Za-z0-9-]*$", "description": "The attribute that names a group; default: cn, in Active Directory sAMAccountName."},
    "user_name": {"type": "string", "pattern": "^[A-Za-z][A-Za-z0-9-]*$", "description": "The attribute that names an account; default: uid, in Active Directory sAMAccountName."},
    "create": {
      "type": "object",
      "additionalProperties": false,
      "description": "How new groups are created.",
      "properties": {
        "parent_dn": {"type": "string", "minLength": 1, "description": "The parent entry, at or below base_dn; default: base_dn."},
        "object_classes": {"type": "array", "minItems": 1, "maxItems": 20, "uniqueItems": true, "items": {"type": "string", "pattern": "^[A-Za-z][A-Za-z0-9-]*$"},
          "description": "Its object classes; default: groupOfNames, in Active Directory group."},
        "attributes": {"type": "object", "additionalProperties": {"type": "array", "minItems": 1, "items": {"type": "string", "minLength": 1}},
          "description": "Further attributes with their values, such as owner: [\"cn=...\"]. They are set only on creation."},
        "gid_numbers": {"type": "object", "additionalProperties": false, "required": ["min", "max"], "description": "The range for the gidNumber of a new posixGroup. No other program should assign numbers of it.",
          "properties": {"min": {"type": "integer", "minimum": 1, "maximum": 2147483647}, "max": {"type": "integer", "minimum": 1, "maximum": 2147483647}}}
      }
    },
    "placeholder_dn": {"type": "string", "minLength": 1, "description": "The hidden member of groups that can't be empty. The entry must not exist. Default: cn=countersign-placeholder below base_dn."},
    "ignored_members": {"type": "array", "maxItems": 100, "items": {"type": "string", "minLength": 1}, "description": "DNs in groups that don't count as members, such as that of refint_nothing. The entries must not exist."},
    "page_size": {"type": "integer", "minimum": 1, "maximum": 100000, "default": 500, "description": "Entries per page. Active Directory returns at most 1000."},
    "timeout": {"type": "string", "pattern": "^[0-9]+(ms|s|m)$", "default": "30s", "description": "Timeout of a connection attempt and of each request."}
  }
}`

// The attributes of a payload. Scope and security are those of Active Directory.
const (
	keyDescription = "description"
	keyScope       = "scope"
	keySecurity    = "security"
)

const (
	payloadOpen = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "description": {"type": "string", "maxLength": 1024, "pattern": "^$|[^ \n]", "default": "", "description": "Purpose of the group. Several values are read as lines."}`
	payloadAD = `,
    "scope": {"enum": ["domain_local", "global", "universal"], "default": "global", "description": "Active Directory: where the group can be used, and who can be a member."},
    "security": {"type": "boolean", "default": true, "description": "Active Directory: whether the group can get permissions. If false, it is a distribution list."}`
	payloadClose = "\n  }\n}"
)

// The types of connections and targets.
const (
	typeGroup   = "group"
	typeUser    = "user"
	typeForeign = "foreign"
)

// namePattern matches words of printable characters with single spaces between them. It excludes names that a
// directory treats as equal to others (RFC 4518: spaces at the ends, runs of spaces, combining marks).
const namePattern = `[^\p{C}\p{Z}\p{M}]+(?: [^\p{C}\p{Z}\p{M}]+)*`

// namePatternAD excludes characters that are invalid in a sAMAccountName.
const namePatternAD = `[^\p{C}\p{Z}\p{M}"/\\\[\]:;|=,+*?<>@]+(?: [^\p{C}\p{Z}\p{M}"/\\\[\]:;|=,+*?<>@]+)*`

// namePatternPosix matches names for memberUid, which is ASCII.
const namePatternPosix = `[!-~]+(?: [!-~]+)*`

func privilegedGroups() []string {
	return []string{
		"admin", "admins", "* admins", "administrators", "* administrators", "* operators",
		"group policy creator owners", "cert publishers", "dnsadmins", "domain controllers", "read-only domain controllers",
		"enterprise read-only domain controllers", "cloneable domain controllers", "incoming forest trust builders",
		"allowed rodc password replication group", "adsyncadmins", "remote desktop users", "remote management users",
		"organization management", "exchange windows permissions", "exchange trusted subsystem", "exchange servers",
		"root", "wheel", "sudo", "sudoers", "adm", "docker", "lxd", "incus-admin", "libvirt", "shadow", "disk", "kmem",
	}
}

// kind is the kind of an installation's new groups.
type kind int

// The kinds. anyKind covers the others.
const (
	anyKind   kind = iota
	namesKind      // members are DNs
	posixKind      // members are names of accounts, in ASCII
	adKind
)

// description describes the connector for groups of a kind.
func description(k kind) schemas.Description {
	payload := payloadOpen
	// OpenLDAP's database keeps an entry's name in a key of limited length.
	names := schemas.NameRule{MaxBytes: 200, Pattern: namePattern, FoldCase: true}
	users := names
	switch k {
	case anyKind:
		payload += payloadAD
	case adKind:
		payload += payloadAD
		names = schemas.NameRule{MaxBytes: 64, Pattern: namePatternAD, FoldCase: true}
		users.Pattern = namePatternAD
	case posixKind:
		users.Pattern = namePatternPosix
	case namesKind:
	}
	member := []string{"MEMBER"}
	group := schemas.ConnectionType{
		Name: typeGroup, Title: "Group", Payload: json.RawMessage(payload + payloadClose),
		Create: true, Update: true, Delete: true, Names: names, Privileged: privilegedGroups(),
		Grantable: []schemas.GrantableType{
			{Type: typeUser, Edge: schemas.EdgeIdentity, Privileges: member, Default: member, Names: users, Grant: true, Revoke: true},
			{Type: typeForeign, Edge: schemas.EdgeIdentity, Privileges: member, Default: member,
				Names: schemas.NameRule{Pattern: `[^\x00]+`, FoldCase: true}, Revoke: true},
		},
	}
	if k != posixKind {
		group.Grantable = append(group.Grantable, schemas.GrantableType{Type: typeGroup, Edge: schemas.EdgeMember, Privileges: member,
			Default: member, Names: names, Privileged: privilegedGroups(), Grant: true, Revoke: true})
	}
	return schemas.Description{Name: "ldap", Title: "LDAP directory", NativeIDs: true, Config: json.RawMessage(configSchema),
		Types: []schemas.ConnectionType{group}, PlanScript: planScript, ApplyScript: applyScript}
}
