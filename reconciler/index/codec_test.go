package index

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/schemas"
)

// sample has something in every field.
func sample(n int) []*plan.Document {
	at := time.Date(2027, 1, 31, 0, 0, 0, 5, time.UTC)
	version := func(blob string, until int) *plan.Version {
		return &plan.Version{Blob: blob, Until: until, Request: &schemas.Request{Kind: schemas.KindConnectionAssignment,
			Metadata: schemas.Metadata{Name: "sales", Reason: "The quarterly dashboards", Ticket: "DATA-412"}, Application: "warehouse",
			Provisioning: "ticket", Connection: schemas.ConnectionRef{Type: "role", SourceName: "sales_reader", SourceID: "16401"},
			Payload: map[string]any{"login": false, "comment": "Readers"}, ReassignTo: "owner",
			Grants:  []schemas.Entry{{Type: "table", SourceName: "sales.orders", SourceID: "7", Privileges: []string{"SELECT", "INSERT"}, Starts: &at, Expires: &at}},
			Revokes: []schemas.Entry{{Type: "user", SourceName: "alice"}}}}
	}
	var out []*plan.Document
	for i := range n {
		out = append(out, &plan.Document{Place: schemas.Place{Commit: 3 + i, Path: "requests/a.yaml", Index: i},
			Former: []*plan.Version{version("b1", 5)}, Current: version("b2", 0)})
	}
	return out
}

func encoded(t testing.TB, docs []*plan.Document) []byte {
	t.Helper()
	b, err := encodeDocuments(docs)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// FuzzDocuments decodes anything. What is taken is well-formed: written again it reads the same.
func FuzzDocuments(f *testing.F) {
	good := encoded(f, sample(2))
	for at := 0; at < len(good); at += 7 {
		f.Add(good[:at])
		bad := bytes.Clone(good)
		bad[at] ^= 0xff
		f.Add(bad)
	}
	f.Add(good)
	f.Add([]byte(`[{"place": {}}]`))
	f.Add([]byte("SQLite format 3\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		docs, err := decodeDocuments(b)
		if err != nil {
			if docs != nil {
				t.Error("an error and documents")
			}
			return
		}
		for _, d := range docs {
			for _, v := range append(slices.Clone(d.Former), d.Current) {
				if v != nil && v.Request == nil {
					t.Fatal("a version without a request")
				}
			}
		}
		again, err := decodeDocuments(encoded(t, docs))
		if err != nil {
			t.Fatalf("written again: %v", err)
		}
		if diff := cmp.Diff(docs, again); diff != "" {
			t.Errorf("written again it differs:\n%s", diff)
		}
	})
}

// A part of documents is never taken for documents, nor are documents with something after them.
func TestCutDocuments(t *testing.T) {
	t.Parallel()
	good := encoded(t, sample(3))
	if docs, err := decodeDocuments(good); err != nil || cmp.Diff(sample(3), docs) != "" {
		t.Fatalf("uncut: %v\n%s", err, cmp.Diff(sample(3), docs))
	}
	for at := range good {
		if docs, err := decodeDocuments(good[:at]); err == nil {
			t.Errorf("the first %d of %d bytes are taken for %d documents", at, len(good), len(docs))
		}
	}
	for _, more := range [][]byte{{0}, {1}, good} {
		if _, err := decodeDocuments(slices.Concat(good, more)); err == nil {
			t.Errorf("%d bytes after the documents are overlooked", len(more))
		}
	}
}

// A few bytes that speak of billions of things take no more memory than a few bytes.
func TestDecodeIsBounded(t *testing.T) {
	good := encoded(t, sample(1))
	huge := [][]byte{binary.AppendUvarint(nil, 1<<31), binary.AppendUvarint(nil, 1<<30), binary.AppendUvarint(nil, 1<<63), bytes.Repeat([]byte{0xff}, 16)}
	for at := range good {
		for i, h := range huge {
			b := slices.Concat(good[:at], h, good[at:])
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			docs, err := decodeDocuments(b)
			runtime.ReadMemStats(&after)
			if used := after.TotalAlloc - before.TotalAlloc; used > 1<<20 {
				t.Fatalf("number %d at byte %d: %d bytes decode (to %d documents, %v) with %d bytes of memory", i, at, len(b), len(docs), err, used)
			}
		}
	}
	const size = 1 << 20
	for _, c := range []byte{0, 1, 0x7f, 0x80, 0xff} {
		t.Run(fmt.Sprintf("%#x", c), func(t *testing.T) {
			b := slices.Concat(binary.AppendUvarint(nil, size/2), bytes.Repeat([]byte{c}, size))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := decodeDocuments(b)
			runtime.ReadMemStats(&after)
			if used := after.TotalAlloc - before.TotalAlloc; used > 256*size {
				t.Errorf("%d bytes decode (%v) with %d bytes of memory", len(b), err, used)
			}
		})
	}
}
