// Package aws reads and changes groups, roles and customer-managed policies of an AWS account (IAM).
//
// # The model
//
// A connection is a group, a role or a customer-managed policy. Users are identities. An attached policy gives its
// holders its rights, so the group or role is a member of the policy ("policy", edge connection), and so is a user to
// whom it is attached directly ("user" in a policy). An AWS-managed policy is a resource ("aws_policy"), named by the
// part after "policy/" in its ARN: AdministratorAccess, service-role/AWSLambdaRole. AWS decides its contents. A
// policy embedded in a group or role ("inline_policy") has a document, which an entry of a request can't have: it is
// read, so that it isn't overlooked, and can only be revoked.
//
// A policy's document and a role's trust policy (assume_role_policy) are payload, and privileged: every change of
// them needs more sign-off. Trust isn't membership: a principal may be an account, a service or a federation, whose
// members this account doesn't know. Documents are compared by meaning (see document.go).
//
// AWS-managed and embedded policies of users themselves aren't read: they belong to no connection.
//
// # Powerful policies
//
// These are powerful: policies with such a name (*Admin*, *FullAccess*, *PowerUser*); the account's own policies
// whose documents allow every action, changes of IAM, of the organisation or of sign-in, or to assume roles; and
// groups that have one of these, attached or embedded. The reader's description lists them, and reads the account
// once more for it. Rights through a service (a function that runs with a role) aren't recognised: list such policies
// in the application.
//
// # Names
//
// IAM preserves a name's case but compares without it: Sales and sales can't both exist. A request uses IAM's
// spelling. A name that differs only in case is a conflict with an explanation. Names are unique whatever the path,
// which is an attribute. The path of a role or policy, and a policy's description, are fixed when it is made;
// changing a group's path changes its ARN.
//
// # Protected connections
//
// These are never changed: everything outside path_prefix, and if tag is set, roles and policies without it (IAM
// doesn't support tags on groups and lists those of policies one policy at a time, so a policy without the tag is
// refused when it is applied, not in the preview); roles linked to services and those of IAM Identity Center, Control
// Tower and the organisation; the users and roles of countersign's own credentials, their groups, policies and
// boundaries; and the policy named by permissions_boundary.
//
// A role in an instance profile isn't deleted, nor is a policy that is a permissions boundary or is attached to a
// protected connection: the error names them. Otherwise a deletion removes attached and embedded policies, members,
// and old versions. A role keeps its boundary until it is deleted.
//
// # Credentials
//
// config.sign_in names their source, and no other is used: no profile, no metadata service by default. Before
// anything else is sent, STS must confirm that they belong to the account in the config. plan.sh and apply.sh create
// the roles for planning and applying, with least privileges.
//
// # Properties of IAM that shaped the design
//
// One call reads everything (GetAccountAuthorizationDetails), in pages. It omits a role's description and session
// duration, which ListRoles has, and has been known to omit permissions boundaries, which ListPolicies counts. If the
// parts disagree, the account is read again, and after that the state is incomplete. UpdateRole resets absent
// attributes to their defaults, so the role is read just before, and both attributes are sent. A change of a policy
// is a new version; at most five exist, and the oldest one that isn't in force is deleted first. An older version
// with the same document becomes the default again. The SDK takes an empty answer for an empty account, so each
// answer is checked first. A deleted principal appears in a trust policy by its id from then on: that is a difference
// to review. A new entity isn't visible everywhere at once: within a run, calls that fail for this reason are retried
// for the time in settle.
//
// A new account allows 10 policies on a group or role, and 10 groups per user: beyond that IAM refuses, and the error
// names the quota.
//
// # Test coverage
//
// Every request and answer is checked against the description that AWS publishes of IAM and STS. The tests' own
// server, written from the documentation, answers them. Tests with the tag moto run the same suite against moto, an
// independent imitation of AWS (moto_test.go lists its gaps). None has run against AWS itself. Only the description
// has checked these: that conditions and NotPrincipal in trust policies come back unchanged, the text and timing of
// throttling, ConcurrentModification and EntityTemporarilyUnmodifiable, and credentials of an instance beyond the
// addresses of the metadata service.
//
// # Size
//
// The package has over 2,500 lines because IAM has three types of connections, each with calls of its own for every
// change, and policy documents whose many spellings have to become one form.
package aws
