package ldap

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/countersign/countersign/connectors"
)

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
	return strings.ToLower(cmp.Or(e.GetEqualFoldAttributeValue(attrUUID), e.GetEqualFoldAttributeValue(attrUniqueID)))
}

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
	g := &group{dn: d, id: r.idOf(e), name: nameOf(e, d, r.class.groupName), musts: map[string]bool{}}
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
		g.broken = "a group cannot be seen whole: the account may not read the attribute " + r.class.groupName + " of " + strconv.QuoteToASCII(e.DN)
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
	u := &user{dn: d, id: r.idOf(e), name: nameOf(e, d, r.class.userName), uids: e.GetEqualFoldAttributeValues("uid")}
	switch {
	case r.own[d.key()] != "":
		u.protected = "countersign logs in with it"
	case r.nobody(d):
		u.protected = standsForNobody
	}
	now := r.settings.now()
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
