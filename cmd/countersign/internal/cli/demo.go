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
	"github.com/countersign/countersign/reconciler/report/layout"
)

// demoOptions configures demo.
type demoOptions struct {
	*app
	dir string
}

func newDemoCommand(a *app) *cobra.Command {
	o := &demoOptions{app: a}
	c := &cobra.Command{
		Use:   "demo",
		Short: "Walk through a request: review, apply, drift, undo, audit",
		Long: `Creates a Git repository and a Casbin application in a temporary folder, then
runs real commands against them, from the first request to the audit export.
Lines that begin with $ are what you would type. The demo needs git, but no
server.`,
		Example: "  countersign demo\n  countersign demo --dir ./try          # keep the folder to explore",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return o.run(c.Context()) },
	}
	c.Flags().StringVar(&o.dir, "dir", "", "create the demo in this new `DIR`, and keep it")
	return c
}

func (o *demoOptions) run(ctx context.Context) (err error) {
	dir, keep := o.dir, o.dir != ""
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
	d := &demo{app: o.app, ctx: ctx, dir: dir, out: o.Stdout}
	if err := d.play(); err != nil {
		return err
	}
	where := "countersign demo --dir ./try            run it again, and keep the folder"
	if keep {
		where = "cd " + dir + " && countersign status"
	}
	d.say("", "That's the whole life of a request.", "",
		"Try next:",
		"  "+where,
		"  countersign init --connector postgres   start your own, for a database",
		"  countersign policy rules                list the built-in rules",
		"  countersign schema postgres --scripts   print least-privilege scripts")
	return nil
}

// demoIndent is how far the output of a command is indented.
const demoIndent = 5

// demo is one run of the demo. Its clock can be moved forward, so that nobody waits for an expiry.
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

// The people of the demo. Without a forge, they are known by their e-mail addresses.
func alice() person { return person{"Alice", "alice@acme.test"} }
func bob() person   { return person{"Bob", "bob@acme.test"} }
func carol() person { return person{"Carol", "carol@acme.test"} }

func (d *demo) now() time.Time { return d.app.Now().Add(d.later) }

func (d *demo) say(lines ...string) {
	for _, l := range lines {
		fmt.Fprintln(d.out, l)
	}
}

func (d *demo) chapter(title, text string) {
	d.step++
	head := fmt.Sprintf("%d. %s", d.step, title)
	if d.Color {
		head = "\x1b[1m" + head + "\x1b[0m"
	}
	d.say("", head, "")
	fmt.Fprintln(d.out, layout.Fill(text, d.Width, "   "))
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

// run runs countersign as typed and shows its output. Any exit code other than want fails the demo.
func (d *demo) run(want int, args ...string) error {
	d.shown(strings.ReplaceAll("countersign "+strings.Join(args, " "), d.dir+string(filepath.Separator), ""))
	var out, errs bytes.Buffer
	env := d.Environment
	env.Stdout, env.Stderr, env.Now, env.Progress = &out, &errs, d.now, false
	env.Width = max(60, d.Width-demoIndent)
	code := Main(d.ctx, append(args, "--repo", d.dir), env)
	for _, l := range strings.Split(strings.TrimRight(out.String()+errs.String(), "\n"), "\n") {
		d.say(strings.TrimRight("     "+l, " "))
	}
	if code != want {
		return fmt.Errorf("countersign %s ended with exit code %d; expected %d", strings.Join(args, " "), code, want)
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
		d.say("   | " + l)
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
	d.say("   As " + who.name + ":")
	d.shown(fmt.Sprintf("git merge --no-ff %s -m '%s' \\", branch, title))
	d.say(fmt.Sprintf("       -m 'Approved-by: %s <%s>'", approver.name, approver.mail))
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
		"Carol's team manages access in Git. Their application keeps its access in a Casbin policy file, so the demo needs no server. Trust starts at the commit that adds countersign.yaml.")
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
	d.say("   As Carol:")
	d.shown("git init && git add . && git commit -m 'Begin access as code'")
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
		"A request is a YAML file on a branch. The preview shows what it would change and who must sign it off. Bob owns the application, so his approval counts. The merge commit records it.")
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
	d.chapter("An assignment, denied at first",
		"Alice requests access for two colleagues, including a privilege that the application lists as privileged. Policy denies it, with the line and the reason.")
	if err := d.request(alice(), "sales-access", "requests/sales-access.yaml", demoRefused); err != nil {
		return err
	}
	if err := d.run(exitDenied, "preview"); err != nil {
		return err
	}
	d.say("   She fixes it: Erin's access ends with her project, and nobody becomes admin.", "")
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
	d.chapter("Two attempts to bypass review",
		"Alice approves her own request, and Mallory pushes straight to main. Both changes are now on main, and neither takes effect.")
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
	d.chapter("A change made by hand",
		"Somebody replaces Dave with Mallory in the policy file.")
	file := filepath.Join(d.dir, "authz", "policy.csv")
	d.shown("sed -i 's/^g, dave,/g, mallory,/' authz/policy.csv")
	d.say("")
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	edited := strings.Replace(string(content), "g, dave, sales_reader", "g, mallory, sales_reader", 1)
	if edited == string(content) {
		return errors.New("the policy file doesn't list dave")
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
		"The demo moves its clock forward. Erin's grant has expired, so the next run removes it. No request is needed.")
	d.later += 21 * 24 * time.Hour
	if err := d.run(0, "apply"); err != nil {
		return err
	}
	return d.run(0, "access", "--identity", "erin")
}

func (d *demo) undo() error {
	d.chapter("To undo a request, revert it",
		"Reverting the merge removes the file and its effect. A revert is a change like any other, so Bob signs it off.")
	if err := d.git(alice(), "checkout", "-q", "-B", "undo", "main"); err != nil {
		return err
	}
	commit, err := d.lookup("Sales read access for Dave and Erin")
	if err != nil {
		return err
	}
	d.say("   As Alice, on branch undo:")
	d.shown("git revert -m 1 " + commit[:8])
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
	d.chapter("The role is no longer needed",
		"Deleting it takes a request too. Policy allows it because the role has no members left.")
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
		"The ledger records every verdict, intent, outcome and read-back, chained by hashes.")
	if err := d.run(0, "status"); err != nil {
		return err
	}
	if err := d.run(0, "audit", "verify"); err != nil {
		return err
	}
	return d.run(0, "audit", "export", "--format", "csv", "--output", filepath.Join(d.dir, "audit.csv"))
}
