package postgres_test

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest/servers"
	"github.com/countersign/countersign/connectors/postgres"
	"github.com/countersign/countersign/schemas"
)

// BenchmarkRead reads roles that each have a member and a privilege. calls are the statements of one read that the
// server logged, its BEGIN and ROLLBACK too.
func BenchmarkRead(b *testing.B) {
	server := servers.PostgreSQL(b)
	made := 0
	for _, roles := range []int{1_000, 10_000} {
		b.Run(fmt.Sprintf("%d roles", roles), func(b *testing.B) {
			if made == 0 {
				// An object's access list is one row, which holds some hundreds of entries.
				server.Exec(b, "postgres", "CREATE SCHEMA sales", `DO $$ BEGIN FOR i IN 0..99 LOOP EXECUTE format('CREATE TABLE sales.t%s (id int)', i); END LOOP; END $$`)
			}
			for ; made < roles; made += 500 { // each role takes a place in the table of locks
				server.Exec(b, "postgres", fmt.Sprintf(`DO $$ BEGIN FOR i IN %d..%d LOOP
  EXECUTE format('CREATE ROLE bench_%%s', i); EXECUTE format('CREATE ROLE bench_user_%%s LOGIN', i);
  EXECUTE format('GRANT bench_%%s TO bench_user_%%s', i, i); EXECUTE format('GRANT SELECT ON sales.t%%s TO bench_%%s', i %% 100, i);
END LOOP; END $$`, made+1, made+500))
			}
			server.Exec(b, "postgres", "VACUUM ANALYZE")
			r, err := postgres.New().OpenReader(b.Context(), connectors.Config{Application: "warehouse",
				Values: map[string]any{"dsn": connectors.NewSecret(server.DSN("admin", "postgres"))}})
			if err != nil {
				b.Fatal(err)
			}
			defer func() {
				if err := r.Close(); err != nil {
					b.Error(err)
				}
			}()
			sel := schemas.Selection{Scope: map[string][]string{"role": {"bench_*"}}}
			before := statements(b, server)
			for b.Loop() {
				s, err := r.Read(b.Context(), sel)
				if err != nil || s.Incomplete != "" || len(s.Connections) < roles {
					b.Fatalf("%d roles: %s (%v)", len(s.Connections), s.Incomplete, err)
				}
			}
			b.ReportMetric(float64(statements(b, server)-before)/float64(b.N), "calls/op")
		})
	}
}

func statements(b *testing.B, server *servers.Postgres) int {
	b.Helper()
	log, err := os.ReadFile(server.Log)
	if err != nil {
		b.Fatal(err)
	}
	return bytes.Count(log, []byte("LOG:  statement: ")) + bytes.Count(log, []byte("LOG:  execute "))
}
