package scim

import (
	"context"
	"encoding/json"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// session caches lookups within one Apply or List. Groups are read again before each write.
type session struct {
	reader *reader
	found  map[schemas.Name][]account
	lists  map[string][]account // complete lists, by type
}

func newSession(r *reader) *session {
	return &session{reader: r, found: map[schemas.Name][]account{}, lists: map[string][]account{}}
}

// all reads the complete list of a type. An incomplete list is an error: a name that it lacks may exist.
func (s *session) all(ctx context.Context, typ string) ([]account, error) {
	if list, ok := s.lists[typ]; ok {
		return list, nil
	}
	op := "list each " + typ
	if s.reader.settings.profile.paging == pagingNoLists {
		return nil, &connectors.Error{Code: connectors.Unsupported, Op: op, Message: s.reader.settings.profile.title + " doesn't list resources over SCIM; use names"}
	}
	var list []account
	var why string
	var err error
	if typ == typeGroup {
		var raws []json.RawMessage
		raws, why, err = s.reader.list(ctx, endGroups, "")
		for _, raw := range raws {
			g, err := decodeGroup(raw)
			if err != nil {
				return nil, s.reader.strange(op, err)
			}
			list = append(list, account{id: g.id, name: g.name})
		}
	} else {
		list, why, err = s.reader.accounts(ctx, typ)
	}
	if err != nil {
		return nil, err
	}
	if why != "" {
		return nil, &connectors.Error{Code: connectors.Unavailable, Op: op, Message: why}
	}
	s.lists[typ] = list
	return list, nil
}

// named finds all resources with exactly this name (user names are folded if the profile folds them).
func (s *session) named(ctx context.Context, typ, name string) ([]account, error) {
	if typ == typeUser {
		name = s.reader.fold(name)
	}
	key := schemas.Name{Type: typ, SourceName: name}
	if list, ok := s.found[key]; ok {
		return list, nil
	}
	if _, ok := s.lists[typ]; !ok {
		list, usable, err := s.byFilter(ctx, typ, name)
		if err != nil {
			return nil, err
		}
		// If names are folded, a case-sensitive filter may have missed the name.
		if usable && (len(list) > 0 || typ != typeUser || !s.reader.settings.profile.foldUsers || s.reader.settings.profile.paging == pagingNoLists) {
			s.found[key] = list
			return list, nil
		}
	}
	all, err := s.all(ctx, typ)
	if err != nil {
		return nil, err
	}
	var list []account
	for _, a := range all {
		if a.name == name {
			list = append(list, a)
		}
	}
	s.found[key] = list
	return list, nil
}

func (s *session) byFilter(ctx context.Context, typ, name string) (list []account, usable bool, err error) {
	endpoint, attribute := endUsers, "userName"
	switch typ {
	case typeGroup:
		endpoint, attribute = endGroups, "displayName"
	case typePrincipal:
		endpoint, attribute = endPrincipals, "applicationId"
	}
	raws, usable, err := s.reader.find(ctx, endpoint, attribute, name)
	if err != nil || !usable {
		return nil, false, err
	}
	for _, raw := range raws {
		a, err := s.reader.decode(typ, raw)
		if err != nil {
			return nil, false, s.reader.strange("look up a "+typ, err)
		}
		if a.name == name {
			list = append(list, a)
		}
	}
	return list, true, nil
}

// forget drops the cached lookups of a group's name.
func (s *session) forget(name string) {
	delete(s.found, schemas.Name{Type: typeGroup, SourceName: name})
	delete(s.lists, typeGroup)
}
