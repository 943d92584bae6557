package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/connectors/casbin"
)

func (a *app) demo() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:   "demo",
		Short: "Play the whole story in a temporary folder: request, review, apply, drift, expiry, undo, audit",
		Long: `Makes a Git repository and a Casbin application in a temporary folder and plays the real thing through the
real code: every line that begins with $ is what a person would type. It needs git, and no server.`,
		Example: "  countersign demo\n  countersign demo --dir ./try          # keep the folder and look around",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			keep := dir != ""
			if keep {
				if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
					return fmt.Errorf("--dir %s is not empty; name a new folder", dir)
				}
				if err := os.MkdirAll(dir, 0o755); err != nil {
					return err
				}
			} else {
				if dir, err = os.MkdirTemp("", "countersign-demo-"); err != nil {
					return err
				}
				defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
			}
			if dir, err = filepath.Abs(dir); err != nil {
				return err
			}
			d := &demo{app: a, ctx: c.Context(), dir: dir, out: a.Stdout}
			if err := d.play(); err != nil {
				return err
			}
			where := "--dir ./try keeps the folder, so that you can go on in it"
			if keep {
				where = "cd " + dir + " && countersign status"
			}
			d.say("", "That was all of it.", "",
				"Try next:",
				"  "+where,
				"  countersign init --connector postgres   your own repository, over a real database",
				"  countersign policy rules                what the built-in policy asks for",
				"  countersign schema postgres --scripts   the least privileges it needs")
			return nil
		},
	}
	c.Flags().StringVar(&dir, "dir", "", "play in this new folder and keep it")
	return c
}

// demo is one performance. Its clock can be put forward, so that an expiry need not be waited for.
type demo struct {
	*app
	ctx   context.Context
	dir   string
	out   io.Writer
	later time.Duration
	step  int
}

// person is somebody who commits.
type person struct{ name, mail string }

// The cast. Everybody is an e-mail address: that is all that a Git repository without a forge knows.
func alice() person { return person{"Alice", "alice@acme.test"} }
func bob() person   { return person{"Bob", "bob@acme.test"} }
func carol() person { return person{"Carol", "carol@acme.test"} }

func (d *demo) now() time.Time { return d.app.Now().Add(d.later) }

func (d *demo) say(lines ...string) {
	for _, l := range lines {
		fmt.Fprintln(d.out, l)
	}
}

func (d *demo) chapter(title string, lines ...string) {
	d.step++
	head := fmt.Sprintf("%d. %s", d.step, title)
	if d.Color {
		head = "\x1b[1m" + head + "\x1b[0m"
	}
	d.say("", head, "")
	for _, l := range lines {
		d.say("   " + l)
	}
	if len(lines) > 0 {
		d.say("")
	}
}

// shown prints a command as a person would type it.
func (d *demo) shown(line string) { d.say("   $ " + line) }

// git runs git as somebody, at the demo's time, apart from the user's own configuration.
func (d *demo) git(who person, args ...string) error {
	cmd := exec.CommandContext(d.ctx, "git", args...)
	cmd.Dir = d.dir
	at := d.now().UTC().Format("2006-01-02T15:04:05Z")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + d.dir, "GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=" + who.name, "GIT_AUTHOR_EMAIL=" + who.mail, "GIT_COMMITTER_NAME=" + who.name, "GIT_COMMITTER_EMAIL=" + who.mail,
		"GIT_AUTHOR_DATE=" + at, "GIT_COMMITTER_DATE=" + at, "GIT_EDITOR=true", "LC_ALL=C"}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("git %s: %w\n%s", strings.Join(args, " "), err, out.String())
	}
	return nil
}

// run runs countersign as typed and shows what it prints. want is the exit code that the story expects:
// another one is a failure of the demo itself.
func (d *demo) run(want int, args ...string) error {
	d.shown("countersign " + strings.Join(args, " "))
	var out, errs bytes.Buffer
	env := d.Environment
	env.Stdout, env.Stderr, env.Now, env.Progress = &out, &errs, d.now, false
	env.Width = max(60, d.Width-5)
	code := Main(d.ctx, append(args, "--repo", d.dir), env)
	for _, l := range strings.Split(strings.TrimRight(out.String()+errs.String(), "\n"), "\n") {
		d.say("     " + l)
	}
	if code != want {
		return fmt.Errorf("countersign %s ended with exit code %d, and the story expects %d", strings.Join(args, " "), code, want)
	}
	if code != 0 {
		d.say(fmt.Sprintf("     (exit code %d)", code))
	}
	d.say("")
	return nil
}

func (d *demo) write(path, content string) error {
	full := filepath.Join(d.dir, filepath.FromSlash(path))
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		return err
	}
	return os.WriteFile(full, []byte(content), 0o644)
}

// request commits a request file on a branch of its own, and shows the file.
func (d *demo) request(who person, branch, path, content string) error {
	if err := d.git(who, "checkout", "-q", "-B", branch, "main"); err != nil {
		return err
	}
	return d.commitRequest(who, branch, path, content)
}

func (d *demo) commitRequest(who person, branch, path, content string) error {
	if err := d.write(path, content); err != nil {
		return err
	}
	d.say("   " + who.name + " commits " + path + " on branch " + branch + ":")
	for _, l := range strings.Split(strings.TrimRight(content, "\n"), "\n") {
		d.say("     | " + l)
	}
	d.say("")
	if err := d.git(who, "add", path); err != nil {
		return err
	}
	return d.git(who, "commit", "-q", "-m", "Request "+strings.TrimSuffix(filepath.Base(path), ".yaml"))
}

// merge merges a branch as somebody, with an approval trailer of somebody.
func (d *demo) merge(who person, branch, title string, approver person) error {
	message := fmt.Sprintf("%s\n\nApproved-by: %s <%s>", title, approver.name, approver.mail)
	d.shown(fmt.Sprintf("git merge --no-ff %s -m '%s' -m 'Approved-by: %s <%s>'      # as %s", branch, title, approver.name, approver.mail, who.name))
	d.say("")
	if err := d.git(who, "checkout", "-q", "main"); err != nil {
		return err
	}
	return d.git(who, "merge", "-q", "--no-ff", branch, "-m", message)
}

func (d *demo) play() error {
	if _, err := exec.LookPath("git"); err != nil {
		return errors.New("the demo needs git; install it and run the demo again")
	}
	for _, act := range []func() error{d.begin, d.create, d.assign, d.quarantine, d.handmade, d.expire, d.undo, d.remove, d.look} {
		if err := act(); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) begin() error {
	d.chapter("An access repository and an application",
		"Carol's team keeps access in Git. The application is a Casbin policy file, an authorisation store",
		"that needs no server. Trust starts at the commit that adds countersign.yaml.")
	if err := os.MkdirAll(filepath.Join(d.dir, "authz"), 0o755); err != nil {
		return err
	}
	if err := casbin.Init(filepath.Join(d.dir, "authz", "policy.csv"), casbin.Contents{
		Users: []string{"alice", "bob", "dave", "erin", "mallory"}, Objects: []string{"sales.orders", "sales.payroll"},
	}); err != nil {
		return err
	}
	for _, f := range []starterFile{{"countersign.yaml", starterSettings}, {"people.yaml", demoPeople}, {"applications/authz.yaml", demoApplication}} {
		if err := d.write(f.path, f.content); err != nil {
			return err
		}
	}
	if err := d.write(".gitignore", "authz/\n"); err != nil {
		return err
	}
	if err := d.git(carol(), "init", "-q", "-b", "main", "."); err != nil {
		return err
	}
	d.shown("git init && git add . && git commit -m 'Begin access as code'      # as Carol")
	d.say("")
	if err := d.git(carol(), "add", "."); err != nil {
		return err
	}
	if err := d.git(carol(), "commit", "-q", "-m", "Begin access as code"); err != nil {
		return err
	}
	return d.run(0, "validate")
}

func (d *demo) create() error {
	d.chapter("A request for a new role",
		"A request is a YAML file on a branch. The preview says what it would do and who must sign it off;",
		"Bob owns the application, so his approval counts. The merge commit carries it.")
	if err := d.request(alice(), "sales-reader", "requests/sales-reader.yaml", demoCreation); err != nil {
		return err
	}
	if err := d.run(exitSignoff, "preview"); err != nil {
		return err
	}
	if err := d.merge(bob(), "sales-reader", "Create the role sales_reader", bob()); err != nil {
		return err
	}
	return d.run(0, "apply")
}

func (d *demo) assign() error {
	d.chapter("An assignment, refused at first",
		"Alice wants two colleagues to read and one privilege that the application calls powerful. Policy",
		"says why not, with the line.")
	if err := d.request(alice(), "sales-access", "requests/sales-access.yaml", demoRefused); err != nil {
		return err
	}
	if err := d.run(exitDenied, "preview"); err != nil {
		return err
	}
	d.say("   She mends it: Erin's access ends with her project, and nobody becomes admin.", "")
	if err := d.commitRequest(alice(), "sales-access", "requests/sales-access.yaml",
		strings.ReplaceAll(demoAssignment, "EXPIRES", d.now().UTC().AddDate(0, 0, 21).Format("2006-01-02")+"T00:00:00Z")); err != nil {
		return err
	}
	if err := d.run(exitSignoff, "preview"); err != nil {
		return err
	}
	if err := d.merge(bob(), "sales-access", "Sales read access for Dave and Erin", bob()); err != nil {
		return err
	}
	if err := d.run(0, "apply"); err != nil {
		return err
	}
	return d.run(0, "access", "--identity", "dave")
}

func (d *demo) quarantine() error {
	d.chapter("Two ways to go round the reviewers",
		"Alice approves her own request, and Mallory pushes straight to the branch. Both are on main now.",
		"Neither has any effect.")
	if err := d.request(alice(), "payroll", "requests/payroll.yaml", demoPayroll); err != nil {
		return err
	}
	if err := d.merge(alice(), "payroll", "Payroll for Dave", alice()); err != nil {
		return err
	}
	mallory := person{"Mallory", "mallory@acme.test"}
	if err := d.commitRequest(mallory, "main", "requests/mine.yaml", demoMallory); err != nil {
		return err
	}
	if err := d.run(exitSignoff, "apply"); err != nil {
		return err
	}
	return d.run(0, "access", "--resource", "sales.payroll")
}

func (d *demo) handmade() error {
	d.chapter("Somebody edits the application by hand",
		"Dave's membership is deleted from the policy file, and Mallory's is written in.")
	file := filepath.Join(d.dir, "authz", "policy.csv")
	d.shown("sed -i 's/^g, dave, sales_reader/g, mallory, sales_reader/' authz/policy.csv")
	d.say("")
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	edited := strings.Replace(string(content), "g, dave, sales_reader", "g, mallory, sales_reader", 1)
	if edited == string(content) {
		return errors.New("the policy file has no line for dave")
	}
	if err := os.WriteFile(file, []byte(edited), 0o600); err != nil {
		return err
	}
	if err := d.run(exitDifference, "drift", "--exit-code"); err != nil {
		return err
	}
	if err := d.run(0, "drift", "--enforce"); err != nil {
		return err
	}
	return d.run(0, "drift", "--exit-code")
}

func (d *demo) expire() error {
	d.chapter("Three weeks later",
		"Erin's grant has expired. Nobody asks for anything; the next run takes it away. (The demo puts its",
		"clock forward.)")
	d.later += 21 * 24 * time.Hour
	if err := d.run(0, "apply"); err != nil {
		return err
	}
	return d.run(0, "access", "--identity", "erin")
}

func (d *demo) undo() error {
	d.chapter("Undo is git revert",
		"Reverting the merge removes the file, so its effect goes. It is a change like any other: Bob signs off.")
	if err := d.git(alice(), "checkout", "-q", "-B", "undo", "main"); err != nil {
		return err
	}
	commit, err := d.lookup("Sales read access for Dave and Erin")
	if err != nil {
		return err
	}
	d.shown("git revert -m 1 " + commit[:8] + "      # as Alice, on branch undo")
	d.say("")
	if err := d.git(alice(), "revert", "--no-edit", "-m", "1", commit); err != nil {
		return err
	}
	if err := d.run(exitSignoff, "preview"); err != nil {
		return err
	}
	if err := d.merge(bob(), "undo", "Undo the sales access", bob()); err != nil {
		return err
	}
	return d.run(0, "apply")
}

// lookup finds the commit on main with a title.
func (d *demo) lookup(title string) (string, error) {
	cmd := exec.CommandContext(d.ctx, "git", "log", "main", "--format=%H", "--fixed-strings", "--grep="+title, "-1")
	cmd.Dir = d.dir
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("look for the commit %q: %w", title, err)
	}
	return strings.TrimSpace(string(out)), nil
}

func (d *demo) remove() error {
	d.chapter("The role is needed no more",
		"A deletion is a request too. Nobody is in the role now, else policy would refuse.")
	if err := d.request(alice(), "retire", "requests/retire-sales-reader.yaml", demoDeletion); err != nil {
		return err
	}
	if err := d.run(exitSignoff, "preview"); err != nil {
		return err
	}
	if err := d.merge(bob(), "retire", "Retire the role sales_reader", bob()); err != nil {
		return err
	}
	return d.run(0, "apply")
}

func (d *demo) look() error {
	d.chapter("What an auditor sees",
		"Every verdict, intention, outcome and read-back is in a ledger whose records are chained by hashes.")
	if err := d.run(0, "status"); err != nil {
		return err
	}
	if err := d.run(0, "audit", "verify"); err != nil {
		return err
	}
	return d.run(0, "audit", "export", "--as", "csv", "--output", filepath.Join(d.dir, "audit.csv"))
}

const demoPeople = `apiVersion: countersign.dev/v1
kind: People
spec:
  people:
    - {login: alice, emails: [alice@acme.test], identities: {authz: [alice]}}
    - {login: bob, emails: [bob@acme.test], identities: {authz: [bob]}}
    - {login: carol, emails: [carol@acme.test]}
    - {login: dave, emails: [dave@acme.test], identities: {authz: [dave]}}
    - {login: erin, emails: [erin@acme.test], identities: {authz: [erin]}}
    - {login: mallory, emails: [mallory@acme.test], identities: {authz: [mallory]}}
`

const demoApplication = `apiVersion: countersign.dev/v1
kind: Application
metadata: {name: authz}
spec:
  connector: casbin
  config: {policy: authz/policy.csv}
  owners: [user:bob@acme.test]
  scope: {role: ["sales_*"]}
  grantable: {user: ["*"], object: ["sales.*"]}
  unmanaged: revoke
`

const demoCreation = `apiVersion: countersign.dev/v1
kind: ConnectionCreation
metadata: {name: sales-reader, reason: Quarterly revenue dashboards read the sales data, ticket: DATA-412}
spec:
  application: authz
  connection: {type: role, source_name: sales_reader}
`

const demoRefused = `apiVersion: countersign.dev/v1
kind: ConnectionAssignment
metadata: {name: sales-access, reason: Dave and Erin build the revenue dashboards}
spec:
  application: authz
  connection: {type: role, source_name: sales_reader}
  grants:
    - {type: object, source_name: sales.orders, privileges: [read, admin]}
    - {type: user, source_name: dave}
    - {type: user, source_name: erin}
`

const demoAssignment = `apiVersion: countersign.dev/v1
kind: ConnectionAssignment
metadata: {name: sales-access, reason: Dave and Erin build the revenue dashboards}
spec:
  application: authz
  connection: {type: role, source_name: sales_reader}
  grants:
    - {type: object, source_name: sales.orders, privileges: [read]}
    - {type: user, source_name: dave}
    - {type: user, source_name: erin, expires: EXPIRES}
`

const demoPayroll = `apiVersion: countersign.dev/v1
kind: ConnectionAssignment
metadata: {name: payroll, reason: Dave would like to see what everybody earns}
spec:
  application: authz
  connection: {type: role, source_name: sales_reader}
  grants:
    - {type: object, source_name: sales.payroll, privileges: [read]}
`

const demoMallory = `apiVersion: countersign.dev/v1
kind: ConnectionAssignment
metadata: {name: mine, reason: Nobody needs to know about this one}
spec:
  application: authz
  connection: {type: role, source_name: sales_reader}
  grants:
    - {type: user, source_name: mallory}
`

const demoDeletion = `apiVersion: countersign.dev/v1
kind: ConnectionDeletion
metadata: {name: retire-sales-reader, reason: The dashboards moved to another store}
spec:
  application: authz
  connection: {type: role, source_name: sales_reader}
`
