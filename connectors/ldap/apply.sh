# The account for applying: it creates, changes and deletes groups below base_dn, and reads accounts.
#
# OpenLDAP: create the account like the one for planning (see plan.sh), then, on the server, as root:
#   ACCOUNT=cn=countersign-apply,ou=services,dc=example,dc=com BASE=ou=groups,dc=example,dc=com \
#   USER_BASE=ou=people,dc=example,dc=com DATABASE='olcDatabase={1}mdb,cn=config' sh apply.sh -Y EXTERNAL -H ldapi:///
#
# Active Directory (as an administrator; the OU is that of base_dn): grant the rights to create and delete groups below
# the OU, and to write three of their attributes.
#   New-ADUser countersign-apply -AccountPassword (Read-Host -AsSecureString) -Enabled $true
#   dsacls "OU=Groups,DC=example,DC=com" /I:T /G "EXAMPLE\countersign-apply:CCDC;group"
#   dsacls "OU=Groups,DC=example,DC=com" /I:S /G "EXAMPLE\countersign-apply:WP;member;group" "EXAMPLE\countersign-apply:WP;description;group" "EXAMPLE\countersign-apply:WP;groupType;group"
ldapmodify "$@" <<LDIF
dn: ${DATABASE:?}
changetype: modify
add: olcAccess
olcAccess: {0}to dn.subtree="${BASE:?}" by dn.exact="${ACCOUNT:?}" write by * break
olcAccess: {1}to dn.subtree="${USER_BASE:?}" attrs=entry,objectClass,uid,cn,gidNumber,entryUUID,shadowExpire by dn.exact="$ACCOUNT" read by * break
-
add: olcLimits
olcLimits: {0}dn.exact="$ACCOUNT" size.prtotal=unlimited
LDIF
if [ -n "${PPOLICY-}" ]; then ldapmodify "$@" <<LDIF
dn: $DATABASE
changetype: modify
add: olcAccess
olcAccess: {0}to dn.subtree="$USER_BASE" attrs=pwdAccountLockedTime,pwdEndTime by dn.exact="$ACCOUNT" read by * break
LDIF
fi
