package reconciler_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/reconciler/history/historytest"
)

var randomSeeds = flag.Int("random", 3, "how many random histories TestRandomHistories plays")

// TestRandomHistories merges random requests with and without approval, edits and undoes them, lets grants expire, changes
// the application by hand and loses the index. After each run the application must hold what an independent model says.
func TestRandomHistories(t *testing.T) {
	t.Parallel()
	for seed := range *randomSeeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			m := newModel(t, uint64(seed))
			for range 14 {
				m.step()
				if m.random.IntN(3) > 0 {
					m.run()
				}
				if t.Failed() {
					t.Fatalf("after:\n%s", strings.Join(m.log, "\n"))
				}
			}
			m.run()
			if t.Failed() {
				t.Fatalf("after:\n%s", strings.Join(m.log, "\n"))
			}
		})
	}
}

// model is what the application should hold, by the rules of approval alone. It knows nothing of plans.
type model struct {
	*world
	random *rand.Rand
	docs   []*modelDocument
	live   map[string]bool // as world.holds shows it
	edges  map[string]*modelEdge
	log    []string
}

// modelDocument is a request that was merged. Its place in the list is its place in the order.
type modelDocument struct {
	path            string
	grants, revokes []string             // edges
	ends            map[string]time.Time // of grants
	admitted        bool
	standing        bool // not undone
	settled         bool // the branch has other content than what is in effect: nothing more happens to it
}

// modelEdge is what was last seen of an edge that a request names.
type modelEdge struct {
	present, made, absent bool
}

func newModel(t *testing.T, seed uint64) *model {
	w := settled(t, files{
		"countersign.yaml":        settings("limits: {revokes: 1000, deletions: 10}\n"),
		"applications/authz.yaml": "",
		"requests/roles.yaml":     creation("authz", "r0") + "---\n" + creation("authz", "r1"),
	})
	w.land(files{"applications/authz.yaml": w.application("authz", "drift: {mode: enforce}\n")}, historytest.Bob(), historytest.Carol())
	w.run()
	m := &model{world: w, random: rand.New(rand.NewPCG(seed, 1)), live: map[string]bool{}, edges: map[string]*modelEdge{}}
	for _, h := range w.holds("authz") {
		m.live[h] = true
	}
	return m
}

func (m *model) note(format string, args ...any) { m.log = append(m.log, fmt.Sprintf(format, args...)) }

func (m *model) edge() string {
	role := fmt.Sprint("r", m.random.IntN(2))
	if m.random.IntN(4) == 0 {
		return role + " read " + []string{"sales.orders", "sales.payroll"}[m.random.IntN(2)]
	}
	return role + ": " + []string{"dave", "erin", "gina", "bob"}[m.random.IntN(4)]
}

// entry writes an edge as a request has it.
func entry(edge string, ends time.Time) string {
	e := ""
	if _, name, ok := strings.Cut(edge, ": "); ok {
		e = user(name)
	} else {
		_, object, _ := strings.Cut(edge, " read ")
		e = read(object)
	}
	if !ends.IsZero() {
		e = strings.TrimSuffix(e, "}") + ", expires: " + ends.UTC().Format(time.RFC3339) + "}"
	}
	return e
}

// write makes a request about one role at random.
func (m *model) write() (*modelDocument, string) {
	d := &modelDocument{path: fmt.Sprintf("requests/%03d.yaml", len(m.docs)), ends: map[string]time.Time{}}
	first := m.edge()
	role := first[:2]
	var add, remove []string
	for i := range 1 + m.random.IntN(3) {
		e := first
		if i > 0 {
			e = role + m.edge()[2:]
		}
		if slices.Contains(d.grants, e) || slices.Contains(d.revokes, e) {
			continue
		}
		switch m.random.IntN(5) {
		case 0, 1:
			d.revokes = append(d.revokes, e)
			remove = append(remove, entry(e, time.Time{}))
		case 2:
			d.ends[e] = m.Now.Add(time.Duration(5+m.random.IntN(200)) * time.Minute).Truncate(time.Second)
			fallthrough
		default:
			d.grants = append(d.grants, e)
			add = append(add, entry(e, d.ends[e]))
		}
	}
	var lists []string
	if len(add) > 0 {
		lists = append(lists, grants(add...))
	}
	if len(remove) > 0 {
		lists = append(lists, revokes(remove...))
	}
	return d, assignment("authz", role, lists...)
}

// step is one thing that happens.
func (m *model) step() {
	switch n := m.random.IntN(20); {
	case n < 8:
		d, text := m.write()
		m.docs = append(m.docs, d)
		d.admitted, d.standing, d.settled = m.approve(d, text)
	case n < 12:
		m.undo()
	case n < 13:
		m.edit()
	case n < 16:
		d := time.Duration(20+m.random.IntN(120)) * time.Minute
		m.later(d)
		m.note("%s pass", d)
	case n < 19:
		m.hand()
	default:
		if m.exists("index.db") {
			m.forget()
			m.note("the index is lost")
		}
	}
}

// approve merges a new request, with or without an approval that counts.
func (m *model) approve(d *modelDocument, text string) (admitted, standing, settled bool) {
	// The document itself isn't admitted yet, so that its revokes don't count.
	own := slices.ContainsFunc(d.grants, func(e string) bool {
		wanted, _ := m.decide(e) // with an approved grant he gains nothing more
		return strings.HasSuffix(e, ": bob") && !wanted
	})
	how := ""
	switch n := m.random.IntN(6); {
	case n == 0:
		how = "pushed without approval"
		m.push(files{d.path: text})
		settled = true
	case n == 1:
		how = "approved by its author alone"
		m.Checkout("main").Branch(fmt.Sprint("own-", len(m.docs)), "main")
		m.change(files{d.path: text})
		m.Commit(historytest.CommitOptions{Author: historytest.Bob()})
		m.merge(fmt.Sprint("own-", len(m.docs)), historytest.Bob())
		settled = true
	case n == 2 && own:
		how = "approved by who gains"
		m.land(files{d.path: text}, historytest.Bob())
		settled = true
	default:
		how = "approved"
		m.land(files{d.path: text}, frank())
		admitted, standing = true, true
	}
	m.note("%s %s: grants %v (ends %v), revokes %v", d.path, how, d.grants, d.ends, d.revokes)
	return admitted, standing, settled
}

// pick chooses a request that is in effect and as the branch has it.
func (m *model) pick() *modelDocument {
	var list []*modelDocument
	for _, d := range m.docs {
		if d.admitted && d.standing && !d.settled {
			list = append(list, d)
		}
	}
	if len(list) == 0 {
		return nil
	}
	return list[m.random.IntN(len(list))]
}

func (m *model) undo() {
	d := m.pick()
	switch {
	case d == nil:
	case m.random.IntN(4) == 0:
		m.push(files{d.path: ""})
		d.settled = true
		m.note("%s removed without approval", d.path)
	default:
		// Undoing a revoke may give Bob something.
		m.land(files{d.path: ""}, frank())
		d.standing, d.settled = false, true
		m.note("%s undone", d.path)
	}
}

// edit changes a merged request, which the default policy denies.
func (m *model) edit() {
	if d := m.pick(); d != nil {
		_, text := m.write()
		m.land(files{d.path: strings.Replace(text, "name: it", "name: edited", 1)}, frank(), historytest.Bob())
		d.settled = true
		m.note("%s edited", d.path)
	}
}

// hand gives or takes an edge behind everybody's back.
func (m *model) hand() {
	e := m.edge()
	var line string
	if role, name, ok := strings.Cut(e, ": "); ok {
		line = "g, " + name + ", " + role
	} else {
		role, object, _ := strings.Cut(e, " read ")
		line = "p, " + role + ", " + object + ", read"
	}
	if m.live[e] {
		m.overwrite("authz", strings.Replace(m.content("authz"), line+"\n", "", 1))
		delete(m.live, e)
		m.note("%s taken by hand", e)
	} else {
		m.tamper("authz", line)
		m.live[e] = true
		m.note("%s given by hand", e)
	}
	if diff := cmp.Diff(m.list(), m.holds("authz")); diff != "" {
		m.t.Fatalf("the hand did something else (-want +got):\n%s", diff)
	}
}

func (m *model) list() []string {
	out := []string{}
	for e := range m.live {
		out = append(out, e)
	}
	slices.Sort(out)
	return out
}

// decide is the rule for one edge: it is wanted when a grant that is neither undone nor ended comes after the last revoke.
// Otherwise cause tells why it is to be gone, "" if no request names it.
func (m *model) decide(e string) (wanted bool, cause string) {
	revoked, expired, undone := false, false, false
	for _, d := range m.docs {
		switch {
		case !d.admitted:
		case slices.Contains(d.grants, e) && !d.standing:
			undone = true
		case slices.Contains(d.grants, e):
			if end, ok := d.ends[e]; ok && !end.After(m.Now) {
				expired = true
			} else {
				wanted = true
			}
		case slices.Contains(d.revokes, e) && d.standing:
			wanted, expired, revoked = false, false, true
		}
	}
	switch {
	case wanted:
		return true, ""
	case expired:
		return false, "expiry"
	case revoked:
		return false, "revoke"
	case undone:
		return false, "undo"
	}
	return false, ""
}

// run applies, and holds the application against the model.
func (m *model) run() {
	m.t.Helper()
	for i := range 2 {
		for _, user := range []string{": dave", ": erin", ": gina", ": bob", " read sales.orders", " read sales.payroll"} {
			e := fmt.Sprint("r", i) + user
			wanted, cause := m.decide(e)
			if !wanted && cause == "" {
				continue
			}
			s := m.edges[e]
			if s == nil {
				s = &modelEdge{}
				m.edges[e] = s
			}
			switch live := m.live[e]; {
			case wanted && live:
				if !s.present {
					*s = modelEdge{present: true}
				}
			case wanted:
				m.live[e] = true
				*s = modelEdge{present: true, made: true}
			case live && cause == "undo" && s.present && !s.made:
				// It was there before the request.
			default:
				delete(m.live, e)
				*s = modelEdge{absent: true}
			}
		}
	}
	r := m.world.run()
	m.note("run at %s", m.Now.Format(time.TimeOnly))
	m.wantHolds("authz", m.list()...)
	if o := outcome(m.t, r, "authz"); o.Remaining > 0 || o.Error != "" {
		m.t.Errorf("%d operations remain: %s %v", o.Remaining, o.Error, said(o.Plan.Operations))
	}
}
