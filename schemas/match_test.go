package schemas_test

import (
	"testing"

	"github.com/countersign/countersign/schemas"
)

func TestIntersect(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"sales_*", "sales_*", true}, {"sales_*", "*_reader", true}, {"sales_*", "mart_*", false}, {"*", "x", true}, {"x", "x", true},
		{"x", "y", false}, {"a?c", "ab*", true}, {"a?c", "ab", false}, {"a*b*c", "*x*", true}, {"ab", "a?b", false}, {"", "*", true},
		{"", "?", false}, {`a\*`, "a?", true}, {`a\*`, "ab", false}, {`\?`, "a", false}, {"*a", "*b", false}, {"é?", "?x", true},
	} {
		if got := schemas.Intersect([]string{"none", tt.a}, []string{tt.b}); got != tt.want {
			t.Errorf("%q and %q: %v, want %v", tt.a, tt.b, got, tt.want)
		}
		if got := schemas.Intersect([]string{tt.b}, []string{tt.a}); got != tt.want {
			t.Errorf("%q and %q: %v, want %v", tt.b, tt.a, got, tt.want)
		}
	}
}
