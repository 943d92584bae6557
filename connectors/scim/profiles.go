package scim

import (
	"slices"
	"strings"

	"github.com/countersign/countersign/schemas"
)

// How an application shows who is in a group.
type membership int

const (
	membersDetect membership = iota // in lists or not: detected by each read
	membersInLists
	membersSingly   // only in the answer for one group
	membersByFilter // never: looked up by a filter for each group and user
)

// How an application pages lists.
type paging int

const (
	pagingByIndex  paging = iota // startIndex and count (RFC 7644, 3.4.2.4)
	pagingByCursor               // cursor and count (RFC 9865)
	pagingNoLists                // no lists: one name or id at a time
)

// How an application treats the externalId of groups.
type external int

const (
	externalFree     external = iota // can be set and changed
	externalRequired                 // must be set on creation
	externalNone                     // not kept, or not documented
)

// profile describes how one application differs from others. Each field has a test with such a server.
type profile struct {
	name, title string
	// sources are the pages that document the entries.
	sources []string
	// patch, put and filter apply if the application doesn't have a ServiceProviderConfig.
	patch, put, filter bool
	// changes is the maximum of members that one PATCH can add and remove.
	changes int
	// page is the number of resources per page.
	page     int
	paging   paging
	members  membership
	external external
	// shown is the maximum of members of a group that the application shows; 0: all.
	shown int
	// nested means that groups can be members of groups.
	nested bool
	// principals means that service principals can be members.
	principals bool
	// foldUsers means that user names are case-insensitive.
	foldUsers bool
	// names are the group names that the application keeps unchanged.
	names schemas.NameRule
	// token tells an administrator how to create the credential.
	token string
}

// plainNames excludes invisible characters: control and format characters, and spaces at the ends.
const plainNames = `[^\p{C}\p{Z}](?:[^\p{C}\p{Zl}\p{Zp}]*[^\p{C}\p{Z}])?`

// plainOnly matches the names that the function plain accepts.
const plainOnly = `[a-zA-Z0-9._@+:/=,#-](?:[a-zA-Z0-9 ._@+:/=,#-]*[a-zA-Z0-9._@+:/=,#-])?`

// maxNameBytes is the longest name that fits into a filter's URL everywhere, even with every byte escaped.
const maxNameBytes = 1024

func anyName() schemas.NameRule {
	return schemas.NameRule{MaxBytes: maxNameBytes, Pattern: plainNames}
}

// generic follows the RFC, and is used for applications without a profile.
func generic() profile {
	return profile{name: "generic", title: "SCIM 2.0", patch: true, put: true, filter: true, changes: 100, page: 100, nested: true, names: anyName(),
		sources: []string{"RFC 7643", "RFC 7644"},
		token:   "create a token (or a user and password) for SCIM provisioning in the application's administration. Most applications have only one kind, which can do everything; if there is one that only reads, use it for token, and the other for apply_token"}
}

// profiles returns all profiles, sorted by name.
func profiles() []profile {
	with := func(change func(*profile)) profile {
		p := generic()
		p.sources, p.nested = nil, false
		change(&p)
		return p
	}
	return []profile{
		with(func(p *profile) {
			p.name, p.title = "atlassian", "Atlassian Cloud"
			p.sources = []string{
				"developer.atlassian.com/cloud/admin/user-provisioning/rest/api-group-groups", // PATCH and PUT of groups; a group cannot be renamed
			}
			p.token = "Atlassian Administration, Security, Identity providers, the directory, Set up user provisioning: it shows the directory's base URL and an API key, which can do everything in this directory. Regenerating it revokes the previous one"
		}),
		with(func(p *profile) {
			p.name, p.title = "aws_identity_center", "AWS IAM Identity Center"
			p.sources = []string{
				"docs.aws.amazon.com/singlesignon/latest/developerguide/listgroups.html",  // members are never shown; filters; cursor; 100 a page
				"docs.aws.amazon.com/singlesignon/latest/developerguide/patchgroup.html",  // 100 membership changes a request
				"docs.aws.amazon.com/singlesignon/latest/developerguide/limitations.html", // eq and and are the only filter operators
			}
			p.put, p.paging, p.members = false, pagingByCursor, membersByFilter
			p.token = "IAM Identity Center, Settings, Identity source, Automatic provisioning: it shows the SCIM endpoint and generates an access token, which can do everything and is valid for a year. Two can exist at a time: use one for token and the other for apply_token, so that you can tell them apart and revoke each by itself"
		}),
		with(func(p *profile) {
			p.name, p.title = "databricks", "Databricks account"
			p.sources = []string{
				"docs.databricks.com/api/scim/v1/list-account-groups",                              // no members in lists since 2025-08-22; count at most 100; filters
				"docs.databricks.com/api/scim/v1/patch-account-group",                              // members are users, service principals and groups; names of at most 255
				"registry.terraform.io/providers/databricks/databricks/latest/docs/resources/user", // user names become lower case
			}
			p.members, p.nested, p.principals, p.foldUsers = membersSingly, true, true, true
			p.names.MaxBytes = 255
			p.token = "account console: create a service principal with the role account admin, which SCIM needs even for reading, and an OAuth secret for it (oauth, with token_url https://HOST/oidc/accounts/ACCOUNT_ID/v1/token and scope all-apis)"
		}),
		with(func(p *profile) {
			p.name, p.title = "datadog", "Datadog"
			p.sources = []string{
				"docs.datadoghq.com/api/latest/scim", // groups are managed teams, for organisations that asked for it; startIndex and count; the two permissions
			}
			p.token = "a service account with a role that has user_access_invite and user_access_manage and nothing else, and an application key of it. Reading groups needs both permissions as well. Datadog's support enables teams over SCIM"
		}),
		generic(),
		with(func(p *profile) {
			p.name, p.title = "github_enterprise", "GitHub Enterprise (managed users)"
			p.sources = []string{
				"docs.github.com/enterprise-cloud@latest/rest/enterprise-admin/scim", // externalId is required; one filter at a time: externalId, id, displayName; PATCH, PUT; scopes
			}
			p.external = externalRequired
			p.token = "as the enterprise's setup user, a personal access token (classic): scope admin:enterprise for token, which reads, and scim:enterprise for apply_token"
		}),
		with(func(p *profile) {
			p.name, p.title = "new_relic", "New Relic"
			p.sources = []string{
				"docs.newrelic.com/docs/accounts/accounts/automated-user-management/scim-support-automated-user-management", // groups keep displayName and members
			}
			p.external = externalNone
			p.token = "Administration, Access management, Authentication domains: a domain that is provisioned by SCIM shows its token once. It can do everything in this domain"
		}),
		with(func(p *profile) {
			p.name, p.title = "sentry", "Sentry"
			p.sources = []string{
				"docs.sentry.io/api/scim", // teams are made without members; lists show at most 10,000 of them
				"github.com/getsentry/sentry/blob/master/src/sentry/core/endpoints/scim/teams.py", // the name becomes a slug; PUT is refused; 100 operations a PATCH
			}
			p.put, p.external, p.shown = false, externalNone, 10_000
			p.names = schemas.NameRule{MaxBytes: 50, Pattern: `[a-z0-9_-]*[a-z_][a-z0-9_-]*`}
			p.token = "Settings, Auth, with SCIM enabled: it shows the SCIM URL and a token that can do everything with members and teams"
		}),
		with(func(p *profile) {
			p.name, p.title = "slack", "Slack"
			p.sources = []string{
				"docs.slack.dev/reference/scim-api",             // GET, POST, PATCH, PUT and DELETE of groups; a deletion is for ever
				"docs.slack.dev/reference/scim-api/rate-limits", // 429 with Retry-After, shared by all apps of the organisation
			}
			p.external = externalNone
			p.token = "an app with the user scope admin, installed by an owner of the organisation (workspace owners on Business+): its user token can do everything, and ends when that person is no longer an owner or admin"
		}),
		with(func(p *profile) {
			p.name, p.title = "snowflake", "Snowflake"
			p.sources = []string{
				"docs.snowflake.com/en/user-guide/scim-group-api-reference", // groups are roles; found by displayName or id, not listed; PATCH of name and members
			}
			p.put, p.paging, p.external = false, pagingNoLists, externalNone
			p.members = membersSingly
			p.names.Pattern = plainOnly
			p.names.Reserved = []string{"ACCOUNTADMIN", "GLOBALORGADMIN", "ORGADMIN", "PUBLIC", "SECURITYADMIN", "SYSADMIN", "USERADMIN"}
			p.token = "CREATE SECURITY INTEGRATION … TYPE = SCIM … RUN_AS_ROLE = 'GENERIC_SCIM_PROVISIONER' with a role that has CREATE USER and CREATE ROLE ON ACCOUNT, then SELECT SYSTEM$GENERATE_SCIM_ACCESS_TOKEN('NAME'): the token is valid for six months and can use the roles that this role owns"
		}),
		with(func(p *profile) {
			p.name, p.title = "zoom", "Zoom"
			p.sources = []string{
				"developers.zoom.us/docs/api/scim2",         // GET of /scim2/Groups, with filters; the scopes
				"developers.zoom.us/docs/api/rest/scim-api", // OAuth; needs a vanity URL and single sign-on
			}
			p.token = "a server-to-server OAuth app with the scope scim2:admin (scim2 in older apps) and nothing else (oauth, with token_url https://zoom.us/oauth/token, grant account_credentials and the account's id). Its tokens are valid for an hour; countersign fetches them"
		}),
	}
}

func findProfile(name string) (profile, bool) {
	list := profiles()
	i := slices.IndexFunc(list, func(p profile) bool { return p.name == name })
	if i < 0 {
		return profile{}, false
	}
	return list[i], true
}

func profileNames() []string {
	var names []string
	for _, p := range profiles() {
		names = append(names, p.name)
	}
	return names
}

// plain reports whether a name is safe in a filter of every server.
func plain(name string) bool {
	for i := range len(name) {
		c := name[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte(" ._@+-:/=,#", c) >= 0) {
			return false
		}
	}
	return name != "" && strings.TrimSpace(name) == name
}
