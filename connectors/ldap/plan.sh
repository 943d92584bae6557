# The account for planning: it reads groups and accounts, and nothing else.
#
# OpenLDAP with its configuration in cn=config (slapd.conf: the same rules as "access to" and "limits"). Make the
# account first, as a directory's administrator, with a password of your own (slappasswd):
#   dn: cn=countersign-plan,ou=services,dc=example,dc=com
#   objectClass: applicationProcess
#   objectClass: simpleSecurityObject
#   cn: countersign-plan
#   userPassword: {SSHA}...
# Then, on the server, as root:
#   ACCOUNT=cn=countersign-plan,ou=services,dc=example,dc=com BASE=ou=groups,dc=example,dc=com \
#   USER_BASE=ou=people,dc=example,dc=com DATABASE='olcDatabase={1}mdb,cn=config' sh plan.sh -Y EXTERNAL -H ldapi:///
#
# Active Directory (PowerShell): every account may read groups and accounts by default.
#   New-ADUser countersign-plan -AccountPassword (Read-Host -AsSecureString) -Enabled $true
#
# The rules come before those that are there. With the limit, pages bring everything, however little one may bring.
# Where there is a limit for everybody (*) already, slapd minds the new one only after it was started again.
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
# Locks and ends of accounts, where the server has the overlay ppolicy that knows these attributes:
if [ -n "${PPOLICY-}" ]; then ldapmodify "$@" <<LDIF
dn: $DATABASE
changetype: modify
add: olcAccess
olcAccess: {0}to dn.subtree="$USER_BASE" attrs=pwdAccountLockedTime,pwdEndTime by dn.exact="$ACCOUNT" read by * break
LDIF
fi
