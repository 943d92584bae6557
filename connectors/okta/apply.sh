# The credential for applying: a service app that changes groups, their members and their applications. As a super
# administrator, with an API token:
#   OKTA=https://acme.okta.com OKTA_TOKEN=... JWK='{"kty":"RSA","kid":"apply", ... the public key}' sh apply.sh
# It prints the client_id for the config (apply_client_id). Narrower than these two administrator roles is a custom
# role with the permissions okta.groups.create, okta.groups.manage, okta.users.read and okta.apps.assignment.manage,
# on a resource set of these groups and applications. Only a super administrator can give administrator roles to groups:
# where countersign shall, add the scopes okta.roles.read and okta.roles.manage and the role SUPER_ADMIN; else let the config
# say admin_roles: false.
set -eu
call() {
  method=$1 path=$2; shift 2
  curl -fsS -X "$method" -H "Authorization: SSWS ${OKTA_TOKEN:?}" -H 'Content-Type: application/json' "$@" "${OKTA:?}$path"
}
id=$(call POST /oauth2/v1/clients -d '{"client_name": "countersign apply", "application_type": "service",
  "grant_types": ["client_credentials"], "response_types": ["token"], "token_endpoint_auth_method": "private_key_jwt",
  "dpop_bound_access_tokens": false, "jwks": {"keys": ['"${JWK:?}"']}}' | sed -n 's/.*"client_id":"\([^"]*\)".*/\1/p')
for scope in okta.groups.read okta.groups.manage okta.users.read okta.apps.read okta.apps.manage; do
  call POST "/api/v1/apps/$id/grants" -d '{"scopeId": "'$scope'", "issuer": "'"$OKTA"'"}' >/dev/null
done
for role in ORG_ADMIN APP_ADMIN; do
  call POST "/oauth2/v1/clients/$id/roles" -d '{"type": "'$role'"}' >/dev/null
done
echo "apply_client_id: $id"
