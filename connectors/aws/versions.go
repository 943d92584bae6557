package aws

import (
	"context"
	"slices"
	"strconv"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

func sameDocument(a, b any) bool {
	x, errX := encodeDocument(a)
	y, errY := encodeDocument(b)
	return errX == nil && errY == nil && x == y
}

// maxVersions is the number of versions that IAM keeps of a policy.
const maxVersions = 5

// updateDocument makes a document the default version: an older version with that document, or a new one.
func (r *run) updateDocument(ctx context.Context, o *schemas.Operation, e *entity, doc any) error {
	arn := sdk.String(e.arn)
	var out *iam.GetPolicyOutput
	if err := r.settled(ctx, r.young(e.arn), func() (err error) {
		out, err = r.iam.GetPolicy(ctx, &iam.GetPolicyInput{PolicyArn: arn})
		return err
	}); err != nil {
		return err
	}
	if got := sdk.ToString(out.Policy.PolicyId); e.id != "" && got != e.id {
		return connectors.Refuse(o, connectors.Conflict, "the policy now has the id %s: somebody re-created it", got)
	}
	e.version = sdk.ToString(out.Policy.DefaultVersionId)
	if e.versions[e.version] == nil {
		v, err := r.iam.GetPolicyVersion(ctx, &iam.GetPolicyVersionInput{PolicyArn: arn, VersionId: sdk.String(e.version)})
		if err != nil {
			return err
		}
		e.versions[e.version] = readDocument(sdk.ToString(v.PolicyVersion.Document), permissions, r.partition)
	}
	if sameDocument(e.versions[e.version], doc) {
		return nil
	}
	for _, id := range sortedKeys(e.versions) {
		// A version's number is never reused, so its document is still valid.
		if !sameDocument(e.versions[id], doc) {
			continue
		}
		_, err := r.iam.SetDefaultPolicyVersion(ctx, &iam.SetDefaultPolicyVersionInput{PolicyArn: arn, VersionId: sdk.String(id)})
		if err == nil {
			e.version, e.document = id, doc
		}
		if codeOf(err) != noSuchEntity {
			return err
		}
		delete(e.versions, id)
	}
	text, err := encodeDocument(doc)
	if err != nil {
		return connectors.Refuse(o, connectors.Invalid, "document: %v", err)
	}
	if len(e.versions) >= maxVersions {
		if err := r.dropOldest(ctx, e); err != nil {
			return err
		}
	}
	var made *iam.CreatePolicyVersionOutput
	create := func() error {
		var err error
		made, err = r.iam.CreatePolicyVersion(ctx, &iam.CreatePolicyVersionInput{PolicyArn: arn, PolicyDocument: sdk.String(text), SetAsDefault: true},
			func(o *iam.Options) { o.Retryer = sure{newPatience(r.MaxWait)} })
		return err
	}
	err = create()
	if codeOf(err) == limitExceeded {
		if err := r.dropOldest(ctx, e); err != nil {
			return err
		}
		err = create()
	}
	if err != nil {
		return err
	}
	e.version, e.document = sdk.ToString(made.PolicyVersion.VersionId), doc
	e.versions[e.version] = doc
	return nil
}

// dropOldest makes room for a version if necessary.
func (r *run) dropOldest(ctx context.Context, e *entity) error {
	versions, err := r.listVersions(ctx, e.arn)
	if err != nil || len(versions) < maxVersions {
		return err
	}
	i := slices.IndexFunc(versions, func(v types.PolicyVersion) bool { return !v.IsDefaultVersion })
	return r.dropVersion(ctx, e, sdk.ToString(versions[i].VersionId))
}

func (r *run) dropVersion(ctx context.Context, e *entity, id string) error {
	_, err := r.iam.DeletePolicyVersion(ctx, &iam.DeletePolicyVersionInput{PolicyArn: sdk.String(e.arn), VersionId: sdk.String(id)})
	if err != nil && codeOf(err) != noSuchEntity {
		return err
	}
	delete(e.versions, id)
	return nil
}

// listVersions returns a policy's versions, the oldest first.
func (r *run) listVersions(ctx context.Context, arn string) ([]types.PolicyVersion, error) {
	var list []types.PolicyVersion
	err := r.pages(ctx, "list the versions of the policy", func(marker *string) (bool, *string, error) {
		out, err := r.iam.ListPolicyVersions(ctx, &iam.ListPolicyVersionsInput{PolicyArn: sdk.String(arn), Marker: marker, MaxItems: sdk.Int32(r.PageSize)})
		if err != nil {
			return false, nil, err
		}
		list = append(list, out.Versions...)
		return out.IsTruncated, out.Marker, nil
	})
	age := func(v types.PolicyVersion) int {
		n, err := strconv.Atoi(strings.TrimPrefix(sdk.ToString(v.VersionId), "v"))
		if err != nil {
			return 0
		}
		return n
	}
	slices.SortStableFunc(list, func(a, b types.PolicyVersion) int { return age(a) - age(b) })
	return list, err
}
