package secrets

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Replacement is what a secret is replaced by.
const Replacement = "REDACTED"

// minSecret is the shortest secret that is replaced: shorter ones would cut words apart. Below minAnywhere, it is
// replaced only as a complete word.
const (
	minSecret   = 4
	minAnywhere = 8
	minEncoded  = 6
)

// Redactor takes secrets out of texts: as they are, percent-encoded, in base64 (also within a longer value that was
// encoded, such as user:password), and escaped for JSON or HTML. The zero Redactor knows no secret. It is safe for
// concurrent use.
type Redactor struct {
	mu    sync.RWMutex
	known map[string]bool
	forms []form // the longest first: a part of another would leave the rest of that
}

// form is a text to find.
type form struct {
	text string
	// encoded is set for base64: line breaks may be within, and the characters around belong to it.
	encoded bool
	// word is set where only complete words match.
	word bool
}

// Add adds a secret: the text, each of its lines, and the credentials within a URL, a DSN or JSON.
func (r *Redactor) Add(secret string) {
	if r == nil {
		return
	}
	r.mu.RLock()
	known := r.known[secret]
	r.mu.RUnlock()
	if known {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known == nil {
		r.known = map[string]bool{}
	}
	r.known[secret] = true
	for _, part := range parts(secret) {
		r.forms = append(r.forms, formsOf(part)...)
	}
	slices.SortFunc(r.forms, func(a, b form) int {
		if n := len(b.text) - len(a.text); n != 0 {
			return n
		}
		return strings.Compare(a.text, b.text)
	})
	r.forms = slices.CompactFunc(r.forms, func(a, b form) bool { return a.text == b.text })
}

var dsnPassword = regexp.MustCompile(`(?i)(?:password|pwd|passwd|secret|token)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|"([^"]*)"|([^\s;&'"]+))`)

var userInfo = regexp.MustCompile(`^[^/@]*?:(.*)@(?:[a-z]+\(|[^@/]*[:/])`)

// parts are the texts within a secret that are secret by themselves.
func parts(secret string) []string {
	out := []string{secret}
	out = append(out, strings.FieldsFunc(secret, func(c rune) bool { return c == '\n' || c == '\r' })...)
	if u, err := url.Parse(secret); err == nil && u.User != nil {
		if p, ok := u.User.Password(); ok {
			out = append(out, p)
		}
		if u.Host == "" {
			out = append(out, u.User.Username())
		}
	} else if m := userInfo.FindStringSubmatch(secret); m != nil {
		out = append(out, m[1]) // user:password@tcp(host)/
	}
	for _, m := range dsnPassword.FindAllStringSubmatch(secret, -1) {
		out = append(out, m[1], m[2], m[3])
	}
	var v any
	if json.Unmarshal([]byte(secret), &v) == nil {
		out = append(out, leaves(v, "")...)
	}
	return out
}

var secretKey = regexp.MustCompile(`(?i)pass|pwd|secret|token|key`)

func leaves(v any, key string) []string {
	var out []string
	switch v := v.(type) {
	case string:
		if secretKey.MatchString(key) {
			out = append(out, v)
			out = append(out, strings.FieldsFunc(v, func(c rune) bool { return c == '\n' || c == '\r' })...)
		}
	case map[string]any:
		for k, x := range v {
			out = append(out, leaves(x, k)...)
		}
	case []any:
		for _, x := range v {
			out = append(out, leaves(x, key)...)
		}
	}
	return out
}

// marker matches the first and last lines of PEM files, which are not secret.
var marker = regexp.MustCompile(`^-+(BEGIN|END) [A-Z0-9 ]+-+$`)

func formsOf(s string) []form {
	if len(s) < minSecret || marker.MatchString(s) {
		return nil
	}
	out := []form{{text: s, word: len(s) < minAnywhere}}
	for before := range 3 {
		// Which characters the secret alone decides depends on how many bytes are before it, modulo three.
		padded := append(make([]byte, before), s...)
		first, last := (before*8+5)/6, len(padded)*8/6
		for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			if core := e.EncodeToString(padded)[first:last]; len(core) >= minEncoded {
				out = append(out, form{text: core, encoded: true})
			}
		}
	}
	return out
}

// Redact returns a text without the secrets.
func (r *Redactor) Redact(text string) string {
	if r == nil || text == "" {
		return text
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, f := range r.forms {
		text = f.replace(text)
	}
	return text
}

// replace replaces every match of a form.
func (f form) replace(text string) string {
	if len(text) < len(f.text) {
		return text
	}
	var out strings.Builder
	copied := 0
	for i := 0; i < len(text); {
		if c := text[i]; c != f.text[0] && c != '%' && c != '\\' && c != '&' && c != '+' {
			i++
			continue
		}
		end := f.match(text, i)
		if end < 0 {
			i++
			continue
		}
		start := i
		if f.encoded {
			// The characters beside it hold bits of the secret, too.
			for n := 0; n < 3 && start > copied && isBase64(text[start-1]); n++ {
				start--
			}
			for n := 0; n < 4 && end < len(text) && isBase64(text[end]); n++ {
				end++
			}
		}
		out.WriteString(text[copied:start])
		out.WriteString(Replacement)
		copied, i = end, end
	}
	if copied == 0 {
		return text
	}
	out.WriteString(text[copied:])
	return out.String()
}

// match returns where a match that begins at i ends, or -1. A text may be read in several ways, so all places that the
// match may have come to are followed.
func (f form) match(text string, i int) int {
	if f.word && i > 0 && isWord(text[i-1]) {
		return -1
	}
	at := []int{i}
	for j := 0; j < len(f.text); j++ {
		var next []int
		for _, p := range at {
			if f.encoded && j > 0 {
				p = skipBreaks(text, p)
			}
			next = readings(next, text, p, f.text[j])
		}
		if len(next) == 0 {
			return -1
		}
		slices.Sort(next)
		at = slices.Compact(next)
	}
	end := at[len(at)-1]
	if f.word && end < len(text) && isWord(text[end]) {
		return -1
	}
	return end
}

// readings appends the places after p to which the byte c may reach: literally, or in one of the encodings.
func readings(to []int, text string, p int, c byte) []int {
	if p >= len(text) {
		return to
	}
	rest := text[p:]
	if rest[0] == c {
		to = append(to, p+1)
	}
	switch rest[0] {
	case '+':
		if c == ' ' {
			to = append(to, p+1)
		}
	case '%':
		hexed := rest[1:]
		for strings.HasPrefix(hexed, "25") && len(hexed) >= 4 { // encoded more than once
			if isByte(hexed[2:], c) {
				to = append(to, p+len(rest)-len(hexed)+4)
			}
			hexed = hexed[2:]
		}
		if isByte(rest[1:], c) || c == ' ' && isByte(rest[1:], '+') {
			to = append(to, p+3)
		}
	case '\\':
		if len(rest) > 5 && (rest[1] == 'u' || rest[1] == 'U') && rest[2:4] == "00" && isByte(rest[4:], c) && c < 0x80 {
			to = append(to, p+6)
		}
		if len(rest) > 3 && rest[1] == 'x' && isByte(rest[2:], c) {
			to = append(to, p+4)
		}
		if len(rest) > 1 {
			if rest[1] == c && strings.IndexByte(`"\/'`, c) >= 0 {
				to = append(to, p+2)
			}
			if i := strings.IndexByte("ntrbf", rest[1]); i >= 0 && "\n\t\r\b\f"[i] == c {
				to = append(to, p+2)
			}
		}
	case '&':
		for _, e := range entities(c) {
			if strings.HasPrefix(rest, e) {
				to = append(to, p+len(e))
			}
		}
	}
	return to
}

func entities(c byte) []string {
	switch c {
	case '&':
		return []string{"&amp;"}
	case '<':
		return []string{"&lt;"}
	case '>':
		return []string{"&gt;"}
	case '"':
		return []string{"&quot;", "&#34;"}
	case '\'':
		return []string{"&#39;", "&apos;"}
	}
	return nil
}

func isByte(hexed string, c byte) bool {
	if len(hexed) < 2 {
		return false
	}
	b, err := hex.DecodeString(hexed[:2])
	return err == nil && b[0] == c
}

// skipBreaks goes over line breaks within base64, written out or escaped.
func skipBreaks(text string, p int) int {
	for {
		rest := text[min(p, len(text)):]
		switch {
		case strings.HasPrefix(rest, "\n"), strings.HasPrefix(rest, "\r"):
			p++
		case strings.HasPrefix(rest, `\n`), strings.HasPrefix(rest, `\r`):
			p += 2
		case strings.HasPrefix(rest, "%0A"), strings.HasPrefix(rest, "%0D"), strings.HasPrefix(rest, "%0a"), strings.HasPrefix(rest, "%0d"):
			p += 3
		default:
			return p
		}
	}
}

func isBase64(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '+' || c == '/' || c == '-' || c == '_' || c == '='
}

func isWord(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c >= 0x80
}
