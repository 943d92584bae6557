package ldap_test

import (
	"fmt"
	"testing"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest/servers"
	"github.com/countersign/countersign/connectors/ldap"
	"github.com/countersign/countersign/schemas"
)

// BenchmarkRead reads groups of DNs, each with an account of its own, from a slapd on this machine, with the
// default page size.
func BenchmarkRead(b *testing.B) {
	server := servers.OpenLDAP(b, servers.Slapd{})
	for _, n := range []int{1_000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			a := newTree(b, server, "groupOfNames")
			for i := range n {
				name := fmt.Sprintf("x%05d", i)
				a.user(b, name)
				a.group(b, a.groupDN(name), name, a.userDN(name))
			}
			cfg := changed(a.Config(), "page_size", 500)
			// The administrator is not bound to small pages.
			cfg = changed(changed(cfg, "bind_dn", server.Admin), "password", connectors.NewSecret(server.Password))
			r, err := ldap.New().OpenReader(b.Context(), cfg)
			if err != nil {
				b.Fatal(err)
			}
			before := ldap.Calls(r)
			for b.Loop() {
				s, err := r.Read(b.Context(), schemas.Selection{Scope: map[string][]string{"group": {"x*"}}})
				if err != nil || s.Incomplete != "" || len(s.Connections) != n || len(s.Connections[n-1].Entitlements) != 1 {
					b.Fatalf("Read: %d connections, %v %s", len(s.Connections), err, s.Incomplete)
				}
			}
			b.ReportMetric(float64(ldap.Calls(r)-before)/float64(b.N), "calls/read")
			if err := r.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}
