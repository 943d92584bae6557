package rest

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// NextPage returns the address of the next page that the header Link names (RFC 8288), "" at the end of a list.
//
// A header that can't be read, a relative address and two different next pages are errors: taken as the end of the
// list, they'd make access look removed. Libraries skip what they can't read, so none of them is used here.
func NextPage(h http.Header) (string, error) {
	next := ""
	for _, line := range h.Values("Link") {
		for rest := skip(line); rest != ""; rest = skip(rest) {
			target, parameters, after, err := cutLink(rest)
			if err != nil {
				return "", err
			}
			rest = after
			if !isNext(parameters) {
				continue
			}
			if u, err := url.Parse(target); err != nil || u.Scheme == "" || u.Host == "" {
				return "", errors.New("link header: the next page's address is not absolute")
			}
			if next != "" && next != target {
				return "", errors.New("link header: two next pages")
			}
			next = target
		}
	}
	return next, nil
}

// skip drops white space and the commas between links; a list in a header may have empty elements (RFC 9110, 5.6.1).
func skip(s string) string { return strings.TrimLeft(s, " \t,") }

// cutLink cuts the first link off a header: its address, its parameters, and the rest of the header.
func cutLink(s string) (target string, parameters []string, rest string, err error) {
	inner, ok := strings.CutPrefix(s, "<")
	if !ok {
		return "", nil, "", errors.New("link header: a link without an address")
	}
	target, rest, ok = strings.Cut(inner, ">")
	if !ok {
		return "", nil, "", errors.New("link header: an address without a closing >")
	}
	quoted, from := false, 0
	for i := 0; i < len(rest); i++ {
		switch c := rest[i]; {
		case c == '"':
			quoted = !quoted
		case quoted && c == '\\':
			i++
		case !quoted && c == ';':
			parameters, from = append(parameters, rest[from:i]), i+1
		case !quoted && c == ',':
			return target, append(parameters, rest[from:i]), rest[i:], nil
		}
	}
	if quoted {
		return "", nil, "", errors.New("link header: a quoted string without an end")
	}
	return target, append(parameters, rest[from:]), "", nil
}

// isNext reports whether the parameters have the relation "next".
func isNext(parameters []string) bool {
	for _, p := range parameters {
		key, value, _ := strings.Cut(p, "=")
		if strings.EqualFold(strings.TrimSpace(key), "rel") {
			relations := strings.Fields(strings.ToLower(strings.Trim(strings.TrimSpace(value), `"`)))
			return slices.Contains(relations, "next") // the first rel counts (RFC 8288, 3.3)
		}
	}
	return false
}
