package aws

import (
	"context"
	"slices"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// delete empties a connection and deletes it. Obstacles are found first, so that a refused deletion removes nothing;
// then access is removed before the connection, so that each step may be the last. A boundary stays on a role until
// the end: without it the role would have more rights.
func (r *run) delete(ctx context.Context, o *schemas.Operation, e *entity) error {
	empty, remove := r.emptyGroup, func() error {
		return only(r.iam.DeleteGroup(ctx, &iam.DeleteGroupInput{GroupName: sdk.String(e.name)}))
	}
	switch e.typ {
	case typeRole:
		empty, remove = r.emptyRole, func() error { return only(r.iam.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: sdk.String(e.name)})) }
	case typePolicy:
		empty, remove = r.emptyPolicy, func() error {
			return only(r.iam.DeletePolicy(ctx, &iam.DeletePolicyInput{PolicyArn: sdk.String(e.arn)}))
		}
	}
	// Somebody may add to it meanwhile, and a listing may not show recent additions yet.
	err := r.settled(ctx, func(err error) bool {
		return codeOf(err) == deleteConflict || r.made[e.arn] && codeOf(err) == noSuchEntity
	}, func() error {
		if err := empty(ctx, o, e); err != nil {
			return err
		}
		return remove()
	})
	if codeOf(err) == noSuchEntity {
		err = nil
	}
	if err == nil {
		delete(r.index(e.typ), fold(e.name))
		r.forget(e)
	}
	return err
}

// forget removes a deleted entity from the account's other parts.
func (r *run) forget(e *entity) {
	for _, x := range []index{r.account.users, r.account.groups, r.account.roles} {
		for _, other := range x {
			other.attached = slices.DeleteFunc(other.attached, func(arn string) bool { return arn == e.arn })
		}
	}
}

func blocked(o *schemas.Operation, dependents []string, why string) error {
	slices.Sort(dependents)
	return &connectors.Error{Code: connectors.Conflict, Op: connectors.Title(o), Message: why, Dependents: dependents}
}

// each calls a function for every name, and accepts those that are already gone.
func each(list []string, do func(string) error) error {
	for _, item := range list {
		if err := do(item); err != nil && codeOf(err) != noSuchEntity {
			return err
		}
	}
	return nil
}

func (r *run) emptyGroup(ctx context.Context, _ *schemas.Operation, e *entity) error {
	name := sdk.String(e.name)
	users, err := collect(ctx, r.reader, "list the members of the group", r.iam.GetGroup,
		func(marker *string) *iam.GetGroupInput {
			return &iam.GetGroupInput{GroupName: name, Marker: marker, MaxItems: sdk.Int32(r.PageSize)}
		},
		func(out *iam.GetGroupOutput) ([]string, bool, *string) {
			return names(out.Users, func(u types.User) string { return sdk.ToString(u.UserName) }), out.IsTruncated, out.Marker
		})
	if err != nil {
		return err
	}
	attached, err := collect(ctx, r.reader, "list the policies of the group", r.iam.ListAttachedGroupPolicies,
		func(marker *string) *iam.ListAttachedGroupPoliciesInput {
			return &iam.ListAttachedGroupPoliciesInput{GroupName: name, Marker: marker, MaxItems: sdk.Int32(r.PageSize)}
		},
		func(out *iam.ListAttachedGroupPoliciesOutput) ([]string, bool, *string) {
			return names(out.AttachedPolicies, func(p types.AttachedPolicy) string { return sdk.ToString(p.PolicyArn) }), out.IsTruncated, out.Marker
		})
	if err != nil {
		return err
	}
	inline, err := collect(ctx, r.reader, "list the inline policies of the group", r.iam.ListGroupPolicies,
		func(marker *string) *iam.ListGroupPoliciesInput {
			return &iam.ListGroupPoliciesInput{GroupName: name, Marker: marker, MaxItems: sdk.Int32(r.PageSize)}
		},
		func(out *iam.ListGroupPoliciesOutput) ([]string, bool, *string) {
			return out.PolicyNames, out.IsTruncated, out.Marker
		})
	if err != nil {
		return err
	}
	if err := each(users, func(user string) error {
		return only(r.iam.RemoveUserFromGroup(ctx, &iam.RemoveUserFromGroupInput{GroupName: name, UserName: sdk.String(user)}))
	}); err != nil {
		return err
	}
	if err := each(attached, func(arn string) error {
		return only(r.iam.DetachGroupPolicy(ctx, &iam.DetachGroupPolicyInput{GroupName: name, PolicyArn: sdk.String(arn)}))
	}); err != nil {
		return err
	}
	return each(inline, func(policy string) error {
		return only(r.iam.DeleteGroupPolicy(ctx, &iam.DeleteGroupPolicyInput{GroupName: name, PolicyName: sdk.String(policy)}))
	})
}

func (r *run) emptyRole(ctx context.Context, o *schemas.Operation, e *entity) error {
	name := sdk.String(e.name)
	profiles, err := collect(ctx, r.reader, "list the instance profiles of the role", r.iam.ListInstanceProfilesForRole,
		func(marker *string) *iam.ListInstanceProfilesForRoleInput {
			return &iam.ListInstanceProfilesForRoleInput{RoleName: name, Marker: marker, MaxItems: sdk.Int32(r.PageSize)}
		},
		func(out *iam.ListInstanceProfilesForRoleOutput) ([]string, bool, *string) {
			return names(out.InstanceProfiles, func(p types.InstanceProfile) string { return "instance profile " + sdk.ToString(p.InstanceProfileName) }), out.IsTruncated, out.Marker
		})
	if err != nil {
		return err
	}
	if len(profiles) > 0 {
		return blocked(o, profiles, "machines may run with the role: remove it from its instance profiles first")
	}
	attached, err := collect(ctx, r.reader, "list the policies of the role", r.iam.ListAttachedRolePolicies,
		func(marker *string) *iam.ListAttachedRolePoliciesInput {
			return &iam.ListAttachedRolePoliciesInput{RoleName: name, Marker: marker, MaxItems: sdk.Int32(r.PageSize)}
		},
		func(out *iam.ListAttachedRolePoliciesOutput) ([]string, bool, *string) {
			return names(out.AttachedPolicies, func(p types.AttachedPolicy) string { return sdk.ToString(p.PolicyArn) }), out.IsTruncated, out.Marker
		})
	if err != nil {
		return err
	}
	inline, err := collect(ctx, r.reader, "list the inline policies of the role", r.iam.ListRolePolicies,
		func(marker *string) *iam.ListRolePoliciesInput {
			return &iam.ListRolePoliciesInput{RoleName: name, Marker: marker, MaxItems: sdk.Int32(r.PageSize)}
		},
		func(out *iam.ListRolePoliciesOutput) ([]string, bool, *string) {
			return out.PolicyNames, out.IsTruncated, out.Marker
		})
	if err != nil {
		return err
	}
	if err := each(attached, func(arn string) error {
		return only(r.iam.DetachRolePolicy(ctx, &iam.DetachRolePolicyInput{RoleName: name, PolicyArn: sdk.String(arn)}))
	}); err != nil {
		return err
	}
	return each(inline, func(policy string) error {
		return only(r.iam.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: name, PolicyName: sdk.String(policy)}))
	})
}

// emptyPolicy detaches a policy from all holders. A holder that must not be changed prevents the deletion.
func (r *run) emptyPolicy(ctx context.Context, o *schemas.Operation, e *entity) error {
	arn := sdk.String(e.arn)
	boundUsers, boundRoles, _, err := r.holders(ctx, e.arn, types.PolicyUsageTypePermissionsBoundary)
	if err != nil {
		return err
	}
	var dependents []string
	for _, name := range boundUsers {
		dependents = append(dependents, "user "+name+" has it as permissions boundary")
	}
	for _, name := range boundRoles {
		dependents = append(dependents, "role "+name+" has it as permissions boundary")
	}
	users, roles, groups, err := r.holders(ctx, e.arn, types.PolicyUsageTypePermissionsPolicy)
	if err != nil {
		return err
	}
	for _, holder := range []struct {
		typ   string
		names []string
	}{{typeRole, roles}, {typeGroup, groups}} {
		for _, name := range holder.names {
			held, err := r.find(ctx, o, schemas.Name{Type: holder.typ, SourceName: name}, "")
			if err != nil {
				return err
			}
			if held == nil {
				continue
			}
			if why := r.protected(held); why != "" {
				dependents = append(dependents, holder.typ+" "+name+" has it, and "+why)
			}
		}
	}
	for _, name := range users {
		if r.self.users[fold(name)] {
			dependents = append(dependents, "user "+name+" has it, and belongs to countersign's own credential")
		}
	}
	if len(dependents) > 0 {
		return blocked(o, dependents, "it is in use outside this application's scope: detach it there first")
	}
	if err := each(users, func(user string) error {
		return only(r.iam.DetachUserPolicy(ctx, &iam.DetachUserPolicyInput{PolicyArn: arn, UserName: sdk.String(user)}))
	}); err != nil {
		return err
	}
	if err := each(groups, func(group string) error {
		return only(r.iam.DetachGroupPolicy(ctx, &iam.DetachGroupPolicyInput{PolicyArn: arn, GroupName: sdk.String(group)}))
	}); err != nil {
		return err
	}
	if err := each(roles, func(role string) error {
		return only(r.iam.DetachRolePolicy(ctx, &iam.DetachRolePolicyInput{PolicyArn: arn, RoleName: sdk.String(role)}))
	}); err != nil {
		return err
	}
	versions, err := r.listVersions(ctx, e.arn)
	if err != nil {
		return err
	}
	for _, v := range versions {
		if v.IsDefaultVersion {
			continue
		}
		if err := r.dropVersion(ctx, e, sdk.ToString(v.VersionId)); err != nil {
			return err
		}
	}
	return nil
}
