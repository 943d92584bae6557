package schemas

import (
	"slices"

	"github.com/agnivade/levenshtein"
)

// maxWord is how long a word that may be a slip can be: the distance takes time that grows with both lengths.
const maxWord = 256

// Distance is by how many letters two words differ, for a "did you mean". Two letters that changed places are one slip.
func Distance(a, b string) int {
	if longest := max(len(a), len(b)); longest > maxWord {
		return longest
	}
	d := levenshtein.ComputeDistance(a, b)
	if d == 2 && len(a) == len(b) && a != b && sorted(a) == sorted(b) {
		return 1
	}
	return d
}

func sorted(s string) string {
	letters := []rune(s)
	slices.Sort(letters)
	return string(letters)
}
