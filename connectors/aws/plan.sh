#!/bin/sh
# The credential for planning: a role that only reads IAM. Run as an administrator of the account, with the AWS
# command line. PRINCIPAL is who may become the role: a user, a role, or an account's root.
#   PRINCIPAL=arn:aws:iam::123456789012:user/ci sh plan.sh
# (For web_identity, write the provider and its conditions into the trust policy instead.)
set -eu
aws iam create-role --path /countersign/ --role-name countersign-plan --assume-role-policy-document '{
  "Version": "2012-10-17",
  "Statement": [{"Effect": "Allow", "Principal": {"AWS": "'"${PRINCIPAL:?}"'"}, "Action": "sts:AssumeRole"}]
}'
aws iam put-role-policy --role-name countersign-plan --policy-name read-iam --policy-document '{
  "Version": "2012-10-17",
  "Statement": [{
    "Effect": "Allow",
    "Action": ["iam:GetAccountAuthorizationDetails", "iam:GetRole", "iam:ListEntitiesForPolicy", "iam:ListPolicies", "iam:ListRoles"],
    "Resource": "*"
  }]
}'
