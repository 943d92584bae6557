package reconciler_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/countersign/countersign/connectors/connectortest/servers"
	"github.com/countersign/countersign/reconciler"
	"github.com/countersign/countersign/schemas"
)

// TestRandomPostgreSQL plays random requests and changes by hand on a PostgreSQL: names that change, accounts that are locked
// or become groups, objects that are dropped and made again, privileges of everybody. After each run the catalogue must
// hold what an independent model allows, and nothing else of it may have changed.
func TestRandomPostgreSQL(t *testing.T) {
	t.Parallel()
	server := servers.PostgreSQL(t)
	for seed := range max(1, *randomSeeds/3) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			m := newCatalogueModel(t, server, uint64(seed))
			for range 18 {
				m.step()
				if m.random.IntN(2) > 0 {
					m.run()
				}
			}
			m.run()
		})
	}
}

// catalogueModel knows which edges documents grant, and the oid that each was in force with. Edges are "role target", by the
// names in the requests. It knows nothing of plans.
type catalogueModel struct {
	*crm
	conn   *pgx.Conn
	random *rand.Rand
	docs   []*modelDocument
	// bound is the oid of the target with which an edge was in force last; fresh are edges that a document granted since.
	bound map[string]string
	fresh map[string]bool
	// names are the present names by the first ones, of roles, users and tables; "" for what is dropped.
	names map[string]string
	log   []string
}

func newCatalogueModel(t *testing.T, server *servers.Postgres, seed uint64) *catalogueModel {
	w := newWarehouse(t, server, fmt.Sprint("rnd", seed))
	m := &catalogueModel{crm: w, random: rand.New(rand.NewPCG(seed, 7)), bound: map[string]string{}, fresh: map[string]bool{}, names: map[string]string{}}
	var err error
	if m.conn, err = pgx.Connect(t.Context(), server.DSN("admin", w.name)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.conn.Close(t.Context()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	m.exec("CREATE ROLE %[1]s_alice LOGIN", "CREATE ROLE %[1]s_erin LOGIN", "CREATE ROLE %[1]s_stranger LOGIN")
	app := w.Git("show", "main:applications/crm.yaml") + "\n"
	w.land(files{"countersign.yaml": settings("limits: {revokes: 1000, deletions: 100}\n"),
		"applications/crm.yaml": strings.Replace(app, "grantable: {", `grantable: {user: ["`+w.name+`_*"], `, 1)})
	w.land(files{"requests/roles.yaml": w.creation("one") + "---\n" + w.creation("two")})
	w.mustRun()
	for _, n := range slices.Concat(m.roles(), m.targets()) {
		m.names[n] = n
	}
	return m
}

func (m *catalogueModel) roles() []string { return []string{m.role("one"), m.role("two")} }

func (m *catalogueModel) targets() []string {
	return []string{m.name + "_alice", m.name + "_erin", "sales.orders", "sales.payroll"}
}

func (m *catalogueModel) note(format string, args ...any) {
	m.log = append(m.log, fmt.Sprintf(format, args...))
}

func (m *catalogueModel) fail(format string, args ...any) {
	m.t.Helper()
	m.t.Fatalf("%s\nafter:\n%s", fmt.Sprintf(format, args...), strings.Join(m.log, "\n"))
}

// exec carries out statements by hand; %[1]s in them is the name of the database.
func (m *catalogueModel) exec(statements ...string) {
	m.t.Helper()
	for _, s := range statements {
		if strings.Contains(s, "%") {
			s = fmt.Sprintf(s, m.name)
		}
		m.note("  %s", s)
		if _, err := m.conn.Exec(m.t.Context(), s); err != nil {
			m.fail("%v", err)
		}
	}
}

// rows are the lines that a query returns.
func (m *catalogueModel) rows(sql string, args ...any) []string {
	m.t.Helper()
	rows, err := m.conn.Query(m.t.Context(), sql, args...)
	if err != nil {
		m.fail("%v", err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		m.fail("%v", err)
	}
	return out
}

// oids are those of roles, users and tables, by their present name.
func (m *catalogueModel) oids() map[string]string {
	out := map[string]string{}
	for _, line := range m.rows(`SELECT rolname || ' ' || oid FROM pg_roles UNION ALL
		SELECT n.nspname || '.' || c.relname || ' ' || c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'sales'`) {
		name, oid, _ := strings.Cut(line, " ")
		out[name] = oid
	}
	return out
}

// edges are what the roles in scope hold: "role oid", by the role's first name and the target's oid.
func (m *catalogueModel) edges() []string {
	m.t.Helper()
	first := map[string]string{}
	for n, today := range m.names {
		first[today] = n
	}
	var out []string
	for _, line := range m.rows(`SELECT g.rolname || ' ' || a.member FROM pg_auth_members a JOIN pg_roles g ON g.oid = a.roleid JOIN pg_roles u ON u.oid = a.member
		WHERE g.rolname LIKE $1 || '\_r%' AND u.rolname NOT LIKE '%\_apply' UNION
		SELECT g.rolname || ' ' || c.oid FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) x JOIN pg_roles g ON g.oid = x.grantee WHERE g.rolname LIKE $1 || '\_r%' AND c.relowner <> g.oid`, m.name) {
		role, oid, _ := strings.Cut(line, " ")
		if n := first[role]; n != "" {
			role = n
		}
		out = append(out, role+" "+oid)
	}
	return out
}

// outside is the catalogue without what the roles in scope are and hold.
func (m *catalogueModel) outside() []string {
	return m.rows(`SELECT 'role ' || rolname || ' ' || oid || rolsuper || rolinherit || rolcreaterole || rolcreatedb || rolcanlogin || rolbypassrls FROM pg_roles WHERE rolname LIKE $1 || '\_%' AND rolname NOT LIKE $1 || '\_r%'
		UNION ALL SELECT 'member ' || g.rolname || ' ' || u.rolname || a.admin_option FROM pg_auth_members a JOIN pg_roles g ON g.oid = a.roleid JOIN pg_roles u ON u.oid = a.member
			WHERE g.rolname LIKE $1 || '\_%' AND g.rolname NOT LIKE $1 || '\_r%' AND u.rolname NOT LIKE $1 || '\_r%'
		UNION ALL SELECT 'table ' || c.oid || c.relname || c.relowner || coalesce((SELECT string_agg(x.grantee || x.privilege_type, ',' ORDER BY x.grantee, x.privilege_type) FROM aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) x
			LEFT JOIN pg_roles r ON r.oid = x.grantee WHERE r.rolname IS NULL OR r.rolname NOT LIKE $1 || '\_r%'), '') FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'sales' AND c.relkind = 'r'
		ORDER BY 1`, m.name)
}

// step is a request, an undone one, time that passes, or a change by hand.
func (m *catalogueModel) step() {
	switch n := m.random.IntN(20); {
	case n < 6:
		m.request()
	case n < 8:
		m.undo()
	case n < 10:
		d := time.Duration(20+m.random.IntN(120)) * time.Minute
		m.later(d)
		m.note("%s pass", d)
	default:
		m.hand()
	}
}

func one(r *rand.Rand, list []string) string { return list[r.IntN(len(list))] }

// request grants or revokes an edge or two of one role. It names what exists.
func (m *catalogueModel) request() {
	d := &modelDocument{path: fmt.Sprintf("requests/%03d.yaml", len(m.docs)), ends: map[string]time.Time{}, admitted: true, standing: true}
	role := m.random.IntN(2)
	var add, remove []string
	there := m.oids()
	for range 1 + m.random.IntN(2) {
		target := one(m.random, m.targets())
		e := m.roles()[role] + " " + target
		if there[target] == "" || slices.Contains(d.grants, e) || slices.Contains(d.revokes, e) {
			continue
		}
		entry := "{type: user, source_name: " + target
		if strings.Contains(target, ".") {
			entry = "{type: table, source_name: " + target + ", privileges: [SELECT]"
		}
		switch n := m.random.IntN(6); {
		case n < 2:
			d.revokes, remove = append(d.revokes, e), append(remove, entry+"}")
			continue
		case n == 2:
			d.ends[e] = m.Now.Add(time.Duration(20+m.random.IntN(200)) * time.Minute).Truncate(time.Second)
			entry += ", expires: " + d.ends[e].UTC().Format(time.RFC3339)
		}
		d.grants, add = append(d.grants, e), append(add, entry+"}")
		m.fresh[e] = true
	}
	var lists []string
	if len(add) > 0 {
		lists = append(lists, grants(add...))
	}
	if len(remove) > 0 {
		lists = append(lists, revokes(remove...))
	}
	if len(lists) == 0 {
		return
	}
	m.docs = append(m.docs, d)
	text := strings.Replace(m.assign([]string{"one", "two"}[role], lists...), "name: it", fmt.Sprint("name: it-", len(m.docs)), 1)
	m.land(files{d.path: text})
	m.note("%s grants %v (ends %v), revokes %v", d.path, d.grants, d.ends, d.revokes)
}

func (m *catalogueModel) undo() {
	var list []*modelDocument
	for _, d := range m.docs {
		if d.standing {
			list = append(list, d)
		}
	}
	if len(list) > 0 {
		d := list[m.random.IntN(len(list))]
		d.standing = false
		m.land(files{d.path: ""})
		m.note("%s undone", d.path)
	}
}

// hand changes the application behind everybody's back.
func (m *catalogueModel) hand() {
	m.note("by hand:")
	target, role := one(m.random, m.targets()), one(m.random, m.roles())
	now, at := m.names[target], m.names[role]
	table := strings.Contains(target, ".")
	kind, to, last := "ROLE", target, ""
	if table {
		kind = "TABLE"
	}
	if m.oids()[at] == "" {
		return // it was dropped, and no run made it again yet
	}
	if _, last, _ = strings.Cut(target, "."); last == "" {
		last = target
	}
	switch n := m.random.IntN(12); {
	case now == "": // it comes back as another one
		if table {
			m.exec("CREATE TABLE "+target+" (id int)", "ALTER TABLE "+target+" OWNER TO %[1]s_owner")
		} else {
			m.exec("CREATE ROLE " + target + " LOGIN")
		}
		m.names[target] = to
	case n < 2: // renamed, or given back the name
		if now == target {
			m.exec("ALTER " + kind + " " + now + " RENAME TO " + last + "_other")
			m.names[target] = target + "_other"
		} else {
			m.exec("ALTER " + kind + " " + now + " RENAME TO " + last)
			m.names[target] = target
		}
	case n < 4 && table:
		m.exec(one(m.random, []string{"GRANT SELECT ON " + now + " TO PUBLIC", "REVOKE SELECT ON " + now + " FROM PUBLIC", "GRANT SELECT ON " + now + " TO %[1]s_stranger"}))
	case n < 4:
		m.exec(one(m.random, []string{"ALTER ROLE " + now + " NOLOGIN", "ALTER ROLE " + now + " LOGIN", "GRANT " + now + " TO %[1]s_stranger", "REVOKE " + now + " FROM %[1]s_stranger"}))
	case n < 7 && table:
		m.exec(one(m.random, []string{"GRANT SELECT ON " + now + " TO " + at, "REVOKE SELECT ON " + now + " FROM " + at}))
	case n < 7:
		m.exec(one(m.random, []string{"GRANT " + at + " TO " + now, "REVOKE " + at + " FROM " + now}))
	case n == 7:
		m.exec("GRANT " + at + " TO %[1]s_stranger")
	case n == 8:
		m.exec(fmt.Sprintf("CREATE TABLE sales.new%d (id int)", len(m.log)))
	case n == 9: // dropped
		if !table {
			m.exec("DROP OWNED BY " + now)
		}
		m.exec("DROP " + kind + " " + now)
		m.names[target] = ""
	case n == 10: // a role in scope is dropped: enforcing drift makes it again
		m.exec("DROP OWNED BY "+at, "DROP ROLE "+at)
	default:
		m.exec("CREATE ROLE "+at+"_x", "GRANT USAGE ON SCHEMA sales TO "+at+"_x")
		m.exec("DROP OWNED BY "+at+"_x", "DROP ROLE "+at+"_x")
	}
}

// wanted reports whether documents grant an edge: a grant that is neither undone nor ended comes after the last revoke.
func (m *catalogueModel) wanted(e string) bool {
	yes := false
	for _, d := range m.docs {
		if !d.standing {
			continue
		}
		if slices.Contains(d.grants, e) {
			if end, ok := d.ends[e]; !ok || end.After(m.Now) {
				yes = true
			}
		} else if slices.Contains(d.revokes, e) {
			yes = false
		}
	}
	return yes
}

// run applies, and compares the catalogue with the model.
func (m *catalogueModel) run() {
	m.t.Helper()
	before := m.outside()
	out := m.runWith(reconciler.RunOptions{})
	code := reconciler.ExitCode(&schemas.RunReport{Applications: []schemas.ApplicationOutcome{out}}, false)
	m.note("run: exit code %d, %v", code, said(out.Plan.Operations))
	for _, f := range out.Plan.Findings {
		m.note("  %s %s: %s", f.Severity, f.Code, f.Message)
	}
	if diff := cmp.Diff(before, m.outside()); diff != "" {
		m.fail("the run changed what isn't in its scope (-before +after):\n%s", diff)
	}
	there := m.oids()
	byOID := map[string]string{}
	for n, oid := range there {
		byOID[oid] = n
	}
	live := map[string]bool{}
	for _, e := range m.edges() {
		live[e] = true
	}
	allowed, settled := map[string]bool{}, true
	for _, d := range m.docs {
		// A revoke of a name that is gone may remove nothing, and it says so.
		settled = settled && (!d.standing || !slices.ContainsFunc(d.revokes, func(e string) bool {
			_, target, _ := strings.Cut(e, " ")
			return there[target] == ""
		}))
	}
	groups := m.rows("SELECT DISTINCT roleid::text FROM pg_auth_members")
	for _, role := range m.roles() {
		for _, target := range m.targets() {
			e, holder := role+" "+target, there[target]
			if !m.wanted(e) {
				delete(m.bound, e)
				delete(m.fresh, e)
				continue
			}
			if m.bound[e] == "" {
				m.fresh[e] = true
			} else {
				allowed[role+" "+m.bound[e]] = true
			}
			if m.fresh[e] && holder != "" {
				allowed[role+" "+holder] = true
			}
			switch {
			case slices.Contains(groups, holder):
				settled = false // an account that has members is granted as the group that it is
				if code == 0 {
					m.fail("%s is granted to a group as if it were an account, and the exit code is 0", e)
				}
			case holder != "" && (m.fresh[e] || m.bound[e] == holder):
				if !live[role+" "+holder] {
					m.fail("%s is granted to %s (oid %s), and isn't in force; exit code %d", e, target, holder, code)
				}
				m.bound[e] = holder
				delete(m.fresh, e)
			case m.bound[e] != "" && live[role+" "+m.bound[e]]:
				settled = false // in force under another name, which is reported
			default:
				settled = false
				if code == 0 {
					m.fail("%s is granted and not in force, and the exit code is 0", e)
				}
			}
		}
	}
	for _, e := range slices.Sorted(maps.Keys(live)) {
		role, oid, _ := strings.Cut(e, " ")
		if allowed[e] {
			continue
		}
		// Somebody else who has the name of an approved one, by hand: reported, and left to people.
		if n := byOID[oid]; m.wanted(role+" "+n) && code != 0 {
			settled = false
			continue
		}
		m.fail("%s holds oid %s (%s), which nothing approved grants; exit code %d", role, oid, byOID[oid], code)
	}
	if settled && code != 0 {
		m.fail("everything is as approved, and the exit code is %d: %v %s", code, out.Plan.Findings, out.Error)
	}
}
