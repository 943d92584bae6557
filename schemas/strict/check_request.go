package strict

import (
	"fmt"
	"strconv"

	"github.com/countersign/countersign/schemas"
)

// checkRequest checks a request and returns it.
func (d *decoder) checkRequest(r *schemas.Request) *schemas.Request {
	d.checkName(r.Connection.SourceName, "spec", "connection", "source_name")
	d.checkName(r.Connection.SourceID, "spec", "connection", "source_id")
	d.checkName(r.ReassignTo, "spec", "reassign_to")
	schemas.ByRequestKind(r.Kind, func(*schemas.Request) {}, d.checkAssignment, d.checkDeletion)(r)
	return r
}

func (d *decoder) checkDeletion(r *schemas.Request) {
	if r.ReassignTo != "" && r.ReassignTo == r.Connection.SourceName {
		d.failPath("names the connection that is deleted", "name somebody else", "spec", "reassign_to")
	}
}

func (d *decoder) checkAssignment(r *schemas.Request) {
	if len(r.Grants) == 0 && len(r.Revokes) == 0 {
		d.failPath("has neither grants nor revokes (expected one at least)", "", "spec")
	}
	d.checkEntries("grants", r.Grants)
	d.checkEntries("revokes", r.Revokes)
	d.checkTwice(r)
}

func (d *decoder) checkEntries(list string, entries []schemas.Entry) {
	for i := range entries {
		e := &entries[i]
		if f := d.nameFault(e.SourceName); f != "" {
			d.checkName(e.SourceName, "spec", list, strconv.Itoa(i), "source_name")
		}
		if e.SourceID != "" {
			d.checkName(e.SourceID, "spec", list, strconv.Itoa(i), "source_id")
		}
		for j, p := range e.Privileges {
			if f := d.nameFault(p); f != "" {
				d.failPath(f, "", "spec", list, strconv.Itoa(i), "privileges", strconv.Itoa(j))
			}
		}
		if list == "revokes" {
			if e.Starts != nil {
				d.failPath("a revoke can't have a start: it takes effect when it is merged", "remove it", "spec", list, strconv.Itoa(i), "starts")
			}
			if e.Expires != nil {
				d.failPath("a revoke can't expire: it holds until a later grant", "remove it", "spec", list, strconv.Itoa(i), "expires")
			}
			continue
		}
		if e.Starts != nil && e.Expires != nil && !e.Expires.After(*e.Starts) {
			d.failPath("is not after starts", "give it an end after its start", "spec", list, strconv.Itoa(i), "expires")
		}
	}
}

// entitlement is what must be unique in an assignment: one privilege on one target. An entry
// without privileges has "", whatever that means to the connector.
type entitlement struct {
	schemas.Name
	id, privilege string
}

// checkTwice reports duplicate entitlements in the grants, in the revokes, or in both.
func (d *decoder) checkTwice(r *schemas.Request) {
	if len(r.Grants)+len(r.Revokes) < 2 {
		return
	}
	type place struct {
		list  string
		entry int
	}
	first := make(map[entitlement]place, len(r.Grants)+len(r.Revokes))
	check := func(list string, entries []schemas.Entry) {
		for i := range entries {
			e := &entries[i]
			privileges := e.Privileges
			if len(privileges) == 0 {
				privileges = []string{""}
			}
			for j, p := range privileges {
				key := entitlement{e.Name(), e.SourceID, p}
				before, ok := first[key]
				if !ok {
					first[key] = place{list, i}
					continue
				}
				way := []string{"spec", list, strconv.Itoa(i)}
				if p != "" {
					way = append(way, "privileges", strconv.Itoa(j))
				}
				n, _ := d.lookup([]string{"spec", before.list, strconv.Itoa(before.entry)})
				what := fmt.Sprintf("duplicate in %s", list)
				if list != before.list {
					what = "is both granted and revoked"
				}
				d.failPath(fmt.Sprintf("%s (first at line %d)", what, n.Line+d.line), "remove one", way...)
			}
		}
	}
	check("grants", r.Grants)
	check("revokes", r.Revokes)
}
