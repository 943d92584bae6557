package mysql

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// account is a user or role with its direct privileges.
type account struct {
	id              accountID
	role            bool
	locked, expired bool
	members         int
	comment         string
	// held has the privileges by object.
	held map[holding]bool
	// spelled has the column names as spelled in the grant tables, if they were granted by hand in another case.
	spelled map[holding][]string
}

type holding struct {
	object
	privilege string
	column    string
}

func (a *account) hold(h holding) {
	if a.held == nil {
		a.held = map[holding]bool{}
	}
	a.held[h] = true
}

type edge struct{ role, member accountID }

// catalogue is all accounts of a server at one moment.
type catalogue struct {
	accounts map[accountID]*account
	edges    map[edge]bool // true with ADMIN
	// incomplete names an inconsistency, or is "".
	incomplete string
}

func (r *reader) load(ctx context.Context) (*catalogue, error) {
	l := newLoader(r.dialect)
	l.view = r.settings.AccountsView != ""
	if err := r.query(ctx, l.row, 7, r.catalogue); err != nil {
		return nil, err
	}
	c, err := l.finish()
	if err != nil {
		return nil, err
	}
	return c, r.columns(ctx, c)
}

// columns gives privileges on columns the names that the columns have in their tables: the grant tables keep the
// spelling of the GRANT, and the servers ignore case.
func (r *reader) columns(ctx context.Context, c *catalogue) error {
	within := map[string]bool{}
	for _, a := range c.accounts {
		for h := range a.held {
			if a.role && h.typ == typeColumn {
				within[h.db] = true
			}
		}
	}
	if len(within) == 0 {
		return nil
	}
	lower := func(h holding) holding {
		h.column, h.privilege = strings.ToLower(h.column), ""
		return h
	}
	actual := map[holding]string{}
	if err := r.objects(ctx, typeColumn, within, func(h holding) { actual[lower(h)] = h.column }); err != nil {
		return err
	}
	for _, a := range c.accounts {
		if !a.role {
			continue
		}
		for _, h := range slices.Collect(maps.Keys(a.held)) {
			name, ok := actual[lower(h)]
			if h.typ != typeColumn || !ok || name == h.column {
				continue
			}
			is := h
			is.column = name
			if a.spelled == nil {
				a.spelled = map[holding][]string{}
			}
			if a.held[is] && len(a.spelled[is]) == 0 {
				a.spelled[is] = []string{name}
			}
			a.spelled[is] = append(a.spelled[is], h.column)
			delete(a.held, h)
			a.hold(is)
		}
	}
	return nil
}

// loader builds a catalogue from the rows of the catalogue query.
type loader struct {
	dialect   dialect
	catalogue *catalogue
	view      bool // accounts are read through a view
	ended     bool
	broken    bool       // a row is impossible
	later     [][]string // rows that belong to accounts; accounts come in any order
	names     map[string]string
	bits      []string
}

func newLoader(d dialect) *loader {
	return &loader{dialect: d, catalogue: &catalogue{accounts: map[accountID]*account{}, edges: map[edge]bool{}}, names: map[string]string{}, bits: globalBits()}
}

// intern keeps one copy of a string that the catalogue repeats.
func (l *loader) intern(s string) string {
	if x, ok := l.names[s]; ok {
		return x
	}
	l.names[s] = s
	return s
}

func (l *loader) row(c []string) error {
	switch c[0] {
	case rowEnd:
		l.ended = true
		return nil
	case rowAccount:
	default:
		own := make([]string, len(c))
		for i := range c {
			own[i] = l.intern(c[i])
		}
		l.later = append(l.later, own)
		return nil
	}
	a := &account{id: accountID{l.intern(c[1]), l.intern(c[2])}, locked: c[5] == "1", expired: c[6] == "1"}
	l.catalogue.accounts[a.id] = a
	if l.dialect == mySQL {
		// CREATE ROLE creates accounts like this. Other accounts are roles if they have members.
		a.role = a.locked && a.expired
		l.hold(a, object{typ: typeGlobal}, c[3], "")
		return nil
	}
	a.role = c[4] == "1"
	if !a.role {
		return nil
	}
	access, err := strconv.ParseUint(c[3], 10, 64)
	if err != nil {
		return fmt.Errorf("invalid global privileges of a role: %q", c[3])
	}
	for i := range 64 {
		if access&(1<<i) == 0 {
			continue
		}
		// Unknown privileges of a newer server are shown, and must be revoked by hand.
		name := unknownPrivilege + strconv.Itoa(i)
		if i < len(l.bits) {
			name = l.bits[i]
		}
		a.hold(holding{object{typ: typeGlobal}, name, ""})
	}
	return nil
}

const unknownPrivilege = "PRIVILEGE BIT "

// hold adds a list of privileges, separated by commas.
func (l *loader) hold(a *account, o object, list, column string) {
	for list != "" {
		var p string
		p, list, _ = strings.Cut(list, ",")
		l.broken = l.broken || p == "" || o.typ == ""
		a.hold(holding{o, l.intern(setPrivilege(p)), column})
	}
}

func (l *loader) finish() (*catalogue, error) {
	if !l.ended {
		return nil, &connectors.Error{Code: connectors.Unavailable, Message: "the server's answer is truncated"}
	}
	accounts := l.catalogue.accounts
	for _, c := range l.later {
		id := accountID{c[1], c[2]}
		if c[0] == rowEdge {
			e := edge{accountID{c[3], c[4]}, id}
			l.catalogue.edges[e] = l.catalogue.edges[e] || c[5] == "Y"
			role, member := accounts[e.role], accounts[e.member]
			if role == nil && (l.dialect == mySQL || l.view) || member == nil && l.dialect == mySQL {
				// MySQL drops memberships with their accounts, and a view may hide roles.
				l.catalogue.incomplete = fmt.Sprintf("%s is listed as a member of %s, but one of the two is not among the accounts: check that config.accounts_view shows all of them",
					strconv.QuoteToASCII(e.member.userName()), strconv.QuoteToASCII(e.role.userName()))
				continue
			}
			if role == nil {
				continue // MariaDB keeps orphans: they make nothing but themselves unknown
			}
			role.members++
			role.role = true
			continue
		}
		a := accounts[id]
		if a == nil {
			continue // left over from an account that was deleted by hand
		}
		switch c[0] {
		case rowComment:
			a.comment = c[3]
		case rowDynamic:
			p := l.intern(strings.ToUpper(c[3]))
			l.broken = l.broken || p == ""
			a.hold(holding{object{typ: typeGlobal}, p, ""})
			if c[4] == "Y" {
				a.hold(holding{object{typ: typeGlobal}, l.intern(p + withGrantOption), ""})
			}
		case rowDatabase:
			o := object{typ: typePattern, db: c[3]}
			if name, ok := database(c[3]); ok {
				o = object{typ: typeDatabase, db: l.intern(name)}
			}
			l.hold(a, o, c[4], "")
		case rowTable:
			l.hold(a, object{typ: typeTable, db: c[3], name: c[4]}, c[5], "")
		case rowColumn:
			l.hold(a, object{typ: typeColumn, db: c[3], name: c[4]}, c[6], c[5])
		case rowRoutine:
			l.hold(a, object{typ: l.intern(strings.ToLower(strings.ReplaceAll(c[5], " ", "_"))), db: c[3], name: c[4]}, c[6], "")
		default:
			return nil, errors.New("unknown kind of row in the catalogue")
		}
	}
	if l.broken {
		return nil, &connectors.Error{Code: connectors.Unavailable, Message: "the server's answer has privileges without names"}
	}
	return l.catalogue, nil
}

// target is the name of the held object in Git.
func (h holding) target() schemas.Name {
	n := schemas.Name{Type: h.typ}
	switch h.typ {
	case typeGlobal:
		n.SourceName = everything
	case typeDatabase, typePattern:
		n.SourceName = h.db
	case typeColumn:
		n.SourceName = joinName(h.db, h.name, h.column)
	default:
		n.SourceName = joinName(h.db, h.name)
	}
	return n
}

// status returns the state of a user.
func (a *account) status() schemas.EntitlementState {
	switch {
	case a.role:
		return ""
	case a.locked:
		return schemas.StateBlocked
	case a.expired:
		return schemas.StateExpired
	}
	return ""
}

// compare orders objects, so that the order of statements is stable.
func (o object) compare(p object) int {
	return cmp.Or(strings.Compare(o.typ, p.typ), strings.Compare(o.db, p.db), strings.Compare(o.name, p.name),
		strings.Compare(o.role.user, p.role.user), strings.Compare(o.role.host, p.role.host))
}

func (c *catalogue) drop(id accountID) {
	delete(c.accounts, id)
	maps.DeleteFunc(c.edges, func(e edge, _ bool) bool { return e.role == id || e.member == id })
}
