// Package github reads and changes the teams of an organisation at GitHub: their members, repositories and nesting.
//
// With organisation_roles: true in the config it assigns the organisation's roles too.
//
// A connection is a team, named by its slug, as in @acme/platform. GitHub derives the slug from the team's name, so a
// new team is named by its slug; a team with another name keeps it, and one that is renamed so that its slug changes
// is another connection.
//
// # Grants
//
//	user        MEMBER, or ADMIN for a maintainer. Logins are compared without regard to case.
//	repository  pull, triage, push, maintain or admin, or one of the organisation's custom roles, by its name
//	            without the owner
//	team        MEMBER: this team becomes a child of the target, and its members get the target's access
//
// Roles of the organisation (all_repo_read, security_manager, or its own) can be assigned to users and teams, but not
// created or deleted here. Users who have a role through a team aren't listed with the role.
//
// A team has one role on a repository. GitHub's five levels include those below them: granting push grants triage and
// pull too, and revoking push leaves the levels that were granted below it (the description's Implies). So two
// requests may grant different levels on a repository, and when one ends the other's remains. A custom role is
// exclusive: granting it where another role is held is a Conflict.
//
// A team has one parent (Single), and nested teams can't be secret. GitHub deletes a team's children with it; here
// they are removed from it first, since a deletion ends the entitlements on both sides of the connection and nothing
// else.
//
// # Properties of GitHub that shaped the design
//
// REST lists the members of child teams with those of the team and doesn't distinguish them; GraphQL does
// (membership: IMMEDIATE). Both list inherited repositories as if they were the child's own, at the higher of both
// levels. So teams are read by GraphQL, and if a child shows no more than its parent has, the repository is asked for
// its direct teams: that call omits children that only inherit. The level that such a child was granted can't be
// read; it is assumed to be the level in force.
//
// GraphQL doesn't know custom roles, and shows the level below. If an organisation has some (or doesn't let us see
// whether it does), the repositories of each team are listed by REST.
//
// An owner of the organisation maintains each team that they are in, whatever is granted. They are shown as MEMBER,
// and ADMIN for them is refused.
//
// Adding an account outside the organisation to a team invites it to the organisation. This is refused without
// invite: true in the config. A pending invitation is the state invited. Invitations to an e-mail address don't have
// an account yet and aren't shown. GitHub doesn't show organisations which members are suspended, so the state
// blocked never occurs, and an expired invitation is no longer listed in its team. Members whose account isn't linked
// to a SAML identity yet are shown as members.
//
// A user whose token creates a team becomes its maintainer, and is removed from it at once. Members of a team that an
// identity provider synchronises can't be changed here: the error is Unsupported. Teams of the enterprise (ent:…) are
// shown as protected.
//
// # Cost
//
// A read is one GraphQL query for 50 teams with up to 100 members and repositories each, one REST call for the
// owners, one for custom roles, and for an App one for its access. Beyond that: one query for each further hundred of
// a team's members or repositories, 20 teams to a query; one call for each repository of a parent that a child shows
// too; one for each pending invitation; and with custom roles one for each team and hundred repositories. Writing
// costs one query for 20 teams, then one call for each membership or role. Roles of the organisation cost one call,
// and two for each role that is read.
//
// # Privileges
//
// Reading needs an owner's classic token with read:org and repo, or an App (or fine-grained token) with the
// organisation's Members: read and the repositories' Metadata and Administration: read, installed on all
// repositories; with custom roles also Custom repository roles: read. Only administrators can see assignments of the
// organisation's roles: that needs admin:org, or Custom organization roles. A member who isn't an owner doesn't see
// secret teams; then the state is incomplete. Applying needs Members and Administration with write access, or
// admin:org and repo. Tokens must be authorised for organisations with SAML. The scripts in the description list the
// details.
//
// # Test coverage
//
// The tests' server checks every request and every answer against the description of the REST API and the schema of
// the GraphQL API that GitHub publishes, and behaves according to the documentation and others' reports. Emulate, an
// independent emulator, has checked creation, change and deletion of teams, and adding and removing members and
// repositories. Only the description and the schema have checked these: GraphQL queries, levels and custom roles on
// repositories, maintainers, nested teams and which teams a repository names, invitations, owners, notifications,
// teams synchronised by an identity provider, the App's token and its repositories, roles of the organisation, rate
// limits, and errors of SAML.
//
// # Size
//
// The package has over 2,500 lines because GitHub shows a team's access by GraphQL and accepts changes by REST only,
// so that both are here, each with its pages, limits and errors.
package github
