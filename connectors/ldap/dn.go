package ldap

import (
	"errors"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	goldap "github.com/go-ldap/ldap/v3"
	"golang.org/x/text/unicode/norm"
)

// dn is a distinguished name. All spellings of a name have the same key.
type dn struct {
	text string   // as it was read
	rdns []string // the key of each part, the entry's own first
	attr string   // the first attribute of the first part
	name string   // its value
}

var (
	errDN         = errors.New("invalid distinguished name")
	attributeType = regexp.MustCompile(`\A(?:[A-Za-z][A-Za-z0-9-]*|[0-9]+(?:\.[0-9]+)+)\z`)
)

// parseDN parses a distinguished name (RFC 4514). It rejects names that it can't compare.
func parseDN(text string) (dn, error) {
	if !utf8.ValidString(text) || encoded(text) {
		return dn{}, errDN
	}
	parsed, err := goldap.ParseDN(text)
	if err != nil || len(parsed.RDNs) == 0 {
		return dn{}, errDN
	}
	d := dn{text: text, rdns: make([]string, 0, len(parsed.RDNs))}
	for i, rdn := range parsed.RDNs {
		if i == 0 {
			d.attr, d.name = strings.ToLower(rdn.Attributes[0].Type), rdn.Attributes[0].Value
		}
		for _, a := range rdn.Attributes {
			if !attributeType.MatchString(a.Type) || !utf8.ValidString(a.Value) {
				return dn{}, errDN
			}
			a.Type, a.Value = canonicalType(a.Type), prepare(a.Value)
		}
		d.rdns = append(d.rdns, rdn.String())
	}
	return d, nil
}

// encoded reports whether a value in the name is written as hexadecimal BER. Strings are never written like that,
// and BER can be nested to any depth.
func encoded(text string) bool {
	escaped, attribute := false, true
	for i := range len(text) {
		switch c := text[i]; {
		case escaped:
			escaped = false
		case c == '\\':
			escaped = true
		case c == ',' || c == '+' || c == ';':
			attribute = true
		case c == '=' && attribute:
			if attribute = false; strings.HasPrefix(strings.TrimLeft(text[i+1:], " "), "#") {
				return true
			}
		}
	}
	return false
}

// key returns a text that is equal for all spellings of the name.
func (d dn) key() string { return strings.Join(d.rdns, ",") }

// below reports whether the entry is below base, and not base itself.
func (d dn) below(base dn) bool {
	n := len(d.rdns) - len(base.rdns)
	if n <= 0 {
		return false
	}
	for i, rdn := range base.rdns {
		if d.rdns[n+i] != rdn {
			return false
		}
	}
	return true
}

// child returns the name of an entry directly below.
func (d dn) child(attribute, value string) string {
	rdn := goldap.RelativeDN{Attributes: []*goldap.AttributeTypeAndValue{{Type: attribute, Value: value}}}
	return rdn.String() + "," + d.text
}

// canonicalType maps all names of the attributes that RFC 4514 lists, and of uid, to one.
func canonicalType(t string) string {
	t = strings.ToLower(t)
	switch t {
	case "2.5.4.3", "commonname":
		return "cn"
	case "2.5.4.7", "localityname":
		return "l"
	case "2.5.4.8", "stateorprovincename":
		return "st"
	case "2.5.4.10", "organizationname":
		return "o"
	case "2.5.4.11", "organizationalunitname":
		return "ou"
	case "2.5.4.6", "countryname":
		return "c"
	case "2.5.4.9", "streetaddress":
		return "street"
	case "0.9.2342.19200300.100.1.25", "domaincomponent":
		return "dc"
	case "0.9.2342.19200300.100.1.1", "userid":
		return "uid"
	}
	return t
}

// prepare returns a value in the form in which directories compare it (RFC 4518): in lower case, composed, with
// single spaces and none at the ends.
func prepare(s string) string {
	ascii := true
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			ascii = false
			break
		}
	}
	if ascii {
		s = strings.ToLower(s)
	} else {
		// Unicode's full folding would turn ß into ss, but weiß and weiss are two accounts in OpenLDAP.
		s = norm.NFKC.String(strings.ToLower(norm.NFKC.String(s)))
	}
	return strings.Join(strings.FieldsFunc(s, unicode.IsSpace), " ")
}

// fold returns a name as it is shown: names in directories are case-insensitive.
func fold(name string) string { return strings.ToLower(name) }
