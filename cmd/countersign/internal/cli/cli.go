// Package cli is countersign's command line: flags, wiring and exit codes. What a command does is in the
// packages below; what it prints is in reconciler/report.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/countersign/countersign/reconciler"
	"github.com/countersign/countersign/reconciler/history"
	"github.com/countersign/countersign/reconciler/ledger/branch"
	"github.com/countersign/countersign/reconciler/report"
	"github.com/countersign/countersign/schemas"
)

// The exit codes. They are part of the interface.
const (
	exitDone       = 0 // done, nothing pending
	exitError      = 1 // an error, or bad input
	exitDifference = 2 // preview or drift found a difference, with --exit-code
	exitDenied     = 3 // denied by policy
	exitSignoff    = 4 // sign-off missing
	exitPart       = 5 // applied in part
)

// Environment is what a command needs of the process, so that tests can stand in for it.
type Environment struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Now            func() time.Time
	// Executable is this program, for the child that evaluates a repository's own rules.
	Executable func() (string, error)
	Getenv     func(string) string
	// Color and Width describe standard output; Progress says that standard error is a terminal.
	Color, Progress bool
	Width           int
	// Step is called at each step of an apply; tests die there.
	Step func(string)
}

// System is the process's own environment.
func System() Environment {
	e := Environment{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Now: time.Now, Executable: os.Executable, Getenv: os.Getenv, Width: 100}
	if term.IsTerminal(int(os.Stdout.Fd())) {
		e.Color = os.Getenv("NO_COLOR") == ""
		if w, _, err := term.GetSize(int(os.Stdout.Fd())); err == nil {
			e.Width = w
		}
	}
	e.Progress = term.IsTerminal(int(os.Stderr.Fd())) && os.Getenv("CI") == ""
	return e
}

// exit is an outcome with a code of its own. err may be nil, when everything was said already.
type exit struct {
	code int
	err  error
}

func (e *exit) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exit) Unwrap() error { return e.err }

// Main runs one command and returns its exit code.
func Main(ctx context.Context, args []string, env Environment) int {
	a := &app{Environment: env}
	if len(args) > 0 && args[0] != policyChildCommand {
		defer a.muzzle()()
	}
	root := a.root()
	topics, err := guideTopics()
	if err != nil {
		a.complain(err)
		return exitError
	}
	root.AddCommand(topics...)
	root.SetArgs(args)
	root.SetIn(env.Stdin)
	root.SetOut(a.Stdout)
	root.SetErr(a.Stderr)
	err = root.ExecuteContext(ctx)
	a.progressEnd()
	if err == nil {
		return exitDone
	}
	var x *exit
	if errors.As(err, &x) {
		if x.err != nil {
			a.complain(x.err)
		}
		return x.code
	}
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		a.complain(errors.New("stopped; what was carried out is on record, and the next run goes on from there"))
		return exitError
	}
	a.complain(err)
	return exitError
}

// complain prints an error with what a requester wrote in it made harmless.
func (a *app) complain(err error) {
	for i, line := range strings.Split(err.Error(), "\n") {
		prefix := "error: "
		if i > 0 {
			prefix = "       "
		}
		fmt.Fprintln(a.Stderr, prefix+report.Safe(line))
	}
}

// app is one invocation.
type app struct {
	Environment
	repo, state, anchor, format, application string
	branchName, ledgerBranch, ledgerAnchor   string
	execs, execArgs, execEnv                 []string
	verbose                                  bool
	lastProgress                             time.Time
	progressOn                               bool
	// desks are the tickets' repositories that were opened, by name and account.
	desks sync.Map
}

// noSuchCommand is for what stands where a command should.
func noSuchCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := ""
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		hint = "did you mean " + strings.Join(near, " or ") + "? "
	}
	return fmt.Errorf("there is no command %q; %s%s --help lists the commands", args[0], hint, c.CommandPath())
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "countersign",
		Short: "Access requests in Git, signed off by reviews, made true in the application",
		Long: `countersign turns access requests into Git. A request is a YAML file in a pull request; the preview
shows the exact difference against the live application and what policy says; the reviewers' approvals
are the sign-off; at the merge the change is applied, read back and recorded.

Exit codes: 0 done, nothing pending; 1 error; 2 difference found (with --exit-code); 3 denied by policy;
4 sign-off missing; 5 applied in part.`,
		Example:       "  countersign demo                       # the whole thing, in a temporary folder\n  countersign init                       # a new access repository here\n  countersign preview                    # what this branch would change",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          noSuchCommand,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	f := root.PersistentFlags()
	f.StringVar(&a.repo, "repo", ".", "the access repository: its work tree, a folder in it, or a bare clone")
	f.StringVar(&a.state, "state", "", "folder of the ledger and the order index (default: countersign/ inside the Git directory, or $COUNTERSIGN_STATE)")
	f.StringVar(&a.anchor, "anchor", "", "full hash of the commit that trust starts at (default: the one that first added countersign.yaml)")
	f.StringVar(&a.branchName, "branch", "", "the branch whose merges take effect (default: what the settings of the checkout say; with --publish, --pull-request and --ledger-branch main)")
	f.StringVar(&a.ledgerBranch, "ledger-branch", "", "keep the ledger on this branch of the access repository as well, for runners that begin with nothing: "+branch.DefaultName)
	f.StringVar(&a.ledgerAnchor, "ledger-anchor", "", "full hash of a commit that the ledger's branch must contain")
	f.StringVar(&a.format, "format", "text", "text, markdown or json")
	f.StringVar(&a.application, "application", "", "only this application")
	f.StringArrayVar(&a.execs, "exec", nil, "NAME=PATH: the program PATH is the connector NAME (may stand several times; also $COUNTERSIGN_EXEC, with "+string(os.PathListSeparator)+" between)")
	f.StringArrayVar(&a.execArgs, "exec-arg", nil, "NAME=ARG: the next argument of that program (may stand several times)")
	f.StringArrayVar(&a.execEnv, "exec-env", nil, "NAME=VAR1,VAR2: variables that the program inherits beside PATH, HOME and the locale")
	f.BoolVar(&a.verbose, "verbose", false, "say more on standard error")
	root.AddCommand(a.demo(), a.init(), a.validate(), a.preview(), a.apply(), a.drift(), a.status(), a.fulfil(), a.access(), a.audit(), a.serve(), a.doctor(), a.connector(), a.policy(), a.schema(), a.version(), a.policyChild())
	root.CompletionOptions.HiddenDefaultCmd, root.SuggestionsMinimumDistance = true, 2
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return fmt.Errorf("%w; %s --help lists the flags", err, c.CommandPath())
	})
	return root
}

// checkFormat refuses an output format before any work is done.
func (a *app) checkFormat() error {
	switch a.format {
	case "text", "markdown", "json":
		return nil
	}
	return fmt.Errorf("--format %s: the formats are text, markdown and json", a.format)
}

// print writes a result in the format that was asked for.
func (a *app) print(v any) error {
	a.progressEnd()
	o := report.Options{Color: a.Color, Width: a.Width}
	switch a.format {
	case "json":
		return report.JSON(a.Stdout, v)
	case "markdown":
		return report.Markdown(a.Stdout, v, o)
	}
	return report.Text(a.Stdout, v, o)
}

func (a *app) logger() *slog.Logger {
	level := slog.LevelWarn
	if a.verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(a.Stderr, &slog.HandlerOptions{Level: level}))
}

// open opens the repository and a reconciler over it.
func (a *app) open(ctx context.Context) (*reconciler.Reconciler, *history.Repository, error) {
	if err := a.checkFormat(); err != nil {
		return nil, nil, err
	}
	repo, err := history.Open(a.repo)
	if err != nil {
		return nil, nil, err
	}
	registry, err := a.registry(ctx)
	if err != nil {
		return nil, nil, err
	}
	replica, err := a.replica(ctx, repo)
	if err != nil {
		return nil, nil, err
	}
	r, err := reconciler.New(reconciler.Config{
		Repository: repo, Replica: replica, State: a.stateDir(repo), Connectors: registry, Anchor: a.anchor, Version: programVersion(),
		Forge: a.forge, Tickets: a.tickets, Isolate: a.isolate, Now: a.Now, Logger: a.logger(), Progress: a.progress, Step: a.Step,
	})
	return r, repo, err
}

func (a *app) stateDir(repo *history.Repository) string {
	if a.state != "" {
		return a.state
	}
	if dir := a.Getenv("COUNTERSIGN_STATE"); dir != "" {
		return dir
	}
	return filepath.Join(repo.GitDir(), "countersign")
}

// isolate starts this program again as the child that evaluates a repository's own rules, with nothing in
// its environment.
func (a *app) isolate(ctx context.Context) (*exec.Cmd, error) {
	self, err := a.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.CommandContext(ctx, self, policyChildCommand)
	cmd.Env = []string{}
	return cmd, nil
}

// progress says on a terminal what is going on, and in a log a line every ten seconds.
func (a *app) progress(what string, done, total int) {
	text := what
	switch {
	case total > 1:
		text = fmt.Sprintf("%s (%d of %d)", what, done+1, total)
	case done > 0:
		text = fmt.Sprintf("%s (%d)", what, done)
	}
	now := a.Now()
	if a.Progress {
		if now.Sub(a.lastProgress) > 100*time.Millisecond {
			fmt.Fprintf(a.Stderr, "\r\x1b[K%s …", report.Safe(text))
			a.lastProgress, a.progressOn = now, true
		}
		return
	}
	if a.lastProgress.IsZero() {
		a.lastProgress = now
	}
	if now.Sub(a.lastProgress) > 10*time.Second {
		fmt.Fprintln(a.Stderr, report.Safe(text))
		a.lastProgress = now
	}
}

func (a *app) progressEnd() {
	if a.progressOn {
		fmt.Fprint(a.Stderr, "\r\x1b[K")
		a.progressOn = false
	}
}

// branch is the branch that is named, else that of the settings on the current checkout, falling back to main. Which
// settings hold is decided from the admitted history; this only finds where to look.
func (a *app) branch(ctx context.Context, repo *history.Repository) (string, error) {
	name := a.branchName
	if name == "" {
		name = defaultBranch
		if s := settingsAt(ctx, repo, "HEAD"); s != nil {
			name = s.Spec.Branch
		}
	}
	return findBranch(repo, name)
}

// defaultBranch is where access is kept unless somebody says otherwise.
const defaultBranch = "main"

// ownBranch is the branch where others may have made the checkout: the operator's word alone says which it is, since
// a pull request's checkout could name another.
func (a *app) ownBranch(repo *history.Repository) (name, ref string, err error) {
	if name = a.branchName; name == "" {
		name = defaultBranch
	}
	ref, err = findBranch(repo, name)
	return name, ref, err
}

func findBranch(repo *history.Repository, name string) (string, error) {
	for _, ref := range []string{"refs/heads/" + name, "refs/remotes/origin/" + name} {
		if _, err := repo.Resolve(ref); err == nil {
			return ref, nil
		}
	}
	return "", fmt.Errorf("there is no branch %s, neither here nor on origin; name the revision with --to or --base", name)
}

// settingsAt are the settings as they lie at a revision, admitted or not; nil where there are none.
func settingsAt(ctx context.Context, repo *history.Repository, rev string) *schemas.Settings {
	files, err := repo.Snapshot(ctx, rev, onlySettings{})
	if err != nil || len(files) != 1 {
		return nil
	}
	content, err := repo.Blob(files[0].Blob, schemas.MaxFileBytes)
	if err != nil {
		return nil
	}
	docs, errs := schemas.Decode(schemas.SettingsPath, content)
	if len(errs) > 0 {
		return nil
	}
	s, _ := docs[0].Value.(*schemas.Settings)
	return s
}

type onlySettings struct{}

func (onlySettings) Dir(string) bool    { return false }
func (onlySettings) File(p string) bool { return p == schemas.SettingsPath }
