package ldap

import (
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// scripted answers searches one after the other.
type scripted struct {
	t       *testing.T
	answers []*goldap.SearchResult
	err     error // after the answers; nil repeats the last for ever
	asked   []string
}

func (s *scripted) Search(req *goldap.SearchRequest) (*goldap.SearchResult, error) {
	s.asked = append(s.asked, strings.Join(req.Attributes, " "))
	if len(s.answers) == 1 && s.err == nil {
		return s.answers[0], nil
	}
	if len(s.answers) == 0 {
		return &goldap.SearchResult{}, s.err
	}
	next := s.answers[0]
	s.answers = s.answers[1:]
	return next, nil
}

func answer(cookie string, entries ...*goldap.Entry) *goldap.SearchResult {
	return &goldap.SearchResult{Entries: entries, Controls: []goldap.Control{&goldap.ControlPaging{Cookie: []byte(cookie)}}}
}

// attributes is an entry with attributes: name, values, name, values.
func attributes(list ...any) *goldap.Entry {
	e := &goldap.Entry{DN: "cn=g,dc=test"}
	for i := 0; i < len(list); i += 2 {
		e.Attributes = append(e.Attributes, goldap.NewEntryAttribute(list[i].(string), list[i+1].([]string)))
	}
	return e
}

func testSession() *session {
	return &session{settings: &settings{PageSize: 2, now: time.Now, logger: slog.New(slog.DiscardHandler)}}
}

// members are values from a number on.
func numbered(from, n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("cn=m%d", from+i))
	}
	return out
}

func TestRanges(t *testing.T) {
	t.Parallel()
	// As Active Directory answers: the attribute without values, and a part of them beside it.
	begin := func() *goldap.Entry {
		return attributes("cn", []string{"g"}, "member", []string{}, "member;range=0-2", numbered(0, 3))
	}
	part := func(name string, values []string) *goldap.SearchResult {
		return &goldap.SearchResult{Entries: []*goldap.Entry{attributes(name, values)}}
	}
	for _, c := range []struct {
		name    string
		answers []*goldap.SearchResult
		err     error
		want    int // members; -1: an error
	}{
		{"two parts", []*goldap.SearchResult{answer("", begin()), part("member;range=3-*", numbered(3, 2))}, nil, 5},
		{"three parts", []*goldap.SearchResult{answer("", begin()), part("member;range=3-5", numbered(3, 3)), part("Member;Range=6-*", numbered(6, 1))}, nil, 7},
		{"one part", []*goldap.SearchResult{answer("", attributes("member;range=0-*", numbered(0, 2)))}, nil, 2},
		{"an empty last part", []*goldap.SearchResult{answer("", begin()), part("member;range=3-*", nil)}, nil, 3},
		{"a part that never comes", []*goldap.SearchResult{answer("", begin()), part("member", nil)}, nil, -1},
		{"no entry any more", []*goldap.SearchResult{answer("", begin()), {}}, nil, -1},
		{"the same part for ever", []*goldap.SearchResult{answer("", begin()), part("member;range=0-2", numbered(0, 3))}, nil, -1},
		{"empty parts for ever", []*goldap.SearchResult{answer("", begin()), part("member;range=3-3", nil)}, nil, -1},
		{"a gap", []*goldap.SearchResult{answer("", begin()), part("member;range=4-*", numbered(4, 1))}, nil, -1},
		{"fewer than it says", []*goldap.SearchResult{answer("", begin()), part("member;range=3-5", numbered(3, 2)), part("member;range=6-*", nil)}, nil, -1},
		{"another attribute", []*goldap.SearchResult{answer("", begin()), part("owner;range=3-*", numbered(3, 1))}, nil, -1},
		{"an error in between", []*goldap.SearchResult{answer("", begin())}, goldap.NewError(goldap.LDAPResultBusy, errors.New("later")), -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			found, err := testSession().pages(&scripted{t: t, answers: c.answers, err: c.err}, query{op: "read"})
			if (err != nil) != (c.want < 0) {
				t.Fatalf("error %v, want %d members", err, c.want)
			}
			if err != nil {
				if found != nil {
					t.Errorf("an error, and %d entries", len(found))
				}
				return
			}
			if got := found[0].GetEqualFoldAttributeValues("member"); !slices.Equal(got, numbered(0, c.want)) {
				t.Errorf("members %v, want %d", got, c.want)
			}
		})
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	a, b := attributes("cn", []string{"a"}), attributes("cn", []string{"b"})
	referral := answer("", a)
	referral.Referrals = []string{"ldap://elsewhere/dc=test"}
	for _, c := range []struct {
		name    string
		answers []*goldap.SearchResult
		err     error
		most    int
		want    int
		code    connectors.Code
	}{
		{"one", []*goldap.SearchResult{answer("", a)}, nil, 0, 1, ""},
		{"two", []*goldap.SearchResult{answer("x", a), answer("", b)}, nil, 0, 2, ""},
		{"an empty one between", []*goldap.SearchResult{answer("x", a), answer("y"), answer("", b)}, nil, 0, 2, ""},
		{"no paging", []*goldap.SearchResult{{Entries: []*goldap.Entry{a, b}}}, nil, 0, 2, ""},
		{"an end that never comes", []*goldap.SearchResult{answer("x")}, nil, 0, -1, connectors.Unavailable},
		{"a referral", []*goldap.SearchResult{referral}, nil, 0, -1, connectors.Unsupported},
		{"a referral on the second", []*goldap.SearchResult{answer("x", a), referral}, nil, 0, -1, connectors.Unsupported},
		{"more than wanted", []*goldap.SearchResult{answer("x", a, b), answer("", a)}, nil, 1, -1, connectors.Unavailable},
		{"as many as wanted", []*goldap.SearchResult{answer("x", a), answer("", b)}, nil, 1, 2, ""},
		{"size limit on the second", []*goldap.SearchResult{answer("x", a)}, goldap.NewError(goldap.LDAPResultSizeLimitExceeded, errors.New("")), 0, -1, connectors.Denied},
		{"busy on the second", []*goldap.SearchResult{answer("x", a)}, goldap.NewError(goldap.LDAPResultBusy, errors.New("")), 0, -1, connectors.Unavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := testSession()
			// The first answer must not be repeated where an error follows.
			script := &scripted{t: t, answers: c.answers, err: c.err}
			found, err := s.pages(script, query{op: "read", most: c.most})
			if err == nil && len(found) != c.want || err != nil && (c.want >= 0 || found != nil) {
				t.Errorf("%d entries (%v), want %d", len(found), err, c.want)
			}
			if got := connectors.CodeOf(s.wrap("read", err)); err != nil && got != c.code {
				t.Errorf("code %s, want %s", got, c.code)
			}
		})
	}
}

func TestDN(t *testing.T) {
	t.Parallel()
	for _, pair := range [][2]string{
		{"cn=Alice,dc=test", "CN=alice, DC=TEST"},
		{"cn=a b,dc=test", "cn=A   B,dc=test"},
		{`cn=a\,b,dc=test`, `cn=a\2cb,dc=test`},
		{`cn=\ a\ ,dc=test`, `cn=a,dc=test`},
		{"cn=a+uid=b,dc=test", "UID=B + CN=A,dc=test"},
		{"2.5.4.3=a,dc=test", "commonName=a,dc=test"},
		{"uid=a,ou=b,dc=test", "userid=a,organizationalUnitName=b,domainComponent=test"},
		{"cn=é,dc=test", "cn=É,dc=test"},
		{"cn=é,dc=test", "cn=e\u0301,dc=test"},
		{"cn=é,dc=test", `cn=\c3\a9,dc=test`},
		{"cn=ﬀ,dc=test", "cn=ff,dc=test"},
	} {
		a, errA := parseDN(pair[0])
		b, errB := parseDN(pair[1])
		if errA != nil || errB != nil || a.key() != b.key() {
			t.Errorf("%q has the key %q (%v), %q has %q (%v): want one", pair[0], a.key(), errA, pair[1], b.key(), errB)
		}
	}
	for _, pair := range [][2]string{
		{"cn=a,dc=test", "uid=a,dc=test"},
		{"cn=ab,dc=test", "cn=a b,dc=test"},
		{`cn=a\,dc\=x,dc=test`, "cn=a,dc=x,dc=test"},
		{`cn=a\+uid\=b,dc=test`, "cn=a+uid=b,dc=test"},
		{"cn=a,dc=test", "cn=a,dc=tests"},
		{"cn=é,dc=test", "cn=e,dc=test"},
	} {
		a, errA := parseDN(pair[0])
		b, errB := parseDN(pair[1])
		if errA != nil || errB != nil || a.key() == b.key() {
			t.Errorf("%q and %q have the key %q (%v, %v): want two", pair[0], pair[1], a.key(), errA, errB)
		}
	}
	for _, text := range []string{"", " ", "cn", "cn=a,", "=a", "cn=a\xff", `cn=a\ff`, "cn=\"a\"", "c(n=a", "cn=a,,dc=test", "cn)(uid=*", "cn=#040161", "dc=a+cn= #3080,dc=b"} {
		if d, err := parseDN(text); err == nil {
			t.Errorf("%q is taken for a DN: %q", text, d.key())
		}
	}
	base, err := parseDN("ou=groups,dc=test")
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{"cn=a,OU=Groups,DC=test": true, "cn=a,cn=b,ou=groups,dc=test": true, "ou=groups,dc=test": false,
		"dc=test": false, "cn=a,ou=other,dc=test": false, `cn=a\,ou=groups,dc=test`: false, "cn=a,ou=groups,dc=test,dc=com": false} {
		d, err := parseDN(text)
		if err != nil || d.below(base) != want {
			t.Errorf("%q below %q: %v (%v), want %v", text, base.text, d.below(base), err, want)
		}
	}
	for _, name := range []string{"a", "a,b", `a\b`, "a+b=c", "#a", `"q"`, "é", "a;b<c>", "名前", "a#'01'B"} {
		d, err := parseDN(base.child("cn", name))
		if err != nil || d.name != name || d.attr != "cn" || !d.below(base) {
			t.Errorf("the child %q is read back as %q %q (%v)", name, d.attr, d.name, err)
		}
	}
}

func FuzzDN(f *testing.F) {
	for _, seed := range []string{"cn=a,dc=test", `cn=a\,b+uid=c,dc=test`, "cn=#040161", "2.5.4.3=x", `cn=\c3\a9`, "cn=a#'01'B", "CN=x\\0ADEL:1,DC=t", " cn = a ; dc = b "} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := parseDN(text)
		if err != nil {
			return
		}
		// A key is a DN itself, and its own key.
		again, err := parseDN(d.key())
		if err != nil || again.key() != d.key() {
			t.Errorf("%q has the key %q, which has the key %q (%v)", text, d.key(), again.key(), err)
		}
		if d.below(d) {
			t.Errorf("%q is below itself", text)
		}
		if term := equals(d.attr, d.name); d.attr != "" {
			if _, err := goldap.CompileFilter(term); err != nil {
				t.Errorf("%q makes the filter %q: %v", text, term, err)
			}
		}
		for _, attr := range []string{attrMember, attrUnique, attrMemberUID} {
			if v := readValue(attr, text); v.raw != text {
				t.Errorf("the value of %s is %q, want %q", attr, v.raw, text)
			}
		}
	})
}

func FuzzRanges(f *testing.F) {
	f.Add("member;range=0-2", "member;range=3-*", 3, 2)
	f.Add("member;range=0-*", "member", 1, 0)
	f.Add("member;range=0-0", "member;range=1-1", 1, 1)
	f.Fuzz(func(t *testing.T, first, second string, n, m int) {
		if n < 0 || m < 0 || n > 100 || m > 100 {
			return
		}
		script := &scripted{t: t, answers: []*goldap.SearchResult{answer("", attributes(first, numbered(0, n))),
			{Entries: []*goldap.Entry{attributes(second, numbered(n, m))}}, {}}, err: errors.New("no more")}
		found, err := testSession().pages(script, query{op: "read"})
		if err != nil {
			return
		}
		// Without an error, nothing is left out and nothing is ranged.
		for _, a := range found[0].Attributes {
			if rangeOption.MatchString(a.Name) {
				t.Errorf("%q is left in parts", a.Name)
			}
		}
		if len(script.asked) > 1 && len(found[0].Attributes[0].Values) != n+m {
			t.Errorf("%d values, want %d", len(found[0].Attributes[0].Values), n+m)
		}
	})
}

func TestStates(t *testing.T) {
	t.Parallel()
	now := time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)
	filetime := func(at time.Time) string { return fmt.Sprint((at.Unix() + 11_644_473_600) * 10_000_000) }
	for _, c := range []struct {
		control, expires string
		want             schemas.EntitlementState
	}{
		{"512", "0", ""}, {"512", "9223372036854775807", ""}, {"512", "", ""}, {"", "", ""}, {"514", "0", schemas.StateBlocked},
		{"66050", "", schemas.StateBlocked}, {"512", filetime(now), schemas.StateExpired}, {"512", filetime(now.Add(time.Second)), ""},
		{"512", filetime(now.AddDate(-1, 0, 0)), schemas.StateExpired}, {"514", filetime(now.AddDate(-1, 0, 0)), schemas.StateBlocked}, {"x", "y", ""},
	} {
		if got := stateAD(c.control, c.expires, now); got != c.want {
			t.Errorf("userAccountControl %s, accountExpires %s: %q, want %q", c.control, c.expires, got, c.want)
		}
	}
	day := now.Unix() / 86400
	for _, c := range []struct {
		attr, value string
		want        schemas.EntitlementState
	}{
		{"uid", "a", ""}, {"pwdAccountLockedTime", "000001010000Z", schemas.StateBlocked}, {"nsAccountLock", "TRUE", schemas.StateBlocked},
		{"nsAccountLock", "false", ""}, {"shadowExpire", fmt.Sprint(day), schemas.StateExpired}, {"shadowExpire", fmt.Sprint(day + 1), ""},
		{"shadowExpire", "-1", ""}, {"shadowExpire", "0", schemas.StateExpired}, {"pwdEndTime", "20270301120000Z", schemas.StateExpired},
		{"pwdEndTime", "20270301120001Z", ""}, {"pwdEndTime", "soon", ""},
	} {
		if got := stateOpenLDAP(attributes(c.attr, []string{c.value}), now); got != c.want {
			t.Errorf("%s %s: %q, want %q", c.attr, c.value, got, c.want)
		}
	}
}

func TestIDs(t *testing.T) {
	t.Parallel()
	// As Samba printed them.
	b, err := base64.StdEncoding.DecodeString("By5T4+mXy0KmzgDDDjIyXA==")
	if err != nil {
		t.Fatal(err)
	}
	const want = "e3532e07-97e9-42cb-a6ce-00c30e32325c"
	if got := guid(b); got != want {
		t.Errorf("objectGUID is %s, want %s", got, want)
	}
	if got, ok := guidBytes(strings.ToUpper(want)); !ok || got != string(b) {
		t.Errorf("the bytes of %s are %x, want %x", want, got, b)
	}
	for _, bad := range []string{"", "no-such-id", want[1:], "e3532e07-97e9-42cb-a6ce-00c30e3232zz"} {
		if got, ok := guidBytes(bad); ok {
			t.Errorf("%q is taken for a GUID: %x", bad, got)
		}
	}
	sid, err := base64.StdEncoding.DecodeString("AQUAAAAAAAUVAAAADt3p53sRdAxtd8YSTgQAAA==")
	if err != nil {
		t.Fatal(err)
	}
	if got := rid(sid); got != "1102" {
		t.Errorf("the last part of objectSid is %s, want 1102", got)
	}
	for _, bad := range [][]byte{nil, sid[:8], sid[:20], append(slices.Clone(sid), 0)} {
		if got := rid(bad); got != "" {
			t.Errorf("%x is taken for a SID: %s", bad, got)
		}
	}
}

// Whoever writes makes sure that it is below the base.
func TestSendOutside(t *testing.T) {
	t.Parallel()
	base, err := parseDN("ou=groups,dc=test")
	if err != nil {
		t.Fatal(err)
	}
	outside, err := parseDN("cn=g,ou=people,dc=test")
	if err != nil {
		t.Fatal(err)
	}
	w := &writer{reader: &reader{session: *testSession()}}
	w.settings.BaseDN = base
	if err := w.send(t.Context(), "grant", &group{dn: outside}, nil); connectors.CodeOf(err) != connectors.Denied {
		t.Errorf("a change outside of the base: %v, want %s", err, connectors.Denied)
	}
}

func TestTogether(t *testing.T) {
	t.Parallel()
	op := func(id, c, target string, depends ...string) schemas.Operation {
		return schemas.Operation{ID: id, Kind: schemas.OperationGrant, Connection: schemas.Name{Type: typeGroup, SourceName: c},
			Target: &schemas.Name{Type: typeUser, SourceName: target}, DependsOn: depends}
	}
	update := schemas.Operation{ID: "u", Kind: schemas.OperationUpdate, Connection: schemas.Name{Type: typeGroup, SourceName: "a"}}
	otherID := op("2", "a", "y")
	otherID.NativeID = "x"
	for name, c := range map[string]struct {
		ops  []schemas.Operation
		want int
	}{
		"one":             {[]schemas.Operation{op("1", "a", "x")}, 1},
		"two":             {[]schemas.Operation{op("1", "a", "x"), op("2", "A", "y")}, 2},
		"another group":   {[]schemas.Operation{op("1", "a", "x"), op("2", "b", "y")}, 1},
		"the same member": {[]schemas.Operation{op("1", "a", "x"), op("2", "a", "X")}, 1},
		"a dependent":     {[]schemas.Operation{op("1", "a", "x"), op("2", "a", "y", "1")}, 1},
		"an earlier one":  {[]schemas.Operation{op("1", "a", "x"), op("2", "a", "y", "0")}, 2},
		"an update":       {[]schemas.Operation{op("1", "a", "x"), update}, 1},
		"after an update": {[]schemas.Operation{update, op("1", "a", "x")}, 1},
		"another id":      {[]schemas.Operation{op("1", "a", "x"), otherID}, 1},
	} {
		if got := together(c.ops); got != c.want {
			t.Errorf("%s: %d together, want %d", name, got, c.want)
		}
	}
}

// TestPrivileged names groups whose members can make themselves masters of a domain or a host.
func TestPrivileged(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{"domain admins": true, "enterprise key admins": true, "storage replica administrators": true, "account operators": true,
		"admins": true, "trust admins": true, "incoming forest trust builders": true, "exchange servers": true, "lxd": true, "dnsadmins": true,
		"sales": false, "administration staff": false, "docker-readers": false} {
		if got := schemas.Match(privilegedGroups(), name); got != want {
			t.Errorf("%s is privileged: %v, want %v", name, got, want)
		}
	}
}

// TestHandle asserts the id by the attribute that it is from: another would never fit, and nothing could be changed.
func TestHandle(t *testing.T) {
	t.Parallel()
	w := &writer{reader: &reader{session: *testSession()}}
	w.root.controls = map[string]bool{controlAssertion: true}
	for attr, id := range map[string]string{"entryUUID": "e3532e07-97e9-42cb-a6ce-00c30e32325c", "nsUniqueId": "66446001-1dd211b2-66225011-2ee211db"} {
		g, err := w.readGroup(goldap.NewEntry("cn=g,ou=groups,dc=test", map[string][]string{"objectClass": {"groupOfMembers"}, "cn": {"g"}, attr: {id}}))
		if err != nil {
			t.Fatal(err)
		}
		_, controls := w.handle(g)
		want, err := goldap.CompileFilter("(|(" + attr + "=" + id + ")(!(entryDN=cn=g,ou=groups,dc=test)))")
		if err != nil || len(controls) != 1 {
			t.Fatalf("%d controls, %v", len(controls), err)
		}
		if got, ok := controls[0].(*goldap.ControlString); !ok || got.ControlValue != string(want.Bytes()) {
			t.Errorf("%s is asserted by %v", attr, controls[0])
		}
	}
}
