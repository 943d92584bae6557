# The account for planning: it only reads groups and accounts.
#
# OpenLDAP with its configuration in cn=config (in slapd.conf: the same rules as "access to" and "limits"). Create
# the account first, as an administrator of the directory, with your own password (slappasswd):
#   dn: cn=countersign-plan,ou=services,dc=example,dc=com
#   objectClass: applicationProcess
#   objectClass: simpleSecurityObject
#   cn: countersign-plan
#   userPassword: {SSHA}...
# Then, on the server, as root:
#   ACCOUNT=cn=countersign-plan,ou=services,dc=example,dc=com BASE=ou=groups,dc=example,dc=com \
#   USER_BASE=ou=people,dc=example,dc=com DATABASE='olcDatabase={1}mdb,cn=config' sh plan.sh -Y EXTERNAL -H ldapi:///
#
# Active Directory (PowerShell): every account can read groups and accounts by default.
#   New-ADUser countersign-plan -AccountPassword (Read-Host -AsSecureString) -Enabled $true
#
# The rules are inserted before the existing ones. The limit lets paged searches return all entries, however small
# the size limit. If there is already a limit for everybody (*), the new one takes effect after slapd is restarted.
ldapmodify "$@" <<LDIF
dn: ${DATABASE:?}
changetype: modify
add: olcAccess
olcAccess: {0}to dn.subtree="${BASE:?}" by dn.exact="${ACCOUNT:?}" read by * break
olcAccess: {1}to dn.subtree="${USER_BASE:?}" attrs=entry,objectClass,uid,cn,gidNumber,entryUUID,shadowExpire by dn.exact="$ACCOUNT" read by * break
-
add: olcLimits
olcLimits: {0}dn.exact="$ACCOUNT" size.prtotal=unlimited
LDIF
# Locked and expired accounts, if the server has the overlay ppolicy, which defines these attributes:
if [ -n "${PPOLICY-}" ]; then ldapmodify "$@" <<LDIF
dn: $DATABASE
changetype: modify
add: olcAccess
olcAccess: {0}to dn.subtree="$USER_BASE" attrs=pwdAccountLockedTime,pwdEndTime by dn.exact="$ACCOUNT" read by * break
LDIF
fi
