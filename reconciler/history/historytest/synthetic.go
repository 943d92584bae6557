package historytest

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// Layout selects how requests are spread over folders.
type Layout string

// The layouts of Synthetic: requests/2026/01 and requests/2026/01/05.
const (
	Month Layout = "month"
	Day   Layout = "day"
)

// perDay is how many merges a day of a synthetic history has: 10,000 of them take ten months.
const perDay = 33

// Synthetic makes a bare repository with a history for benchmarks and returns its folder: settings, people and
// the application warehouse in the root commit, then merges on main, each of a branch with one commit of
// Alice's, approved by Bob in a trailer. A request is a file with the creation of the role r00001, r00002 …
// and an assignment of one membership and one table privilege.
func Synthetic(t testing.TB, merges, requestsPerMerge int, layout Layout) string {
	t.Helper()
	return SyntheticOf(t, merges, requestsPerMerge, layout, SyntheticRequest)
}

// SyntheticOf is Synthetic with other requests: request returns the content of the n-th file, from 1.
func SyntheticOf(t testing.TB, merges, requestsPerMerge int, layout Layout, request func(n int) string) string {
	t.Helper()
	r := &Repo{Dir: t.TempDir(), Now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), t: t}
	r.Git("init", "-q", "--bare", "-b", "main")
	in, out := io.Pipe()
	go func() {
		w := bufio.NewWriterSize(out, 1<<20)
		writeSynthetic(w, r.Now, merges, requestsPerMerge, layout, request)
		if err := w.Flush(); err != nil {
			out.CloseWithError(err)
			return
		}
		out.Close()
	}()
	cmd := r.command(Carol(), Carol(), "fast-import", "--quiet", "--depth=50")
	cmd.Stdin = in
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git fast-import: %v\n%s", err, b)
	}
	// As a clone has it: fast-import deltifies poorly.
	r.Git("repack", "-q", "-a", "-d", "-f", "--depth=50", "--window=10")
	r.Git("pack-refs", "--all")
	return r.Dir
}

func writeSynthetic(w *bufio.Writer, start time.Time, merges, requestsPerMerge int, layout Layout, content func(n int) string) {
	data := func(s string) { fmt.Fprintf(w, "data %d\n%s\n", len(s), s) }
	file := func(path, content string) {
		fmt.Fprintf(w, "M 100644 inline %s\n", path)
		data(content)
	}
	carol, alice, bob := Carol(), Alice(), Bob()
	fmt.Fprintf(w, "commit refs/heads/main\nmark :1\nauthor %s %d +0000\ncommitter %s %d +0000\n", carol, start.Unix(), carol, start.Unix())
	data("Begin access as code\n")
	for _, f := range syntheticControl() {
		file(f[0], f[1])
	}
	tip, request := 1, 0
	for i := range merges {
		at := start.AddDate(0, 0, i/perDay).Add(time.Duration(i%perDay)*40*time.Minute + time.Minute)
		folder := at.Format("requests/2006/01")
		if layout == Day {
			folder = at.Format("requests/2006/01/02")
		}
		branch, merge := tip+1, tip+2
		fmt.Fprintf(w, "commit refs/heads/work\nmark :%d\nauthor %s %d +0000\ncommitter %s %d +0000\n", branch, alice, at.Unix(), alice, at.Unix())
		data(fmt.Sprintf("Ask for access %d\n", i+1))
		fmt.Fprintf(w, "from :%d\n", tip)
		for range requestsPerMerge {
			request++
			file(fmt.Sprintf("%s/r%05d.yaml", folder, request), content(request))
		}
		at = at.Add(10 * time.Minute)
		fmt.Fprintf(w, "commit refs/heads/main\nmark :%d\nauthor %s %d +0000\ncommitter %s %d +0000\n", merge, bob, at.Unix(), bob, at.Unix())
		data(fmt.Sprintf("Merge request %d\n\nApproved-by: %s\n", i+1, bob))
		fmt.Fprintf(w, "from :%d\nmerge :%d\n", tip, branch)
		// fast-import starts from the first parent's tree: the merge's content is written again.
		for n := request - requestsPerMerge + 1; n <= request; n++ {
			file(fmt.Sprintf("%s/r%05d.yaml", folder, n), content(n))
		}
		tip = merge
	}
	fmt.Fprint(w, "reset refs/heads/work\nfrom 0000000000000000000000000000000000000000\n\n")
}

// SyntheticRequest is the content of the n-th request file of a synthetic history.
func SyntheticRequest(n int) string {
	return fmt.Sprintf(`apiVersion: countersign.dev/v1
kind: ConnectionCreation
metadata: {name: r%05[1]d, reason: Quarterly dashboards read table %[2]d}
spec:
  application: warehouse
  connection: {type: role, source_name: r%05[1]d}
  payload: {login: false, comment: Readers of table %[2]d}
---
apiVersion: countersign.dev/v1
kind: ConnectionAssignment
metadata: {name: r%05[1]d-access, reason: Quarterly dashboards read table %[2]d}
spec:
  application: warehouse
  connection: {type: role, source_name: r%05[1]d}
  grants:
    - {type: table, source_name: s%02[3]d.t%02[2]d, privileges: [SELECT]}
    - {type: user, source_name: u%02[2]d}
`, n, n%100, n%100)
}

// HubRequest is the content of the n-th request file where every role is a member of one, r00000, which the first creates.
func HubRequest(n int) string {
	hub := ""
	if n == 1 {
		hub = `apiVersion: countersign.dev/v1
kind: ConnectionCreation
metadata: {name: hub, reason: Everybody reads the calendar}
spec: {application: warehouse, connection: {type: role, source_name: r00000}}
---
`
	}
	return hub + strings.Replace(SyntheticRequest(n), fmt.Sprintf("{type: user, source_name: u%02d}", n%100), "{type: role, source_name: r00000}", 1)
}

func syntheticControl() [][2]string {
	people := `apiVersion: countersign.dev/v1
kind: People
spec:
  people:
    - {login: alice, emails: [alice@acme.test]}
    - {login: bob, emails: [bob@acme.test]}
    - {login: carol, emails: [carol@acme.test]}
`
	for i := range 100 {
		people += fmt.Sprintf("    - {login: u%02[1]d, emails: [u%02[1]d@acme.test], identities: {warehouse: [u%02[1]d]}}\n", i)
	}
	return [][2]string{
		{"countersign.yaml", `apiVersion: countersign.dev/v1
kind: Settings
spec:
  branch: main
  forge: {kind: local}
  signoff: unauthenticated
  owners: [user:carol@acme.test]
`},
		{"people.yaml", people},
		{"applications/warehouse.yaml", `apiVersion: countersign.dev/v1
kind: Application
metadata: {name: warehouse}
spec:
  connector: postgres
  config: {dsn: {env: WAREHOUSE_PLAN_DSN}, apply_dsn: {env: WAREHOUSE_APPLY_DSN}}
  owners: [user:bob@acme.test]
  scope: {role: ["r*"]}
  grantable: {user: ["*"], role: ["r*"], schema: ["s*"], table: ["s*"]}
  mode: full
  drift: {mode: report, schedule: "*/15 * * * *"}
`},
	}
}
