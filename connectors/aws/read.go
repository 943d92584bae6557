package aws

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// Read reads the complete account, and returns the selected connections.
func (r *reader) Read(ctx context.Context, sel schemas.Selection) (schemas.State, error) {
	a, err := r.read(ctx)
	if err != nil {
		return schemas.State{}, err
	}
	selected := connectors.Selected(sel, func(n schemas.Name) schemas.Name {
		n.SourceName = fold(n.SourceName)
		return n
	})
	state := schemas.State{Incomplete: a.doubt}
	members := map[string][]schemas.Entitlement{} // of groups, by folded name; of policies, by ARN
	for _, u := range a.users {
		e := schemas.Entitlement{Target: schemas.Name{Type: typeUser, SourceName: u.name}, TargetID: u.id, Privilege: schemas.PrivilegeMember}
		for _, g := range u.groups {
			members[fold(g)] = append(members[fold(g)], e)
		}
		for _, arn := range u.attached {
			members[arn] = append(members[arn], e)
		}
	}
	for _, x := range []index{a.groups, a.policies, a.roles} {
		for _, e := range x {
			n := schemas.Name{Type: e.typ, SourceName: e.name}
			if !selected(n, e.id) {
				continue
			}
			c := schemas.Connection{Name: n, NativeID: e.id, Payload: e.payload(), Protected: r.protected(e)}
			switch e.typ {
			case typeGroup:
				c.Entitlements = slices.Clone(members[fold(e.name)])
			case typePolicy:
				c.Entitlements = slices.Clone(members[e.arn])
			}
			for _, arn := range e.attached {
				c.Entitlements = append(c.Entitlements, r.attachment(a, arn))
			}
			for _, name := range e.inline {
				c.Entitlements = append(c.Entitlements, schemas.Entitlement{Target: schemas.Name{Type: typeInlinePolicy, SourceName: name}, Privilege: privilegeEmbed})
			}
			state.Connections = append(state.Connections, c)
		}
	}
	state.Sort()
	return state, nil
}

// attachment is a managed policy as an entitlement.
func (r *reader) attachment(a *account, arn string) schemas.Entitlement {
	if name, ok := strings.CutPrefix(arn, r.managedPrefix()); ok {
		return schemas.Entitlement{Target: schemas.Name{Type: typeAWSPolicy, SourceName: name}, TargetID: arn, Privilege: privilegeAttach}
	}
	e := schemas.Entitlement{Target: schemas.Name{Type: typePolicy, SourceName: lastPart(arn)}, Privilege: schemas.PrivilegeMember}
	if p := a.policies[fold(lastPart(arn))]; p != nil {
		e.Target.SourceName, e.TargetID = p.name, p.id
	}
	return e
}

// payload returns the known attributes.
func (e *entity) payload() map[string]any {
	p := map[string]any{"path": e.path}
	if e.description != nil {
		p["description"] = *e.description
	}
	switch e.typ {
	case typePolicy:
		p["document"] = e.document
	case typeRole:
		p["assume_role_policy"], p["permissions_boundary"] = e.document, e.boundary
		if e.session != nil {
			p["max_session_duration"] = int(*e.session)
		}
	}
	return p
}

// List returns the items of a type. Later pages are cut from the reading of the first.
func (r *reader) List(ctx context.Context, q connectors.Query) (connectors.Page, error) {
	op := "list " + strconv.QuoteToASCII(q.Type)
	return r.lister.Page(q, fold, func() ([]schemas.Item, error) { return r.items(ctx, op, q.Type) })
}

func (r *reader) items(ctx context.Context, op, typ string) ([]schemas.Item, error) {
	var items []schemas.Item
	add := func(i schemas.Item) { items = append(items, i) }
	switch typ {
	case typeUser, typeGroup, typeRole, typePolicy, typeInlinePolicy:
	case typeAWSPolicy:
		return items, r.pages(ctx, op, func(marker *string) (bool, *string, error) {
			out, err := r.iam.ListPolicies(ctx, &iam.ListPoliciesInput{Scope: types.PolicyScopeTypeAws, Marker: marker, MaxItems: sdk.Int32(r.PageSize)})
			if err != nil {
				return false, nil, err
			}
			for i := range out.Policies {
				arn := sdk.ToString(out.Policies[i].Arn)
				if name, ok := strings.CutPrefix(arn, r.managedPrefix()); ok {
					add(schemas.Item{Name: schemas.Name{Type: typ, SourceName: name}, NativeID: arn})
				}
			}
			return out.IsTruncated, out.Marker, nil
		})
	default:
		return nil, &connectors.Error{Code: connectors.Unsupported, Op: op, Message: "IAM doesn't have this type"}
	}
	a, err := r.read(ctx)
	if err != nil {
		return nil, err
	}
	if a.doubt != "" {
		return nil, &connectors.Error{Code: connectors.Unavailable, Op: op, Message: a.doubt}
	}
	if typ == typeInlinePolicy {
		for _, x := range []index{a.groups, a.roles} {
			for _, e := range x {
				for _, name := range e.inline {
					add(schemas.Item{Name: schemas.Name{Type: typ, SourceName: name}})
				}
			}
		}
		return items, nil
	}
	for _, e := range map[string]index{typeUser: a.users, typeGroup: a.groups, typeRole: a.roles, typePolicy: a.policies}[typ] {
		// Policies outside our path may be granted, if the application allows it; those of our own credential never.
		add(schemas.Item{Name: schemas.Name{Type: typ, SourceName: e.name}, NativeID: e.id, Protected: e.own, Connection: typ != typeUser})
	}
	return items, nil
}

// Normalize converts documents to one form, and returns an error for values that IAM would refuse.
func (r *reader) Normalize(s schemas.State) (schemas.State, error) {
	return connectors.NormalizeWith(r.description, s, func(c *schemas.Connection) error {
		payload, err := r.normal(c.Type, c.Payload)
		c.Payload = payload
		return err
	})
}

// normal returns a payload with its documents in canonical form.
func (r *reader) normal(typ string, payload map[string]any) (map[string]any, error) {
	if len(payload) == 0 {
		return payload, nil
	}
	out := maps.Clone(payload)
	for key, k := range map[string]kind{"document": permissions, "assume_role_policy": trust} {
		if out[key] == nil {
			continue
		}
		doc, err := parseDocument(out[key], k, r.partition)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		out[key] = doc
	}
	if path, ok := out["path"].(string); ok && !r.within(path) {
		return nil, fmt.Errorf("path: it must begin with %s (config.path_prefix)", r.PathPrefix)
	}
	if boundary, ok := out["permissions_boundary"].(string); ok && typ == typeRole && r.PermissionsBoundary != "" && boundary != r.PermissionsBoundary {
		return nil, fmt.Errorf("permissions_boundary: it must be that of config.permissions_boundary, or left out")
	}
	return out, nil
}
