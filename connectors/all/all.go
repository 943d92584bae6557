// Package all lists the program's connectors. A connector is added here, by its import and its line in
// the list, and nowhere else: connectors don't register themselves, so that this file shows what the program contains.
package all

import (
	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/aws"
	"github.com/countersign/countersign/connectors/casbin"
	"github.com/countersign/countersign/connectors/github"
	"github.com/countersign/countersign/connectors/ldap"
	"github.com/countersign/countersign/connectors/manual"
	"github.com/countersign/countersign/connectors/mysql"
	"github.com/countersign/countersign/connectors/okta"
	"github.com/countersign/countersign/connectors/postgres"
	"github.com/countersign/countersign/connectors/scim"
)

// Registry returns all connectors.
func Registry() (connectors.Registry, error) {
	return connectors.NewRegistry(
		aws.New(),
		casbin.New(),
		github.New(),
		ldap.New(),
		manual.New(),
		mysql.New(),
		okta.New(),
		postgres.New(),
		scim.New(),
	)
}
