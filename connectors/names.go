package connectors

import (
	"fmt"
	"regexp"
	"strconv"
	"unicode/utf8"
)

// Check says why the application cannot hold the name, or nil. Reserved names are refused as well.
func (r NameRule) Check(name string) error { return Names{}.Check(r, name) }

// Names checks many names, and keeps the patterns that it compiled. Make it with make. It is not safe for
// concurrent use.
type Names map[string]*regexp.Regexp

// Check is NameRule.Check.
func (n Names) Check(r NameRule, name string) error {
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
	re := n[r.Pattern]
	if re == nil {
		var err error
		if re, err = regexp.Compile(`\A(?:` + r.Pattern + `)\z`); err != nil {
			return fmt.Errorf("the connector's name pattern does not compile: %w", err)
		}
		n[r.Pattern] = re
	}
	if !re.MatchString(name) {
		return fmt.Errorf("the name %s does not fit the application's pattern %s", strconv.QuoteToASCII(name), r.Pattern)
	}
	return nil
}
