package aws

import (
	"context"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

func (r *run) index(typ string) index {
	return map[string]index{typeGroup: r.account.groups, typeRole: r.account.roles, typePolicy: r.account.policies, typeUser: r.account.users}[typ]
}

// find returns the entity of a name, or nil.
func (r *run) find(ctx context.Context, o *schemas.Operation, n schemas.Name, id string) (*entity, error) {
	e := r.index(n.Type)[fold(n.SourceName)]
	if e == nil && r.couldBe(n) {
		// The reading may be older than a recent creation.
		var err error
		if e, err = r.lookup(ctx, n); err != nil {
			return nil, err
		}
		if e != nil {
			r.index(n.Type)[fold(n.SourceName)] = e
		}
	}
	if e == nil && id != "" {
		for _, other := range r.index(n.Type) {
			if other.id == id {
				return nil, connectors.Refuse(o, connectors.Conflict, "the %s with the id %s is now named %s", n.Type, id, other.name)
			}
		}
	}
	switch {
	case e == nil:
		return nil, nil
	case e.name != n.SourceName:
		return nil, connectors.Refuse(o, connectors.Conflict, "IAM ignores case, and the %s %s exists: write the name like that", n.Type, e.name)
	case id != "" && e.id != id:
		return nil, connectors.Refuse(o, connectors.Conflict, "%s %s has the id %s (expected another one): somebody re-created it", n.Type, e.name, e.id)
	}
	return e, nil
}

// couldBe reports whether IAM could have such a name at all.
func (r *run) couldBe(n schemas.Name) bool {
	rule := schemas.NameRule{MaxBytes: 128, Pattern: namePattern}
	if n.Type == typeRole {
		rule.MaxBytes = 64
	}
	return rule.Check(n.SourceName) == nil
}

// lookup asks for one entity by its name.
func (r *run) lookup(ctx context.Context, n schemas.Name) (*entity, error) {
	name := sdk.String(n.SourceName)
	var e *entity
	var err error
	switch n.Type {
	case typeUser:
		var out *iam.GetUserOutput
		if out, err = r.iam.GetUser(ctx, &iam.GetUserInput{UserName: name}); err == nil {
			u := out.User
			e = newEntity(n.Type, u.UserName, u.UserId, u.Arn, u.Path)
			if r.self.users[fold(e.name)] {
				e.own = "it belongs to countersign's own credential"
			}
		}
	case typeGroup:
		var out *iam.GetGroupOutput
		if out, err = r.iam.GetGroup(ctx, &iam.GetGroupInput{GroupName: name, MaxItems: sdk.Int32(1)}); err == nil {
			g := out.Group
			e = newEntity(n.Type, g.GroupName, g.GroupId, g.Arn, g.Path)
		}
	case typeRole:
		var out *iam.GetRoleOutput
		if out, err = r.iam.GetRole(ctx, &iam.GetRoleInput{RoleName: name}); err == nil {
			e = r.role(out.Role)
			if r.self.roles[fold(e.name)] {
				e.own = "it belongs to countersign's own credential"
			}
		}
	case typePolicy:
		var out *iam.GetPolicyOutput
		arn := "arn:" + r.partition + ":iam::" + r.Account + ":policy" + r.PathPrefix + n.SourceName
		if out, err = r.iam.GetPolicy(ctx, &iam.GetPolicyInput{PolicyArn: sdk.String(arn)}); err == nil {
			e = r.policy(out.Policy)
		}
	}
	if codeOf(err) == noSuchEntity {
		return nil, nil
	}
	return e, err
}

func (r *run) role(o *types.Role) *entity {
	e := newEntity(typeRole, o.RoleName, o.RoleId, o.Arn, o.Path)
	e.description, e.session = sdk.String(sdk.ToString(o.Description)), o.MaxSessionDuration
	e.bound(o.PermissionsBoundary)
	e.tag(o.Tags)
	e.document = readDocument(sdk.ToString(o.AssumeRolePolicyDocument), trust, r.partition)
	return e
}

func (r *run) policy(p *types.Policy) *entity {
	e := &entity{typ: typePolicy, name: sdk.ToString(p.PolicyName), id: sdk.ToString(p.PolicyId), arn: sdk.ToString(p.Arn), path: sdk.ToString(p.Path),
		description: p.Description, version: sdk.ToString(p.DefaultVersionId), versions: map[string]any{}}
	e.tag(p.Tags)
	return e
}
