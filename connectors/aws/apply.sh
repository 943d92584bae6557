#!/bin/sh
# The credential for applying: a role that changes groups, roles and policies below PREFIX (config.path_prefix), and
# can make no role that is more powerful than BOUNDARY (config.permissions_boundary) lets it be. Run as an
# administrator of the account, with the AWS command line.
#   ACCOUNT=123456789012 PREFIX=/team/ PRINCIPAL=arn:aws:iam::123456789012:user/ci \
#   BOUNDARY=arn:aws:iam::123456789012:policy/team-boundary sh apply.sh
#
# What bounds it:
#   - It reaches nothing outside of PREFIX, which must not be /, and neither its own role, whose path is /countersign/,
#     nor the boundary. Keep roles that have no boundary out of PREFIX: who may assume a role there, it may change.
#   - A role gets nothing from it without the boundary, and it cannot take a boundary away: what a role may do is
#     what its policies and the boundary both allow, so no policy that it writes lifts a role above the boundary.
#   - Of AWS's own policies it attaches those that are named here alone. Add yours.
# What does not: IAM has no boundary on groups. Whoever may write a policy, attach it to a group and put a user into
# that group can make that user powerful. Where the approvals that countersign asks for are not enough for you, give
# the users a boundary too (a policy is attached to a user only where it has this one), or set a service control
# policy.
set -eu
: "${ACCOUNT:?}" "${PREFIX:?}" "${PRINCIPAL:?}" "${BOUNDARY:?}"
[ "$PREFIX" != / ] || { echo "PREFIX must not be /: it would reach the whole account" >&2; exit 1; }
IAM="arn:aws:iam::$ACCOUNT"
aws iam create-role --path /countersign/ --role-name countersign-apply --assume-role-policy-document '{
  "Version": "2012-10-17",
  "Statement": [{"Effect": "Allow", "Principal": {"AWS": "'"$PRINCIPAL"'"}, "Action": "sts:AssumeRole"}]
}'
aws iam put-role-policy --role-name countersign-apply --policy-name change-iam --policy-document '{
  "Version": "2012-10-17",
  "Statement": [
    {"Sid": "Read", "Effect": "Allow", "Resource": "*", "Action": [
      "iam:GetAccountAuthorizationDetails", "iam:ListEntitiesForPolicy", "iam:ListPolicies", "iam:ListRoles",
      "iam:GetUser", "iam:GetGroup", "iam:GetRole", "iam:GetPolicy", "iam:GetPolicyVersion", "iam:ListPolicyVersions",
      "iam:ListAttachedGroupPolicies", "iam:ListGroupPolicies", "iam:ListAttachedRolePolicies", "iam:ListRolePolicies",
      "iam:ListInstanceProfilesForRole"]},
    {"Sid": "Groups", "Effect": "Allow", "Resource": "'"$IAM:group$PREFIX"'*", "Action": [
      "iam:CreateGroup", "iam:UpdateGroup", "iam:DeleteGroup", "iam:AddUserToGroup", "iam:RemoveUserFromGroup",
      "iam:DetachGroupPolicy", "iam:DeleteGroupPolicy"]},
    {"Sid": "GroupsGetOnlyThese", "Effect": "Allow", "Resource": "'"$IAM:group$PREFIX"'*", "Action": "iam:AttachGroupPolicy",
      "Condition": {"ArnLike": {"iam:PolicyARN": ["'"$IAM:policy$PREFIX"'*", "arn:aws:iam::aws:policy/ReadOnlyAccess"]}}},
    {"Sid": "Policies", "Effect": "Allow", "Resource": "'"$IAM:policy$PREFIX"'*", "Action": [
      "iam:CreatePolicy", "iam:TagPolicy", "iam:CreatePolicyVersion", "iam:SetDefaultPolicyVersion",
      "iam:DeletePolicyVersion", "iam:DeletePolicy"]},
    {"Sid": "Roles", "Effect": "Allow", "Resource": "'"$IAM:role$PREFIX"'*", "Action": [
      "iam:TagRole", "iam:UpdateRole", "iam:UpdateAssumeRolePolicy", "iam:DeleteRole"]},
    {"Sid": "RolesWithinTheBoundary", "Effect": "Allow", "Resource": "'"$IAM:role$PREFIX"'*", "Action": [
      "iam:CreateRole", "iam:PutRolePermissionsBoundary", "iam:DetachRolePolicy", "iam:DeleteRolePolicy"],
      "Condition": {"StringEquals": {"iam:PermissionsBoundary": "'"$BOUNDARY"'"}}},
    {"Sid": "RolesGetOnlyThese", "Effect": "Allow", "Resource": "'"$IAM:role$PREFIX"'*", "Action": "iam:AttachRolePolicy",
      "Condition": {"StringEquals": {"iam:PermissionsBoundary": "'"$BOUNDARY"'"},
        "ArnLike": {"iam:PolicyARN": ["'"$IAM:policy$PREFIX"'*", "arn:aws:iam::aws:policy/ReadOnlyAccess"]}}},
    {"Sid": "UsersWithinTheBoundary", "Effect": "Allow", "Resource": "'"$IAM"':user/*", "Action": ["iam:AttachUserPolicy", "iam:DetachUserPolicy"],
      "Condition": {"StringEquals": {"iam:PermissionsBoundary": "'"$BOUNDARY"'"}, "ArnLike": {"iam:PolicyARN": "'"$IAM:policy$PREFIX"'*"}}},
    {"Sid": "NoWayAroundTheBoundary", "Effect": "Deny", "Resource": "*", "Action": [
      "iam:DeleteRolePermissionsBoundary", "iam:DeleteUserPermissionsBoundary", "iam:PutUserPermissionsBoundary"]},
    {"Sid": "TheBoundaryItself", "Effect": "Deny", "Resource": ["'"$BOUNDARY"'", "'"$IAM"':role/countersign/*"], "Action": [
      "iam:CreatePolicyVersion", "iam:SetDefaultPolicyVersion", "iam:DeletePolicyVersion", "iam:DeletePolicy",
      "iam:UpdateAssumeRolePolicy", "iam:AttachRolePolicy", "iam:PutRolePolicy", "iam:DeleteRole"]}
  ]
}'
