package aws

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

type writer struct {
	*reader
	checker *connectors.Checker
}

// Apply reads the account once for the ids, spelling and protection of everything that operations name, and then
// carries out the operations one after the other: IAM doesn't offer batches.
func (w *writer) Apply(ctx context.Context, ops []schemas.Operation, report func(connectors.Outcome)) error {
	a, err := w.read(ctx)
	if err != nil {
		return err
	}
	if a.doubt != "" {
		return &connectors.Error{Code: connectors.Unavailable, Op: "apply", Message: a.doubt, RetryAfter: w.Settle}
	}
	r := &run{writer: w, account: a, made: map[string]bool{}}
	return connectors.Each(ctx, ops, w.checker, w.now, report, func(ctx context.Context, o *schemas.Operation) (int, error) {
		r.tries = 1
		err := w.fault(ctx, connectors.Title(o), r.one(ctx, o))
		return r.tries, err
	})
}

// run is one Apply.
type run struct {
	*writer
	account *account
	// made has the ARNs of entities that this run created: they may not be visible everywhere in IAM yet.
	made  map[string]bool
	tries int
}

func (r *run) one(ctx context.Context, o *schemas.Operation) error {
	e, err := r.find(ctx, o, o.Connection, o.NativeID)
	if err != nil {
		return err
	}
	if e != nil {
		if err := r.changeable(ctx, o, e); err != nil {
			return err
		}
	}
	switch {
	case e == nil && o.NativeID != "" && !o.Removes():
		return connectors.Refuse(o, connectors.Conflict, "the connection with the id %s was not found", strconv.QuoteToASCII(o.NativeID))
	case e == nil && o.Removes():
		return nil // an absent connection holds nothing
	case e == nil && o.Kind != schemas.OperationCreate:
		return connectors.Refuse(o, connectors.NotFound, "unknown %s", o.Connection.Type)
	}
	switch o.Kind {
	case schemas.OperationCreate, schemas.OperationUpdate:
		after, err := r.after(o)
		if err != nil {
			return err
		}
		if e == nil {
			return r.create(ctx, o, after)
		}
		return r.update(ctx, o, e, after)
	case schemas.OperationDelete:
		return r.delete(ctx, o, e)
	case schemas.OperationGrant:
		return r.grant(ctx, o, e)
	}
	return r.revoke(ctx, o, e)
}

// after returns the attributes to set, in canonical form; those without a value are left out.
func (r *run) after(o *schemas.Operation) (map[string]any, error) {
	given := map[string]any{}
	for k, v := range o.After {
		if v != nil {
			given[k] = v
		}
	}
	after, err := r.normal(o.Connection.Type, given)
	if err != nil {
		return nil, connectors.Refuse(o, connectors.Invalid, "%v", err)
	}
	return after, nil
}

// changeable refuses protected connections.
func (r *run) changeable(ctx context.Context, o *schemas.Operation, e *entity) error {
	if e.typ == typePolicy && r.Tag != nil && !e.tagsKnown {
		out, err := r.iam.GetPolicy(ctx, &iam.GetPolicyInput{PolicyArn: sdk.String(e.arn)})
		if err != nil {
			return err
		}
		e.tag(out.Policy.Tags)
	}
	if why := r.protected(e); why != "" {
		return connectors.Refuse(o, connectors.Denied, "%s %s is never changed: %s", e.typ, e.name, why)
	}
	return nil
}

// settled repeats a call while an entity that this run created isn't visible everywhere in IAM.
func (r *run) settled(ctx context.Context, again func(error) bool, do func() error) error {
	left, pause := r.Settle, min(200*time.Millisecond, r.Settle/20)
	for {
		err := do()
		if err == nil || left <= 0 || !again(err) {
			return err
		}
		if wait(ctx, pause) != nil {
			return err
		}
		r.tries++
		left -= pause
		pause = min(2*pause, 3*time.Second, max(left, 1))
	}
}

// young reports whether an error may be due to the recent creation of one of these.
func (r *run) young(arns ...string) func(error) bool {
	made := slices.ContainsFunc(arns, func(arn string) bool { return r.made[arn] })
	return func(err error) bool { return made && codeOf(err) == noSuchEntity }
}

// youngPrincipal reports whether IAM rejects a trust policy because it doesn't know a role yet that this run created.
func (r *run) youngPrincipal(text string) func(error) bool {
	made := false
	for arn := range r.made {
		made = made || strings.Contains(text, strconv.Quote(arn))
	}
	return func(err error) bool { return made && codeOf(err) == malformedPolicy }
}

// Documents of connections that are created without one.
func nobody() map[string]any {
	return map[string]any{"Version": "2012-10-17", "Statement": []any{map[string]any{"Effect": "Deny", "Principal": map[string]any{"AWS": "*"}, "Action": "sts:AssumeRole"}}}
}

func nothing() map[string]any {
	return map[string]any{"Version": "2012-10-17", "Statement": []any{map[string]any{"Effect": "Allow", "Action": "sts:GetCallerIdentity", "Resource": "*"}}}
}

func (r *run) create(ctx context.Context, o *schemas.Operation, after map[string]any) error {
	name := sdk.String(o.Connection.SourceName)
	path := r.PathPrefix
	if p, ok := after["path"].(string); ok {
		path = p
	}
	var tags []types.Tag
	if r.Tag != nil {
		tags = []types.Tag{{Key: sdk.String(r.Tag.Key), Value: sdk.String(r.Tag.Value)}}
	}
	var e *entity
	var err error
	switch o.Connection.Type {
	case typeGroup:
		var out *iam.CreateGroupOutput
		if out, err = r.iam.CreateGroup(ctx, &iam.CreateGroupInput{GroupName: name, Path: sdk.String(path)}); err == nil {
			g := out.Group
			e = &entity{typ: typeGroup, name: sdk.ToString(g.GroupName), id: sdk.ToString(g.GroupId), arn: sdk.ToString(g.Arn), path: path}
		}
	case typePolicy:
		document := after["document"]
		if document == nil {
			document = nothing()
		}
		text, encodeErr := encodeDocument(document)
		if encodeErr != nil {
			return connectors.Refuse(o, connectors.Invalid, "document: %v", encodeErr)
		}
		in := &iam.CreatePolicyInput{PolicyName: name, Path: sdk.String(path), PolicyDocument: sdk.String(text), Tags: tags}
		if d, ok := after["description"].(string); ok && d != "" {
			in.Description = sdk.String(d)
		}
		var out *iam.CreatePolicyOutput
		if out, err = r.iam.CreatePolicy(ctx, in); err == nil {
			e = r.policy(out.Policy)
			e.description, e.document = in.Description, document
			e.versions[e.version] = document
			e.tag(tags)
		}
	case typeRole:
		document := after["assume_role_policy"]
		if document == nil {
			document = nobody()
		}
		text, encodeErr := encodeDocument(document)
		if encodeErr != nil {
			return connectors.Refuse(o, connectors.Invalid, "assume_role_policy: %v", encodeErr)
		}
		in := &iam.CreateRoleInput{RoleName: name, Path: sdk.String(path), AssumeRolePolicyDocument: sdk.String(text), Tags: tags}
		if d, ok := after["description"].(string); ok && d != "" {
			in.Description = sdk.String(d)
		}
		if n, ok := connectors.WholeNumber(after["max_session_duration"]); ok {
			in.MaxSessionDuration = sdk.Int32(int32(n))
		}
		if b, ok := after["permissions_boundary"].(string); ok && b != "" {
			in.PermissionsBoundary = sdk.String(b)
		} else if r.PermissionsBoundary != "" {
			in.PermissionsBoundary = sdk.String(r.PermissionsBoundary)
		}
		err = r.settled(ctx, r.youngPrincipal(text), func() error {
			out, err := r.iam.CreateRole(ctx, in)
			if err == nil {
				e = r.role(out.Role)
				e.tag(tags)
			}
			return err
		})
	}
	if codeOf(err) == alreadyExists {
		return r.existing(ctx, o, after, err)
	}
	if err != nil {
		return err
	}
	r.index(o.Connection.Type)[fold(e.name)] = e
	r.made[e.arn] = true
	return nil
}

// existing completes a creation whose name is taken: by an earlier try of this creation with a lost answer, or by
// somebody else since the account was read.
func (r *run) existing(ctx context.Context, o *schemas.Operation, after map[string]any, cause error) error {
	var e *entity
	if err := r.settled(ctx, func(error) bool { return e == nil }, func() error {
		a, err := r.read(ctx)
		if err != nil {
			return err
		}
		if e = map[string]index{typeGroup: a.groups, typeRole: a.roles, typePolicy: a.policies}[o.Connection.Type][fold(o.Connection.SourceName)]; e == nil {
			return cause
		}
		return nil
	}); err != nil {
		return err
	}
	r.index(o.Connection.Type)[fold(e.name)] = e
	if e.name != o.Connection.SourceName {
		return connectors.Refuse(o, connectors.Conflict, "IAM ignores case, and the %s %s exists: write the name like that", e.typ, e.name)
	}
	if err := r.changeable(ctx, o, e); err != nil {
		return err
	}
	return r.update(ctx, o, e, after)
}

func (r *run) update(ctx context.Context, o *schemas.Operation, e *entity, after map[string]any) error {
	fixed := func(key, live string, known bool) error {
		want, ok := after[key].(string)
		if !ok || !known || want == live {
			return nil
		}
		return connectors.Refuse(o, connectors.Unsupported, "IAM can't change the %s of a %s (it is %s): leave it out, or delete and re-create the %[2]s", key, e.typ, strconv.QuoteToASCII(live))
	}
	switch e.typ {
	case typeGroup:
		path, ok := after["path"].(string)
		if !ok || path == e.path {
			return nil
		}
		err := r.settled(ctx, r.young(e.arn), func() error {
			return only(r.iam.UpdateGroup(ctx, &iam.UpdateGroupInput{GroupName: sdk.String(e.name), NewPath: sdk.String(path)}))
		})
		if err == nil {
			e.path = path
		}
		return err
	case typePolicy:
		if err := cmp.Or(fixed("path", e.path, true), fixed("description", sdk.ToString(e.description), e.description != nil)); err != nil {
			return err
		}
		if after["document"] == nil {
			return nil
		}
		return r.updateDocument(ctx, o, e, after["document"])
	}
	if err := fixed("path", e.path, true); err != nil {
		return err
	}
	return r.updateRole(ctx, o, e, after)
}

func (r *run) updateRole(ctx context.Context, o *schemas.Operation, e *entity, after map[string]any) error {
	if len(after) == 0 {
		return nil
	}
	// UpdateRole resets absent attributes to their defaults: attributes to keep are read just before.
	var out *iam.GetRoleOutput
	if err := r.settled(ctx, r.young(e.arn), func() (err error) {
		out, err = r.iam.GetRole(ctx, &iam.GetRoleInput{RoleName: sdk.String(e.name)})
		return err
	}); err != nil {
		return err
	}
	live := r.role(out.Role)
	if live.id != e.id {
		return connectors.Refuse(o, connectors.Conflict, "the role now has the id %s: somebody re-created it", live.id)
	}
	name := sdk.String(e.name)
	// Limits on the role come first, its trust policy last.
	boundary, ok := after["permissions_boundary"].(string)
	if ok && boundary != "" && boundary != live.boundary {
		if err := only(r.iam.PutRolePermissionsBoundary(ctx, &iam.PutRolePermissionsBoundaryInput{RoleName: name, PermissionsBoundary: sdk.String(boundary)})); err != nil {
			return err
		}
	}
	description, session := sdk.ToString(live.description), sdk.ToInt32(live.session)
	if d, ok := after["description"].(string); ok {
		description = d
	}
	if n, ok := connectors.WholeNumber(after["max_session_duration"]); ok {
		session = int32(n)
	}
	if description != sdk.ToString(live.description) || session != sdk.ToInt32(live.session) {
		in := &iam.UpdateRoleInput{RoleName: name, Description: sdk.String(description)}
		if session > 0 {
			in.MaxSessionDuration = sdk.Int32(session)
		}
		if err := only(r.iam.UpdateRole(ctx, in)); err != nil {
			return err
		}
	}
	if doc := after["assume_role_policy"]; doc != nil && !sameDocument(doc, live.document) {
		text, err := encodeDocument(doc)
		if err != nil {
			return connectors.Refuse(o, connectors.Invalid, "assume_role_policy: %v", err)
		}
		if err := r.settled(ctx, r.youngPrincipal(text), func() error {
			return only(r.iam.UpdateAssumeRolePolicy(ctx, &iam.UpdateAssumeRolePolicyInput{RoleName: name, PolicyDocument: sdk.String(text)}))
		}); err != nil {
			return err
		}
	}
	if ok && boundary == "" && live.boundary != "" {
		if err := only(r.iam.DeleteRolePermissionsBoundary(ctx, &iam.DeleteRolePermissionsBoundaryInput{RoleName: name})); err != nil {
			return err
		}
	}
	return nil
}
