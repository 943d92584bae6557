package aws

import (
	"context"
	"slices"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// grant and revoke change one entitlement. In IAM both are idempotent.
func (r *run) grant(ctx context.Context, o *schemas.Operation, e *entity) error {
	target, arn, err := r.target(ctx, o)
	if err != nil {
		return err
	}
	switch {
	case target == nil && arn == "":
		return connectors.Refuse(o, connectors.NotFound, "unknown %s", o.Target.Type)
	case target != nil && target.own != "":
		return connectors.Refuse(o, connectors.Denied, "%s %s is never granted: %s", target.typ, target.name, target.own)
	}
	name := sdk.String(e.name)
	return r.settled(ctx, r.young(e.arn, arn), func() error {
		var err error
		switch {
		case e.typ == typeGroup && target != nil && target.typ == typeUser:
			err = only(r.iam.AddUserToGroup(ctx, &iam.AddUserToGroupInput{GroupName: name, UserName: sdk.String(target.name)}))
		case e.typ == typePolicy:
			err = only(r.iam.AttachUserPolicy(ctx, &iam.AttachUserPolicyInput{PolicyArn: sdk.String(e.arn), UserName: sdk.String(target.name)}))
		case e.typ == typeGroup:
			err = only(r.iam.AttachGroupPolicy(ctx, &iam.AttachGroupPolicyInput{GroupName: name, PolicyArn: sdk.String(arn)}))
		default:
			err = only(r.iam.AttachRolePolicy(ctx, &iam.AttachRolePolicyInput{RoleName: name, PolicyArn: sdk.String(arn)}))
		}
		return err
	})
}

func (r *run) revoke(ctx context.Context, o *schemas.Operation, e *entity) error {
	target, arn, err := r.target(ctx, o)
	if err != nil {
		return err
	}
	switch {
	case target == nil && arn == "" && o.Target.Type != typeInlinePolicy:
		return nil // a deleted target isn't held by anybody
	case target != nil && target.typ == typeUser && target.own != "":
		return connectors.Refuse(o, connectors.Denied, "user %s is never changed: %s", target.name, target.own)
	}
	name := sdk.String(e.name)
	switch {
	case o.Target.Type == typeInlinePolicy && !slices.Contains(e.inline, o.Target.SourceName) && !r.couldBe(*o.Target):
		return nil
	case o.Target.Type == typeInlinePolicy && e.typ == typeGroup:
		err = only(r.iam.DeleteGroupPolicy(ctx, &iam.DeleteGroupPolicyInput{GroupName: name, PolicyName: sdk.String(o.Target.SourceName)}))
	case o.Target.Type == typeInlinePolicy:
		err = only(r.iam.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: name, PolicyName: sdk.String(o.Target.SourceName)}))
	case e.typ == typeGroup && target != nil && target.typ == typeUser:
		err = only(r.iam.RemoveUserFromGroup(ctx, &iam.RemoveUserFromGroupInput{GroupName: name, UserName: sdk.String(target.name)}))
	case e.typ == typePolicy:
		err = only(r.iam.DetachUserPolicy(ctx, &iam.DetachUserPolicyInput{PolicyArn: sdk.String(e.arn), UserName: sdk.String(target.name)}))
	case e.typ == typeGroup:
		err = only(r.iam.DetachGroupPolicy(ctx, &iam.DetachGroupPolicyInput{GroupName: name, PolicyArn: sdk.String(arn)}))
	default:
		err = only(r.iam.DetachRolePolicy(ctx, &iam.DetachRolePolicyInput{RoleName: name, PolicyArn: sdk.String(arn)}))
	}
	if codeOf(err) == noSuchEntity {
		return nil // not held; the read-back shows whether IAM only lagged behind
	}
	return err
}

// target finds the target of a grant or revoke: an entity of the account with its ARN, or the ARN of an AWS-managed
// policy.
func (r *run) target(ctx context.Context, o *schemas.Operation) (*entity, string, error) {
	switch o.Target.Type {
	case typeInlinePolicy:
		return nil, "", nil
	case typeAWSPolicy:
		g, _ := r.description.Types[0].Target(typeAWSPolicy)
		if g.Names.Check(o.Target.SourceName) != nil {
			return nil, "", nil // only a revoke gets here
		}
		arn := r.managedPrefix() + o.Target.SourceName
		if o.TargetID != "" && o.TargetID != arn {
			return nil, "", connectors.Refuse(o, connectors.Conflict, "the policy's ARN is %s (expected another one)", arn)
		}
		return nil, arn, nil
	}
	e, err := r.find(ctx, o, *o.Target, o.TargetID)
	if err != nil || e == nil {
		return nil, "", err
	}
	return e, e.arn, nil
}
