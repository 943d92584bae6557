package ldap

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/countersign/countersign/connectors"
)

func equals(attribute, value string) string {
	return "(" + attribute + "=" + goldap.EscapeFilter(value) + ")"
}

func or2(a, b string) string { return "(|" + a + b + ")" }

func both(a, b string) string { return "(&" + a + b + ")" }

// maxTerms bounds the alternatives of one filter. OpenLDAP compares each candidate with each of them, so the cost is
// quadratic.
const maxTerms = 50

// anyOf searches for entries that match one of many terms, some at a time.
func (r *reader) anyOf(ctx context.Context, op string, base dn, filter string, terms []string, attributes []string) ([]*goldap.Entry, error) {
	var out []*goldap.Entry
	seen := map[string]bool{}
	slices.Sort(terms)
	for part := range slices.Chunk(slices.Compact(terms), maxTerms) {
		found, err := r.below(ctx, op, base, both(filter, "(|"+strings.Join(part, "")+")"), attributes)
		if err != nil {
			return nil, err
		}
		for _, e := range found {
			if !seen[e.DN] {
				seen[e.DN] = true
				out = append(out, e)
			}
		}
	}
	return out, nil
}

// below searches the tree under a base of the config.
func (r *reader) below(ctx context.Context, op string, base dn, filter string, attributes []string) ([]*goldap.Entry, error) {
	return r.under(ctx, query{op: op, base: base.text, scope: goldap.ScopeWholeSubtree, filter: filter, attributes: attributes})
}

func (r *reader) under(ctx context.Context, q query) ([]*goldap.Entry, error) {
	found, err := r.search(ctx, q)
	if connectors.CodeOf(err) == connectors.NotFound {
		var e *connectors.Error
		errors.As(err, &e)
		setting := "base_dn"
		if q.base == r.settings.UserBaseDN.text && q.base != r.settings.BaseDN.text {
			setting = "user_base_dn"
		}
		return nil, &connectors.Error{Code: connectors.Invalid, Op: q.op, Err: e.Err,
			Message: fmt.Sprintf("config.%s: entry not found, or the account can't see it", setting)}
	}
	return found, err
}

func terms(attribute string, values []string) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = equals(attribute, v)
	}
	return out
}

func folded(names []string) map[string]bool {
	out := make(map[string]bool, len(names))
	for _, n := range names {
		out[fold(n)] = true
	}
	return out
}

// notThere reports whether a search failed because the base doesn't exist, is hidden from the account, or is on another
// server.
func notThere(err error) bool {
	switch connectors.CodeOf(err) {
	case connectors.NotFound, connectors.Denied, connectors.Unsupported, connectors.Invalid:
		return true
	}
	return false
}

// exists reports whether an entry with this DN can be seen.
func (r *reader) exists(ctx context.Context, d dn) (bool, error) {
	found, err := r.search(ctx, query{op: "look up an entry", base: d.text, scope: goldap.ScopeBaseObject, filter: "(objectClass=*)", attributes: []string{"1.1"}})
	if notThere(err) {
		return false, nil
	}
	return len(found) > 0, err
}

// byID returns the entries with ids, wherever they are in the directory: those below the bases first.
func (r *reader) byID(ctx context.Context, op string, ids []string) ([]*goldap.Entry, error) {
	terms := r.idTerms(ids)
	if len(terms) == 0 {
		return nil, nil
	}
	var out []*goldap.Entry
	seen := map[string]bool{}
	for _, base := range append([]string{r.settings.UserBaseDN.text, r.settings.BaseDN.text}, r.root.contexts...) {
		for part := range slices.Chunk(terms, maxTerms) {
			found, err := r.search(ctx, query{op: op, base: base, scope: goldap.ScopeWholeSubtree, filter: "(|" + strings.Join(part, "") + ")", attributes: append(r.idAttributes(), "uid"), partial: true})
			if err != nil && !notThere(err) {
				return nil, err
			}
			for _, e := range found {
				if !seen[r.idOf(e)] {
					seen[r.idOf(e)] = true
					out = append(out, e)
				}
			}
		}
		if len(out) == len(terms) {
			break
		}
	}
	return out, nil
}

// idTerms returns the search terms for ids. It leaves out invalid ids, which no entry has.
func (r *reader) idTerms(ids []string) []string {
	var out []string
	for _, id := range slices.Compact(slices.Sorted(slices.Values(ids))) {
		if !r.root.ad {
			out = append(out, or2(equals(attrUUID, id), equals(attrUniqueID, id)))
		} else if b, ok := guidBytes(id); ok {
			out = append(out, equals("objectGUID", b))
		}
	}
	return out
}
