package scim_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/countersign/countersign/connectors/scim"
	"github.com/countersign/countersign/schemas"
)

// fill makes n groups with a user of its own in each, by hand.
func fill(b *testing.B, app *application, n int) {
	b.Helper()
	post := func(path string, body map[string]any) string {
		content, err := json.Marshal(body)
		if err != nil {
			b.Fatal(err)
		}
		req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, app.direct+"/"+path, strings.NewReader(string(content)))
		if err != nil {
			b.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+app.token)
		req.Header.Set("Content-Type", "application/scim+json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			b.Fatal(err)
		}
		defer resp.Body.Close()
		said, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusCreated {
			b.Fatalf("status %d: %s %v", resp.StatusCode, said, err)
		}
		var made struct{ ID string }
		if err := json.Unmarshal(said, &made); err != nil {
			b.Fatal(err)
		}
		return made.ID
	}
	for i := range n {
		user := post("Users", map[string]any{"schemas": []any{"urn:ietf:params:scim:schemas:core:2.0:User"}, "userName": fmt.Sprintf("u%05d", i)})
		post("Groups", map[string]any{"schemas": []any{"urn:ietf:params:scim:schemas:core:2.0:Group"}, "displayName": fmt.Sprintf("g%05d", i),
			"members": []any{map[string]any{"value": user}}})
	}
}

// BenchmarkRead reads groups with a member each. calls is the number of requests of one reading.
func BenchmarkRead(b *testing.B) {
	// SCIMMY forms every group anew for each page: 10,000 take it hours.
	for _, n := range []int{1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			app := newApplication(b, elimityServer(b), testToken, map[string]any{"page_size": 100})
			fill(b, app, n)
			r, err := scim.New().OpenReader(b.Context(), app.cfg)
			if err != nil {
				b.Fatal(err)
			}
			defer r.Close() // only read
			before := scim.Calls(r)
			b.ResetTimer()
			for range b.N {
				s, err := r.Read(b.Context(), schemas.Selection{})
				if err != nil || s.Incomplete != "" || len(s.Connections) != n || len(s.Connections[n/2].Entitlements) != 1 {
					b.Fatalf("%d groups, incomplete: %q, %v", len(s.Connections), s.Incomplete, err)
				}
			}
			b.ReportMetric(float64(scim.Calls(r)-before)/float64(b.N), "calls/op")
		})
	}
}
