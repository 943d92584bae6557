# The credential for planning: a service app that may only read. As a super administrator, with an API token:
#   OKTA=https://acme.okta.com OKTA_TOKEN=... JWK='{"kty":"RSA","kid":"plan", ... the public key}' sh plan.sh
# It prints the client_id for the config. Leave okta.roles.read out where the config says admin_roles: false.
set -eu
call() {
  method=$1 path=$2; shift 2
  curl -fsS -X "$method" -H "Authorization: SSWS ${OKTA_TOKEN:?}" -H 'Content-Type: application/json' "$@" "${OKTA:?}$path"
}
id=$(call POST /oauth2/v1/clients -d '{"client_name": "countersign plan", "application_type": "service",
  "grant_types": ["client_credentials"], "response_types": ["token"], "token_endpoint_auth_method": "private_key_jwt",
  "dpop_bound_access_tokens": false, "jwks": {"keys": ['"${JWK:?}"']}}' | sed -n 's/.*"client_id":"\([^"]*\)".*/\1/p')
for scope in okta.groups.read okta.users.read okta.apps.read okta.roles.read; do
  call POST "/api/v1/apps/$id/grants" -d '{"scopeId": "'$scope'", "issuer": "'"$OKTA"'"}' >/dev/null
done
call POST "/oauth2/v1/clients/$id/roles" -d '{"type": "READ_ONLY_ADMIN"}' >/dev/null
echo "client_id: $id"
