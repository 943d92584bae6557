package ldap

import (
	"context"
	"encoding/hex"
	"maps"
	"slices"
	"strconv"
	"strings"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// find returns the group of an operation, or nil if there is none.
func (w *writer) find(ctx context.Context, o *schemas.Operation) (*group, error) {
	op := connectors.Title(o)
	if o.Connection.SourceName == "" {
		return nil, nil
	}
	attributes := w.class.groupAttributes
	if w.root.ad {
		// A group can have very many members, which aren't needed here.
		attributes = slices.DeleteFunc(slices.Clone(attributes), func(a string) bool { return a == attrMember })
	}
	find := func(term string) ([]*group, error) {
		found, err := w.below(ctx, op, w.settings.BaseDN, both(w.class.groupFilter, term), attributes)
		if err != nil {
			return nil, err
		}
		var out []*group
		for _, e := range found {
			g, err := w.readGroup(e)
			if err != nil {
				return nil, err
			}
			if g.dn.below(w.settings.BaseDN) {
				out = append(out, g)
			}
		}
		return out, nil
	}
	list, err := find(equals(w.class.groupName, o.Connection.SourceName))
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(g *group) bool { return g.name != fold(o.Connection.SourceName) })
	g, err := connectors.Resolve(typeGroup, fold(o.Connection.SourceName), strings.ToLower(o.NativeID), list, func(g *group) (name, id string) { return g.name, g.id })
	switch {
	case err != nil:
		return nil, connectors.During(o, err)
	case g == nil && o.NativeID != "":
		other, err := w.renamed(o, find)
		if err == nil && other != "" {
			err = connectors.Refuse(o, connectors.Conflict, "the group is now named %s", strconv.QuoteToASCII(other))
		}
		return nil, err
	case g == nil:
		return nil, nil
	}
	if w.root.ad && g.protected == "" {
		var own []string
		for _, text := range slices.Sorted(maps.Values(w.own)) {
			own = append(own, equals(attrMember, text))
		}
		if len(own) > 0 {
			found, err := w.search(ctx, query{op: op, base: g.dn.text, scope: goldap.ScopeBaseObject, filter: "(|" + strings.Join(own, "") + ")", attributes: []string{"1.1"}})
			if err != nil {
				return nil, err
			}
			if len(found) > 0 {
				g.protected = holdsOwn
			}
		}
	}
	if g.protected != "" {
		return nil, connectors.Refuse(o, connectors.Denied, "the group is protected: %s", g.protected)
	}
	if g.broken != "" {
		return nil, connectors.Refuse(o, connectors.Denied, "%s", g.broken)
	}
	return g, nil
}

// renamed returns the present name of the group with the operation's id, or "" if there is none. A revoke from a
// renamed group must not count as done.
func (w *writer) renamed(o *schemas.Operation, find func(string) ([]*group, error)) (string, error) {
	terms := w.idTerms([]string{o.NativeID})
	if len(terms) == 0 {
		return "", nil
	}
	list, err := find(terms[0])
	if err != nil || len(list) == 0 {
		return "", err
	}
	return list[0].name, nil
}

// guidBytes is the inverse of guid: it returns the value of objectGUID.
func guidBytes(s string) (string, bool) {
	b, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if err != nil || len(b) != 16 {
		return "", false
	}
	slices.Reverse(b[:4])
	slices.Reverse(b[4:6])
	slices.Reverse(b[6:8])
	return string(b), guid(b) == strings.ToLower(s)
}
