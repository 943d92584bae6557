package aws

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/countersign/countersign/connectors"
)

// account is IAM's state of an account at one moment.
type account struct {
	users, groups, roles, policies index
	// doubt describes where IAM's answers disagree; "" if they agree.
	doubt string
}

// index has entities by their folded name: IAM ignores case.
type index map[string]*entity

// entity is a user, group, role or policy.
type entity struct {
	typ                 string
	name, id, arn, path string
	groups              []string // of a user
	attached            []string // ARNs of managed policies
	inline              []string // names of policies within it
	strong              bool     // of a group: one of these is powerful
	profiles            []string // instance profiles of a role
	boundary            string   // of a user or role
	tags                map[string]string
	tagsKnown           bool
	description         *string // nil means unknown
	session             *int32  // seconds; nil means unknown
	document            any     // trust policy, or that of the default version
	version             string  // the default version of a policy
	versions            map[string]any
	boundaries          int // number of uses of a policy as a boundary
	// own is the reason why changing it would change countersign's own rights.
	own string
}

func newEntity(typ string, name, id, arn, path *string) *entity {
	return &entity{typ: typ, name: sdk.ToString(name), id: sdk.ToString(id), arn: sdk.ToString(arn), path: sdk.ToString(path)}
}

// maxPages bounds the pages of one listing.
const maxPages = 20_000

// pages asks for one page after the other until the last. A listing that doesn't end, or ends incomplete, is an
// error: nothing may be missing silently.
func (r *reader) pages(ctx context.Context, op string, page func(marker *string) (truncated bool, next *string, err error)) error {
	var marker *string
	seen := map[string]bool{}
	for range maxPages {
		truncated, next, err := page(marker)
		if err != nil {
			return r.fault(ctx, op, err)
		}
		if !truncated {
			return nil
		}
		if sdk.ToString(next) == "" || seen[*next] {
			return &connectors.Error{Code: connectors.Unavailable, Op: op, Message: "IAM's answer is truncated and has no marker to continue"}
		}
		seen[*next] = true
		marker = next
	}
	return &connectors.Error{Code: connectors.Unavailable, Op: op, Message: "IAM's answer exceeds the limit of pages"}
}

// collect reads all pages of a listing.
func collect[I, O, T any](ctx context.Context, r *reader, op string, call func(context.Context, *I, ...func(*iam.Options)) (*O, error),
	input func(marker *string) *I, output func(*O) (items []T, truncated bool, next *string)) ([]T, error) {
	var all []T
	err := r.pages(ctx, op, func(marker *string) (bool, *string, error) {
		out, err := call(ctx, input(marker))
		if err != nil {
			return false, nil, err
		}
		items, truncated, next := output(out)
		all = append(all, items...)
		return truncated, next, nil
	})
	return all, err
}

// names maps listed items to strings.
func names[T any](list []T, name func(T) string) []string {
	out := make([]string, 0, len(list))
	for _, item := range list {
		out = append(out, name(item))
	}
	return out
}

// only returns the error of a call whose answer is empty.
func only[O any](_ O, err error) error { return err }

// readings is the number of times that an account with disagreeing answers is read.
const readings = 3

// read reads the account. IAM is distributed over many machines: if two answers disagree, it reads again, and in the
// end sets account.doubt.
func (r *reader) read(ctx context.Context) (*account, error) {
	var a *account
	for i := range readings {
		var err error
		if i > 0 {
			if err := wait(ctx, min(r.Settle/10, time.Second)); err != nil {
				return nil, connectors.Stopped(ctx, "read the account")
			}
		}
		if a, err = r.readOnce(ctx); err != nil {
			return nil, err
		}
		if a.doubt == "" {
			break
		}
	}
	return a, nil
}

func (r *reader) readOnce(ctx context.Context) (*account, error) {
	const op = "read the account"
	a := &account{users: index{}, groups: index{}, roles: index{}, policies: index{}}
	err := r.pages(ctx, op, func(marker *string) (bool, *string, error) {
		out, err := r.iam.GetAccountAuthorizationDetails(ctx, &iam.GetAccountAuthorizationDetailsInput{Marker: marker, MaxItems: sdk.Int32(r.PageSize),
			Filter: []types.EntityType{types.EntityTypeUser, types.EntityTypeGroup, types.EntityTypeRole, types.EntityTypeLocalManagedPolicy}})
		if err != nil {
			return false, nil, err
		}
		r.collect(a, out)
		return out.IsTruncated, out.Marker, nil
	})
	if err != nil {
		return nil, err
	}
	if err := r.completeRoles(ctx, a); err != nil {
		return nil, err
	}
	if err := r.completeBoundaries(ctx, a); err != nil {
		return nil, err
	}
	r.agree(a)
	r.findOwn(a)
	return a, nil
}

func (r *reader) collect(a *account, out *iam.GetAccountAuthorizationDetailsOutput) {
	for i := range out.UserDetailList {
		u := &out.UserDetailList[i]
		e := a.users.add(newEntity(typeUser, u.UserName, u.UserId, u.Arn, u.Path))
		e.groups = append(e.groups, u.GroupList...)
		e.attach(u.AttachedManagedPolicies)
		e.bound(u.PermissionsBoundary)
	}
	for i := range out.GroupDetailList {
		g := &out.GroupDetailList[i]
		e := a.groups.add(newEntity(typeGroup, g.GroupName, g.GroupId, g.Arn, g.Path))
		e.attach(g.AttachedManagedPolicies)
		e.embed(g.GroupPolicyList)
		for _, p := range g.GroupPolicyList {
			e.strong = e.strong || powerful(readDocument(sdk.ToString(p.PolicyDocument), permissions, r.partition))
		}
	}
	for i := range out.RoleDetailList {
		o := &out.RoleDetailList[i]
		e := a.roles.add(newEntity(typeRole, o.RoleName, o.RoleId, o.Arn, o.Path))
		e.attach(o.AttachedManagedPolicies)
		e.embed(o.RolePolicyList)
		e.bound(o.PermissionsBoundary)
		e.tag(o.Tags)
		for _, p := range o.InstanceProfileList {
			e.profiles = append(e.profiles, sdk.ToString(p.InstanceProfileName))
		}
		e.document = readDocument(sdk.ToString(o.AssumeRolePolicyDocument), trust, r.partition)
	}
	for i := range out.Policies {
		p := &out.Policies[i]
		e := a.policies.add(&entity{typ: typePolicy, name: lastPart(sdk.ToString(p.Arn)), id: sdk.ToString(p.PolicyId), arn: sdk.ToString(p.Arn), path: sdk.ToString(p.Path)})
		e.description, e.version = p.Description, sdk.ToString(p.DefaultVersionId)
		e.boundaries = int(sdk.ToInt32(p.PermissionsBoundaryUsageCount))
		e.versions = map[string]any{}
		for _, v := range p.PolicyVersionList {
			doc := readDocument(sdk.ToString(v.Document), permissions, r.partition)
			e.versions[sdk.ToString(v.VersionId)] = doc
			if v.IsDefaultVersion {
				e.document = doc
			}
		}
	}
}

// add returns the entity of that name, which exists already if two pages have a part of it.
func (x index) add(e *entity) *entity {
	key := fold(e.name)
	if old := x[key]; old != nil && old.id == e.id {
		return old
	}
	x[key] = e
	return e
}

func (e *entity) attach(list []types.AttachedPolicy) {
	for _, p := range list {
		e.attached = append(e.attached, sdk.ToString(p.PolicyArn))
	}
}

func (e *entity) embed(list []types.PolicyDetail) {
	for _, p := range list {
		e.inline = append(e.inline, sdk.ToString(p.PolicyName))
	}
}

func (e *entity) bound(b *types.AttachedPermissionsBoundary) {
	if b != nil {
		e.boundary = sdk.ToString(b.PermissionsBoundaryArn)
	}
}

func (e *entity) tag(list []types.Tag) {
	e.tags, e.tagsKnown = map[string]string{}, true
	for _, t := range list {
		e.tags[sdk.ToString(t.Key)] = sdk.ToString(t.Value)
	}
}

// recent is the greatest age of a role that one of two listings may lack.
const recent = 10 * time.Minute

// maxSingles bounds the roles that are requested one by one: more than anybody deletes during a reading.
const maxSingles = 20

// completeRoles adds the attributes that a role's details lack: its description and session duration. Both listings
// must have the same roles, except those that somebody created or deleted between the two.
func (r *reader) completeRoles(ctx context.Context, a *account) error {
	const op = "list the roles"
	seen := map[string]bool{}
	err := r.pages(ctx, op, func(marker *string) (bool, *string, error) {
		out, err := r.iam.ListRoles(ctx, &iam.ListRolesInput{PathPrefix: sdk.String(r.PathPrefix), Marker: marker, MaxItems: sdk.Int32(r.PageSize)})
		if err != nil {
			return false, nil, err
		}
		for i := range out.Roles {
			o := &out.Roles[i]
			key := fold(sdk.ToString(o.RoleName))
			seen[key] = true
			e := a.roles[key]
			switch {
			case e != nil && e.id == sdk.ToString(o.RoleId):
				e.description, e.session = sdk.String(sdk.ToString(o.Description)), o.MaxSessionDuration
			case r.now().Sub(sdk.ToTime(o.CreateDate)) > recent:
				a.disagree("the role %s is listed but its details are missing", sdk.ToString(o.RoleName))
			case e != nil: // re-created between the two: the rest may belong to either
				a.disagree("the role %s was just re-created", e.name)
			}
		}
		return out.IsTruncated, out.Marker, nil
	})
	if err != nil {
		return err
	}
	singles := 0
	for _, key := range sortedKeys(a.roles) {
		e := a.roles[key]
		if seen[key] || !r.within(e.path) {
			continue
		}
		if singles++; singles > maxSingles {
			a.disagree("the role %s has details but isn't listed", e.name)
			return nil
		}
		out, err := r.iam.GetRole(ctx, &iam.GetRoleInput{RoleName: sdk.String(e.name)})
		switch {
		case codeOf(err) == noSuchEntity: // deleted meanwhile
			delete(a.roles, key)
		case err != nil:
			return r.fault(ctx, op, err)
		default:
			e.description, e.session = sdk.String(sdk.ToString(out.Role.Description)), out.Role.MaxSessionDuration
		}
	}
	return nil
}

// completeBoundaries verifies that a role without a boundary really lacks one: the details have been known to omit
// boundaries. Policies list how often they are used as boundaries; only if the sum differs are they asked for the
// users.
func (r *reader) completeBoundaries(ctx context.Context, a *account) error {
	counted := map[string]int{}
	for _, x := range []index{a.users, a.roles} {
		for _, e := range x {
			if e.boundary != "" {
				counted[e.boundary]++
			}
		}
	}
	told := map[string]int{}
	err := r.pages(ctx, "list the permissions boundaries", func(marker *string) (bool, *string, error) {
		out, err := r.iam.ListPolicies(ctx, &iam.ListPoliciesInput{Scope: types.PolicyScopeTypeAll, PolicyUsageFilter: types.PolicyUsageTypePermissionsBoundary,
			Marker: marker, MaxItems: sdk.Int32(r.PageSize)})
		if err != nil {
			return false, nil, err
		}
		for i := range out.Policies {
			told[sdk.ToString(out.Policies[i].Arn)] = int(sdk.ToInt32(out.Policies[i].PermissionsBoundaryUsageCount))
		}
		return out.IsTruncated, out.Marker, nil
	})
	if err != nil {
		return err
	}
	for _, arn := range sortedKeys(told) {
		if told[arn] <= counted[arn] {
			continue
		}
		users, roles, _, err := r.holders(ctx, arn, types.PolicyUsageTypePermissionsBoundary)
		if err != nil {
			return err
		}
		for _, name := range users {
			if e := a.users[fold(name)]; e != nil {
				e.boundary = arn
			}
		}
		for _, name := range roles {
			if e := a.roles[fold(name)]; e != nil {
				e.boundary = arn
			}
		}
	}
	return nil
}

// holders returns the users, roles and groups that use a policy.
func (r *reader) holders(ctx context.Context, arn string, usage types.PolicyUsageType) (users, roles, groups []string, err error) {
	err = r.pages(ctx, "list who has the policy", func(marker *string) (bool, *string, error) {
		out, err := r.iam.ListEntitiesForPolicy(ctx, &iam.ListEntitiesForPolicyInput{PolicyArn: sdk.String(arn), PolicyUsageFilter: usage,
			Marker: marker, MaxItems: sdk.Int32(r.PageSize)})
		if err != nil {
			return false, nil, err
		}
		for _, u := range out.PolicyUsers {
			users = append(users, sdk.ToString(u.UserName))
		}
		for _, o := range out.PolicyRoles {
			roles = append(roles, sdk.ToString(o.RoleName))
		}
		for _, g := range out.PolicyGroups {
			groups = append(groups, sdk.ToString(g.GroupName))
		}
		return out.IsTruncated, out.Marker, nil
	})
	return users, roles, groups, err
}

func (a *account) disagree(format string, args ...any) {
	if a.doubt == "" {
		a.doubt = "IAM's answers disagree, perhaps because of a recent change: " + fmt.Sprintf(format, args...)
	}
}

// agree compares the parts of the account: names in one part must exist in the others.
func (r *reader) agree(a *account) {
	if us := r.self; us.user != "" && a.users[us.user] == nil || us.role != "" && a.roles[us.role] == nil {
		a.disagree("the user or role of countersign's own credential is missing")
	}
	for _, key := range sortedKeys(a.users) {
		for _, g := range a.users[key].groups {
			if a.groups[fold(g)] == nil {
				a.disagree("the user %s is in the group %s, whose details are missing", a.users[key].name, g)
			}
		}
	}
	for _, x := range []index{a.users, a.groups, a.roles} {
		for _, key := range sortedKeys(x) {
			for _, arn := range x[key].attached {
				if accountOf(arn) == r.Account && a.policies[fold(lastPart(arn))] == nil {
					a.disagree("%s has the policy %s, whose details are missing", x[key].name, arn)
				}
			}
		}
	}
	for _, key := range sortedKeys(a.policies) {
		if p := a.policies[key]; p.versions[p.version] == nil {
			a.disagree("the policy %s lacks the document of its default version", p.name)
		}
	}
}

// findOwn marks the entities that decide our own access.
func (r *reader) findOwn(a *account) {
	why := "it belongs to countersign's own credential: a change would change countersign's rights"
	mark := func(e *entity) {
		e.own = why
		for _, arn := range append(slices.Clone(e.attached), e.boundary) {
			if p := a.policies[fold(lastPart(arn))]; p != nil && p.arn == arn {
				p.own = why
			}
		}
	}
	for name := range r.self.users {
		u := a.users[name]
		if u == nil {
			continue
		}
		mark(u)
		for _, g := range u.groups {
			if e := a.groups[fold(g)]; e != nil {
				mark(e)
			}
		}
	}
	for name := range r.self.roles {
		if o := a.roles[name]; o != nil {
			mark(o)
		}
	}
	if p := a.policies[fold(lastPart(r.PermissionsBoundary))]; p != nil && p.arn == r.PermissionsBoundary {
		p.own = "it is the boundary of roles that countersign creates (config.permissions_boundary)"
	}
}

// within reports whether a path is within config.path_prefix.
func (s *settings) within(path string) bool { return strings.HasPrefix(path, s.PathPrefix) }

// protected returns the reason why a connection must never be changed, or "".
func (r *reader) protected(e *entity) string {
	if e.own != "" {
		return e.own
	}
	name := fold(e.name)
	switch {
	case e.typ != typeRole:
	case strings.HasPrefix(e.path, "/aws-service-role/") || strings.HasPrefix(name, "awsservicerolefor"):
		return "it is linked to an AWS service"
	case strings.HasPrefix(e.path, "/aws-reserved/") || strings.HasPrefix(name, "awsreserved"):
		return "it is reserved by AWS (such as those of IAM Identity Center)"
	case name == "organizationaccountaccessrole" || strings.HasPrefix(name, "awscontroltower"):
		return "the organisation manages the account with it"
	}
	if !r.within(e.path) {
		return fmt.Sprintf("its path %s is outside %s (config.path_prefix)", e.path, r.PathPrefix)
	}
	// Groups can't have tags. IAM lists a policy's tags one policy at a time: they are checked before a change.
	if r.Tag != nil && e.tagsKnown && !r.tagged(e) {
		return fmt.Sprintf("it lacks the tag %s (config.tag)", r.Tag.Key)
	}
	return ""
}

func (s *settings) tagged(e *entity) bool {
	v, ok := e.tags[s.Tag.Key]
	return ok && v == s.Tag.Value
}

// lastPart returns the text after the last slash: the name in an ARN.
func lastPart(arn string) string { return arn[strings.LastIndex(arn, "/")+1:] }

// managedPrefix begins the ARN of an AWS-managed policy; the policy's path and name follow.
func (r *reader) managedPrefix() string { return "arn:" + r.partition + ":iam::aws:policy/" }

// wait waits, or returns an error if the context ends.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
