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
