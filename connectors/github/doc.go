// Package github reads and changes the teams of an organisation at GitHub: who is in them, which repositories
// they may use, and which team lies within which.
//
// With organisation_roles: true in the config it assigns the organisation's roles too.
//
// A connection is a team, named by its slug, as in @acme/platform. The slug is what GitHub makes of the team's
// name, so a new team is named by its slug; a team that people named otherwise keeps its name, and one that is
// renamed so that its slug changes is another connection.
//
// # What may be given
//
//	user        MEMBER, or ADMIN for a maintainer. Logins are compared without regard to case.
//	repository  pull, triage, push, maintain or admin, or one of the organisation's custom roles, by its name
//	            without the owner
//	team        MEMBER: this team becomes a child of the target, and its members get what the target has
//
// Roles of the organisation (all_repo_read, security_manager, or its own) are there or not: they can be assigned to users
// and teams, and neither made nor deleted here. Who has a role through a team is not shown with it.
//
// A team has one role on a repository. The five levels of GitHub's own include those below them: to grant push
// is to grant triage and pull too, and to revoke push leaves what was granted below it (the description's Implies).
// So two requests may grant different levels on a repository, and when one ends the other's is left.
// A custom role stands alone: where another role is held, granting it is a Conflict.
//
// A team has one parent (Single), and a team in or around another cannot be secret. GitHub deletes a team's
// children with it; here they are taken out first, since a deletion ends what was given on both sides of the
// connection and nothing else.
//
// # Habits of GitHub that decided the design
//
// REST lists the members of child teams with those of the team and does not tell them apart; GraphQL does
// (membership: IMMEDIATE). Both list what a child inherits as if it were the child's own, at the higher of both
// levels. So reading goes by GraphQL, and where a child shows no more than its parent has, the repository is asked
// which teams it was given to itself: that call names no child that only inherits. The level that such a child was given
// cannot be read; it is taken for the one that is in force.
//
// GraphQL does not know custom roles, and shows the level below. Where an organisation has some (or does not let us
// see whether it has), the repositories of each team are listed by REST.
//
// An owner of the organisation maintains each team that they are in, whatever anybody grants. They are shown as
// MEMBER, and ADMIN for them is refused.
//
// To add an account that is not in the organisation to a team is to invite it to the organisation. Without invite:
// true in the config that is refused. An invitation that waits is the state invited. Invitations to an e-mail address
// have no account yet and are not shown. GitHub does not show organisations who of their members is suspended, so the
// state blocked is never seen, and an invitation that ran out is no more listed in its team. Members whose account is not
// linked to an identity of SAML yet are members all the same, and are shown as such.
//
// Whoever creates a team with a token of their own is its maintainer, and is taken out again at once. Members of a
// team that an identity provider keeps in step cannot be changed here: Unsupported says so. Teams of the enterprise
// (ent:…) are shown as protected.
//
// # Cost
//
// A read is one GraphQL query for 50 teams with up to 100 members and repositories each, one REST call for the
// owners, one for custom roles, and for an App one for what it may see. Beyond that: one query for each further hundred
// of a team's members or repositories, 20 teams to a query; one call for each repository of a parent that a child shows too;
// one for each pending invitation; and with custom roles one for each team and hundred repositories. Writing costs
// one query for 20 teams, then one call for each membership or role. Roles of the organisation cost one call, and two for
// each role that is read.
//
// # Privileges
//
// Reading needs an owner's classic token with read:org and repo, or an App (or fine-grained token) with the organisation's
// Members: read and the repositories' Metadata and Administration: read, installed on all repositories; with
// custom roles also Custom repository roles: read. Who may have which role of the organisation GitHub shows to administrators
// alone: that needs admin:org, or Custom organization roles. A member who is no owner does not see secret teams; then the
// state is incomplete. Applying needs Members and Administration to be written, or admin:org and repo. Tokens of
// organisations with SAML must be authorised for it. The scripts in the description spell this out.
//
// # What was checked how
//
// The tests' server holds every request and every answer against the description of its REST API and the schema of its
// GraphQL API that GitHub publishes, and behaves as the documentation and reports of others say. Emulate, an emulator made
// by others, has checked creation, change and deletion of teams, and that members and repositories come and go. The
// description and the schema alone have checked: GraphQL queries, levels and custom roles on repositories, maintainers, nested
// teams and which teams a repository names, invitations, owners, notifications, teams kept by an identity provider, the App's
// token and its repositories, roles of the organisation, rate limits, and errors of SAML.
//
// # Its size
//
// The package has over 2,500 lines because GitHub shows what a team holds by GraphQL and takes changes by REST only, so
// that both are here, each with its pages, limits and errors.
package github
