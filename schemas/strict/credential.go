package strict

import (
	"regexp"
	"strings"
)

var (
	urlPassword   = regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://[^/\s@]*:[^/\s]*@`)
	assignedValue = regexp.MustCompile(`(?i)(^|[^a-z0-9])(password|passwd|passphrase|pwd|secret|token|api_?key|access_?key|account_?key|shared_?access_?key)\s*=\s*\S`)
	knownToken    = regexp.MustCompile(`(^|[^A-Za-z0-9])((ghp|gho|ghu|ghs|ghr|github_pat|glpat|xox[abeoprs]|sk_live|sk_test|rk_live|npm|hf|dop_v1|pypi|shpat|sk-ant|sk-proj)[_-][A-Za-z0-9_-]{10,}|(AKIA|ASIA)[A-Z0-9]{16}|AIza[A-Za-z0-9_-]{30,}|hv[sb]\.[A-Za-z0-9_-]{10,}|SG\.[A-Za-z0-9_-]{10,}\.|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.|AGE-SECRET-KEY-)`)
	secretKey     = regexp.MustCompile(`(?i)^(.*[_-])?(password|passwd|passphrase|pwd|secret|token|api[_-]?key|private[_-]?key|access[_-]?key|secret[_-]?key|credentials?)$`)
)

// credentialFault explains why a text of a config or payload looks like a secret, or "". It is a net for
// what no schema has marked: the mark, not this, is what makes a property secret.
func credentialFault(key, value string) string {
	const belongs = " (expected a reference to a secret)"
	switch {
	case value == "":
		return ""
	case strings.Contains(value, "://") && urlPassword.MatchString(value):
		return "a URL with a password in it" + belongs
	case strings.Contains(value, "-----BEGIN"):
		return "a key or certificate block" + belongs
	case strings.Contains(value, "=") && assignedValue.MatchString(value):
		return "a connection string with a password or token in it" + belongs
	case len(value) >= 14 && knownToken.MatchString(value):
		return "text that looks like an access token" + belongs
	case len(key) >= 3 && secretKey.MatchString(key):
		return "a literal where a secret belongs" + belongs
	}
	return ""
}
