// Package aws reads and changes groups, roles and customer-managed policies of an AWS account (IAM).
//
// # What is what
//
// A connection is a group, a role or a customer-managed policy. Users are identities. An attached policy gives
// whoever has it what it allows, so the group or role is a member of the policy ("policy", edge connection), and so
// is a user that has it attached by itself ("user" in a policy). A policy that AWS manages is a resource
// ("aws_policy"), named by what follows "policy/" in its ARN: AdministratorAccess, service-role/AWSLambdaRole. What
// it allows is AWS's affair. A policy embedded in a group or role ("inline_policy") has a document, and an entry of a
// request has none: it is read, so that nobody overlooks it, and can only be revoked.
//
// What a policy allows (document) and who may assume a role (assume_role_policy) are payload, and privileged: every
// change of them asks for more sign-off. Trust is no membership: a principal may be an account, a service or a
// federation, of which this account knows no members. Documents are compared by what they mean (see document.go).
//
// Not read are policies of AWS attached to, or embedded in, users themselves: no connection holds them.
//
// # What is powerful
//
// Powerful are the policies of AWS whose names say so (*Admin*, *FullAccess*, *PowerUser*), and of the account's own those
// whose names say so or whose documents allow every action, changes of IAM, of the organisation or of who signs in, or
// to assume roles; and the groups that have one of these, attached or embedded. The reader's description lists them, for
// which it reads the account once more. What gets there by way of a service (a function that runs with a role) is not seen:
// name such policies in the application's list.
//
// # Names
//
// IAM keeps a name as it was written and does not tell upper from lower case: there can be no Sales beside sales. A
// request writes the name as IAM has it. One that differs only in case is a conflict that says so. Names are unique
// whatever the path, which is an attribute. The path of a role or policy, and a policy's description, are fixed when it
// is made; changing a group's path changes its ARN.
//
// # What is never changed
//
// Whatever lies outside of path_prefix, and with tag set, roles and policies without it. IAM knows no tags on groups
// and tells those of policies one policy at a time, so a policy without the tag is refused when it is applied, not in
// the preview. Roles linked to services, those of IAM Identity Center, Control Tower and the organisation. The users
// and roles that we work with, the groups that they are in, and the policies and boundaries that they have; and the
// policy named by permissions_boundary.
//
// A role in an instance profile, and a policy that is a permissions boundary or is attached to what this application
// never changes, is not deleted: the error names them. Otherwise a deletion takes away what is attached and embedded,
// the members, and old versions. A role keeps its boundary until it is gone.
//
// # Credentials
//
// config.sign_in says where they come from, and no other place is looked at: no profile, no metadata service by
// default. STS is asked whose they are, and the account's number in the config must be the answer, before anything else
// is sent. plan.sh and apply.sh make the roles for planning and applying, with no more than they need.
//
// # Habits of IAM that decided the design
//
// One call reads everything (GetAccountAuthorizationDetails), in pages. It leaves out a role's description and session
// length, which ListRoles has, and was known to leave out permissions boundaries, which ListPolicies counts. Where the
// parts disagree the account is read again, and then the state is incomplete. UpdateRole sets to its default what it is
// not told, so the role is read just before, and both its attributes are sent. A change of a policy is a new version;
// there are five at most, and the oldest that is not in force goes first. An older version with the same document is
// made the default again. The SDK takes an empty answer for an empty account: each answer is looked at before.
// A principal that was deleted stands in a trust policy by its id from then on: that is a difference to look at.
// What was just made is not known everywhere at once: within a run, what fails because of that is done again for as long
// as settle says.
//
// A new account allows 10 policies on a group or role, and 10 groups to a user: beyond that IAM refuses, and the error
// tells the quota.
//
// # What the tests have seen
//
// Every request and answer is held to the description that AWS publishes of IAM and STS. What the service does with
// them is a server of the tests' own, written after the documentation. The tests with the tag moto run the same suite
// against moto, which others wrote after AWS (see moto_test.go for what it lacks). None has run against AWS itself. Nobody but
// the description has checked: that conditions and NotPrincipal in trust policies come back as they were sent, the text
// and timing of throttling, ConcurrentModification and EntityTemporarilyUnmodifiable, and credentials of an instance
// beyond the addresses of the metadata service.
//
// # Its size
//
// The package has over 2,500 lines because IAM has three types of connections, each with calls of its own for every
// change, and policy documents whose many spellings have to become one form.
package aws
