package plan_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/reconciler/hold"
	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/schemas"
)

// day is midnight of the nth day of the tests' calendar.
func day(n int) time.Time { return time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, n) }

func name(s string) schemas.Name {
	typ, source, _ := strings.Cut(s, "/")
	return schemas.Name{Type: typ, SourceName: source}
}

func description() schemas.Description {
	all := func(t schemas.GrantableType) schemas.GrantableType {
		t.Grant, t.Revoke = true, true
		return t
	}
	membership := []string{schemas.PrivilegeMember, schemas.PrivilegeAdmin}
	return schemas.Description{
		Name: "sim", Title: "Simulation",
		Types: []schemas.ConnectionType{
			{
				Name: "role", Create: true, Update: true, Delete: true, Reassign: true,
				Payload: json.RawMessage(`{"type":"object","properties":{
					"login":{"type":"boolean","default":false},"limit":{"type":"integer","default":-1},
					"superuser":{"type":"boolean"},"comment":{"type":"string"}}}`),
				PrivilegedFields: []string{"superuser", "login"},
				Privileged:       []string{"root"},
				Grantable: []schemas.GrantableType{
					all(schemas.GrantableType{Type: "table", Edge: schemas.EdgeResource, Privileges: []string{"SELECT", "INSERT"}, Default: []string{"SELECT"},
						PrivilegedPrivileges: []string{"INSERT"}}),
					all(schemas.GrantableType{Type: "schema", Edge: schemas.EdgeResource, Privileges: []string{"USAGE"}}),
					all(schemas.GrantableType{Type: "role", Edge: schemas.EdgeConnection, Privileges: membership, Default: membership[:1],
						Privileged: []string{"root"}}),
					all(schemas.GrantableType{Type: "user", Edge: schemas.EdgeIdentity, Privileges: membership, Default: membership[:1]}),
					all(schemas.GrantableType{Type: "guest", Edge: schemas.EdgeMember, Alias: "role", Privileges: membership, Default: membership[:1]}),
					{Type: "frozen", Edge: schemas.EdgeResource, Privileges: []string{"READ"}, Default: []string{"READ"}},
				},
			},
			{
				Name: "team", // neither made nor deleted by us
				Grantable: []schemas.GrantableType{
					all(schemas.GrantableType{Type: "team", Edge: schemas.EdgeMember, Privileges: membership[:1], Default: membership[:1]}),
					all(schemas.GrantableType{Type: "user", Edge: schemas.EdgeIdentity, Privileges: membership[:1], Default: membership[:1]}),
					all(schemas.GrantableType{Type: "table", Edge: schemas.EdgeResource, Privileges: []string{"SELECT"}, Default: []string{"SELECT"}}),
				},
			},
		},
	}
}

func application() *schemas.Application {
	return &schemas.Application{Name: "app", Spec: schemas.ApplicationSpec{
		Connector: "sim", Mode: schemas.ModeFull, Unmanaged: schemas.UnmanagedReport, Provisioning: schemas.ProvisioningDirect,
		Scope:     map[string][]string{"role": {"*"}, "team": {"*"}},
		Grantable: map[string][]string{"table": {"*"}, "schema": {"*"}, "frozen": {"*"}},
	}}
}

// world is an access repository beside an application in memory. Steps are sentences:
//
//	C role/a login=true            a creation, in a commit of its own; null leaves an attribute alone
//	A role/a +user/x -table/t      an assignment: grants and revokes
//	D role/a reassign=b            a deletion
//	undo 2                         the second document is removed
//	edit 2 A role/a +user/x        the second document becomes this
//	day 3                          the instant
//	run                            plan, carry out all that is not held, read back, remember
//	live role/a#7 login=true user/x:MEMBER   somebody makes the connection what it says
//	live -role/a                   somebody deletes it
//	forget                         the baseline is lost
//
// An entry is target[#id][:PRIVILEGE,…][@from..to] with days.
type world struct {
	t        testing.TB
	app      *schemas.Application
	desc     schemas.Description
	now      time.Time
	commit   int
	docs     []*plan.Document
	live     map[schemas.Name]schemas.Connection
	baseline map[string]schemas.BaselineItem
	ids      int
	adjust   func(*plan.Input)
	rules    hold.Rules
}

func newWorld(t testing.TB) *world {
	return &world{t: t, app: application(), desc: description(), now: day(0), rules: hold.Rules{Enforce: true},
		live: map[schemas.Name]schemas.Connection{}, baseline: map[string]schemas.BaselineItem{}}
}

func (w *world) steps(list ...string) *world {
	for _, s := range list {
		w.step(s)
	}
	return w
}

func (w *world) step(s string) {
	f := strings.Fields(s)
	switch f[0] {
	case "C", "A", "D":
		w.add(w.request(f))
	case "undo":
		w.undo(w.number(f[1]))
	case "edit":
		w.commit++
		d := w.docs[w.number(f[1])]
		d.Current.Until = w.commit
		d.Former = append(d.Former, d.Current)
		d.Current = &plan.Version{Blob: fmt.Sprintf("b%d", w.commit), Request: w.request(f[2:])}
	case "day":
		n, err := strconv.Atoi(f[1])
		if err != nil {
			w.t.Fatal(err)
		}
		w.now = day(n)
	case "run":
		w.run()
	case "forget":
		clear(w.baseline)
	case "rebind": // what an owner's Acknowledgement after a restore does; the arguments are who exists: type/name#id
		in := w.input()
		in.Targets = map[schemas.Name][]schemas.Item{}
		for _, s := range f[1:] {
			s, id, _ := strings.Cut(s, "#")
			in.Targets[name(s)] = []schemas.Item{{Name: name(s), NativeID: id}}
		}
		for res := plan.Diff(in); ; res = plan.Diff(in) {
			if len(res.Lookups) == 0 {
				for _, r := range res.Rebound {
					w.baseline[r.Item] = r.BaselineItem
				}
				return
			}
			for _, n := range res.Lookups {
				in.Targets[n] = nil // nobody has that name
			}
		}
	case "live":
		if gone, ok := strings.CutPrefix(f[1], "-"); ok {
			w.drop(name(gone))
			return
		}
		c := parseLive(s[len("live "):])
		if c.NativeID == "" {
			c.NativeID = w.nextID()
			if old, ok := w.live[c.Name]; ok {
				c.NativeID = old.NativeID
			}
		}
		w.live[c.Name] = c
	default:
		w.t.Fatalf("no step: %s", s)
	}
}

func (w *world) number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > len(w.docs) {
		w.t.Fatalf("no document %s", s)
	}
	return n - 1
}

func (w *world) nextID() string {
	w.ids++
	return strconv.Itoa(w.ids)
}

func (w *world) add(r *schemas.Request) *plan.Document {
	w.commit++
	n := len(w.docs) + 1
	d := &plan.Document{Place: schemas.Place{Commit: w.commit, Path: strconv.Itoa(n)}, Current: &plan.Version{Blob: fmt.Sprintf("b%d", w.commit), Request: r}}
	w.docs = append(w.docs, d)
	return d
}

func (w *world) undo(i int) {
	w.commit++
	d := w.docs[i]
	if d.Current == nil {
		return
	}
	v := *d.Current
	v.Until = w.commit
	d.Former, d.Current = append(d.Former, &v), nil
}

func (w *world) request(f []string) *schemas.Request {
	n := name(f[1])
	r := &schemas.Request{Application: "app", Connection: schemas.ConnectionRef{Type: n.Type, SourceName: n.SourceName}}
	r.Connection.SourceName, r.Connection.SourceID, _ = strings.Cut(r.Connection.SourceName, "#")
	switch f[0] {
	case "C":
		r.Kind, r.Payload = schemas.KindConnectionCreation, attributes(f[2:])
	case "D":
		r.Kind = schemas.KindConnectionDeletion
		for _, s := range f[2:] {
			r.ReassignTo = strings.TrimPrefix(s, "reassign=")
		}
	case "A":
		r.Kind = schemas.KindConnectionAssignment
		for _, s := range f[2:] {
			if p, ok := strings.CutPrefix(s, "provisioning="); ok {
				r.Provisioning = schemas.Provisioning(p)
				continue
			}
			e := entry(w.t, s[1:])
			if s[0] == '+' {
				r.Grants = append(r.Grants, e)
			} else {
				r.Revokes = append(r.Revokes, e)
			}
		}
	default:
		w.t.Fatalf("no request: %v", f)
	}
	return r
}

func attributes(f []string) map[string]any {
	out := map[string]any{}
	for _, s := range f {
		k, v, _ := strings.Cut(s, "=")
		switch n, err := strconv.Atoi(v); {
		case err == nil:
			out[k] = n
		case v == "true" || v == "false":
			out[k] = v == "true"
		case v == "null":
			out[k] = nil
		default:
			out[k] = v
		}
	}
	return out
}

func entry(t testing.TB, s string) schemas.Entry {
	s, window, _ := strings.Cut(s, "@")
	target, privs, _ := strings.Cut(s, ":")
	target, id, _ := strings.Cut(target, "#")
	n := name(target)
	e := schemas.Entry{Type: n.Type, SourceName: n.SourceName, SourceID: id}
	if privs != "" {
		e.Privileges = strings.Split(privs, ",")
	}
	at := func(s string) *time.Time {
		if s == "" {
			return nil
		}
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		x := day(n)
		return &x
	}
	from, to, _ := strings.Cut(window, "..")
	e.Starts, e.Expires = at(from), at(to)
	return e
}

// parseLive reads name[#id] attribute=value … target:PRIVILEGE[#id][!state] … protected=why.
func parseLive(s string) schemas.Connection {
	f := strings.Fields(s)
	n, id, _ := strings.Cut(f[0], "#")
	c := schemas.Connection{Name: name(n), NativeID: id, Payload: map[string]any{}}
	if c.Type == "role" {
		c.Payload = map[string]any{"login": false, "limit": -1, "superuser": false, "comment": ""}
	}
	for _, s := range f[1:] {
		if why, ok := strings.CutPrefix(s, "protected="); ok {
			c.Protected = why
			continue
		}
		if !strings.Contains(s, "/") {
			maps.Copy(c.Payload, attributes([]string{s}))
			continue
		}
		s, state, _ := strings.Cut(s, "!")
		s, id, _ := strings.Cut(s, "#")
		target, priv, _ := strings.Cut(s, ":")
		c.Entitlements = append(c.Entitlements, schemas.Entitlement{Target: name(target), TargetID: id, Privilege: priv, State: schemas.EntitlementState(state)})
	}
	sortEntitlements(c.Entitlements)
	return c
}

func sortEntitlements(l []schemas.Entitlement) {
	slices.SortStableFunc(l, func(a, b schemas.Entitlement) int {
		return schemas.Key{Target: a.Target, Privilege: a.Privilege}.Compare(schemas.Key{Target: b.Target, Privilege: b.Privilege})
	})
}

func (w *world) state() schemas.State {
	var s schemas.State
	for _, n := range slices.SortedFunc(maps.Keys(w.live), schemas.Name.Compare) {
		c := w.live[n]
		c.Payload = maps.Clone(c.Payload)
		c.Entitlements = slices.Clone(c.Entitlements)
		s.Connections = append(s.Connections, c)
	}
	return s
}

func (w *world) fold() *plan.Desired { return plan.Fold(w.docs, w.desc, w.now) }

func (w *world) input() plan.Input {
	in := plan.Input{Application: w.app, Description: w.desc, Desired: w.fold(), Live: w.state(), Now: w.now,
		Baseline: func(item string) (schemas.BaselineItem, bool) { b, ok := w.baseline[item]; return b, ok }}
	if w.adjust != nil {
		w.adjust(&in)
	}
	return in
}

func (w *world) diff() plan.Result { return plan.Diff(w.input()) }

// run is what the reconciler does: carry out, read back, remember.
func (w *world) run() plan.Result {
	res := w.diff()
	hold.Operations(&res.Plan, w.rules)
	done := map[string]*schemas.Operation{}
	for i := range res.Plan.Operations {
		if o := &res.Plan.Operations[i]; o.Hold == schemas.HoldNone {
			if err := w.apply(o); err != nil {
				w.t.Fatalf("%s: %v", line(o), err)
			}
			done[plan.OperationItem(o)] = o
		}
	}
	after := w.diff()
	for _, s := range after.Settled {
		if o := done[s.Item]; o != nil {
			s.Made = true
			delete(done, s.Item)
		}
		w.baseline[s.Item] = s
	}
	for item, o := range done {
		w.baseline[item] = schemas.BaselineItem{Item: item, Token: res.Tokens[o.ID], Made: true, NativeID: w.baseline[item].NativeID}
	}
	return after
}

func (w *world) drop(n schemas.Name) {
	delete(w.live, n)
	for k, c := range w.live {
		c.Entitlements = slices.DeleteFunc(slices.Clone(c.Entitlements), func(e schemas.Entitlement) bool { return e.Target == n })
		w.live[k] = c
	}
}

// apply is strict: what an operation needs must be there, and what it makes must not.
func (w *world) apply(o *schemas.Operation) error {
	c, there := w.live[o.Connection]
	if o.Kind == schemas.OperationCreate {
		if there {
			return fmt.Errorf("%s is there", o.Connection)
		}
		c = parseLive(o.Connection.String())
		c.NativeID = w.nextID()
		maps.Copy(c.Payload, o.After)
		w.live[o.Connection] = c
		return nil
	}
	if !there {
		return fmt.Errorf("%s is not there", o.Connection)
	}
	if c.Protected != "" {
		return fmt.Errorf("%s is protected", o.Connection)
	}
	i := slices.IndexFunc(c.Entitlements, func(e schemas.Entitlement) bool {
		return o.Target != nil && e.Target == *o.Target && e.Privilege == o.Privilege && (o.Kind == schemas.OperationGrant || e.TargetID == o.TargetID)
	})
	switch o.Kind {
	case schemas.OperationUpdate:
		c.Payload = maps.Clone(c.Payload)
		maps.Copy(c.Payload, o.After)
	case schemas.OperationGrant:
		if i >= 0 {
			return fmt.Errorf("%s has it", o.Connection)
		}
		if _, ok := w.live[*o.Target]; !ok && o.Target.Type == "role" {
			return fmt.Errorf("%s is not there", *o.Target)
		}
		c.Entitlements = append(slices.Clone(c.Entitlements), schemas.Entitlement{Target: *o.Target, TargetID: o.TargetID, Privilege: o.Privilege})
		sortEntitlements(c.Entitlements)
	case schemas.OperationRevoke:
		if i < 0 {
			return fmt.Errorf("%s does not have it", o.Connection)
		}
		c.Entitlements = slices.Delete(slices.Clone(c.Entitlements), i, i+1)
	case schemas.OperationDelete:
		w.drop(o.Connection)
		return nil
	}
	w.live[o.Connection] = c
	return nil
}
