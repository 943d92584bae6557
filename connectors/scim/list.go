package scim

import (
	"context"
	"strconv"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// List returns groups, users or service principals.
func (r *reader) List(ctx context.Context, q connectors.Query) (connectors.Page, error) {
	op := "list what can be granted"
	if q.Type != typeGroup && q.Type != typeUser && (q.Type != typePrincipal || !r.settings.profile.principals) {
		return connectors.Page{}, &connectors.Error{Code: connectors.Unsupported, Op: op, Message: "unknown type " + strconv.QuoteToASCII(q.Type) + " for " + r.settings.profile.title}
	}
	same := func(name string) string { return name }
	if q.Type == typeUser {
		same = r.fold
	}
	return r.lister.Page(q, same, func() ([]schemas.Item, error) {
		list, err := r.candidates(ctx, q)
		var items []schemas.Item
		for _, a := range list {
			if a.name == "" {
				continue
			}
			i := schemas.Item{Name: schemas.Name{Type: q.Type, SourceName: a.name}, NativeID: a.id, State: a.state}
			if q.Type == typeGroup {
				i.Connection, i.Protected = true, r.protected(a.name)
			}
			items = append(items, i)
		}
		return items, err
	})
}

// candidates returns all resources of a query's type, or those with the query's names.
func (r *reader) candidates(ctx context.Context, q connectors.Query) ([]account, error) {
	d := newSession(r)
	if q.Names == nil || len(q.Names)+len(q.IDs) > few && r.settings.profile.paging != pagingNoLists {
		return d.all(ctx, q.Type)
	}
	var list []account
	for _, n := range q.Names {
		found, err := d.named(ctx, q.Type, n)
		if err != nil {
			return nil, err
		}
		list = append(list, found...)
	}
	for _, id := range q.IDs {
		body, _, ok, err := r.get(ctx, endpointOf(q.Type), id)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		a, err := r.decode(q.Type, body)
		if err != nil {
			return nil, err
		}
		list = append(list, a)
	}
	return list, nil
}

func endpointOf(typ string) string {
	return map[string]string{typeUser: endUsers, typeGroup: endGroups, typePrincipal: endPrincipals}[typ]
}

// decode reads a user, a group's name or a service principal.
func (r *reader) decode(typ string, body []byte) (a account, err error) {
	switch typ {
	case typeGroup:
		var g group
		g, err = decodeGroup(body)
		a = account{id: g.id, name: g.name}
	case typePrincipal:
		a, err = decodePrincipal(body)
	default:
		a, err = decodeUser(body)
	}
	return r.named(typ, a), err
}
