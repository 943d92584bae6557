package ldap

import (
	"context"
	"errors"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

var _ connectors.Foreseer = (*reader)(nil)

// Foresee finds groups that can't be made, because the folder for new ones is missing, another entry has their DN or no
// gidNumber is free, and removals of a group's last member where the placeholder can't be used.
func (r *reader) Foresee(ctx context.Context, ops []schemas.Operation) ([]schemas.Finding, error) {
	w := &writer{reader: r}
	var out []schemas.Finding
	leaving := map[schemas.Name][]*schemas.Operation{}
	for i := range ops {
		o := &ops[i]
		switch o.Kind {
		case schemas.OperationCreate:
			why, err := w.notMade(ctx, o)
			if err != nil {
				return nil, err
			}
			if why != "" {
				out = append(out, connectors.Foresaw(o, "%s", why))
			}
		case schemas.OperationRevoke:
			leaving[o.Connection] = append(leaving[o.Connection], o)
		}
	}
	emptied, err := w.emptied(ctx, leaving)
	return append(out, emptied...), err
}

// notMade explains why a group can't be created, "" where it can, or exists.
func (w *writer) notMade(ctx context.Context, o *schemas.Operation) (string, error) {
	g, err := w.find(ctx, o)
	if err != nil || g != nil {
		return "", err
	}
	there, err := w.exists(ctx, w.settings.Create.ParentDN)
	if err != nil {
		return "", err
	}
	if !there {
		return "config.create.parent_dn: entry not found", nil
	}
	req, _, err := w.entry(ctx, o)
	var refused *connectors.Error
	switch {
	case errors.As(err, &refused) && (refused.Code == connectors.Denied || refused.Code == connectors.Conflict || refused.Code == connectors.Invalid):
		return refused.Message, nil
	case err != nil:
		return "", err
	}
	d, err := parseDN(req.DN)
	if err != nil {
		return "", nil //nolint:nilerr // Normalize refuses such names
	}
	taken, err := w.exists(ctx, d)
	if taken {
		return "another entry, which isn't a group, has this name", err
	}
	return "", err
}

// emptied finds the revokes that would empty groups which must not be empty, while an entry has the placeholder's DN.
func (w *writer) emptied(ctx context.Context, leaving map[schemas.Name][]*schemas.Operation) ([]schemas.Finding, error) {
	if len(leaving) == 0 || w.root.ad {
		return nil, nil
	}
	taken, err := w.exists(ctx, w.settings.PlaceholderDN)
	if err != nil || !taken {
		return nil, err
	}
	var names []schemas.Name
	for n := range leaving {
		names = append(names, n)
	}
	state, err := w.Read(ctx, schemas.Selection{Names: names})
	if err != nil {
		return nil, err
	}
	var out []schemas.Finding
	for i := range state.Connections {
		c := &state.Connections[i]
		list := leaving[c.Name]
		if len(list) < len(c.Entitlements) || len(list) == 0 {
			continue
		}
		g, err := w.find(ctx, list[0])
		if err != nil {
			return nil, err
		}
		if g != nil && len(g.musts) > 0 {
			out = append(out, connectors.Foresaw(list[len(list)-1], "%s", w.placeholderTaken()))
		}
	}
	return out, nil
}
