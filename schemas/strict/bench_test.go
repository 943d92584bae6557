package strict

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/schemas"
)

// benchDocument is what a request commonly looks like.
func benchDocument(i int) []byte {
	return fmt.Appendf(nil, `apiVersion: countersign.dev/v1
kind: ConnectionAssignment
metadata:
  name: sales-reader-access-%d
  reason: Quarterly revenue dashboards
  ticket: DATA-%d
spec:
  application: warehouse
  connection: {type: role, source_name: sales_reader_%d}
  grants:
    - {type: schema, source_name: sales, privileges: [USAGE]}
    - {type: table, source_name: sales.orders, privileges: [SELECT]}
    - {type: user, source_name: alice, expires: 2027-01-31T00:00:00Z}
`, i, i, i)
}

func BenchmarkDecode(b *testing.B) {
	content := benchDocument(7)
	b.ReportAllocs()
	for b.Loop() {
		if _, errs := Decode("requests/a.yaml", content); len(errs) > 0 {
			b.Fatal(errs)
		}
	}
}

func BenchmarkDecodeFast(b *testing.B) {
	content := benchDocument(7)
	b.ReportAllocs()
	for b.Loop() {
		if _, errs := DecodeFast("requests/a.yaml", content); len(errs) > 0 {
			b.Fatal(errs)
		}
	}
}

// BenchmarkParse is the floor: the YAML parser alone.
func BenchmarkParse(b *testing.B) {
	content := benchDocument(7)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parse(content); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAt(b *testing.B) {
	content := benchDocument(7)
	for b.Loop() {
		docs, _ := Decode("requests/a.yaml", content)
		docs[0].At("spec.grants[2].expires")
	}
}

func BenchmarkCanonical(b *testing.B) {
	docs, _ := Decode("requests/a.yaml", benchDocument(7))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := schemas.Canonical(docs[0].Value); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRetained says what a decoded document keeps in memory.
func BenchmarkRetained(b *testing.B) {
	for _, c := range []struct {
		name   string
		decode func(string, []byte) ([]schemas.Document, schemas.ErrorList)
	}{{"Decode", Decode}, {"DecodeFast", DecodeFast}} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				const n = 5000
				kept := make([]schemas.Document, 0, n)
				var before, after runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&before)
				for i := range n {
					docs, _ := c.decode("requests/a.yaml", benchDocument(i))
					kept = append(kept, docs...)
				}
				runtime.GC()
				runtime.ReadMemStats(&after)
				b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "B/doc")
				runtime.KeepAlive(kept)
			}
		})
	}
}

type hostileFile struct{ name, content string }

// hostileFiles are made to cost time or memory; all of them are within the bounds of size.
func hostileFiles() []hostileFile {
	return []hostileFile{
		{"alias bomb", "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\n"},
		{"brackets", strings.Repeat("[", schemas.MaxDocumentBytes-1)},
		{"braces", strings.Repeat("{", schemas.MaxDocumentBytes-1)},
		{"brace colon", strings.Repeat("{a: ", schemas.MaxDocumentBytes/4-1)},
		{"dashes", strings.Repeat("- ", schemas.MaxDocumentBytes/2-1)},
		{"question marks", strings.Repeat("? ", schemas.MaxDocumentBytes/2-1)},
		{"comments", strings.Repeat("#\n", schemas.MaxDocumentBytes/2-1) + "a"},
		{"indents", func() string {
			var s strings.Builder
			for i := 0; s.Len()+i+4 < schemas.MaxDocumentBytes; i++ {
				s.WriteString(strings.Repeat(" ", i) + "a:\n")
			}
			return s.String()
		}()},
		{"keys", func() string {
			var s strings.Builder
			for i := 0; s.Len() < schemas.MaxDocumentBytes-20; i++ {
				fmt.Fprintf(&s, "k%d:\n", i)
			}
			return s.String()
		}()},
		{"flow keys", "{" + strings.Repeat("a,", schemas.MaxDocumentBytes/2-2) + "}"},
		{"anchors", strings.Repeat("&a ", schemas.MaxDocumentBytes/3-1)},
		{"markers", strings.Repeat("---\n", schemas.MaxFileBytes/4)},
		{"bidi", strings.Repeat("\u202e", schemas.MaxFileBytes/3)},
		{"combining", "a: e" + strings.Repeat("\u0301", schemas.MaxDocumentBytes/2-10)},
		{"tags", strings.Repeat("- !a\n", schemas.MaxDocumentBytes/5-1)},
		{"exclamations", strings.Repeat("- '!'\n", schemas.MaxDocumentBytes/6-1)},
		{"long line exclamations", "[" + strings.Repeat("'!',", schemas.MaxDocumentBytes/4-2) + "]"},
		{"quoted newlines", "a: \"" + strings.Repeat("\n", schemas.MaxDocumentBytes-10) + "\""},
	}
}

// TestHostile: what is made to be expensive is refused, and soon. The slowest takes about 30 ms of CPU
// time; the bound leaves room for the race detector.
func TestHostile(t *testing.T) {
	t.Parallel()
	for _, c := range hostileFiles() {
		took := work(t, func() {
			if docs, errs := Decode("requests/a.yaml", []byte(c.content)); len(docs) > 0 || len(errs) == 0 {
				t.Errorf("%s is accepted", c.name)
			} else {
				checkErrors(t, "requests/a.yaml", []byte(c.content), errs)
			}
		})
		if took > 5*time.Second {
			t.Errorf("%s took %s", c.name, took)
		}
	}
}

func BenchmarkHostile(b *testing.B) {
	for _, c := range hostileFiles() {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				if _, errs := Decode("requests/a.yaml", []byte(c.content)); len(errs) == 0 {
					b.Fatal("accepted")
				}
			}
		})
	}
}
