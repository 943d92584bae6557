package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/reconciler/report/layout"
	"github.com/countersign/countersign/schemas"
)

// of is a name inside an application, as type/source_name.
func (b *builder) of(n schemas.Name) line { return say("{}", name(b.words.name(n).String())) }

// short is the beginning of a commit or digest, enough to recognise it.
func short(hash string) name {
	_, rest, ok := strings.Cut(hash, ":")
	if ok {
		hash = rest
	}
	return name(hash[:min(len(hash), 8)])
}

// instant is a time in UTC, without the hour at midnight.
func instant(t time.Time) literal {
	t = t.UTC()
	if t.Equal(t.Truncate(24 * time.Hour)) {
		return literal(t.Format(time.DateOnly))
	}
	return literal(t.Format("2006-01-02 15:04Z"))
}

// what is an entitlement's privilege and target: "SELECT on table/sales.orders" or "membership of user/alice".
func (b *builder) what(privilege string, target schemas.Name) line {
	switch privilege {
	case schemas.PrivilegeMember:
		return say("membership: {}", b.of(target))
	case schemas.PrivilegeAdmin:
		return say("membership with admin option: {}", b.of(target))
	}
	return say("{} on {}", name(privilege), b.of(target))
}

func (b *builder) key(k schemas.Key) line {
	return say("{}, {}", b.of(k.Connection), b.what(k.Privilege, k.Target))
}

// source says where an operation comes from.
func source(d schemas.DocumentID) line {
	if d.Index > 0 {
		return say("{} (document {})", name(d.Path), d.Index+1)
	}
	return say("{}", name(d.Path))
}

func operationMark(o *schemas.Operation) mark {
	switch o.Kind {
	case schemas.OperationCreate, schemas.OperationGrant:
		return layout.MarkAdd
	case schemas.OperationRevoke:
		return layout.MarkRemove
	case schemas.OperationDelete:
		return layout.MarkDelete
	}
	return layout.MarkChange
}

// subject is what an operation does to its connection.
func (b *builder) subject(o *schemas.Operation) line {
	switch o.Kind {
	case schemas.OperationGrant, schemas.OperationRevoke:
		if o.Target == nil {
			return say("{}", name(o.Privilege))
		}
		return b.what(o.Privilege, *o.Target)
	case schemas.OperationDelete:
		if o.ReassignTo != "" {
			return say("what it owns goes to {}", name(o.ReassignTo))
		}
		return nil
	}
	var parts []line
	for _, k := range slices.Sorted(maps.Keys(o.After)) {
		before, had := o.Before[k]
		if had {
			parts = append(parts, say("{}: {} → {}", name(k), value(before), value(o.After[k])))
		} else {
			parts = append(parts, say("{}: {}", name(k), value(o.After[k])))
		}
	}
	for _, k := range slices.Sorted(maps.Keys(o.Before)) {
		if _, stays := o.After[k]; !stays {
			parts = append(parts, say("{}: {} → unset", name(k), value(o.Before[k])))
		}
	}
	if n := len(parts) - b.list; n > 0 {
		return say("{}, and {} more", join(", ", parts[:b.list]...), n)
	}
	return join(", ", parts...)
}

func value(v any) name {
	if s, ok := v.(string); ok {
		return name(s)
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return name("(" + err.Error() + ")")
	}
	return name(raw)
}

// danger orders operations: deletions, then what is privileged, then what takes access away, then the rest.
func danger(o *schemas.Operation) int {
	switch {
	case o.Kind == schemas.OperationDelete:
		return 0
	case o.Privileged:
		return 1
	case o.Kind == schemas.OperationRevoke:
		return 2
	}
	return 3
}

// byDanger sorts the most dangerous first; within what first, if any, ranks alike.
func byDanger(ops []schemas.Operation, first func(*schemas.Operation) int) []*schemas.Operation {
	out := make([]*schemas.Operation, len(ops))
	for i := range ops {
		out[i] = &ops[i]
	}
	slices.SortStableFunc(out, func(x, y *schemas.Operation) int {
		if first != nil {
			if c := cmp.Compare(first(x), first(y)); c != 0 {
				return c
			}
		}
		return cmp.Compare(danger(x), danger(y))
	})
	return out
}

var kindWords = []struct {
	kind      schemas.OperationKind
	one, many literal
}{
	{schemas.OperationDelete, "deletion", "deletions"},
	{schemas.OperationCreate, "creation", "creations"},
	{schemas.OperationUpdate, "update", "updates"},
	{schemas.OperationGrant, "grant", "grants"},
	{schemas.OperationRevoke, "revoke", "revokes"},
}

// counts is "1 deletion, 3 grants", or nothing.
func counts(n map[schemas.OperationKind]int) line {
	var parts []line
	for _, w := range kindWords {
		if n[w.kind] > 0 {
			parts = append(parts, plural(n[w.kind], w.one, w.many))
		}
	}
	return join(", ", parts...)
}

// tally counts the operations of plans, and names the applications that have any.
func tally(plans []schemas.ApplicationPlan, counted func(*schemas.Operation) bool) (n map[schemas.OperationKind]int, total int, apps []line) {
	n = map[schemas.OperationKind]int{}
	for i := range plans {
		had := total
		for j := range plans[i].Operations {
			if o := &plans[i].Operations[j]; counted == nil || counted(o) {
				n[o.Kind]++
				total++
			}
		}
		if total > had {
			apps = append(apps, say("{}", name(plans[i].Application)))
		}
	}
	return n, total, apps
}

// places is "in warehouse", "in corp and warehouse" or "in 4 applications".
func places(apps []line) line {
	switch {
	case len(apps) == 0:
		return nil
	case len(apps) > 2:
		return say(" in {} applications", len(apps))
	}
	return say(" in {}", list(apps, 0))
}

// effects are sentences about who gains and who loses what.
func (b *builder) effects(gained, lost []schemas.Access) []line {
	out := append(b.effect(lost, "loses", "lose", "is no longer a member", "are no longer members", bad),
		b.effect(gained, "gains", "gain", "becomes a member", "become members", good)...)
	if n := len(out) - b.bounds.effects; n > 0 {
		out = append(out[:b.bounds.effects:b.bounds.effects], say("and {} more changes of access", n).In(faint))
	}
	return out
}

func (b *builder) effect(list []schemas.Access, one, many, member, members literal, s layout.Style) []line {
	type right struct {
		target    schemas.Name
		privilege string
	}
	holders := map[right][]schemas.Name{}
	var order []right
	for _, a := range list {
		r := right{a.Target, a.Privilege}
		if _, ok := holders[r]; !ok {
			order = append(order, r)
		}
		if !slices.Contains(holders[r], a.Identity) {
			holders[r] = append(holders[r], a.Identity)
		}
	}
	var out []line
	done := map[right]bool{}
	for _, r := range order {
		if done[r] {
			continue
		}
		who := holders[r]
		identities := plural(len(who), "identity", "identities")
		if r.privilege == schemas.PrivilegeMember {
			verb := members
			if len(who) == 1 {
				verb = member
			}
			out = append(out, say("{} {} of {}: {}", identities, say("{}", verb).In(s), b.of(r.target), b.people(who)))
			continue
		}
		// Privileges on one target that the same people gain stand in one sentence.
		privileges := []line{say("{}", name(r.privilege))}
		for _, o := range order {
			if o != r && !done[o] && o.target == r.target && o.privilege != schemas.PrivilegeMember && slices.Equal(holders[o], who) {
				privileges = append(privileges, say("{}", name(o.privilege)))
				done[o] = true
			}
		}
		verb := many
		if len(who) == 1 {
			verb = one
		}
		out = append(out, say("{} {} {} on {}: {}", identities, say("{}", verb).In(s), join(", ", privileges...), b.of(r.target), b.people(who)))
	}
	return out
}

// people lists identities, without their type where it says nothing.
func (b *builder) people(who []schemas.Name) line {
	var lines []line
	for _, n := range who {
		if n.Type == "user" {
			lines = append(lines, say("{}", name(b.words.name(n).SourceName)))
		} else {
			lines = append(lines, b.of(n))
		}
	}
	return list(lines, b.names)
}

// cause says why an operation is there; documents are named apart.
func cause(o *schemas.Operation) literal {
	switch o.Cause {
	case schemas.CauseStart:
		return "its start has come"
	case schemas.CauseExpiry:
		return "the grant has expired"
	case schemas.CauseUndo:
		return "its request was removed from Git"
	case schemas.CauseDrift:
		return "changed by hand since it was verified"
	case schemas.CauseUnmanaged:
		return "no request ever asked for it"
	}
	return ""
}

// why is the cause and the documents of an operation.
func (b *builder) why(o *schemas.Operation) line {
	var docs []line
	for _, d := range o.Documents {
		docs = append(docs, source(d))
	}
	c := line(nil)
	if w := cause(o); w != "" {
		c = say("{}", w)
	}
	if len(docs) == 0 {
		return c
	}
	if !c.Empty() {
		return say("{}; see {}", c, list(docs, b.names))
	}
	return say("asked for in {}", list(docs, b.names))
}

// release says what lets a held operation go ahead, where the reason does not.
func release(h schemas.Hold) literal {
	switch h {
	case schemas.HoldObserve:
		return "released by mode: add or full in the application's file"
	case schemas.HoldAdd:
		return "released by mode: full in the application's file"
	case schemas.HoldUnknown:
		return "released by a run that reads everything"
	case schemas.HoldFirstRun:
		return "released by an owner's Acknowledgement"
	case schemas.HoldBudget:
		return "released by higher limits or a BudgetOverride"
	case schemas.HoldDrift:
		return "released by countersign drift --enforce"
	case schemas.HoldProtected:
		return "never released: change it in the application itself"
	case schemas.HoldIdentity:
		return "released by a new request that is approved for the present account"
	case schemas.HoldProvision:
		return "released by another provisioning"
	case schemas.HoldDeclined:
		return "asked for again then, or undo the request"
	}
	return ""
}

// waits is why an operation waits, in a word or two.
func waits(h schemas.Hold) line {
	if h == schemas.HoldPending {
		return say("pending")
	}
	return say("held: {}", word(h))
}

// saysRelease says whether the reason of a hold tells by itself what releases it.
func saysRelease(reason string) bool {
	for _, w := range []string{"mends it", "Acknowledgement", "BudgetOverride", "source_id", "anew", "use direct", "use webhook", "an owner adds", "undo the request", "asked for again"} {
		if strings.Contains(reason, w) {
			return true
		}
	}
	return false
}

// holds lists why operations wait, each reason once.
func (b *builder) holds(ops []schemas.Operation) items {
	type group struct {
		hold   schemas.Hold
		reason line
		count  int
	}
	byID := map[string]*schemas.Operation{}
	for i := range ops {
		byID[ops[i].ID] = &ops[i]
	}
	groups := map[string]*group{}
	var order []string
	for i := range ops {
		o := &ops[i]
		if o.Hold == schemas.HoldNone {
			continue
		}
		reason, id := say("{}", o.HoldReason), string(o.Hold)+"\x00"+o.HoldReason
		if o.HoldReason == "" {
			reason = nil
		} else if !saysRelease(o.HoldReason) {
			for _, d := range o.DependsOn {
				// The reason names an operation by its id, which says nothing to people.
				if dep := byID[d]; dep != nil && dep.Hold != schemas.HoldNone && d != "" && strings.Contains(o.HoldReason, d) {
					reason, id = say("it needs the {} of {}, which waits too", word(dep.Kind), b.of(dep.Connection)), "\x00"+string(o.Hold)+d
				}
			}
		}
		g := groups[id]
		if g == nil {
			g = &group{hold: o.Hold, reason: reason}
			if !saysRelease(o.HoldReason) {
				if r := release(o.Hold); r != "" {
					g.reason = join("; ", reason, say("{}", r))
				}
			}
			groups[id] = g
			order = append(order, id)
		}
		g.count++
	}
	var out items
	for i, id := range order {
		if i == b.list {
			out = append(out, entry(layout.MarkWait, more(len(order)-i, "reasons to wait")))
			break
		}
		g := groups[id]
		if g.hold == schemas.HoldPending {
			out = append(out, entry(layout.MarkWait, say("{}: {}", say("{} pending", g.count).In(caution), g.reason)))
			continue
		}
		out = append(out, entry(layout.MarkWait, say("{} ({}): {}", say("{} held", g.count).In(caution), word(g.hold), g.reason)))
	}
	return out
}

// common is the documents of all operations, when they are the same for all and there is more than one operation.
func common(ops []schemas.Operation) []schemas.DocumentID {
	if len(ops) < 2 {
		return nil
	}
	for i := range ops {
		if ops[i].Cause != schemas.CauseRequest || !slices.Equal(ops[i].Documents, ops[0].Documents) {
			return nil
		}
	}
	return ops[0].Documents
}

// progress is what became of operations: what to show of each and which to show first. The zero value is
// for operations that are only planned.
type progress struct {
	state func(*schemas.Operation) (line, []line)
	rank  func(*schemas.Operation) int
}

// changes is the table of operations, the most dangerous first. noEffect has it said where an operation
// changes nobody's access; only who knows the live state can tell.
func (b *builder) changes(ops []schemas.Operation, noEffect bool, p progress) []block {
	if len(ops) == 0 {
		return nil
	}
	if b.grouped {
		return b.connections(ops)
	}
	t := table{Head: []literal{"Operation", "State", "Connection", "What", "Until", "Risk"}, More: "Effect"}
	shared := common(ops)
	sorted := byDanger(ops, p.rank)
	for i, o := range sorted {
		if i == b.rows {
			break
		}
		r := row{Mark: operationMark(o), Cells: []line{word(o.Kind), nil, b.of(o.Connection), b.subject(o), nil, nil}}
		if o.Expires != nil {
			r.Cells[4] = say("until {}", instant(*o.Expires))
		}
		if o.Privileged {
			r.Cells[5] = say("privileged").In(bad)
		}
		effects := b.effects(o.Gained, o.Lost)
		if len(effects) == 0 && noEffect && o.Kind != schemas.OperationCreate && o.Kind != schemas.OperationUpdate {
			effects = []line{say("nobody's effective access changes by it").In(faint)}
		}
		r.More = append(r.More, effects...)
		if shared == nil {
			if w := b.why(o); !w.Empty() {
				r.More = append(r.More, w.In(faint))
			}
		}
		if o.Hold != schemas.HoldNone {
			r.Cells[1] = waits(o.Hold).In(caution)
		}
		if p.state != nil {
			s, detail := p.state(o)
			if !s.Empty() {
				r.Cells[1] = s
			}
			r.More = append(r.More, detail...)
		}
		t.Rows = append(t.Rows, r)
	}
	out := []block{t}
	if n := len(sorted) - len(t.Rows); n > 0 {
		out = append(out, para(more(n, "operations")))
	}
	if shared != nil {
		var docs []line
		for _, d := range shared {
			docs = append(docs, source(d))
		}
		out = append(out, para(say("All asked for in {}", list(docs, b.names)).In(faint)))
	}
	if h := b.holds(ops); len(h) > 0 {
		out = append(out, h)
	}
	return out
}

// connections is the table of operations counted by connection, for when there is no room for each.
func (b *builder) connections(ops []schemas.Operation) []block {
	if !b.tables {
		n, _, _ := tally([]schemas.ApplicationPlan{{Operations: ops}}, nil)
		return []block{para(say("{}; --format json has all", counts(n)))}
	}
	type group struct {
		name           schemas.Name
		n              map[schemas.OperationKind]int
		danger         int
		privileged     bool
		held           int
		gained, losing map[schemas.Name]bool
	}
	groups := map[schemas.Name]*group{}
	var order []*group
	for _, o := range byDanger(ops, nil) {
		g := groups[o.Connection]
		if g == nil {
			g = &group{name: o.Connection, n: map[schemas.OperationKind]int{}, danger: danger(o), gained: map[schemas.Name]bool{}, losing: map[schemas.Name]bool{}}
			groups[o.Connection] = g
			order = append(order, g)
		}
		g.n[o.Kind]++
		g.privileged = g.privileged || o.Privileged
		if o.Hold != schemas.HoldNone {
			g.held++
		}
		for _, a := range o.Gained {
			g.gained[a.Identity] = true
		}
		for _, a := range o.Lost {
			g.losing[a.Identity] = true
		}
	}
	t := table{Head: []literal{"Connection", "Operations", "Identities", "Risk", "State"}}
	for i, g := range order {
		if i == b.rows {
			break
		}
		r := row{Mark: layout.MarkChange, Cells: []line{b.of(g.name), counts(g.n), nil, nil, nil}}
		if g.danger == 0 {
			r.Mark = layout.MarkDelete
		}
		var who []line
		if len(g.losing) > 0 {
			who = append(who, say("{} lose access", len(g.losing)))
		}
		if len(g.gained) > 0 {
			who = append(who, say("{} gain access", len(g.gained)))
		}
		r.Cells[2] = join(", ", who...)
		if g.privileged {
			r.Cells[3] = say("privileged").In(bad)
		}
		if g.held > 0 {
			r.Cells[4] = say("{} held", g.held).In(caution)
		}
		t.Rows = append(t.Rows, r)
	}
	out := []block{t}
	if n := len(order) - len(t.Rows); n > 0 {
		out = append(out, para(more(n, "connections")))
	}
	if h := b.holds(ops); len(h) > 0 {
		out = append(out, h)
	}
	return out
}

// application is the title of a section about one application.
func application(p *schemas.ApplicationPlan) line {
	about := []line{}
	if p.Connector != "" {
		about = append(about, say("{}", name(p.Connector)))
	}
	if p.Mode != "" {
		about = append(about, say("mode {}", name(p.Mode)))
	}
	if !p.ReadAt.IsZero() {
		about = append(about, say("read {}", instant(p.ReadAt)))
	}
	if len(about) == 0 {
		return say("{}", name(p.Application))
	}
	return say("{} ({})", name(p.Application), join(", ", about...))
}

// beside is what a plan has besides operations.
func (b *builder) beside(p *schemas.ApplicationPlan, listed bool) []block {
	var out []block
	if p.Incomplete != "" {
		out = append(out, items{entry(layout.MarkWarn, say("{} {}", say("INCOMPLETE: the live state is not known whole:").In(bad), b.sentence(p.Incomplete)))})
	}
	if p.Attested {
		out = append(out, items{entry(layout.MarkInfo, say("attested: it shows what was said to be done. Nothing can be read here, so drift is unknown"))})
	}
	if len(p.Pending) > 0 {
		var l items
		for i, e := range p.Pending {
			if i == b.list {
				l = append(l, entry(layout.MarkWait, more(len(p.Pending)-i, "pending")))
				break
			}
			l = append(l, entry(layout.MarkWait, say("pending: {} ({})", b.key(e.Key), e.State)))
		}
		out = append(out, l)
	}
	keys := func(list []schemas.Key, m mark, one, many literal, advice literal) {
		if len(list) == 0 {
			return
		}
		it := entry(m, say("{}: {}", plural(len(list), one, many), advice))
		if listed {
			for i, k := range list {
				if i == b.list {
					it.More = append(it.More, more(len(list)-i, "entitlements"))
					break
				}
				it.More = append(it.More, b.key(k))
			}
		}
		out = append(out, items{it})
	}
	keys(p.Overdue, layout.MarkWarn, "grant has expired and is still there", "grants have expired and are still there", "held back as said above")
	keys(unmanaged(p), layout.MarkInfo, "unmanaged entitlement", "unmanaged entitlements", "never requested; a revoke takes it away, a grant makes it managed")
	if f := b.findings(p.Findings); len(f) > 0 {
		out = append(out, f)
	}
	return out
}

// sentence is a foreign message of several lines as one.
func (b *builder) sentence(s string) line {
	var parts []line
	lines := strings.FieldsFunc(s, func(r rune) bool { return r == '\n' })
	for i, l := range lines {
		if i == 5 {
			parts = append(parts, say("and {} more lines", len(lines)-i))
			break
		}
		parts = append(parts, say("{}", strings.TrimSpace(l)))
	}
	return join("; ", parts...)
}

// findings is a list of findings with their places, errors first.
func (b *builder) findings(list []schemas.Finding) items {
	rank := map[string]int{"error": 0, "warning": 1}
	sorted := slices.Clone(list)
	slices.SortStableFunc(sorted, func(x, y schemas.Finding) int {
		order := func(f schemas.Finding) int {
			if n, ok := rank[f.Severity]; ok {
				return n
			}
			return 2
		}
		return cmp.Compare(order(x), order(y))
	})
	var out items
	for i, f := range sorted {
		if i == b.list {
			out = append(out, entry(layout.MarkWarn, more(len(sorted)-i, "findings")))
			break
		}
		m, severity := layout.MarkInfo, say("info").In(faint)
		switch f.Severity {
		case "error":
			m, severity = layout.MarkNo, say("error").In(bad)
		case "warning":
			m, severity = layout.MarkWarn, say("warning").In(caution)
		}
		at := place(f)
		if at.Empty() && f.Connection != (schemas.Name{}) {
			at = b.of(f.Connection)
			if f.Application != "" {
				at = say("{} in {}", at, name(f.Application))
			}
		}
		head := join(" ", severity, at)
		if f.Code != "" {
			head = say("{} ({})", head, name(f.Code))
		}
		it := entry(m, say("{}: {}", head, b.sentence(f.Message)))
		if f.Fix != "" {
			it.More = append(it.More, say("fix: {}", b.sentence(f.Fix)))
		}
		out = append(out, it)
	}
	return out
}

// place is path:line:column.
func place(f schemas.Finding) line {
	p := f.Position
	if p.Path == "" {
		if f.Document.Path == "" {
			return nil
		}
		return source(f.Document)
	}
	return position(p.Path, p.Line, p.Column)
}

func position(path string, l, column int) line {
	switch {
	case path == "":
		return nil
	case l == 0:
		return say("{}", name(path))
	case column == 0:
		return say("{}", name(fmt.Sprintf("%s:%d", path, l)))
	}
	return say("{}", name(fmt.Sprintf("%s:%d:%d", path, l, column)))
}

// unmanaged are the entitlements that no request mentioned and that no operation of the plan takes away.
func unmanaged(p *schemas.ApplicationPlan) []schemas.Key {
	taken := map[schemas.Key]bool{}
	for i := range p.Operations {
		if o := &p.Operations[i]; o.Cause == schemas.CauseUnmanaged {
			taken[o.Key()] = true
		}
	}
	var out []schemas.Key
	for _, k := range p.Unmanaged {
		if !taken[k] {
			out = append(out, k)
		}
	}
	return out
}
