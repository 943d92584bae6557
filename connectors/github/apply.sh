# Applying needs one of these, beside what reads. An owner of the organisation runs it:
#   ORG=acme sh apply.sh
#
# 1. An App of its own, so that planning never holds what can write:
#      organisation permissions: Members: read and write; Custom repository roles: read where the organisation has some
#      repository permissions:   Metadata: read; Administration: read and write
#      with organisation_roles: true also Custom organization roles: read and write (organisation)
#    Install it in the organisation on all repositories.
#    config: apply_app_id, apply_installation_id, apply_private_key
# 2. A fine-grained token of an owner, for the organisation and all repositories, with the same permissions (apply_token).
# 3. A classic token of an owner with the scopes admin:org and repo (apply_token).
#
# This shows whether it may create teams:
GH_TOKEN="${COUNTERSIGN_APPLY_TOKEN:?the token that was made}" gh api graphql -f org="${ORG:?the organisation}" -f query='
  query($org: String!) { viewer { login } organization(login: $org) { viewerCanCreateTeams } }'
