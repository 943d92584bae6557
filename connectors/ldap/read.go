package ldap

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

type reader struct {
	session
	closed bool
	d      connectors.Description
	c      class
	// own are the DNs of the accounts that the config logs in with, by key, ownUIDs their names in posixGroups.
	own     map[string]string
	ownUIDs map[string]bool
}

// class is what follows from the flavour and the config.
type class struct {
	groupFilter, userFilter string
	groupName, userName     string
	newClasses              []string
	groupAttributes         []string
	userAttributes          []string
	nested                  bool // a group can hold groups
}

// The attributes that hold members.
const (
	attrMember    = "member"
	attrUnique    = "uniqueMember"
	attrMemberUID = "memberUid"
)

// The attributes that have an entry's id: RFC 4530, and that of the 389 server, whose older entries have no other.
const (
	attrUUID     = "entryUUID"
	attrUniqueID = "nsUniqueId"
)

func open(ctx context.Context, cfg connectors.Config, apply bool) (*reader, error) {
	s, err := parse(cfg, apply)
	if err != nil {
		return nil, err
	}
	r := &reader{session: session{s: s}}
	if err := r.discover(ctx); err != nil {
		r.session.close()
		return nil, err
	}
	if err := r.classify(); err != nil {
		r.session.close()
		return nil, err
	}
	if err := r.identify(ctx); err != nil {
		r.session.close()
		return nil, err
	}
	for _, base := range []dn{s.base, s.userBase} {
		if _, err := r.under(ctx, query{op: "look for the bases", base: base.text, scope: goldap.ScopeBaseObject, filter: "(objectClass=*)", attributes: []string{"1.1"}}); err != nil {
			r.session.close()
			return nil, err
		}
	}
	return r, nil
}

func or(s, otherwise string) string {
	if s != "" {
		return s
	}
	return otherwise
}

func (r *reader) classify() error {
	s, ad := r.s, r.root.ad
	if ad {
		r.c = class{
			groupFilter: or(s.groupFilter, "(objectCategory=group)"), userFilter: or(s.userFilter, "(&(objectCategory=person)(objectClass=user))"),
			groupName: or(s.groupName, "samaccountname"), userName: or(s.userName, "samaccountname"), newClasses: []string{"group"},
			groupAttributes: []string{"objectClass", "description", attrMember, "objectGUID", "objectSid", "groupType", "adminCount", "isCriticalSystemObject"},
			userAttributes:  []string{"objectGUID", "userAccountControl", "accountExpires", "primaryGroupID"},
		}
	} else {
		r.c = class{
			groupFilter: or(s.groupFilter, "(|(objectClass=groupOfNames)(objectClass=groupOfUniqueNames)(objectClass=groupOfMembers)(objectClass=posixGroup))"),
			userFilter:  or(s.userFilter, "(|(objectClass=person)(objectClass=posixAccount)(objectClass=account))"),
			groupName:   or(s.groupName, "cn"), userName: or(s.userName, "uid"), newClasses: []string{"groupOfNames"},
			groupAttributes: []string{"objectClass", "description", attrMember, attrUnique, attrMemberUID, "gidNumber", "entryUUID", "nsUniqueId"},
			userAttributes:  []string{"uid", "gidNumber", "entryUUID", "nsUniqueId", "pwdAccountLockedTime", "pwdEndTime", "shadowExpire", "nsAccountLock"},
		}
	}
	if s.create.classes != nil {
		r.c.newClasses = s.create.classes
	}
	r.c.groupAttributes = append(r.c.groupAttributes, r.c.groupName)
	r.c.userAttributes = append(r.c.userAttributes, r.c.userName)
	holds := r.membership(r.c.newClasses)
	if len(holds) == 0 {
		return misconfigured("config.create.object_classes has none whose members are known: groupOfNames, groupOfUniqueNames, groupOfMembers, posixGroup, or in Active Directory group")
	}
	if slices.Contains(holds, attrMemberUID) && s.create.gidMax == 0 {
		return misconfigured("config.create.gid_numbers is missing, and a posixGroup needs a number")
	}
	k := adKind
	if !ad {
		k = namesKind
		if holds[0] == attrMemberUID {
			k = posixKind
		}
	}
	r.c.nested = k != posixKind
	r.d = description(k)
	r.d.Version = r.root.vendor
	return nil
}

// membership are the attributes in which an entry of these classes holds members, the one for new members first.
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

// identify finds the accounts that the config logs in with, so that they are never given or taken anything.
func (r *reader) identify(ctx context.Context) error {
	const op = "look up countersign's own account"
	r.own, r.ownUIDs = map[string]string{}, map[string]bool{}
	for _, account := range r.s.accounts {
		base, scope, filter := account, goldap.ScopeBaseObject, "(objectClass=*)"
		if d, err := parseDN(account); err == nil {
			r.own[d.key()] = d.text
			// The account need not be able to see itself. A posixGroup would name it so.
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
			continue // a manager that is no entry, or one that may not look at itself
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

// Close ends the session.
func (r *reader) Close() error {
	r.closed = true
	r.session.close()
	return nil
}

func (r *reader) usable(ctx context.Context, op string) error {
	if r.closed {
		return errClosed
	}
	return connectors.Stopped(ctx, op)
}

// Describe says what this directory can do.
func (r *reader) Describe(ctx context.Context) (connectors.Description, error) {
	if err := r.usable(ctx, "describe"); err != nil {
		return connectors.Description{}, err
	}
	return r.d, nil
}

// Normalize spells names as Read does.
func (r *reader) Normalize(s connectors.State) (connectors.State, error) {
	return connectors.NormalizeWith(r.d, s, func(c *connectors.Connection) error {
		c.SourceName = fold(c.SourceName)
		for i := range c.Entitlements {
			c.Entitlements[i].Target.SourceName = fold(c.Entitlements[i].Target.SourceName)
		}
		return nil
	})
}

// Filters are put together here and nowhere else.

func equals(attribute, value string) string {
	return "(" + attribute + "=" + goldap.EscapeFilter(value) + ")"
}

func or2(a, b string) string { return "(|" + a + b + ")" }

func both(a, b string) string { return "(&" + a + b + ")" }

// maxTerms bounds the alternatives of one filter. OpenLDAP holds each candidate to each of them, so that many cost
// their square.
const maxTerms = 50

// manyTerms is from how many on it may be quicker to get all accounts, if they are no more than manyTimes as many.
const (
	manyTerms = 200
	manyTimes = 20
)

// anyOf searches for entries that satisfy one of many terms, some at a time.
func (r *reader) anyOf(ctx context.Context, op string, base dn, filter string, terms []string, attributes []string) ([]*goldap.Entry, error) {
	var out []*goldap.Entry
	seen := map[string]bool{}
	slices.Sort(terms)
	for part := range slices.Chunk(slices.Compact(terms), maxTerms) {
		found, err := r.below(ctx, op, base, both(filter, "(|"+strings.Join(part, "")+")"), attributes)
		if err != nil {
			return nil, err
		}
		for _, e := range found {
			if !seen[e.DN] {
				seen[e.DN] = true
				out = append(out, e)
			}
		}
	}
	return out, nil
}

// below searches the tree under a base of the config.
func (r *reader) below(ctx context.Context, op string, base dn, filter string, attributes []string) ([]*goldap.Entry, error) {
	return r.under(ctx, query{op: op, base: base.text, scope: goldap.ScopeWholeSubtree, filter: filter, attributes: attributes})
}

func (r *reader) under(ctx context.Context, q query) ([]*goldap.Entry, error) {
	found, err := r.search(ctx, q)
	if connectors.CodeOf(err) == connectors.NotFound {
		var e *connectors.Error
		errors.As(err, &e)
		setting := "base_dn"
		if q.base == r.s.userBase.text && q.base != r.s.base.text {
			setting = "user_base_dn"
		}
		return nil, &connectors.Error{Code: connectors.Invalid, Op: q.op, Err: e.Err,
			Message: fmt.Sprintf("the entry that config.%s names is not there, or the account may not see it", setting)}
	}
	return found, err
}

// group is an entry that holds members.
type group struct {
	dn      dn
	id      string
	idAttr  string // where the id is from
	name    string
	holds   []string // attributes with members, the one for new members first
	musts   map[string]bool
	values  []value
	payload map[string]any
	// descriptions are the values behind the payload's.
	descriptions []string
	// groupType is that of Active Directory, number that by which accounts name their primary group
	groupType int64
	number    string
	protected string
	broken    string // why it is not known whole
}

// value is one value of an attribute that holds members.
type value struct {
	attr string
	raw  string
	dn   dn // of memberUid, and of what is no DN: empty
}

// user is an account.
type user struct {
	dn      dn
	id      string
	name    string
	uids    []string
	state   connectors.EntitlementState
	primary string
	// protected says why nothing may be given to it.
	protected string
}

// nameOf is an entry's name: of several values that which stands in its DN, else the first in order.
func nameOf(e *goldap.Entry, d dn, attribute string) string {
	all := e.GetEqualFoldAttributeValues(attribute)
	if len(all) > 1 && strings.EqualFold(d.attr, attribute) {
		return fold(d.name)
	}
	if len(all) == 0 {
		return ""
	}
	return fold(slices.Min(all))
}

// guid is an objectGUID in its usual form ([MS-DTYP] 2.3.4.3).
func guid(b []byte) string {
	if len(b) != 16 {
		return ""
	}
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint16(b[4:]), binary.LittleEndian.Uint16(b[6:]), b[8:10], b[10:])
}

// rid is the last part of an objectSid ([MS-DTYP] 2.4.2.2).
func rid(b []byte) string {
	if len(b) < 12 || len(b) != 8+4*int(b[1]) {
		return ""
	}
	return strconv.FormatUint(uint64(binary.LittleEndian.Uint32(b[len(b)-4:])), 10)
}

func (r *reader) idOf(e *goldap.Entry) string {
	if r.root.ad {
		return guid(e.GetEqualFoldRawAttributeValue("objectGUID"))
	}
	return strings.ToLower(or(e.GetEqualFoldAttributeValue(attrUUID), e.GetEqualFoldAttributeValue(attrUniqueID)))
}

// Bits of groupType ([MS-ADTS] 2.2.12) and userAccountControl (2.2.16).
const (
	typeBuiltin     = 0x1
	typeGlobal      = 0x2
	typeDomainLocal = 0x4
	typeUniversal   = 0x8
	typeSecurity    = -0x80000000
	accountDisabled = 0x2
)

// scopeOf is the scope in a groupType.
func scopeOf(t int64) string {
	switch {
	case t&typeGlobal != 0:
		return "global"
	case t&typeUniversal != 0:
		return "universal"
	}
	return "domain_local"
}

// readGroup is a group as its entry shows it, but for who its members are.
func (r *reader) readGroup(e *goldap.Entry) (*group, error) {
	d, err := parseDN(e.DN)
	if err != nil {
		return nil, &connectors.Error{Code: connectors.Unavailable, Op: "read the groups", Message: "the directory gives an entry a name that is no distinguished name"}
	}
	g := &group{dn: d, id: r.idOf(e), name: nameOf(e, d, r.c.groupName), musts: map[string]bool{}}
	g.idAttr = attrUUID
	if e.GetEqualFoldAttributeValue(attrUUID) == "" {
		g.idAttr = attrUniqueID
	}
	if r.nobody(d) {
		g.protected = standsForNobody
	}
	classes := e.GetEqualFoldAttributeValues("objectClass")
	g.holds = r.membership(classes)
	for _, attr := range []string{attrMember, attrUnique, attrMemberUID} {
		raw := e.GetEqualFoldAttributeValues(attr)
		if len(raw) > 0 && !slices.Contains(g.holds, attr) {
			g.holds = append(g.holds, attr)
		}
		for _, text := range raw {
			v := readValue(attr, text)
			g.values = append(g.values, v)
			if v.dn.text != "" && r.own[v.dn.key()] != "" && !r.hidden(v) || attr == attrMemberUID && r.ownUIDs[text] {
				g.protected = holdsOwn
			}
		}
		must := attr == attrMember && fit(classes, "groupOfNames") || attr == attrUnique && fit(classes, "groupOfUniqueNames")
		if must && !r.root.ad {
			g.musts[attr] = true
			if len(raw) == 0 {
				g.broken = "the members of " + strconv.QuoteToASCII(g.name) + " cannot be seen: the account may not read its attribute " + attr
			}
		}
	}
	if g.name == "" {
		g.broken = "a group cannot be seen whole: the account may not read the attribute " + r.c.groupName + " of " + strconv.QuoteToASCII(e.DN)
	}
	lines := slices.Sorted(slices.Values(e.GetEqualFoldAttributeValues(keyDescription)))
	g.descriptions = lines
	g.payload = map[string]any{keyDescription: strings.Join(lines, "\n")}
	if !r.root.ad {
		g.number = e.GetEqualFoldAttributeValue("gidNumber")
		return g, nil
	}
	if t, err := strconv.ParseInt(e.GetEqualFoldAttributeValue("groupType"), 10, 64); err == nil {
		g.groupType = t
		g.payload[keyScope], g.payload[keySecurity] = scopeOf(t), t&typeSecurity != 0
	} else {
		g.broken = "the account may not read the attribute groupType of " + strconv.QuoteToASCII(g.name)
	}
	g.number = rid(e.GetEqualFoldRawAttributeValue("objectSid"))
	n, err := strconv.Atoi(g.number)
	switch {
	case g.groupType&typeBuiltin != 0 || strings.Contains(","+d.key()+",", ",cn=builtin,dc="):
		g.protected = "it is built in"
	case e.GetEqualFoldAttributeValue("adminCount") == "1":
		g.protected = "its members administer the domain (adminCount)"
	case strings.EqualFold(e.GetEqualFoldAttributeValue("isCriticalSystemObject"), "TRUE"), err == nil && n < 1000:
		g.protected = "it is the domain's own"
	}
	return g, nil
}

func fit(classes []string, name string) bool {
	return slices.ContainsFunc(classes, func(c string) bool { return strings.EqualFold(c, name) })
}

// readValue is a value of an attribute with members. A uniqueMember may end in a bit string (RFC 4517, 3.3.21).
func readValue(attr, raw string) value {
	v := value{attr: attr, raw: raw}
	if attr == attrMemberUID {
		return v
	}
	text := raw
	if attr == attrUnique {
		if i := strings.LastIndex(raw, "#'"); i >= 0 && strings.HasSuffix(raw, "'B") {
			text = raw[:i]
		}
	}
	if d, err := parseDN(text); err == nil {
		v.dn = d
	}
	return v
}

func (r *reader) readUser(e *goldap.Entry) (*user, error) {
	d, err := parseDN(e.DN)
	if err != nil {
		return nil, &connectors.Error{Code: connectors.Unavailable, Op: "read the accounts", Message: "the directory gives an entry a name that is no distinguished name"}
	}
	u := &user{dn: d, id: r.idOf(e), name: nameOf(e, d, r.c.userName), uids: e.GetEqualFoldAttributeValues("uid")}
	switch {
	case r.own[d.key()] != "":
		u.protected = "countersign logs in with it"
	case r.nobody(d):
		u.protected = standsForNobody
	}
	now := r.s.now()
	if r.root.ad {
		u.primary = e.GetEqualFoldAttributeValue("primaryGroupID")
		u.state = stateAD(e.GetEqualFoldAttributeValue("userAccountControl"), e.GetEqualFoldAttributeValue("accountExpires"), now)
		return u, nil
	}
	u.primary = e.GetEqualFoldAttributeValue("gidNumber")
	u.state = stateOpenLDAP(e, now)
	return u, nil
}

// stateAD is an account's state. accountExpires counts steps of 100 ns since 1601; 0 and the greatest number are
// never ([MS-ADA1] 2.3).
func stateAD(control, expires string, now time.Time) connectors.EntitlementState {
	if flags, err := strconv.ParseInt(control, 10, 64); err == nil && flags&accountDisabled != 0 {
		return connectors.StateBlocked
	}
	const unix = 11_644_473_600 // seconds from 1601 to 1970
	if n, err := strconv.ParseInt(expires, 10, 64); err == nil && n > 0 && n < 1<<63-1 && n/10_000_000-unix <= now.Unix() {
		return connectors.StateExpired
	}
	return ""
}

// stateOpenLDAP is an account's state by ppolicy, shadowAccount and what the 389 server has.
func stateOpenLDAP(e *goldap.Entry, now time.Time) connectors.EntitlementState {
	if e.GetEqualFoldAttributeValue("pwdAccountLockedTime") != "" || strings.EqualFold(e.GetEqualFoldAttributeValue("nsAccountLock"), "true") {
		return connectors.StateBlocked
	}
	if end := e.GetEqualFoldAttributeValue("pwdEndTime"); len(end) >= 14 {
		if t, err := time.Parse("20060102150405", end[:14]); err == nil && !t.After(now) {
			return connectors.StateExpired
		}
	}
	// Days since 1970; negative is never (shadow(5)).
	if days, err := strconv.ParseInt(e.GetEqualFoldAttributeValue("shadowExpire"), 10, 64); err == nil && days >= 0 && days <= now.Unix()/86400 {
		return connectors.StateExpired
	}
	return ""
}

// groups are those below the base, all of them, or only those of the names.
func (r *reader) groups(ctx context.Context, names []string) ([]*group, error) {
	const op = "read the groups"
	var found []*goldap.Entry
	var err error
	if names == nil {
		found, err = r.below(ctx, op, r.s.base, r.c.groupFilter, r.c.groupAttributes)
	} else {
		found, err = r.anyOf(ctx, op, r.s.base, r.c.groupFilter, terms(r.c.groupName, names), r.c.groupAttributes)
	}
	if err != nil {
		return nil, err
	}
	wanted := folded(names)
	out := make([]*group, 0, len(found))
	for _, e := range found {
		g, err := r.readGroup(e)
		if err != nil {
			return nil, err
		}
		if !g.dn.below(r.s.base) || names != nil && !wanted[g.name] {
			continue
		}
		out = append(out, g)
	}
	return out, nil
}

// holdsOwn says whether one of our own accounts is in a group: what we may do comes from it.
const holdsOwn = "countersign's own account is in it"

func terms(attribute string, values []string) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = equals(attribute, v)
	}
	return out
}

func folded(names []string) map[string]bool {
	out := make(map[string]bool, len(names))
	for _, n := range names {
		out[fold(n)] = true
	}
	return out
}

// usersBy are the accounts that satisfy one of the terms.
func (r *reader) usersBy(ctx context.Context, terms []string) ([]*user, error) {
	found, err := r.anyOf(ctx, "read the accounts", r.s.userBase, r.c.userFilter, terms, r.c.userAttributes)
	if err != nil {
		return nil, err
	}
	return r.readUsers(found)
}

func (r *reader) readUsers(found []*goldap.Entry) ([]*user, error) {
	out := make([]*user, 0, len(found))
	for _, e := range found {
		u, err := r.readUser(e)
		if err != nil {
			return nil, err
		}
		// Who has no name cannot be asked for: as a member, such an entry is shown by its DN.
		if u.name != "" && u.dn.below(r.s.userBase) {
			out = append(out, u)
		}
	}
	return out, nil
}

// Read returns the groups that the selection names, with their members.
func (r *reader) Read(ctx context.Context, sel connectors.Selection) (connectors.State, error) {
	if err := r.usable(ctx, "read the groups"); err != nil {
		return connectors.State{}, err
	}
	var names []string
	if sel.Scope != nil {
		scope := make(map[string][]string, len(sel.Scope))
		for typ, patterns := range sel.Scope {
			scope[typ] = nil
			for _, p := range patterns {
				scope[typ] = append(scope[typ], fold(p))
			}
		}
		sel.Scope = scope
	}
	if !sel.Everything() && len(sel.Scope[typeGroup]) == 0 {
		names = []string{}
		for _, n := range sel.Names {
			if n.Type == typeGroup && n.SourceName != "" {
				names = append(names, n.SourceName)
			}
		}
	}
	all, err := r.groups(ctx, names)
	if err != nil {
		return connectors.State{}, err
	}
	selected := sel.Selector(func(n schemas.Name) schemas.Name {
		n.SourceName = fold(n.SourceName)
		return n
	})
	var state connectors.State
	var chosen []*group
	for _, g := range all {
		if selected(schemas.Name{Type: typeGroup, SourceName: g.name}) {
			chosen = append(chosen, g)
			if g.broken != "" {
				state.Incomplete = g.broken
			}
		}
	}
	if state.Incomplete == "" {
		if state.Incomplete, err = r.unseen(ctx, chosen, names); err != nil {
			return connectors.State{}, err
		}
	}
	known := all
	if names != nil {
		known = nil
	}
	who, err := r.members(ctx, chosen, known)
	if err != nil {
		return connectors.State{}, err
	}
	if who.unseen {
		state.Incomplete = "no account can be seen below user_base_dn: is it right, and may the account that countersign logs in with read it?"
	}
	for _, g := range chosen {
		state.Connections = append(state.Connections, connectors.Connection{Name: schemas.Name{Type: typeGroup, SourceName: g.name}, NativeID: g.id,
			Payload: g.payload, Protected: g.protected, Entitlements: who.of(g)})
	}
	state.Sort()
	return state, nil
}

// unseen says of which of the groups that may be empty, and seem to be, the members cannot be seen; "" when that is
// none. A filter on what an account may not see is neither true nor false, so that its negation finds only groups that
// are empty. names are those that the groups were asked for by, nil for all.
func (r *reader) unseen(ctx context.Context, groups []*group, names []string) (string, error) {
	const op = "read the groups"
	empty := map[string][]*group{}
	for _, g := range groups {
		for _, attr := range g.holds {
			if !g.musts[attr] && !slices.ContainsFunc(g.values, func(v value) bool { return v.attr == attr }) {
				empty[attr] = append(empty[attr], g)
			}
		}
	}
	for _, attr := range slices.Sorted(maps.Keys(empty)) {
		filter := both(r.c.groupFilter, "(!("+attr+"=*))")
		var found []*goldap.Entry
		var err error
		if names == nil {
			found, err = r.below(ctx, op, r.s.base, filter, []string{"1.1"})
		} else {
			found, err = r.anyOf(ctx, op, r.s.base, filter, terms(r.c.groupName, names), []string{"1.1"})
		}
		if err != nil {
			return "", err
		}
		sure := make(map[string]bool, len(found))
		for _, e := range found {
			if d, err := parseDN(e.DN); err == nil {
				sure[d.key()] = true
			}
		}
		for _, g := range empty[attr] {
			if sure[g.dn.key()] {
				continue
			}
			// Perhaps somebody has come in meanwhile, or the group was deleted.
			found, err := r.search(ctx, query{op: op, base: g.dn.text, scope: goldap.ScopeBaseObject, filter: "(objectClass=*)", attributes: []string{attr}})
			switch {
			case connectors.CodeOf(err) == connectors.NotFound:
			case err != nil:
				return "", err
			case len(found) == 1 && len(found[0].GetEqualFoldAttributeValues(attr)) == 0:
				return "the members of " + strconv.QuoteToASCII(g.name) + " cannot be seen: the account may not read or search its attribute " + attr, nil
			}
		}
	}
	return "", nil
}

// people are the members of some groups.
type people struct {
	r       *reader
	users   map[string]*user  // by key of DN
	groups  map[string]*group // by key of DN
	byUID   map[string][]*user
	others  map[string]bool    // keys of entries that are there and are neither
	primary map[string][]*user // by the number of the group
	unseen  bool
}

// hidden says whether a value stands for nobody: the placeholder, and what the config says to ignore.
func (r *reader) hidden(v value) bool { return v.dn.text != "" && r.nobody(v.dn) }

// nobody says whether a name is that of the placeholder, or one to ignore. An entry of such a name would be an unseen
// member of groups, so that none is made, and none that is there is given.
func (r *reader) nobody(d dn) bool { return d.key() == r.s.placeholder.key() || r.s.ignored[d.key()] }

const standsForNobody = "its name stands for nobody in groups (placeholder_dn, ignored_members)"

// members finds out who the members of groups are. known are all groups there are, nil when they were not read.
func (r *reader) members(ctx context.Context, groups, known []*group) (*people, error) {
	p := &people{r: r, users: map[string]*user{}, groups: map[string]*group{}, byUID: map[string][]*user{}, others: map[string]bool{}, primary: map[string][]*user{}}
	for _, g := range known {
		p.groups[g.dn.key()] = g
	}
	pending := map[string]dn{}
	var uids, numbers []string
	numbered := map[string]bool{}
	for _, g := range groups {
		for _, v := range g.values {
			switch {
			case v.attr == attrMemberUID:
				uids = append(uids, v.raw)
			case v.dn.text == "" || r.hidden(v) || p.groups[v.dn.key()] != nil:
			case v.dn.below(r.s.userBase) || v.dn.below(r.s.base):
				pending[v.dn.key()] = v.dn
			}
		}
		if _, err := strconv.ParseUint(g.number, 10, 32); err == nil && g.protected == "" {
			numbers = append(numbers, g.number)
			numbered[g.number] = true
		}
	}
	add := func(list []*user) {
		for _, u := range list {
			if p.users[u.dn.key()] != nil {
				continue
			}
			p.users[u.dn.key()] = u
			delete(pending, u.dn.key())
			for _, uid := range u.uids {
				p.byUID[uid] = append(p.byUID[uid], u)
			}
		}
	}
	var search []string
	for _, d := range pending {
		if d.below(r.s.userBase) {
			search = append(search, equals(d.attr, d.name))
		}
	}
	search = append(search, terms("uid", uids)...)
	attribute := "gidNumber"
	if r.root.ad {
		attribute = "primaryGroupID"
	}
	var found []*user
	more := len(search) <= manyTerms
	if !more {
		entries, err := r.under(ctx, query{op: "read the accounts", base: r.s.userBase.text, scope: goldap.ScopeWholeSubtree,
			filter: r.c.userFilter, attributes: r.c.userAttributes, most: manyTimes * len(search)})
		if more = errors.Is(err, errMore); err != nil && !more {
			return nil, err
		}
		if found, err = r.readUsers(entries); err != nil {
			return nil, err
		}
	}
	inPrimary := found
	if more {
		var err error
		if found, err = r.usersBy(ctx, search); err != nil {
			return nil, err
		}
		if inPrimary, err = r.usersBy(ctx, terms(attribute, numbers)); err != nil {
			return nil, err
		}
	}
	add(found)
	for _, u := range inPrimary {
		if numbered[u.primary] {
			p.primary[u.primary] = append(p.primary[u.primary], u)
		}
	}
	if len(search) > 0 && len(p.users) == 0 {
		// None of many accounts is there: perhaps none can be seen.
		some, err := r.some(ctx, "read the accounts", r.s.userBase, r.c.userFilter)
		if err != nil {
			return nil, err
		}
		p.unseen = !some
	}
	if known == nil {
		search = nil
		for _, d := range pending {
			if d.below(r.s.base) {
				search = append(search, equals(d.attr, d.name))
			}
		}
		inner, err := r.anyOf(ctx, "read the groups", r.s.base, r.c.groupFilter, search, r.c.groupAttributes)
		if err != nil {
			return nil, err
		}
		for _, e := range inner {
			g, err := r.readGroup(e)
			if err != nil {
				return nil, err
			}
			p.groups[g.dn.key()] = g
			delete(pending, g.dn.key())
		}
	}
	// What is left is an entry of another kind, or none any more.
	for _, base := range []dn{r.s.userBase, r.s.base} {
		search = nil
		for _, d := range pending {
			if d.below(base) {
				search = append(search, equals(d.attr, d.name))
			}
		}
		there, err := r.anyOf(ctx, "look up members", base, "(objectClass=*)", search, []string{"1.1"})
		if err != nil {
			return nil, err
		}
		for _, e := range there {
			if d, err := parseDN(e.DN); err == nil && pending[d.key()].text != "" {
				p.others[d.key()] = true
				delete(pending, d.key())
			}
		}
	}
	return p, nil
}

// of are the entitlements of a group.
func (p *people) of(g *group) []connectors.Entitlement {
	var out []connectors.Entitlement
	give := func(typ, name, id string, state connectors.EntitlementState) {
		out = append(out, connectors.Entitlement{Target: schemas.Name{Type: typ, SourceName: name}, TargetID: id, Privilege: schemas.PrivilegeMember, State: state})
	}
	for _, v := range g.values {
		if p.r.hidden(v) {
			continue
		}
		if v.attr == attrMemberUID {
			for _, u := range p.byUID[v.raw] {
				give(typeUser, u.name, u.id, u.state)
			}
			if p.byUID[v.raw] == nil {
				// The hosts that use the group look the name up for themselves: it is somebody, whoever we know.
				give(typeForeign, fold(v.raw), "", "")
			}
			continue
		}
		typ, name, id, state, ok := p.who(v)
		if ok {
			give(typ, name, id, state)
		}
	}
	for _, u := range p.primary[g.number] {
		give(typeUser, u.name, u.id, u.state)
	}
	return out
}

// who is behind a value that is a DN. It returns false for nobody: an entry that is not there any more.
func (p *people) who(v value) (typ, name, id string, state connectors.EntitlementState, ok bool) {
	k := v.dn.key()
	switch {
	case v.dn.text == "":
		return typeForeign, fold(v.raw), "", "", true
	case p.users[k] != nil:
		u := p.users[k]
		return typeUser, u.name, u.id, u.state, true
	case p.groups[k] != nil && p.r.c.nested:
		return typeGroup, p.groups[k].name, p.groups[k].id, "", true
	case p.groups[k] != nil, p.others[k]:
		return typeForeign, fold(v.dn.text), "", "", true
	case !v.dn.below(p.r.s.userBase) && !v.dn.below(p.r.s.base), p.r.root.ad:
		// Active Directory takes who is gone out of groups by itself: who is left is one that we may not see.
		return typeForeign, fold(v.dn.text), "", "", true
	}
	return "", "", "", "", false
}

// List returns accounts and groups. What is foreign cannot be given, so that there is nothing to list.
func (r *reader) List(ctx context.Context, q connectors.Query) (connectors.Page, error) {
	const op = "list the directory"
	if err := r.usable(ctx, op); err != nil {
		return connectors.Page{}, err
	}
	names := slices.DeleteFunc(slices.Clone(q.Names), func(n string) bool { return n == "" })
	if q.Names != nil && names == nil {
		names = []string{}
	}
	var items []connectors.Item
	switch q.Type {
	case typeGroup:
		found, err := r.groups(ctx, names)
		if err != nil {
			return connectors.Page{}, err
		}
		for _, g := range found {
			if g.name == "" {
				return connectors.Page{}, &connectors.Error{Code: connectors.Denied, Op: op, Message: g.broken}
			}
			items = append(items, connectors.Item{Name: schemas.Name{Type: typeGroup, SourceName: g.name}, NativeID: g.id, Protected: g.protected, Connection: true})
		}
	case typeUser:
		found, err := r.listUsers(ctx, names)
		if err != nil {
			return connectors.Page{}, err
		}
		for _, u := range found {
			item := connectors.Item{Name: schemas.Name{Type: typeUser, SourceName: u.name}, NativeID: u.id, State: u.state, Protected: u.protected}
			items = append(items, item)
		}
	case typeForeign:
	default:
		return connectors.Page{}, &connectors.Error{Code: connectors.Unsupported, Op: op, Message: "there is nothing of the type " + strconv.QuoteToASCII(q.Type)}
	}
	return connectors.PageOf(items, q), nil
}

// listUsers are the accounts of the names; all when names is nil.
func (r *reader) listUsers(ctx context.Context, names []string) ([]*user, error) {
	if names == nil {
		found, err := r.below(ctx, "read the accounts", r.s.userBase, r.c.userFilter, r.c.userAttributes)
		if err != nil {
			return nil, err
		}
		return r.readUsers(found)
	}
	found, err := r.usersBy(ctx, terms(r.c.userName, names))
	if err != nil {
		return nil, err
	}
	wanted := folded(names)
	return slices.DeleteFunc(found, func(u *user) bool { return !wanted[u.name] }), nil
}
