package ldap

import (
	"cmp"
	"context"
	"slices"
	"strings"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/countersign/countersign/connectors"
)

// class holds the filters and attributes that follow from the flavour and the config.
type class struct {
	groupFilter, userFilter string
	groupName, userName     string
	newClasses              []string
	groupAttributes         []string
	userAttributes          []string
	nested                  bool // a group can hold groups
}

func (r *reader) classify() error {
	s, ad := r.settings, r.root.ad
	if ad {
		r.class = class{
			groupFilter: cmp.Or(string(s.GroupFilter), "(objectCategory=group)"), userFilter: cmp.Or(string(s.UserFilter), "(&(objectCategory=person)(objectClass=user))"),
			groupName: cmp.Or(s.GroupName, "samaccountname"), userName: cmp.Or(s.UserName, "samaccountname"), newClasses: []string{"group"},
			groupAttributes: []string{"objectClass", "description", attrMember, "objectGUID", "objectSid", "groupType", "adminCount", "isCriticalSystemObject"},
			userAttributes:  []string{"objectGUID", "userAccountControl", "accountExpires", "primaryGroupID"},
		}
	} else {
		r.class = class{
			groupFilter: cmp.Or(string(s.GroupFilter), "(|(objectClass=groupOfNames)(objectClass=groupOfUniqueNames)(objectClass=groupOfMembers)(objectClass=posixGroup))"),
			userFilter:  cmp.Or(string(s.UserFilter), "(|(objectClass=person)(objectClass=posixAccount)(objectClass=account))"),
			groupName:   cmp.Or(s.GroupName, "cn"), userName: cmp.Or(s.UserName, "uid"), newClasses: []string{"groupOfNames"},
			groupAttributes: []string{"objectClass", "description", attrMember, attrUnique, attrMemberUID, "gidNumber", "entryUUID", "nsUniqueId"},
			userAttributes:  []string{"uid", "gidNumber", "entryUUID", "nsUniqueId", "pwdAccountLockedTime", "pwdEndTime", "shadowExpire", "nsAccountLock"},
		}
	}
	if s.Create.ObjectClasses != nil {
		r.class.newClasses = s.Create.ObjectClasses
	}
	r.class.groupAttributes = append(r.class.groupAttributes, r.class.groupName)
	r.class.userAttributes = append(r.class.userAttributes, r.class.userName)
	holds := r.membership(r.class.newClasses)
	if len(holds) == 0 {
		return s.config.Invalid("create.object_classes", "no class with members (expected one of groupOfNames, groupOfUniqueNames, groupOfMembers, posixGroup, or group in Active Directory)")
	}
	if slices.Contains(holds, attrMemberUID) && s.Create.GIDNumbers.Max == 0 {
		return s.config.Invalid("create.gid_numbers", "required for posixGroup")
	}
	k := adKind
	if !ad {
		k = namesKind
		if holds[0] == attrMemberUID {
			k = posixKind
		}
	}
	r.class.nested = k != posixKind
	r.description = description(k)
	r.description.Version = r.root.vendor
	r.description.Server = connectors.Server(r.settings.URL.address, strings.Join(r.settings.BaseDN.rdns, ",")) // groups are named within their base
	return nil
}

// membership returns the attributes in which an entry of these classes has members; new members go into the first.
func (r *reader) membership(classes []string) []string {
	var out []string
	has := func(names ...string) bool {
		return slices.ContainsFunc(classes, func(c string) bool {
			return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(c, n) })
		})
	}
	if r.root.ad {
		if has("group") {
			out = append(out, attrMember)
		}
		return out
	}
	if has("groupOfNames", "groupOfMembers", "groupOfEntries", "group") {
		out = append(out, attrMember)
	}
	if has("groupOfUniqueNames") {
		out = append(out, attrUnique)
	}
	if has("posixGroup") {
		out = append(out, attrMemberUID)
	}
	return out
}

// identify finds the accounts that the config logs in with: their memberships are never changed.
func (r *reader) identify(ctx context.Context) error {
	const op = "look up countersign's own account"
	r.own, r.ownUIDs = map[string]string{}, map[string]bool{}
	for _, account := range r.settings.accounts {
		base, scope, filter := account, goldap.ScopeBaseObject, "(objectClass=*)"
		if d, err := parseDN(account); err == nil {
			r.own[d.key()] = d.text
			// The account may be unable to read itself. This is its name in a posixGroup.
			r.ownUIDs[d.name] = d.name != ""
		} else {
			if len(r.root.contexts) == 0 {
				continue
			}
			name := account
			if _, after, ok := strings.Cut(account, `\`); ok {
				name = after
			}
			before, _, _ := strings.Cut(name, "@")
			base, scope = r.root.contexts[0], goldap.ScopeWholeSubtree
			filter = or2(equals("userPrincipalName", name), equals("sAMAccountName", before))
		}
		found, err := r.search(ctx, query{op: op, base: base, scope: scope, filter: filter, attributes: []string{"uid"}})
		switch connectors.CodeOf(err) {
		case "":
		case connectors.NotFound, connectors.Denied:
			continue // a root DN without entry, or an account that can't read itself
		default:
			return err
		}
		for _, e := range found {
			if d, err := parseDN(e.DN); err == nil {
				r.own[d.key()] = d.text
			}
			for _, uid := range e.GetEqualFoldAttributeValues("uid") {
				r.ownUIDs[uid] = true
			}
		}
	}
	return nil
}
