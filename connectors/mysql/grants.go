package mysql

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// piece is one privilege that is granted to or revoked from one account.
type piece struct {
	operation *schemas.Operation
	on        object // for a membership, the role
	privilege string // as in the statement
	who       accountID
	held      holding
	edge      edge
}

// change grants and revokes entitlements.
func (j *job) change(ctx context.Context, ops []*schemas.Operation) error {
	pieces := map[*schemas.Operation]piece{}
	j.pieces = pieces
	type bundle struct {
		on  object
		who accountID
	}
	bundles := map[bundle][]*schemas.Operation{}
	for _, o := range ops {
		p, err := j.piece(o)
		if err != nil || p == nil {
			j.done(o, err)
			continue
		}
		pieces[o] = *p
		k := bundle{p.on, p.who}
		bundles[k] = append(bundles[k], o)
	}
	// Accounts that get the same privileges on the same object share a statement.
	type key struct {
		on         object
		privileges string
	}
	type group struct {
		key
		who [][]*schemas.Operation // the operations of each account
	}
	groups := map[key]*group{}
	for k, list := range bundles {
		at := key{k.on, strings.Join(privilegesOf(pieces, list), "\x00")}
		if groups[at] == nil {
			groups[at] = &group{key: at}
		}
		groups[at].who = append(groups[at].who, list)
	}
	order := slices.SortedFunc(maps.Values(groups), func(a, b *group) int {
		if c := a.on.compare(b.on); c != 0 {
			return c
		}
		return strings.Compare(a.privileges, b.privileges)
	})
	for _, g := range order {
		slices.SortFunc(g.who, func(a, b []*schemas.Operation) int {
			return strings.Compare(pieces[a[0]].who.userName(), pieces[b[0]].who.userName())
		})
		for part := range slices.Chunk(g.who, maxAccounts) {
			if err := connectors.Stopped(ctx, "apply"); err != nil {
				return err
			}
			err := j.together(ctx, slices.Concat(part...), g.on.oracle(), func(list []*schemas.Operation) []string {
				who := map[string]bool{}
				for _, o := range list {
					who[pieces[o].who.sql()] = true
				}
				if j.kind == schemas.OperationGrant {
					if p := pieces[list[0]]; len(list) == 1 && p.privilege == schemas.PrivilegeMember && j.member(p) {
						return nil // ADMIN implied it, and MySQL may drop ADMIN when MEMBER is granted
					}
					return j.writer.dialect.grant(g.on, privilegesOf(pieces, list), sortedKeys(who))
				}
				return j.writer.dialect.revoke(g.on, privilegesOf(pieces, list), sortedKeys(who))
			}, func(o *schemas.Operation) { j.note(pieces[o]) })
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// member reports whether a membership exists by now.
func (j *job) member(p piece) bool {
	_, ok := j.catalogue.edges[p.edge]
	return p.on.typ == typeRole && ok
}

// privilegesOf returns the privileges of operations, sorted and unique.
func privilegesOf(pieces map[*schemas.Operation]piece, ops []*schemas.Operation) []string {
	set := map[string]bool{}
	for _, o := range ops {
		set[pieces[o].privilege] = true
	}
	return sortedKeys(set)
}

// giveBack grants again the privileges on columns that a REVOKE on their table took along, unless this Apply revokes
// them too. It returns the first error.
func (j *job) giveBack(ctx context.Context, o *schemas.Operation) error {
	p := j.pieces[o]
	if j.kind != schemas.OperationRevoke || p.on.typ != typeTable {
		return nil
	}
	a := j.catalogue.accounts[p.who]
	for _, h := range slices.SortedFunc(maps.Keys(a.held), func(x, y holding) int { return strings.Compare(x.column, y.column) }) {
		if h.typ != typeColumn || h.db != p.on.db || h.name != p.on.name || h.privilege != p.privilege || j.revoked[columnOf{p.who, h}] {
			continue
		}
		for _, s := range j.writer.dialect.grant(h.object, []string{h.privilege + " (" + quote(h.column) + ")"}, []string{p.who.sql()}) {
			if err := j.writer.exec(ctx, s, false); err != nil {
				return err
			}
		}
	}
	return nil
}

// columnOf is a privilege of an account on a column.
type columnOf struct {
	who  accountID
	held holding
}

// note updates the catalogue after a statement.
func (j *job) note(p piece) {
	give := j.kind == schemas.OperationGrant
	if p.on.typ != typeRole {
		a := j.catalogue.accounts[p.who]
		if give {
			a.hold(p.held)
			return
		}
		delete(a.held, p.held)
		delete(a.held, holding{p.held.object, p.held.privilege + withGrantOption, ""})
		return
	}
	admin := p.privilege == schemas.PrivilegeAdmin
	switch {
	case give:
		j.catalogue.edges[p.edge] = j.catalogue.edges[p.edge] || admin
	case admin:
		if _, ok := j.catalogue.edges[p.edge]; ok {
			j.catalogue.edges[p.edge] = false
		}
	default:
		delete(j.catalogue.edges, p.edge)
	}
}

// piece returns the change of an operation, or nil if it is already in place.
func (j *job) piece(o *schemas.Operation) (*piece, error) {
	give := o.Kind == schemas.OperationGrant
	id, a, err := j.connection(o)
	switch {
	case err != nil:
		return nil, err
	case a == nil && give:
		return nil, connectors.Refuse(o, connectors.NotFound, "the role %s does not exist", o.Connection.SourceName)
	case a == nil:
		return nil, nil // the role is gone, and its entitlements with it
	}
	h, err := j.writer.dialect.object(*o.Target)
	if err != nil {
		if !give {
			return nil, nil // it does not exist
		}
		code := connectors.Invalid
		if o.Target.Type == typeUser {
			code = connectors.NotFound
		}
		return nil, connectors.Refuse(o, code, "%v", err)
	}
	switch o.Target.Type {
	case typeRole, typeMember, typeUser:
		return j.membership(o, id, h.role)
	}
	h.privilege = o.Privilege
	if !give {
		if !a.held[h] {
			return nil, nil
		}
		if strings.HasPrefix(h.privilege, unknownPrivilege) {
			return nil, connectors.Refuse(o, connectors.Unsupported, "unknown privilege of a newer server: revoke it by hand")
		}
	} else {
		if a.held[h] {
			return nil, nil
		}
		if err := j.exists(o, h); err != nil {
			return nil, err
		}
	}
	p := &piece{operation: o, on: h.object, privilege: o.Privilege, who: id, held: h}
	if h.typ == typeColumn {
		name := h.column
		if list := a.spelled[h]; !give && len(list) > 0 {
			name = list[0]
		}
		p.privilege += " (" + quote(name) + ")"
	}
	return p, nil
}

// exists returns an error if the object of a grant is missing.
func (j *job) exists(o *schemas.Operation, h holding) error {
	if h.typ == typeGlobal {
		return nil
	}
	if err := j.failures[h.typ]; err != nil {
		return err
	}
	if strings.EqualFold(h.db, informationSchema) {
		return connectors.Refuse(o, connectors.Denied, "%s", whyInformationSchema) // the servers accept it on the escaped name, without effect
	}
	switch h.typ {
	case typeFunction, typeProcedure, typePackage, typePackageBody:
		if j.writer.dialect == mariaDB && !ascii(h.name) {
			return connectors.Refuse(o, connectors.Unsupported, "MariaDB loses privileges on routines with non-ASCII names when it restarts: grant them on the database")
		}
	}
	if h.privilege = ""; !j.there[h] {
		for x := range j.there {
			if x.typ == h.typ && strings.EqualFold(x.target().SourceName, h.target().SourceName) {
				return connectors.Refuse(o, connectors.NotFound, "%s does not exist (did you mean %s?)", h.target(), x.target())
			}
		}
		return connectors.Refuse(o, connectors.NotFound, "%s does not exist, or is not visible to the applying credential", h.target())
	}
	if h.typ == typeDatabase && len([]rune(escapeDatabase(h.db))) > maxPattern {
		return connectors.Refuse(o, connectors.Unsupported, "the server keeps %d characters of a database name for privileges, and each _ and %% takes two: grant privileges on its tables", maxPattern)
	}
	return nil
}

// maxPattern is the number of characters that mysql.db holds.
const maxPattern = 64

// membership returns the piece for a membership of one account in another.
func (j *job) membership(o *schemas.Operation, conn, other accountID) (*piece, error) {
	give := o.Kind == schemas.OperationGrant
	x := j.catalogue.accounts[other]
	asUser := o.Target.Type == typeUser
	e := edge{role: conn, member: other}
	if o.Target.Type == typeRole {
		e = edge{role: other, member: conn}
	}
	switch {
	case x == nil && give:
		return nil, connectors.Refuse(o, connectors.NotFound, "the %s %s does not exist", o.Target.Type, o.Target.SourceName)
	case x == nil:
		if _, orphan := j.catalogue.edges[e]; !orphan {
			return nil, nil
		}
		// The server may refuse it: then the row has to be deleted by hand.
		return &piece{operation: o, on: object{typ: typeRole, role: e.role}, privilege: o.Privilege, who: e.member, edge: e}, nil
	case asUser && x.role:
		if !give {
			break // it was granted to a user that is now a role
		}
		return nil, connectors.Refuse(o, connectors.Conflict, "%s is a role (expected type %s and name %s)", o.Target.SourceName, typeRole, j.writer.dialect.roleName(other))
	case !asUser && !x.role:
		if !give {
			return nil, nil
		}
		return nil, connectors.Refuse(o, connectors.NotFound, "the role %s does not exist (for a user: type %s, name %s)", o.Target.SourceName, typeUser, other.userName())
	}
	why := ""
	switch {
	case j.writer.ours(other):
		why = "it is the account that countersign logs in with"
	case give && x.role:
		why = j.writer.protected(x)
	case give:
		why = j.writer.guarded(x)
	}
	if why != "" {
		return nil, connectors.Refuse(o, connectors.Denied, "%s is protected: %s", o.Target.SourceName, why)
	}
	admin, in := j.catalogue.edges[e]
	done := in
	if o.Privilege == schemas.PrivilegeAdmin {
		done = in && admin
	}
	if done == give {
		return nil, nil
	}
	return &piece{operation: o, on: object{typ: typeRole, role: e.role}, privilege: o.Privilege, who: e.member, edge: e}, nil
}
