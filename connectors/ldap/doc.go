// Package ldap reads and changes groups in an LDAP directory.
package ldap
