package audit

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/schemas"
)

// The baseline's items and tokens are plan's own, and records hold them. The ledger may not import plan, and
// reads them all the same: these tests hold the one spelling against the other.

func drawName(r *rapid.T, label string) schemas.Name {
	// Whatever decodes: control characters do not.
	text := rapid.StringMatching(`[ -~é漢,:;/]{0,12}`)
	return schemas.Name{Type: text.Draw(r, label+" type"), SourceName: text.Draw(r, label+" name")}
}

func drawDocuments(r *rapid.T) []schemas.DocumentID {
	return rapid.SliceOfNDistinct(rapid.Custom(func(r *rapid.T) schemas.DocumentID {
		return schemas.DocumentID{Path: rapid.StringMatching(`[ -~é]{0,20}`).Draw(r, "path"), Index: rapid.IntRange(0, 300).Draw(r, "index"),
			Blob: rapid.StringMatching(`[0-9a-f]{0,40}`).Draw(r, "blob")}
	}), 1, 4, func(d schemas.DocumentID) schemas.DocumentID { return d }).Draw(r, "documents")
}

func TestItemsArePlans(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		k := schemas.Key{Connection: drawName(r, "connection"), Target: drawName(r, "target"), Privilege: rapid.StringMatching(`[ -~]{0,10}`).Draw(r, "privilege")}
		if got, want := itemOf(k), plan.EntitlementItem(k); got != want {
			r.Errorf("itemOf = %q, plan has %q", got, want)
		}
		for item, want := range map[string]schemas.AuditEntitlement{
			plan.ConnectionItem(k.Connection): {Kind: "connection", Connection: k.Connection},
			plan.PayloadItem(k.Connection):    {Kind: "payload", Connection: k.Connection},
			plan.EntitlementItem(k):           {Kind: "entitlement", Connection: k.Connection, Target: &k.Target, Privilege: k.Privilege},
		} {
			var got schemas.AuditEntitlement
			if err := nameEntitlement(&got, item); err != nil {
				r.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				r.Errorf("%q (-want +got):\n%s", item, diff)
			}
		}
	})
}

func TestTokensArePlans(t *testing.T) {
	t.Parallel()
	causes := []schemas.Cause{schemas.CauseRequest, schemas.CauseExpiry, schemas.CauseUndo}
	rapid.Check(t, func(r *rapid.T) {
		made, ended, given, taken := drawDocuments(r), drawDocuments(r), drawDocuments(r), drawDocuments(r)
		n, gone, user, table := drawName(r, "connection"), schemas.Name{Type: "gone"}, schemas.Name{Type: "user"}, schemas.Name{Type: "table"}
		items := plan.ItemsOf(&plan.Desired{Connections: []*plan.Connection{
			{Name: n, Existence: plan.Present, Documents: made,
				Entitlements: []plan.Entitlement{{Target: user, Privilege: "MEMBER", Documents: given}},
				Tombstones:   []plan.Tombstone{{Target: table, Privilege: "SELECT", Cause: rapid.SampledFrom(causes).Draw(r, "cause"), Documents: taken}}},
			{Name: gone, Existence: plan.Deleted, Documents: ended},
		}})
		want := map[string][]schemas.DocumentID{ // by item: who asks for it; nobody for what is to be absent
			plan.ConnectionItem(n): made, plan.PayloadItem(n): made[len(made)-1:], plan.ConnectionItem(gone): nil,
			plan.EntitlementItem(schemas.Key{Connection: n, Target: user, Privilege: "MEMBER"}):  given,
			plan.EntitlementItem(schemas.Key{Connection: n, Target: table, Privilege: "SELECT"}): nil,
		}
		seen := map[string]bool{}
		for _, list := range items {
			for _, i := range list {
				var expect []string
				for _, d := range want[i.Item] {
					expect = append(expect, markOf(d))
				}
				if got := marks(i.Token); !slices.Equal(got, expect) {
					r.Errorf("%q: marks(%q) = %q, want %q", i.Item, i.Token, got, expect)
				}
				seen[i.Item] = true
			}
		}
		if len(seen) != len(want) {
			r.Errorf("plan has items %v, want %d", seen, len(want))
		}
	})
}

// AsOf understands what plan's items and tokens say, by way of a record.
func TestAsOfReadsPlansBaseline(t *testing.T) {
	t.Parallel()
	for _, cause := range []schemas.Cause{schemas.CauseRequest, schemas.CauseExpiry, schemas.CauseUndo} {
		t.Run(string(cause), func(t *testing.T) {
			t.Parallel()
			asked := schemas.DocumentID{Path: "requests/a.yaml", Index: 1, Blob: fmt.Sprintf("%040d", 7)}
			by := []schemas.DocumentID{asked}
			sales := role("sales")
			desired := &plan.Desired{Connections: []*plan.Connection{
				{Name: sales, Existence: plan.Present, Documents: by,
					Entitlements: []plan.Entitlement{{Target: schemas.Name{Type: "user", SourceName: "ann"}, Privilege: "MEMBER", Documents: by}},
					Tombstones:   []plan.Tombstone{{Target: schemas.Name{Type: "table", SourceName: "sales.orders"}, Privilege: "SELECT", Cause: cause, Documents: by}}},
				{Name: role("old"), Existence: plan.Deleted, Documents: by}}}
			var baseline []schemas.BaselineItem
			for _, i := range plan.ItemsOf(desired)[plan.DocumentKey{Path: asked.Path, Index: asked.Index}] {
				baseline = append(baseline, schemas.BaselineItem{Item: i.Item, Token: i.Token, Made: true})
			}
			if len(baseline) != 5 {
				t.Fatalf("%d items, want the role, its payload, a member, a tombstone and a role that was", len(baseline))
			}
			l, clock := temp(t)
			admission := verdict("c1", verdictAdmitted)
			admission.Admission.Requests = []schemas.RequestInfo{{Document: asked, Application: app}}
			appendTo(t, l, admission, schemas.Record{Type: schemas.RecordAdoption, Application: app, Baseline: baseline})
			all, err := AsOf(t.Context(), l, clock.Peek(), "")
			got := all.Entitlements
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != 3 {
				t.Errorf("AsOf = %+v, want the role, its payload and its member", got)
			}
			for _, e := range got {
				if e.Connection != sales || e.Origin != schemas.OriginRequest || !slices.Equal(e.Requests, by) {
					t.Errorf("AsOf has %+v, want it of %v, asked for by %v", e, sales, asked)
				}
			}
		})
	}
}
