package github

import (
	_ "embed"
	"encoding/json"
	"slices"

	"github.com/countersign/countersign/schemas"
)

// The types of connections, resources and identities.
const (
	TypeTeam             = "team"
	TypeOrganisationRole = "organisation_role"
	TypeUser             = "user"
	TypeRepository       = "repository"
)

const (
	member     = "MEMBER"
	maintainer = "ADMIN"
)

//go:embed plan.sh
var planScript string

//go:embed apply.sh
var applyScript string

const configSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "properties": {
    "organisation": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$", "description": "The organisation's login, as in https://github.com/LOGIN."},
    "url": {"type": "string", "pattern": "^https?://", "default": "https://api.github.com", "description": "The API's root. GitHub Enterprise Server's is https://HOST/api/v3."},
    "token": {"x-secret": true, "description": "Token for reading."},
    "app_id": {"type": "integer", "minimum": 1, "description": "In place of a token: the App for reading."},
    "installation_id": {"type": "integer", "minimum": 1, "description": "The App's installation in the organisation."},
    "private_key": {"x-secret": true, "description": "The App's private key, in PEM."},
    "apply_token": {"x-secret": true, "description": "Token for applying; default: the credential for reading."},
    "apply_app_id": {"type": "integer", "minimum": 1, "description": "In place of a token: the App for applying."},
    "apply_installation_id": {"type": "integer", "minimum": 1, "description": "That App's installation in the organisation."},
    "apply_private_key": {"x-secret": true, "description": "That App's private key, in PEM."},
    "invite": {"type": "boolean", "default": false, "description": "Whether granting a team to somebody outside the organisation invites them to it, with everything that members may see. If false, such grants are refused."},
    "organisation_roles": {"type": "boolean", "default": false, "description": "Whether the organisation's roles are read and assigned too. Only administrators can see them at GitHub."},
    "timeout": {"type": "string", "pattern": "^[0-9]+(\\.[0-9]+)?(ms|s|m)$", "default": "30s", "description": "Time limit of one try of a call."},
    "ca_file": {"type": "string", "minLength": 1, "maxLength": 4096, "description": "PEM file of the authorities that may have signed the server's certificate, in place of the system's."}
  },
  "required": ["organisation"],
  "additionalProperties": false
}`

const roleSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "properties": {},
  "additionalProperties": false
}`

const teamSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "properties": {
    "description": {"type": "string", "maxLength": 1024, "default": "", "description": "The team's purpose."},
    "privacy": {"enum": ["closed", "secret"], "default": "closed", "description": "closed: every member of the organisation sees the team; secret: only its members and owners do, and it can have neither parent nor children."},
    "notifications": {"type": "boolean", "default": true, "description": "Whether mentioning the team notifies its members."}
  },
  "additionalProperties": false
}`

// levels are GitHub's built-in roles on a repository, from the lowest to the highest. Each includes those before it.
// https://docs.github.com/en/organizations/managing-user-access-to-your-organizations-repositories/managing-repository-roles/repository-roles-for-an-organization
func levels() []string { return []string{"pull", "triage", "push", "maintain", "admin"} }

// level returns the index of a role among the levels, -1 for a custom role and for none.
func level(role string) int { return slices.Index(levels(), role) }

// included returns the roles that a role includes, itself too.
func included(role string) []string {
	if i := level(role); i >= 0 {
		return levels()[:i+1]
	}
	return []string{role}
}

// Slugs are in lower case; a hyphen replaces the text between words, so two in a row don't occur.
func teamNames() schemas.NameRule {
	return schemas.NameRule{MaxBytes: 255, Pattern: `[a-z0-9_]+(?:-[a-z0-9_]+)*`}
}

// Accounts of an enterprise end in _ and its short code.
func userNames() schemas.NameRule {
	return schemas.NameRule{MaxBytes: 100, Pattern: `[A-Za-z0-9][A-Za-z0-9_-]*`, FoldCase: true}
}

func repositoryNames() schemas.NameRule {
	return schemas.NameRule{MaxBytes: 100, Pattern: `[A-Za-z0-9._-]+`, Reserved: []string{".", ".."}, FoldCase: true}
}

func roleNames() schemas.NameRule {
	return schemas.NameRule{MaxBytes: 255, Pattern: `[^\p{C}\p{Zl}\p{Zp}]+`}
}

// describe returns the description with the organisation's custom roles on repositories, and with its own roles if
// requested.
func describe(custom []string, roles bool) schemas.Description {
	repository := schemas.GrantableType{Type: TypeRepository, Edge: schemas.EdgeResource, Default: []string{"pull"}, Implies: map[string][]string{},
		Names: repositoryNames(), PrivilegedPrivileges: []string{"admin", "maintain"}, Grant: true, Revoke: true}
	for i, p := range levels() {
		repository.Privileges = append(repository.Privileges, p)
		if i > 0 {
			repository.Implies[p] = slices.Clone(levels()[:i])
		}
	}
	slices.Reverse(repository.Privileges)
	repository.Privileges = append(repository.Privileges, custom...)
	// A custom role may include any right, such as reading security alerts and webhooks.
	repository.PrivilegedPrivileges = append(repository.PrivilegedPrivileges, custom...)
	people := schemas.GrantableType{Type: TypeUser, Edge: schemas.EdgeIdentity, Privileges: []string{member}, Default: []string{member},
		Names: userNames(), Grant: true, Revoke: true}
	d := schemas.Description{
		Name: "github", Title: "GitHub", NativeIDs: true, Config: json.RawMessage(configSchema), PlanScript: planScript, ApplyScript: applyScript,
	}
	if roles {
		// A role applies to the entire organisation.
		d.Types = append(d.Types, schemas.ConnectionType{
			Name: TypeOrganisationRole, Title: "Organisation role", Payload: json.RawMessage(roleSchema), Names: roleNames(), Privileged: []string{"*"},
			Grantable: []schemas.GrantableType{people,
				{Type: TypeTeam, Edge: schemas.EdgeMember, Privileges: []string{member}, Default: []string{member}, Names: teamNames(), Grant: true, Revoke: true}},
		})
	}
	people.Privileges, people.PrivilegedPrivileges = []string{member, maintainer}, []string{maintainer}
	d.Types = append(d.Types, schemas.ConnectionType{
		Name: TypeTeam, Title: "Team", Payload: json.RawMessage(teamSchema), Create: true, Update: true, Delete: true, Names: teamNames(),
		Grantable: []schemas.GrantableType{people, repository,
			{Type: TypeTeam, Edge: schemas.EdgeConnection, Privileges: []string{member}, Default: []string{member}, Single: true,
				Names: teamNames(), Grant: true, Revoke: true}},
	})
	return d
}
