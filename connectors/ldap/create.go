package ldap

import (
	"context"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// make creates a group, or sets the payload of an existing one.
func (w *writer) make(ctx context.Context, o *schemas.Operation) (int, error) {
	op := connectors.Title(o)
	for n := 1; ; n++ {
		g, err := w.find(ctx, o)
		if err != nil {
			return n, err
		}
		if g != nil {
			tried, err := w.set(ctx, o, g)
			// The run that created it may have stopped before it checked the number.
			if number, bad := strconv.Atoi(g.number); err == nil && bad == nil && number >= w.settings.Create.GIDNumbers.Min && number <= w.settings.Create.GIDNumbers.Max {
				err = w.settle(ctx, o, number)
			}
			return n + tried - 1, err
		}
		req, number, err := w.entry(ctx, o)
		if err != nil {
			return n, err
		}
		err = w.do(ctx, op, func(conn *goldap.Conn) error {
			w.calls++
			return conn.Add(req)
		})
		switch {
		case err == nil && number > 0:
			return n, w.settle(ctx, o, number)
		case err == nil:
			return n, nil
		case goldap.IsErrorWithCode(err, goldap.LDAPResultEntryAlreadyExists) && n < 3:
			// Another writer was faster, or an answer was lost: find the group.
		case goldap.IsErrorWithCode(err, goldap.LDAPResultEntryAlreadyExists):
			return n, connectors.Obstruct(o, "the other entry", "another entry has this name, or one that the directory treats as equal")
		case connectors.CodeOf(err) == connectors.NotFound:
			return n, connectors.Refuse(o, connectors.Invalid, "config.create.parent_dn: entry not found; create it, or set another")
		default:
			return n, err
		}
	}
}

// entry returns the request that creates a group, and its gidNumber if it is a posixGroup.
func (w *writer) entry(ctx context.Context, o *schemas.Operation) (*goldap.AddRequest, int, error) {
	name := o.Connection.SourceName
	rdn := w.class.groupName
	if w.root.ad {
		rdn = "cn"
	}
	req := &goldap.AddRequest{DN: w.settings.Create.ParentDN.child(rdn, name)}
	if d, err := parseDN(req.DN); err == nil && w.nobody(d) {
		return nil, 0, connectors.Refuse(o, connectors.Denied, "can't create it: %s", reservedName)
	}
	req.Attribute("objectClass", w.class.newClasses)
	req.Attribute(rdn, []string{name})
	if rdn != "cn" {
		req.Attribute("cn", []string{name})
	}
	for _, attr := range slices.Sorted(maps.Keys(w.settings.Create.Attributes)) {
		req.Attribute(attr, w.settings.Create.Attributes[attr])
	}
	if text, _ := o.After[keyDescription].(string); text != "" {
		req.Attribute(keyDescription, []string{text})
	}
	if w.root.ad {
		req.Attribute("sAMAccountName", []string{name})
		req.Attribute("groupType", []string{strconv.FormatInt(groupType(typeGlobal|typeSecurity, o.After), 10)})
		return req, 0, nil
	}
	number := 0
	for _, attr := range w.membership(w.class.newClasses) {
		switch {
		case attr == attrMemberUID:
			var err error
			if number, err = w.free(ctx, o); err != nil {
				return nil, 0, err
			}
			req.Attribute("gidNumber", []string{strconv.Itoa(number)})
		case fit(w.class.newClasses, "groupOfNames") && attr == attrMember, attr == attrUnique:
			taken, err := w.exists(ctx, w.settings.PlaceholderDN)
			if err != nil {
				return nil, 0, err
			}
			if taken {
				return nil, 0, connectors.Refuse(o, connectors.Denied, "%s", w.placeholderTaken())
			}
			req.Attribute(attr, []string{w.settings.PlaceholderDN.text})
		}
	}
	return req, number, nil
}

// groupType sets the scope and security of a payload in a groupType.
func groupType(t int64, after map[string]any) int64 {
	if scope, ok := after[keyScope].(string); ok {
		t &^= typeGlobal | typeDomainLocal | typeUniversal
		t |= map[string]int64{"global": typeGlobal, "domain_local": typeDomainLocal, "universal": typeUniversal}[scope]
	}
	if security, ok := after[keySecurity].(bool); ok {
		t &^= typeSecurity
		if security {
			t |= typeSecurity
		}
	}
	return t
}

// numbers returns the gidNumbers in use below the base, and how many groups have each.
func (w *writer) numbers(ctx context.Context, op string) (map[int]int, error) {
	found, err := w.below(ctx, op, w.settings.BaseDN, "(gidNumber=*)", []string{"gidNumber"})
	if err != nil {
		return nil, err
	}
	used := map[int]int{}
	for _, e := range found {
		for _, text := range e.GetEqualFoldAttributeValues("gidNumber") {
			if n, err := strconv.Atoi(text); err == nil {
				used[n]++
			}
		}
	}
	return used, nil
}

// free returns an unused number of the range. The search starts at a place that depends on the name, so that two
// writers that create two groups rarely choose the same number.
func (w *writer) free(ctx context.Context, o *schemas.Operation) (int, error) {
	used, err := w.numbers(ctx, connectors.Title(o))
	if err != nil {
		return 0, err
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(fold(o.Connection.SourceName))) // never fails
	size := w.settings.Create.GIDNumbers.Max - w.settings.Create.GIDNumbers.Min + 1
	start := int(h.Sum32() % uint32(size)) //nolint:gosec // a positive int32
	for i := range size {
		n := w.settings.Create.GIDNumbers.Min + (start+i)%size
		if used[n] > 0 {
			continue
		}
		// Accounts may still have the number of a deleted group: they would be members of the new one.
		taken, err := w.some(ctx, connectors.Title(o), w.settings.UserBaseDN, equals("gidNumber", strconv.Itoa(n)))
		if err != nil {
			return 0, err
		}
		if !taken {
			return n, nil
		}
	}
	return 0, connectors.Obstruct(o, "config.create.gid_numbers", "config.create.gid_numbers: all numbers are in use")
}

// settle gives a new group another number if another writer used the same one at the same time: to hosts, two
// groups with one number are one group.
func (w *writer) settle(ctx context.Context, o *schemas.Operation, number int) error {
	op := connectors.Title(o)
	for range attempts {
		found, err := w.below(ctx, op, w.settings.BaseDN, equals("gidNumber", strconv.Itoa(number)), []string{"1.1"})
		if err != nil {
			return err
		}
		if len(found) < 2 {
			return nil
		}
		g, err := w.find(ctx, o)
		if err != nil || g == nil {
			return err
		}
		next, err := w.free(ctx, o)
		if err != nil {
			return err
		}
		err = w.send(ctx, op, g, []goldap.Change{
			{Operation: goldap.DeleteAttribute, Modification: goldap.PartialAttribute{Type: "gidNumber", Vals: []string{strconv.Itoa(number)}}},
			{Operation: goldap.AddAttribute, Modification: goldap.PartialAttribute{Type: "gidNumber", Vals: []string{strconv.Itoa(next)}}}})
		if err != nil {
			return err
		}
		number = next
	}
	return connectors.Obstruct(o, "config.create.gid_numbers", "config.create.gid_numbers: another program assigns numbers of this range")
}
