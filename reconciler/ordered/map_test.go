package ordered_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/countersign/countersign/reconciler/ordered"
)

type number int

func (a number) Compare(b number) int { return int(a - b) }

// A map is what a built-in map is, and each former one is as it was.
func TestMap(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		type version struct {
			got  ordered.Map[number, int]
			want map[number]int
		}
		versions := []version{{want: map[number]int{}}}
		last := versions[0]
		for i := range rapid.IntRange(0, 400).Draw(r, "steps") {
			next := version{last.got, maps.Clone(last.want)}
			k := number(rapid.IntRange(0, 300).Draw(r, "key"))
			if rapid.IntRange(0, 2).Draw(r, "remove") == 0 {
				next.got = next.got.Without(k)
				delete(next.want, k)
			} else {
				next.got = next.got.With(k, i)
				next.want[k] = i
			}
			if last = next; i%50 == 0 {
				versions = append(versions, next)
			}
		}
		for _, v := range append(versions, last) {
			if got := maps.Collect(v.got.All()); !maps.Equal(got, v.want) {
				r.Fatal(cmp.Diff(v.want, got))
			}
			from := number(rapid.IntRange(-1, 301).Draw(r, "from"))
			var got, want []number
			for k := range v.got.From(from) {
				got = append(got, k)
			}
			for _, k := range slices.Sorted(maps.Keys(v.want)) {
				if k >= from {
					want = append(want, k)
				}
				if n, ok := v.got.Get(k); !ok || n != v.want[k] {
					r.Fatalf("%d is %d, %v; want %d", k, n, ok, v.want[k])
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				r.Fatal(diff)
			}
			if v.got.Has(-5) || v.got.Has(999) {
				r.Fatal("has a key that nobody set")
			}
		}
	})
}
