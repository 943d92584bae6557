# Reading needs one of these. An owner of the organisation runs it, with GitHub's own command line (gh):
#   ORG=acme sh plan.sh
#
# 1. An App, which is best: it is nobody's account. Settings > Developer settings > GitHub Apps > New, without a webhook:
#      organisation permissions: Members: read; Custom repository roles: read where the organisation has some
#      repository permissions:   Metadata: read; Administration: read
#      with organisation_roles: true also Custom organization roles: read (organisation)
#    Install it in the organisation on all repositories: what it does not see makes every read incomplete.
#    config: app_id, installation_id, private_key
# 2. A fine-grained token of an owner, for the organisation and all repositories, with the same permissions.
# 3. A classic token of an owner with the scopes read:org and repo; with organisation_roles: true with admin:org and repo.
#
# Tokens of an organisation with SAML must be authorised for it. This shows whether a token sees what it must:
GH_TOKEN="${COUNTERSIGN_TOKEN:?the token that was made}" gh api graphql -f org="${ORG:?the organisation}" -f query='
  query($org: String!) { viewer { login } organization(login: $org) { viewerCanAdminister teams(first: 1) { totalCount } } }'
