package schemas

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"unicode/utf8"
)

// Check explains why the application cannot hold the name, or nil. Reserved names are refused as well.
func (r NameRule) Check(name string) error {
	if r.MaxBytes > 0 && len(name) > r.MaxBytes {
		return fmt.Errorf("the name %s has %d bytes, and the application holds %d", strconv.QuoteToASCII(name), len(name), r.MaxBytes)
	}
	if !utf8.ValidString(name) {
		return fmt.Errorf("the name %s is not UTF-8", strconv.QuoteToASCII(name))
	}
	if Match(r.Reserved, name) {
		return fmt.Errorf("the name %s is reserved by the application", strconv.QuoteToASCII(name))
	}
	if r.Pattern == "" {
		return nil
	}
	re, err := namePatterns.compile(r.Pattern)
	if err != nil {
		return fmt.Errorf("the connector's name pattern does not compile: %w", err)
	}
	if !re.MatchString(name) {
		return fmt.Errorf("the name %s does not fit the application's pattern %s", strconv.QuoteToASCII(name), r.Pattern)
	}
	return nil
}

// namePatterns keeps the patterns that were compiled: a connector has a few, and checks thousands of names with them.
var namePatterns patternCache

// patternCache is safe for concurrent use.
type patternCache struct {
	mu       sync.Mutex
	compiled map[string]*regexp.Regexp
}

// maxPatterns bounds the cache: a process that runs for years meets descriptions that change.
const maxPatterns = 1000

func (c *patternCache) compile(pattern string) (*regexp.Regexp, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if re := c.compiled[pattern]; re != nil {
		return re, nil
	}
	re, err := regexp.Compile(`\A(?:` + pattern + `)\z`)
	if err != nil {
		return nil, err
	}
	if c.compiled == nil || len(c.compiled) >= maxPatterns {
		c.compiled = map[string]*regexp.Regexp{}
	}
	c.compiled[pattern] = re
	return re, nil
}

// Match reports whether a name matches one of the glob patterns. A star matches any run of characters, also
// none, also slashes and dots; a question mark one character; a backslash takes the next character as it
// is. A malformed pattern matches nothing: decoding refuses it with its place.
func Match(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return glob(p, name) })
}

// glob is iterative: at a mismatch it returns to the last star, so that a hostile pattern costs at most
// the product of the lengths.
func glob(pattern, name string) bool {
	p, n := []rune(pattern), []rune(name)
	star, back := -1, 0
	i, j := 0, 0
	for j < len(n) {
		switch {
		case i < len(p) && p[i] == '*':
			star, back = i, j
			i++
			continue
		case i < len(p) && p[i] == '?':
			i++
			j++
			continue
		case i+1 < len(p) && p[i] == '\\' && p[i+1] == n[j]:
			i += 2
			j++
			continue
		case i < len(p) && p[i] != '\\' && p[i] == n[j]:
			i++
			j++
			continue
		}
		if star < 0 {
			return false
		}
		back++
		i, j = star+1, back
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}
