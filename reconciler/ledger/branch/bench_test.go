package branch_test

import (
	"fmt"
	"testing"
)

func BenchmarkPull(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		b.Run(fmt.Sprintf("records=%d", n), func(b *testing.B) {
			url := remote(b)
			r := fresh(b, url)
			for at := 0; at < n; at += 1000 {
				var some []int
				for i := range 1000 {
					some = append(some, at+i)
				}
				if err := r.append(some...); err != nil {
					b.Fatal(err)
				}
			}
			for b.Loop() {
				fresh(b, url)
			}
		})
	}
}

func BenchmarkReplicate1000(b *testing.B) {
	r := fresh(b, remote(b))
	var some []int
	for i := range 1000 {
		some = append(some, i)
	}
	for b.Loop() {
		if err := r.append(some...); err != nil {
			b.Fatal(err)
		}
	}
}
