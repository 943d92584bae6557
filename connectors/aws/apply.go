package aws

import (
	"cmp"
	"context"
	"fmt"
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

// Apply reads the account once, so that each operation knows the ids, the spelling and the protection of what it
// names, and then carries the operations out one after the other: IAM has no batches.
func (w *writer) Apply(ctx context.Context, ops []schemas.Operation, report func(connectors.Outcome)) error {
	if err := w.usable(ctx, "apply"); err != nil {
		return err
	}
	a, err := w.read(ctx)
	if err != nil {
		return err
	}
	if a.doubt != "" {
		return &connectors.Error{Code: connectors.Unavailable, Op: "apply", Message: a.doubt, RetryAfter: w.settle}
	}
	r := &run{writer: w, a: a, made: map[string]bool{}}
	return connectors.Each(ctx, ops, w.checker, w.now, report, func(ctx context.Context, o *schemas.Operation) (int, error) {
		r.tries = 1
		err := w.fault(ctx, connectors.Title(o), r.one(ctx, o))
		return r.tries, err
	})
}

// run is one Apply.
type run struct {
	*writer
	a *account
	// made are the ARNs of what this run made: IAM may not know it everywhere yet.
	made  map[string]bool
	tries int
}

func (r *run) index(typ string) index {
	return map[string]index{typeGroup: r.a.groups, typeRole: r.a.roles, typePolicy: r.a.policies, typeUser: r.a.users}[typ]
}

func refuse(code connectors.Code, o *schemas.Operation, format string, args ...any) error {
	return &connectors.Error{Code: code, Op: connectors.Title(o), Message: fmt.Sprintf(format, args...)}
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
		return refuse(connectors.Conflict, o, "the connection with the id %s is gone", strconv.QuoteToASCII(o.NativeID))
	case e == nil && o.Removes():
		return nil // what is not there has nothing
	case e == nil && o.Kind != schemas.OperationCreate:
		return refuse(connectors.NotFound, o, "there is no such %s", o.Connection.Type)
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

// after are the attributes to set, in canonical form; those without a value are left out.
func (r *run) after(o *schemas.Operation) (map[string]any, error) {
	given := map[string]any{}
	for k, v := range o.After {
		if v != nil {
			given[k] = v
		}
	}
	after, err := r.normal(o.Connection.Type, given)
	if err != nil {
		return nil, refuse(connectors.Invalid, o, "%v", err)
	}
	return after, nil
}

// find returns what a name stands for, nil when there is nothing.
func (r *run) find(ctx context.Context, o *schemas.Operation, n schemas.Name, id string) (*entity, error) {
	e := r.index(n.Type)[fold(n.SourceName)]
	if e == nil && r.couldBe(n) {
		// The reading may be older than what somebody made since.
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
				return nil, refuse(connectors.Conflict, o, "the %s with the id %s is named %s now", n.Type, id, other.name)
			}
		}
	}
	switch {
	case e == nil:
		return nil, nil
	case e.name != n.SourceName:
		return nil, refuse(connectors.Conflict, o, "IAM does not tell upper from lower case, and there is the %s %s: write the name so", n.Type, e.name)
	case id != "" && e.id != id:
		return nil, refuse(connectors.Conflict, o, "%s %s has the id %s, and another one was meant: somebody made it anew", n.Type, e.name, e.id)
	}
	return e, nil
}

// couldBe says whether IAM could hold such a name at all.
func (r *run) couldBe(n schemas.Name) bool {
	rule := connectors.NameRule{MaxBytes: 128, Pattern: namePattern}
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
			e = &entity{typ: n.Type, name: sdk.ToString(u.UserName), id: sdk.ToString(u.UserId), arn: sdk.ToString(u.Arn), path: sdk.ToString(u.Path)}
			if r.self.users[fold(e.name)] {
				e.own = "countersign works with it"
			}
		}
	case typeGroup:
		var out *iam.GetGroupOutput
		if out, err = r.iam.GetGroup(ctx, &iam.GetGroupInput{GroupName: name, MaxItems: sdk.Int32(1)}); err == nil {
			g := out.Group
			e = &entity{typ: n.Type, name: sdk.ToString(g.GroupName), id: sdk.ToString(g.GroupId), arn: sdk.ToString(g.Arn), path: sdk.ToString(g.Path)}
		}
	case typeRole:
		var out *iam.GetRoleOutput
		if out, err = r.iam.GetRole(ctx, &iam.GetRoleInput{RoleName: name}); err == nil {
			e = r.role(out.Role)
			if r.self.roles[fold(e.name)] {
				e.own = "countersign works with it"
			}
		}
	case typePolicy:
		var out *iam.GetPolicyOutput
		arn := "arn:" + r.partition + ":iam::" + r.account + ":policy" + r.prefix + n.SourceName
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
	e := &entity{typ: typeRole, name: sdk.ToString(o.RoleName), id: sdk.ToString(o.RoleId), arn: sdk.ToString(o.Arn), path: sdk.ToString(o.Path)}
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

// changeable refuses what is protected.
func (r *run) changeable(ctx context.Context, o *schemas.Operation, e *entity) error {
	if e.typ == typePolicy && r.tagKey != "" && !e.tagsKnown {
		out, err := r.iam.GetPolicy(ctx, &iam.GetPolicyInput{PolicyArn: sdk.String(e.arn)})
		if err != nil {
			return err
		}
		e.tag(out.Policy.Tags)
	}
	if why := r.protected(e); why != "" {
		return refuse(connectors.Denied, o, "%s %s is never changed: %s", e.typ, e.name, why)
	}
	return nil
}

// settled does something again while IAM does not know everywhere what this run has just made.
func (r *run) settled(ctx context.Context, again func(error) bool, do func() error) error {
	left, pause := r.settle, min(200*time.Millisecond, r.settle/20)
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

// young says whether an error may come from the youth of one of these.
func (r *run) young(arns ...string) func(error) bool {
	made := slices.ContainsFunc(arns, func(arn string) bool { return r.made[arn] })
	return func(err error) bool { return made && codeOf(err) == noSuchEntity }
}

// youngPrincipal says whether IAM refuses a trust policy because it does not know a role yet that this run made.
func (r *run) youngPrincipal(text string) func(error) bool {
	made := false
	for arn := range r.made {
		made = made || strings.Contains(text, strconv.Quote(arn))
	}
	return func(err error) bool { return made && codeOf(err) == malformedPolicy }
}

// Documents of connections that are made without one.
func nobody() map[string]any {
	return map[string]any{"Version": "2012-10-17", "Statement": []any{map[string]any{"Effect": "Deny", "Principal": map[string]any{"AWS": "*"}, "Action": "sts:AssumeRole"}}}
}

func nothing() map[string]any {
	return map[string]any{"Version": "2012-10-17", "Statement": []any{map[string]any{"Effect": "Allow", "Action": "sts:GetCallerIdentity", "Resource": "*"}}}
}

func (r *run) create(ctx context.Context, o *schemas.Operation, after map[string]any) error {
	name := sdk.String(o.Connection.SourceName)
	path := r.prefix
	if p, ok := after["path"].(string); ok {
		path = p
	}
	var tags []types.Tag
	if r.tagKey != "" {
		tags = []types.Tag{{Key: sdk.String(r.tagKey), Value: sdk.String(r.tagValue)}}
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
			return refuse(connectors.Invalid, o, "document: %v", encodeErr)
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
			return refuse(connectors.Invalid, o, "assume_role_policy: %v", encodeErr)
		}
		in := &iam.CreateRoleInput{RoleName: name, Path: sdk.String(path), AssumeRolePolicyDocument: sdk.String(text), Tags: tags}
		if d, ok := after["description"].(string); ok && d != "" {
			in.Description = sdk.String(d)
		}
		if n, ok := number(after["max_session_duration"]); ok {
			in.MaxSessionDuration = sdk.Int32(int32(n))
		}
		if b, ok := after["permissions_boundary"].(string); ok && b != "" {
			in.PermissionsBoundary = sdk.String(b)
		} else if r.boundary != "" {
			in.PermissionsBoundary = sdk.String(r.boundary)
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

// existing is what a creation does when the name is taken after all: by an earlier try of this creation, whose
// answer was lost, or by somebody else since the account was read.
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
		return refuse(connectors.Conflict, o, "IAM does not tell upper from lower case, and there is the %s %s: write the name so", e.typ, e.name)
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
		return refuse(connectors.Unsupported, o, "IAM cannot change the %s of a %s (it is %s): leave it out, or delete the %[2]s and make it anew", key, e.typ, strconv.QuoteToASCII(live))
	}
	switch e.typ {
	case typeGroup:
		path, ok := after["path"].(string)
		if !ok || path == e.path {
			return nil
		}
		err := r.settled(ctx, r.young(e.arn), func() error {
			_, err := r.iam.UpdateGroup(ctx, &iam.UpdateGroupInput{GroupName: sdk.String(e.name), NewPath: sdk.String(path)})
			return err
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
	// UpdateRole sets what it is not told to its default: what shall stay is read just before.
	var out *iam.GetRoleOutput
	if err := r.settled(ctx, r.young(e.arn), func() (err error) {
		out, err = r.iam.GetRole(ctx, &iam.GetRoleInput{RoleName: sdk.String(e.name)})
		return err
	}); err != nil {
		return err
	}
	live := r.role(out.Role)
	if live.id != e.id {
		return refuse(connectors.Conflict, o, "the role has the id %s now: somebody made it anew", live.id)
	}
	name := sdk.String(e.name)
	// What bounds the role comes first, what opens it last.
	boundary, ok := after["permissions_boundary"].(string)
	if ok && boundary != "" && boundary != live.boundary {
		if _, err := r.iam.PutRolePermissionsBoundary(ctx, &iam.PutRolePermissionsBoundaryInput{RoleName: name, PermissionsBoundary: sdk.String(boundary)}); err != nil {
			return err
		}
	}
	description, session := sdk.ToString(live.description), sdk.ToInt32(live.session)
	if d, ok := after["description"].(string); ok {
		description = d
	}
	if n, ok := number(after["max_session_duration"]); ok {
		session = int32(n)
	}
	if description != sdk.ToString(live.description) || session != sdk.ToInt32(live.session) {
		in := &iam.UpdateRoleInput{RoleName: name, Description: sdk.String(description)}
		if session > 0 {
			in.MaxSessionDuration = sdk.Int32(session)
		}
		if _, err := r.iam.UpdateRole(ctx, in); err != nil {
			return err
		}
	}
	if doc := after["assume_role_policy"]; doc != nil && !sameDocument(doc, live.document) {
		text, err := encodeDocument(doc)
		if err != nil {
			return refuse(connectors.Invalid, o, "assume_role_policy: %v", err)
		}
		if err := r.settled(ctx, r.youngPrincipal(text), func() error {
			_, err := r.iam.UpdateAssumeRolePolicy(ctx, &iam.UpdateAssumeRolePolicyInput{RoleName: name, PolicyDocument: sdk.String(text)})
			return err
		}); err != nil {
			return err
		}
	}
	if ok && boundary == "" && live.boundary != "" {
		if _, err := r.iam.DeleteRolePermissionsBoundary(ctx, &iam.DeleteRolePermissionsBoundaryInput{RoleName: name}); err != nil {
			return err
		}
	}
	return nil
}

func sameDocument(a, b any) bool {
	x, errX := encodeDocument(a)
	y, errY := encodeDocument(b)
	return errX == nil && errY == nil && x == y
}

// maxVersions is how many versions IAM keeps of a policy.
const maxVersions = 5

// updateDocument makes a document the default version: an older version that has it already, or a new one.
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
		return refuse(connectors.Conflict, o, "the policy has the id %s now: somebody made it anew", got)
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
		// A version's number is never given again, so what was read of it still holds.
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
		return refuse(connectors.Invalid, o, "document: %v", err)
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
			func(o *iam.Options) { o.Retryer = sure{newPatience(r.maxWait)} })
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

// dropOldest makes room for a version, where there is none left.
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

// listVersions are a policy's versions, the oldest first.
func (r *run) listVersions(ctx context.Context, arn string) ([]types.PolicyVersion, error) {
	var list []types.PolicyVersion
	err := r.pages(ctx, "list the versions of the policy", func(marker *string) (bool, *string, error) {
		out, err := r.iam.ListPolicyVersions(ctx, &iam.ListPolicyVersionsInput{PolicyArn: sdk.String(arn), Marker: marker, MaxItems: sdk.Int32(r.pageSize)})
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

// grant and revoke change one entitlement. IAM takes what is done already without complaint.
func (r *run) grant(ctx context.Context, o *schemas.Operation, e *entity) error {
	target, arn, err := r.target(ctx, o)
	if err != nil {
		return err
	}
	switch {
	case target == nil && arn == "":
		return refuse(connectors.NotFound, o, "there is no such %s", o.Target.Type)
	case target != nil && target.own != "":
		return refuse(connectors.Denied, o, "%s %s is never given: %s", target.typ, target.name, target.own)
	}
	name := sdk.String(e.name)
	return r.settled(ctx, r.young(e.arn, arn), func() error {
		var err error
		switch {
		case e.typ == typeGroup && target != nil && target.typ == typeUser:
			_, err = r.iam.AddUserToGroup(ctx, &iam.AddUserToGroupInput{GroupName: name, UserName: sdk.String(target.name)})
		case e.typ == typePolicy:
			_, err = r.iam.AttachUserPolicy(ctx, &iam.AttachUserPolicyInput{PolicyArn: sdk.String(e.arn), UserName: sdk.String(target.name)})
		case e.typ == typeGroup:
			_, err = r.iam.AttachGroupPolicy(ctx, &iam.AttachGroupPolicyInput{GroupName: name, PolicyArn: sdk.String(arn)})
		default:
			_, err = r.iam.AttachRolePolicy(ctx, &iam.AttachRolePolicyInput{RoleName: name, PolicyArn: sdk.String(arn)})
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
		return nil // what is gone is held by nobody
	case target != nil && target.typ == typeUser && target.own != "":
		return refuse(connectors.Denied, o, "user %s is never changed: %s", target.name, target.own)
	}
	name := sdk.String(e.name)
	switch {
	case o.Target.Type == typeInlinePolicy && !slices.Contains(e.inline, o.Target.SourceName) && !r.couldBe(*o.Target):
		return nil
	case o.Target.Type == typeInlinePolicy && e.typ == typeGroup:
		_, err = r.iam.DeleteGroupPolicy(ctx, &iam.DeleteGroupPolicyInput{GroupName: name, PolicyName: sdk.String(o.Target.SourceName)})
	case o.Target.Type == typeInlinePolicy:
		_, err = r.iam.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: name, PolicyName: sdk.String(o.Target.SourceName)})
	case e.typ == typeGroup && target != nil && target.typ == typeUser:
		_, err = r.iam.RemoveUserFromGroup(ctx, &iam.RemoveUserFromGroupInput{GroupName: name, UserName: sdk.String(target.name)})
	case e.typ == typePolicy:
		_, err = r.iam.DetachUserPolicy(ctx, &iam.DetachUserPolicyInput{PolicyArn: sdk.String(e.arn), UserName: sdk.String(target.name)})
	case e.typ == typeGroup:
		_, err = r.iam.DetachGroupPolicy(ctx, &iam.DetachGroupPolicyInput{GroupName: name, PolicyArn: sdk.String(arn)})
	default:
		_, err = r.iam.DetachRolePolicy(ctx, &iam.DetachRolePolicyInput{RoleName: name, PolicyArn: sdk.String(arn)})
	}
	if codeOf(err) == noSuchEntity {
		return nil // not held; the reading that follows tells whether IAM only did not know yet
	}
	return err
}

// target finds what is granted or revoked: an entity of the account with its ARN, or the ARN of a policy of AWS.
func (r *run) target(ctx context.Context, o *schemas.Operation) (*entity, string, error) {
	switch o.Target.Type {
	case typeInlinePolicy:
		return nil, "", nil
	case typeAWSPolicy:
		g, _ := r.d.Types[0].Target(typeAWSPolicy)
		if g.Names.Check(o.Target.SourceName) != nil {
			return nil, "", nil // only a revoke comes so far
		}
		arn := r.managedPrefix() + o.Target.SourceName
		if o.TargetID != "" && o.TargetID != arn {
			return nil, "", refuse(connectors.Conflict, o, "the policy's ARN is %s, and another one was meant", arn)
		}
		return nil, arn, nil
	}
	e, err := r.find(ctx, o, *o.Target, o.TargetID)
	if err != nil || e == nil {
		return nil, "", err
	}
	return e, e.arn, nil
}
