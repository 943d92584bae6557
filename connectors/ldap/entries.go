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
	"github.com/countersign/countersign/schemas"
)

// group is an entry that holds members.
type group struct {
	dn      dn
	id      string
	idAttr  string // where the id is from
	name    string
	holds   []string // attributes with members; new members go into the first
	musts   map[string]bool
	values  []value
	payload map[string]any
	// descriptions are the values behind the payload's.
	descriptions []string
	// groupType is Active Directory's. number identifies the group as primary group of accounts.
	groupType int64
	number    string
	protected string
	broken    string // why it couldn't be read completely
}

// value is one value of an attribute that holds members.
type value struct {
	attr string
	raw  string
	dn   dn // empty for memberUid and for invalid DNs
}

// user is an account.
type user struct {
	dn      dn
	id      string
	name    string
	uids    []string
	state   schemas.EntitlementState
	primary string
	// protected is the reason why it can't be granted, or "".
	protected string
}

// nameOf returns an entry's name: of several values the one in its DN, otherwise the first in order.
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

// guid returns an objectGUID in its usual form ([MS-DTYP] 2.3.4.3).
func guid(b []byte) string {
	if len(b) != 16 {
		return ""
	}
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint16(b[4:]), binary.LittleEndian.Uint16(b[6:]), b[8:10], b[10:])
}

// rid returns the last part of an objectSid ([MS-DTYP] 2.4.2.2).
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

func (r *reader) idAttributes() []string {
	if r.root.ad {
		return []string{"objectGUID"}
	}
	return []string{attrUUID, attrUniqueID}
}

// scopeOf returns the scope in a groupType.
func scopeOf(t int64) string {
	switch {
	case t&typeGlobal != 0:
		return "global"
	case t&typeUniversal != 0:
		return "universal"
	}
	return "domain_local"
}

// readGroup reads a group from its entry, with members by their raw values.
func (r *reader) readGroup(e *goldap.Entry) (*group, error) {
	d, err := parseDN(e.DN)
	if err != nil {
		return nil, &connectors.Error{Code: connectors.Unavailable, Op: "read the groups", Message: "the directory returned an entry with an invalid distinguished name"}
	}
	g := &group{dn: d, id: r.idOf(e), name: nameOf(e, d, r.class.groupName), musts: map[string]bool{}}
	g.idAttr = attrUUID
	if e.GetEqualFoldAttributeValue(attrUUID) == "" {
		g.idAttr = attrUniqueID
	}
	if r.nobody(d) {
		g.protected = reservedName
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
				g.broken = "can't see the members of " + strconv.QuoteToASCII(g.name) + ": the account lacks the right to read its attribute " + attr
			}
		}
	}
	if g.name == "" {
		g.broken = "can't read the name of a group: the account lacks the right to read the attribute " + r.class.groupName + " of " + strconv.QuoteToASCII(e.DN)
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
		g.broken = "can't read the scope of " + strconv.QuoteToASCII(g.name) + ": the account lacks the right to read its attribute groupType"
	}
	g.number = rid(e.GetEqualFoldRawAttributeValue("objectSid"))
	n, err := strconv.Atoi(g.number)
	switch {
	case g.groupType&typeBuiltin != 0 || strings.Contains(","+d.key()+",", ",cn=builtin,dc="):
		g.protected = "it is a built-in group"
	case e.GetEqualFoldAttributeValue("adminCount") == "1":
		g.protected = "its members administer the domain (adminCount)"
	case strings.EqualFold(e.GetEqualFoldAttributeValue("isCriticalSystemObject"), "TRUE"), err == nil && n < 1000:
		g.protected = "it belongs to the domain"
	}
	return g, nil
}

func fit(classes []string, name string) bool {
	return slices.ContainsFunc(classes, func(c string) bool { return strings.EqualFold(c, name) })
}

// readValue parses a value of an attribute with members. A uniqueMember may end in a bit string (RFC 4517, 3.3.21).
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
		return nil, &connectors.Error{Code: connectors.Unavailable, Op: "read the accounts", Message: "the directory returned an entry with an invalid distinguished name"}
	}
	u := &user{dn: d, id: r.idOf(e), name: nameOf(e, d, r.class.userName), uids: e.GetEqualFoldAttributeValues("uid")}
	switch {
	case r.own[d.key()] != "":
		u.protected = "countersign logs in with this account"
	case r.nobody(d):
		u.protected = reservedName
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

// stateAD returns an account's state. accountExpires counts intervals of 100 ns since 1601; 0 and the greatest number
// mean never ([MS-ADA1] 2.3).
func stateAD(control, expires string, now time.Time) schemas.EntitlementState {
	if flags, err := strconv.ParseInt(control, 10, 64); err == nil && flags&accountDisabled != 0 {
		return schemas.StateBlocked
	}
	const unix = 11_644_473_600 // seconds from 1601 to 1970
	if n, err := strconv.ParseInt(expires, 10, 64); err == nil && n > 0 && n < 1<<63-1 && n/10_000_000-unix <= now.Unix() {
		return schemas.StateExpired
	}
	return ""
}

// stateOpenLDAP returns an account's state by ppolicy, shadowAccount and the attributes of 389 Directory Server.
func stateOpenLDAP(e *goldap.Entry, now time.Time) schemas.EntitlementState {
	if e.GetEqualFoldAttributeValue("pwdAccountLockedTime") != "" || strings.EqualFold(e.GetEqualFoldAttributeValue("nsAccountLock"), "true") {
		return schemas.StateBlocked
	}
	if end := e.GetEqualFoldAttributeValue("pwdEndTime"); len(end) >= 14 {
		if t, err := time.Parse("20060102150405", end[:14]); err == nil && !t.After(now) {
			return schemas.StateExpired
		}
	}
	// Days since 1970; negative means never (shadow(5)).
	if days, err := strconv.ParseInt(e.GetEqualFoldAttributeValue("shadowExpire"), 10, 64); err == nil && days >= 0 && days <= now.Unix()/86400 {
		return schemas.StateExpired
	}
	return ""
}
